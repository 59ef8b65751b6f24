//! Parses requests about products.

use http::Uri;
use serde_json::Value;

use super::{
    facts,
    response::{self, OWN, TYPES},
};
use crate::{
    dialect::highlevel::{
        error,
        fields::{self, ARRAY, BOOLEAN, OBJECT, Object},
        prices::{
            self,
            stored::{self, Edit},
        },
        query::{self, MAX_LIMIT, MAX_OFFSET, Parameters, Query},
    },
    domain::{
        Change, CollectionId, Constraint, Json, Limits, MapChange, ProductChanges, ProductFilter,
        ProductId, Result, Slug, TenantId, Timestamp, Violation, Violations, ids::ALPHABET,
    },
    service::{
        AssignProducts, Assignment, Completion, Expected, ListProducts, Listing, PageStart,
        ProductUpsert, UpsertProducts,
    },
};

const LOCATION: &str = "locationId";
const PLACE: &str = "bulk-update-product-collection";
const TYPE_LIST: &str = "DIGITAL, PHYSICAL, SERVICE, PHYSICAL/DIGITAL";

/// The field with the location, in requests about products.
pub(super) const LOCATED: [&str; 1] = [LOCATION];

const READ: Parameters = Parameters {
    once: &LOCATED,
    lists: &[],
    harmless: &["sendWishlistStatus"],
    refused: &[],
};

const DELETED: Parameters = Parameters {
    once: &LOCATED,
    lists: &[],
    harmless: &[],
    refused: &[],
};

const LISTED: Parameters = Parameters {
    once: &[LOCATION, "limit", "offset", "search", "collectionSlug"],
    lists: &["collectionIds", "productIds"],
    harmless: &["expand"],
    refused: &[
        ("storeId", NO_STORES),
        ("includedInStore", NO_STORES),
        ("availableInStore", "products are not filtered by it"),
        (
            "sortOrder",
            "products come in the order of their collection, or by id",
        ),
    ],
};

const NO_STORES: &str = "this service has no stores";
const NO_SELECTION: &str = "productIds must name the products";

/// The maximum number of products and prices in a bulk edit, as at HighLevel.
pub(super) const MAX_EDITED: usize = 30;

/// The tenant of a get request.
///
/// # Errors
/// With all violations.
pub(super) fn read_one(uri: &Uri) -> Result<TenantId> {
    location(uri, &READ)
}

/// The tenant of a delete request.
///
/// # Errors
/// With all violations.
pub(super) fn delete(uri: &Uri) -> Result<TenantId> {
    location(uri, &DELETED)
}

fn location(uri: &Uri, known: &Parameters) -> Result<TenantId> {
    let mut violations = Violations::default();
    let query = Query::of(uri, known, &mut violations).once;
    let tenant = fields::tenant_in(LOCATION, &query, &mut violations);
    fields::finish(violations, tenant)
}

/// A list request. Without a limit, or with 0, HighLevel's default, a page is as large as allowed.
///
/// # Errors
/// With all violations.
pub(super) fn list(uri: &Uri, limits: &Limits) -> Result<(TenantId, ListProducts)> {
    let mut violations = Violations::default();
    let to = &mut violations;
    let asked = Query::of(uri, &LISTED, to);
    let query = &asked.once;
    let tenant = fields::tenant_in(LOCATION, query, to);
    let size = query::number(query, "limit", (0, MAX_LIMIT), to);
    let offset = query::number(query, "offset", (0, MAX_OFFSET), to);
    let given = |name| query::text(query, name).filter(|text| !text.is_empty());
    let search = given("search");
    to.length("search", search.unwrap_or_default(), limits.name_chars);
    let slug = given("collectionSlug");
    let slug =
        slug.and_then(|slug| to.take(Slug::parse("collectionSlug", slug, limits.name_chars)));
    let filter = ProductFilter {
        title: search.map(Into::into),
        ids: asked.product_ids(limits, parse_id, to),
        collections: asked.collection_ids(limits, to),
        ..ProductFilter::default()
    };
    let command = ListProducts {
        filter,
        slug,
        start: PageStart::Offset(offset.unwrap_or_default()),
        // Cannot overflow, as it is at most `MAX_LIMIT`.
        size: size.filter(|size| *size > 0).unwrap_or(MAX_LIMIT) as usize,
        bytes: None,
        omit_total: false,
        include_descendants: false,
        all_there: false,
        scan: None,
    };
    Ok((fields::finish(violations, tenant)?, command))
}

