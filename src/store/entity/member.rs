//! A member of a list, with the segment that contains it.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "members")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub collection_id: String,
    /// 1 and 3 products, 2 collections: see `switched_lists`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub list: i16,
    #[sea_orm(primary_key, auto_increment = false)]
    pub child_id: String,
    pub segment_id: i64,
    /// The sort key, by which a sorted list is ordered bytewise. `None` if the list is not sorted,
    /// or if the product is pinned.
    pub sort_key: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}
