//! Query parameters of the HighLevel dialect. Each one that HighLevel or this service documents
//! changes the response, is rejected, or is listed as harmless in docs/reference/highlevel.md. All
//! others are rejected, and so are paths that are not supported.

use std::collections::BTreeSet;

use endcap::{
    grpc::pb,
    store::Engine::{self, Postgres, Sqlite},
};
use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};

use crate::{
    harness::Server,
    highlevel::{done, request, status_and_body},
};

const LOCATION: &str = "3SwdhCsvxI8Au3KsPJt6";
const COLLECTION: &str = "66057f9d28536eae584ec047";

/// The query parameters in HighLevel's own description, by operation.
const PUBLISHED: [(&str, &[&str]); 18] = [
    (
        "get-product-collection",
        &[
            "limit",
            "offset",
            "altId",
            "altType",
            "collectionIds",
            "name",
        ],
    ),
    ("create-product-collection", &[]),
    ("get-product-collection-id", &["altId"]),
    ("update-product-collection", &[]),
    ("delete-product-collection", &["altId", "altType"]),
    (
        "list-products",
        &[
            "limit",
            "offset",
            "locationId",
            "search",
            "collectionIds",
            "collectionSlug",
            "expand",
            "productIds",
            "storeId",
            "includedInStore",
            "availableInStore",
            "sortOrder",
        ],
    ),
    ("create-product", &[]),
    ("get-product-by-id", &["locationId", "sendWishlistStatus"]),
    ("update-product-by-id", &[]),
    ("delete-product-by-id", &["locationId"]),
    ("bulk-update", &[]),
    (
        "list-prices-for-product",
        &["limit", "offset", "locationId", "ids"],
    ),
    ("create-price-for-product", &[]),
    ("get-price-by-id-for-product", &["locationId"]),
    ("update-price-by-id-for-product", &[]),
    ("delete-price-by-id-for-product", &["locationId"]),
    (
        "get-list-inventory",
        &["limit", "offset", "altId", "altType", "search"],
    ),
    ("update-inventory", &[]),
];

/// An operation of the description.
struct Operation {
    id: String,
    method: Method,
    path: String,
    parameters: BTreeSet<String>,
}

async fn operations(server: &Server) -> Vec<Operation> {
    let url = format!("{}/openapi/highlevel.json", server.http);
    let description: Value = server
        .client
        .get(url)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let mut operations = Vec::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().unwrap().iter();
            let parameters = parameters.filter(|parameter| parameter["in"] == "query");
            let names = parameters.map(|parameter| parameter["name"].as_str().unwrap().to_owned());
            operations.push(Operation {
                id: operation["operationId"].as_str().unwrap().into(),
                method: method.to_uppercase().parse().unwrap(),
                path: path.clone(),
                parameters: names.collect(),
            });
        }
    }
    operations
}

/// The parameters that docs/reference/highlevel.md lists as harmless, with their paths.
fn harmless() -> BTreeSet<(String, String)> {
    let docs = include_str!("../../docs/reference/highlevel.md");
    let (_, table) = docs.split_once("### Harmless parameters\n").unwrap();
    let rows = table
        .lines()
        .skip(1)
        .skip_while(|line| !line.starts_with('|'));
    let rows = rows.take_while(|line| line.starts_with('|')).skip(2);
    let cell = |text: &str| text.trim().trim_matches('`').to_owned();
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(cell).collect();
        (cells[1].clone(), cells[2].clone())
    })
    .collect()
}

/// A value of the parameter that must make a difference.
fn value(name: &str) -> &'static str {
    match name {
        "limit" | "offset" => "1",
        "altId" | "locationId" => "elsewhere",
        "altType" => "company",
        "name" | "search" => "Boots",
        "collectionIds" => "66057f9d28536eae584ec048",
        "collectionSlug" => "boots",
        "productIds" => "p2",
        "ids" => "x2",
        "sendWishlistStatus" | "includedInStore" | "availableInStore" => "true",
        "expand" => "tax",
        "sortOrder" => "desc",
        "storeId" => "s1",
        other => panic!("{other} has no value here"),
    }
}

