//! One model behind all protocols: what is written through one can be read through all of them.

use endcap::grpc::pb;
use endcap::store::Engine::{self, Postgres, Sqlite};
use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::{Server, append, create, get, move_range, mutate, products};

async fn send(server: &Server, method: reqwest::Method, path: &str, body: Option<Value>) -> Value {
    let url = format!("{}{path}", server.http);
    let mut request = server
        .client
        .request(method, url)
        .header("version", "2021-07-28")
        .header("x-ccasset-language", "en");
    if let Some(body) = body {
        request = request.json(&body);
    }
    let response = request.send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    assert!(status.is_success(), "{path}: {status}: {text}");
    serde_json::from_str(&text).unwrap()
}

async fn read_oracle(server: &Server, id: &str) -> Value {
    let path = format!("/ccadmin/v1/collections/{id}");
    send(server, reqwest::Method::GET, &path, None).await
}

async fn read_highlevel(server: &Server, id: &str) -> Value {
    let path = format!("/products/collections/{id}?altId=default");
    send(server, reqwest::Method::GET, &path, None).await["data"].clone()
}

async fn read_grpc(server: &Server, id: &str) -> pb::Collection {
    get(&mut server.grpc().await, id).await.unwrap()
}

fn oracle_products(collection: &Value) -> Vec<&str> {
    let products = collection["fixedChildProducts"].as_array().unwrap();
    products
        .iter()
        .map(|product| product["repositoryId"].as_str().unwrap())
        .collect()
}

#[rstest]
#[tokio::test]
async fn oracle_reads_what_highlevel_created_and_grpc_mutated(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let body = json!({
        "altId": "default", "altType": "location", "name": "Best Sellers",
        "slug": "best-sellers", "productIds": ["p0", "p1", "p2", "p3"],
        "image": "http://example.com/a.png", "seo": {"title": "Best"},
    });
    let path = "/products/collections";
    let made = send(&server, reqwest::Method::POST, path, Some(body)).await;
    let id = made["data"]["_id"].as_str().unwrap();

    let mutations = vec![append(["p4"]), move_range(2, 3, 0)];
    let mut client = server.grpc().await;
    client.mutate_children(mutate(id, mutations)).await.unwrap();

    let read = read_oracle(&server, id).await;
    assert_eq!(oracle_products(&read), ["p2", "p3", "p0", "p1", "p4"]);
    assert_eq!(read["displayName"], "Best Sellers");
    assert_eq!(read["seoMetaInfo"]["seoTitle"], "Best");
    assert_eq!(read["seoUrlSlugDerived"], "best-sellers");
    assert_eq!(
        read["categoryPaths"],
        json!(["/Commerce Root/Best Sellers"])
    );
    let read = read_highlevel(&server, id).await;
    assert_eq!(read["stats"]["productCount"], 5);
}

#[rstest]
#[tokio::test]
async fn grpc_reads_what_oracle_created_and_highlevel_mutated(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let body = json!({"properties": {
        "id": "cat1", "displayName": "Lamps", "description": "Bright",
        "seoMetaInfo": {"seoDescription": "All lamps"}, "x_season": "winter",
    }});
    let path = "/ccadmin/v1/collections";
    send(&server, reqwest::Method::POST, path, Some(body)).await;

    let body = json!({
        "altId": "default", "altType": "location", "name": "Lights",
        "productIds": ["a", "b"],
    });
    let path = "/products/collections/cat1";
    send(&server, reqwest::Method::PUT, path, Some(body)).await;

    let read = read_grpc(&server, "cat1").await;
    let text = &read.texts["en"];
    assert_eq!(
        (text.display_name.as_str(), text.description.as_str()),
        ("Lights", "Bright")
    );
    assert_eq!(text.seo_description, "All lamps");
    assert!(
        read.custom_properties
            .unwrap()
            .fields
            .contains_key("x_season")
    );
    assert_eq!(products(&mut server.grpc().await, "cat1").await, ["a", "b"]);
    let read = read_highlevel(&server, "cat1").await;
    assert_eq!(
        (&read["name"], &read["slug"]),
        (&json!("Lights"), &json!("lamps"))
    );
}

#[rstest]
#[tokio::test]
async fn highlevel_reads_what_grpc_created_and_oracle_mutated(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    let made = create(&mut client, "65d71377c326ea78e1c47df5").await;
    let path = format!("/ccadmin/v1/collections/{}", made.id);
    let put = async |body| send(&server, reqwest::Method::PUT, &path, Some(body)).await;
    put(json!({"type": "appendProducts", "products": ["a", "b", "c"]})).await;
    put(json!({
        "op": "remove", "products": ["b"],
        "properties": {"displayName": "New", "seoMetaInfo": {"seoTitle": "T"}},
    }))
    .await;
    let read = read_highlevel(&server, &made.id).await;
    assert_eq!(
        (&read["name"], &read["seo"]["title"]),
        (&json!("New"), &json!("T"))
    );
    assert_eq!(read["stats"]["productCount"], 2);
    assert_eq!(products(&mut client, &made.id).await, ["a", "c"]);
    let etag = read_grpc(&server, &made.id).await.etag;
    assert_ne!(etag, made.etag);
}

/// Oracle's dialect names the roots, and searches and sorts them by these names, so the names are
/// stored.
#[rstest]
#[tokio::test]
async fn roots_have_the_names_of_the_oracle_dialect(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let expected = [
        ("rootCategory", "Commerce Root", "commerce-root"),
        ("nonNavigableCategory", "Non-Navigable", "non-navigable"),
    ];
    // For a tenant without data, and for one with data.
    for holds in [false, true] {
        if holds {
            create(&mut server.grpc().await, "a").await;
        }
        for (id, name, slug) in expected {
            let root = read_grpc(&server, id).await;
            assert_eq!(root.texts["en"].display_name, name, "{holds}");
            assert_eq!(root.slug, slug, "{holds}");
            assert_eq!(
                read_oracle(&server, id).await["displayName"],
                name,
                "{holds}"
            );
        }
    }
    let path = "/ccadmin/v1/collections?q=displayName%20co%20%22merce%20ro%22";
    let found = send(&server, reqwest::Method::GET, path, None).await;
    assert_eq!(found["items"][0]["id"], "rootCategory", "{found}");
}
