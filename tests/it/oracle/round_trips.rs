//! Sending a response back unchanged changes nothing.

use endcap::grpc::pb;
use endcap::store::Engine::{self, Postgres, Sqlite};
use prost_types::Struct;
use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};

use super::{Admin, send};
use crate::{
    collections::{cheaper_than, rules, structure},
    harness::{self, Server},
};

const LANGUAGES: [&str; 6] = ["en", "en_US", "fr", "fr-CA", "de", "zh-Hant-TW"];

/// Custom properties of all types, with unusual names and numbers.
fn odd() -> Struct {
    let json = json!({
        "x_b": {"z": 1, "a": [1.0, -0.0, 1e21, 0.1, 12_345_678_901_234_567_890_u64, null, true]},
        "x_a": "text", "x_none": null, " ": "a blank", "a.b[0] \"c\"": {}, "Ünïcode": [], "x_null": [null],
        // Names with a meaning in this dialect, which can be written over gRPC nevertheless.
        "route": "r", "op": "x", "type": "y", "error": 1, "status": "s", "links": [1],
        "products": ["a"], "id": "z",
    });
    structure(&json)
}

/// Collections in all forms that the protocols can create.
async fn set_up(server: &Server, admin: &Admin<'_>) {
    admin.make("plain", None, 3).await;
    let full = json!({
        "catalogId": "cloudCatalog", "parentCategoryId": "plain",
        "properties": {
            "id": "full", "displayName": "Full", "name": "internal", "description": "D",
            "longDescription": "L", "active": false, "keywords": ["a", "a", "b, c"],
            "seoMetaInfo": {"seoTitle": "T", "seoUrlSlug": "full-slug"},
            "x_number": 1.50, "x_object": {"b": 1, "a": {"d": [1, 2.0], "c": null}},
        },
        "categoryImages": [
            {"path": "/a.png", "name": "a", "metadata": {"altText": "A", "titleText": "T"}},
            {"path": "/b.png"},
        ],
    });
    assert_eq!(admin.post(full).await.0, 200);
    let french = json!({
        "properties": {"displayName": "Plein", "keywords": ["fr"], "description": "F"},
        "categoryImages": {"metadata": {"altText": "Une"}},
    });
    assert_eq!(admin.put_in("fr", "full", french).await.0, 200);
    let below = json!({
        "parentCategoryIds": ["full", "plain"],
        "properties": {"id": "inherits", "displayName": "Inherits"},
    });
    assert_eq!(admin.post(below).await.0, 200);
    let orphan = json!({"orphaned": true, "properties": {"id": "o", "displayName": "O"}});
    assert_eq!(admin.post(orphan).await.0, 200);

    let url = format!("{}/products/collections", server.http);
    let body = json!({
        "altId": "default", "altType": "location", "name": "Best", "slug": "best",
        "image": "https://example.com/a.png?b=c", "seo": {"title": "T", "description": "D"},
        "productIds": ["p0", "p9"],
    });
    let made = server.client.post(&url).header("version", "2021-07-28");
    assert_eq!(send(made.json(&body)).await.0, 201);

    let mut client = server.grpc().await;
    let mut collection = harness::named("grpc", "gRPC");
    collection.custom_properties = Some(odd());
    let image = |path: &str, name: &str| pb::Image {
        source: Some(pb::image::Source::Path(path.into())),
        file_name: name.into(),
        ..pb::Image::default()
    };
    // Images that Oracle's rules don't allow.
    collection.images = vec![
        image("/a.webp", " "),
        image("/", "b\\c"),
        image("/a b?c", ""),
    ];
    let german = pb::LocalizedText {
        display_name: " Deutsch ".into(),
        ..pb::LocalizedText::default()
    };
    collection.texts.insert("de".into(), german.clone());
    collection.texts.insert("zh-Hant".into(), german);
    let smart = pb::Collection {
        kind: pb::CollectionKind::Smart.into(),
        rules: Some(rules(vec![cheaper_than("5")])),
        ..harness::named("smart", "Smart")
    };
    // A collection without texts in the default locale.
    let mut foreign = harness::named("foreign", "x");
    let text = foreign.texts.remove("en").unwrap();
    foreign.texts.insert("ja".into(), text);
    for collection in [collection, smart, foreign] {
        let request = pb::CreateCollectionRequest {
            collection: Some(collection),
            ..pb::CreateCollectionRequest::default()
        };
        client.create_collection(request).await.unwrap();
    }
}

