//! The rules of a smart collection in a body. HighLevel publishes no form for a
//! condition; `{"field", "operator", "value"}` is Endcap's.
//!
//! HighLevel's own form is flat: one group, all or any of whose conditions one row (a price
//! with its variant) satisfies. What that form can't say is written as groups among the
//! conditions, `{"logic", "conditions", "sameRow"}`, and read back.

use serde_json::{Map, Value, json};

use super::fields::{self, ARRAY, OBJECT, Object};
use crate::domain::{
    Change, Combinator, Condition, Constraint, Field, Group, Limits, Operand, Operator, Rule,
    Rules, Violations,
};

const LOGICS: &str = "AND, OR, NONE";
const FIELDS: &str = "title, variant_title, price, inventory";
const OPERATORS: &str = "equals, not_equals, greater_than, less_than, contains, not_contains, \
                         starts_with, ends_with";
const SCALAR: Constraint = Constraint::Malformed("a string or a number");
const BOOLEAN: Constraint = Constraint::Malformed("a boolean");
const SAME_ROW: &str = "sameRow";

/// What the body says of the rules. Rules without conditions are no rules: the
/// documents' own examples send them for manual collections.
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
    // Where some can't be read, what they mean together can't be checked.
    let Some(group) = group else {
        return Change::Keep;
    };
    let root = Rule::Group(group);
    let rules = Rules { root };
    rules.check(limits, violations);
    Change::Set(rules)
}

struct Reader<'a> {
    /// How many more rules are looked at.
    left: usize,
    violations: &'a mut Violations,
}

impl Reader<'_> {
    /// A group; `same_row` is what it is where it does not say so.
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
        // All are read, so that all violations are reported.
        let rules: Vec<_> = rules.collect();
        Some(Group {
            combinator: combinator?,
            same_row: same_row?,
            rules: rules.into_iter().collect::<Option<_>>()?,
        })
    }

    /// How the conditions are combined; all must hold where nothing is said.
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
        let name = |name| (name, format!("{at}.{name}"));
        let (field, all) = (name("field"), &Field::ALL);
        let field = fields::choice(condition, field, all, Field::name, FIELDS, self.violations);
        let (operator, all, names) = (name("operator"), &Operator::ALL, OPERATORS);
        let operator = fields::choice(
            condition,
            operator,
            all,
            Operator::name,
            names,
            self.violations,
        );
        let value = match condition.get("value") {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            None | Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
                self.violations.add(format!("{at}.value"), "", SCALAR);
                None
            }
        };
        let (field, operator, value) = (field?, operator?, value?);
        let operand = if field.is_number() {
            Operand::Decimal(value)
        } else {
            Operand::Text(value)
        };
        Some(Condition {
            field,
            operator,
            operand,
        })
    }
}

/// The rules as a body has them.
pub(super) fn write(rules: &Rules) -> Value {
    match &rules.root {
        Rule::Group(group) => Value::Object(write_group(group, true)),
        Rule::Condition(condition) => json!({
            "logic": logic(Combinator::All),
            "conditions": [write_condition(condition)],
        }),
    }
}

/// A group; `same_row` is what readers take where it does not say so.
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
    json!({
        "field": condition.field.name(),
        "operator": condition.operator.name(),
        "value": condition.operand.as_str(),
    })
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
    fn the_lists_in_messages_are_the_domains() {
        assert_eq!(LOGICS, Combinator::ALL.map(logic).join(", "));
        assert_eq!(FIELDS, Field::ALL.map(Field::name).join(", "));
        assert_eq!(OPERATORS, Operator::ALL.map(Operator::name).join(", "));
    }

    #[test]
    fn rules_without_conditions_are_no_rules() {
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
                operand: Operand::Decimal("12.5".into()),
            }],
        );
        assert_eq!(rules.root, Rule::Group(expected));

        let odd = json!({"logic": "and", "conditions": [
            "<array>",
            {},
            {"field": "tag", "operator": "equals", "value": true},
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
    fn what_is_written_is_read_back() {
        let title = |value: &str| json!({"field": "title", "operator": "equals", "value": value});
        for rules in [
            json!({"logic": "OR", "conditions": [title("a"), title("b")]}),
            json!({"logic": "AND", "conditions": [title("a")], "sameRow": false}),
            json!({"logic": "AND", "conditions": [
                title("a"),
                {"logic": "NONE", "conditions": [title("b")]},
                {"logic": "OR", "conditions": [title("c")], "sameRow": true},
            ], "sameRow": false}),
        ] {
            let Ok(Change::Set(read)) = reading(&rules) else {
                panic!("these are rules");
            };
            assert_eq!(write(&read), rules);
        }
    }

    #[test]
    fn what_conditions_mean_is_checked_with_all_else() {
        let odd = json!({"field": "price", "operator": "contains", "value": "x"});
        let fields = reading(&json!({"conditions": [odd]})).unwrap_err();
        let at = "rules.conditions.0";
        assert_eq!(fields, [format!("{at}.operator"), format!("{at}.value")]);
        let many = vec![json!({"field": "title", "operator": "equals", "value": "x"}); 51];
        let fields = reading(&json!({ "conditions": many })).unwrap_err();
        assert_eq!(fields, ["rules.conditions"]);
    }
}
