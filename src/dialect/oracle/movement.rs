//! moveCollection: moves a collection to another parent, or within its parent.

use axum::{
    extract::{Request, State},
    response::Response,
};
use serde_json::Value;

use super::{
    codes::{self, Code},
    error::Failure,
    fields::{self, Object, Problems},
    headers, openapi,
    operation::Operation,
    problem::Problem,
    response,
};
use crate::{
    dialect::{Context, handler},
    domain::CollectionId,
    service::{MoveCollection, Movement, TargetPosition},
};

const CHILD: &str = "child";
const PARENT: &str = "parent";
const FROM: &str = "fromParent";
const INDEX: &str = "index";
const OPERATION: &str = "operation";

/// `PUT /collections`.
#[utoipa::path(
    put,
    path = "/ccadmin/v1/collections",
    operation_id = "moveCollection",
    tag = "Collections",
    summary = "Move a collection",
    request_body(content = openapi::Movement),
    responses((status = 200, description = "Success", body = openapi::Success), openapi::Failures),
)]
pub async fn handle(State(context): State<Context>, request: Request) -> Result<Response, Failure> {
    let (parts, body) = handler::open(&context, request).await?;
    let retryable = headers::retryable("oracle.move", &parts, Some(&body), None)?;
    let command = command(&body)?;
    let failed = Failure::of(Operation::Move);
    let caller = handler::caller(&parts.extensions).map_err(&failed)?;
    let service = &context.service;
    let run = |retry| service.execute(&caller, MoveCollection { retry, ..command });
    let response = handler::write(retryable, |()| response::success(), run).await;
    response.map_err(failed)
}

fn command(body: &Object) -> Result<MoveCollection, Failure> {
    let mut problems = Problems::default();
    let child = named(body, CHILD, codes::CHILD_INVALID, &mut problems);
    let parent = named(body, PARENT, codes::MOVE_ID_INVALID, &mut problems);
    let from = named(body, FROM, codes::MOVE_ID_INVALID, &mut problems);
    let at = target_position(body, &mut problems);
    let operation = match fields::given(body, OPERATION) {
        None => "move",
        Some(name) => name.as_str().unwrap_or_default(),
    };
    if is_absent(body, CHILD) {
        problems.add(Problem::new(codes::NO_CHILD, ""));
    }
    let needed = |code: Code, problems: &mut Problems| {
        if is_absent(body, PARENT) {
            problems.add(Problem::new(code, ""));
        }
    };
    let movement = match operation {
        "move" => {
            needed(codes::NO_PARENT_TO_UPDATE, &mut problems);
            parent.map(|to| Movement::Move { from, to, at })
        }
        "link" => {
            needed(codes::NO_PARENT_TO_LINK, &mut problems);
            parent.map(|to| Movement::Link { to, at })
        }
        "reorder" => {
            needed(codes::NO_PARENT_TO_UPDATE, &mut problems);
            parent.map(|within| Movement::Reorder { within, at })
        }
        // Clients use either field for the parent to leave.
        "unlink" => {
            if is_absent(body, FROM) {
                needed(codes::NO_PARENT_TO_UPDATE, &mut problems);
            }
            from.or(parent).map(|from| Movement::Unlink { from })
        }
        "unlink-all" => Some(Movement::UnlinkAll),
        _ => {
            let known = "must be move, link, unlink, reorder or unlink-all";
            problems.add(Problem::at(codes::UNKNOWN_MOVE, OPERATION, known));
            None
        }
    };
    check_from(body, operation, &mut problems);
    problems.finish()?;
    match (child, movement) {
        (Some(child), Some(movement)) => Ok(MoveCollection {
            child,
            movement,
            retry: None,
        }),
        // A problem was added above.
        _ => Err(Problem::new(codes::NO_CHILD, "").into()),
    }
}

/// Rejects a parent to leave if the operation leaves none, all, or another one.
fn check_from(body: &Object, operation: &str, problems: &mut Problems) {
    let is_given = |name: &str| !is_absent(body, name);
    let differs = is_given(PARENT) && body.get(PARENT) != body.get(FROM);
    match operation {
        "link" | "unlink-all" if is_given(FROM) => {
            problems.invalid(FROM, format_args!("is not allowed with {operation}"));
        }
        "reorder" | "unlink" if is_given(FROM) && differs => {
            let why = format_args!("must be the same as parent in {operation}");
            problems.invalid(FROM, why);
        }
        _ => {}
    }
    if operation == "unlink-all" && is_given(PARENT) {
        problems.invalid(PARENT, "is not allowed with unlink-all");
    }
}

