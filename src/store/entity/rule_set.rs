//! The rules of a tenant's smart collections together: what is locked where they are written, and
//! where products are.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "rule_sets")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: String,
    /// Rises with each write of rules.
    pub version: i64,
}

impl ActiveModelBehavior for ActiveModel {}
