//! HighLevel's prices of products. Rules evaluate their amounts, currencies and stock as facts of
//! the product; all other fields are stored as the client sent them.

mod inventory;
mod request;
mod response;
pub(super) mod stored;

use axum::{
    Router,
    extract::{Path, Request, State, rejection::PathRejection},
    response::IntoResponse as _,
    routing::get,
};

use self::stored::Edit;
use super::{
    handler::{HandlerResult, Id, caller, method_not_allowed, open, open_with_body, product_id},
    openapi, query,
};
use crate::{
    dialect::{Context, handler, idempotency},
    domain::{CollectionId, Constraint, ProductId, Result as Domain, Timestamp, Violation, ids},
    service::{UpsertProducts, Upserted},
};

pub(super) use inventory::{
    __path_list as __path_list_inventory, __path_update as __path_update_inventory,
    list as list_inventory, update as update_inventory,
};
pub(super) use request::check;

type Ids = Result<Path<(String, String)>, PathRejection>;

/// The routes of prices and of the inventory, with and without a trailing slash.
pub(super) fn router() -> Router<Context> {
    let all = get(list).post(create).fallback(method_not_allowed);
    let one = get(read)
        .put(update)
        .delete(delete)
        .fallback(method_not_allowed);
    let stock = get(list_inventory)
        .post(update_inventory)
        .fallback(method_not_allowed);
    Router::new()
        .route("/products/{productId}/price", all.clone())
        .route("/products/{productId}/price/", all)
        .route("/products/{productId}/price/{priceId}", one.clone())
        .route("/products/{productId}/price/{priceId}/", one)
        .route("/products/inventory", stock.clone())
        .route("/products/inventory/", stock)
}

#[utoipa::path(
    get,
    path = "/products/{productId}/price",
    operation_id = "list-prices-for-product",
    tag = "Prices",
    summary = "List the prices of a product",
    params(openapi::Version, openapi::ProductPath, openapi::Location, openapi::PriceQuery),
    responses((status = 200, description = "Successful response", body = openapi::ListPricesResponseDto), openapi::Failures),
)]
pub(super) async fn list(
    State(context): State<Context>,
    id: Id,
    request: Request,
) -> HandlerResult {
    let (parts, _) = open(&context, request)?;
    let service = &context.service;
    let id = product_id(id)?;
    let (tenant, page, ids) = request::list(&parts.uri, &service.settings().limits)?;
    let caller = caller(&parts, tenant)?;
    let detail = service.get_product(&caller, id).await?;
    Ok(response::page(&detail, &page, ids.as_deref()).into_response())
}

#[utoipa::path(
    post,
    path = "/products/{productId}/price",
    operation_id = "create-price-for-product",
    tag = "Prices",
    summary = "Create a price of a product",
    params(openapi::Version, openapi::ProductPath, openapi::OptionalLocation),
    request_body = openapi::PriceDto,
    responses((status = 201, description = "Successful response", body = openapi::PriceSchema), openapi::Failures),
)]
pub(super) async fn create(
    State(context): State<Context>,
    id: Id,
    request: Request,
) -> HandlerResult {
    let (parts, body) = open_with_body(&context, request).await?;
    let product = product_id(id)?;
    let problems = query::beside(&parts.uri, &request::LOCATED, &body);
    let service = &context.service;
    let price = CollectionId::generate(Timestamp::now()).to_string();
    let limits = &service.settings().limits;
    let (tenant, edit) = request::create(&price, &body, problems, limits)?;
    let retryable = idempotency::request("highlevel.create_price", &parts, Some(&body))?;
    let caller = caller(&parts, tenant)?;
    let command = request::write(vec![(product, vec![edit])]);
    let render = move |products: &Vec<Upserted>| response::created(products, &price);
    let run = |retry| service.execute(&caller, UpsertProducts { retry, ..command });
    Ok(handler::write(retryable, render, run).await?)
}

#[utoipa::path(
    get,
    path = "/products/{productId}/price/{priceId}",
    operation_id = "get-price-by-id-for-product",
    tag = "Prices",
    summary = "Get a price of a product",
    params(openapi::Version, openapi::ProductPath, openapi::PricePath, openapi::Location),
    responses((status = 200, description = "Successful response", body = openapi::PriceSchema), openapi::Failures),
)]
pub(super) async fn read(
    State(context): State<Context>,
    ids: Ids,
    request: Request,
) -> HandlerResult {
    let (parts, _) = open(&context, request)?;
    let (product, price) = path_ids(ids)?;
    let caller = caller(&parts, request::one(&parts.uri)?)?;
    let detail = context.service.get_product(&caller, product).await?;
    Ok(response::found(&detail, &price)?.into_response())
}

#[utoipa::path(
    put,
    path = "/products/{productId}/price/{priceId}",
    operation_id = "update-price-by-id-for-product",
    tag = "Prices",
    summary = "Update a price of a product",
    params(openapi::Version, openapi::ProductPath, openapi::PricePath, openapi::OptionalLocation),
    request_body = openapi::PriceChangesDto,
    responses((status = 200, description = "Successful response", body = openapi::PriceSchema), openapi::Failures),
)]
pub(super) async fn update(
    State(context): State<Context>,
    ids: Ids,
    request: Request,
) -> HandlerResult {
    let (parts, body) = open_with_body(&context, request).await?;
    let (product, price) = path_ids(ids)?;
    let problems = query::beside(&parts.uri, &request::LOCATED, &body);
    let service = &context.service;
    let limits = &service.settings().limits;
    let (tenant, edit) = request::update(&price, &body, problems, limits)?;
    let retryable = idempotency::request("highlevel.update_price", &parts, Some(&body))?;
    let caller = caller(&parts, tenant)?;
    let command = request::write(vec![(product, vec![edit])]);
    let render = move |products: &Vec<Upserted>| response::updated(products, &price);
    let run = |retry| service.execute(&caller, UpsertProducts { retry, ..command });
    let present = async |id| service.reread_upserted(&caller, id).await;
    let about = |products: &Vec<Upserted>| products.iter().map(Upserted::id).collect();
    Ok(handler::write_about(retryable, render, about, run, present).await?)
}

#[utoipa::path(
    delete,
    path = "/products/{productId}/price/{priceId}",
    operation_id = "delete-price-by-id-for-product",
    tag = "Prices",
    summary = "Delete a price of a product",
    params(openapi::Version, openapi::ProductPath, openapi::PricePath, openapi::Location),
    responses((status = 200, description = "Successful response", body = openapi::StatusDto), openapi::Failures),
)]
pub(super) async fn delete(
    State(context): State<Context>,
    ids: Ids,
    request: Request,
) -> HandlerResult {
    let (parts, _) = open(&context, request)?;
    let service = &context.service;
    let retryable = idempotency::request("highlevel.delete_price", &parts, None)?;
    let (product, price) = path_ids(ids)?;
    let caller = caller(&parts, request::one(&parts.uri)?)?;
    let command = request::write(vec![(product, vec![Edit::Remove(price)])]);
    let run = |retry| service.execute(&caller, UpsertProducts { retry, ..command });
    Ok(handler::write(retryable, |_| response::deleted(), run).await?)
}

/// The ids of the product and the price in the path.
fn path_ids(ids: Ids) -> Domain<(ProductId, String)> {
    let Path((product, price)) = ids.map_err(|_| {
        let rule = Constraint::Malformed(ids::PRINTABLE);
        Violation::new("productId", "", rule)
    })?;
    Ok((ProductId::parse("productId", &product)?, price))
}