/// The product in the body of a create request; `violations` are those of its query.
///
/// # Errors
/// With all violations.
pub(super) fn create(
    body: &Object,
    mut violations: Violations,
    limits: &Limits,
) -> Result<(TenantId, UpsertProducts)> {
    let tenant = fields::tenant_in(LOCATION, body, &mut violations);
    let id = CollectionId::generate(Timestamp::now()).into();
    let product = product(id, body, true, limits, &mut violations);
    let command = upsert(vec![product], Expected::Any);
    Ok((fields::finish(violations, tenant)?, command))
}

/// The changes in the body of an update; fields that are absent stay unchanged.
///
/// # Errors
/// With all violations.
pub(super) fn update(
    id: ProductId,
    body: &Object,
    mut violations: Violations,
    limits: &Limits,
) -> Result<(TenantId, UpsertProducts)> {
    let tenant = fields::tenant_in(LOCATION, body, &mut violations);
    let product = product(id, body, false, limits, &mut violations);
    let command = sent_back(vec![product], Vec::new());
    Ok((fields::finish(violations, tenant)?, command))
}

/// The changes of several products in the body of a bulk edit, each as in an update.
///
/// # Errors
/// With all violations.
pub(super) fn edit(
    body: &Object,
    mut violations: Violations,
    limits: &Limits,
) -> Result<(TenantId, UpsertProducts)> {
    let to = &mut violations;
    let tenant = fields::tenant(body, to);
    fields::alt_type(body, to);
    let items: &[Value] = match body.get("products") {
        None | Some(Value::Null) => &[],
        Some(Value::Array(items)) => items,
        Some(_) => {
            to.add("products", "", ARRAY);
            &[]
        }
    };
    if items.is_empty() {
        to.add("products", "", Constraint::Required);
    }
    to.count("products", items.len(), MAX_EDITED);
    let products = items.iter().take(MAX_EDITED).enumerate();
    let products = products.filter_map(|(at, item)| edited(at, item, limits, to));
    let (products, edits): (Vec<_>, Vec<_>) = products.unzip();
    let count = products.len() + edits.iter().map(Vec::len).sum::<usize>();
    to.count("products", count, MAX_EDITED);
    let ids = products.iter().map(|product| product.changes.id.clone());
    let edits = ids.zip(edits).collect();
    let command = UpsertProducts {
        return_collections: false,
        ..sent_back(products, edits)
    };
    Ok((fields::finish(violations, tenant)?, command))
}

/// The changes of one product in a bulk edit, and of its prices; `at` is its index.
fn edited(
    at: usize,
    item: &Value,
    limits: &Limits,
    to: &mut Violations,
) -> Option<(ProductUpsert, Vec<Edit>)> {
    let Some(item) = item.as_object() else {
        to.add(format!("products.{at}"), "", OBJECT);
        return None;
    };
    let mut own = Violations::default();
    let id = fields::required_text(item, "_id", &mut own);
    let id = id.and_then(|id| own.take(ProductId::parse("_id", id)));
    let mut item = item.clone();
    let edits = match item.shift_remove("prices") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(prices)) => {
            let prices = prices.iter().take(MAX_EDITED + 1).enumerate();
            let edits = prices.filter_map(|(at, price)| edited_price(at, price, limits, &mut own));
            edits.collect()
        }
        Some(_) => {
            own.add("prices", "", ARRAY);
            Vec::new()
        }
    };
    let id_or_none = id.clone().unwrap_or_else(|| ProductId::trusted(""));
    let product = product(id_or_none, &item, false, limits, &mut own);
    error::nest(&format!("products.{at}"), own, to);
    id.map(|_| (product, edits))
}

/// The changes of one price in a bulk edit; `at` is its index.
fn edited_price(at: usize, price: &Value, limits: &Limits, to: &mut Violations) -> Option<Edit> {
    let Some(price) = price.as_object() else {
        to.add(format!("prices.{at}"), "", OBJECT);
        return None;
    };
    let mut own = Violations::default();
    let id = fields::required_text(price, "_id", &mut own);
    prices::check(price, false, limits, &mut own);
    error::nest(&format!("prices.{at}"), own, to);
    Some(Edit::Change(id?.into(), stored::writable(price)))
}

/// The products and collections in the body of a bulk update.
///
/// # Errors
/// With all violations; any other kind of update is one.
pub(super) fn place(
    body: &Object,
    mut violations: Violations,
    limits: &Limits,
) -> Result<(TenantId, AssignProducts)> {
    let to = &mut violations;
    let tenant = fields::tenant(body, to);
    fields::alt_type(body, to);
    let name = ("type", "type".to_owned());
    fields::choice(body, name, &[PLACE], |name| name, PLACE, to);
    refuse_selection(body, to);
    let max = limits.mutation_ids;
    let products = fields::ids(body, "productIds", max, parse_id, to);
    let collections = fields::ids(body, "collectionIds", limits.ids, collection_id, to);
    for name in ["productIds", "collectionIds"] {
        let ids = body.get(name).and_then(Value::as_array);
        let is_absent = body.get(name).is_none_or(Value::is_null);
        if is_absent || ids.is_some_and(Vec::is_empty) {
            to.add(name, "", Constraint::Required);
        }
    }
    let command = AssignProducts {
        assignment: Assignment::Link,
        return_products: false,
        products: products.unwrap_or_default(),
        collections: collections.unwrap_or_default(),
        retry: None,
    };
    Ok((fields::finish(violations, tenant)?, command))
}

