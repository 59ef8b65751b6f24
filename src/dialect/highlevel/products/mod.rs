//! Of HighLevel's Products API what collections need: which collections a product is
//! in, read and changed from the product's side. Of a product itself this service
//! keeps what it is told, and looks at little of it.

mod request;
mod response;

use axum::{
    Router,
    extract::{Path, Request, State},
    response::IntoResponse as _,
    routing::{get, post},
};
use http::Uri;

use super::{
    handler::{Answer, Id, caller, method_not_allowed, open, open_with_body, trimmed},
    openapi,
};
use crate::{
    dialect::{Context, handler, idempotency},
    domain::{Constraint, ProductId, Result as Domain, Violation, ids},
    service::{AssignProducts, DeleteProducts, UpsertProducts, Upserted},
};

/// The routes beside those of collections.
pub(super) fn router() -> Router<Context> {
    let all = get(list).post(create).fallback(method_not_allowed);
    let bulk = post(bulk_update).fallback(method_not_allowed);
    let one = get(read)
        .put(update)
        .delete(delete)
        .fallback(method_not_allowed);
    Router::new()
        .route("/products", all.clone())
        .route("/products/", all)
        .route("/products/bulk-update", bulk.clone())
        .route("/products/bulk-update/", bulk)
        .route("/products/{*productId}", one)
}

#[utoipa::path(
    get,
    path = "/products/",
    operation_id = "list-products",
    tag = "Products",
    summary = "List products",
    params(openapi::Version, openapi::Location, openapi::ProductQuery),
    responses((status = 200, description = "Successful response", body = openapi::ListProductsResponseDto), openapi::Failures),
)]
pub(super) async fn list(State(context): State<Context>, request: Request) -> Answer {
    let (parts, _) = open(&context, request)?;
    let (tenant, command) = request::list(&parts.uri, &context.service.settings().limits)?;
    let caller = caller(&parts, tenant)?;
    let page = context.service.list_products(&caller, command).await?;
    let next = handler::next_products(&context.service, &caller);
    Ok(response::page(page, next))
}

#[utoipa::path(
    post,
    path = "/products/",
    operation_id = "create-product",
    tag = "Products",
    summary = "Create a product",
    params(openapi::Version),
    request_body = openapi::ProductDto,
    responses((status = 201, description = "Successful response", body = openapi::ProductSchema), openapi::Failures),
)]
pub(super) async fn create(State(context): State<Context>, request: Request) -> Answer {
    let (parts, body) = open_with_body(&context, request).await?;
    let service = &context.service;
    let (tenant, command) = request::create(&body, &service.settings().limits)?;
    let retryable = idempotency::request("highlevel.create_product", &parts, Some(&body))?;
    let caller = caller(&parts, tenant)?;
    let render = |products: &Vec<Upserted>| response::created(products);
    let run = |retry| service.execute(&caller, UpsertProducts { retry, ..command });
    let present = async |id| service.reread_upserted(&caller, id).await;
    let about = |products: &Vec<Upserted>| products.iter().map(Upserted::id).collect();
    Ok(handler::write_about(retryable, render, about, run, present).await?)
}

#[utoipa::path(
    get,
    path = "/products/{productId}",
    operation_id = "get-product-by-id",
    tag = "Products",
    summary = "Get a product",
    params(openapi::Version, openapi::ProductPath, openapi::Location),
    responses((status = 200, description = "Successful response", body = openapi::ProductSchema), openapi::Failures),
)]
pub(super) async fn read(State(context): State<Context>, id: Id, request: Request) -> Answer {
    let (parts, _) = open(&context, request)?;
    let id = product_id(id, &parts.uri)?;
    let caller = caller(&parts, request::location(&parts.uri)?)?;
    let detail = context.service.get_product(&caller, id).await?;
    Ok(response::found(&detail).into_response())
}

#[utoipa::path(
    put,
    path = "/products/{productId}",
    operation_id = "update-product-by-id",
    tag = "Products",
    summary = "Update a product",
    params(openapi::Version, openapi::ProductPath),
    request_body = openapi::ProductDto,
    responses((status = 200, description = "Successful response", body = openapi::ProductSchema), openapi::Failures),
)]
pub(super) async fn update(State(context): State<Context>, id: Id, request: Request) -> Answer {
    let (parts, body) = open_with_body(&context, request).await?;
    let id = product_id(id, &parts.uri)?;
    let service = &context.service;
    let (tenant, command) = request::update(id, &body, &service.settings().limits)?;
    let retryable = idempotency::request("highlevel.update_product", &parts, Some(&body))?;
    let caller = caller(&parts, tenant)?;
    let render = |products: &Vec<Upserted>| response::updated(products);
    let run = |retry| service.execute(&caller, UpsertProducts { retry, ..command });
    let present = async |id| service.reread_upserted(&caller, id).await;
    let about = |products: &Vec<Upserted>| products.iter().map(Upserted::id).collect();
    Ok(handler::write_about(retryable, render, about, run, present).await?)
}

#[utoipa::path(
    delete,
    path = "/products/{productId}",
    operation_id = "delete-product-by-id",
    tag = "Products",
    summary = "Delete a product and remove it from every collection",
    params(openapi::Version, openapi::ProductPath, openapi::Location),
    responses((status = 200, description = "Successful response", body = openapi::StatusDto), openapi::Failures),
)]
pub(super) async fn delete(State(context): State<Context>, id: Id, request: Request) -> Answer {
    let (parts, _) = open(&context, request)?;
    let service = &context.service;
    let retryable = idempotency::request("highlevel.delete_product", &parts, None)?;
    let command = DeleteProducts {
        ids: vec![product_id(id, &parts.uri)?],
        known_only: true,
        retry: None,
    };
    let caller = caller(&parts, request::location(&parts.uri)?)?;
    let run = |retry| service.execute(&caller, DeleteProducts { retry, ..command });
    Ok(handler::write(retryable, |_| response::deleted(), run).await?)
}

#[utoipa::path(
    post,
    path = "/products/bulk-update",
    operation_id = "bulk-update",
    tag = "Products",
    summary = "Put products into collections",
    params(openapi::Version),
    request_body = openapi::BulkUpdateDto,
    responses((status = 201, description = "Successful response", body = openapi::StatusDto), openapi::Failures),
)]
pub(super) async fn bulk_update(State(context): State<Context>, request: Request) -> Answer {
    let (parts, body) = open_with_body(&context, request).await?;
    let service = &context.service;
    let (tenant, command) = request::place(&body, &service.settings().limits)?;
    let retryable = idempotency::request("highlevel.bulk_update", &parts, Some(&body))?;
    let caller = caller(&parts, tenant)?;
    let run = |retry| service.execute(&caller, AssignProducts { retry, ..command });
    Ok(handler::write(retryable, |_| response::placed(), run).await?)
}

/// The product that the path names.
fn product_id(id: Id, uri: &Uri) -> Domain<ProductId> {
    let Path(id) = id.map_err(|_| {
        let rule = Constraint::Malformed(ids::PRINTABLE);
        Violation::new("productId", "", rule)
    })?;
    Ok(ProductId::parse("productId", trimmed(&id, uri))?)
}
