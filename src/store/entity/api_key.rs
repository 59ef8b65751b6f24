//! An API key: its metadata and the hash of its secret.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "api_keys")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub key_id: String,
    pub label: String,
    pub hash: String,
    /// Tenant ids, separated by commas; `*` for all.
    pub tenants: String,
    /// Scope names, separated by commas.
    pub scopes: String,
    /// Microseconds since 1970, as are the other times.
    pub create_time: i64,
    pub expire_time: Option<i64>,
    pub revoke_time: Option<i64>,
}

impl ActiveModelBehavior for ActiveModel {}
