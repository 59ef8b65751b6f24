//! The collections that rules name: that they are there and follow each other in no circle, and
//! which products they have.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::{entries::NamedFor, keys, memory::Compiled};
use crate::{
    domain::{
        ChildType, CollectionId, Constraint, Facts, FieldPath, Product, ProductId, Result, RuleSet,
        Rules, Timestamp, Violations, field::RulePart,
    },
    store::{children::Children, collections, tx::Tx},
};

/// Which of the collections that rules name have products.
#[derive(Clone, Debug, Default)]
pub struct Belongs(HashMap<ProductId, BTreeSet<CollectionId>>);

impl Belongs {
    /// Of all products, for these rules.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn of_all(tx: &Tx, rules: &RuleSet) -> Result<Self> {
        let mut belongs = Self::default();
        for id in rules.named() {
            let list = Children::uncached(tx, &id, ChildType::Product)
                .all()
                .await?;
            for child in list {
                let named = belongs.0.entry(child.into()).or_default();
                named.insert(id.clone());
            }
        }
        Ok(belongs)
    }

    /// Of these products, for these rules.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn of(tx: &Tx, rules: &RuleSet, ids: &[ProductId]) -> Result<Self> {
        let named = rules.named();
        if named.is_empty() {
            return Ok(Self::default());
        }
        let mut belongs = Self::default();
        for (collection, child) in keys::memberships(tx, ids).await?.into_keys() {
            if named.contains(&collection) {
                belongs.set(&child.into(), &collection, true);
            }
        }
        Ok(belongs)
    }

    /// Lets a collection have a product, or not.
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

    /// The facts of a product at that moment.
    pub fn facts(&self, product: &Product, now: Timestamp) -> Facts {
        let mut facts = Facts::of(product, now);
        for id in self.0.get(&product.id).into_iter().flatten() {
            facts.set_member(id, true);
        }
        facts
    }
}

/// The rules without those of collections that are not there any more and that others name: what a
/// deleted one would have is in no list. None where all are there. `is_there` says which are known
/// to be.
///
/// # Errors
/// Where the database fails.
pub async fn without_deleted(
    tx: &Tx,
    rules: &Compiled,
    is_there: impl Fn(&CollectionId) -> bool,
) -> Result<Option<Arc<Compiled>>> {
    let asked = |id: &CollectionId| rules.set.contains(id) && !is_there(id);
    let mut named: Vec<_> = rules.set.named().into_iter().filter(asked).collect();
    if !named.is_empty() {
        let existing = collections::existing(tx, &named).await?;
        named.retain(|id| !existing.contains(id));
    }
    Ok((!named.is_empty()).then(|| Arc::new(rules.without(&named))))
}

/// The collections that a product would be in, by their rules, by what they name it for, and by what
/// of that follows for others.
///
/// # Errors
/// Where the database fails.
pub async fn matching(
    tx: &Tx,
    rules: &Compiled,
    product: &Product,
    now: Timestamp,
    named: &HashMap<CollectionId, NamedFor>,
) -> Result<BTreeSet<CollectionId>> {
    let rest = without_deleted(tx, rules, |_| false).await?;
    let rules = rest.as_deref().unwrap_or(rules);
    let only = std::slice::from_ref(&product.id);
    let mut facts = Belongs::of(tx, &rules.set, only).await?.facts(product, now);
    let names = rules.set.named();
    let mut matching = BTreeSet::new();
    // Each look settles one at least, for no circle is stored.
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
    // Rules stay in memory until it is found that their collection is deleted.
    let ids: Vec<_> = matching.iter().cloned().collect();
    let existing = collections::existing(tx, &ids).await?;
    matching.retain(|id| existing.contains(id));
    Ok(matching)
}

/// Checks that the collections that rules name are there.
///
/// # Errors
/// With a violation for each that is not; where the database fails.
pub async fn check_there(tx: &Tx, rules: &Rules) -> Result<()> {
    let named = rules.named();
    if named.is_empty() {
        return Ok(());
    }
    let ids: BTreeSet<_> = named.iter().map(|(_, id)| id).cloned().collect();
    let ids: Vec<_> = ids.into_iter().collect();
    let there = collections::existing(tx, &ids).await?;
    let missing = Constraint::Malformed("the id of a collection of the tenant");
    refuse(&named, |id| (!there.contains(id)).then(|| missing.clone()))
}

/// Checks that a collection with these rules, which must be in the set, is in no circle and in no
/// chain of more than `max`.
///
/// # Errors
/// With violations.
pub(in crate::store) fn check_chain(
    set: &RuleSet,
    id: &CollectionId,
    rules: &Rules,
    max: usize,
) -> Result<()> {
    let circle = "the collection would follow itself";
    let constraint = match set.chain(id) {
        None => Constraint::Forbidden(circle),
        Some(depth) if depth > max => Constraint::TooDeep { depth, max },
        Some(_) => return Ok(()),
    };
    refuse(&rules.named(), |_| Some(constraint.clone()))
}

/// Refuses names of collections.
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
