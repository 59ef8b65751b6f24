//! JSON values that clients define: custom properties of collections, and attributes of products.

use std::collections::BTreeMap;

use super::{change::MapChange, constraint::Constraint, error::Violations, field::FieldPath};

/// A JSON value as compact text. The domain does not interpret it, except for its nesting depth.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Json(pub String);

impl Json {
    /// The maximum nesting of arrays and objects that a client may write. Protobuf decoders in C++,
    /// Java and Python reject more than 100 nested messages. A level of JSON takes up to three
    /// messages of a `Struct`, and a response has four around the value.
    pub const MAX_LEVELS: usize = 30;

    /// The nesting depth of arrays and objects; 0 for a text or a number.
    pub fn levels(&self) -> usize {
        let (mut open, mut deepest): (usize, usize) = (0, 0);
        let mut in_text = false;
        let mut bytes = self.0.bytes();
        while let Some(byte) = bytes.next() {
            match byte {
                b'"' => in_text = !in_text,
                // Skips the escaped character, which may be a quotation mark.
                b'\\' if in_text => drop(bytes.next()),
                b'[' | b'{' if !in_text => {
                    open += 1;
                    deepest = deepest.max(open);
                }
                b']' | b'}' if !in_text => open = open.saturating_sub(1),
                _ => {}
            }
        }
        deepest
    }
}

/// Custom properties, by name.
pub type CustomProperties = BTreeMap<String, Json>;

/// Checks the nesting depth of values that a change sets. Stored values that are too deep may be
/// sent back unchanged: they are from before the limit existed.
pub(super) fn check_levels(
    change: &MapChange<String, Json>,
    stored: &CustomProperties,
    field: &FieldPath,
    violations: &mut Violations,
) {
    for (name, json) in &change.entries {
        let (depth, max) = (json.as_ref().map_or(0, Json::levels), Json::MAX_LEVELS);
        if depth > max && stored.get(name) != json.as_ref() {
            violations.add(field.clone(), name, Constraint::TooDeep { depth, max });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_levels_ignore_brackets_in_strings() {
        for (json, levels) in [
            ("1", 0),
            (r#""[{""#, 0),
            ("[]", 1),
            (r#"{"a":[],"b":{"c":[1]}}"#, 3),
            (r#"["\"[[[","\\",[]]"#, 2),
            (r#"{"[":{"{\"[":1}}"#, 2),
        ] {
            assert_eq!(Json(json.into()).levels(), levels, "{json}");
        }
    }
}
