//! assignProducts: adds products to collections, or removes them.

use axum::{
    extract::{Request, State},
    response::Response,
};
use serde_json::Value;

use super::{
    children, codes,
    error::Failure,
    fields::{self, Object, Problems},
    headers, openapi,
    operation::Operation,
    problem::Problem,
    response,
};
use crate::{
    dialect::{Context, handler},
    domain::{CollectionId, ProductId},
    service::{AssignProducts, Assignment},
};

const COLLECTIONS: &str = "collections";
const FROM: &str = "fromParent";
const OPERATION: &str = "operation";

/// `POST /collections/assignProducts`.
#[utoipa::path(
    post,
    path = "/ccadmin/v1/collections/assignProducts",
    operation_id = "assignProducts",
    tag = "Collections",
    summary = "Move products to collections, add them, or remove them",
    request_body(content = openapi::AssignmentBody),
    responses((status = 200, description = "Success", body = openapi::Success), openapi::Failures),
)]
pub async fn handle(State(context): State<Context>, request: Request) -> Result<Response, Failure> {
    let (parts, body) = handler::open(&context, request).await?;
    let retryable = headers::retryable("oracle.assign", &parts, Some(&body), None)?;
    let command = command(&body)?;
    let failed = Failure::of(Operation::Assign);
    let caller = handler::caller(&parts.extensions).map_err(&failed)?;
    let service = &context.service;
    let run = |retry| service.execute(&caller, AssignProducts { retry, ..command });
    let response = handler::write(retryable, |_| response::success(), run).await;
    response.map_err(failed)
}

fn command(body: &Object) -> Result<AssignProducts, Failure> {
    let mut problems = Problems::default();
    let products = children::products(body, &mut problems).unwrap_or_default();
    let products = products.into_iter().map(ProductId::from).collect();
    let collections = collections(body, &mut problems);
    let from = fields::given(body, FROM).and_then(|from| {
        let id = from.as_str().unwrap_or_default();
        problems.take(codes::PRODUCTS_ID_INVALID, CollectionId::parse(FROM, id))
    });
    let operation = fields::given(body, OPERATION).map(|name| name.as_str().unwrap_or_default());
    let assignment = match operation {
        None | Some("move") => Assignment::Move { from },
        Some("link") => Assignment::Link,
        Some("unlink") => Assignment::Unlink,
        Some(_) => {
            let known = "must be move, link or unlink";
            problems.add(Problem::at(codes::INVALID_OPERATION, OPERATION, known));
            Assignment::Link
        }
    };
    if let (Some(operation @ ("link" | "unlink")), true) = (operation, fields::has(body, FROM)) {
        problems.invalid(FROM, format_args!("is not allowed with {operation}"));
    }
    problems.finish()?;
    Ok(AssignProducts {
        products,
        collections,
        assignment,
        return_products: false,
        retry: None,
    })
}

/// The collections that the request names. Root collections can't contain products, and are
/// ignored, as in Oracle's API.
pub(super) fn collections(body: &Object, problems: &mut Problems) -> Vec<CollectionId> {
    let ids = match fields::given(body, COLLECTIONS) {
        Some(Value::Array(ids)) if !ids.is_empty() => ids,
        None | Some(Value::Array(_)) => {
            problems.add(Problem::new(codes::NO_COLLECTIONS, ""));
            return Vec::new();
        }
        Some(_) => {
            problems.invalid(COLLECTIONS, "must be an array of ids");
            return Vec::new();
        }
    };
    let id = |(index, id): (usize, &Value)| {
        let path = format!("{COLLECTIONS}.{index}");
        let id = id.as_str().unwrap_or_default();
        problems.take(codes::PRODUCTS_ID_INVALID, CollectionId::parse(&path, id))
    };
    let ids = ids.iter().enumerate().filter_map(id);
    ids.filter(|id| !id.is_root()).collect()
}
