//! Validates cached reads of collections, so that they may be returned again.
//!
//! On SQLite, this process is the only writer: each commit increments the stamps of what it
//! changes, so comparing stamps in memory is enough. On PostgreSQL there are other writers, so
//! versions are read from the database. One statement serves all requests that are waiting when it
//! begins.

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
    versions::{self, Versions, VersionsRequest},
};
use crate::domain::{CollectionId, Error, Result, TenantId};

/// How long to wait for versions.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

/// What a read of a collection depends on, as of the read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The stamps of the collection and of its tenant's graph.
    Stamps([u64; 2]),
    /// The versions of the collection and of its tenant's graph.
    Versions(Versions),
}

/// Checks whether reads are still valid. Clones share its state.
#[derive(Clone, Debug)]
pub(super) enum Validity {
    Stamps(Arc<Stamps>),
    Versions(mpsc::UnboundedSender<VersionsRequest>),
}

impl Validity {
    pub(super) fn of_stamps() -> Self {
        Self::Stamps(Arc::new(Stamps::new()))
    }

    /// Validates by versions. They are read over `connections`, in tasks that end with the last
    /// clone.
    pub(super) fn of_versions(connections: &Connections) -> Self {
        let (ask, asked) = mpsc::unbounded_channel();
        versions::start(connections, asked);
        Self::Versions(ask)
    }

    /// The stamps of the collection and its graph, which must be taken before the read. `None` if
    /// validity is not based on stamps, or if a commit is in progress, because it is then unknown
    /// which state the read will see.
    pub(super) fn stamps(&self, tenant: &TenantId, collection: &CollectionId) -> Option<Mark> {
        let Self::Stamps(stamps) = self else {
            return None;
        };
        let [of_collection, of_graph] = stamps.slots(tenant, collection);
        let marks = [of_collection.load(SeqCst), of_graph.load(SeqCst)];
        let is_stable = marks.iter().all(|stamp| stamp < &COMMIT);
        is_stable.then_some(Mark::Stamps(marks))
    }

    /// Whether nothing that was read has changed.
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
        // Concurrently, so that one statement reads all of the versions.
        let all = read
            .iter()
            .map(|(id, mark)| is_current(ask, tenant, id, *mark));
        let all = try_join_all(all).await?;
        Ok(all.into_iter().all(|holds| holds))
    }

    /// Marks everything that the ledger changes as changing, until the returned value is dropped.
    /// It must be dropped after the commit, but before anybody hears of it.
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

/// Whether a collection still has the versions with which it was read.
async fn is_current(
    ask: &mpsc::UnboundedSender<VersionsRequest>,
    tenant: &TenantId,
    collection: &CollectionId,
    mark: Mark,
) -> Result<bool> {
    let Mark::Versions(read) = mark else {
        return Ok(false);
    };
    let (reply, received) = oneshot::channel();
    let asked = VersionsRequest {
        tenant: tenant.clone(),
        collection: collection.clone(),
        reply,
    };
    ask.send(asked).map_err(Error::internal)?;
    // If the statement fails or takes too long, the cached read counts as invalid.
    let Ok(Ok(Some(now))) = timeout(READ_TIMEOUT, received).await else {
        return Ok(false);
    };
    let same_graph = read.graph.is_none() || read.graph == now.graph;
    Ok(read.collection == now.collection && same_graph)
}

/// The collections whose rows or lists changed.
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

/// Counters that commits increment. Two collections may share a counter: then a commit invalidates
/// more than it must, but never less.
#[derive(Debug)]
pub(super) struct Stamps {
    slots: Box<[AtomicU64]>,
    hasher: RandomState,
}

const SLOTS: usize = 1 << 16;
/// A stamp counts the commits in progress in multiples of this, and finished commits below it.
const COMMIT: u64 = 1 << 48;
/// The name under which a tenant's graph has its stamp; no collection has this id.
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

/// A commit in progress that changes collections. Dropping it ends that, whatever the result.
#[derive(Debug)]
pub(super) struct Changing {
    stamps: Arc<Stamps>,
    slots: Vec<usize>,
}

impl Drop for Changing {
    fn drop(&mut self) {
        for slot in &self.slots {
            // One commit in progress less, and one finished commit more.
            self.stamps.slots[*slot].fetch_sub(COMMIT - 1, SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_commit_in_progress_or_done_invalidates_earlier_reads() {
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
