//! The rules of all smart collections of a tenant. The row is locked when rules or products are
//! written.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "rule_sets")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: String,
    /// Increases with each change of any rules.
    pub version: i64,
}

impl ActiveModelBehavior for ActiveModel {}
