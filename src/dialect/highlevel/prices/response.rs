//! Renders prices and inventory in HighLevel's form.

use http::StatusCode;
use serde_json::{Value, json};

use super::{request::Page, stored};
use crate::{
    dialect::{highlevel::fields::Object, idempotency::Reply},
    domain::{Result, search::folded},
    service::{ProductDetail, Upserted},
};

/// The message of an update of the inventory, from HighLevel's description.
const UPDATED: &str = "Successfully created";

/// The response to a create request.
pub(super) fn created(products: &[Upserted], price: &str) -> Reply {
    Reply::new(StatusCode::CREATED, None, &written(products, price))
}

/// The response to an update.
pub(super) fn updated(products: &[Upserted], price: &str) -> Reply {
    Reply::new(StatusCode::OK, None, &written(products, price))
}

/// The price that a request wrote.
fn written(products: &[Upserted], price: &str) -> Option<Object> {
    let detail = &products.first()?.detail;
    stored::one(&detail.tenant, detail.product.as_ref(), price).ok()
}

/// The response to a get request.
///
/// # Errors
/// If the product has no such price.
pub(super) fn found(detail: &ProductDetail, price: &str) -> Result<Reply> {
    let price = stored::one(&detail.tenant, detail.product.as_ref(), price)?;
    Ok(Reply::new(StatusCode::OK, None, &price))
}

/// The response to a list request: a part of the prices, or of those with these ids.
pub(super) fn page(detail: &ProductDetail, page: &Page, ids: Option<&[String]>) -> Reply {
    let product = detail.product.as_ref();
    let prices = product.map(|product| stored::all(&detail.tenant, product));
    let is_asked = |price: &Object| {
        let id = price.get("_id").and_then(Value::as_str).unwrap_or_default();
        ids.is_none_or(|ids| ids.iter().any(|asked| asked == id))
    };
    let prices = prices.into_iter().flatten().filter(is_asked);
    let prices: Vec<_> = prices.collect();
    let total = prices.len();
    let body = json!({ "prices": page.cut(prices), "total": total });
    Reply::new(StatusCode::OK, None, &body)
}

/// The response to a delete request.
pub(super) fn deleted() -> Reply {
    Reply::new(StatusCode::OK, None, &json!({ "status": true }))
}

/// The inventory items of a product: its prices with tracked stock whose names contain `search`,
/// which must be case-folded.
pub(super) fn items(detail: &ProductDetail, search: &str) -> Vec<Value> {
    let Some(product) = &detail.product else {
        return Vec::new();
    };
    let tracked = product.details.prices.iter();
    let tracked = tracked.map(|price| price.inventory.is_some());
    if !tracked.clone().any(|is_tracked| is_tracked) {
        return Vec::new();
    }
    let has_title = folded(&product.title).contains(search);
    let image = product.attributes.get("image");
    let image = image.and_then(|json| serde_json::from_str::<String>(&json.0).ok());
    let prices = stored::all(&detail.tenant, product)
        .into_iter()
        .zip(tracked);
    let prices = prices.filter(|(_, is_tracked)| *is_tracked);
    let items = prices.filter_map(|(price, _)| {
        let field = |name: &str| price.get(name).cloned();
        let name = field("name").unwrap_or_default();
        let has_name = || name.as_str().is_some_and(|name| folded(name).contains(search));
        if !has_title && !has_name() {
            return None;
        }
        let mut item = json!({
            "_id": field("_id"),
            "name": name,
            "availableQuantity": field("availableQuantity"),
            "sku": field("sku").unwrap_or_else(|| "".into()),
            "allowOutOfStockPurchases": field("allowOutOfStockPurchases").unwrap_or(Value::Bool(false)),
            "product": field("product"),
            "updatedAt": field("updatedAt"),
            "productName": product.title,
        });
        if let Some(image) = &image {
            item["image"] = image.as_str().into();
        }
        Some(item)
    });
    items.collect()
}

/// The response to a list of the inventory.
pub(super) fn inventory(items: &[Value], total: usize) -> Reply {
    let body = json!({ "inventory": items, "total": { "total": total } });
    Reply::new(StatusCode::OK, None, &body)
}

/// The response to an update of the inventory.
pub(super) fn stocked() -> Reply {
    let body = json!({ "status": true, "message": UPDATED });
    Reply::new(StatusCode::CREATED, None, &body)
}
