//! An index of predicates: finds those whose result changes when values change, without evaluating
//! all of them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::Bound,
    sync::{Arc, OnceLock},
};

use aho_corasick::AhoCorasick;

use super::{
    super::{
        facts::{Facts, ROW_FIELDS, Row, Scope, Value},
        ids::CollectionId,
    },
    condition::Field,
    predicate::{Predicate, Test, text},
};

/// The number of a predicate in the index.
pub(super) type Id = u32;

/// Predicates without duplicates, with the collections whose rules contain them.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    slots: Vec<Slot>,
    free: Vec<Id>,
    by_predicate: HashMap<Arc<Predicate>, Id>,
    fields: HashMap<Field, OfField>,
    /// The ages at which the results of predicates change.
    ages: HashMap<Field, BTreeMap<i64, BTreeSet<Id>>>,
}

#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub predicate: Arc<Predicate>,
    /// The collections whose rules contain the predicate.
    pub rules: BTreeSet<CollectionId>,
    /// The collections for which it is an access predicate: a product can only match their rules if
    /// one of their access predicates holds.
    pub access: BTreeSet<CollectionId>,
}

impl Index {
    /// Adds a predicate. Returns its number, and the shared instance of all equal predicates.
    pub fn insert(&mut self, predicate: &Arc<Predicate>) -> (Id, Arc<Predicate>) {
        if let Some((known, id)) = self.by_predicate.get_key_value(predicate) {
            return (*id, Arc::clone(known));
        }
        let slot = Slot {
            predicate: Arc::clone(predicate),
            rules: BTreeSet::new(),
            access: BTreeSet::new(),
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.slots[id as usize] = slot;
                id
            }
            None => {
                self.slots.push(slot);
                Id::try_from(self.slots.len() - 1).unwrap_or(Id::MAX)
            }
        };
        self.by_predicate.insert(Arc::clone(predicate), id);
        let of_field = self.fields.entry(predicate.field.clone()).or_default();
        of_field.put(&predicate.test, id, true);
        if let Some(age) = predicate.test.age() {
            let ages = self.ages.entry(predicate.field.clone()).or_default();
            ages.entry(age).or_default().insert(id);
        }
        (id, Arc::clone(predicate))
    }

    /// Removes a predicate if no rules contain it any more.
    pub fn remove_if_unused(&mut self, id: Id) {
        let slot = &self.slots[id as usize];
        if !slot.rules.is_empty() || self.by_predicate.remove(&slot.predicate).is_none() {
            return;
        }
        let field = &slot.predicate.field;
        if let Some(of_field) = self.fields.get_mut(field) {
            of_field.put(&slot.predicate.test, id, false);
            if of_field.is_empty() {
                self.fields.remove(field);
            }
        }
        if let Some(age) = slot.predicate.test.age()
            && let Some(ages) = self.ages.get_mut(field)
            && let Some(ids) = ages.get_mut(&age)
        {
            ids.remove(&id);
            if ids.is_empty() {
                ages.remove(&age);
            }
            if ages.is_empty() {
                self.ages.remove(field);
            }
        }
        self.free.push(id);
    }

    /// The predicates on a field that test for equality, by the value that they test for.
    pub fn by_value(&self, field: &Field) -> impl Iterator<Item = (&Value, &BTreeSet<Id>)> {
        self.fields.get(field).into_iter().flat_map(|it| &it.equal)
    }

    /// The fields on which there are predicates.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.fields.keys()
    }

    /// Whether the passage of time alone can change the result of a predicate.
    pub fn has_ages(&self) -> bool {
        !self.ages.is_empty()
    }

    /// The number of microseconds until the passage of time changes the result of a predicate, if
    /// the product does not change.
    pub fn next_change(&self, facts: &Facts) -> Option<i64> {
        let changes = self.ages.iter().flat_map(|(field, ages)| {
            let values = facts.values(field, Scope::All).filter_map(Value::age);
            values.filter_map(|age| {
                let later = (Bound::Excluded(age), Bound::Unbounded);
                let (next, _) = ages.range(later).next()?;
                Some(next.saturating_sub(age))
            })
        });
        changes.min()
    }

    /// The number of entries, to test that unused ones are removed.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.by_predicate.len() + self.fields.len() + self.ages.len()
    }

    pub fn slot(&self, id: Id) -> &Slot {
        &self.slots[id as usize]
    }

    pub fn slot_mut(&mut self, id: Id) -> &mut Slot {
        &mut self.slots[id as usize]
    }

    /// The predicates that hold for some row of a product.
    pub fn holding(&self, facts: &Facts) -> BTreeSet<Id> {
        let mut found = BTreeSet::new();
        for field in ROW_FIELDS.iter().chain(facts.own().keys()) {
            let values: Vec<_> = facts.values(field, Scope::All).collect();
            self.flipped(field, &[], &values, &mut found);
        }
        found
    }

    /// The predicates whose results on rows change. If none of a collection's predicates is among
    /// them, then for each row before the change there is one after it on which the same predicates
    /// of the collection hold, and vice versa, so the result of the rules is the same.
    pub fn flipped_by(&self, before: &Facts, after: &Facts) -> BTreeSet<Id> {
        let mut found = BTreeSet::new();
        let fields: HashSet<_> = before.own().keys().chain(after.own().keys()).collect();
        for field in fields {
            let (old, new) = (before.own().get(field), after.own().get(field));
            if old != new {
                let [old, new] = [old, new].map(|it| it.into_iter().flatten().collect::<Vec<_>>());
                self.flipped(field, &old, &new, &mut found);
            }
        }
        for (old, new) in pairs(before.rows(), after.rows()) {
            let values = old.values.iter().zip(&new.values);
            for (field, (old, new)) in ROW_FIELDS.iter().zip(values) {
                if old != new {
                    self.flipped(
                        field,
                        &Vec::from_iter(old),
                        &Vec::from_iter(new),
                        &mut found,
                    );
                }
            }
        }
        found
    }

    /// Adds the predicates on a field that hold for exactly one of two sets of values.
    fn flipped(&self, field: &Field, old: &[&Value], new: &[&Value], found: &mut BTreeSet<Id>) {
        let Some(of_field) = self.fields.get(field) else {
            return;
        };
        let candidates = of_field.candidates(old, new);
        let holds = |test: &Test, values: &[&Value]| values.iter().any(|it| test.holds(it));
        found.extend(candidates.into_iter().filter(|id| {
            let test = &self.slot(*id).predicate.test;
            holds(test, old) != holds(test, new)
        }));
    }
}

