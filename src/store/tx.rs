//! Transactions. A session is one database transaction, from BEGIN to COMMIT; it runs one or more
//! units of work.
//!
//! A unit ([`Tx`]) is the work of one caller in one tenant. What it leaves in memory takes effect
//! only after its session is committed, so a unit that is rolled back leaves nothing behind.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::task::JoinHandle;

use super::{
    children::directory::{Directories, Directory, Name, Versioned},
    engine::Engine,
    ledger::{Change, Ledger},
    lock_set::LockSet,
    rules::memory::{Compiled, RuleLimits, RuleSets},
    statements::Statements,
    writer::GroupDirectories,
};
use crate::{
    domain::{CollectionId, TenantId, Timestamp},
    processor,
};

/// A database transaction.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) db: Statements,
    pub(super) engine: Engine,
    /// Whether it is a snapshot: it only sees committed data, and the same data throughout.
    pub(super) is_snapshot: bool,
    pub(super) segment_target: usize,
    pub(super) directories: Directories,
    pub(super) rules: RuleSets,
    pub(super) rule_limits: RuleLimits,
    /// The directories that earlier units of the same group left behind, if there is a group.
    pub(super) group_directories: Option<GroupDirectories>,
}

/// A unit of work in one tenant, reading or writing. If it is dropped, its session is rolled back.
#[derive(Debug)]
pub struct Tx {
    session: Arc<Session>,
    /// The tenant whose data it sees.
    pub tenant: TenantId,
    /// The tenant that the request named. It differs from `tenant` if the caller may not see that
    /// tenant's data and is shown that of an empty tenant instead.
    pub named: TenantId,
    /// The authenticated caller that writes; empty for reads.
    pub(super) subject: Arc<str>,
    /// Whether nothing of it is to be committed.
    pub(super) is_dry_run: bool,
    /// Locks to take in any case, because an earlier attempt found that they are needed.
    pub(super) known_locks: LockSet,
    ledger: Mutex<Ledger>,
    /// The timestamp of everything that this unit writes.
    pub now: Timestamp,
}

impl Session {
    /// Starts a unit of work in this session.
    pub(super) fn unit(self: &Arc<Self>, tenant: TenantId) -> Tx {
        Tx {
            session: Arc::clone(self),
            named: tenant.clone(),
            tenant,
            subject: Arc::default(),
            is_dry_run: false,
            known_locks: LockSet::default(),
            ledger: Mutex::default(),
            now: Timestamp::now(),
        }
    }

    /// The directory of a list at that version, if a unit of the group or the cache has it.
    pub(super) fn directory(&self, name: &Name, version: i64) -> Option<Directory> {
        let of_group = self
            .group_directories
            .as_ref()
            .and_then(|group_directories| {
                let group_directories = group_directories
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                let known = group_directories.get(name)?;
                (known.version == version).then(|| Directory::clone(&known.directory))
            });
        of_group.or_else(|| self.directories.get(name, version))
    }
}

impl Tx {
    pub(super) fn db(&self) -> &Statements {
        &self.session.db
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Whether everything that it reads is from one point in time.
    pub fn is_snapshot(&self) -> bool {
        self.session.is_snapshot
    }

    /// Runs work on this many bytes, see [`processor`]. Writes don't wait for a free processor,
    /// because others may wait for their locks.
    pub fn work<T>(&self, bytes: usize, work: impl FnOnce() -> T) -> T {
        if self.is_snapshot() {
            processor::work(bytes, work)
        } else {
            processor::work_at_once(bytes, work)
        }
    }

    /// Begins work on this many bytes on another thread; see [`Self::work`].
    pub async fn spawn_work<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        if self.is_snapshot() {
            processor::spawn(bytes, work).await
        } else {
            tokio::task::spawn_blocking(work)
        }
    }

    /// The tenant, as it is stored in rows.
    pub(super) fn tenant(&self) -> &str {
        self.tenant.as_str()
    }

    /// Records a change. Only the code that locks and saves may do that.
    pub(super) fn note(&self, change: Change) {
        self.with_ledger(|ledger| ledger.changes.push(change));
    }

    /// Records that a collection has a new version.
    pub(super) fn touch(&self, id: &CollectionId) {
        self.with_ledger(|ledger| ledger.touched.push(id.clone()));
    }

    /// Records a directory, to be cached after the commit.
    pub(super) fn cache_after_commit(&self, name: Name, directory: Versioned) {
        self.with_ledger(|ledger| ledger.directories.push((name, directory)));
    }

    /// Records compiled rules, to be cached after the commit.
    pub(super) fn cache_rules_after_commit(&self, rules: Arc<Compiled>) {
        self.with_ledger(|ledger| ledger.rules = Some(rules));
    }

    pub(super) fn with_ledger<T>(&self, act: impl FnOnce(&mut Ledger) -> T) -> T {
        act(&mut self.ledger.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// When the unit took its locks, if it did.
    pub fn locked_at(&self) -> Option<Instant> {
        self.with_ledger(|ledger| ledger.locked)
    }

    /// Ends the unit and returns its ledger; the session continues.
    pub(super) fn finish(self) -> Ledger {
        self.ledger
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
