//! What a unit of work locks.

use std::collections::BTreeSet;

use crate::domain::{CollectionId, ProductId};

/// Whether the tenant's rules are locked: against other writers of rules, or of products, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuleLock {
    /// Not.
    #[default]
    None,
    /// Rules stay as they are: by those who write products.
    Shared,
    /// Products stay as they are: by those who write rules.
    Exclusive,
}

/// What to lock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockSet {
    /// The tenant's graph: which collections there are and what they stand under.
    pub graph: bool,
    /// The rules of the tenant's smart collections.
    pub rules: RuleLock,
    /// Collections that may change.
    pub collections: BTreeSet<CollectionId>,
    /// Collections of which only the lists and the version may change: that of those to which
    /// links come and go, and of those whose properties don't matter.
    pub linked: BTreeSet<CollectionId>,
    /// Products that may change.
    pub products: BTreeSet<ProductId>,
    /// Products that must stay registered.
    pub registered: BTreeSet<ProductId>,
}

impl LockSet {
    /// One collection.
    pub fn of(id: &CollectionId) -> Self {
        Self {
            collections: BTreeSet::from([id.clone()]),
            ..Self::default()
        }
    }

    /// One collection, whose rules are written, or what follows from them.
    pub fn of_rules(id: &CollectionId) -> Self {
        Self {
            rules: RuleLock::Exclusive,
            ..Self::of(id)
        }
    }

    /// Whether the other set asks for nothing more.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let linked = |id| self.linked.contains(id) || self.collections.contains(id);
        (self.graph || !other.graph)
            && self.rules >= other.rules
            && other.collections.is_subset(&self.collections)
            && other.linked.iter().all(linked)
            && other.products.is_subset(&self.products)
            && other.registered.is_subset(&self.registered)
    }

    /// Adds what the other set asks for.
    pub(super) fn join(&mut self, other: Self) {
        self.graph |= other.graph;
        self.rules = self.rules.max(other.rules);
        self.collections.extend(other.collections);
        self.linked.extend(other.linked);
        self.products.extend(other.products);
        self.registered.extend(other.registered);
    }
}
