//! Finds conditions that can never hold together, or always hold. Of the former, only simple cases
//! are found: on a single-valued field, within one group.

use std::collections::{BTreeMap, HashMap};

use super::{
    super::facts::Value,
    condition::{Condition, Field},
    predicate::{Predicate, Test},
};

/// A predicate, and whether it is negated.
type Demand = (Predicate, bool);

/// The names of the fields on which the conditions, all of which must hold, contradict each other.
/// `of_one_row` is whether a single row must satisfy all of them.
pub(super) fn impossible<'a>(
    conditions: impl Iterator<Item = &'a Condition>,
    of_one_row: bool,
) -> Vec<String> {
    // Conditions on ages are kept apart, because ages cannot be compared with times.
    let mut by_field: BTreeMap<(&Field, bool), Vec<Demand>> = BTreeMap::new();
    for condition in conditions {
        let field = &condition.field;
        // Without `of_one_row`, different rows may satisfy conditions on a row's field.
        if field.is_single() && (of_one_row || !field.is_of_row()) {
            let demand = Predicate::of(condition);
            let key = (field, condition.operator.is_of_age());
            by_field.entry(key).or_default().push(demand);
        }
    }
    let impossible = by_field
        .into_iter()
        .filter(|(_, demands)| contradict(demands));
    let mut names: Vec<_> = impossible
        .map(|((field, _), _)| field.name().into_owned())
        .collect();
    names.dedup();
    names
}

