//! JSON of the client's own: custom properties of collections, attributes of products.

use std::collections::BTreeMap;

use super::{change::MapChange, constraint::Constraint, error::Violations, field::FieldPath};

/// A JSON value as compact text. The domain keeps it; of what is inside, only the depth matters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Json(pub String);

impl Json {
    /// The most levels of arrays and objects that a client may write. Protobuf's decoders in
    /// C++, Java and Python refuse more than 100 messages in each other. A level is up to three
    /// of a `Struct`'s, and a response has four around a value.
    pub const MAX_LEVELS: usize = 30;

    /// How many levels of arrays and objects it has: none in a text or a number.
    pub fn levels(&self) -> usize {
        let (mut open, mut deepest): (usize, usize) = (0, 0);
        let mut in_text = false;
        let mut bytes = self.0.bytes();
        while let Some(byte) = bytes.next() {
            match byte {
                b'"' => in_text = !in_text,
                // What follows may be a quotation mark.
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

/// Properties of the client's own, by name.
pub type CustomProperties = BTreeMap<String, Json>;

/// Checks how deep the values are that a change sets. Those that are stored already may stay,
/// and come back with the rest of a collection: they are from before there was this limit.
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
    fn levels_are_those_of_arrays_and_objects_outside_of_texts() {
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
