//! The routes: each decodes, calls a use case, and encodes.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, Request, State, rejection::PathRejection},
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::{Method, StatusCode, Uri, header::ETAG, request::Parts};

use super::{
    error::{self, Failure},
    fields::Object,
    headers, openapi, products, query, request, response,
};
use crate::{
    dialect::{
        self, Context, body,
        idempotency::{self, Render},
        precondition,
    },
    domain::{
        Caller, CollectionId, Constraint, Error, Locale, Result as Domain, TenantId, Violation, ids,
    },
    service::{DeleteCollection, Detail, Key, Updated},
};

pub(super) type Answer = Result<Response, Failure>;
pub(super) type Id = Result<Path<String>, PathRejection>;

/// The routes under `/products`. Each path is served with and without a
/// slash at its end: clients do not follow a redirect. An id may hold slashes, which
/// HighLevel's Python SDK sends as they are.
pub fn router(context: Context) -> Router {
    let all = get(list).post(create).fallback(method_not_allowed);
    let one = get(read)
        .put(update)
        .delete(delete)
        .fallback(method_not_allowed);
    Router::new()
        .route("/products/collections", all.clone())
        .route("/products/collections/", all)
        .route("/products/collections/{*collectionId}", one)
        .merge(products::router())
        .with_state(context)
}

pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> Response {
    error::method_not_allowed(&method, uri.path())
}

#[utoipa::path(
    post,
    path = "/products/collections",
    operation_id = "create-product-collection",
    tag = "Collections",
    summary = "Create a collection",
    params(openapi::Version),
    request_body = openapi::CreateProductCollectionsDto,
    responses((status = 201, description = "Successful response", body = openapi::CreateCollectionResponseDto), openapi::Failures),
)]
pub(super) async fn create(State(context): State<Context>, request: Request) -> Answer {
    let (parts, body) = open_with_body(&context, request).await?;
    let (tenant, mut command) = request::create(&body, context.service.settings())?;
    let retry = idempotency::request("highlevel.create", &parts, Some(&body))?;
    let locale = locale(&context).clone();
    let render: Render<Detail> = Arc::new(move |detail| response::created(detail, &locale));
    command.retry = idempotency::retry(retry, &render);
    let caller = caller(&parts, tenant)?;
    let answer = context.service.execute(&caller, command).await?;
    Ok(idempotency::reply(answer, &render)?.into_response())
}

#[utoipa::path(
    get,
    path = "/products/collections/{collectionId}",
    operation_id = "get-product-collection-id",
    tag = "Collections",
    summary = "Read a collection",
    params(openapi::Version, openapi::CollectionPath, openapi::AltId),
    responses((status = 200, description = "Successful response", body = openapi::DefaultCollectionResponseDto), openapi::Failures),
)]
pub(super) async fn read(State(context): State<Context>, id: Id, request: Request) -> Answer {
    let (parts, _) = open(&context, request)?;
    let key = Key::Id(collection_id(id, &parts.uri)?);
    let tenant = query::read_one(&parts.uri)?;
    let caller = caller(&parts, tenant)?;
    let detail = context.service.get_collection(&caller, key).await?;
    let etag = detail.collection.etag();
    if precondition::has_already(&parts.headers, etag) {
        let etag = [(ETAG, format!("\"{etag}\""))];
        return Ok((StatusCode::NOT_MODIFIED, etag).into_response());
    }
    Ok(response::found(&detail, locale(&context)).into_response())
}

#[utoipa::path(
    get,
    path = "/products/collections",
    operation_id = "get-product-collection",
    tag = "Collections",
    summary = "List collections, newest first",
    params(openapi::Version, openapi::Alt, openapi::CollectionQuery),
    responses((status = 200, description = "Successful response", body = openapi::ListCollectionResponseDto), openapi::Failures),
)]
pub(super) async fn list(State(context): State<Context>, request: Request) -> Answer {
    let (parts, _) = open(&context, request)?;
    let (tenant, command) = query::list(&parts.uri, &context.service.settings().limits)?;
    let caller = caller(&parts, tenant)?;
    let page = context.service.list_collections(&caller, command).await?;
    Ok(response::page(&page, locale(&context)).into_response())
}

