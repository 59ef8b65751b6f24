//! Work that is too much for one transaction.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "jobs")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub job_id: String,
    pub tenant_id: String,
    /// JSON: what is left to do.
    pub task: String,
    /// The process that does it.
    pub owner: String,
    /// Microseconds since 1970; then another process may take it over.
    pub lease_end: i64,
    /// Microseconds since 1970.
    pub create_time: i64,
}

impl ActiveModelBehavior for ActiveModel {}
