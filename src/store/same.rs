//! Detects JSON from clients that is equal to what is stored. Clients often send back what they
//! have read, but with keys in another order or with 1 instead of 1.0. That should not count as a
//! change.

use serde_json::Value;

use crate::domain::{CustomProperties, Json, MapChange};

/// The change, with the stored form of each value that is equal to the stored one.
pub(super) fn as_stored(
    mut change: MapChange<String, Json>,
    stored: &CustomProperties,
) -> MapChange<String, Json> {
    for (name, value) in &mut change.entries {
        if let (Some(value), Some(stored)) = (value, stored.get(name))
            && is_same(value, stored)
        {
            value.clone_from(stored);
        }
    }
    change
}

fn is_same(a: &Json, b: &Json) -> bool {
    let read = |json: &Json| serde_json::from_str::<Value>(&json.0).ok();
    a == b || read(a).zip(read(b)).is_some_and(|(a, b)| are_equal(&a, &b))
}

fn are_equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a == b || (a.is_f64() || b.is_f64()) && a.as_f64() == b.as_f64()
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| are_equal(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            let has = |(name, a)| b.get(name).is_some_and(|b| are_equal(a, b));
            a.len() == b.len() && a.iter().all(has)
        }
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equality_ignores_the_order_of_names_and_the_form_of_numbers() {
        let same = |a: &str, b: &str| is_same(&Json(a.into()), &Json(b.into()));
        assert!(same(
            r#"{"a":[1.0,{"b":2,"c":null}]}"#,
            r#"{"a": [1, {"c": null, "b": 2e0}]}"#
        ));
        for (a, b) in [
            ("1", "1.5"),
            ("1", "\"1\""),
            ("9007199254740993", "9007199254740992"),
            ("[1,2]", "[2,1]"),
            ("[1]", "[1,1]"),
            (r#"{"a":1}"#, r#"{"a":1,"b":null}"#),
        ] {
            assert!(!same(a, b) && !same(b, a), "{a} {b}");
        }
    }
}
