//! The product side: what collections need of Oracle's operations on products.

use std::collections::BTreeSet;

use axum::{
    Json,
    extract::{Path, Request, State, rejection::PathRejection},
    response::{IntoResponse as _, Response},
};
use serde_json::{Map, Value, json};

use super::{
    assign, codes,
    error::Failure,
    fields::{self, Object, Problems},
    headers,
    list::PageQuery,
    names::FORBIDDEN,
    openapi,
    operation::Operation,
    problem::Problem,
    view::{self, View},
};
use crate::{
    dialect::{
        Context, handler,
        idempotency::Reply,
        json_body::{self, Items},
    },
    domain::{
        Change, CollectionId, Json as Text, MapChange, Product, ProductChanges, ProductFilter,
        ProductId, Timestamp,
    },
    service::{
        AssignProducts, Assignment, Expected, Key, ListProducts, Listing, PageStart, ProductDetail,
        ProductUpsert, UpsertProducts, Upserted,
    },
};

const AT: &str = "properties";
const CATEGORY: &str = "categoryId";

/// Names that are written by the service, or read for themselves.
const OWN: [&str; 6] = [
    "productType",
    "id",
    "repositoryId",
    "displayName",
    "parentCategories",
    "links",
];

/// `POST /products`.
#[utoipa::path(
    post,
    path = "/ccadmin/v1/products",
    operation_id = "createProduct",
    tag = "Products",
    summary = "Create a product",
    params(openapi::WrittenLanguage, openapi::Shown),
    request_body(content = openapi::NewProduct),
    responses((status = 200, description = "It is done", body = openapi::ProductBody), openapi::Failures),
)]
pub async fn create(State(context): State<Context>, request: Request) -> Result<Response, Failure> {
    let service = &context.service;
    let locale = headers::required_language(request.headers(), service.settings())?;
    let view = View::parse(request.uri(), locale)?;
    let (parts, body) = handler::open(&context, request).await?;
    let retryable = headers::retryable("oracle.create_product", &parts, Some(&body), None)?;
    let command = UpsertProducts {
        products: vec![told(&body)?],
        expected: Expected::New,
        tell: true,
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
    let answer = handler::write_about(retryable, render, about, run, present).await;
    answer.map_err(failed)
}

/// `GET /products/{id}`.
#[utoipa::path(
    get,
    path = "/ccadmin/v1/products/{id}",
    operation_id = "getProduct",
    tag = "Products",
    summary = "Get a product",
    params(openapi::ProductPath, openapi::Language, openapi::Shown),
    responses((status = 200, description = "It is done", body = openapi::ProductBody), openapi::Failures),
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

/// `GET /products`: those of `categoryId`, in its order, or all by id.
#[utoipa::path(
    get,
    path = "/ccadmin/v1/products",
    operation_id = "listProducts",
    tag = "Products",
    summary = "List products",
    params(openapi::Language, openapi::ProductQuery, openapi::PageQuery, openapi::Shown),
    responses((status = 200, description = "It is done", body = openapi::ProductPage), openapi::Failures),
)]
pub async fn list(State(context): State<Context>, request: Request) -> Result<Response, Failure> {
    let service = &context.service;
    let locale = headers::optional_language(request.headers(), service.settings())?;
    let query = view::pairs(request.uri())?;
    let shows = View::read(&query, locale)?;
    let view = shows.of_items();
    let page = PageQuery::parse(&query, shows)?;
    let category = query
        .iter()
        .find(|(name, value)| name == CATEGORY && !value.is_empty());
    let category = category.map(|(_, id)| {
        CollectionId::parse(CATEGORY, id)
            .map_err(|violation| Problem::at(codes::PRODUCTS_ID_INVALID, CATEGORY, violation.value))
    });
    let category = category.transpose()?;
    let failed = Failure::of(Operation::Product);
    let caller = handler::caller(request.extensions()).map_err(&failed)?;
    if let Some(id) = &category {
        // One that is not there is an error, and no list without products.
        let found = service.get_collection(&caller, Key::Id(id.clone())).await;
        found.map_err(&failed)?;
    }
    let command = ListProducts {
        filter: ProductFilter {
            collections: category.map(|id| vec![id]),
            ..ProductFilter::default()
        },
        slug: None,
        start: PageStart::Offset(page.offset),
        size: page.limit as usize,
        bytes: None,
    };
    let found = service.list_products(&caller, command).await;
    let found = found.map_err(failed)?;
    let items = Items {
        first: found.products,
        rest: found.rest.into(),
        next: handler::next_products(service, &caller),
        write: Box::new(move |items| {
            let shown = items.iter().map(|detail| shown(detail, &view));
            shown.map(|item| json_body::written(&item)).collect()
        }),
    };
    Ok(page.answer(items, found.total))
}

