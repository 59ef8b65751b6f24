//! A run of adjacent children in one list: its position and its length.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "segments")]
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
    /// Segments in ascending rank make up the list.
    pub rank: i64,
    /// The number of children.
    pub len: i64,
}

impl ActiveModelBehavior for ActiveModel {}
