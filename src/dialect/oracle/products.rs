//! The parts of Oracle's operations on products that collections need.

use std::collections::BTreeSet;

use axum::{
    Json,
    extract::{Path, Request, State, rejection::PathRejection},
    response::{IntoResponse as _, Response},
};
use http::request::Parts;
use serde_json::{Map, Value, json};

use super::{
    assign, codes,
    error::Failure,
    facts,
    fields::{self, Object, Problems},
    headers,
    names::why_forbidden_of_product,
    openapi,
    operation::Operation,
    problem::Problem,
    properties, response,
    view::View,
};
use crate::{
    dialect::{Context, handler, idempotency::Reply},
    domain::{
        Change, CollectionId, DetailsChanges, Json as Text, MapChange, Product, ProductChanges,
        ProductId, Result as Domain, Retryable, Timestamp,
    },
    service::{
        AssignProducts, Assignment, Completion, DeleteProducts, Expected, Listing, ProductDetail,
        ProductUpsert, UpsertProducts, Upserted,
    },
};

const AT: &str = "properties";
const CATEGORY: &str = "categoryId";

const PARENTS: &str = "parentCategories";

/// Properties that the service sets, or parses separately; the others are stored as attributes.
const OWN: [&str; 7] = [
    "productType",
    "id",
    "repositoryId",
    "displayName",
    "parentCategory",
    PARENTS,
    "links",
];

/// `POST /products`.
#[utoipa::path(
    post,
    path = "/ccadmin/v1/products",
    operation_id = "createProduct",
    tag = "Products",
    summary = "Create a product",
    params(openapi::WrittenLanguage, openapi::Fields),
    request_body(content = openapi::NewProduct),
    responses((status = 200, description = "Success", body = openapi::ProductBody), openapi::Failures),
)]
pub async fn create(State(context): State<Context>, request: Request) -> Result<Response, Failure> {
    let locale = headers::required_language(request.headers(), context.service.settings())?;
    let view = View::parse(request.uri(), locale)?;
    let (parts, body) = handler::open(&context, request).await?;
    let retryable = headers::retryable("oracle.create_product", &parts, Some(&body), None)?;
    let upsert = parse_upsert(&body, None)?;
    write(&context, &parts, upsert, Expected::New, retryable, view).await
}

/// Creates or updates one product, and returns it.
async fn write(
    context: &Context,
    parts: &Parts,
    upsert: ProductUpsert,
    expected: Expected,
    retryable: Option<Retryable>,
    view: View,
) -> Result<Response, Failure> {
    let service = &context.service;
    let command = UpsertProducts {
        products: vec![upsert],
        expected,
        completion: Some(Completion::new(complete)),
        return_collections: true,
        retry: None,
    };
    let failed = Failure::of(Operation::Product);
    let caller = handler::caller(&parts.extensions).map_err(&failed)?;
    let render = move |products: &Vec<Upserted>| {
        let product = products.first().map(|one| shown(&one.detail, &view));
        Reply::new(http::StatusCode::OK, None, &product)
    };
    let run = |retry| service.execute(&caller, UpsertProducts { retry, ..command });
    let present = async |id| service.reread_upserted(&caller, id).await;
    let about = |products: &Vec<Upserted>| products.iter().map(Upserted::id).collect();
    let response = handler::write_about(retryable, render, about, run, present).await;
    response.map_err(failed)
}