/// Pairs each row that only exists on one side with a row of the other side, preferably a similar
/// one.
fn pairs<'a>(before: &'a [Row], after: &'a [Row]) -> Vec<(&'a Row, &'a Row)> {
    fn only<'a>(rows: &'a [Row], others: &[Row]) -> Vec<&'a Row> {
        let others: HashSet<_> = others.iter().collect();
        rows.iter().filter(|row| !others.contains(row)).collect()
    }
    let (old, new) = (only(before, after), only(after, before));
    let common = old.len().min(new.len());
    let mut pairs: Vec<_> = old.iter().copied().zip(new.iter().copied()).collect();
    for row in &old[common..] {
        pairs.extend(nearest(row, after).map(|other| (*row, other)));
    }
    for row in &new[common..] {
        pairs.extend(nearest(row, before).map(|other| (other, *row)));
    }
    pairs
}

/// The most similar of the first rows. Any row would be correct, but with a more similar one fewer
/// predicates change.
fn nearest<'a>(row: &Row, others: &'a [Row]) -> Option<&'a Row> {
    const LOOKED_AT: usize = 32;
    let differences = |other: &&Row| {
        let values = row.values.iter().zip(&other.values);
        values.filter(|(a, b)| a != b).count()
    };
    others.iter().take(LOOKED_AT).min_by_key(differences)
}

