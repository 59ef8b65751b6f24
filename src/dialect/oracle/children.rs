//! Parses the changes of child products in an update, in every documented form.
//!
//! `type` says whether products are appended or updated, and `op` how they are updated. Oracle's
//! documentation contradicts itself about the other fields, so all of its forms are accepted: the
//! indexes of a move in `moves` (a list, or a single object) or next to `op`; `productMap` as an
//! object from ids to indexes, or as a list of the ids that come first. An `op` without a `type` is
//! an update.

use std::collections::HashSet;

use serde_json::Value;

use super::{
    codes::{self, Code},
    fields::{self, Object, Problems},
    operation::ProductOp,
    problem::Problem,
};
use crate::{
    domain::{ChildId, ChildType, Mutation, OnDuplicate, Place, Position},
    service::ChildMutation,
};

const TYPE: &str = "type";
const OP: &str = "op";
const INDEXES: [&str; 3] = ["fromStart", "fromEnd", "to"];
const PRODUCTS: &str = "products";
const MOVES: &str = "moves";
const MAP: &str = "productMap";
/// The fields with the operands of an operation.
const OPERANDS: [&str; 6] = [PRODUCTS, MOVES, MAP, INDEXES[0], INDEXES[1], INDEXES[2]];

/// The operation on products in the body; `None` if it has none.
///
/// # Errors
/// If `type` and `op` are contradictory or unknown.
pub fn operation(body: &Object) -> Result<Option<ProductOp>, Problem> {
    let kind = word(body, TYPE)?;
    let op = word(body, OP)?;
    match (kind, op) {
        (None, None) => match OPERANDS.iter().find(|name| fields::has(body, name)) {
            None => Ok(None),
            Some(name) => {
                let why = "needs type or op";
                Err(Problem::at(codes::INVALID_OPERATION, *name, why))
            }
        },
        (Some("appendProducts"), None) => Ok(Some(ProductOp::Append)),
        (Some("updateProducts") | None, Some(op)) => update(op).map(Some),
        (Some("updateProducts"), None) => Err(unknown_op("is required by updateProducts")),
        (Some("appendProducts"), Some(_)) => {
            Err(unknown_op("can't be given together with appendProducts"))
        }
        (Some(other), _) => {
            let why = format!("{other:?} must be appendProducts or updateProducts");
            Err(Problem::at(codes::INVALID_OPERATION, TYPE, why))
        }
    }
}

/// Rejects operations on products in a create request.
pub fn check_new(body: &Object, problems: &mut Problems) {
    for name in [TYPE, OP].into_iter().chain(OPERANDS) {
        if fields::has(body, name) {
            let why = "is not allowed: products are added by updateCollection";
            problems.add(Problem::at(codes::INVALID_OPERATION, name, why));
        }
    }
}

/// Rejects the operands of other operations, as they would be ignored.
fn check_operands(body: &Object, op: ProductOp, problems: &mut Problems) {
    let own: &[&str] = match op {
        ProductOp::Append | ProductOp::Remove => &[PRODUCTS],
        ProductOp::Move => &[MOVES, INDEXES[0], INDEXES[1], INDEXES[2]],
        ProductOp::Reorder => &[MAP],
    };
    for name in OPERANDS {
        if !own.contains(&name) && fields::has(body, name) {
            let own = own.join(", ");
            let why = format_args!("is not allowed for this operation; allowed: {own}");
            problems.add(Problem::at(codes::INVALID_OPERATION, name, why));
        }
    }
}

/// The mutations of an operation.
pub fn mutations(body: &Object, op: ProductOp, problems: &mut Problems) -> Vec<ChildMutation> {
    check_operands(body, op, problems);
    let mutations = match op {
        ProductOp::Append => products(body, problems)
            .map(|ids| Mutation::Append {
                ids,
                on_duplicate: OnDuplicate::ErrorIfAll,
            })
            .into_iter()
            .collect(),
        ProductOp::Remove => products(body, problems)
            .map(Mutation::remove)
            .into_iter()
            .collect(),
        ProductOp::Move => moves(body, problems),
        ProductOp::Reorder => order(body, problems)
            .map(|placements| Mutation::Reorder { placements })
            .into_iter()
            .collect(),
    };
    let of_products = |mutation| ChildMutation {
        list: ChildType::Product,
        mutation,
    };
    mutations.into_iter().map(of_products).collect()
}

