//! Parses the parents of a collection in a request.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    codes,
    fields::{self, Object, Problems},
    problem::Problem,
};
use crate::{domain::CollectionId, service::Parents};

const PARENT: &str = "parentCategoryId";
const PARENTS: &str = "parentCategoryIds";
const ORPHANED: &str = "orphaned";

/// The parents of a new collection; the root by default.
pub fn of_new(body: &Object, problems: &mut Problems) -> Parents {
    let mut under: BTreeSet<CollectionId> = one(body, problems).into_iter().collect();
    under.extend(several(body, problems));
    if orphaned(body, problems) {
        let mut beside = vec!["catalogId", PARENT, PARENTS];
        beside.retain(|name| fields::given(body, name).is_some());
        if !beside.is_empty() {
            let why = format_args!("can't be true together with {}", beside.join(", "));
            problems.invalid(ORPHANED, why);
        }
        return Parents::None;
    }
    if under.is_empty() {
        Parents::Root
    } else {
        Parents::Under(under)
    }
}

/// The new parent in an update; `None` if the parents are unchanged.
pub fn of_old(body: &Object, problems: &mut Problems) -> Option<BTreeSet<CollectionId>> {
    one(body, problems).map(|parent| BTreeSet::from([parent]))
}

fn one(body: &Object, problems: &mut Problems) -> Option<CollectionId> {
    parent(PARENT, fields::given(body, PARENT)?, problems)
}

fn several(body: &Object, problems: &mut Problems) -> Vec<CollectionId> {
    match fields::given(body, PARENTS) {
        None => Vec::new(),
        Some(Value::Array(ids)) => ids
            .iter()
            .enumerate()
            .filter_map(|(index, id)| parent(&format!("{PARENTS}.{index}"), id, problems))
            .collect(),
        Some(_) => {
            problems.invalid(PARENTS, "must be an array of ids");
            Vec::new()
        }
    }
}

/// A malformed id gets the code of an unknown parent.
fn parent(path: &str, value: &Value, problems: &mut Problems) -> Option<CollectionId> {
    match value.as_str() {
        Some(id) => problems.take(codes::NO_PARENT, CollectionId::parse(path, id)),
        None => {
            problems.add(Problem::at(
                codes::NO_PARENT,
                path,
                "must be a collection's id",
            ));
            None
        }
    }
}

fn orphaned(body: &Object, problems: &mut Problems) -> bool {
    match fields::given(body, ORPHANED) {
        None => false,
        Some(Value::Bool(orphaned)) => *orphaned,
        Some(_) => {
            problems.invalid(ORPHANED, "must be true or false");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn new(body: &Value) -> (String, Vec<&'static str>) {
        let mut problems = Problems::default();
        let parents = of_new(body.as_object().unwrap(), &mut problems);
        (format!("{parents:?}"), problems.numbers())
    }

    #[test]
    fn parents_of_a_new_collection_are_read_from_the_request() {
        let cases = [
            (json!({}), "Root"),
            (
                json!({"parentCategoryId": null, "parentCategoryIds": []}),
                "Root",
            ),
            (json!({"parentCategoryId": "a"}), r#"Under({"a"})"#),
            (
                json!({"parentCategoryId": "a", "parentCategoryIds": ["b", "a"]}),
                r#"Under({"a", "b"})"#,
            ),
            (json!({"orphaned": true}), "None"),
            (json!({"orphaned": false, "catalogId": "c"}), "Root"),
        ];
        for (body, parents) in cases {
            assert_eq!(new(&body), (parents.to_owned(), Vec::new()), "{body}");
        }
    }

    #[test]
    fn contradictory_or_invalid_parents_are_rejected() {
        let cases = [
            (json!({"orphaned": true, "catalogId": "c"}), "25014"),
            (
                json!({"orphaned": true, "catalogId": "c", "parentCategoryId": "a"}),
                "25014",
            ),
            (json!({"orphaned": "yes"}), "25014"),
            (json!({"parentCategoryId": ""}), "20085"),
            (json!({"parentCategoryId": "a b"}), "20085"),
            (json!({"parentCategoryIds": "a"}), "25014"),
            (json!({"parentCategoryIds": [5]}), "20085"),
        ];
        for (body, code) in cases {
            assert_eq!(new(&body).1, [code], "{body}");
        }
    }
}