/// Rejects `selectAll`, and filters unless `selectAll` is false: only products that the request
/// names can be changed.
fn refuse_selection(body: &Object, to: &mut Violations) {
    let applies = match body.get("selectAll") {
        None | Some(Value::Null) => true,
        Some(Value::Bool(false)) => false,
        Some(Value::Bool(true)) => {
            to.add("selectAll", "true", Constraint::Forbidden(NO_SELECTION));
            return;
        }
        Some(_) => {
            to.add("selectAll", "", BOOLEAN);
            return;
        }
    };
    let has_filters = match body.get("filters") {
        None | Some(Value::Null) => false,
        Some(Value::Object(filters)) => filters.values().any(|filter| !filter.is_null()),
        Some(_) => true,
    };
    if applies && has_filters {
        to.add("filters", "", Constraint::Forbidden(NO_SELECTION));
    }
}

fn upsert(products: Vec<ProductUpsert>, expected: Expected) -> UpsertProducts {
    UpsertProducts {
        products,
        expected,
        completion: None,
        return_collections: true,
        retry: None,
    }
}

/// The update of products that the client may have read and sent back completely, and of some of
/// their prices.
fn sent_back(products: Vec<ProductUpsert>, edits: Vec<(ProductId, Vec<Edit>)>) -> UpsertProducts {
    let now = Timestamp::now();
    let complete = Completion::new(move |changes, known| {
        response::drop_echoed(changes, known);
        let edits = edits.iter().filter(|(id, _)| *id == changes.id);
        let edits: Vec<_> = edits.flat_map(|(_, edits)| edits.clone()).collect();
        stored::edit(changes, known, &edits, now)
    });
    UpsertProducts {
        completion: Some(complete),
        ..upsert(products, Expected::Known)
    }
}

/// The changes in the JSON object of a product. If `creates`, the fields that HighLevel requires
/// must be present.
fn product(
    id: ProductId,
    body: &Object,
    creates: bool,
    limits: &Limits,
    to: &mut Violations,
) -> ProductUpsert {
    let named = |field: &str| creates || body.contains_key(field);
    let mut changes = ProductChanges {
        id,
        title: Change::Keep,
        slug: Change::Keep,
        product_type: Change::Keep,
        attributes: attributes(body),
        details: facts::stated(body),
        only_new: Vec::new(),
    };
    if named("name") {
        let name = fields::required_text(body, "name", to).unwrap_or_default();
        changes.title = Change::Set(name.into());
    }
    if named("productType") {
        let field = ("productType", "productType".to_owned());
        let product_type = fields::choice(body, field, &TYPES, |name| name, TYPE_LIST, to);
        changes.product_type = Change::Set(product_type.unwrap_or_default().into());
    }
    changes.slug = fields::optional_text(body, "slug", "slug", to);
    for (field, change) in [("name", &changes.title), ("slug", &changes.slug)] {
        let text = change.set().map_or("", String::as_str);
        to.length(field, text, limits.name_chars);
    }
    let collections = fields::ids(body, "collectionIds", limits.ids, collection_id, to);
    ProductUpsert {
        changes,
        collections: collections.map_or(Listing::Same, |ids| {
            Listing::Only(ids.into_iter().collect())
        }),
    }
}

/// All other fields, which are stored as attributes; `null` removes one.
fn attributes(body: &Object) -> MapChange<String, Json> {
    let given = body.iter();
    let given = given.filter(|(name, _)| !OWN.contains(&name.as_str()));
    let entries = given.map(|(name, value)| {
        let json = Some(value).filter(|value| **value != Value::Null);
        (name.clone(), json.map(|value| Json(value.to_string())))
    });
    MapChange {
        replace: false,
        entries: entries.collect(),
    }
}

fn parse_id(field: &str, id: &str) -> Result<ProductId, Violation> {
    ProductId::parse(field, id)
}

/// A collection's id. This dialect does not have the root collections.
fn collection_id(field: &str, id: &str) -> Result<CollectionId, Violation> {
    let id = CollectionId::parse(field, id)?;
    if id.is_root() {
        return Err(Violation::new(
            field,
            id.as_str(),
            Constraint::Malformed(ALPHABET),
        ));
    }
    Ok(id)
}
