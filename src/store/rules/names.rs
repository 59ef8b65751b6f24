//! Rules may reference other collections ("is a member of collection X"). This module checks such
//! references (they exist, they form no cycle, the chain is not too long) and finds which products
//! the referenced collections contain.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::{entries::NamedFor, keys, memory::Compiled};
use crate::{
    domain::{
        ChildType, CollectionId, Constraint, Facts, FieldPath, Needs, Product, ProductId, Result,
        RuleSet, Rules, Timestamp, Violations, field::RulePart,
    },
    store::{children, collections, tx::Tx},
};

/// How many lists are read at a time.
const LISTS: usize = 1_000;

/// For each product, the referenced collections that contain it.
#[derive(Clone, Debug, Default)]
pub struct Memberships(HashMap<ProductId, BTreeSet<CollectionId>>);

impl Memberships {
    /// For all products in the collections that `rules` reference.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn of_all(tx: &Tx, rules: &RuleSet) -> Result<Self> {
        let mut memberships = Self::default();
        let named: Vec<_> = rules.named().into_iter().collect();
        for ids in named.chunks(LISTS) {
            for (id, list) in children::lists(tx, ChildType::Product, ids).await? {
                for child in list {
                    memberships.set(&child.into(), &id, true);
                }
            }
        }
        Ok(memberships)
    }

    /// For the given products and the collections that `rules` reference.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn of(tx: &Tx, rules: &RuleSet, ids: &[ProductId]) -> Result<Self> {
        let named = rules.named();
        if named.is_empty() {
            return Ok(Self::default());
        }
        let mut memberships = Self::default();
        for (collection, child) in keys::memberships(tx, ids).await?.into_keys() {
            if named.contains(&collection) {
                memberships.set(&child.into(), &collection, true);
            }
        }
        Ok(memberships)
    }

    /// Adds a product to a collection, or removes it.
    pub(in crate::store) fn set(
        &mut self,
        product: &ProductId,
        id: &CollectionId,
        is_member: bool,
    ) {
        let named = self.0.entry(product.clone()).or_default();
        if is_member {
            named.insert(id.clone());
        } else {
            named.remove(id);
        }
    }

    /// The facts of a product at the time `now`, including its memberships.
    pub fn facts(&self, product: &Product, now: Timestamp) -> Facts {
        self.added(product, Facts::of(product, now))
    }

    /// The same with at least the facts that are needed.
    pub fn needed(&self, product: &Product, now: Timestamp, needs: &Needs) -> Facts {
        self.added(product, Facts::needed(product, now, needs))
    }

    fn added(&self, product: &Product, mut facts: Facts) -> Facts {
        for id in self.0.get(&product.id).into_iter().flatten() {
            facts.set_member(id, true);
        }
        facts
    }
}

/// `rules` without the collections that other rules reference but that are not smart any more:
/// compiled rules contain a deleted collection for a while, also if it exists again, and must not
/// decide which products it contains. Returns `None` if there are none, so `rules` can be used as
/// it is. `is_still_smart` returns what is known; other collections are looked up.
///
/// # Errors
/// If the database fails.
pub async fn without_deleted(
    tx: &Tx,
    rules: &Compiled,
    is_still_smart: impl Fn(&CollectionId) -> Option<bool>,
) -> Result<Option<Arc<Compiled>>> {
    let (mut gone, mut asked) = (Vec::new(), Vec::new());
    let named = rules.set.named().into_iter();
    for id in named.filter(|id| rules.set.contains(id)) {
        match is_still_smart(&id) {
            Some(true) => {}
            Some(false) => gone.push(id),
            None => asked.push(id),
        }
    }
    let smart = collections::smart(tx, &asked).await?;
    gone.extend(asked.into_iter().filter(|id| !smart.contains(id)));
    Ok((!gone.is_empty()).then(|| Arc::new(rules.without(&gone))))
}

