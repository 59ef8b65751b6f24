//! References between collections: rules of one test whether a product is in another.

use std::collections::{BTreeMap, BTreeSet};

use super::{super::ids::CollectionId, tree::Rules};

/// References: by collection, those that its rules reference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References(BTreeMap<CollectionId, BTreeSet<CollectionId>>);

/// What each collection leads to.
type Next<'a> = BTreeMap<&'a CollectionId, Vec<&'a CollectionId>>;

impl References {
    /// Replaces the references of a collection by those in `rules`.
    pub fn put(&mut self, id: &CollectionId, rules: &Rules) {
        self.remove(id);
        self.extend(rules.named_ids().map(|named| (named, id.clone())));
    }

    /// Removes the references of a collection, but not those to it.
    pub fn remove(&mut self, id: &CollectionId) {
        self.0.remove(id);
    }

    /// Removes the references of all collections for which `keep` returns false.
    pub fn retain(&mut self, keep: impl Fn(&CollectionId) -> bool) {
        self.0.retain(|naming, _| keep(naming));
    }

    /// Adds other references.
    pub fn add(&mut self, others: &Self) {
        for (naming, named) in &others.0 {
            let all = self.0.entry(naming.clone()).or_default();
            all.extend(named.iter().cloned());
        }
    }

    /// The collections that reference others.
    pub fn all_naming(&self) -> impl Iterator<Item = &CollectionId> {
        self.0.keys()
    }

    /// The collections that reference this one.
    pub fn naming(&self, id: &CollectionId) -> BTreeSet<CollectionId> {
        let naming = self.0.iter().filter(|(_, named)| named.contains(id));
        naming.map(|(naming, _)| naming.clone()).collect()
    }

    /// For each collection that `id` references, the length of the longest chain of references
    /// that includes that one, as the number of references. `None` if it leads into a cycle.
    pub fn chains(&self, id: &CollectionId) -> BTreeMap<&CollectionId, Option<usize>> {
        let (mut down, mut up) = (Next::new(), Next::new());
        for (naming, all) in &self.0 {
            for named in all {
                down.entry(naming).or_default().push(named);
                up.entry(named).or_default().push(naming);
            }
        }
        let (below, above) = (lengths(&down, &up), lengths(&up, &down));
        let named = down.get(id).into_iter().flatten();
        let named = named.map(|named| (*named, below.get(named).copied()));
        let mut chains: BTreeMap<_, _> = named.collect();
        // A cycle with this collection has one of its own references, and the others are not in it.
        let is_in_cycle = chains.values().any(Option::is_none);
        let above = above.get(id).copied().or(is_in_cycle.then_some(0));
        for below in chains.values_mut() {
            *below = below.zip(above).map(|(below, above)| below + 1 + above);
        }
        chains
    }
}

impl Extend<(CollectionId, CollectionId)> for References {
    fn extend<I: IntoIterator<Item = (CollectionId, CollectionId)>>(&mut self, pairs: I) {
        for (named, naming) in pairs {
            self.0.entry(naming).or_default().insert(named);
        }
    }
}

impl FromIterator<(CollectionId, CollectionId)> for References {
    fn from_iter<I: IntoIterator<Item = (CollectionId, CollectionId)>>(pairs: I) -> Self {
        let mut references = Self::default();
        references.extend(pairs);
        references
    }
}

/// The length of the longest path from each collection; without those from which a path leads into a
/// cycle. `back` has the same references as `next`, in the other direction.
fn lengths<'a>(next: &Next<'a>, back: &Next<'a>) -> BTreeMap<&'a CollectionId, usize> {
    // How many references of each collection lead to one that is not reached yet.
    let mut left: BTreeMap<_, _> = next.iter().map(|(id, all)| (*id, all.len())).collect();
    let ends = back.keys().filter(|id| !next.contains_key(*id));
    let mut lengths: BTreeMap<_, _> = ends.map(|id| (*id, 0)).collect();
    let mut at: Vec<_> = lengths.keys().copied().collect();
    // A collection is reached when all that it leads to are, so after its longest path.
    for length in 1.. {
        let before = at.iter().filter_map(|id| back.get(id)).flatten().copied();
        let reached = before.filter(|id| {
            let count = left.entry(id).or_default();
            *count -= 1;
            *count == 0
        });
        at = reached.collect();
        if at.is_empty() {
            break;
        }
        lengths.extend(at.iter().map(|id| (*id, length)));
    }
    lengths
}
