//! Parses requests about prices and inventory.

use http::Uri;
use serde_json::Value;

use super::stored::{self, Edit};
use crate::{
    dialect::highlevel::{
        error,
        fields::{self, ARRAY, BOOLEAN, OBJECT, Object},
        query::{self, MAX_LIMIT, MAX_OFFSET, NUMBER, Parameters, Query},
    },
    domain::{
        Change, Constraint, Decimal, DetailsChanges, Limits, MapChange, ProductChanges, ProductId,
        Result, TenantId, Timestamp, Violations, search::folded,
    },
    service::{Completion, Expected, Listing, ProductUpsert, UpsertProducts},
};

const LOCATION: &str = "locationId";

/// The field with the location, in requests about prices.
pub(super) const LOCATED: [&str; 1] = [LOCATION];

const TYPES: [&str; 2] = ["one_time", "recurring"];
const TYPE_LIST: &str = "one_time, recurring";
const CURRENCY: Constraint = Constraint::Malformed("a valid ISO4217 currency code");

const ONE: Parameters = Parameters {
    once: &LOCATED,
    lists: &[],
    harmless: &[],
    refused: &[],
};

const LISTED: Parameters = Parameters {
    once: &[LOCATION, "limit", "offset", "ids"],
    lists: &[],
    harmless: &[],
    refused: &[],
};

const INVENTORY: Parameters = Parameters {
    once: &["altId", "altType", "limit", "offset", "search"],
    lists: &[],
    harmless: &[],
    refused: &[],
};

/// The part of a list that a request asks for.
pub(super) struct Page {
    pub offset: usize,
    pub limit: usize,
}

impl Page {
    fn of(query: &Object, to: &mut Violations) -> Self {
        let limit = query::number(query, "limit", (0, MAX_LIMIT), to);
        let offset = query::number(query, "offset", (0, MAX_OFFSET), to);
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            offset: size(offset.unwrap_or_default()),
            // 0, HighLevel's default, means as many as allowed.
            limit: size(limit.filter(|limit| *limit > 0).unwrap_or(MAX_LIMIT)),
        }
    }

    /// The items in this part.
    pub fn cut<T>(&self, items: impl IntoIterator<Item = T>) -> Vec<T> {
        let items = items.into_iter().skip(self.offset);
        items.take(self.limit).collect()
    }
}

/// The location of a request about one price.
///
/// # Errors
/// With all violations.
pub(super) fn one(uri: &Uri) -> Result<TenantId> {
    let mut violations = Violations::default();
    let query = Query::of(uri, &ONE, &mut violations).once;
    let tenant = fields::tenant_in(LOCATION, &query, &mut violations);
    fields::finish(violations, tenant)
}

/// A list of a product's prices: the part, and the ids, if the request names some.
///
/// # Errors
/// With all violations.
pub(super) fn list(uri: &Uri, limits: &Limits) -> Result<(TenantId, Page, Option<Vec<String>>)> {
    let mut violations = Violations::default();
    let to = &mut violations;
    let query = Query::of(uri, &LISTED, to).once;
    let tenant = fields::tenant_in(LOCATION, &query, to);
    let page = Page::of(&query, to);
    let ids = query::text(&query, "ids").filter(|ids| !ids.is_empty());
    let ids: Option<Vec<_>> = ids.map(|ids| ids.split(',').map(|id| id.trim().into()).collect());
    to.count("ids", ids.as_ref().map_or(0, Vec::len), limits.ids);
    Ok((fields::finish(violations, tenant)?, page, ids))
}

/// A list of the inventory: the part, and the text that names must contain.
///
/// # Errors
/// With all violations.
pub(super) fn inventory(uri: &Uri, limits: &Limits) -> Result<(TenantId, Page, String)> {
    let mut violations = Violations::default();
    let to = &mut violations;
    let query = Query::of(uri, &INVENTORY, to).once;
    let tenant = fields::tenant(&query, to);
    fields::alt_type(&query, to);
    let page = Page::of(&query, to);
    let search = query::text(&query, "search").unwrap_or_default();
    to.length("search", search, limits.name_chars);
    Ok((fields::finish(violations, tenant)?, page, folded(search)))
}

/// The price in the body of a create request; `violations` are those of its query.
///
/// # Errors
/// With all violations.
pub(super) fn create(
    id: &str,
    body: &Object,
    mut violations: Violations,
    limits: &Limits,
) -> Result<(TenantId, Edit)> {
    let tenant = fields::tenant_in(LOCATION, body, &mut violations);
    check(body, true, limits, &mut violations);
    let edit = Edit::Add(id.into(), body.clone());
    Ok((fields::finish(violations, tenant)?, edit))
}

/// The changes in the body of an update request; fields that are absent stay unchanged.
///
/// # Errors
/// With all violations.
pub(super) fn update(
    id: &str,
    body: &Object,
    mut violations: Violations,
    limits: &Limits,
) -> Result<(TenantId, Edit)> {
    let tenant = fields::tenant_in(LOCATION, body, &mut violations);
    check(body, false, limits, &mut violations);
    let edit = Edit::Change(id.into(), stored::writable(body));
    Ok((fields::finish(violations, tenant)?, edit))
}