/// The collections that a product belongs to at the time `now`: by their rules, by their rule
/// entries for it (`named`), and by references from one collection's rules to another.
///
/// # Errors
/// If the database fails.
pub async fn matching(
    tx: &Tx,
    rules: &Compiled,
    product: &Product,
    now: Timestamp,
    named: &HashMap<CollectionId, NamedFor>,
) -> Result<BTreeSet<CollectionId>> {
    let rest = without_deleted(tx, rules, |_| None).await?;
    let rules = rest.as_deref().unwrap_or(rules);
    let only = std::slice::from_ref(&product.id);
    let mut facts = Memberships::of(tx, &rules.set, only)
        .await?
        .facts(product, now);
    let names = rules.set.named();
    let mut matching = BTreeSet::new();
    // Each pass may change memberships that other rules reference, so evaluate until nothing
    // changes. References form no cycle, so each pass settles at least one collection.
    for _ in 0..=names.len() {
        matching = rules.matching(&facts).into_iter().collect();
        for (id, named) in named {
            if named.verdict(matching.contains(id)) {
                matching.insert(id.clone());
            } else {
                matching.remove(id);
            }
        }
        let before = facts.clone();
        for id in names.iter().filter(|id| rules.set.contains(id)) {
            facts.set_member(id, matching.contains(id));
        }
        if facts == before {
            break;
        }
    }
    // Compiled rules may still contain collections that were deleted.
    let ids: Vec<_> = matching.iter().cloned().collect();
    let smart = collections::smart(tx, &ids).await?;
    matching.retain(|id| smart.contains(id));
    Ok(matching)
}

/// Checks that the collections that the rules reference exist.
///
/// # Errors
/// With one violation per reference to a missing collection; if the database fails.
pub async fn check_there(tx: &Tx, rules: &Rules) -> Result<()> {
    let missing = collections::missing(tx, rules).await?;
    let constraint = Constraint::Malformed("the id of a collection of the tenant");
    refuse(&rules.named(), |id| {
        missing.contains(id).then(|| constraint.clone())
    })
}

/// Checks that the references in new rules of a collection form no cycle and no chain longer than
/// `max` with those of the other collections, `others`.
///
/// # Errors
/// With one violation per reference in such a cycle or chain; if the database fails.
pub(in crate::store) async fn check_chain(
    tx: &Tx,
    others: &Compiled,
    (id, rules): (&CollectionId, &Rules),
    max: usize,
) -> Result<()> {
    // While a job evaluates new rules of a collection, its list follows the old ones.
    let (mut followed, mut written) = (others.set.references(), others.pending.clone());
    let naming: BTreeSet<_> = followed.all_naming().chain(written.all_naming()).collect();
    let naming: Vec<_> = naming.into_iter().cloned().collect();
    let smart = collections::smart(tx, &naming).await?;
    followed.retain(|other| other != id && smart.contains(other));
    written.retain(|other| smart.contains(other));
    written.put(id, rules);
    let mut all = written.clone();
    all.add(&followed);
    followed.retain(|other| !others.evaluating.contains(other));
    written.add(&followed);
    let (written, all) = (written.chains(id), all.chains(id));
    refuse(&rules.named(), |id| {
        let length = |chains: &BTreeMap<_, _>| chains.get(id).copied().flatten();
        let constraint = match (length(&written), length(&all)) {
            (None, _) => Constraint::Forbidden("the rules would create a dependency cycle"),
            (Some(length), _) if length > max => Constraint::ChainTooLong { length, max },
            (Some(_), None) => Constraint::Forbidden(
                "the rules would create a dependency cycle until a job has evaluated the new rules \
                 of other collections",
            ),
            (Some(_), Some(_)) => return None,
        };
        Some(constraint)
    })
}

/// Fails with a violation for each reference for which `why` returns a constraint.
fn refuse(
    named: &[(Vec<RulePart>, CollectionId)],
    why: impl Fn(&CollectionId) -> Option<Constraint>,
) -> Result<()> {
    let mut violations = Violations::default();
    for (path, id) in named {
        if let Some(constraint) = why(id) {
            violations.add(FieldPath::Rules(path.clone()), id.as_str(), constraint);
        }
    }
    violations.finish()
}
