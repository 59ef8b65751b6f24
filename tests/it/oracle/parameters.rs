//! Query parameters of every operation: each one changes the response, is rejected, or is
//! documented as ignored.

use std::collections::{BTreeMap, BTreeSet};

use endcap::store::Engine::{self, Postgres, Sqlite};
use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};

use super::{Admin, assert_error, send};
use crate::harness::Server;

/// A call of an operation: its id, method, path and body.
struct Call {
    id: &'static str,
    method: Method,
    path: &'static str,
    body: Option<Value>,
}

fn calls() -> Vec<Call> {
    let get = |id, path| Call {
        id,
        method: Method::GET,
        path,
        body: None,
    };
    let send = |id, method, path, body| Call {
        id,
        method,
        path,
        body: Some(body),
    };
    let named = |id: &str| json!({"properties": {"id": id, "displayName": "New"}});
    let assign = json!({"operation": "link", "products": ["p0"], "collections": ["b"]});
    vec![
        // Without a form or a query these are rejected.
        send("login", Method::POST, "login", json!("")),
        send("mfalogin", Method::POST, "mfalogin", json!("")),
        send("refresh", Method::POST, "refresh", json!("")),
        send("verify", Method::POST, "verify", json!("")),
        send("logout", Method::POST, "logout", json!("")),
        get("listCollections", "collections"),
        send(
            "createCollection",
            Method::POST,
            "collections",
            named("new"),
        ),
        send(
            "moveCollection",
            Method::PUT,
            "collections",
            json!({"operation": "unlink-all", "child": "o"}),
        ),
        send(
            "assignProducts",
            Method::POST,
            "collections/assignProducts",
            assign,
        ),
        get("getCollection", "collections/a"),
        send("updateCollection", Method::PUT, "collections/a", json!({})),
        send(
            "deleteCollection",
            Method::DELETE,
            "collections/gone",
            json!(""),
        ),
        get("listProducts", "products"),
        send("createProduct", Method::POST, "products", named("newp")),
        get("getProduct", "products/p0"),
        send("updateProduct", Method::PUT, "products/p0", json!({})),
        send("deleteProduct", Method::DELETE, "products/gonep", json!("")),
        send(
            "createProductAssignmentToCollections",
            Method::POST,
            "products/p0/addToCollections",
            json!({"collections": ["b"]}),
        ),
        get("listCatalogs", "catalogs"),
        get("listLocales", "locales"),
    ]
}

/// For a parameter: the rest of the query, and a value that changes the response or is rejected.
fn value(name: &str, operation: &str) -> (&'static str, &'static str) {
    match (name, operation) {
        ("catalogId", _) => ("", "another"),
        ("grant_type", _) => ("", "client_credentials"),
        ("fields", "listLocales") => ("", "items"),
        ("fields", _) => ("", "id"),
        ("exclude", "listLocales") => ("", "items.name"),
        ("exclude", _) => ("", "items.id,id"),
        ("q", _) => ("", "id co \"p1\""),
        ("name", _) => ("", "zzz"),
        ("sort", _) => ("", "id:desc"),
        ("limit", _) => ("", "0"),
        ("offset", _) => ("", "1"),
        ("depth", _) => ("", "2"),
        ("expand", "getCollection") => ("", "childProducts"),
        ("expand", _) => ("", "true"),
        ("showCategoryPaths" | "showInactiveProducts", _) => ("", "false"),
        ("categoryIds", _) => ("", "b"),
        ("continueOnMissingCategory", _) => ("categoryIds=a,ghost", "true"),
        ("pageResults", "listCollections") => ("asHierarchy=true", "true"),
        ("categoryId", _) => ("", "a"),
        ("productIds", _) => ("", "p1"),
        ("continueOnMissingProduct", _) => ("productIds=p0,ghost", "true"),
        ("includeChildren", _) => ("categoryId=a", "true"),
        // Switches, set to true.
        _ => ("", "true"),
    }
}

/// The parameters that docs/reference/oracle.md lists as ignored, with their operations.
fn ignored() -> BTreeMap<String, BTreeSet<String>> {
    let page = std::fs::read_to_string("docs/reference/oracle.md").unwrap();
    let begin = "Parameters that are accepted and ignored:";
    let table = page.split(begin).nth(1).unwrap().trim_start();
    let rows = table
        .lines()
        .take_while(|line| line.starts_with('|'))
        .skip(2);
    let cells = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    let mut ignored = BTreeMap::<_, BTreeSet<_>>::new();
    for cells in cells {
        assert!(cells[3].len() > 10, "{cells:?} has no reason");
        for name in cells[1].split(", ") {
            let operations = cells[2].split(", ").map(str::to_owned);
            let all = ignored
                .entry(name.trim_matches('`').to_owned())
                .or_default();
            all.extend(operations);
        }
    }
    ignored
}

