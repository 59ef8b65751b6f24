//! A login that has neither expired nor been ended.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "logins")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub login_id: String,
    /// The API key that was exchanged.
    pub key_id: String,
    /// The hash of the key at the time of login.
    pub key_hash: String,
    /// The SHA-256 of the secret in the login's tokens.
    pub secret_hash: String,
    /// Microseconds since 1970, as is the other time.
    pub create_time: i64,
    pub end_time: i64,
}

impl ActiveModelBehavior for ActiveModel {}
