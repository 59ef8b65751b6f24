//! The children of a segment.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "segment_contents")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub collection_id: String,
    /// 1 and 3 products, 2 collections: see `switched_lists`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub list: i16,
    #[sea_orm(primary_key, auto_increment = false)]
    pub segment_id: i64,
    /// The ids in order, as [`crate::domain::child_ids`] joins them.
    pub id_list: String,
}

impl ActiveModelBehavior for ActiveModel {}