/// `POST /products/{id}/addToCollections`.
#[utoipa::path(
    post,
    path = "/ccadmin/v1/products/{id}/addToCollections",
    operation_id = "createProductAssignmentToCollections",
    tag = "Products",
    summary = "Add a product to collections",
    params(openapi::ProductPath, openapi::Shown),
    request_body(content = openapi::CollectionNames),
    responses((status = 200, description = "It is done", body = openapi::ProductBody), openapi::Failures),
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
        Reply::new(http::StatusCode::OK, None, &cut(body, &view))
    };
    let command = AssignProducts {
        products: vec![id],
        collections,
        assignment: Assignment::Link,
        tell: true,
        retry: None,
    };
    let failed = Failure::of(Operation::AddToCollections);
    let caller = handler::caller(&parts.extensions).map_err(&failed)?;
    let run = |retry| service.execute(&caller, AssignProducts { retry, ..command });
    let present = async |id| Ok(vec![service.reread_product(&caller, id).await?]);
    let about = |told: &Vec<ProductDetail>| told.iter().map(|one| one.id.as_str()).collect();
    let answer = handler::write_about(retryable, render, about, run, present).await;
    answer.map_err(failed)
}

/// What is known of a product, with its id.
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
        // What another API told under one of these names is not that.
        if !OWN.contains(&name.as_str()) && !FORBIDDEN.contains(&name.as_str()) {
            // The store holds nothing but JSON.
            let value = serde_json::from_str(&json.0).unwrap_or_default();
            body.insert(name.clone(), value);
        }
    }
    body
}

fn shown(detail: &ProductDetail, view: &View) -> Value {
    let mut shown = body(&detail.id, detail.product.as_ref());
    shown.extend(references(detail));
    cut(shown, view)
}

/// The product's id, and the collections that have it.
fn references(detail: &ProductDetail) -> Map<String, Value> {
    let mut body = body(&detail.id, None);
    let parent = |id: &CollectionId| json!({ "repositoryId": id.as_str() });
    let parents = detail.collections.iter().map(parent).collect();
    body.insert("parentCategories".into(), parents);
    body
}

fn cut(body: Map<String, Value>, view: &View) -> Value {
    let wanted = body.into_iter().filter(|(name, _)| view.wants(name));
    let wanted = wanted.map(|(name, value)| {
        let value = view.cut(&name, value);
        (name, value)
    });
    Value::Object(wanted.collect())
}

/// The product that the body of a create tells of. A root has no products: one that is
/// named leaves the product in no collection.
fn told(body: &Object) -> Result<ProductUpsert, Failure> {
    let mut problems = Problems::default();
    let properties = fields::object(body, "", AT, &mut problems);
    let none = Object::new();
    let properties = properties.unwrap_or(&none);
    let text = |object: &Object, at: &str, name: &str, problems: &mut Problems| {
        let text = fields::text(object, at, name, problems);
        text.set().cloned()
    };
    let id = text(properties, AT, "id", &mut problems).and_then(|id| {
        let id = ProductId::parse("properties.id", &id);
        problems.take(codes::INVALID_INPUT, id)
    });
    let name = text(properties, AT, "displayName", &mut problems);
    if name.is_none() {
        problems.invalid("properties.displayName", "is required");
    }
    let product_type = text(body, "", "productType", &mut problems);
    let category = text(body, "", CATEGORY, &mut problems).filter(|id| !id.is_empty());
    let category = category.and_then(|id| {
        let id = CollectionId::parse(CATEGORY, &id);
        problems.take(codes::PRODUCTS_ID_INVALID, id)
    });
    let mut attributes = Vec::new();
    for (name, value) in properties {
        if FORBIDDEN.contains(&name.as_str()) {
            let why = "makes clients take an answer for an error";
            problems.invalid(&fields::path(AT, name), why);
        } else if !OWN.contains(&name.as_str()) && !value.is_null() {
            attributes.push((name.clone(), Text(value.to_string())));
        }
    }
    problems.finish()?;
    let id = id.unwrap_or_else(|| CollectionId::generate(Timestamp::now()).into());
    Ok(ProductUpsert {
        changes: ProductChanges {
            id,
            title: Change::to(name),
            slug: Change::Keep,
            product_type: Change::to(product_type),
            attributes: MapChange::to(attributes),
            only_new: Vec::new(),
        },
        collections: match category.filter(|id| !id.is_root()) {
            Some(id) => Listing::Also(BTreeSet::from([id])),
            None => Listing::Same,
        },
    })
}

/// The id in the path. One that can't be an id is not that of a product.
fn path_id(path: Result<Path<String>, PathRejection>) -> Result<ProductId, Failure> {
    // What is not UTF-8 after decoding is no id.
    let id = path.map_or_else(|_| char::REPLACEMENT_CHARACTER.into(), |Path(id)| id);
    ProductId::parse("id", &id)
        .map_err(|_| Problem::new(codes::PRODUCT_INVALID, format!("{id:?}")).into())
}
