//! A secret that all processes on the database share.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "secrets")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    pub current: String,
    /// Its value before the last rotation.
    pub previous: Option<String>,
    /// When it was created or rotated last, in microseconds since 1970.
    pub change_time: i64,
}

impl ActiveModelBehavior for ActiveModel {}
