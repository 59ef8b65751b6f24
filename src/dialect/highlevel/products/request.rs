//! What requests about products ask for.

use http::Uri;
use serde_json::Value;

use crate::{
    dialect::{
        highlevel::{
            fields::{self, Object},
            query::{self, MAX_LIMIT, MAX_OFFSET},
        },
        id_list,
    },
    domain::{
        Change, CollectionId, Constraint, Json, Limits, MapChange, ProductChanges, ProductFilter,
        ProductId, Result, Slug, TenantId, Timestamp, Violation, Violations, ids::ALPHABET,
    },
    service::{
        AssignProducts, Assignment, Expected, ListProducts, Listing, PageStart, ProductUpsert,
        UpsertProducts,
    },
};

const LOCATION: &str = "locationId";
const PLACE: &str = "bulk-update-product-collection";
const TYPES: [&str; 4] = ["DIGITAL", "PHYSICAL", "SERVICE", "PHYSICAL/DIGITAL"];
const TYPE_LIST: &str = "DIGITAL, PHYSICAL, SERVICE, PHYSICAL/DIGITAL";

/// What a body says of a product that is not kept as it is given: read for itself, or
/// written by the service.
const OWN: [&str; 8] = [
    "_id",
    LOCATION,
    "name",
    "slug",
    "productType",
    "collectionIds",
    "createdAt",
    "updatedAt",
];

/// The tenant of a get or a delete.
///
/// # Errors
/// Where it is not given.
pub(super) fn location(uri: &Uri) -> Result<TenantId> {
    let mut violations = Violations::default();
    let query = query::first_of_each(&query::pairs(uri));
    let tenant = fields::tenant_in(LOCATION, &query, &mut violations);
    fields::finish(violations, tenant)
}

/// What a list asks for. Where it names no number, and for 0, which is HighLevel's
/// default, a page holds as much as it may.
///
/// # Errors
/// With every violation.
pub(super) fn list(uri: &Uri, limits: &Limits) -> Result<(TenantId, ListProducts)> {
    let mut violations = Violations::default();
    let to = &mut violations;
    let pairs = query::pairs(uri);
    let query = query::first_of_each(&pairs);
    let tenant = fields::tenant_in(LOCATION, &query, to);
    let size = query::number(&query, "limit", (0, MAX_LIMIT), to);
    let offset = query::number(&query, "offset", (0, MAX_OFFSET), to);
    let given = |name| query::text(&query, name).filter(|text| !text.is_empty());
    let search = given("search");
    to.length("search", search.unwrap_or_default(), limits.name_chars);
    let slug = given("collectionSlug");
    let slug =
        slug.and_then(|slug| to.take(Slug::parse("collectionSlug", slug, limits.name_chars)));
    let ids = id_list::of(&pairs, "productIds");
    let ids = ids.iter().map(String::as_str);
    let filter = ProductFilter {
        title: search.map(Into::into),
        ids: query::ids("productIds", ids, limits, parse_id, to),
        collections: query::collection_ids(&pairs, limits, to),
        told: false,
    };
    let command = ListProducts {
        filter,
        slug,
        start: PageStart::Offset(offset.unwrap_or_default()),
        // No more than `MAX_LIMIT`, so it fits.
        size: size.filter(|size| *size > 0).unwrap_or(MAX_LIMIT) as usize,
        bytes: None,
    };
    Ok((fields::finish(violations, tenant)?, command))
}

/// The product that the body of a create tells of.
///
/// # Errors
/// With every violation.
pub(super) fn create(body: &Object, limits: &Limits) -> Result<(TenantId, UpsertProducts)> {
    let id = CollectionId::generate(Timestamp::now()).into();
    told(id, body, limits, Expected::Any)
}

/// What the body of an update tells of a product: a field that it does not name stays.
///
/// # Errors
/// With every violation.
pub(super) fn update(
    id: ProductId,
    body: &Object,
    limits: &Limits,
) -> Result<(TenantId, UpsertProducts)> {
    told(id, body, limits, Expected::Known)
}

/// The products and collections that the body of a bulk update names.
///
/// # Errors
/// With every violation; one is that it asks for anything else.
pub(super) fn place(body: &Object, limits: &Limits) -> Result<(TenantId, AssignProducts)> {
    let mut violations = Violations::default();
    let to = &mut violations;
    let tenant = fields::tenant(body, to);
    fields::alt_type(body, to);
    let name = ("type", "type".to_owned());
    fields::choice(body, name, &[PLACE], |name| name, PLACE, to);
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
        tell: false,
        products: products.unwrap_or_default(),
        collections: collections.unwrap_or_default(),
        retry: None,
    };
    Ok((fields::finish(violations, tenant)?, command))
}

fn told(
    id: ProductId,
    body: &Object,
    limits: &Limits,
    expected: Expected,
) -> Result<(TenantId, UpsertProducts)> {
    let mut violations = Violations::default();
    let to = &mut violations;
    let tenant = fields::tenant_in(LOCATION, body, to);
    let name = fields::required_text(body, "name", to).unwrap_or_default();
    let field = ("productType", "productType".to_owned());
    let product_type = fields::choice(body, field, &TYPES, |name| name, TYPE_LIST, to);
    let slug = fields::optional_text(body, "slug", "slug", to);
    let collections = fields::ids(body, "collectionIds", limits.ids, collection_id, to);
    for (field, text) in [
        ("name", name),
        ("slug", slug.set().map_or("", String::as_str)),
    ] {
        to.length(field, text, limits.name_chars);
    }
    let changes = ProductChanges {
        id,
        title: Change::Set(name.into()),
        slug,
        product_type: Change::Set(product_type.unwrap_or_default().into()),
        attributes: attributes(body),
        only_new: Vec::new(),
    };
    let product = ProductUpsert {
        changes,
        collections: collections.map_or(Listing::Same, |ids| {
            Listing::Only(ids.into_iter().collect())
        }),
    };
    let command = UpsertProducts {
        products: vec![product],
        expected,
        tell: true,
        retry: None,
    };
    Ok((fields::finish(violations, tenant)?, command))
}

/// Everything else that the body says: `null` takes a field away.
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

/// The roots are no collections to this dialect.
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
