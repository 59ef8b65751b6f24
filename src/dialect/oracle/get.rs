//! getCollection.

use axum::{
    extract::{Path, Request, State, rejection::PathRejection},
    response::Response,
};

use super::{
    catalogs,
    error::Failure,
    headers, openapi,
    operation::Operation,
    response::{CHILD_CATEGORIES, Shape},
    stream,
    view::{self, View},
};
use crate::{
    dialect::{Context, handler},
    service::{Depth, Key},
};

/// `GET /collections/{id}`.
#[utoipa::path(
    get,
    path = "/ccadmin/v1/collections/{id}",
    operation_id = "getCollection",
    tag = "Collections",
    summary = "Get a collection",
    params(openapi::CollectionPath, openapi::Language, openapi::Expanded, openapi::Shown, openapi::CatalogPaths, openapi::OneCollection),
    responses((status = 200, description = "Success", body = openapi::CollectionBody), openapi::Failures),
)]
pub async fn handle(
    State(context): State<Context>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Failure> {
    let settings = context.service.settings();
    let locale = headers::optional_language(request.headers(), settings)?;
    let query = view::pairs(request.uri())?;
    let catalog = || catalogs::catalog(&context.settings);
    let view = View::read(&query, locale)?.of_collections(&query, catalog)?;
    let key = Key::Id(headers::path_id(path, Operation::Read)?);
    let failed = Failure::of(Operation::Read);
    let caller = handler::caller(request.extensions()).map_err(&failed)?;
    let service = &context.service;
    let depth = (view.levels > 0 && view.wants(CHILD_CATEGORIES)).then_some(Depth {
        levels: view.levels,
        or_fewer: false,
    });
    let whole = service.get_whole(&caller, key, view.include(), depth).await;
    let whole = whole.map_err(failed)?;
    // Never 304: the answer also depends on its language and on what stands above the
    // collection, of which the etag knows nothing.
    Ok(stream::answer(whole, Shape::Read, &view, service, &caller))
}
