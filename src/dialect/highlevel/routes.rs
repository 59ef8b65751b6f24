//! The routes of collections: each handler parses its request, calls a use case, and renders the
//! response.

use axum::{
    Router,
    extract::{Path, Request, State},
    response::IntoResponse as _,
    routing::get,
};
use http::{
    StatusCode, Uri,
    header::{CONTENT_TYPE, ETAG},
    request::Parts,
};

use super::{
    handler::{HandlerResult, Id, caller, method_not_allowed, open, open_with_body, trimmed},
    object_id, openapi, query, request, response,
};
use crate::{
    dialect::{Context, handler, idempotency, precondition},
    domain::{Caller, CollectionId, Constraint, Error, Locale, Result as Domain, Violation, ids},
    service::{
        CreateCollection, DeleteCollection, Detail, Include, Key, UpdateCollection, Updated,
    },
};

/// The routes of collections. Each path is served with and without a trailing slash, because
/// clients don't follow redirects. Ids may contain slashes, which HighLevel's Python SDK does not
/// encode.
pub(super) fn router() -> Router<Context> {
    let all = get(list).post(create).fallback(method_not_allowed);
    let one = get(read)
        .put(update)
        .delete(delete)
        .fallback(method_not_allowed);
    Router::new()
        .route("/products/collections", all.clone())
        .route("/products/collections/", all)
        .route("/products/collections/{*collectionId}", one)
}

#[utoipa::path(
    post,
    path = "/products/collections",
    operation_id = "create-product-collection",
    tag = "Collections",
    summary = "Create a collection",
    params(openapi::Version, openapi::OptionalAlt),
    request_body = openapi::CreateProductCollectionsDto,
    responses((status = 201, description = "Successful response", body = openapi::CreateCollectionResponseDto), openapi::Failures),
)]
pub(super) async fn create(State(context): State<Context>, request: Request) -> HandlerResult {
    let (parts, body) = open_with_body(&context, request).await?;
    let problems = query::beside(&parts.uri, &query::ALT, &body);
    let service = &context.service;
    let (tenant, mut command) = request::create(&body, problems, service.settings())?;
    let retryable = idempotency::request("highlevel.create", &parts, Some(&body))?;
    let caller = caller(&parts, tenant)?;
    if let Some(id) = command.draft.id {
        command.draft.id = Some(object_id::one(service, &caller, id).await);
    }
    let locale = locale(&context).clone();
    let render = move |detail: &Detail| response::created(detail, &locale);
    let run = |retry| service.execute(&caller, CreateCollection { retry, ..command });
    let present = async |id: String| {
        let id = CollectionId::trusted(id);
        let reread = service.reread(&caller, &id, Include::default()).await;
        Ok(reread?.detail)
    };
    let about = |detail: &Detail| detail.collection.id.to_string();
    Ok(handler::write_about(retryable, render, about, run, present).await?)
}

