//! A collection whose current list of products has rows with code 3. Those of other collections have
//! code 1. A table of its own, because it is looked up far more often than it has a row.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "switched_lists")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub collection_id: String,
}

impl ActiveModelBehavior for ActiveModel {}
