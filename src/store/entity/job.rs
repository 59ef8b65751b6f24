//! A background job: work that is too large for one transaction.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "jobs")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub job_id: String,
    pub tenant_id: String,
    /// JSON: the remaining work.
    pub task: String,
    /// The process that has claimed the job; empty if none has.
    pub owner: String,
    /// When the lease of that process expires, in microseconds since 1970.
    pub lease_end: i64,
    /// Microseconds since 1970.
    pub create_time: i64,
}

impl ActiveModelBehavior for ActiveModel {}