async fn set_up(admin: &Admin<'_>) {
    admin.make("a", None, 2).await;
    admin.make("b", Some("a"), 0).await;
    admin.make("c", Some("a"), 0).await;
    admin.make("d", Some("b"), 0).await;
    let hide = json!({"properties": {"active": false}});
    assert_eq!(admin.put("c", hide).await.0, 200);
    let below = json!({"type": "appendProducts", "products": ["p5"]});
    assert_eq!(admin.put("d", below).await.0, 200);
    let orphan = json!({"orphaned": true, "properties": {"id": "o", "displayName": "O"}});
    assert_eq!(admin.post(orphan).await.0, 200);
    for properties in [
        json!({"id": "p0", "displayName": "P0", "active": false}),
        json!({"id": "alone", "displayName": "Alone"}),
    ] {
        let body = json!({"properties": properties});
        let request = admin.write(Method::POST, "products", "en");
        assert_eq!(send(request.json(&body)).await.0, 200);
    }
}

/// The response without the parts that differ each time. Restores the data afterwards.
async fn response_of(admin: &Admin<'_>, call: &Call, query: &str) -> (u16, Value) {
    match call.id {
        "deleteCollection" => admin.make("gone", None, 0).await,
        "deleteProduct" => {
            let body = json!({"properties": {"id": "gonep", "displayName": "Gone"}});
            send(admin.write(Method::POST, "products", "en").json(&body)).await;
        }
        _ => {}
    }
    let path = format!("{}?{query}", call.path);
    let request = admin.write(call.method.clone(), &path, "en");
    let request = match &call.body {
        Some(body) if body.is_object() => request.json(body),
        _ => request,
    };
    let (status, mut body) = send(request).await;
    if let Some(body) = body.as_object_mut() {
        body.remove("access_token");
    }
    for made in [
        "collections/new",
        "collections/gone",
        "products/newp",
        "products/gonep",
    ] {
        admin.request(Method::DELETE, made).send().await.unwrap();
    }
    (status, body)
}

#[rstest]
#[tokio::test]
async fn each_query_parameter_has_an_effect_or_is_documented_as_ignored(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    set_up(&admin).await;
    let description = server
        .client
        .get(format!("{}/openapi/oracle.json", server.http));
    let (_, description) = send(description).await;
    let mut operations = BTreeMap::new();
    for item in description["paths"].as_object().unwrap().values() {
        for operation in item.as_object().unwrap().values() {
            let id = operation["operationId"].as_str().unwrap();
            let parameters = operation["parameters"].as_array();
            let parameters = parameters.into_iter().flatten();
            let names = parameters
                .filter(|parameter| parameter["in"] == "query")
                .map(|parameter| parameter["name"].as_str().unwrap().to_owned());
            let names: Vec<_> = names.collect();
            operations.insert(id.to_owned(), names);
        }
    }
    let calls = calls();
    let called: BTreeSet<_> = calls.iter().map(|call| call.id.to_owned()).collect();
    assert_eq!(called, operations.keys().cloned().collect());

    let ignored = ignored();
    for (name, of) in &ignored {
        for operation in of {
            let described = operations[operation].contains(name);
            assert!(described, "{operation} has no {name}");
        }
    }
    let (mut counted, mut passed) = (0, 0);
    for call in &calls {
        for name in &operations[call.id] {
            let (beside, value) = value(name, call.id);
            let with = format!("{beside}&{name}={}", value.replace(' ', "%20"));
            let (without, with) = (
                response_of(&admin, call, beside).await,
                response_of(&admin, call, &with).await,
            );
            let context = format!("{} {name}={value}: {with:?}", call.id);
            let is_listed = ignored.get(name).is_some_and(|of| of.contains(call.id));
            assert!([200, 400].contains(&with.0), "{context}");
            if is_listed {
                assert_eq!(with, without, "{context}");
                passed += 1;
            } else {
                assert_ne!(with, without, "{context}");
                counted += 1;
            }
        }
    }
    assert!(counted > 60 && passed > 10, "{counted} {passed}");
}