fn update(op: &str) -> Result<ProductOp, Problem> {
    match op {
        "remove" => Ok(ProductOp::Remove),
        "move" => Ok(ProductOp::Move),
        "reorder" => Ok(ProductOp::Reorder),
        _ => Err(unknown_op(&format!(
            "{op:?} must be remove, move or reorder"
        ))),
    }
}

fn unknown_op(why: &str) -> Problem {
    Problem::at(codes::INVALID_OPERATION, OP, why)
}

/// The string in a field; `None` if the field is missing or null.
fn word<'a>(body: &'a Object, name: &str) -> Result<Option<&'a str>, Problem> {
    match fields::given(body, name) {
        None => Ok(None),
        Some(Value::String(word)) => Ok(Some(word)),
        Some(_) => Err(Problem::at(
            codes::INVALID_OPERATION,
            name,
            "must be a string",
        )),
    }
}

pub(super) fn products(body: &Object, problems: &mut Problems) -> Option<Vec<ChildId>> {
    if !fields::has(body, PRODUCTS) {
        problems.add(Problem::new(codes::NO_PRODUCTS, ""));
        return None;
    }
    match body.get(PRODUCTS) {
        Some(Value::Array(ids)) => product_ids(ids, PRODUCTS, problems),
        _ => {
            problems.invalid(PRODUCTS, "must be an array of product ids");
            None
        }
    }
}

/// The ids; `None` if one of them is invalid.
fn product_ids(ids: &[Value], at: &str, problems: &mut Problems) -> Option<Vec<ChildId>> {
    let id = |(index, id): (usize, &Value)| {
        let path = format!("{at}.{index}");
        product_id(&path, id.as_str(), problems)
    };
    let found: Vec<ChildId> = ids.iter().enumerate().filter_map(id).collect();
    (found.len() == ids.len()).then_some(found)
}

/// A malformed id gets the code of an unknown product.
fn product_id(path: &str, id: Option<&str>, problems: &mut Problems) -> Option<ChildId> {
    match id {
        Some(id) => problems.take(codes::NO_SUCH_PRODUCT, ChildId::parse(path, id)),
        None => {
            problems.add(Problem::at(
                codes::NO_SUCH_PRODUCT,
                path,
                "must be a product's id",
            ));
            None
        }
    }
}

fn moves(body: &Object, problems: &mut Problems) -> Vec<Mutation> {
    let beside = INDEXES.iter().any(|name| fields::has(body, name));
    let refuse = |why: &str| Problem::at(codes::INVALID_RANGE, MOVES, why);
    let listed = match body.get(MOVES) {
        Some(Value::Array(items)) => items.as_slice(),
        Some(one @ Value::Object(_)) => std::slice::from_ref(one),
        None | Some(Value::Null) => &[],
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
            problems.add(refuse("must be an array of moves"));
            return Vec::new();
        }
    };
    match (listed.is_empty(), beside) {
        (false, true) => {
            problems.add(refuse(
                "fromStart, fromEnd and to must be in moves or next to op, not in both",
            ));
            Vec::new()
        }
        (true, false) => {
            problems.add(refuse("no move is given"));
            Vec::new()
        }
        (true, true) => one_move(body, "", problems).into_iter().collect(),
        (false, false) => {
            let mut moves = Vec::with_capacity(listed.len());
            for (index, item) in listed.iter().enumerate() {
                let at = format!("{MOVES}.{index}");
                match item.as_object() {
                    Some(item) => moves.extend(one_move(item, &at, problems)),
                    None => {
                        problems.add(Problem::at(codes::INVALID_RANGE, at, "must be an object"))
                    }
                }
            }
            moves
        }
    }
}

