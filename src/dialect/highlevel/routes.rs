//! The routes: each decodes, calls a use case, and encodes.

use axum::{
    Router,
    extract::{Path, Request, State},
    response::IntoResponse as _,
    routing::get,
};
use http::{StatusCode, Uri, header::ETAG};

use super::{
    handler::{Answer, Id, caller, method_not_allowed, open, open_with_body, trimmed},
    openapi, query, request, response,
};
use crate::{
    dialect::{Context, handler, idempotency, precondition},
    domain::{CollectionId, Constraint, Error, Locale, Result as Domain, Violation, ids},
    service::{
        CreateCollection, DeleteCollection, Detail, Include, Key, UpdateCollection, Updated,
    },
};

/// The routes of collections. Each path is served with and without a
/// slash at its end: clients do not follow a redirect. An id may hold slashes, which
/// HighLevel's Python SDK sends as they are.
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
    params(openapi::Version),
    request_body = openapi::CreateProductCollectionsDto,
    responses((status = 201, description = "Successful response", body = openapi::CreateCollectionResponseDto), openapi::Failures),
)]
pub(super) async fn create(State(context): State<Context>, request: Request) -> Answer {
    let (parts, body) = open_with_body(&context, request).await?;
    let service = &context.service;
    let (tenant, command) = request::create(&body, service.settings())?;
    let retryable = idempotency::request("highlevel.create", &parts, Some(&body))?;
    let caller = caller(&parts, tenant)?;
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
    let above = command.above;
    let page = context.service.list_collections(&caller, command).await?;
    let next = handler::next_collections(&context.service, &caller, above);
    Ok(response::page(page, locale(&context).clone(), next))
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
    let service = &context.service;
    let (tenant, mut command) = request::update(id, &body, service.settings())?;
    command.etag = precondition::if_match(&parts.headers)?;
    let retryable = idempotency::request("highlevel.update", &parts, Some(&body))?;
    let caller = caller(&parts, tenant)?;
    let render = |done: &Updated| response::updated(&done.detail.collection);
    let run = |retry| service.execute(&caller, UpdateCollection { retry, ..command });
    Ok(handler::write(retryable, render, run).await?)
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
    let service = &context.service;
    let retryable = idempotency::request("highlevel.delete", &parts, None)?;
    let command = DeleteCollection {
        id: collection_id(id, &parts.uri)?,
        force: false,
        etag: precondition::if_match(&parts.headers)?,
        retry: None,
    };
    let caller = caller(&parts, query::delete(&parts.uri)?)?;
    let run = |retry| service.execute(&caller, DeleteCollection { retry, ..command });
    Ok(handler::write(retryable, |()| response::deleted(), run).await?)
}

fn locale(context: &Context) -> &Locale {
    &context.service.settings().default_locale
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