/// Documented parameters of these operations that this service does not support.
const NOT_SERVED: [(&str, &[&str]); 5] = [
    (
        "listCollections",
        &["itemTypeList", "promotionId", "templateValue"],
    ),
    (
        "listProducts",
        &[
            "itemTypeList",
            "priceListGroupId",
            "promotionId",
            "storePriceListGroupId",
            "templateValue",
        ],
    ),
    (
        "listCatalogs",
        &["baseCatalogId", "catalogVersion", "productId"],
    ),
    ("getCollection", &["q", "limit"]),
    ("updateCollection", &["depth", "expand"]),
];

#[rstest]
#[tokio::test]
async fn unknown_query_parameters_are_rejected(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    set_up(&admin).await;
    for call in &calls() {
        let as_it_is = response_of(&admin, call, "").await;
        let others = NOT_SERVED.iter().find(|(id, _)| *id == call.id);
        let others = others.map_or(&[][..], |(_, names)| *names);
        for name in ["colour", "Fields", "items[]", ""].iter().chain(others) {
            for query in [
                format!("{name}=x"),
                format!("_=1&{name}="),
                (*name).to_owned(),
            ] {
                if query.is_empty() {
                    continue;
                }
                let refused = response_of(&admin, call, &query).await;
                assert_error(&refused, 400, "400", "not a query parameter");
                assert_eq!(refused.1["o:errorPath"], *name, "{}", call.id);
            }
        }
        let cached = response_of(&admin, call, "_=1690&_dc=x&__a=&_=2").await;
        assert_eq!(cached, as_it_is, "{}", call.id);
    }
    // Repeated parameters are rejected where only the second would count.
    for query in [
        "depth=1&depth=2",
        "showCategoryPaths=true&showCategoryPaths=true",
    ] {
        let path = format!("collections/a?{query}");
        let refused = send(admin.request(Method::GET, &path)).await;
        assert_error(&refused, 400, "400", "twice");
    }
    let several = send(admin.request(Method::GET, "collections?a=1&b=2&depth=0")).await;
    assert_eq!(several.1["errors"].as_array().map(Vec::len), Some(2));
    // A rejected request changes nothing.
    let query = "products/alone?cascade=true";
    let refused = send(admin.request(Method::DELETE, query)).await;
    assert_error(&refused, 400, "400", "cascade");
    let there = send(admin.request(Method::GET, "products/alone")).await;
    assert_eq!(there.0, 200);
}

#[rstest]
#[tokio::test]
async fn integers_may_be_floats_without_a_fraction(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    set_up(&admin).await;
    let mut checked = 0;
    for (path, names) in [
        ("collections", &["limit", "offset", "depth"][..]),
        ("collections/a", &["depth"]),
        ("products", &["limit", "offset"]),
        ("catalogs", &["limit", "offset"]),
    ] {
        for name in names {
            let read = async |value: &str| {
                let path = format!("{path}?{name}={value}");
                send(admin.request(Method::GET, &path)).await
            };
            let integer = read("1").await;
            assert_eq!(integer.0, 200, "{path} {name}");
            assert_eq!(read("1.0").await, integer, "{path} {name}");
            for odd in ["1.5", "-1.0", "1.0.0", "x"] {
                assert_error(&read(odd).await, 400, "400", name);
            }
            checked += 1;
        }
    }
    assert_eq!(checked, 8);
}

#[rstest]
#[tokio::test]
async fn repeated_language_and_idempotency_headers_are_rejected(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    set_up(&admin).await;
    for call in &calls() {
        // Operations without texts, or without stored responses.
        if [
            "login",
            "mfalogin",
            "refresh",
            "verify",
            "logout",
            "listLocales",
        ]
        .contains(&call.id)
        {
            continue;
        }
        let request = |header: &str, values: [&str; 2]| {
            let mut request = admin.request(call.method.clone(), call.path);
            if header != "X-CCAsset-Language" {
                request = request.header("X-CCAsset-Language", "en");
            }
            if let Some(body) = call.body.as_ref().filter(|body| body.is_object()) {
                request = request.json(body);
            }
            request.header(header, values[0]).header(header, values[1])
        };
        let no_texts = [
            "moveCollection",
            "assignProducts",
            "deleteCollection",
            "deleteProduct",
        ];
        if !no_texts.contains(&call.id) {
            let refused = send(request("X-CCAsset-Language", ["en", "fr"])).await;
            assert_error(&refused, 400, "400", "x-ccasset-language");
        }
        if call.method != Method::GET {
            let refused = send(request("Idempotency-Key", ["k1", "k2"])).await;
            assert_error(&refused, 400, "400", "Idempotency-Key");
        }
    }
}