/// The response with its etag.
async fn read(admin: &Admin<'_>, language: &str, path: &str) -> (String, Value) {
    let request = admin.write(Method::GET, path, language);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    let etag = response.headers().get("etag");
    let etag = etag.map_or("", |etag| etag.to_str().unwrap()).to_owned();
    (etag, response.json().await.unwrap())
}

/// The bodies with which a client sends a response back: unchanged, with each part where Oracle
/// expects it, and with the names in another order.
fn bodies(was: &Value, beside: &str) -> [Value; 3] {
    let mut parts = json!({"properties": turned(was)});
    if let Some(value) = was.get(beside) {
        parts[beside] = value.clone();
    }
    [was.clone(), json!({"properties": was}), parts]
}

/// The same JSON with the names in another order.
fn turned(json: &Value) -> Value {
    match json {
        Value::Object(fields) => {
            let fields = fields.iter().rev();
            fields
                .map(|(name, json)| (name.clone(), turned(json)))
                .collect()
        }
        Value::Array(values) => values.iter().map(turned).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => json.clone(),
    }
}

#[rstest]
#[tokio::test]
async fn sending_a_collection_back_unchanged_changes_nothing(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    set_up(&server, &admin).await;
    let (_, list) = read(&admin, "en", "collections?fields=items.id").await;
    let ids = list["items"].as_array().unwrap().iter();
    let ids: Vec<_> = ids.map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 10, "{ids:?}");
    let mut client = server.grpc().await;
    for id in ids {
        let stored = harness::get(&mut client, id).await.unwrap();
        for language in LANGUAGES {
            // Unchanged, with everything expanded, and in parts.
            for query in [
                "",
                "?depth=1&expand=childProducts",
                "?exclude=categoryImages",
            ] {
                let path = format!("collections/{id}{query}");
                let (etag, was) = read(&admin, language, &path).await;
                for body in bodies(&was, "categoryImages") {
                    let (status, response) = admin.put_in(language, id, body).await;
                    assert_eq!(status, 200, "{id} {language} {query}: {response}");
                    let now = read(&admin, language, &path).await;
                    assert_eq!(now, (etag.clone(), was.clone()), "{id} {language} {query}");
                }
            }
        }
        // Nothing has changed in any language, not even the etag and the update time.
        let now = harness::get(&mut client, id).await.unwrap();
        assert_eq!(now, stored, "{id}");
    }
}

#[rstest]
#[tokio::test]
async fn sending_a_product_back_unchanged_changes_nothing(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    // `p0` is in a collection, and not registered.
    admin.make("a", None, 1).await;
    for product in [
        json!({"properties": {"id": "p1", "displayName": "P"}}),
        json!({"categoryId": "a", "productType": "lamp", "properties": {
            "id": "p2", "displayName": " P ", "listPrice": 10.0, "active": false, "a.b": [1, {}],
            "listPrices": {"b": 1, "a": 1e3}, "route": "/p", "parentCategoryId": "a", "op": "x",
        }}),
    ] {
        let request = admin.write(Method::POST, "products", "en");
        assert_eq!(send(request.json(&product)).await.0, 200);
    }
    let odd = pb::Product {
        id: "p3".into(),
        title: "gRPC".into(),
        slug: "slug".into(),
        attributes: Some(odd()),
        ..pb::Product::default()
    };
    let mut products = server.products().await;
    let request = pb::UpsertProductsRequest {
        products: vec![odd],
        ..pb::UpsertProductsRequest::default()
    };
    products.upsert_products(request).await.unwrap();
    let mut all = async || {
        let all = products.list_products(pb::ListProductsRequest::default());
        let all = all.await.unwrap().into_inner();
        // `p0` is not registered, and sending it back does not register it.
        assert_eq!(all.products.len(), 3);
        all.products
    };
    let before = all().await;
    for id in ["p0", "p1", "p2", "p3"] {
        for language in LANGUAGES {
            let path = format!("products/{id}");
            let (_, was) = read(&admin, language, &path).await;
            for body in bodies(&was, "productType") {
                let request = admin.write(Method::PUT, &path, language);
                let (status, response) = send(request.json(&body)).await;
                assert_eq!((status, &response), (200, &was), "{id}");
            }
        }
    }
    // Not even the update time has changed.
    assert_eq!(all().await, before);
}
