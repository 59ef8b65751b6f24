//! The rules of many collections, with an index that finds those that a change of a product may
//! affect.

use std::collections::{BTreeSet, HashMap};

use super::{
    super::{
        facts::{Facts, Needs, Scope},
        ids::CollectionId,
        time::Timestamp,
    },
    condition::Field,
    index::{Id, Index},
    matcher::Matcher,
    predicate::text,
    references::References,
    tree::Rules,
};

/// The compiled rules of a tenant's smart collections.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    collections: HashMap<CollectionId, Entry>,
    index: Index,
    /// The collections without access predicates, which any product may match.
    always: BTreeSet<CollectionId>,
}

#[derive(Clone, Debug)]
struct Entry {
    matcher: Matcher,
    predicates: BTreeSet<Id>,
    /// The access predicates: one of them holds for each product that matches. `None` if there are
    /// none.
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

    /// The number of collections.
    pub fn len(&self) -> usize {
        self.collections.len()
    }

    /// Whether there are no collections.
    pub fn is_empty(&self) -> bool {
        self.collections.is_empty()
    }

    /// Whether the set contains the collection.
    pub fn contains(&self, id: &CollectionId) -> bool {
        self.collections.contains_key(id)
    }

    /// Adds a collection or replaces its rules.
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

    /// Removes a collection, if the set contains it.
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

    /// What evaluating the rules looks at in products.
    pub fn needs(&self) -> Needs {
        let mut needs = Needs::default();
        self.index.fields().for_each(|field| needs.add(field));
        needs
    }

    /// Whether the passage of time alone can change which products match.
    pub fn has_ages(&self) -> bool {
        self.index.has_ages()
    }

    /// The references between the collections.
    pub fn references(&self) -> References {
        let links = self.links();
        links
            .map(|(named, naming)| (named, naming.clone()))
            .collect()
    }

    /// Pairs of a referenced collection and one whose rules reference it.
    fn links(&self) -> impl Iterator<Item = (CollectionId, &CollectionId)> {
        let values = self.index.by_value(&Field::Collection);
        values.flat_map(|(value, ids)| {
            let rules = ids.iter().flat_map(|id| &self.index.slot(*id).rules);
            let named = text(value).map(CollectionId::trusted);
            rules.filter_map(move |naming| Some((named.clone()?, naming)))
        })
    }

    /// The collections that rules reference.
    pub fn named(&self) -> BTreeSet<CollectionId> {
        self.links().map(|(named, _)| named).collect()
    }

    /// When the passage of time next changes the result of a condition for a product, if the
    /// product does not change. `now` is the time for which its facts were computed.
    pub fn next_change(&self, facts: &Facts, now: Timestamp) -> Option<Timestamp> {
        let after = self.index.next_change(facts)?;
        Some(Timestamp::from_micros(now.micros().saturating_add(after)))
    }

    /// Whether a product with these facts matches the rules of the collection. False if the set
    /// does not contain the collection.
    pub fn matches(&self, id: &CollectionId, facts: &Facts) -> bool {
        let entry = self.collections.get(id);
        entry.is_some_and(|entry| entry.matcher.matches(facts))
    }

    /// The collections, ordered by id, whose result for a product may change: all for which it
    /// does, and few others. `None` stands for a product that does not exist and matches nothing.
    pub fn touched(&self, before: Option<&Facts>, after: Option<&Facts>) -> Vec<CollectionId> {
        let touched = match (before, after) {
            (None, None) => BTreeSet::new(),
            (None, Some(facts)) | (Some(facts), None) => self.reachable(facts),
            (Some(before), Some(after)) if before == after => BTreeSet::new(),
            (Some(before), Some(after)) => self.changed(before, after),
        };
        touched.into_iter().cloned().collect()
    }

    /// The number of index entries, for tests.
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
        let flipped = self.index.flipped_by(before, after);
        let rules = flipped
            .into_iter()
            .map(|number| &self.index.slot(number).rules);
        let rules: BTreeSet<_> = rules.flatten().collect();
        // If the result changes, the product matches before or after, so an access predicate holds
        // then.
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