/// A valid body.
fn body(operation: &Operation) -> Option<Value> {
    let at = json!({"altId": LOCATION, "altType": "location"});
    let more = match operation.id.as_str() {
        "create-product-collection" => json!({"name": "New", "slug": "new"}),
        "update-product-collection" => json!({}),
        "create-product" => {
            return Some(json!({"locationId": LOCATION, "name": "N", "productType": "SERVICE"}));
        }
        "update-product-by-id" | "update-price-by-id-for-product" => {
            return Some(json!({"locationId": LOCATION}));
        }
        "create-price-for-product" => {
            return Some(json!({
                "locationId": LOCATION, "name": "N", "type": "one_time", "currency": "USD",
                "amount": 1,
            }));
        }
        "update-inventory" => json!({"items": [{"priceId": "x1"}]}),
        "bulk-update" => json!({
            "type": "bulk-update-product-collection",
            "productIds": ["p1"], "collectionIds": [COLLECTION],
        }),
        "bulk-edit" => json!({"products": [{"_id": "p1"}]}),
        _ => return None,
    };
    Some(crate::highlevel::with(at, more))
}

/// The response to a request with this query.
async fn asked(server: &Server, operation: &Operation, query: &[(&str, &str)]) -> (u16, Value) {
    let path = operation
        .path
        .replace("{collectionId}", COLLECTION)
        .replace("{productId}", "p1")
        .replace("{priceId}", "x1");
    let path = path.strip_prefix("/products").unwrap();
    let request = request(server, operation.method.clone(), path).query(query);
    match body(operation) {
        Some(body) => status_and_body(request.json(&body)).await,
        None => status_and_body(request).await,
    }
}

/// The location, if it must be in the query.
fn located(operation: &Operation) -> Vec<(&'static str, &'static str)> {
    if body(operation).is_some() {
        Vec::new()
    } else if operation.parameters.contains("locationId") {
        vec![("locationId", LOCATION)]
    } else {
        vec![("altId", LOCATION), ("altType", "location")]
    }
}

async fn filled(engine: Engine) -> Server {
    let server = Server::new(engine).await;
    for (slug, id, products) in [
        ("shoes", COLLECTION, json!(["p1", "p2", "p3"])),
        ("boots", "66057f9d28536eae584ec048", json!(["p2"])),
    ] {
        let name = slug[..1].to_uppercase() + &slug[1..];
        let body = json!({
            "altId": LOCATION, "altType": "location", "name": name, "slug": slug,
            "collectionId": id, "productIds": products,
        });
        done(request(&server, Method::POST, "/collections").json(&body)).await;
    }
    let price = |id: &str| pb::ProductPrice {
        id: id.into(),
        amount: "1".into(),
        inventory: "1".into(),
        ..pb::ProductPrice::default()
    };
    let upsert = pb::UpsertProductsRequest {
        tenant_id: LOCATION.into(),
        products: vec![pb::Product {
            id: "p1".into(),
            title: "p1".into(),
            prices: vec![price("x1"), price("x2")],
            ..pb::Product::default()
        }],
        ..pb::UpsertProductsRequest::default()
    };
    let mut products = server.products().await;
    products.upsert_products(upsert).await.unwrap();
    server
}

#[rstest]
#[tokio::test]
async fn each_documented_parameter_has_an_effect_or_is_listed_as_harmless(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = filled(engine).await;
    let operations = operations(&server).await;
    let harmless = harmless();
    let mut met = BTreeSet::new();
    for operation in &operations {
        let published = PUBLISHED.iter().find(|(id, _)| *id == operation.id);
        let published = published.map_or(&[][..], |(_, names)| names);
        let mut names = operation.parameters.clone();
        names.extend(published.iter().map(|name| (*name).to_owned()));
        let deletes = operation.method == Method::DELETE;
        for name in names {
            let mut query = located(operation);
            let before = if deletes {
                (0, Value::Null)
            } else {
                asked(&server, operation, &query).await
            };
            query.retain(|(other, _)| *other != name);
            query.push((&name, value(&name)));
            let (status, body) = asked(&server, operation, &query).await;
            let address = format!("{} {}", operation.method, operation.path);
            if harmless.contains(&(address.clone(), name.clone())) {
                assert_eq!((status, body), before, "{address} {name}");
                met.insert((address, name));
            } else if operation.method == Method::GET {
                let differs = status == 422 || (status, &body) != (before.0, &before.1);
                assert!(differs, "{address} {name}");
            } else {
                // In a write, a query can only change the location.
                assert!(
                    [422, 404].contains(&status),
                    "{address} {name} {status} {body}"
                );
            }
        }
    }
    assert_eq!(met, harmless);
    let served: BTreeSet<_> = operations.iter().map(|it| it.id.as_str()).collect();
    for (id, _) in PUBLISHED {
        assert!(served.contains(id), "{id}");
    }
}

