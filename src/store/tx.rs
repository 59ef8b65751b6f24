//! Transactions: a session, from BEGIN to COMMIT, and the units of work in it.
//!
//! A unit is one caller's work in one tenant. What it leaves in memory counts only once its
//! session is committed, so a unit that is undone leaves nothing that another would trust.

use std::sync::{Arc, Mutex, PoisonError};

use super::{
    children::directory::{Directories, Directory, Name, Versioned},
    engine::Engine,
    ledger::{Change, Ledger},
    lock_set::LockSet,
    rules::memory::{Compiled, RuleLimits, RuleSets},
    statements::Statements,
    writer::Learned,
};
use crate::domain::{CollectionId, TenantId, Timestamp};

/// A transaction of the database.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) db: Statements,
    pub(super) engine: Engine,
    /// Whether it reads a state that was committed.
    pub(super) is_snapshot: bool,
    pub(super) segment_target: usize,
    pub(super) directories: Directories,
    pub(super) rules: RuleSets,
    pub(super) rule_limits: RuleLimits,
    /// What the units before it in its group leave behind, where there is a group.
    pub(super) learned: Option<Learned>,
}

/// A unit of work in one tenant, for reading or for writing. Its session is undone where it
/// is dropped.
#[derive(Debug)]
pub struct Tx {
    session: Arc<Session>,
    /// Whose data it is.
    pub tenant: TenantId,
    /// The tenant as the request names it: `tenant`, but where the caller may not see
    /// that one's data and is shown that of a tenant without any.
    pub named: TenantId,
    /// Who writes; empty where nobody does.
    pub(super) subject: Arc<str>,
    /// Whether nothing of it is to be committed.
    pub(super) is_dry_run: bool,
    /// What is locked in any case: a try before has found that it is needed.
    pub(super) carried: LockSet,
    ledger: Mutex<Ledger>,
    /// The time of everything that this unit writes.
    pub now: Timestamp,
}

impl Session {
    /// A unit of work in it.
    pub(super) fn unit(self: &Arc<Self>, tenant: TenantId) -> Tx {
        Tx {
            session: Arc::clone(self),
            named: tenant.clone(),
            tenant,
            subject: Arc::default(),
            is_dry_run: false,
            carried: LockSet::default(),
            ledger: Mutex::default(),
            now: Timestamp::now(),
        }
    }

    /// The directory of a list at that version, where it is known.
    pub(super) fn directory(&self, name: &Name, version: i64) -> Option<Directory> {
        let of_group = self.learned.as_ref().and_then(|learned| {
            let learned = learned.lock().unwrap_or_else(PoisonError::into_inner);
            let known = learned.get(name)?;
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

    /// Whether all that it reads is of one moment.
    pub fn is_snapshot(&self) -> bool {
        self.session.is_snapshot
    }

    /// The tenant, as rows have it.
    pub(super) fn tenant(&self) -> &str {
        self.tenant.as_str()
    }

    /// Notes a change. Only what locks and saves does that.
    pub(super) fn note(&self, change: Change) {
        self.with_ledger(|ledger| ledger.changes.push(change));
    }

    /// Notes that a collection has another version.
    pub(super) fn touch(&self, id: &CollectionId) {
        self.with_ledger(|ledger| ledger.touched.push(id.clone()));
    }

    /// Notes a directory that holds once the transaction is committed.
    pub(super) fn learn(&self, name: Name, kept: Versioned) {
        self.with_ledger(|ledger| ledger.learned.push((name, kept)));
    }

    /// Notes rules that hold once the transaction is committed.
    pub(super) fn learn_rules(&self, rules: Arc<Compiled>) {
        self.with_ledger(|ledger| ledger.rules = Some(rules));
    }

    pub(super) fn with_ledger<T>(&self, act: impl FnOnce(&mut Ledger) -> T) -> T {
        act(&mut self.ledger.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the unit changed; the session goes on without it.
    pub(super) fn finish(self) -> Ledger {
        self.ledger
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
