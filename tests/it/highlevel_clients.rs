//! The requests of public client programs of HighLevel's products API. Tests are named by the kind
//! of program.

use endcap::store::Engine::{self, Postgres, Sqlite};
use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};

use crate::{
    harness::Server,
    highlevel::{done, request, status_and_body},
};

const LOCATION: &str = "3SwdhCsvxI8Au3KsPJt6";

async fn shirt(server: &Server, name: &str) -> String {
    let body = json!({
        "locationId": LOCATION, "name": name, "productType": "PHYSICAL", "description": "Warm",
        "image": "https://example.com/shirt.png", "availableInStore": false,
    });
    let made = done(request(server, Method::POST, "/").json(&body)).await;
    made["_id"].as_str().unwrap().into()
}

async fn collection(server: &Server, slug: &str) -> String {
    let body = json!({"altId": LOCATION, "altType": "location", "name": slug, "slug": slug});
    let made = done(request(server, Method::POST, "/collections").json(&body)).await;
    made["data"]["_id"].as_str().unwrap().into()
}

async fn product(server: &Server, id: &str) -> Value {
    let path = format!("/{id}?locationId={LOCATION}");
    done(request(server, Method::GET, &path)).await
}

#[rstest]
#[tokio::test]
async fn a_store_manager_can_change_one_flag_of_a_product(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let id = shirt(&server, "Shirt").await;
    let before = product(&server, &id).await;
    for shown in [true, false] {
        let body = json!({"availableInStore": shown, "locationId": LOCATION});
        done(request(&server, Method::PUT, &format!("/{id}")).json(&body)).await;
        let after = product(&server, &id).await;
        assert_eq!(after["availableInStore"], shown);
        for field in ["name", "productType", "description", "image", "createdAt"] {
            assert_eq!(after[field], before[field]);
        }
    }
}

#[rstest]
#[tokio::test]
async fn a_connector_that_selects_all_products_of_a_search_is_rejected(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let c = collection(&server, "shirts").await;
    let (first, _) = (
        shirt(&server, "Shirt 1").await,
        shirt(&server, "Shirt 2").await,
    );
    for products in [json!([first]), json!([]), Value::Null] {
        let body = json!({
            "altId": LOCATION, "altType": "location", "type": "bulk-update-product-collection",
            "selectAll": true, "productIds": products, "filters": {"search": "Shirt"},
            "collectionIds": [c],
        });
        let request = request(&server, Method::POST, "/bulk-update").json(&body);
        let (status, body) = status_and_body(request).await;
        assert_eq!(status, 422, "{body}");
    }
    assert_eq!(product(&server, &first).await["collectionIds"], json!([]));
}

#[rstest]
#[tokio::test]
async fn a_tool_server_of_an_assistant_gets_not_found_for_unsupported_paths(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let at = format!("altId={LOCATION}&altType=location");
    let id = shirt(&server, "Shirt").await;
    for path in [
        format!("/reviews?{at}&limit=10&offset=0&sortField=createdAt&sortOrder=desc"),
        format!("/reviews/count?{at}"),
        format!("/store/s1/stats?{at}&search=Shirt"),
    ] {
        let (status, body) = status_and_body(request(&server, Method::GET, &path)).await;
        assert_eq!(
            (status, &body["error"]),
            (404, &json!("Not Found")),
            "{path}"
        );
        let why = body["message"].as_str().unwrap();
        assert!(why.starts_with("Cannot GET /products/"), "{why}");
    }
    for (path, list) in [
        (format!("/inventory?{at}&limit=20"), "inventory"),
        (
            format!("/{id}/price?locationId={LOCATION}&limit=20"),
            "prices",
        ),
    ] {
        let found = done(request(&server, Method::GET, &path)).await;
        assert_eq!(found[list], json!([]), "{path}");
    }
    // Without `altType`, which is optional here.
    let c = collection(&server, "c").await;
    let path = format!("/collections/{c}?altId={LOCATION}");
    assert_eq!(
        done(request(&server, Method::GET, &path)).await["status"],
        true
    );
}

#[rstest]
#[tokio::test]
async fn a_sync_can_write_back_a_whole_product_with_other_collections(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let (c, d) = (
        collection(&server, "c").await,
        collection(&server, "d").await,
    );
    let id = shirt(&server, "Shirt").await;
    for collections in [json!([c]), json!([c, d]), json!([d])] {
        let mut whole = product(&server, &id).await;
        whole["collectionIds"] = collections.clone();
        done(request(&server, Method::PUT, &format!("/{id}")).json(&whole)).await;
        let mut expected: Vec<_> = collections.as_array().unwrap().clone();
        expected.sort_by_key(Value::to_string);
        assert_eq!(
            product(&server, &id).await["collectionIds"],
            json!(expected)
        );
    }
}

#[rstest]
#[tokio::test]
async fn a_script_can_edit_many_products_as_the_sdks_do(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let c = collection(&server, "c").await;
    let ids = [shirt(&server, "A").await, shirt(&server, "B").await];
    let items = ids.iter().map(
        |id| json!({"_id": id, "name": "Shirt", "collectionIds": [c], "availableInStore": true}),
    );
    let items: Vec<_> = items.collect();
    let body = json!({"altId": LOCATION, "altType": "location", "products": items});
    for sdk in [
        ["x-sdk-version", "3.1.0"],
        ["ghl-sdk-version", "python/3.0.0"],
    ] {
        let edit = request(&server, Method::POST, "/bulk-update/edit").json(&body);
        let edited = done(edit.header(sdk[0], sdk[1])).await;
        assert_eq!(edited["updatedCount"], 2);
    }
    let path = format!("/?locationId={LOCATION}&collectionIds={c}");
    let list = done(request(&server, Method::GET, &path)).await;
    assert_eq!(list["total"], json!([{"total": 2}]));
}

#[rstest]
#[tokio::test]
async fn a_page_may_add_a_cache_busting_parameter(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    shirt(&server, "Shirt").await;
    let path = format!("/?locationId={LOCATION}&_=1764150000000");
    let list = done(request(&server, Method::GET, &path)).await;
    assert_eq!(list["total"], json!([{"total": 1}]));
}