fn one_move(item: &Object, at: &str, problems: &mut Problems) -> Option<Mutation> {
    let [from_start, from_end, to] = INDEXES.map(|name| {
        let path = fields::path(at, name);
        index(
            codes::INVALID_RANGE,
            &path,
            fields::given(item, name),
            problems,
        )
    });
    Some(Mutation::MoveRange {
        first: from_start?,
        last: from_end?,
        position: Position::Index(to?),
    })
}

fn order(body: &Object, problems: &mut Problems) -> Option<Vec<(ChildId, Place)>> {
    if !fields::has(body, MAP) {
        problems.add(Problem::new(codes::NO_PRODUCTS, "productMap is missing"));
        return None;
    }
    match body.get(MAP) {
        Some(Value::Object(map)) => {
            let place = |(id, value): (&String, &Value)| {
                let path = fields::path(MAP, id);
                let id = product_id(&path, Some(id), problems);
                id.zip(target_place(&path, value, problems))
            };
            let places: Vec<_> = map.iter().filter_map(place).collect();
            (places.len() == map.len()).then_some(places)
        }
        Some(Value::Array(ids)) => {
            let ids = product_ids(ids, MAP, problems)?;
            let mut seen = HashSet::new();
            if let Some(twice) = ids.iter().find(|id| !seen.insert(*id)) {
                let why = format_args!("{twice:?} is given twice");
                problems.add(Problem::at(codes::INVALID_INDEX, MAP, why));
                return None;
            }
            Some(ids.into_iter().zip((0..).map(Place::Index)).collect())
        }
        _ => {
            problems.invalid(
                MAP,
                "must be an object of indexes by product id, or an array of ids",
            );
            None
        }
    }
}

/// An index, or -1 for the end of the list.
fn target_place(path: &str, value: &Value, problems: &mut Problems) -> Option<Place> {
    if fields::integer(value) == Some(-1) {
        return Some(Place::Last);
    }
    let index = fields::integer(value).and_then(|index| u64::try_from(index).ok());
    if index.is_none() {
        let why = format_args!("{value} must be an integer of at least 0, or -1 for the end");
        problems.add(Problem::at(codes::INVALID_INDEX, path, why));
    }
    index.map(Place::Index)
}