/// The names of the fields on which one condition is the negation of another.
pub(super) fn tautologies<'a>(conditions: impl Iterator<Item = &'a Condition>) -> Vec<String> {
    let mut seen: HashMap<Predicate, bool> = HashMap::new();
    let mut names = Vec::new();
    for condition in conditions {
        let (predicate, negated) = Predicate::of(condition);
        let name = predicate.field.name().into_owned();
        if *seen.entry(predicate).or_insert(negated) != negated && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Whether no value, nor the absence of a value, satisfies all demands.
fn contradict(demands: &[Demand]) -> bool {
    let satisfies = |value: &Value| {
        let mut demands = demands.iter();
        demands.all(|(predicate, negated)| predicate.test.holds(value) != *negated)
    };
    let positive = || demands.iter().filter(|(_, negated)| !negated);
    if positive().next().is_none() {
        return false;
    }
    if demands.contains(&unset(&demands[0].0.field)) {
        return true;
    }
    match positive().find_map(|(predicate, _)| predicate.test.one_of()) {
        Some(values) => !values.iter().any(satisfies),
        None => is_empty_range(demands) || contradict_in_parts(demands),
    }
}

/// The demand of `is_not_set`.
fn unset(field: &Field) -> Demand {
    let predicate = Predicate {
        field: field.clone(),
        test: Test::IsSet,
    };
    (predicate, true)
}

/// Whether the limits leave no value between them.
fn is_empty_range(demands: &[Demand]) -> bool {
    // The highest lower limit and the lowest upper limit. Of equal limits, the exclusive one
    // counts.
    let mut low: Option<(&Value, bool)> = None;
    let mut high: Option<(&Value, bool)> = None;
    for (predicate, _) in demands.iter().filter(|(_, negated)| !negated) {
        let (above, below) = match &predicate.test {
            Test::Above { limit, or_equal } => (Some((limit, !or_equal)), None),
            Test::Below { limit, or_equal } => (None, Some((limit, !or_equal))),
            Test::Between(above, below) => (Some((above, false)), Some((below, false))),
            Test::OneOf(_)
            | Test::Contains(_)
            | Test::StartsWith(_)
            | Test::EndsWith(_)
            | Test::IsSet => (None, None),
        };
        low = low.max(above);
        high = match (high, below) {
            (Some(a), Some(b)) if b.0 < a.0 || b.0 == a.0 && b.1 => Some(b),
            (None, b) => b,
            (a, _) => a,
        };
    }
    let (Some((low, excludes_low)), Some((high, excludes_high))) = (low, high) else {
        return false;
    };
    let is_excluded = |value: &Value| {
        let mut negative = demands.iter().filter(|(_, negated)| *negated);
        negative.any(|(predicate, _)| predicate.test.holds(value))
    };
    low > high || low == high && (excludes_low || excludes_high || is_excluded(low))
}

/// Whether texts must contain what they must not contain, or have two incompatible starts or ends.
fn contradict_in_parts(demands: &[Demand]) -> bool {
    let (mut starts, mut ends, mut parts): (Vec<&str>, Vec<&str>, Vec<&str>) = Default::default();
    let mut forbidden: Vec<&str> = Vec::new();
    for (predicate, negated) in demands {
        match &predicate.test {
            Test::Contains(part) if *negated => forbidden.push(part),
            Test::Contains(part) => parts.push(part),
            Test::StartsWith(part) => starts.push(part),
            Test::EndsWith(part) => ends.push(part),
            Test::OneOf(_)
            | Test::Above { .. }
            | Test::Below { .. }
            | Test::Between(..)
            | Test::IsSet => {}
        }
    }
    let longest = |parts: &[&str]| parts.iter().map(|part| part.len()).max();
    let is_start = |start: &&&str| Some(start.len()) == longest(&starts);
    let is_end = |end: &&&str| Some(end.len()) == longest(&ends);
    let (start, end) = (starts.iter().find(is_start), ends.iter().find(is_end));
    let begins_twice =
        start.is_some_and(|start| starts.iter().any(|other| !start.starts_with(other)));
    let ends_twice = end.is_some_and(|end| ends.iter().any(|other| !end.ends_with(other)));
    let mut required = parts.iter().chain(&starts).chain(&ends);
    let has_forbidden = required.any(|part| forbidden.iter().any(|it| part.contains(it)));
    begins_twice || ends_twice || has_forbidden
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::domain::Timestamp;

    use super::{
        super::condition::{Operand, Operator, Type},
        *,
    };

    fn conditions(of: &[(&str, &str, &[&str])]) -> Vec<Condition> {
        let of = of.iter().map(|(field, operator, operands)| {
            let field = Field::from_name(field).unwrap();
            let operands = operands.iter().map(|operand| match field.value_type() {
                Some(Type::Decimal) => Operand::Decimal((*operand).into()),
                _ => Operand::Text((*operand).into()),
            });
            Condition {
                operands: operands.collect(),
                operator: Operator::from_name(operator).unwrap(),
                field,
            }
        });
        of.collect()
    }

    #[test]
    fn conditions_that_no_single_value_satisfies_are_found() {
        for impossible_ones in [
            &[
                ("price", "greater_than", &["5"][..]),
                ("price", "less_than", &["5"]),
            ][..],
            &[
                ("price", "greater_or_equal", &["5"]),
                ("price", "less_than", &["5.0"]),
            ],
            &[
                ("price", "greater_or_equal", &["5"]),
                ("price", "less_or_equal", &["5"]),
                ("price", "not_equals", &["5.00"]),
            ],
            // As floats they would be equal.
            &[
                ("price", "greater_than", &["0.10000000000000000001"]),
                ("price", "less_than", &["0.1"]),
            ],
            &[
                ("price", "between", &["1", "2"]),
                ("price", "between", &["3", "4"]),
            ],
            &[("price", "equals", &["1"]), ("price", "equals", &["2"])],
            &[
                ("price", "in", &["1", "2"]),
                ("price", "between", &["3", "4"]),
            ],
            &[("price", "is_not_set", &[]), ("price", "less_than", &["1"])],
            &[("price", "is_not_set", &[]), ("price", "is_set", &[])],
            &[
                ("title", "equals", &["Red"]),
                ("title", "not_contains", &["E"]),
            ],
            &[
                ("title", "in", &["a", "b"]),
                ("title", "not_in", &["B", "A"]),
            ],
            &[
                ("title", "starts_with", &["ab"]),
                ("title", "starts_with", &["ac"]),
            ],
            &[
                ("title", "ends_with", &["red"]),
                ("title", "ends_with", &["bed"]),
            ],
            &[
                ("title", "contains", &["redder"]),
                ("title", "not_contains", &["red"]),
            ],
        ] {
            let found = impossible(conditions(impossible_ones).iter(), true);
            assert_eq!(found, [impossible_ones[0].0], "{impossible_ones:?}");
        }
        for possible in [
            &[
                ("price", "greater_or_equal", &["5"][..]),
                ("price", "less_or_equal", &["5"]),
            ][..],
            &[
                ("price", "greater_than", &["0.1"]),
                ("price", "less_than", &["0.10000000000000000001"]),
            ],
            &[("price", "equals", &["1"]), ("price", "in", &["1.0", "2"])],
            &[
                ("price", "is_not_set", &[]),
                ("price", "not_equals", &["1"]),
            ],
            &[
                ("price", "not_equals", &["1"]),
                ("price", "not_equals", &["2"]),
            ],
            &[
                ("title", "starts_with", &["ab"]),
                ("title", "starts_with", &["abc"]),
            ],
            &[
                ("title", "starts_with", &["ab"]),
                ("title", "not_contains", &["abc"]),
            ],
            &[("title", "equals", &["a"]), ("slug", "equals", &["b"])],
            &[("tag", "equals", &["a"]), ("tag", "equals", &["b"])],
            &[
                ("attributes.x", "equals", &["a"]),
                ("attributes.x", "equals", &["b"]),
            ],
        ] {
            let found = impossible(conditions(possible).iter(), true);
            assert_eq!(found, [""; 0], "{possible:?}");
        }
    }

    #[test]
    fn ages_contradict_ages_and_not_times() {
        let created = |operator, operand| Condition {
            field: Field::Created,
            operator,
            operands: vec![operand],
        };
        let age = |seconds| Operand::Duration(Duration::from_secs(seconds));
        let newer = created(Operator::NewerThan, age(5));
        let found = |others: &[Condition]| {
            let all = [std::slice::from_ref(&newer), others].concat();
            impossible(all.iter(), true)
        };
        assert_eq!(found(&[created(Operator::OlderThan, age(5))]), ["created"]);
        assert_eq!(found(&[created(Operator::OlderThan, age(4))]), [""; 0]);
        let time = Operand::Time(Timestamp::from_micros(0));
        assert_eq!(found(&[created(Operator::LessThan, time)]), [""; 0]);
    }

    #[test]
    fn product_fields_contradict_across_rows_but_row_fields_do_not() {
        let prices: &[_] = &[("price", "equals", &["1"][..]), ("price", "equals", &["2"])];
        assert_eq!(impossible(conditions(prices).iter(), false), [""; 0]);
        let titles: &[_] = &[("title", "equals", &["1"][..]), ("title", "equals", &["2"])];
        assert_eq!(impossible(conditions(titles).iter(), false), ["title"]);
    }
}