#[utoipa::path(
    get,
    path = "/products/collections/{collectionId}",
    operation_id = "get-product-collection-id",
    tag = "Collections",
    summary = "Get a collection",
    params(openapi::Version, openapi::CollectionPath, openapi::OptionalAlt),
    responses((status = 200, description = "Successful response", body = openapi::DefaultCollectionResponseDto), openapi::Failures),
)]
pub(super) async fn read(
    State(context): State<Context>,
    id: Id,
    request: Request,
) -> HandlerResult {
    let (parts, _) = open(&context, request)?;
    let id = collection_id(id, &parts.uri)?;
    let caller = match query::read_one(&parts.uri)? {
        Some(tenant) => caller(&parts, tenant)?,
        None => only_tenant(&context, &parts)?,
    };
    let service = &context.service;
    let key = Key::Id(object_id::one(service, &caller, id).await);
    let consistency = precondition::consistency(&parts.headers)?.unwrap_or_default();
    let encode = |detail: &Detail| response::found(detail, locale(&context));
    let found = service
        .get_encoded(&caller, key, consistency, "highlevel", encode)
        .await?;
    let etag = [(ETAG, format!("\"{}\"", found.etag))];
    if precondition::has_already(&parts.headers, found.etag) {
        return Ok((StatusCode::NOT_MODIFIED, etag).into_response());
    }
    let json = [(CONTENT_TYPE, "application/json")];
    Ok((etag, json, found.body).into_response())
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
pub(super) async fn list(State(context): State<Context>, request: Request) -> HandlerResult {
    let (parts, _) = open(&context, request)?;
    let service = &context.service;
    let (tenant, mut command) = query::list(&parts.uri, &service.settings().limits)?;
    let caller = caller(&parts, tenant)?;
    if let Some(ids) = command.filter.ids.take() {
        command.filter.ids = Some(object_id::all(service, &caller, ids).await);
    }
    let ancestors = command.ancestors;
    let mut page = service.list_collections(&caller, command).await?;
    let next = handler::next_collections(service, &caller, ancestors, page.still.take());
    Ok(response::page(page, locale(&context).clone(), next))
}

#[utoipa::path(
    put,
    path = "/products/collections/{collectionId}",
    operation_id = "update-product-collection",
    tag = "Collections",
    summary = "Update a collection",
    params(openapi::Version, openapi::CollectionPath, openapi::OptionalAlt),
    request_body = openapi::UpdateProductCollectionsDto,
    responses((status = 200, description = "Successful response", body = openapi::StatusDto), openapi::Failures),
)]
pub(super) async fn update(
    State(context): State<Context>,
    id: Id,
    request: Request,
) -> HandlerResult {
    let (parts, body) = open_with_body(&context, request).await?;
    let id = collection_id(id, &parts.uri)?;
    let problems = query::beside(&parts.uri, &query::ALT, &body);
    let service = &context.service;
    let (tenant, mut command) = request::update(id, &body, problems, service.settings())?;
    command.etag = precondition::if_match(&parts.headers)?;
    let retryable = idempotency::request("highlevel.update", &parts, Some(&body))?;
    let caller = caller(&parts, tenant)?;
    command.id = object_id::one(service, &caller, command.id).await;
    let render = |done: &Updated| response::updated(&done.detail.collection);
    let run = |retry| service.execute(&caller, UpdateCollection { retry, ..command });
    Ok(handler::write(retryable, render, run).await?)
}

#[utoipa::path(
    delete,
    path = "/products/collections/{collectionId}",
    operation_id = "delete-product-collection",
    tag = "Collections",
    summary = "Delete a collection, but not its products",
    params(openapi::Version, openapi::CollectionPath, openapi::Alt),
    responses((status = 200, description = "Successful response", body = openapi::StatusDto), openapi::Failures),
)]
pub(super) async fn delete(
    State(context): State<Context>,
    id: Id,
    request: Request,
) -> HandlerResult {
    let (parts, _) = open(&context, request)?;
    let service = &context.service;
    let retryable = idempotency::request("highlevel.delete", &parts, None)?;
    let id = collection_id(id, &parts.uri)?;
    let etag = precondition::if_match(&parts.headers)?;
    let caller = caller(&parts, query::delete(&parts.uri)?)?;
    let command = DeleteCollection {
        id: object_id::one(service, &caller, id).await,
        force: false,
        etag,
        retry: None,
    };
    let run = |retry| service.execute(&caller, DeleteCollection { retry, ..command });
    Ok(handler::write(retryable, |()| response::deleted(), run).await?)
}

/// The caller of a get request that names no location. Its credential must be for one location
/// only, unless authentication is disabled.
fn only_tenant(context: &Context, parts: &Parts) -> Domain<Caller> {
    let caller = handler::caller(&parts.extensions)?;
    if !context.authenticator.authentication_enabled() {
        return Ok(caller);
    }
    let required = |_| Violation::new("altId", "", Constraint::Required).into();
    caller.home().map_err(required)
}

fn locale(context: &Context) -> &Locale {
    &context.service.settings().default_locale
}

/// The id of the collection in the path. This dialect has no hierarchy, so the root collections
/// don't exist in it.
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
