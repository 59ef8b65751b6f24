//! The set of locks that a unit of work takes. [`super::lock`] takes them in a fixed order.

use std::collections::BTreeSet;

use crate::domain::{CollectionId, ProductId};

/// How the tenant's rules are locked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuleLock {
    /// Not at all.
    #[default]
    None,
    /// Shared: the rules must not change. Taken by units that write products.
    Shared,
    /// Exclusive: neither the rules nor the products may change. Taken by units that write rules.
    Exclusive,
}

/// Everything that a unit of work locks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockSet {
    /// The tenant's graph: which collections exist, and the links between them.
    pub graph: bool,
    /// The rules of the tenant's smart collections.
    pub rules: RuleLock,
    /// Collections of which anything may change.
    pub collections: BTreeSet<CollectionId>,
    /// Collections of which only the lists and the version may change: those that gain or lose a
    /// parent, and those whose lists are edited.
    pub linked: BTreeSet<CollectionId>,
    /// Products that may change.
    pub products: BTreeSet<ProductId>,
    /// Products that must stay registered.
    pub registered: BTreeSet<ProductId>,
}

impl LockSet {
    /// A set with one collection.
    pub fn of(id: &CollectionId) -> Self {
        Self {
            collections: BTreeSet::from([id.clone()]),
            ..Self::default()
        }
    }

    /// A set with one collection of which only the lists may change.
    pub fn linked(id: &CollectionId) -> Self {
        Self {
            linked: BTreeSet::from([id.clone()]),
            ..Self::default()
        }
    }

    /// A set with one collection and an exclusive lock on the rules, to change its rules or what
    /// follows from them.
    pub fn of_rules(id: &CollectionId) -> Self {
        Self {
            rules: RuleLock::Exclusive,
            ..Self::of(id)
        }
    }

    /// Whether this set contains every lock of the other.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let linked = |id| self.linked.contains(id) || self.collections.contains(id);
        (self.graph || !other.graph)
            && self.rules >= other.rules
            && other.collections.is_subset(&self.collections)
            && other.linked.iter().all(linked)
            && other.products.is_subset(&self.products)
            && other.registered.is_subset(&self.registered)
    }

    /// Adds all locks of the other set.
    pub(super) fn join(&mut self, other: Self) {
        self.graph |= other.graph;
        self.rules = self.rules.max(other.rules);
        self.collections.extend(other.collections);
        self.linked.extend(other.linked);
        self.products.extend(other.products);
        self.registered.extend(other.registered);
    }
}