/// `GET /products/{id}`.
#[utoipa::path(
    get,
    path = "/ccadmin/v1/products/{id}",
    operation_id = "getProduct",
    tag = "Products",
    summary = "Get a product",
    params(openapi::ProductPath, openapi::Language, openapi::OneProduct, openapi::Fields),
    responses((status = 200, description = "Success", body = openapi::ProductBody), openapi::Failures),
)]
pub async fn read(
    State(context): State<Context>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Failure> {
    let locale = headers::optional_language(request.headers(), context.service.settings())?;
    let view = View::parse(request.uri(), locale)?;
    let id = path_id(path)?;
    let failed = Failure::of(Operation::Product);
    let caller = handler::caller(request.extensions()).map_err(&failed)?;
    let detail = context.service.get_product(&caller, id).await;
    Ok(Json(shown(&detail.map_err(failed)?, &view)).into_response())
}

/// `PUT /products/{id}`: properties that are missing, and the collections, stay unchanged.
#[utoipa::path(
    put,
    path = "/ccadmin/v1/products/{id}",
    operation_id = "updateProduct",
    tag = "Products",
    summary = "Update a product",
    params(openapi::ProductPath, openapi::WrittenLanguage, openapi::Fields),
    request_body(content = openapi::ProductChanges),
    responses((status = 200, description = "Success", body = openapi::ProductBody), openapi::Failures),
)]
pub async fn update(
    State(context): State<Context>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Failure> {
    let locale = headers::required_language(request.headers(), context.service.settings())?;
    let view = View::parse(request.uri(), locale)?;
    let (parts, body) = handler::open(&context, request).await?;
    let id = path_id(path)?;
    let upsert = parse_upsert(&body, Some(id))?;
    let retryable = headers::retryable("oracle.update_product", &parts, Some(&body), None)?;
    write(&context, &parts, upsert, Expected::Known, retryable, view).await
}

/// `DELETE /products/{id}`: also removes it from all collections.
#[utoipa::path(
    delete,
    path = "/ccadmin/v1/products/{id}",
    operation_id = "deleteProduct",
    tag = "Products",
    summary = "Delete a product and remove it from all collections",
    params(openapi::ProductPath),
    responses((status = 200, description = "Success", body = openapi::Success), openapi::Failures),
)]
pub async fn delete(
    State(context): State<Context>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Failure> {
    let (parts, _) = request.into_parts();
    let command = DeleteProducts {
        ids: vec![path_id(path)?],
        known_only: true,
        retry: None,
    };
    let retryable = headers::retryable("oracle.delete_product", &parts, None, None)?;
    let failed = Failure::of(Operation::Product);
    let caller = handler::caller(&parts.extensions).map_err(&failed)?;
    let service = &context.service;
    let run = |retry| service.execute(&caller, DeleteProducts { retry, ..command });
    let response = handler::write(retryable, |_| response::success(), run).await;
    response.map_err(failed)
}

/// `POST /products/{id}/addToCollections`.
#[utoipa::path(
    post,
    path = "/ccadmin/v1/products/{id}/addToCollections",
    operation_id = "createProductAssignmentToCollections",
    tag = "Products",
    summary = "Add a product to collections",
    params(openapi::ProductPath, openapi::Fields),
    request_body(content = openapi::CollectionNames),
    responses((status = 200, description = "Success", body = openapi::ProductBody), openapi::Failures),
)]
pub async fn add_to_collections(
    State(context): State<Context>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Failure> {
    let service = &context.service;
    let (parts, body) = handler::open(&context, request).await?;
    let locale = headers::optional_language(&parts.headers, service.settings())?;
    let view = View::parse(&parts.uri, locale)?;
    let id = path_id(path)?;
    let mut problems = Problems::default();
    let collections = assign::collections(&body, &mut problems);
    problems.finish()?;
    let retryable = headers::retryable("oracle.add_to_collections", &parts, Some(&body), None)?;
    let links = json!([{ "rel": "self", "href": parts.uri.path() }]);
    let render = move |told: &Vec<ProductDetail>| {
        let mut body = told.first().map(references).unwrap_or_default();
        body.insert("links".into(), links.clone());
        Reply::new(http::StatusCode::OK, None, &view.cut_object(body.into()))
    };
    let command = AssignProducts {
        products: vec![id],
        collections,
        assignment: Assignment::Link,
        return_products: true,
        retry: None,
    };
    let failed = Failure::of(Operation::AddToCollections);
    let caller = handler::caller(&parts.extensions).map_err(&failed)?;
    let run = |retry| service.execute(&caller, AssignProducts { retry, ..command });
    let present = async |id| Ok(vec![service.reread_product(&caller, id).await?]);
    let about = |told: &Vec<ProductDetail>| told.iter().map(|one| one.id.as_str()).collect();
    let response = handler::write_about(retryable, render, about, run, present).await;
    response.map_err(failed)
}

/// The properties of a product, and its id.
pub fn body(id: &ProductId, product: Option<&Product>) -> Map<String, Value> {
    let mut body = Map::new();
    for name in ["id", "repositoryId"] {
        body.insert(name.into(), id.as_str().into());
    }
    let Some(product) = product else {
        return body;
    };
    body.insert("displayName".into(), product.title.as_str().into());
    body.insert("productType".into(), product.product_type.as_str().into());
    for (name, json) in &product.attributes {
        // Another API may have stored an attribute with such a name.
        if !OWN.contains(&name.as_str()) && why_forbidden_of_product(name).is_none() {
            // Cannot fail: only valid JSON is stored.
            let value = serde_json::from_str(&json.0).unwrap_or_default();
            body.insert(name.clone(), value);
        }
    }
    facts::show(product, &mut body);
    body
}

/// The product as responses show it.
pub fn shown(detail: &ProductDetail, view: &View) -> Value {
    let mut shown = body(&detail.id, detail.product.as_ref());
    let references = references(detail);
    let first = references.get(PARENTS).and_then(|parents| parents.get(0));
    shown.insert("parentCategory".into(), first.cloned().into());
    shown.extend(references);
    view.cut_object(shown.into())
}

/// The id of the product, and references to its collections.
fn references(detail: &ProductDetail) -> Map<String, Value> {
    let mut body = body(&detail.id, None);
    let parent = |id: &CollectionId| json!({ "repositoryId": id.as_str() });
    let parents = detail.collections.iter().map(parent).collect();
    body.insert(PARENTS.into(), parents);
    body
}

/// Parses the body: the product with this id, or a new one. A root as its category is ignored, as
/// in Oracle's API.
fn parse_upsert(body: &Object, known: Option<ProductId>) -> Result<ProductUpsert, Failure> {
    let mut problems = Problems::default();
    let properties = fields::object(body, "", AT, &mut problems);
    let none = Object::new();
    let properties = properties.unwrap_or(&none);
    let name = fields::text(properties, AT, "displayName", &mut problems);
    if known.is_none() && fields::given(properties, "displayName").is_none() {
        problems.invalid("properties.displayName", "is required");
    }
    let product_type = fields::text(body, "", "productType", &mut problems);
    let category = fields::text(body, "", CATEGORY, &mut problems);
    let category = category.set().filter(|id| !id.is_empty());
    let category = category.and_then(|id| {
        let id = CollectionId::parse(CATEGORY, id);
        problems.take(codes::PRODUCTS_ID_INVALID, id)
    });
    let attributes = attributes(properties, known.is_none(), &mut problems);
    let id = known.or_else(|| new_id(properties, &mut problems));
    problems.finish()?;
    Ok(ProductUpsert {
        changes: ProductChanges {
            id: id.unwrap_or_else(|| CollectionId::generate(Timestamp::now()).into()),
            title: name,
            slug: Change::Keep,
            product_type,
            attributes,
            details: DetailsChanges::default(),
            only_new: Vec::new(),
        },
        collections: match category.filter(|id| !id.is_root()) {
            Some(id) => Listing::Also(BTreeSet::from([id])),
            None => Listing::Same,
        },
    })
}

/// The id of a new product, if the client chooses one.
fn new_id(properties: &Object, problems: &mut Problems) -> Option<ProductId> {
    let id = fields::text(properties, AT, "id", problems);
    let id = ProductId::parse("properties.id", id.set()?);
    problems.take(codes::INVALID_INPUT, id)
}

/// All other properties, which are stored as attributes. Null removes one.
fn attributes(
    properties: &Object,
    is_new: bool,
    problems: &mut Problems,
) -> MapChange<String, Text> {
    let mut entries = Vec::new();
    for (name, value) in properties {
        if let Some(why) = why_forbidden_of_product(name) {
            problems.invalid(&fields::path(AT, name), why);
        } else if !OWN.contains(&name.as_str()) {
            let value = (!value.is_null()).then(|| Text(value.to_string()));
            entries.push((name.clone(), value));
        }
    }
    MapChange {
        replace: is_new,
        entries,
    }
}

/// Completes the changes of a product, given its stored state.
fn complete(changes: &mut ProductChanges, known: Option<&Product>) -> Domain<()> {
    drop_echoed(changes, known);
    facts::add(changes, known);
    Ok(())
}

/// Removes from the changes the nulls that a response has shown: sending those back must not remove
/// the properties.
fn drop_echoed(changes: &mut ProductChanges, known: Option<&Product>) {
    let Some(known) = known else {
        return;
    };
    let is_null = |name: &String| known.attributes.get(name).is_some_and(properties::is_null);
    let entries = &mut changes.attributes.entries;
    entries.retain(|(name, new)| new.is_some() || !is_null(name));
    facts::drop_echoed(changes, known);
}

/// The id in the path. A malformed id gets the code of an unknown product.
fn path_id(path: Result<Path<String>, PathRejection>) -> Result<ProductId, Failure> {
    // Invalid UTF-8 after decoding can't be an id either.
    let id = path.map_or_else(|_| char::REPLACEMENT_CHARACTER.into(), |Path(id)| id);
    ProductId::parse("id", &id)
        .map_err(|_| Problem::new(codes::PRODUCT_INVALID, format!("{id:?}")).into())
}
