//! A rule entry: a product that a smart collection includes, excludes or pins.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "rule_entries")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub collection_id: String,
    /// 1 include, 2 exclude, 3 pin.
    #[sea_orm(primary_key, auto_increment = false)]
    pub kind: i16,
    #[sea_orm(primary_key, auto_increment = false)]
    pub product_id: String,
    /// For a pin, its index. For an include, 0 while it is suspended: its product was deleted and
    /// is not registered again yet.
    pub place: Option<i64>,
}

impl ActiveModelBehavior for ActiveModel {}