#[utoipa::path(
    put,
    path = "/products/collections/{collectionId}",
    operation_id = "update-product-collection",
    tag = "Collections",
    summary = "Change a collection",
    params(openapi::Version, openapi::CollectionPath),
    request_body = openapi::UpdateProductCollectionsDto,
    responses((status = 200, description = "Successful response", body = openapi::StatusDto), openapi::Failures),
)]
pub(super) async fn update(State(context): State<Context>, id: Id, request: Request) -> Answer {
    let (parts, body) = open_with_body(&context, request).await?;
    let id = collection_id(id, &parts.uri)?;
    let (tenant, mut command) = request::update(id, &body, context.service.settings())?;
    command.etag = precondition::if_match(&parts.headers)?;
    let retry = idempotency::request("highlevel.update", &parts, Some(&body))?;
    let render: Render<Updated> = Arc::new(|done| response::updated(&done.detail.collection));
    command.retry = idempotency::retry(retry, &render);
    let caller = caller(&parts, tenant)?;
    let answer = context.service.execute(&caller, command).await?;
    Ok(idempotency::reply(answer, &render)?.into_response())
}

#[utoipa::path(
    delete,
    path = "/products/collections/{collectionId}",
    operation_id = "delete-product-collection",
    tag = "Collections",
    summary = "Delete a collection; its products stay",
    params(openapi::Version, openapi::CollectionPath, openapi::Alt),
    responses((status = 200, description = "Successful response", body = openapi::StatusDto), openapi::Failures),
)]
pub(super) async fn delete(State(context): State<Context>, id: Id, request: Request) -> Answer {
    let (parts, _) = open(&context, request)?;
    let retry = idempotency::request("highlevel.delete", &parts, None)?;
    let render: Render<()> = Arc::new(|()| response::deleted());
    let command = DeleteCollection {
        id: collection_id(id, &parts.uri)?,
        force: false,
        etag: precondition::if_match(&parts.headers)?,
        retry: idempotency::retry(retry, &render),
    };
    let caller = caller(&parts, query::delete(&parts.uri)?)?;
    let answer = context.service.execute(&caller, command).await?;
    Ok(idempotency::reply(answer, &render)?.into_response())
}

/// The caller, about the data of the location that the request names. Unlike elsewhere
/// one is told where that is not theirs, as at HighLevel.
pub(super) fn caller(parts: &Parts, tenant: TenantId) -> Domain<Caller> {
    let caller = dialect::caller(&parts.extensions)?.within(tenant);
    caller.check_tenant()?;
    Ok(caller)
}

/// The request, once its version is known to be served.
pub(super) fn open(
    context: &Context,
    request: Request,
) -> Result<(Parts, axum::body::Body), Failure> {
    let (parts, body) = request.into_parts();
    headers::check_version(&parts.headers, context.highlevel)?;
    Ok((parts, body))
}

pub(super) async fn open_with_body(
    context: &Context,
    request: Request,
) -> Result<(Parts, Object), Failure> {
    let (parts, body) = open(context, request)?;
    let body = body::json_object(&parts.headers, body, context.max_body).await?;
    Ok((parts, body))
}

fn locale(context: &Context) -> &Locale {
    &context.service.settings().default_locale
}

/// The id that ends a path, without the slash that may stand after it.
pub(super) fn trimmed<'a>(id: &'a str, uri: &Uri) -> &'a str {
    match id.strip_suffix('/') {
        Some(id) if uri.path().ends_with('/') => id,
        _ => id,
    }
}

/// The collection that the path names. The roots do not exist in this dialect, which
/// has no hierarchy.
fn collection_id(id: Id, uri: &Uri) -> Domain<CollectionId> {
    let Path(id) = id.map_err(|_| {
        let rule = Constraint::Malformed(ids::ALPHABET);
        Violation::new("collectionId", "", rule)
    })?;
    let id = CollectionId::parse("collectionId", trimmed(&id, uri))?;
    if id.is_root() {
        return Err(Error::collection_not_found(id.as_str()));
    }
    Ok(id)
}
