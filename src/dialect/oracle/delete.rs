//! deleteCollection.

use axum::{
    extract::{Path, Request, State, rejection::PathRejection},
    response::Response,
};

use super::{
    error::{Failure, Operation},
    headers, openapi, response,
};
use crate::{
    dialect::{
        Context,
        idempotency::{self, Render},
        precondition,
    },
    service::DeleteCollection,
};

/// `DELETE /collections/{id}`.
#[utoipa::path(
    delete,
    path = "/ccadmin/v1/collections/{id}",
    operation_id = "deleteCollection",
    tag = "Collections",
    summary = "Delete a collection that has no child collections; its products stay",
    params(openapi::CollectionPath),
    responses((status = 200, description = "It is done", body = openapi::Success), openapi::Failures),
)]
pub async fn handle(
    State(context): State<Context>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Failure> {
    let (parts, _) = request.into_parts();
    let id = headers::path_id(path, Operation::Delete)?;
    let retry = headers::retryable("oracle.delete", &parts, None, None)?;
    let render: Render<()> = std::sync::Arc::new(|()| response::success());
    let etag = precondition::if_match(&parts.headers)
        .map_err(|error| Failure::domain(error, Operation::Delete))?;
    let command = DeleteCollection {
        id,
        force: false,
        etag,
        retry: idempotency::retry(retry, &render),
    };
    let caller = Operation::Delete.caller(&parts.extensions)?;
    let answer = context.service.execute(&caller, command).await;
    Operation::Delete.answer(answer, &render)
}