/// Predicates by the values in their tests.
type ByValue = BTreeMap<Value, BTreeSet<Id>>;

/// The predicates on one field.
#[derive(Clone, Debug, Default)]
struct OfField {
    equal: ByValue,
    /// By the lower limit of the values that satisfy them.
    lower: ByValue,
    /// By the upper limit of the values that satisfy them.
    upper: ByValue,
    /// Those with both limits.
    between: BTreeSet<Id>,
    parts: Parts,
    set: BTreeSet<Id>,
}

impl OfField {
    /// Adds or removes a predicate.
    fn put(&mut self, test: &Test, id: Id, add: bool) {
        match test {
            Test::OneOf(values) => values
                .iter()
                .for_each(|value| put(&mut self.equal, value, id, add)),
            Test::Above { limit, .. } => put(&mut self.lower, limit, id, add),
            Test::Below { limit, .. } => put(&mut self.upper, limit, id, add),
            Test::Between(low, high) => {
                put(&mut self.lower, low, id, add);
                put(&mut self.upper, high, id, add);
                put_id(&mut self.between, id, add);
            }
            Test::Contains(part) | Test::StartsWith(part) | Test::EndsWith(part) => {
                self.parts.put(part, id, add);
            }
            Test::IsSet => put_id(&mut self.set, id, add),
        }
    }

    fn is_empty(&self) -> bool {
        let maps = [&self.equal, &self.lower, &self.upper];
        maps.iter().all(|map| map.is_empty())
            && self.parts.by_part.is_empty()
            && self.set.is_empty()
    }

    /// The predicates that may hold for exactly one of two sets of values.
    fn candidates(&self, old: &[&Value], new: &[&Value]) -> BTreeSet<Id> {
        let mut found = BTreeSet::new();
        let olds: BTreeSet<_> = old.iter().copied().collect();
        let news: BTreeSet<_> = new.iter().copied().collect();
        for value in olds.symmetric_difference(&news) {
            found.extend(self.equal.get(*value).into_iter().flatten());
            if let Some(text) = text(value) {
                self.parts.find(text, &mut found);
            }
        }
        if old.is_empty() != new.is_empty() {
            found.extend(&self.set);
        }
        for range in Ordered::ALL {
            range.candidates(self, &olds, &news, &mut found);
        }
        found
    }
}

fn put(map: &mut ByValue, value: &Value, id: Id, add: bool) {
    if add {
        map.entry(value.clone()).or_default().insert(id);
    } else if let Some(ids) = map.get_mut(value) {
        ids.remove(&id);
        if ids.is_empty() {
            map.remove(value);
        }
    }
}

fn put_id(ids: &mut BTreeSet<Id>, id: Id, add: bool) {
    if add {
        ids.insert(id);
    } else {
        ids.remove(&id);
    }
}

/// The types of values that can have limits.
#[derive(Clone, Copy)]
enum Ordered {
    Number,
    Time,
    Age,
}

impl Ordered {
    const ALL: [Self; 3] = [Self::Number, Self::Time, Self::Age];

    fn has(self, value: &Value) -> bool {
        match value {
            Value::Number(_) => matches!(self, Self::Number),
            Value::Time(_) => matches!(self, Self::Time),
            Value::Age(_) => matches!(self, Self::Age),
            Value::Text(_) | Value::Boolean(_) => false,
        }
    }

    /// The bounds of this type in the order of all values.
    fn ends(self) -> (Bound<Value>, Bound<Value>) {
        match self {
            Self::Number => (Bound::Unbounded, Bound::Excluded(Value::Boolean(false))),
            Self::Time => (
                Bound::Excluded(Value::Boolean(true)),
                Bound::Excluded(Value::Age(i64::MIN)),
            ),
            Self::Age => (Bound::Included(Value::Age(i64::MIN)), Bound::Unbounded),
        }
    }

