//! Parses and renders the rules of a smart collection. HighLevel publishes no form for a condition;
//! `{"field", "operator", "value"}` is an Endcap extension. The value of an operator that takes
//! several is an array; an operator that takes none has no `value`. A duration is a string of
//! seconds, `"86400s"`. A field in the attributes has no type of its own: its value has the type of
//! the JSON value, unless `"type"` names another one, which is needed for times and for numbers in
//! strings.
//!
//! HighLevel's own form is flat: one group of conditions that one row (a price with its variant)
//! must satisfy all or any of. Rules that this form can't express are written as nested groups,
//! `{"logic", "conditions", "sameRow"}`, which are accepted as well.

use serde_json::{Map, Value, json};

use super::fields::{self, ARRAY, OBJECT, Object};
use crate::domain::{
    Change, Combinator, Condition, Constraint, Field, Group, Limits, Operand, Operator, Rule,
    Rules, Timestamp, Violations,
    rules::condition::{Type, of_seconds, seconds},
};

const LOGICS: &str = "AND, OR, NONE";
const FIELDS: &str = "title, variant_title, price, inventory, slug, type, vendor, tag, status, \
                      available, price_currency, compare_at_price, created, updated, \
                      product_id, collection, attributes.<path>";
const OPERATORS: &str = "equals, not_equals, greater_than, less_than, contains, not_contains, \
                         starts_with, ends_with, in, not_in, greater_or_equal, less_or_equal, \
                         between, is_set, is_not_set, older_than, newer_than";
const TYPES: &str = "text, decimal, boolean, time, duration";
const SCALAR: Constraint = Constraint::Malformed("a string, a number or a boolean");
const BOOLEAN: Constraint = Constraint::Malformed("a boolean");
const SAME_ROW: &str = "sameRow";

/// Parses the rules in a body. Rules without conditions mean no rules, because examples in
/// HighLevel's documentation send them for manual collections.
pub(super) fn read(body: &Object, limits: &Limits, violations: &mut Violations) -> Change<Rules> {
    let rules = match body.get("rules") {
        None => return Change::Keep,
        Some(Value::Null) => return Change::Clear,
        Some(Value::Object(rules)) => rules,
        Some(_) => {
            violations.add("rules", "", OBJECT);
            return Change::Keep;
        }
    };
    let is_none = match rules.get("conditions") {
        None | Some(Value::Null) => true,
        Some(Value::Array(conditions)) => conditions.is_empty(),
        Some(_) => false,
    };
    let mut reader = Reader {
        left: limits.conditions,
        violations,
    };
    let group = reader.group("rules", rules, true);
    if is_none {
        return Change::Clear;
    }
    // The rules as a whole can only be checked if all of them are valid.
    let Some(group) = group else {
        return Change::Keep;
    };
    let root = Rule::Group(group);
    let rules = Rules { root };
    rules.check(limits, violations);
    Change::Set(rules)
}

struct Reader<'a> {
    /// How many more rules may be parsed.
    left: usize,
    violations: &'a mut Violations,
}

