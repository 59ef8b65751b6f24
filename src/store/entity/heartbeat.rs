//! A server's heartbeat. The value on a replica shows how far the replica lags behind.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "heartbeats")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub server: String,
    /// How long the server has been running, in microseconds.
    pub beat: i64,
    /// When it was written, in microseconds since 1970, by the server's clock. Only used to delete
    /// the rows of servers that no longer run.
    pub change_time: i64,
}

impl ActiveModelBehavior for ActiveModel {}
