//! What a unit of work changed: the one place from which everything that follows a change
//! starts. Committing does first what it asks for inside the transaction
//! ([`super::tenants::settle`]), then COMMIT, then what it asks for in memory (the directory cache).

use std::sync::Arc;

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
    /// A collection is new.
    CollectionCreated(Box<Collection>),
    /// A collection's properties are others.
    CollectionUpdated {
        /// As it was.
        before: Box<Collection>,
        /// As it is.
        after: Box<Collection>,
    },
    /// A collection is gone.
    CollectionDeleted(Box<Collection>),
    /// A list of children is another.
    ListMutated {
        /// Whose.
        collection: CollectionId,
        /// Which.
        list: ChildType,
        /// The mutations, as they were performed.
        mutations: Vec<Mutation>,
        /// The collection's version before.
        before: i64,
        /// The collection's version after.
        after: i64,
        /// Which children are in it and were not.
        joined: Vec<ChildId>,
        /// Which children were in it and are not.
        left: Left,
    },
    /// A product is registered, or is another.
    ProductUpserted {
        /// As it was; none where it is new.
        before: Option<Box<Product>>,
        /// As it is.
        after: Box<Product>,
    },
    /// A product is no longer registered.
    ProductDeleted(ProductId),
}

/// The children that left a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// These.
    These(Vec<ChildId>),
    /// All that were there, but for those that joined: a list of any length is not read to
    /// be replaced.
    All,
}

/// The tenant's row, as it was when it was locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Graph {
    /// How many collections there are, the roots not counted.
    pub(super) collections: u64,
    /// Moves where an existing collection's parents or effective `active` may have changed. With
    /// the time, so that a database that lost its last commits gives none a second time.
    pub(super) version: i64,
    /// The highest version of a collection that was deleted.
    pub(super) version_floor: i64,
    /// Whether rules may name collections that are not there.
    pub(super) names_missing: bool,
}

/// The changes of a unit of work, and what follows from them.
#[derive(Debug, Default)]
pub struct Ledger {
    /// What changed, in order.
    pub changes: Vec<Change>,
    /// Collections that were there before and have another version now.
    pub(super) touched: Vec<CollectionId>,
    /// Directories that hold once the transaction is committed.
    pub(super) learned: Vec<(Name, Versioned)>,
    /// Rules that hold once the transaction is committed.
    pub(super) rules: Option<Arc<Compiled>>,
    /// Lists of smart collections that changed because products or rules did; none where no rules
    /// were evaluated.
    pub(super) lists_followed: Option<usize>,
    /// The tenant's graph as it was locked, where it was.
    pub(super) graph: Option<Graph>,
    /// Whether a collection was deleted that rules may name.
    pub(super) names_missing: bool,
}

impl Ledger {
    /// Notes that lists of smart collections followed products or rules: those that changed.
    pub(super) fn lists_followed(&mut self, count: usize) {
        *self.lists_followed.get_or_insert(0) += count;
    }

    /// What the tenant's row has to become; none where it stays.
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

    /// Whether the tenant's graph gets another version.
    pub(super) fn has_other_graph(&self) -> bool {
        self.graph.is_some() && self.moves_graph()
    }

    /// Whether an existing collection's parents or effective `active` may have changed.
    /// Creating a leaf and deleting one changes nothing of others.
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
            // The children of a deleted collection have a parent less.
            Change::CollectionDeleted(gone) => gone.collection_count > 0,
            Change::CollectionCreated(_)
            | Change::ListMutated { .. }
            | Change::ProductUpserted { .. }
            | Change::ProductDeleted(_) => false,
        })
    }
}