impl Reader<'_> {
    /// Parses a group. `same_row` is the default of its `sameRow`.
    fn group(&mut self, at: &str, group: &Object, same_row: bool) -> Option<Group> {
        let combinator = self.combinator(at, group);
        let same_row = match group.get(SAME_ROW) {
            None => Some(same_row),
            Some(Value::Bool(same_row)) => Some(*same_row),
            Some(_) => {
                let field = format!("{at}.{SAME_ROW}");
                self.violations.add(field, "", BOOLEAN);
                None
            }
        };
        let at = format!("{at}.conditions");
        let rules: &[Value] = match group.get("conditions") {
            None | Some(Value::Null) => &[],
            Some(Value::Array(rules)) => rules,
            Some(_) => {
                self.violations.add(at, "", ARRAY);
                return None;
            }
        };
        if rules.len() > self.left {
            let (count, max) = (rules.len(), self.left);
            let constraint = Constraint::TooMany { count, max };
            self.violations.add(at, "", constraint);
            return None;
        }
        self.left -= rules.len();
        let rules = rules.iter().enumerate();
        let rules = rules.map(|(index, rule)| self.rule(&format!("{at}.{index}"), rule));
        // Collected first, so that the violations of all of them are reported.
        let rules: Vec<_> = rules.collect();
        Some(Group {
            combinator: combinator?,
            same_row: same_row?,
            rules: rules.into_iter().collect::<Option<_>>()?,
        })
    }

    /// How the conditions are combined; AND by default.
    fn combinator(&mut self, at: &str, group: &Object) -> Option<Combinator> {
        if !group.contains_key("logic") {
            return Some(Combinator::All);
        }
        let name = ("logic", format!("{at}.logic"));
        let all = &Combinator::ALL;
        fields::choice(group, name, all, logic, LOGICS, self.violations)
    }

    fn rule(&mut self, at: &str, rule: &Value) -> Option<Rule> {
        let Value::Object(rule) = rule else {
            self.violations.add(at, "", OBJECT);
            return None;
        };
        if rule.contains_key("conditions") {
            self.group(at, rule, false).map(Rule::Group)
        } else {
            self.condition(at, rule).map(Rule::Condition)
        }
    }

    fn condition(&mut self, at: &str, condition: &Object) -> Option<Condition> {
        let name = condition.get("field").and_then(Value::as_str);
        let field = name.and_then(Field::from_name);
        if field.is_none() {
            let unknown = Constraint::Unknown(FIELDS);
            let field = format!("{at}.field");
            self.violations
                .add(field, name.unwrap_or_default(), unknown);
        }
        let operator = ("operator", format!("{at}.operator"));
        let (all, names) = (&Operator::ALL, OPERATORS);
        let operator = fields::choice(
            condition,
            operator,
            all,
            Operator::name,
            names,
            self.violations,
        );
        let values = match condition.get("value") {
            None | Some(Value::Null) if operator.is_some_and(Operator::takes_none) => &[],
            Some(Value::Array(values)) => values.as_slice(),
            None => std::slice::from_ref(&Value::Null),
            Some(value) => std::slice::from_ref(value),
        };
        let values: Option<Vec<_>> = values.iter().map(scalar).collect();
        if values.is_none() {
            self.violations.add(format!("{at}.value"), "", SCALAR);
        }
        let of = match condition.get("type") {
            None if operator.is_some_and(Operator::is_of_age) => Some(Some(Type::Duration)),
            None => field.as_ref().map(Field::value_type),
            Some(_) => {
                let name = ("type", format!("{at}.type"));
                fields::choice(
                    condition,
                    name,
                    &Type::ALL,
                    Type::name,
                    TYPES,
                    self.violations,
                )
                .map(Some)
            }
        };
        let (field, operator, values, of) = (field?, operator?, values?, of?);
        Some(Condition {
            field,
            operator,
            operands: values.into_iter().map(|value| typed(value, of)).collect(),
        })
    }
}

