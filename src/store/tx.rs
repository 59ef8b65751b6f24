//! A transaction of one tenant.

use std::sync::{Arc, Mutex, PoisonError};

use sea_orm::{DatabaseTransaction, DbErr};

use super::children::{Directories, Name, Versioned};

use crate::domain::{TenantId, Timestamp};

/// A transaction of one tenant, for reading or for writing. Dropped, it is undone.
#[derive(Debug)]
pub struct Tx {
    pub(super) db: DatabaseTransaction,
    /// Whose data it is.
    pub tenant: TenantId,
    /// The tenant as the request names it: `tenant`, but where the caller may not see
    /// that one's data and is shown that of a tenant without any.
    pub named: TenantId,
    /// Who writes; empty where nobody does.
    pub(super) subject: Arc<str>,
    pub(super) segment_target: usize,
    /// Whether it reads a state that was committed.
    pub(super) is_snapshot: bool,
    pub(super) directories: Directories,
    /// Directories that hold once the transaction is committed.
    pub(super) learned: Mutex<Vec<(Name, Versioned)>>,
    /// The time of everything that this transaction writes.
    pub now: Timestamp,
}

impl Tx {
    pub(super) async fn commit(self) -> Result<(), DbErr> {
        self.db.commit().await?;
        let learned = self.learned.into_inner();
        for (name, kept) in learned.unwrap_or_else(PoisonError::into_inner) {
            self.directories.keep(name, kept);
        }
        Ok(())
    }

    /// Notes a directory that holds once the transaction is committed.
    pub(super) fn learn(&self, name: Name, kept: Versioned) {
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        learned.push((name, kept));
    }

    pub(super) async fn rollback(self) -> Result<(), DbErr> {
        self.db.rollback().await
    }

    /// The tenant, as rows have it.
    pub(super) fn tenant(&self) -> &str {
        self.tenant.as_str()
    }
}
