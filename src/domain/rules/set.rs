//! The rules of many collections, by which those are found that a change of a product touches.

use std::collections::{BTreeSet, HashMap};

use super::{
    super::{
        facts::{Facts, Scope},
        ids::CollectionId,
        time::Timestamp,
    },
    condition::Field,
    index::{Id, Index},
    matcher::Matcher,
    predicate::text,
    tree::Rules,
};

/// The compiled rules of the smart collections of a tenant.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    collections: HashMap<CollectionId, Entry>,
    index: Index,
    /// The collections that a product may match whatever it has.
    always: BTreeSet<CollectionId>,
}

#[derive(Clone, Debug)]
struct Entry {
    matcher: Matcher,
    predicates: BTreeSet<Id>,
    /// One of these holds for each product that matches; none where that can't be said.
    access: Option<BTreeSet<Id>>,
}

impl RuleSet {
    /// Compiles the rules of collections.
    pub fn new(rules: impl IntoIterator<Item = (CollectionId, Rules)>) -> Self {
        let mut set = Self::default();
        for (id, rules) in rules {
            set.insert(id, &rules);
        }
        set
    }

    /// How many collections there are.
    pub fn len(&self) -> usize {
        self.collections.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.collections.is_empty()
    }

    /// Whether the collection is there.
    pub fn contains(&self, id: &CollectionId) -> bool {
        self.collections.contains_key(id)
    }

    /// Adds a collection, or gives it other rules.
    pub fn insert(&mut self, id: CollectionId, rules: &Rules) {
        self.remove(&id);
        let mut matcher = Matcher::new(rules);
        let mut predicates = BTreeSet::new();
        matcher.root.each_predicate(&mut |predicate| {
            let (number, shared) = self.index.insert(predicate);
            *predicate = shared;
            predicates.insert(number);
        });
        let access = matcher.root.access().map(|(_, access)| {
            let numbers = access
                .iter()
                .map(|predicate| self.index.insert(predicate).0);
            numbers.collect::<BTreeSet<_>>()
        });
        for number in &predicates {
            self.index.slot_mut(*number).rules.insert(id.clone());
        }
        match &access {
            None => drop(self.always.insert(id.clone())),
            Some(access) => {
                for number in access {
                    self.index.slot_mut(*number).access.insert(id.clone());
                }
            }
        }
        let entry = Entry {
            matcher,
            predicates,
            access,
        };
        self.collections.insert(id, entry);
    }

    /// Removes a collection, if it is there.
    pub fn remove(&mut self, id: &CollectionId) {
        let Some(entry) = self.collections.remove(id) else {
            return;
        };
        self.always.remove(id);
        for number in entry.predicates {
            let slot = self.index.slot_mut(number);
            slot.rules.remove(id);
            slot.access.remove(id);
            self.index.remove_if_unused(number);
        }
    }

    /// Whether time alone may change a verdict.
    pub fn has_ages(&self) -> bool {
        self.index.has_ages()
    }

    /// The collections that rules name, each with those whose rules do.
    fn links(&self) -> impl Iterator<Item = (CollectionId, &CollectionId)> {
        let values = self.index.by_value(&Field::Collection);
        values.flat_map(|(value, ids)| {
            let rules = ids.iter().flat_map(|id| &self.index.slot(*id).rules);
            let named = text(value).map(CollectionId::trusted);
            rules.filter_map(move |naming| Some((named.clone()?, naming)))
        })
    }

    /// The collections that rules name.
    pub fn named(&self) -> BTreeSet<CollectionId> {
        self.links().map(|(named, _)| named).collect()
    }

    /// The collections whose rules name that one.
    pub fn naming(&self, id: &CollectionId) -> BTreeSet<CollectionId> {
        let links = self.links().filter(|(named, _)| named == id);
        links.map(|(_, naming)| naming.clone()).collect()
    }

    /// How many collections follow each other in the longest chain that this one is in, the first,
    /// which follows none of these, not counted. None if it is a circle.
    pub fn chain(&self, id: &CollectionId) -> Option<usize> {
        let links: BTreeSet<_> = self.links().collect();
        let steps = |up: bool| {
            let mut at = BTreeSet::from([id.clone()]);
            for steps in 0..=links.len() {
                let next = links.iter().filter_map(|(named, naming)| {
                    let (from, to) = if up {
                        (named, *naming)
                    } else {
                        (*naming, named)
                    };
                    at.contains(from).then(|| to.clone())
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

    /// When time turns a condition on a product, after the moment `now` for which its facts are
    /// made, if the product stays as it is.
    pub fn next_turn(&self, facts: &Facts, now: Timestamp) -> Option<Timestamp> {
        let after = self.index.next_turn(facts)?;
        Some(Timestamp::from_micros(now.micros().saturating_add(after)))
    }

    /// Whether a product with these facts matches the rules of the collection; not if the
    /// collection is not there.
    pub fn matches(&self, id: &CollectionId, facts: &Facts) -> bool {
        let entry = self.collections.get(id);
        entry.is_some_and(|entry| entry.matcher.matches(facts))
    }

    /// The collections whose verdict on a product may differ before and after a change, by id:
    /// all whose verdict does, and few others. No facts are those of a product that does not
    /// exist, which matches nothing.
    pub fn touched(&self, before: Option<&Facts>, after: Option<&Facts>) -> Vec<CollectionId> {
        let touched = match (before, after) {
            (None, None) => BTreeSet::new(),
            (None, Some(facts)) | (Some(facts), None) => self.reachable(facts),
            (Some(before), Some(after)) if before == after => BTreeSet::new(),
            (Some(before), Some(after)) => self.changed(before, after),
        };
        touched.into_iter().cloned().collect()
    }

    /// How many predicates are kept.
    #[cfg(test)]
    pub(super) fn predicates(&self) -> usize {
        self.index.len() + self.always.len()
    }

    fn reachable(&self, facts: &Facts) -> BTreeSet<&CollectionId> {
        let holding = self.index.holding(facts);
        let access = holding
            .into_iter()
            .map(|number| &self.index.slot(number).access);
        access.flatten().chain(&self.always).collect()
    }

    fn changed(&self, before: &Facts, after: &Facts) -> BTreeSet<&CollectionId> {
        let turned = self.index.turned_by_change(before, after);
        let rules = turned
            .into_iter()
            .map(|number| &self.index.slot(number).rules);
        let rules: BTreeSet<_> = rules.flatten().collect();
        // Where the verdict differs, the product matches on one of the sides.
        let mut known = HashMap::new();
        let mut holds = |number: Id| -> bool {
            *known.entry(number).or_insert_with(|| {
                let predicate = &self.index.slot(number).predicate;
                [before, after].map(|facts| predicate.holds(facts, Scope::All)) != [false, false]
            })
        };
        let mut may_match = |id: &&CollectionId| {
            let access = self.collections.get(*id).map(|entry| &entry.access);
            match access {
                Some(Some(access)) => access.iter().any(|number| holds(*number)),
                Some(None) => true,
                None => false,
            }
        };
        rules.into_iter().filter(|id| may_match(id)).collect()
    }
}
