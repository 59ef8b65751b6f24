//! A server's heartbeat: how far a replica is behind, its own row says there.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "heartbeats")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub server: String,
    /// How long the server has run, in microseconds.
    pub beat: i64,
    /// When it was written, in microseconds since 1970: by the server's clock, which only says when
    /// it may be forgotten.
    pub change_time: i64,
}

impl ActiveModelBehavior for ActiveModel {}
