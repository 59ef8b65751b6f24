//! Whether something that was read of a collection still holds, so that it may be answered again.
//!
//! On SQLite this process is the only writer: a commit counts up the stamps of what it changes, so
//! a look at them is enough. On PostgreSQL others write too: the versions are read, by one
//! statement for all who ask at once, which begins after the last of them has asked.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::future::try_join_all;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    connections::Connections,
    ledger::{Change, Ledger},
    versions::{self, Asked, Versions},
};
use crate::domain::{CollectionId, Error, Result, TenantId};

/// How long versions are waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a read of a collection depends on, as it was when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The stamps of the collection and of its tenant's graph.
    Stamps([u64; 2]),
    /// The versions of the same.
    Versions(Versions),
}

/// Knows whether what was read still holds. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) enum Validity {
    Stamps(Arc<Stamps>),
    Versions(mpsc::UnboundedSender<Asked>),
}

impl Validity {
    pub(super) fn of_stamps() -> Self {
        Self::Stamps(Arc::new(Stamps::new()))
    }

    /// Reads versions over those connections, in tasks that end with the last clone of it.
    pub(super) fn of_versions(connections: &Connections) -> Self {
        let (ask, asked) = mpsc::unbounded_channel();
        versions::start(connections, asked);
        Self::Versions(ask)
    }

    /// Where stamps are looked at: those of the collection, before it is read. None where a
    /// commit is changing it, so that nobody knows which state is read.
    pub(super) fn stamps(&self, tenant: &TenantId, collection: &CollectionId) -> Option<Mark> {
        let Self::Stamps(stamps) = self else {
            return None;
        };
        let [of_collection, of_graph] = stamps.slots(tenant, collection);
        let marks = [of_collection.load(SeqCst), of_graph.load(SeqCst)];
        let is_stable = marks.iter().all(|stamp| stamp < &COMMIT);
        is_stable.then_some(Mark::Stamps(marks))
    }

    /// Whether nothing has changed of all that was read.
    ///
    /// # Errors
    /// If the database fails.
    pub(super) async fn holds(
        &self,
        tenant: &TenantId,
        read: &[(CollectionId, Mark)],
    ) -> Result<bool> {
        let Self::Versions(ask) = self else {
            let holds = |(id, mark): &(_, Mark)| self.stamps(tenant, id) == Some(*mark);
            return Ok(read.iter().all(holds));
        };
        // Together, so that one statement reads the versions of all.
        let all = read
            .iter()
            .map(|(id, mark)| is_current(ask, tenant, id, *mark));
        let all = try_join_all(all).await?;
        Ok(all.into_iter().all(|holds| holds))
    }

    /// Begins to change what the ledger says, until what it returns is dropped: after the commit,
    /// and before anybody hears of it.
    pub(super) fn change(&self, tenant: &TenantId, ledger: &Ledger) -> Option<Changing> {
        let Self::Stamps(stamps) = self else {
            return None;
        };
        let mut slots: Vec<_> = changed(ledger)
            .map(|id| stamps.slot(tenant, id.as_str()))
            .collect();
        if ledger.has_other_graph() {
            slots.push(stamps.slot(tenant, GRAPH));
        }
        if slots.is_empty() {
            return None;
        }
        for slot in &slots {
            stamps.slots[*slot].fetch_add(COMMIT, SeqCst);
        }
        Some(Changing {
            stamps: Arc::clone(stamps),
            slots,
        })
    }
}

/// Whether a collection has the versions with which it was read.
async fn is_current(
    ask: &mpsc::UnboundedSender<Asked>,
    tenant: &TenantId,
    collection: &CollectionId,
    mark: Mark,
) -> Result<bool> {
    let Mark::Versions(read) = mark else {
        return Ok(false);
    };
    let (answer, answered) = oneshot::channel();
    let asked = Asked {
        tenant: tenant.clone(),
        collection: collection.clone(),
        answer,
    };
    ask.send(asked).map_err(Error::internal)?;
    // Where the statement fails or takes long there is no answer, and who asked reads for itself.
    let Ok(Ok(Some(now))) = timeout(PATIENCE, answered).await else {
        return Ok(false);
    };
    let same_graph = read.graph.is_none() || read.graph == now.graph;
    Ok(read.collection == now.collection && same_graph)
}

/// The collections whose row or lists are others.
fn changed(ledger: &Ledger) -> impl Iterator<Item = &CollectionId> {
    let changes = ledger.changes.iter().filter_map(|change| match change {
        Change::CollectionCreated(of) | Change::CollectionDeleted(of) => Some(&of.id),
        Change::CollectionUpdated { .. }
        | Change::ListMutated { .. }
        | Change::ProductUpserted { .. }
        | Change::ProductDeleted(_) => None,
    });
    changes.chain(&ledger.touched)
}

/// Counters that commits count up. Two collections may share one: then a commit makes the cache
/// forget more than it must, and never less.
#[derive(Debug)]
pub(super) struct Stamps {
    slots: Box<[AtomicU64]>,
    hasher: RandomState,
}

const SLOTS: usize = 1 << 16;
/// A commit that is under way, in a stamp: below it stands how many have been.
const COMMIT: u64 = 1 << 48;
/// The name of a tenant's graph; no collection has it.
const GRAPH: &str = "";

impl Stamps {
    fn new() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
        }
    }

    fn slot(&self, tenant: &TenantId, name: &str) -> usize {
        let hash = self.hasher.hash_one((tenant.as_str(), name));
        (hash % SLOTS as u64) as usize
    }

    fn slots(&self, tenant: &TenantId, collection: &CollectionId) -> [&AtomicU64; 2] {
        [collection.as_str(), GRAPH].map(|name| &self.slots[self.slot(tenant, name)])
    }
}

/// A commit that changes collections. Dropped, it is over, one way or the other.
#[derive(Debug)]
pub(super) struct Changing {
    stamps: Arc<Stamps>,
    slots: Vec<usize>,
}

impl Drop for Changing {
    fn drop(&mut self) {
        for slot in &self.slots {
            // One less under way, one more that has been.
            self.stamps.slots[*slot].fetch_sub(COMMIT - 1, SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_commit_that_is_in_progress_or_over_ends_what_was_read_before() {
        let validity = Validity::of_stamps();
        let (tenant, id) = (TenantId::trusted("t"), CollectionId::trusted("c"));
        let ledger = Ledger {
            touched: vec![id.clone()],
            ..Ledger::default()
        };
        let read = [(id.clone(), validity.stamps(&tenant, &id).unwrap())];
        assert!(validity.holds(&tenant, &read).await.unwrap());
        let first = validity.change(&tenant, &ledger);
        let second = validity.change(&tenant, &ledger);
        assert!(!validity.holds(&tenant, &read).await.unwrap());
        drop(first);
        assert_eq!(validity.stamps(&tenant, &id), None);
        drop(second);
        let again = [(id.clone(), validity.stamps(&tenant, &id).unwrap())];
        assert!(!validity.holds(&tenant, &read).await.unwrap());
        assert!(validity.holds(&tenant, &again).await.unwrap());
        assert!(validity.change(&tenant, &Ledger::default()).is_none());
    }
}