#[rstest]
#[tokio::test]
async fn unknown_parameters_are_rejected_unless_they_begin_with_an_underscore(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = filled(engine).await;
    let mut operations = operations(&server).await;
    // Deletes come last: prices before the products that contain them, and collections after
    // products, which would be deleted with them.
    operations.sort_by_key(|it| {
        let is_of = |name| it.path.contains(name);
        (
            it.method == Method::DELETE,
            is_of("collection"),
            !is_of("price"),
        )
    });
    for operation in &operations {
        let at = format!("{} {}", operation.method, operation.path);
        let located = located(operation);
        for unknown in ["x", "fields", "X-Y", "limit[]"] {
            let mut query = located.clone();
            query.extend([(unknown, "1"), (unknown, "2")]);
            let (status, body) = asked(&server, operation, &query).await;
            let message = json!([format!("property {unknown} should not exist")]);
            assert_eq!((status, &body["message"]), (422, &message), "{at}");
        }
        for (name, value) in &located {
            let mut query = located.clone();
            query.push((name, value));
            let (status, body) = asked(&server, operation, &query).await;
            let message = json!([format!("{name} must be given only once")]);
            assert_eq!((status, &body["message"]), (422, &message), "{at}");
        }
        let mut query = located.clone();
        query.push(("_", "1764150000"));
        query.push(("_cache", "no"));
        let (status, body) = asked(&server, operation, &query).await;
        assert!(status < 300, "{at} {body}");
    }
    // All violations at once, including those of the body.
    let create = request(&server, Method::POST, "/collections?x=1&altId=other");
    let create = create.json(&json!({"altId": LOCATION, "altType": "location", "name": "N"}));
    let messages = json!([
        "property x should not exist",
        "altId must be the same in the query and in the body",
        "slug must be a string",
        "slug should not be empty",
    ]);
    assert_eq!(status_and_body(create).await.1["message"], messages);
}

#[rstest]
#[tokio::test]
async fn the_query_may_repeat_the_location_of_the_body(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = filled(engine).await;
    let put = |path: String, body: Value| request(&server, Method::PUT, &path).json(&body);
    let path = format!("/collections/{COLLECTION}?altId={LOCATION}&altType=LOCATION");
    let body = json!({"altId": LOCATION, "altType": "location", "name": "Two"});
    done(put(path, body)).await;
    let path = format!("/p1?locationId={LOCATION}");
    let body = json!({"locationId": LOCATION, "name": "Sandal"});
    assert_eq!(done(put(path.clone(), body)).await["name"], "Sandal");
    let missing = status_and_body(put(path, json!({"name": "Boot"}))).await;
    let messages = json!([
        "locationId must be a string",
        "locationId should not be empty"
    ]);
    assert_eq!((missing.0, &missing.1["message"]), (422, &messages));
}

#[rstest]
#[tokio::test]
async fn unsupported_paths_are_not_found_and_never_taken_for_product_ids(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let at = format!("?altId={LOCATION}&altType=location&locationId={LOCATION}");
    // Product ids may look like paths.
    let body = json!({
        "altId": LOCATION, "altType": "location", "name": "C", "slug": "c",
        "productIds": ["reviews", "inventory", "store", "p1", "p1/price", "reviews/count"],
    });
    done(request(&server, Method::POST, "/collections").json(&body)).await;
    for path in [
        "/reviews",
        "/reviews/",
        "/reviews/count",
        "/reviews/r1",
        "/reviews/bulk-update",
        "/store",
        "/store/s1",
        "/store/s1/stats",
        "/store/s1/priority",
        "/bulk-update/edit/x",
        "/bulk-update/x",
        "/p1/anything",
    ] {
        for method in [
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ] {
            let empty = request(&server, method.clone(), path);
            let full = request(&server, method.clone(), &format!("{path}{at}"));
            for request in [empty, full.json(&json!({"name": "x"}))] {
                let (status, body) = status_and_body(request).await;
                let expected = json!({
                    "statusCode": 404,
                    "message": format!("Cannot {method} /products{path}"),
                    "error": "Not Found",
                });
                assert_eq!(status, 404, "{method} {path} {body}");
                for (name, value) in expected.as_object().unwrap() {
                    assert_eq!(&body[name], value, "{method} {path}");
                }
            }
        }
    }
    // An id may contain an encoded slash.
    let path = format!("/p1%2Fprice?locationId={LOCATION}");
    let product = done(request(&server, Method::GET, &path)).await;
    assert_eq!(product["_id"], "p1/price");
}