/// The operand in a JSON value: a text, an exact number or a boolean.
fn scalar(value: &Value) -> Option<Operand> {
    match value {
        Value::String(text) => Some(Operand::Text(text.clone())),
        Value::Number(number) => Some(Operand::Decimal(number.to_string())),
        Value::Bool(boolean) => Some(Operand::Boolean(*boolean)),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Converts the operand to the type that it should have, if possible: a string may contain a
/// number, and a number may stand for text.
fn typed(value: Operand, of: Option<Type>) -> Operand {
    match (of, value) {
        (Some(Type::Decimal), Operand::Text(text)) => Operand::Decimal(text),
        (Some(Type::Text), Operand::Decimal(text)) => Operand::Text(text),
        (Some(Type::Time), Operand::Text(text)) => {
            Timestamp::of_rfc3339(&text).map_or(Operand::Text(text), Operand::Time)
        }
        (Some(Type::Duration), Operand::Text(text)) => {
            of_seconds(&text).map_or(Operand::Text(text), Operand::Duration)
        }
        (_, value) => value,
    }
}

/// Renders rules in HighLevel's form.
pub(super) fn write(rules: &Rules) -> Value {
    match &rules.root {
        Rule::Group(group) => Value::Object(write_group(group, true)),
        Rule::Condition(condition) => json!({
            "logic": logic(Combinator::All),
            "conditions": [write_condition(condition)],
        }),
    }
}

/// Renders a group. `same_row` is the default of its `sameRow`, which is left out if it is the
/// same.
fn write_group(group: &Group, same_row: bool) -> Map<String, Value> {
    let rules = group.rules.iter().map(|rule| match rule {
        Rule::Group(group) => Value::Object(write_group(group, false)),
        Rule::Condition(condition) => write_condition(condition),
    });
    let mut body = Map::new();
    body.insert("logic".into(), logic(group.combinator).into());
    body.insert("conditions".into(), rules.collect());
    if group.same_row != same_row {
        body.insert(SAME_ROW.into(), group.same_row.into());
    }
    body
}

fn write_condition(condition: &Condition) -> Value {
    let mut body = Map::new();
    body.insert("field".into(), condition.field.name().into());
    body.insert("operator".into(), condition.operator.name().into());
    let mut values = condition.operands.iter().map(|operand| match operand {
        Operand::Text(text) | Operand::Decimal(text) => text.clone().into(),
        Operand::Boolean(boolean) => (*boolean).into(),
        Operand::Time(time) => time.to_string().into(),
        Operand::Duration(age) => seconds(*age).into(),
    });
    let value = if condition.operator.takes_several() {
        Some(Value::Array(values.collect()))
    } else {
        values.next()
    };
    body.extend(value.map(|value| ("value".to_owned(), value)));
    // The JSON string of such a value does not show its type.
    let of = condition.operands.first().map(Operand::value_type);
    let of = of.filter(|of| matches!(of, Type::Decimal | Type::Time));
    if let (Field::Attribute(_), Some(of)) = (&condition.field, of) {
        body.insert("type".into(), of.name().into());
    }
    Value::Object(body)
}

fn logic(combinator: Combinator) -> &'static str {
    match combinator {
        Combinator::All => "AND",
        Combinator::Any => "OR",
        Combinator::None => "NONE",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(rules: &Value) -> Result<Change<Rules>, Vec<String>> {
        let mut violations = Violations::default();
        let body = json!({ "rules": rules });
        let rules = read(
            body.as_object().unwrap(),
            &Limits::default(),
            &mut violations,
        );
        match violations.finish() {
            Ok(()) => Ok(rules),
            Err(error) => Err(error
                .violations
                .iter()
                .map(|v| crate::dialect::highlevel::error::field(&v.field))
                .collect()),
        }
    }

    #[test]
    fn names_listed_in_error_messages_match_the_domain() {
        assert_eq!(LOGICS, Combinator::ALL.map(logic).join(", "));
        let fields = Field::NAMED.map(|field| field.name()).join(", ");
        assert_eq!(FIELDS, format!("{fields}, attributes.<path>"));
        assert_eq!(TYPES, Type::ALL.map(Type::name).join(", "));
        assert_eq!(OPERATORS, Operator::ALL.map(Operator::name).join(", "));
    }

    #[test]
    fn rules_without_conditions_clear_the_rules() {
        for rules in [
            json!(null),
            json!({}),
            json!({"logic": "AND", "conditions": []}),
            json!({"conditions": null}),
        ] {
            assert_eq!(reading(&rules), Ok(Change::Clear), "{rules}");
        }
    }

    #[test]
    fn conditions_have_a_field_an_operator_and_a_value() {
        let price = json!({"field": "price", "operator": "less_than", "value": 12.5});
        let Ok(Change::Set(rules)) = reading(&json!({"conditions": [price]})) else {
            panic!("these are rules");
        };
        let expected = Group::of_one_row(
            Combinator::All,
            vec![Condition {
                field: Field::Price,
                operator: Operator::LessThan,
                operands: vec![Operand::Decimal("12.5".into())],
            }],
        );
        assert_eq!(rules.root, Rule::Group(expected));

        let odd = json!({"logic": "and", "conditions": [
            "<array>",
            {},
            {"field": "odd", "operator": "equals", "value": {}, "type": "odd"},
            {"conditions": [1], "sameRow": 5},
        ]});
        let fields = reading(&odd).unwrap_err();
        let expected = [
            "logic",
            "conditions.0",
            "conditions.1.field",
            "conditions.1.operator",
            "conditions.1.value",
            "conditions.2.field",
            "conditions.2.value",
            "conditions.2.type",
            "conditions.3.sameRow",
            "conditions.3.conditions.0",
        ];
        assert_eq!(fields, expected.map(|field| format!("rules.{field}")));
        for (rules, field) in [
            (json!([]), "rules"),
            (json!({"conditions": {}}), "rules.conditions"),
        ] {
            assert_eq!(reading(&rules).unwrap_err(), [field]);
        }
    }

    #[test]
    fn rules_round_trip_through_json() {
        let title = |value: &str| json!({"field": "title", "operator": "equals", "value": value});
        for rules in [
            json!({"logic": "OR", "conditions": [title("a"), title("b")]}),
            json!({"logic": "AND", "conditions": [title("a")], "sameRow": false}),
            json!({"logic": "AND", "conditions": [
                title("a"),
                {"logic": "NONE", "conditions": [title("b")]},
                {"logic": "OR", "conditions": [title("c")], "sameRow": true},
            ], "sameRow": false}),
            json!({"logic": "AND", "conditions": [
                {"field": "price", "operator": "between", "value": ["1.50", "2"]},
                {"field": "tag", "operator": "in", "value": ["a"]},
                {"field": "collection", "operator": "not_in", "value": ["a", "b"]},
                {"field": "available", "operator": "equals", "value": true},
                {"field": "vendor", "operator": "is_set"},
                {"field": "created", "operator": "less_than", "value": "2026-01-02T03:04:05.5Z"},
                {"field": "attributes.a.b", "operator": "equals", "value": "1"},
                {"field": "attributes.a.b", "operator": "not_in", "value": ["1"]},
                {"field": "attributes.n", "operator": "less_than", "value": "0.10", "type": "decimal"},
                {"field": "attributes.on", "operator": "not_equals", "value": false},
                {"field": "attributes.t", "operator": "greater_than",
                 "value": "2026-01-02T03:04:05Z", "type": "time"},
                {"field": "attributes.t", "operator": "is_not_set"},
                {"field": "attributes.t", "operator": "newer_than", "value": "86400s"},
                {"field": "updated", "operator": "older_than", "value": "0.25s"},
            ]}),
        ] {
            let Ok(Change::Set(read)) = reading(&rules) else {
                panic!("these are rules");
            };
            assert_eq!(write(&read), rules);
        }
    }

    #[test]
    fn a_value_has_the_type_of_its_field_or_else_of_its_json() {
        let of = |field: &str, value: Value| {
            let condition = json!({"field": field, "operator": "equals", "value": value});
            let Ok(Change::Set(rules)) = reading(&json!({"conditions": [condition]})) else {
                panic!("these are rules");
            };
            let Rule::Group(group) = rules.root else {
                panic!("the root is a group");
            };
            match &group.rules[0] {
                Rule::Condition(condition) => condition.operands[0].clone(),
                Rule::Group(_) => panic!("it is a condition"),
            }
        };
        assert_eq!(of("title", json!(5)), Operand::Text("5".into()));
        assert_eq!(of("price", json!("5")), Operand::Decimal("5".into()));
        assert_eq!(of("attributes.x", json!(5)), Operand::Decimal("5".into()));
        assert_eq!(of("attributes.x", json!("5")), Operand::Text("5".into()));
        assert_eq!(of("attributes.x", json!(true)), Operand::Boolean(true));
        let time = json!({"field": "created", "operator": "equals", "value": "yesterday"});
        let fields = reading(&json!({"conditions": [time]})).unwrap_err();
        assert_eq!(fields, ["rules.conditions.0.value"]);
    }

    #[test]
    fn the_meaning_and_number_of_conditions_are_validated() {
        let odd = json!({"field": "price", "operator": "contains", "value": "x"});
        let fields = reading(&json!({"conditions": [odd]})).unwrap_err();
        let at = "rules.conditions.0";
        assert_eq!(fields, [format!("{at}.operator"), format!("{at}.value")]);
        let many = vec![json!({"field": "title", "operator": "equals", "value": "x"}); 501];
        let fields = reading(&json!({ "conditions": many })).unwrap_err();
        assert_eq!(fields, ["rules.conditions"]);
    }
}
