//! The time at which a product must be evaluated next, because a condition on its age will change.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "due_evaluations")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub product_id: String,
    /// Microseconds since 1970.
    pub due_time: i64,
}

impl ActiveModelBehavior for ActiveModel {}