fn is_absent(body: &Object, name: &str) -> bool {
    let blank = |value: &Value| value.as_str().is_some_and(|text| text.trim().is_empty());
    fields::given(body, name).is_none_or(blank)
}

fn named(body: &Object, name: &str, code: Code, problems: &mut Problems) -> Option<CollectionId> {
    if is_absent(body, name) {
        return None;
    }
    let id = fields::given(body, name).and_then(Value::as_str);
    // NUL is in no id, so a value that is not a string becomes an invalid id.
    problems.take(code, CollectionId::parse(name, id.unwrap_or("\0")))
}

fn target_position(body: &Object, problems: &mut Problems) -> TargetPosition {
    let Some(value) = fields::given(body, INDEX) else {
        return TargetPosition::Any;
    };
    let index = fields::integer(value).map(|index| (index, u64::try_from(index)));
    match index {
        Some((_, Ok(index))) => TargetPosition::Index(index),
        Some((-1, _)) => TargetPosition::Last,
        Some((_, Err(_))) | None => {
            let detail = format!("{value} must be an integer of at least -1");
            problems.add(Problem::at(codes::INVALID_INDEX, INDEX, detail));
            TargetPosition::Any
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: &Value) -> String {
        match command(body.as_object().unwrap()) {
            Ok(command) => format!("{:?}", command.movement),
            Err(Failure::Problems(problems)) => {
                let numbers = problems.iter().map(|problem| problem.code.number);
                numbers.collect::<Vec<_>>().join(" ")
            }
            Err(Failure::Domain(..)) => "domain".into(),
        }
    }

    #[test]
    fn each_move_operation_is_parsed_with_its_source_and_target() {
        let cases = [
            (
                json!({"parent": "b", "fromParent": "a", "index": "0", "child": "c"}),
                r#"Move { from: Some("a"), to: "b", at: Index(0) }"#,
            ),
            (
                json!({"operation": "move", "parent": "b", "child": "c"}),
                r#"Move { from: None, to: "b", at: Any }"#,
            ),
            (
                json!({"operation": "link", "parent": "b", "child": "c", "index": -1}),
                r#"Link { to: "b", at: Last }"#,
            ),
            (
                json!({"operation": "reorder", "parent": "b", "child": "c", "index": 3}),
                r#"Reorder { within: "b", at: Index(3) }"#,
            ),
            (
                json!({"operation": "unlink", "fromParent": "a", "child": "c"}),
                r#"Unlink { from: "a" }"#,
            ),
            (
                json!({"operation": "unlink", "parent": "a", "child": "c"}),
                r#"Unlink { from: "a" }"#,
            ),
            (
                json!({"operation": "unlink-all", "child": "c"}),
                "UnlinkAll",
            ),
        ];
        for (body, expected) in cases {
            assert_eq!(read(&body), expected, "{body}");
        }
    }

    #[test]
    fn missing_and_invalid_fields_have_their_error_codes() {
        let cases = [
            (json!({"parent": "b"}), "20080"),
            (json!({"child": "", "parent": "b"}), "20080"),
            (json!({"child": "c d", "parent": "b"}), "20081"),
            (json!({"child": 5, "parent": "b"}), "20081"),
            (json!({"child": "c"}), "20087"),
            (json!({"child": "c", "operation": "link"}), "20086"),
            (json!({"child": "c", "operation": "unlink"}), "20087"),
            (json!({"child": "c", "parent": "b c"}), "20071"),
            (json!({"child": "c", "parent": "b", "index": -2}), "20084"),
            (json!({"child": "c", "parent": "b", "index": "x"}), "20084"),
            (
                json!({"child": "c", "parent": "b", "operation": "swap"}),
                "20088",
            ),
            (json!({"operation": 5}), "20080 20088"),
            (
                json!({"child": "c", "parent": "b", "fromParent": "b", "operation": "link"}),
                "25014",
            ),
            (
                json!({"child": "c", "fromParent": "b", "operation": "unlink-all"}),
                "25014",
            ),
            (
                json!({"child": "c", "parent": "b", "operation": "unlink-all"}),
                "25014",
            ),
            (
                json!({"child": "c", "parent": "b", "fromParent": "a", "operation": "unlink"}),
                "25014",
            ),
            (
                json!({"child": "c", "parent": "b", "fromParent": "a", "operation": "reorder"}),
                "25014",
            ),
        ];
        for (body, expected) in cases {
            assert_eq!(read(&body), expected, "{body}");
        }
    }
}
