//! A transaction of one tenant.

use sea_orm::{DatabaseTransaction, DbErr};

use crate::domain::{TenantId, Timestamp};

/// A transaction of one tenant, for reading or for writing. Dropped, it is undone.
#[derive(Debug)]
pub struct Tx {
    pub(super) db: DatabaseTransaction,
    /// Whose data it is.
    pub tenant: TenantId,
    pub(super) segment_target: usize,
    /// The time of everything that this transaction writes.
    pub now: Timestamp,
}

impl Tx {
    pub(super) async fn commit(self) -> Result<(), DbErr> {
        self.db.commit().await
    }

    pub(super) async fn rollback(self) -> Result<(), DbErr> {
        self.db.rollback().await
    }

    /// The tenant, as rows have it.
    pub(super) fn tenant(&self) -> &str {
        self.tenant.as_str()
    }
}
