//! Products as HighLevel's clients read them.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::{
    dialect::{
        highlevel::response::time,
        idempotency::Reply,
        json_body::{self, Items, Next},
    },
    domain::ProductId,
    service::{ProductDetail, ProductPage, Upserted},
};

/// What the answer to a bulk update says, as HighLevel's description has it.
const PLACED: &str = "Successfully updated";

/// The answer to a create.
pub(super) fn created(products: &[Upserted]) -> Reply {
    Reply::new(StatusCode::CREATED, None, &written(products))
}

/// The answer to an update.
pub(super) fn updated(products: &[Upserted]) -> Reply {
    Reply::new(StatusCode::OK, None, &written(products))
}

/// The one product that a request writes.
fn written(products: &[Upserted]) -> Option<Value> {
    products.first().map(|written| product(&written.detail))
}

/// The answer to a get.
pub(super) fn found(detail: &ProductDetail) -> Reply {
    Reply::new(StatusCode::OK, None, &product(detail))
}

/// The answer to a list.
pub(super) fn page(page: ProductPage, next: Next<ProductDetail, ProductId>) -> Response {
    let empty = json!({ "products": [], "total": [{ "total": page.total }] });
    let items = Items {
        first: page.products,
        rest: page.rest.into(),
        next,
        write: Box::new(|items| {
            let items = items.iter().map(product);
            items.map(|item| json_body::written(&item)).collect()
        }),
    };
    json_body::page(&empty, "products", items)
}

/// The answer to a delete.
pub(super) fn deleted() -> Reply {
    Reply::new(StatusCode::OK, None, &json!({ "status": true }))
}

/// The answer to a bulk update.
pub(super) fn placed() -> Reply {
    let body = json!({ "status": true, "message": PLACED });
    Reply::new(StatusCode::CREATED, None, &body)
}

/// The product with whatever is known of it.
fn product(detail: &ProductDetail) -> Value {
    let mut body = Map::new();
    body.insert("_id".into(), detail.id.as_str().into());
    body.insert("locationId".into(), detail.tenant.as_str().into());
    // The roots are no collections to this dialect.
    let collections = detail.collections.iter().filter(|id| !id.is_root());
    let collections = collections.map(|id| id.as_str());
    body.insert("collectionIds".into(), collections.collect());
    let Some(product) = &detail.product else {
        return body.into();
    };
    body.insert("name".into(), product.title.as_str().into());
    body.insert("productType".into(), product.product_type.as_str().into());
    if !product.slug.is_empty() {
        body.insert("slug".into(), product.slug.as_str().into());
    }
    body.insert("createdAt".into(), time(product.create_time).into());
    body.insert("updatedAt".into(), time(product.update_time).into());
    for (name, json) in &product.attributes {
        // What another API told under one of these names is not that.
        if !body.contains_key(name) {
            // The store holds nothing but JSON.
            let value = serde_json::from_str(&json.0).unwrap_or_default();
            body.insert(name.clone(), value);
        }
    }
    body.into()
}
