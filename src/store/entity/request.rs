//! The first answer to a request, kept for its retries.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "requests")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: String,
    /// Who asked.
    #[sea_orm(primary_key, auto_increment = false)]
    pub subject: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub method: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub request_id: String,
    /// Of the request, to tell a retry from another request under the same id.
    pub fingerprint: String,
    /// The answer as its protocol wrote it, or a summary of it.
    pub answer: Vec<u8>,
    /// 0 as it is, 1 compressed with gzip, 2 a summary that is compressed so.
    pub form: i16,
    /// Microseconds since 1970.
    pub create_time: i64,
}

impl ActiveModelBehavior for ActiveModel {}
