//! Which predicates of many a change of values turns, without looking at all of them.

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

/// The number of a predicate.
pub(super) type Id = u32;

/// Predicates, each once, with the collections whose rules have them.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    slots: Vec<Slot>,
    free: Vec<Id>,
    by_predicate: HashMap<Arc<Predicate>, Id>,
    fields: HashMap<Field, OfField>,
    /// The ages at which predicates turn.
    ages: HashMap<Field, BTreeMap<i64, BTreeSet<Id>>>,
}

#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub predicate: Arc<Predicate>,
    /// The collections whose rules have it.
    pub rules: BTreeSet<CollectionId>,
    /// Those of them that a product only matches with it or with another of these.
    pub access: BTreeSet<CollectionId>,
}

impl Index {
    /// The number of a predicate, and the predicate as the others that are equal share it.
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

    /// Forgets a predicate that no rules have.
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

    /// The predicates on a field that compare with one of some values, by these.
    pub fn by_value(&self, field: &Field) -> impl Iterator<Item = (&Value, &BTreeSet<Id>)> {
        self.fields.get(field).into_iter().flat_map(|it| &it.equal)
    }

    /// Whether time alone may turn a predicate.
    pub fn has_ages(&self) -> bool {
        !self.ages.is_empty()
    }

    /// After how many microseconds time turns a predicate, if the product stays as it is.
    pub fn next_turn(&self, facts: &Facts) -> Option<i64> {
        let turns = self.ages.iter().flat_map(|(field, ages)| {
            let values = facts.values(field, Scope::All).filter_map(Value::age);
            values.filter_map(|age| {
                let later = (Bound::Excluded(age), Bound::Unbounded);
                let (next, _) = ages.range(later).next()?;
                Some(next.saturating_sub(age))
            })
        });
        turns.min()
    }

    /// How many predicates there are, with the fields that they are about.
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

    /// The predicates that hold on some row of a product.
    pub fn holding(&self, facts: &Facts) -> BTreeSet<Id> {
        let mut found = BTreeSet::new();
        for field in ROW_FIELDS.iter().chain(facts.own().keys()) {
            let values: Vec<_> = facts.values(field, Scope::All).collect();
            self.turned(field, &[], &values, &mut found);
        }
        found
    }

    /// The predicates that do not hold on the same rows before and after a change. Where rules
    /// have none of them, each row before has one after it on which the same predicates of these
    /// rules hold, and the other way round; so the rules match after it if they did before.
    pub fn turned_by_change(&self, before: &Facts, after: &Facts) -> BTreeSet<Id> {
        let mut found = BTreeSet::new();
        let fields: HashSet<_> = before.own().keys().chain(after.own().keys()).collect();
        for field in fields {
            let (old, new) = (before.own().get(field), after.own().get(field));
            if old != new {
                let [old, new] = [old, new].map(|it| it.into_iter().flatten().collect::<Vec<_>>());
                self.turned(field, &old, &new, &mut found);
            }
        }
        for (old, new) in pairs(before.rows(), after.rows()) {
            let values = old.values.iter().zip(&new.values);
            for (field, (old, new)) in ROW_FIELDS.iter().zip(values) {
                if old != new {
                    self.turned(
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

    /// Adds the predicates on the field that hold for one of two sets of values and not for the
    /// other.
    fn turned(&self, field: &Field, old: &[&Value], new: &[&Value], found: &mut BTreeSet<Id>) {
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

/// Each row that is only on one side, with one of the other side that resembles it.
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

/// Any row would do; the more alike, the fewer predicates turn.
fn nearest<'a>(row: &Row, others: &'a [Row]) -> Option<&'a Row> {
    const LOOKED_AT: usize = 32;
    let differences = |other: &&Row| {
        let values = row.values.iter().zip(&other.values);
        values.filter(|(a, b)| a != b).count()
    };
    others.iter().take(LOOKED_AT).min_by_key(differences)
}

/// Predicates by a value that they compare with.
type ByValue = BTreeMap<Value, BTreeSet<Id>>;

/// The predicates on one field.
#[derive(Clone, Debug, Default)]
struct OfField {
    equal: ByValue,
    /// By the least value that may satisfy them.
    lower: ByValue,
    /// By the greatest value that may satisfy them.
    upper: ByValue,
    /// Those with both.
    between: BTreeSet<Id>,
    parts: Parts,
    set: BTreeSet<Id>,
}

impl OfField {
    /// Adds a predicate, or takes it out.
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

    /// The predicates that may hold for one of two sets of values and not for the other.
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

/// The types whose values have limits.
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

    /// What is before its values, and after, in the order of all.
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

    /// A lower limit turns only between the greatest values of both sides, where no value counts
    /// as less than all; an upper limit between the least ones.
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
        // In order, so that the first is the least.
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
        // A value may come into a range though the least and the greatest stay.
        if old.len().max(new.len()) > 1 {
            found.extend(&of.between);
        }
    }
}

fn included(value: Option<Value>) -> Bound<Value> {
    value.map_or(Bound::Unbounded, Bound::Included)
}

/// The parts of texts that predicates look for.
#[derive(Clone, Debug, Default)]
struct Parts {
    by_part: BTreeMap<String, BTreeSet<Id>>,
    /// The parts that the automaton looks for; some may be gone.
    built: Vec<String>,
    /// Made when it is needed first; none where it would be too large.
    automaton: OnceLock<Option<AhoCorasick>>,
    /// The parts that came later, looked for one by one, so that adding rules one by one does not
    /// build the automaton for each.
    later: Vec<String>,
}

impl Parts {
    /// The most parts that are looked for one by one, before these are a part of all of them.
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

    /// Adds the predicates whose part is in the text.
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
