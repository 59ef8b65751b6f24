//! A registered product.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "products")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub title: String,
    /// The case-folded title.
    pub search_title: String,
    pub slug: String,
    #[sea_orm(column_name = "type")]
    pub product_type: String,
    /// JSON: values by attribute name.
    pub attributes: String,
    /// JSON: the typed facts, see `store/details.rs`.
    pub details: String,
    /// Microseconds since 1970.
    pub create_time: i64,
    /// Microseconds since 1970.
    pub update_time: i64,
}

impl ActiveModelBehavior for ActiveModel {}
