//! References between collections: rules of one test whether a product is in another.

use std::collections::BTreeSet;

use super::{super::ids::CollectionId, tree::Rules};

/// References, as pairs of the referenced collection and the one whose rules reference it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References(BTreeSet<(CollectionId, CollectionId)>);

impl References {
    /// Replaces the references of a collection by those in `rules`.
    pub fn put(&mut self, id: &CollectionId, rules: &Rules) {
        self.remove(id);
        let named = rules.named_ids().map(|named| (named, id.clone()));
        self.0.extend(named);
    }

    /// Removes the references of a collection, but not those to it.
    pub fn remove(&mut self, id: &CollectionId) {
        self.retain(|naming| naming != id);
    }

    /// Removes the references of all collections for which `keep` returns false.
    pub fn retain(&mut self, keep: impl Fn(&CollectionId) -> bool) {
        self.0.retain(|(_, naming)| keep(naming));
    }

    /// Adds other references.
    pub fn extend(&mut self, others: &Self) {
        self.0.extend(others.0.iter().cloned());
    }

    /// The collections that reference others.
    pub fn all_naming(&self) -> BTreeSet<CollectionId> {
        self.0.iter().map(|(_, naming)| naming.clone()).collect()
    }

    /// The collections that reference this one.
    pub fn naming(&self, id: &CollectionId) -> BTreeSet<CollectionId> {
        let references = self.0.iter().filter(|(named, _)| named == id);
        references.map(|(_, naming)| naming.clone()).collect()
    }

    /// The length of the longest chain of references that includes the collection, as the number of
    /// references. `None` if it is in a cycle.
    pub fn chain(&self, id: &CollectionId) -> Option<usize> {
        let steps = |up: bool| {
            let mut at = BTreeSet::from([id]);
            for steps in 0..=self.0.len() {
                if steps > 0 && at.contains(id) {
                    break;
                }
                let next = self.0.iter().filter_map(|(named, naming)| {
                    let (from, to) = if up { (named, naming) } else { (naming, named) };
                    at.contains(from).then_some(to)
                });
                at = next.collect();
                if at.is_empty() {
                    return Some(steps);
                }
            }
            None
        };
        Some(steps(true)? + steps(false)?)
    }
}

impl FromIterator<(CollectionId, CollectionId)> for References {
    fn from_iter<I: IntoIterator<Item = (CollectionId, CollectionId)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}
