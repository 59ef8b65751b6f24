//! Where a child is: which segment of which list has it.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "members")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub collection_id: String,
    /// 1 products, 2 collections.
    #[sea_orm(primary_key, auto_increment = false)]
    pub list: i16,
    #[sea_orm(primary_key, auto_increment = false)]
    pub child_id: String,
    pub segment_id: i64,
    /// By which the list is sorted, byte by byte; none in a list that is not, and of a product
    /// that is pinned.
    pub sort_key: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}
