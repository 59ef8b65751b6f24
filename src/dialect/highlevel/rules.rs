//! The rules of a smart collection in a body. HighLevel publishes no form for a
//! condition; `{"field", "operator", "value"}` is ours.

use serde_json::Value;

use super::fields::{self, ARRAY, OBJECT, Object};
use crate::domain::{Change, Condition, Field, Limits, Logic, Operator, Rule, Rules, Violations};

const LOGICS: &str = "AND, OR";
const FIELDS: &str = "title, variant_title, price, inventory";
const OPERATORS: &str = "equals, not_equals, greater_than, less_than, contains, not_contains, \
                         starts_with, ends_with";
const VALUE: Rule = Rule::Malformed("a string or a number");

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
    let logic = logic(rules, violations);
    let conditions = match rules.get("conditions") {
        None | Some(Value::Null) => return Change::Clear,
        Some(Value::Array(conditions)) => conditions,
        Some(_) => {
            violations.add("rules.conditions", "", ARRAY);
            return Change::Keep;
        }
    };
    let conditions: Vec<_> = conditions
        .iter()
        .enumerate()
        .map(|(at, value)| condition(&format!("rules.conditions.{at}"), value, violations))
        .collect();
    if conditions.is_empty() {
        return Change::Clear;
    }
    // Where some can't be read, what they mean together can't be checked.
    match (logic, conditions.into_iter().collect()) {
        (Some(logic), Some(conditions)) => {
            let rules = Rules { logic, conditions };
            rules.check(limits, violations);
            Change::Set(rules)
        }
        _ => Change::Keep,
    }
}

/// How the conditions combine; all must hold where nothing is said.
fn logic(rules: &Object, violations: &mut Violations) -> Option<Logic> {
    if !rules.contains_key("logic") {
        return Some(Logic::And);
    }
    let name = ("logic", "rules.logic".to_owned());
    fields::choice(rules, name, &Logic::ALL, Logic::name, LOGICS, violations)
}

fn condition(at: &str, value: &Value, violations: &mut Violations) -> Option<Condition> {
    let Value::Object(condition) = value else {
        violations.add(at, "", OBJECT);
        return None;
    };
    let name = ("field", format!("{at}.field"));
    let field = fields::choice(
        condition,
        name,
        &Field::ALL,
        Field::name,
        FIELDS,
        violations,
    );
    let name = ("operator", format!("{at}.operator"));
    let operator = fields::choice(
        condition,
        name,
        &Operator::ALL,
        Operator::name,
        OPERATORS,
        violations,
    );
    let value = match condition.get("value") {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        None | Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
            violations.add(format!("{at}.value"), "", VALUE);
            None
        }
    };
    Some(Condition {
        field: field?,
        operator: operator?,
        value: value?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reading(rules: Value) -> Result<Change<Rules>, Vec<String>> {
        let mut violations = Violations::default();
        let body = json!({ "rules": rules });
        let limits = crate::config::tests::limits();
        let rules = read(body.as_object().unwrap(), &limits, &mut violations);
        match violations.finish() {
            Ok(()) => Ok(rules),
            Err(error) => Err(error.violations.into_iter().map(|v| v.field).collect()),
        }
    }

    #[test]
    fn the_lists_in_messages_are_the_domains() {
        assert_eq!(LOGICS, Logic::ALL.map(Logic::name).join(", "));
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
            assert_eq!(reading(rules.clone()), Ok(Change::Clear), "{rules}");
        }
    }

    #[test]
    fn conditions_have_a_field_an_operator_and_a_value() {
        let price = json!({"field": "price", "operator": "less_than", "value": 12.5});
        let Ok(Change::Set(rules)) = reading(json!({"conditions": [price]})) else {
            panic!("these are rules");
        };
        assert_eq!(rules.logic, Logic::And);
        assert_eq!(rules.conditions[0].value, "12.5");

        let odd = json!({"logic": "and", "conditions": [
            "<array>",
            {},
            {"field": "tag", "operator": "equals", "value": true},
        ]});
        let fields = reading(odd).unwrap_err();
        let expected = [
            "logic",
            "conditions.0",
            "conditions.1.field",
            "conditions.1.operator",
            "conditions.1.value",
            "conditions.2.field",
            "conditions.2.value",
        ];
        assert_eq!(fields, expected.map(|field| format!("rules.{field}")));
        for (rules, field) in [
            (json!([]), "rules"),
            (json!({"conditions": {}}), "rules.conditions"),
        ] {
            assert_eq!(reading(rules).unwrap_err(), [field]);
        }
    }

    #[test]
    fn what_conditions_mean_is_checked_with_all_else() {
        let odd = json!({"field": "price", "operator": "contains", "value": "x"});
        let fields = reading(json!({"conditions": [odd]})).unwrap_err();
        let at = "rules.conditions.0";
        assert_eq!(fields, [format!("{at}.operator"), format!("{at}.value")]);
    }
}
