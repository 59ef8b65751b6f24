//! deleteCollection.

use axum::{
    extract::{Path, Request, State, rejection::PathRejection},
    response::Response,
};

use super::{error::Failure, headers, openapi, operation::Operation, response};
use crate::{
    dialect::{Context, handler, precondition},
    service::DeleteCollection,
};

/// `DELETE /collections/{id}`.
#[utoipa::path(
    delete,
    path = "/ccadmin/v1/collections/{id}",
    operation_id = "deleteCollection",
    tag = "Collections",
    summary = "Delete a collection without child collections, but not its products",
    params(openapi::CollectionPath, openapi::CatalogId),
    responses((status = 200, description = "Success", body = openapi::Success), openapi::Failures),
)]
pub async fn handle(
    State(context): State<Context>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Failure> {
    let (parts, _) = request.into_parts();
    let id = headers::path_id(path, Operation::Delete)?;
    let retryable = headers::retryable("oracle.delete", &parts, None, None)?;
    let failed = Failure::of(Operation::Delete);
    let command = DeleteCollection {
        id,
        force: false,
        etag: precondition::if_match(&parts.headers).map_err(&failed)?,
        retry: None,
    };
    let caller = handler::caller(&parts.extensions).map_err(&failed)?;
    let service = &context.service;
    let run = |retry| service.execute(&caller, DeleteCollection { retry, ..command });
    let response = handler::write(retryable, |()| response::success(), run).await;
    response.map_err(failed)
}
