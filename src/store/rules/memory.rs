//! The compiled rules of tenants in memory, each under the version of its rule set.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use crate::domain::{CollectionId, Facts, RuleSet, Sort, TenantId};

/// Smart collections in memory at most, over all tenants.
const MAX_COLLECTIONS: u64 = 1_000_000;

/// The rules of a tenant's smart collections.
#[derive(Clone, Debug, Default)]
pub struct Compiled {
    pub(in crate::store) version: i64,
    pub(in crate::store) set: RuleSet,
    /// How lists are sorted that are.
    pub(in crate::store) sorts: HashMap<CollectionId, Sort>,
    /// Collections of which other rules are being evaluated.
    pub(in crate::store) evaluating: HashSet<CollectionId>,
}

/// The compiled rules of the tenants that were written to last. Cheap to clone.
#[derive(Clone, Debug)]
pub(in crate::store) struct RuleSets(pub(super) moka::sync::Cache<TenantId, Arc<Compiled>>);

impl RuleSets {
    pub(in crate::store) fn new() -> Self {
        let weight = |_: &TenantId, rules: &Arc<Compiled>| {
            u32::try_from(rules.set.len() + 1).unwrap_or(u32::MAX)
        };
        let cache = moka::sync::Cache::builder()
            .max_capacity(MAX_COLLECTIONS)
            .weigher(weight);
        Self(cache.build())
    }

    /// Keeps what a committed transaction read.
    pub(in crate::store) fn keep(&self, tenant: TenantId, rules: Arc<Compiled>) {
        let known = self.0.get(&tenant);
        if known.is_none_or(|known| known.version <= rules.version) {
            self.0.insert(tenant, rules);
        }
    }
}

impl Compiled {
    /// The collections whose rules a product with these facts satisfies, by id.
    pub fn matching(&self, facts: &Facts) -> Vec<CollectionId> {
        let mut touched = self.set.touched(None, Some(facts));
        touched.retain(|id| self.set.matches(id, facts));
        touched
    }

    /// Whether time alone may change what they match.
    pub fn has_ages(&self) -> bool {
        self.set.has_ages()
    }

    /// The same without collections that are not there any more.
    pub(in crate::store) fn without(&self, gone: &[CollectionId]) -> Self {
        let mut rest = self.clone();
        for id in gone {
            rest.set.remove(id);
            rest.sorts.remove(id);
            rest.evaluating.remove(id);
        }
        rest
    }
}

/// What rules may change in one transaction, and how far they may follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleLimits {
    /// Products that the rules of a collection are evaluated over.
    pub products: usize,
    /// Lists that change because products do.
    pub changes: usize,
    /// Collections that follow each other.
    pub chain: usize,
}

impl Default for RuleLimits {
    fn default() -> Self {
        let limits = crate::domain::Limits::default();
        Self {
            products: limits.synchronous_products,
            changes: limits.synchronous_changes,
            chain: limits.rule_chain,
        }
    }
}
