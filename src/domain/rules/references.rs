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

    /// The length of the longest chain of references that includes the collection, as the number of
    /// references. `None` if it is in a cycle or references lead from it into one.
    pub fn chain(&self, id: &CollectionId) -> Option<usize> {
        let (mut down, mut up) = (Next::new(), Next::new());
        for (naming, all) in &self.0 {
            for named in all {
                down.entry(naming).or_default().push(named);
                up.entry(named).or_default().push(naming);
            }
        }
        Some(longest(id, &down)? + longest(id, &up)?)
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

/// The length of the longest path from a collection; `None` if there is a cycle on a path from it.
fn longest(id: &CollectionId, next: &Next<'_>) -> Option<usize> {
    let of = |id: &CollectionId| next.get(id).map_or(&[][..], Vec::as_slice);
    // How many references on the paths lead to each collection.
    let mut incoming = BTreeMap::from([(id, 0_usize)]);
    let mut found = vec![id];
    while let Some(at) = found.pop() {
        for to in of(at) {
            let count = incoming.entry(to).or_insert_with(|| {
                found.push(to);
                0
            });
            *count += 1;
        }
    }
    // A collection is reached when all that lead to it are, so after its longest path.
    let (mut length, mut reached) = (0, 0);
    let mut at = vec![id];
    at.retain(|id| incoming.get(id) == Some(&0));
    while !at.is_empty() {
        reached += at.len();
        let mut after = Vec::new();
        for to in at.into_iter().flat_map(of) {
            let count = incoming.entry(to).or_default();
            *count -= 1;
            if *count == 0 {
                after.push(*to);
            }
        }
        length += usize::from(!after.is_empty());
        at = after;
    }
    (reached == incoming.len()).then_some(length)
}
