//! The parts of HighLevel's Products API that collections need: registering products, and reading
//! and changing the collections that a product is in. Most fields of a product are stored as they
//! are sent, and not interpreted.

mod facts;
mod request;
mod response;

pub(super) use facts::of_stored as facts_of_stored;

use super::{
    handler::{
        HandlerResult, Id, caller, method_not_allowed, not_served, open, open_with_body, product_id,
    },
    object_id, openapi, query,
};
use crate::{
    dialect::{Context, handler, idempotency},
    domain::{Caller, Constraint, Error, Reason, Violation},
    service::{AssignProducts, DeleteProducts, Listing, Service, UpsertProducts, Upserted},
};
use axum::{
    Router,
    extract::{Request, State},
    response::IntoResponse as _,
    routing::{any, get, post},
};

/// The routes of products.
pub(super) fn router() -> Router<Context> {
    let all = get(list).post(create).fallback(method_not_allowed);
    let bulk = post(bulk_update).fallback(method_not_allowed);
    let edit = post(bulk_edit).fallback(method_not_allowed);
    let one = get(read)
        .put(update)
        .delete(delete)
        .fallback(method_not_allowed);
    let mut router = Router::new()
        .route("/products", all.clone())
        .route("/products/", all)
        .route("/products/bulk-update", bulk.clone())
        .route("/products/bulk-update/", bulk)
        .route("/products/bulk-update/edit", edit.clone())
        .route("/products/bulk-update/edit/", edit)
        .route("/products/{productId}", one.clone())
        .route("/products/{productId}/", one);
    for name in NOT_SERVED {
        let path = format!("/products/{name}");
        router = router
            .route(&path, any(not_served))
            .route(&format!("{path}/"), any(not_served));
    }
    router
}

/// Paths of HighLevel's that this service does not support. Without these, they would be taken for
/// products' ids.
const NOT_SERVED: [&str; 2] = ["reviews", "store"];

#[utoipa::path(
    get,
    path = "/products/",
    operation_id = "list-products",
    tag = "Products",
    summary = "List products",
    params(openapi::Version, openapi::Location, openapi::ProductQuery),
    responses((status = 200, description = "Successful response", body = openapi::ListProductsResponseDto), openapi::Failures),
)]
pub(super) async fn list(State(context): State<Context>, request: Request) -> HandlerResult {
    let (parts, _) = open(&context, request)?;
    let service = &context.service;
    let (tenant, mut command) = request::list(&parts.uri, &service.settings().limits)?;
    let caller = caller(&parts, tenant)?;
    if let Some(ids) = command.filter.collections.take() {
        command.filter.collections = Some(object_id::all(service, &caller, ids).await);
    }
    let mut page = service.list_products(&caller, command).await?;
    let next = handler::next_products(service, &caller, page.still.take());
    Ok(response::page(page, next))
}

#[utoipa::path(
    post,
    path = "/products/",
    operation_id = "create-product",
    tag = "Products",
    summary = "Create a product",
    params(openapi::Version, openapi::OptionalLocation),
    request_body = openapi::ProductDto,
    responses((status = 201, description = "Successful response", body = openapi::ProductSchema), openapi::Failures),
)]
pub(super) async fn create(State(context): State<Context>, request: Request) -> HandlerResult {
    let (parts, body) = open_with_body(&context, request).await?;
    let problems = query::beside(&parts.uri, &request::LOCATED, &body);
    let service = &context.service;
    let (tenant, command) = request::create(&body, problems, &service.settings().limits)?;
    let retryable = idempotency::request("highlevel.create_product", &parts, Some(&body))?;
    let caller = caller(&parts, tenant)?;
    let command = with_collections(service, &caller, command).await;
    let render = |products: &Vec<Upserted>| response::created(products);
    let run = |retry| service.execute(&caller, UpsertProducts { retry, ..command });
    let present = async |id| service.reread_upserted(&caller, id).await;
    let about = |products: &Vec<Upserted>| products.iter().map(Upserted::id).collect();
    let response = handler::write_about(retryable, render, about, run, present).await;
    Ok(response.map_err(of_collections)?)
}

#[utoipa::path(
    get,
    path = "/products/{productId}",
    operation_id = "get-product-by-id",
    tag = "Products",
    summary = "Get a product",
    params(openapi::Version, openapi::ProductPath, openapi::Location, openapi::Wishlist),
    responses((status = 200, description = "Successful response", body = openapi::ProductSchema), openapi::Failures),
)]
pub(super) async fn read(
    State(context): State<Context>,
    id: Id,
    request: Request,
) -> HandlerResult {
    let (parts, _) = open(&context, request)?;
    let id = product_id(id)?;
    let caller = caller(&parts, request::read_one(&parts.uri)?)?;
    let detail = context.service.get_product(&caller, id).await?;
    Ok(response::found(&detail).into_response())
}

