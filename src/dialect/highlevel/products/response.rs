//! Renders products in HighLevel's form.

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

/// The message of a bulk update, from HighLevel's description.
const PLACED: &str = "Successfully updated";

/// HighLevel's types of products.
pub(super) const TYPES: [&str; 4] = ["DIGITAL", "PHYSICAL", "SERVICE", "PHYSICAL/DIGITAL"];

/// The type that is shown for products with another type or none.
const DEFAULT_TYPE: &str = "PHYSICAL";

/// Fields of a product that are not stored as attributes: the service parses them, or sets them
/// itself.
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

/// The response to a create request.
pub(super) fn created(products: &[Upserted]) -> Reply {
    Reply::new(StatusCode::CREATED, None, &written(products))
}

/// The response to an update.
pub(super) fn updated(products: &[Upserted]) -> Reply {
    Reply::new(StatusCode::OK, None, &written(products))
}

/// The single product that a request wrote.
fn written(products: &[Upserted]) -> Option<Value> {
    products.first().map(|written| product(&written.detail))
}

/// The response to a get request.
pub(super) fn found(detail: &ProductDetail) -> Reply {
    Reply::new(StatusCode::OK, None, &product(detail))
}

/// The response to a list request.
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

/// The response to a delete request.
pub(super) fn deleted() -> Reply {
    Reply::new(StatusCode::OK, None, &json!({ "status": true }))
}

/// The response to a bulk update.
pub(super) fn placed() -> Reply {
    let body = json!({ "status": true, "message": PLACED });
    Reply::new(StatusCode::CREATED, None, &body)
}

/// The response to a bulk edit.
pub(super) fn edited(products: &[Upserted]) -> Reply {
    let body = json!({ "status": true, "message": PLACED, "updatedCount": products.len() });
    Reply::new(StatusCode::CREATED, None, &body)
}

/// The product with all its fields. One that is not registered still has those that HighLevel's
/// schema requires.
fn product(detail: &ProductDetail) -> Value {
    let product = detail.product.as_ref();
    let mut body = Map::new();
    body.insert("_id".into(), detail.id.as_str().into());
    body.insert("locationId".into(), detail.tenant.as_str().into());
    // This dialect does not have the root collections.
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
        // Another API may have stored attributes with the names of these fields.
        if !OWN.contains(&name.as_str()) {
            body.insert(name.clone(), value(json));
        }
    }
    if let Some(product) = product {
        facts::show(product, &mut body);
    }
    body.into()
}

/// The type to show; HighLevel's schema allows its own types only.
fn shown_type(product: Option<&Product>) -> &str {
    product
        .map(|product| product.product_type.as_str())
        .filter(|name| TYPES.contains(name))
        .unwrap_or(DEFAULT_TYPE)
}

fn value(json: &Json) -> Value {
    // Cannot fail: only valid JSON is stored.
    serde_json::from_str(&json.0).unwrap_or_default()
}

/// Removes from the changes what a get request shows without its being stored, or in another form
/// than it is stored, so that a client that sends back what it read changes nothing. A product that
/// becomes registered keeps the name that was shown.
pub(super) fn drop_echoed(changes: &mut ProductChanges, known: Option<&Product>) {
    if let Some(known) = known {
        facts::drop_echoed(changes, known);
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
            // A `null` that is stored is shown, so sending `null` back must not remove it.
            (Some(old), None) => !value(old).is_null(),
            (Some(_), Some(_)) => true,
        }
    });
    if known.is_none() && changes.title == Change::Keep && !changes.is_empty() {
        changes.title = Change::Set(id.into());
    }
}