/// The prices in an update of the inventory, with their changes.
///
/// # Errors
/// With all violations.
pub(super) fn stock(
    body: &Object,
    mut violations: Violations,
    limits: &Limits,
) -> Result<(TenantId, Vec<(String, Object)>)> {
    let to = &mut violations;
    let tenant = fields::tenant(body, to);
    fields::alt_type(body, to);
    let items: &[Value] = match body.get("items") {
        None | Some(Value::Null) => &[],
        Some(Value::Array(items)) => items,
        Some(_) => {
            to.add("items", "", ARRAY);
            &[]
        }
    };
    if items.is_empty() {
        to.add("items", "", Constraint::Required);
    }
    to.count("items", items.len(), limits.ids);
    let items = items.iter().take(limits.ids).enumerate();
    let items = items.filter_map(|(at, item)| item_of(at, item, to));
    let items = items.collect();
    Ok((fields::finish(violations, tenant)?, items))
}

/// One item of an update of the inventory; `at` is its index.
fn item_of(at: usize, item: &Value, to: &mut Violations) -> Option<(String, Object)> {
    let Some(item) = item.as_object() else {
        to.add(format!("items.{at}"), "", OBJECT);
        return None;
    };
    let mut own = Violations::default();
    let id = fields::required_text(item, "priceId", &mut own);
    numbers(item, &["availableQuantity"], &mut own);
    switches(item, &["allowOutOfStockPurchases"], &mut own);
    error::nest(&format!("items.{at}"), own, to);
    let mut changes = Object::new();
    for name in ["availableQuantity", "allowOutOfStockPurchases"] {
        if let Some(value) = item.get(name).filter(|value| !value.is_null()) {
            changes.insert(name.into(), value.clone());
        }
    }
    Some((id?.into(), changes))
}

/// Checks the fields of a price that the service uses. If `creates`, the fields that HighLevel
/// requires must be present.
pub(in crate::dialect::highlevel) fn check(
    body: &Object,
    creates: bool,
    limits: &Limits,
    to: &mut Violations,
) {
    let named = |field: &str| creates || body.contains_key(field);
    if named("name") {
        let name = fields::required_text(body, "name", to).unwrap_or_default();
        to.length("name", name, limits.name_chars);
    }
    if named("type") {
        let field = ("type", "type".to_owned());
        fields::choice(body, field, &TYPES, |name| name, TYPE_LIST, to);
    }
    if named("currency")
        && let Some(code) = fields::required_text(body, "currency", to)
        && !(code.len() == 3 && code.bytes().all(|letter| letter.is_ascii_alphabetic()))
    {
        to.add("currency", code, CURRENCY);
    }
    match body.get("amount") {
        None if !creates => {}
        None | Some(Value::Null) => {
            to.add("amount", "", NUMBER);
            to.add("amount", "", Constraint::Required);
        }
        Some(Value::Number(amount)) if amount.as_f64().is_some_and(|amount| amount < 0.0) => {
            let (min, max) = (0, i64::MAX);
            let rule = Constraint::OutOfRange { min, max };
            to.add("amount", &amount.to_string(), rule);
        }
        Some(_) => numbers(body, &["amount"], to),
    }
    numbers(body, &["compareAtPrice", "availableQuantity"], to);
    switches(body, &["trackInventory", "allowOutOfStockPurchases"], to);
}

/// Checks that the fields, if present, are numbers that can be stored exactly.
fn numbers(body: &Object, names: &[&str], to: &mut Violations) {
    for name in names {
        let is_number = match body.get(*name) {
            None | Some(Value::Null) => true,
            Some(Value::Number(number)) => {
                let number = Decimal::of_json_number(&number.to_string());
                number.is_some_and(|number| number.is_short())
            }
            Some(Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_)) => false,
        };
        if !is_number {
            let value = body.get(*name).map(ToString::to_string);
            to.add(*name, &value.unwrap_or_default(), NUMBER);
        }
    }
}

fn switches(body: &Object, names: &[&str], to: &mut Violations) {
    for name in names {
        if !matches!(body.get(*name), None | Some(Value::Null | Value::Bool(_))) {
            to.add(*name, "", BOOLEAN);
        }
    }
}

/// The write with these changes of prices. The products must be registered.
pub(super) fn write(edits: Vec<(ProductId, Vec<Edit>)>) -> UpsertProducts {
    let products = edits.iter().map(|(id, _)| ProductUpsert {
        changes: ProductChanges {
            id: id.clone(),
            title: Change::Keep,
            slug: Change::Keep,
            product_type: Change::Keep,
            attributes: MapChange::default(),
            details: DetailsChanges::default(),
            only_new: Vec::new(),
        },
        collections: Listing::Same,
    });
    let products = products.collect();
    let now = Timestamp::now();
    let complete = Completion::new(move |changes, known| {
        let edits = edits.iter().find(|(id, _)| *id == changes.id);
        let edits = edits.map_or(&[][..], |(_, edits)| edits);
        stored::edit(changes, known, edits, now)
    });
    UpsertProducts {
        products,
        expected: Expected::Known,
        completion: Some(complete),
        return_collections: false,
        retry: None,
    }
}
