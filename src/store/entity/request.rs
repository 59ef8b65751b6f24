//! The first response to a request, stored for retries with the same idempotency key.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "requests")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: String,
    /// The authenticated caller.
    #[sea_orm(primary_key, auto_increment = false)]
    pub subject: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub method: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub request_id: String,
    /// A hash of the request, to distinguish a retry from another request with the same key.
    pub fingerprint: String,
    /// The response as its protocol encodes it, or a summary of it.
    pub answer: Vec<u8>,
    /// 0 uncompressed, 1 compressed with gzip, 2 a summary, compressed with gzip.
    pub form: i16,
    /// Microseconds since 1970.
    pub create_time: i64,
}

impl ActiveModelBehavior for ActiveModel {}