fn index(code: Code, path: &str, value: Option<&Value>, problems: &mut Problems) -> Option<u64> {
    let Some(value) = value else {
        problems.add(Problem::at(code, path, "is required"));
        return None;
    };
    let index = fields::integer(value).and_then(|index| u64::try_from(index).ok());
    if index.is_none() {
        let why = format_args!("{value} must be an integer of at least 0");
        problems.add(Problem::at(code, path, why));
    }
    index
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: &Value) -> Result<Vec<Mutation>, Vec<&'static str>> {
        let body = body.as_object().unwrap();
        let mut problems = Problems::default();
        let found = match operation(body) {
            Ok(None) => Vec::new(),
            Ok(Some(op)) => mutations(body, op, &mut problems),
            Err(problem) => {
                problems.add(problem);
                Vec::new()
            }
        };
        match problems.numbers() {
            numbers if numbers.is_empty() => Ok(found.into_iter().map(|m| m.mutation).collect()),
            numbers => Err(numbers),
        }
    }

    fn ids(ids: &[&str]) -> Vec<ChildId> {
        ids.iter().map(|id| ChildId::trusted(*id)).collect()
    }

    #[test]
    fn every_documented_shape_is_read() {
        let one = Mutation::MoveRange {
            first: 5,
            last: 10,
            position: Position::Index(2),
        };
        let order = |places: &[(&str, u64)]| {
            let place = |(id, index): &(&str, u64)| (ChildId::trusted(*id), Place::Index(*index));
            Mutation::Reorder {
                placements: places.iter().map(place).collect(),
            }
        };
        let remove = Mutation::remove(ids(&["prod1", "prod2", "prod3"]));
        let item = json!({"fromStart": 5, "fromEnd": "10", "to": 2});
        let cases = [
            (json!({}), vec![]),
            (
                json!({"type": null, "op": null, "products": [], "moves": null}),
                vec![],
            ),
            (
                json!({"type": "appendProducts", "products": ["b", "a"]}),
                vec![Mutation::Append {
                    ids: ids(&["b", "a"]),
                    on_duplicate: OnDuplicate::ErrorIfAll,
                }],
            ),
            (
                json!({"op": "remove", "products": ["prod1", "prod2", "prod3"]}),
                vec![remove],
            ),
            (
                json!({"op": "move", "fromStart": 5, "fromEnd": 10, "to": 2}),
                vec![one.clone()],
            ),
            (
                json!({"type": "updateProducts", "op": "move", "moves": [item, item]}),
                vec![one.clone(), one.clone()],
            ),
            (json!({"op": "move", "moves": item}), vec![one]),
            (
                json!({"op": "reorder", "productMap": {"a": 1.0, "b": "0"}}),
                vec![order(&[("a", 1), ("b", 0)])],
            ),
            (
                json!({"op": "reorder", "productMap": {"a": -1}}),
                vec![Mutation::Reorder {
                    placements: vec![(ChildId::trusted("a"), Place::Last)],
                }],
            ),
            (
                json!({"type": "updateProducts", "op": "reorder", "productMap": ["b", "a"]}),
                vec![order(&[("b", 0), ("a", 1)])],
            ),
        ];
        for (body, mutations) in cases {
            assert_eq!(read(&body), Ok(mutations), "{body}");
        }
    }

    #[test]
    fn each_invalid_product_operation_has_its_error_code() {
        let cases = [
            (json!({"type": "updateProducts"}), "20202"),
            (json!({"type": "replaceProducts"}), "20202"),
            (json!({"op": "shuffle"}), "20202"),
            (json!({"op": 1}), "20202"),
            // Empty operations.
            (json!({"op": ""}), "20202"),
            (json!({"type": ""}), "20202"),
            (json!({"type": "updateProducts", "op": " "}), "20202"),
            (
                json!({"type": "appendProducts", "op": "remove", "products": ["a"]}),
                "20202",
            ),
            (json!({"products": ["a"]}), "20202"),
            (json!({"type": "appendProducts"}), "20092"),
            (json!({"type": "appendProducts", "products": []}), "20092"),
            (json!({"op": "remove", "products": null}), "20092"),
            (json!({"op": "reorder", "productMap": {}}), "20092"),
            (json!({"op": "remove", "products": "a"}), "25014"),
            (json!({"op": "remove", "products": [1]}), "20094"),
            (json!({"op": "remove", "products": ["a\tb"]}), "20094"),
            (json!({"op": "move"}), "37202"),
            (json!({"op": "move", "moves": "x"}), "37202"),
            (json!({"op": "move", "moves": [1]}), "37202"),
            (
                json!({"op": "move", "moves": [{"fromStart": 1, "fromEnd": 1}]}),
                "37202",
            ),
            (
                json!({"op": "move", "fromStart": -1, "fromEnd": 1, "to": 0}),
                "37202",
            ),
            (
                json!({"op": "move", "fromStart": 0, "fromEnd": 1.5, "to": 0}),
                "37202",
            ),
            (
                json!({"op": "move", "to": 1, "moves": {"fromStart": 0, "fromEnd": 0, "to": 0}}),
                "37202",
            ),
            (json!({"op": "reorder", "productMap": {"a": -2}}), "20084"),
            (json!({"op": "reorder", "productMap": {"a": 0.5}}), "20084"),
            (
                json!({"op": "reorder", "productMap": {"a": 1e300}}),
                "20084",
            ),
            (json!({"op": "reorder", "productMap": ["a", "a"]}), "20084"),
            (json!({"fromStart": 0, "fromEnd": 0, "to": 1}), "20202"),
        ];
        for (body, code) in cases {
            assert_eq!(read(&body), Err(vec![code]), "{body}");
        }
    }
}
