//! The inventory of a location: the stock of all its prices. Prices are part of products, so they
//! are found by scanning products, at most `max_scanned`.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    extract::{Request, State},
    response::IntoResponse as _,
};

use super::{
    request, response,
    stored::{self, Edit},
};
use crate::{
    dialect::{
        Context, handler,
        highlevel::{
            fields::Object,
            handler::{HandlerResult, caller, open, open_with_body},
            openapi, query,
        },
        idempotency,
    },
    domain::{Caller, Constraint, ProductFilter, ProductId, Result, Violation, page::PageBytes},
    service::{ListProducts, PageStart, ProductDetail, Service, UpsertProducts},
};

#[utoipa::path(
    get,
    path = "/products/inventory",
    operation_id = "get-list-inventory",
    tag = "Prices",
    summary = "List the prices whose stock is tracked",
    params(openapi::Version, openapi::Alt, openapi::InventoryQuery),
    responses((status = 200, description = "Successful response", body = openapi::GetInventoryResponseDto), openapi::Failures),
)]
pub(in crate::dialect::highlevel) async fn list(
    State(context): State<Context>,
    request: Request,
) -> HandlerResult {
    let (parts, _) = open(&context, request)?;
    let service = &context.service;
    let (tenant, page, search) = request::inventory(&parts.uri, &service.settings().limits)?;
    let caller = caller(&parts, tenant)?;
    let (mut total, mut shown) = (0, Vec::new());
    let visit = |detail: &ProductDetail| {
        for item in response::items(detail, &search) {
            if total >= page.offset && shown.len() < page.limit {
                shown.push(item);
            }
            total += 1;
        }
    };
    each_product(service, &caller, visit).await?;
    Ok(response::inventory(&shown, total).into_response())
}

#[utoipa::path(
    post,
    path = "/products/inventory",
    operation_id = "update-inventory",
    tag = "Prices",
    summary = "Update the stock of several prices",
    params(openapi::Version, openapi::OptionalAlt),
    request_body = openapi::UpdateInventoryDto,
    responses((status = 201, description = "Successful response", body = openapi::StatusDto), openapi::Failures),
)]
pub(in crate::dialect::highlevel) async fn update(
    State(context): State<Context>,
    request: Request,
) -> HandlerResult {
    let (parts, body) = open_with_body(&context, request).await?;
    let problems = query::beside(&parts.uri, &query::ALT, &body);
    let service = &context.service;
    let (tenant, items) = request::stock(&body, problems, &service.settings().limits)?;
    let retryable = idempotency::request("highlevel.update_inventory", &parts, Some(&body))?;
    let caller = caller(&parts, tenant)?;
    let command = request::write(edits(service, &caller, items).await?);
    let run = |retry| service.execute(&caller, UpsertProducts { retry, ..command });
    Ok(handler::write(retryable, |_| response::stocked(), run).await?)
}

/// The changes, by product. Whether a product still has the price is checked in the transaction
/// that writes them.
async fn edits(
    service: &Service,
    caller: &Caller,
    items: Vec<(String, Object)>,
) -> Result<Vec<(ProductId, Vec<Edit>)>> {
    let mut owners: BTreeMap<&str, Option<ProductId>> = BTreeMap::new();
    for (price, _) in &items {
        owners.insert(price, None);
    }
    let visit = |detail: &ProductDetail| {
        let prices = detail.product.iter().flat_map(|it| &it.details.prices);
        for price in prices {
            if let Some(owner) = owners.get_mut(price.id.as_str()) {
                owner.get_or_insert_with(|| detail.id.clone());
            }
        }
    };
    each_product(service, caller, visit).await?;
    let mut edits: BTreeMap<ProductId, Vec<Edit>> = BTreeMap::new();
    for (price, changes) in &items {
        let owner = owners.get(price.as_str()).cloned().flatten();
        let owner = owner.ok_or_else(|| stored::not_found(price))?;
        let edit = Edit::Change(price.clone(), changes.clone());
        edits.entry(owner).or_default().push(edit);
    }
    Ok(edits.into_iter().collect())
}

/// Calls `visit` for each registered product, in the order of their ids.
async fn each_product(
    service: &Service,
    caller: &Caller,
    mut visit: impl FnMut(&ProductDetail) + Send,
) -> Result<()> {
    let limits = &service.settings().limits;
    let mut start = PageStart::First;
    loop {
        let is_first = matches!(start, PageStart::First);
        let command = ListProducts {
            filter: ProductFilter {
                registered_only: true,
                ..ProductFilter::default()
            },
            slug: None,
            include_descendants: false,
            all_there: false,
            scan: None,
            start,
            size: limits.page_size,
            // Unlimited, as the number of scanned products is limited, and none is in the response.
            bytes: Some(PageBytes {
                max: usize::MAX,
                of: Arc::new(|_| 0),
            }),
            omit_total: !is_first,
        };
        let page = service.list_products(caller, command).await?;
        let count = usize::try_from(page.total).unwrap_or(usize::MAX);
        let max = limits.scanned;
        if is_first && count > max {
            let rule = Constraint::TooMany { count, max };
            return Err(Violation::new("products", "", rule).into());
        }
        page.products.iter().for_each(&mut visit);
        match page.next {
            Some(next) => start = PageStart::Token(next),
            None => return Ok(()),
        }
    }
}
