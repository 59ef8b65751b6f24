//! getCollection.

use axum::{
    extract::{Path, Request, State, rejection::PathRejection},
    response::Response,
};
use futures::future::Either;

use super::{
    catalogs,
    error::Failure,
    headers, openapi,
    operation::Operation,
    response::{self, CHILD_CATEGORIES, Shape},
    stream,
    view::{self, View},
};
use crate::{
    dialect::{Context, handler, precondition},
    service::{Depth, Whole},
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
    let id = headers::path_id(path, Operation::Read)?;
    let failed = Failure::of(Operation::Read);
    let consistency = precondition::consistency(request.headers());
    let consistency = consistency.map_err(|violation| failed(violation.into()))?;
    let consistency = consistency.unwrap_or_default();
    let caller = handler::caller(request.extensions()).map_err(&failed)?;
    let service = &context.service;
    let include = view.include();
    let has_below = view.levels > 0 && view.wants(CHILD_CATEGORIES);
    // Responses are never 304: they also depend on the language and on ancestors, which the etag
    // does not cover.
    let whole = if has_below || view.products {
        // The response includes other collections or products, so it can't be cached.
        let depth = has_below.then_some(Depth {
            levels: view.levels,
            or_fewer: false,
        });
        service.get_whole(&caller, id, include, depth).await
    } else {
        let form = format!("oracle {view:?}");
        let encode = |whole: &Whole| stream::whole(&whole.detail, Shape::Read, &view, settings);
        let read = service.get_whole_encoded(&caller, id, include, consistency, &form, encode);
        match read.await.map_err(&failed)? {
            Either::Left(encoded) => return Ok(response::encoded(encoded)),
            Either::Right(whole) => Ok(whole),
        }
    };
    let whole = whole.map_err(failed)?;
    Ok(stream::respond(whole, Shape::Read, &view, service, &caller))
}
