//! An in-memory cache of compiled rules, one entry per tenant, valid for one version of the
//! tenant's rule set. `super::compiled` fills and validates it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use crate::domain::{CollectionId, Facts, References, RuleSet, Sort, TenantId};

/// The capacity of the cache, in smart collections over all tenants.
const MAX_COLLECTIONS: u64 = 1_000_000;

/// The compiled rules of a tenant's smart collections.
#[derive(Clone, Debug, Default)]
pub struct Compiled {
    pub(in crate::store) version: i64,
    pub(in crate::store) set: RuleSet,
    /// The sort orders of the collections that are sorted.
    pub(in crate::store) sorts: HashMap<CollectionId, Sort>,
    /// Collections whose new rules a job is still evaluating. `set` has their old rules.
    pub(in crate::store) evaluating: HashSet<CollectionId>,
    /// The references in these new rules.
    pub(in crate::store) pending: References,
}

/// The cache, by tenant. Clones share the same cache.
#[derive(Clone, Debug)]
pub(in crate::store) struct RuleSets(pub(super) Arc<moka::sync::Cache<TenantId, Arc<Compiled>>>);

impl RuleSets {
    pub(in crate::store) fn new() -> Self {
        let weight = |_: &TenantId, rules: &Arc<Compiled>| {
            u32::try_from(rules.set.len() + 1).unwrap_or(u32::MAX)
        };
        let cache = moka::sync::Cache::builder()
            .max_capacity(MAX_COLLECTIONS)
            .weigher(weight);
        // A clone of the cache itself takes longer.
        Self(Arc::new(cache.build()))
    }

    /// Caches rules that a committed transaction read, unless the cached version is newer.
    pub(in crate::store) fn keep(&self, tenant: TenantId, rules: Arc<Compiled>) {
        let known = self.0.get(&tenant);
        if known.is_none_or(|known| known.version <= rules.version) {
            self.0.insert(tenant, rules);
        }
    }
}

impl Compiled {
    /// The ids of the collections whose rules match a product with these facts.
    pub fn matching(&self, facts: &Facts) -> Vec<CollectionId> {
        let mut touched = self.set.touched(None, Some(facts));
        touched.retain(|id| self.set.matches(id, facts));
        touched
    }

    /// Whether the passage of time alone can change which products match.
    pub fn has_ages(&self) -> bool {
        self.set.has_ages()
    }

    /// A copy without the collections in `gone`, which were deleted.
    pub(in crate::store) fn without(&self, gone: &[CollectionId]) -> Self {
        let mut rest = self.clone();
        for id in gone {
            rest.set.remove(id);
            rest.sorts.remove(id);
            rest.evaluating.remove(id);
            rest.pending.remove(id);
        }
        rest
    }
}

/// Limits on what the evaluation of rules may do within one transaction (anything larger is left to
/// a job), and on references between collections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleLimits {
    /// The maximum number of products over which a collection's rules are evaluated.
    pub products: usize,
    /// The maximum number of lists that may change because products changed.
    pub changes: usize,
    /// The maximum number of references in a chain of collections, each referencing the next.
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
