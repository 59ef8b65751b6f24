//! The ledger of a unit of work: everything that it changed. All consequences of a change start
//! here: first writes inside the transaction ([`super::tenants::settle`]), then COMMIT, then
//! caches, audit log and metrics.

use std::{sync::Arc, time::Instant};

use super::{
    children::directory::{Name, Versioned},
    rules::memory::Compiled,
};
use crate::domain::{
    ChildId, ChildType, Collection, CollectionId, Mutation, Product, ProductId, Timestamp,
    collection::version_after,
};

/// A change of what is stored.
#[derive(Clone, Debug)]
pub enum Change {
    /// A collection was created.
    CollectionCreated(Box<Collection>),
    /// A collection's properties changed.
    CollectionUpdated {
        /// The state before.
        before: Box<Collection>,
        /// The state after.
        after: Box<Collection>,
    },
    /// A collection was deleted.
    CollectionDeleted(Box<Collection>),
    /// A list of children changed.
    ListMutated {
        /// The collection whose list it is.
        collection: CollectionId,
        /// The kind of list.
        list: ChildType,
        /// The mutations, as they were performed.
        mutations: Vec<Mutation>,
        /// The collection's version before.
        before: i64,
        /// The collection's version after.
        after: i64,
        /// The children that are in the list now and were not before.
        joined: Vec<ChildId>,
        /// The children that were in the list before and are not now.
        left: Left,
    },
    /// A product was registered or changed.
    ProductUpserted {
        /// The state before; `None` for a new product.
        before: Option<Box<Product>>,
        /// The state after.
        after: Box<Product>,
    },
    /// A product was deleted.
    ProductDeleted(ProductId),
}

/// The children that left a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// Exactly these.
    These(Vec<ChildId>),
    /// All former children except those that joined. They are not enumerated, so that a list of any
    /// length can be replaced without reading it.
    All,
}

/// The tenant's row when it was locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Graph {
    /// The number of collections, without the roots.
    pub(super) collections: u64,
    /// Changes when an existing collection's parents or effective `active` may have changed. It is
    /// derived from the time, so that a database that lost its last commits never assigns the same
    /// version twice.
    pub(super) version: i64,
    /// The highest version of any deleted collection.
    pub(super) version_floor: i64,
    /// Whether rules may reference collections that do not exist.
    pub(super) names_missing: bool,
}

/// The changes of a unit of work, and what follows from them.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The changes, in order.
    pub changes: Vec<Change>,
    /// Existing collections that have a new version.
    pub(super) touched: Vec<CollectionId>,
    /// Directories to cache after the commit.
    pub(super) directories: Vec<(Name, Versioned)>,
    /// Compiled rules to cache after the commit.
    pub(super) rules: Option<Arc<Compiled>>,
    /// The number of lists of smart collections that changed because of rules; `None` if no rules
    /// were evaluated.
    pub(super) lists_followed: Option<usize>,
    /// The tenant's graph as it was locked; `None` if it is not locked.
    pub(super) graph: Option<Graph>,
    /// Whether a collection was deleted that rules may reference.
    pub(super) names_missing: bool,
    /// Whether a job was added.
    pub(super) job_added: bool,
    /// When the locks were taken.
    pub(super) locked: Option<Instant>,
}

impl Ledger {
    /// Adds to the number of smart collections' lists that changed.
    pub(super) fn lists_followed(&mut self, count: usize) {
        *self.lists_followed.get_or_insert(0) += count;
    }

    /// The new state of the tenant's row; `None` if it does not change.
    pub(super) fn graph_after(&self, now: Timestamp) -> Option<Graph> {
        let before = self.graph?;
        let mut after = before;
        after.names_missing |= self.names_missing;
        for change in &self.changes {
            match change {
                Change::CollectionCreated(_) => after.collections += 1,
                Change::CollectionDeleted(gone) => {
                    after.collections = after.collections.saturating_sub(1);
                    after.version_floor = after.version_floor.max(gone.version);
                }
                Change::CollectionUpdated { .. }
                | Change::ListMutated { .. }
                | Change::ProductUpserted { .. }
                | Change::ProductDeleted(_) => {}
            }
        }
        if self.moves_graph() {
            after.version = version_after(after.version, now);
        }
        (after != before).then_some(after)
    }

    /// Whether the tenant's graph gets a new version.
    pub(super) fn has_other_graph(&self) -> bool {
        self.graph.is_some() && self.moves_graph()
    }

    /// Whether the parents or the effective `active` of an existing collection may have changed.
    /// Creating or deleting a collection without children does not affect others.
    fn moves_graph(&self) -> bool {
        let is_new_or_gone = |id: &ChildId| {
            self.changes.iter().any(|change| match change {
                Change::CollectionCreated(other) | Change::CollectionDeleted(other) => {
                    other.id.as_str() == id.as_str()
                }
                Change::CollectionUpdated { .. }
                | Change::ListMutated { .. }
                | Change::ProductUpserted { .. }
                | Change::ProductDeleted(_) => false,
            })
        };
        self.changes.iter().any(|change| match change {
            Change::CollectionUpdated { before, after } => before.active != after.active,
            Change::ListMutated {
                list: ChildType::Collection,
                joined,
                left,
                ..
            } => {
                let left = match left {
                    Left::These(left) => left.as_slice(),
                    Left::All => return true,
                };
                joined.iter().chain(left).any(|id| !is_new_or_gone(id))
            }
            // The children of a deleted collection lose a parent.
            Change::CollectionDeleted(gone) => gone.collection_count > 0,
            Change::CollectionCreated(_)
            | Change::ListMutated { .. }
            | Change::ProductUpserted { .. }
            | Change::ProductDeleted(_) => false,
        })
    }
}
