//! Parses single fields of a JSON object, or of a query string as such an object. Problems are
//! added to the violations, so that the client gets all of them at once. The forms are worded to
//! follow "must be".

use serde_json::{Map, Value};

use crate::domain::{Change, Constraint, Result, TenantId, Violation, Violations};

/// The only value of `altType`, which clients write in small letters or capitals.
pub(super) const ALT_TYPE: &str = "location";
const ALT_TYPE_CAPITALS: &str = "LOCATION";

pub(super) type Object = Map<String, Value>;

pub(super) const STRING: Constraint = Constraint::Malformed("a string");
pub(super) const ARRAY: Constraint = Constraint::Malformed("an array");
pub(super) const OBJECT: Constraint = Constraint::Malformed("an object");
pub(super) const BOOLEAN: Constraint = Constraint::Malformed("a boolean value");

/// The tenant: the location in `altId`.
pub(super) fn tenant(object: &Object, violations: &mut Violations) -> Option<TenantId> {
    tenant_in("altId", object, violations)
}

/// The tenant: the location in the field `name`.
pub(super) fn tenant_in(
    name: &str,
    object: &Object,
    violations: &mut Violations,
) -> Option<TenantId> {
    let text = required_text(object, name, violations)?;
    violations.take(TenantId::parse(name, text))
}

/// The tenant, if there are no violations. A missing tenant has been reported as one.
///
/// # Errors
/// With all violations.
pub(super) fn finish(violations: Violations, tenant: Option<TenantId>) -> Result<TenantId> {
    violations.finish()?;
    tenant.ok_or_else(|| Violation::new("altId", "", Constraint::Required).into())
}

/// A list of ids; `None` if it is absent or `null`. `name` is the field, `max` its maximum length.
pub(super) fn ids<T>(
    object: &Object,
    name: &str,
    max: usize,
    parse: impl Fn(&str, &str) -> Result<T, Violation>,
    violations: &mut Violations,
) -> Option<Vec<T>> {
    let ids = match object.get(name) {
        None | Some(Value::Null) => return None,
        Some(Value::Array(ids)) => ids,
        Some(_) => {
            violations.add(name, "", ARRAY);
            return None;
        }
    };
    violations.count(name, ids.len(), max);
    let read = |(at, id): (usize, &Value)| {
        let field = format!("{name}.{at}");
        let text = id.as_str();
        let id = text.ok_or_else(|| Violation::new(&field, "", STRING))?;
        parse(&field, id)
    };
    let ids = ids.iter().enumerate().map(read);
    Some(ids.filter_map(|id| violations.take(id)).collect())
}

/// Checks `altType`. Both cases are accepted, because an example in HighLevel's documentation has
/// capitals.
pub(super) fn alt_type(object: &Object, violations: &mut Violations) {
    let text = object.get("altType").and_then(Value::as_str);
    if !text.is_some_and(|text| [ALT_TYPE, ALT_TYPE_CAPITALS].contains(&text)) {
        let rule = Constraint::Unknown(ALT_TYPE);
        violations.add("altType", text.unwrap_or_default(), rule);
    }
}

/// A required, non-blank string.
pub(super) fn required_text<'a>(
    object: &'a Object,
    name: &str,
    violations: &mut Violations,
) -> Option<&'a str> {
    match object.get(name) {
        Some(Value::String(text)) if !text.trim().is_empty() => return Some(text),
        Some(Value::String(_)) => violations.add(name, "", Constraint::Empty),
        None | Some(Value::Null) => {
            violations.add(name, "", STRING);
            violations.add(name, "", Constraint::Required);
        }
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            violations.add(name, "", STRING);
        }
    }
    None
}

/// An optional string; `null` or an empty one clears it. `path` is its name in error messages.
pub(super) fn optional_text(
    object: &Object,
    name: &str,
    path: &str,
    violations: &mut Violations,
) -> Change<String> {
    match object.get(name) {
        None => Change::Keep,
        Some(Value::Null) => Change::Clear,
        Some(Value::String(text)) if text.is_empty() => Change::Clear,
        Some(Value::String(text)) => Change::Set(text.clone()),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            violations.add(path, "", STRING);
            Change::Keep
        }
    }
}

/// The item of `all` whose name the field has; `list` has the names for the error message.
pub(super) fn choice<T: Copy>(
    object: &Object,
    (name, path): (&str, String),
    all: &[T],
    of: impl Fn(T) -> &'static str,
    list: &'static str,
    violations: &mut Violations,
) -> Option<T> {
    let text = object.get(name).and_then(Value::as_str);
    let found = all.iter().copied().find(|item| Some(of(*item)) == text);
    if found.is_none() {
        violations.add(path, text.unwrap_or_default(), Constraint::Unknown(list));
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems(value: Value, read: impl Fn(&Object, &mut Violations)) -> Vec<String> {
        let mut violations = Violations::default();
        read(value.as_object().unwrap(), &mut violations);
        match violations.finish() {
            Ok(()) => Vec::new(),
            Err(error) => error.violations.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_required_text_must_be_a_non_blank_string() {
        let name = |value| {
            problems(value, |object, violations| {
                required_text(object, "name", violations);
            })
        };
        assert_eq!(name(json!({"name": "a"})), [""; 0]);
        assert_eq!(name(json!({"name": " "})), ["name: must not be empty"]);
        assert_eq!(name(json!({"name": 1})), ["name: must be a string"]);
        for absent in [json!({}), json!({"name": null})] {
            assert_eq!(
                name(absent),
                ["name: must be a string", "name: is required"]
            );
        }
    }

    #[test]
    fn alt_type_is_location_in_either_case() {
        let count = |value| problems(json!({"altType": value}), alt_type).len();
        assert_eq!(count(json!("location")) + count(json!("LOCATION")), 0);
        for odd in [json!("Location"), json!("company"), json!(1), json!(null)] {
            assert_eq!(count(odd), 1);
        }
        assert_eq!(problems(json!({}), alt_type).len(), 1);
    }
}
