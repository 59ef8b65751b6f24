//! Products as HighLevel's clients read them.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::facts;
use crate::{
    dialect::{
        highlevel::{prices::stored, response::time},
        idempotency::Reply,
        json_body::{self, Items, Next},
    },
    domain::{Change, CollectionId, Json, Product, ProductChanges, ProductId, Timestamp},
    service::{ProductDetail, ProductPage, Upserted},
};

/// What the answer to a bulk update says, as HighLevel's description has it.
const PLACED: &str = "Successfully updated";

/// HighLevel's types of products.
pub(super) const TYPES: [&str; 4] = ["DIGITAL", "PHYSICAL", "SERVICE", "PHYSICAL/DIGITAL"];

/// The type of a product that has none of them.
const DEFAULT_TYPE: &str = "PHYSICAL";

/// What a body says of a product that is not kept as it is given: read for itself, or
/// written by the service.
pub(super) const OWN: [&str; 9] = [
    stored::ATTRIBUTE,
    "_id",
    "locationId",
    "name",
    "slug",
    "productType",
    "collectionIds",
    "createdAt",
    "updatedAt",
];

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

/// The answer to a bulk edit.
pub(super) fn edited(products: &[Upserted]) -> Reply {
    let body = json!({ "status": true, "message": PLACED, "updatedCount": products.len() });
    Reply::new(StatusCode::CREATED, None, &body)
}

/// The product with all that is known of it. One that is only in a collection has the fields
/// that HighLevel's schema requires, too.
fn product(detail: &ProductDetail) -> Value {
    let product = detail.product.as_ref();
    let mut body = Map::new();
    body.insert("_id".into(), detail.id.as_str().into());
    body.insert("locationId".into(), detail.tenant.as_str().into());
    // The roots are no collections to this dialect.
    let collections = detail.collections.iter().filter(|id| !id.is_root());
    let collections = collections.map(CollectionId::as_str).collect();
    body.insert("collectionIds".into(), collections);
    let name = product.map_or(detail.id.as_str(), |product| product.title.as_str());
    body.insert("name".into(), name.into());
    body.insert("productType".into(), shown_type(product).into());
    if let Some(slug) = product.map(|product| product.slug.as_str())
        && !slug.is_empty()
    {
        body.insert("slug".into(), slug.into());
    }
    let never = Timestamp::from_micros(0);
    let (created, updated) = product.map_or((never, never), |product| {
        (product.create_time, product.update_time)
    });
    body.insert("createdAt".into(), time(created).into());
    body.insert("updatedAt".into(), time(updated).into());
    for (name, json) in product.iter().flat_map(|product| &product.attributes) {
        // What another API stores under one of these names is not that.
        if !OWN.contains(&name.as_str()) {
            body.insert(name.clone(), value(json));
        }
    }
    if let Some(product) = product {
        facts::show(product, &mut body);
    }
    body.into()
}

/// The type of the product, which HighLevel's schema requires to be one of its own.
fn shown_type(product: Option<&Product>) -> &str {
    product
        .map(|product| product.product_type.as_str())
        .filter(|name| TYPES.contains(name))
        .unwrap_or(DEFAULT_TYPE)
}

fn value(json: &Json) -> Value {
    // The store holds nothing but JSON.
    serde_json::from_str(&json.0).unwrap_or_default()
}

/// Takes out of the changes what a get shows of the product without its being stored, or in
/// another form than it is stored: a client that sends back what it read changes nothing. A
/// product that is not registered yet, and is to be, keeps the name that it is shown with.
pub(super) fn leave_out_shown(changes: &mut ProductChanges, known: Option<&Product>) {
    if let Some(known) = known {
        facts::leave_out_shown(changes, known);
    }
    let id = changes.id.as_str();
    if known.is_none() && changes.title.set().is_some_and(|title| title == id) {
        changes.title = Change::Keep;
    }
    let shown = shown_type(known);
    if changes.product_type.set().is_some_and(|new| new == shown) {
        changes.product_type = Change::Keep;
    }
    if known.is_none_or(|product| product.slug.is_empty()) && changes.slug == Change::Clear {
        changes.slug = Change::Keep;
    }
    changes.attributes.entries.retain(|(name, new)| {
        match (known.and_then(|product| product.attributes.get(name)), new) {
            (None, new) => new.is_some(),
            // A field that is `null` is shown, and `null` takes a field away.
            (Some(old), None) => !value(old).is_null(),
            (Some(_), Some(_)) => true,
        }
    });
    if known.is_none() && changes.title == Change::Keep && !changes.is_empty() {
        changes.title = Change::Set(id.into());
    }
}