#[utoipa::path(
    put,
    path = "/products/{productId}",
    operation_id = "update-product-by-id",
    tag = "Products",
    summary = "Update a product",
    params(openapi::Version, openapi::ProductPath, openapi::OptionalLocation),
    request_body = openapi::ProductChangesDto,
    responses((status = 200, description = "Successful response", body = openapi::ProductSchema), openapi::Failures),
)]
pub(super) async fn update(
    State(context): State<Context>,
    id: Id,
    request: Request,
) -> HandlerResult {
    let (parts, body) = open_with_body(&context, request).await?;
    let id = product_id(id)?;
    let problems = query::beside(&parts.uri, &request::LOCATED, &body);
    let service = &context.service;
    let (tenant, command) = request::update(id, &body, problems, &service.settings().limits)?;
    let retryable = idempotency::request("highlevel.update_product", &parts, Some(&body))?;
    let caller = caller(&parts, tenant)?;
    let command = with_collections(service, &caller, command).await;
    let render = |products: &Vec<Upserted>| response::updated(products);
    let run = |retry| service.execute(&caller, UpsertProducts { retry, ..command });
    let present = async |id| service.reread_upserted(&caller, id).await;
    let about = |products: &Vec<Upserted>| products.iter().map(Upserted::id).collect();
    let response = handler::write_about(retryable, render, about, run, present).await;
    Ok(response.map_err(of_collections)?)
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
pub(super) async fn delete(
    State(context): State<Context>,
    id: Id,
    request: Request,
) -> HandlerResult {
    let (parts, _) = open(&context, request)?;
    let service = &context.service;
    let retryable = idempotency::request("highlevel.delete_product", &parts, None)?;
    let command = DeleteProducts {
        ids: vec![product_id(id)?],
        known_only: true,
        retry: None,
    };
    let caller = caller(&parts, request::delete(&parts.uri)?)?;
    let run = |retry| service.execute(&caller, DeleteProducts { retry, ..command });
    Ok(handler::write(retryable, |_| response::deleted(), run).await?)
}

#[utoipa::path(
    post,
    path = "/products/bulk-update",
    operation_id = "bulk-update",
    tag = "Products",
    summary = "Add products to collections",
    params(openapi::Version, openapi::OptionalAlt),
    request_body = openapi::BulkUpdateDto,
    responses((status = 201, description = "Successful response", body = openapi::StatusDto), openapi::Failures),
)]
pub(super) async fn bulk_update(State(context): State<Context>, request: Request) -> HandlerResult {
    let (parts, body) = open_with_body(&context, request).await?;
    let problems = query::beside(&parts.uri, &query::ALT, &body);
    let service = &context.service;
    let (tenant, mut command) = request::place(&body, problems, &service.settings().limits)?;
    let retryable = idempotency::request("highlevel.bulk_update", &parts, Some(&body))?;
    let caller = caller(&parts, tenant)?;
    command.collections = object_id::all(service, &caller, command.collections).await;
    let run = |retry| service.execute(&caller, AssignProducts { retry, ..command });
    let response = handler::write(retryable, |_| response::placed(), run).await;
    Ok(response.map_err(of_collections)?)
}

#[utoipa::path(
    post,
    path = "/products/bulk-update/edit",
    operation_id = "bulk-edit",
    tag = "Products",
    summary = "Update several products, their prices and the collections that contain them",
    params(openapi::Version, openapi::OptionalAlt),
    request_body = openapi::BulkEditRequestDto,
    responses((status = 201, description = "Successful response", body = openapi::BulkEditResponseDto), openapi::Failures),
)]
pub(super) async fn bulk_edit(State(context): State<Context>, request: Request) -> HandlerResult {
    let (parts, body) = open_with_body(&context, request).await?;
    let problems = query::beside(&parts.uri, &query::ALT, &body);
    let service = &context.service;
    let (tenant, command) = request::edit(&body, problems, &service.settings().limits)?;
    let retryable = idempotency::request("highlevel.bulk_edit", &parts, Some(&body))?;
    let caller = caller(&parts, tenant)?;
    let command = with_collections(service, &caller, command).await;
    let render = |products: &Vec<Upserted>| response::edited(products);
    let run = |retry| service.execute(&caller, UpsertProducts { retry, ..command });
    let response = handler::write(retryable, render, run).await;
    Ok(response.map_err(of_collections)?)
}

/// Resolves the ids of the products' collections.
async fn with_collections(
    service: &Service,
    caller: &Caller,
    mut command: UpsertProducts,
) -> UpsertProducts {
    for product in &mut command.products {
        if let Listing::Only(ids) = &mut product.collections {
            *ids = object_id::set(service, caller, std::mem::take(ids)).await;
        }
    }
    command
}

/// The error for products that can't be added to collections, with HighLevel's field for these.
fn of_collections(error: Error) -> Error {
    if error.reason != Reason::KindMismatch {
        return error;
    }
    let why = "the products of a smart collection follow from its rules";
    Violation::new("collectionIds", "", Constraint::Forbidden(why)).into()
}