    /// Adds the candidates among predicates with limits. The result of a lower limit only changes
    /// if the limit is between the greatest values of both sides (without any value, below all
    /// limits); that of an upper limit, if it is between the least values.
    fn candidates(
        self,
        of: &OfField,
        old: &BTreeSet<&Value>,
        new: &BTreeSet<&Value>,
        found: &mut BTreeSet<Id>,
    ) {
        let pick = |values: &BTreeSet<&Value>| -> Vec<Value> {
            let values = values.iter().filter(|value| self.has(value));
            values.map(|value| (*value).clone()).collect()
        };
        let (old, new) = (pick(old), pick(new));
        if old == new {
            return;
        }
        let (start, end) = self.ends();
        // The values are sorted, so the first is the least.
        let (a, b) = (old.last().cloned(), new.last().cloned());
        let from = match (a.clone().min(b.clone()), a.max(b)) {
            (None, Some(most)) => (start, Bound::Included(most)),
            (least, most) => (included(least), included(most)),
        };
        found.extend(of.lower.range(from).flat_map(|(_, ids)| ids));
        let (a, b) = (old.first().cloned(), new.first().cloned());
        let to = match (a.clone().min(b.clone()), a.max(b)) {
            (None, Some(least)) => (Bound::Included(least), end),
            (least, most) => (included(least), included(most)),
        };
        found.extend(of.upper.range(to).flat_map(|(_, ids)| ids));
        // Other values may enter or leave a range although the least and the greatest stay the
        // same.
        if old.len().max(new.len()) > 1 {
            found.extend(&of.between);
        }
    }
}

fn included(value: Option<Value>) -> Bound<Value> {
    value.map_or(Bound::Unbounded, Bound::Included)
}

/// The substrings that predicates search for.
#[derive(Clone, Debug, Default)]
struct Parts {
    by_part: BTreeMap<String, BTreeSet<Id>>,
    /// The substrings that the automaton finds. Some may have been removed since.
    built: Vec<String>,
    /// Built when it is first needed; `None` if it would be too large.
    automaton: OnceLock<Option<AhoCorasick>>,
    /// Substrings that were added later and are searched for one by one, so that the automaton is
    /// not rebuilt for each added rule.
    later: Vec<String>,
}

impl Parts {
    /// How many substrings may be searched for one by one, plus one eighth of those in the
    /// automaton, before it is rebuilt.
    const LATER: usize = 64;

    fn put(&mut self, part: &str, id: Id, add: bool) {
        if !add {
            if let Some(ids) = self.by_part.get_mut(part) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.by_part.remove(part);
                }
            }
            return;
        }
        let ids = self.by_part.entry(part.into()).or_default();
        if ids.is_empty() {
            self.later.push(part.into());
        }
        ids.insert(id);
        if self.later.len() > Self::LATER + self.built.len() / 8 {
            self.built = self.by_part.keys().cloned().collect();
            self.automaton = OnceLock::new();
            self.later.clear();
        }
    }

    /// Adds the predicates whose substring occurs in the text.
    fn find(&self, text: &str, found: &mut BTreeSet<Id>) {
        let mut parts: BTreeSet<&String> = BTreeSet::new();
        let make = || AhoCorasick::new(&self.built).ok();
        match self.automaton.get_or_init(make) {
            Some(automaton) => {
                let matches = automaton.find_overlapping_iter(text);
                parts.extend(matches.map(|it| &self.built[it.pattern().as_usize()]));
            }
            None => parts.extend(&self.built),
        }
        parts.extend(
            self.later
                .iter()
                .filter(|part| text.contains(part.as_str())),
        );
        let ids = parts.into_iter().filter_map(|part| self.by_part.get(part));
        found.extend(ids.flatten());
    }
}
