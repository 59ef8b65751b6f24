//! Products in Oracle's dialect, and assignProducts.

use endcap::store::Engine::{self, Postgres, Sqlite};
use endcap::{config::Flags, grpc::pb};
use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};

use super::{Admin, ask, assert_error, ids, send};
use crate::harness::Server;

pub(super) async fn create(admin: &Admin<'_>, body: Value) -> (u16, Value) {
    let request = admin.write(Method::POST, "products", "en");
    send(request.json(&body)).await
}

async fn product(admin: &Admin<'_>, id: &str) -> Value {
    let (status, body) = ask(admin, Method::GET, &format!("products/{id}"), json!({})).await;
    assert_eq!(status, 200, "{body}");
    body
}

async fn assign(admin: &Admin<'_>, body: Value) -> (u16, Value) {
    ask(admin, Method::POST, "collections/assignProducts", body).await
}

#[rstest]
#[tokio::test]
async fn a_product_is_created_read_and_listed_with_its_collections(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    admin.make("a", None, 2).await;
    let lamp = json!({
        "catalogId": "cloudCatalog", "categoryId": "a", "productType": "",
        "properties": {
            "id": "xprod10", "displayName": "Lamp", "listPrice": 10.50, "active": true,
            "listPrices": {"default": 10.50}, "description": null,
        },
    });
    let (status, made) = create(&admin, lamp.clone()).await;
    assert_eq!(status, 200, "{made}");
    let expected = json!({
        "id": "xprod10", "repositoryId": "xprod10", "displayName": "Lamp", "productType": "",
        "active": true, "listPrice": 10.50, "listPrices": {"default": 10.50},
        "parentCategory": {"repositoryId": "a"}, "parentCategories": [{"repositoryId": "a"}],
    });
    assert_eq!(made, expected);
    assert_eq!(product(&admin, "xprod10").await, expected);
    assert_eq!(admin.products("a").await, "p0 p1 xprod10");
    assert_error(&create(&admin, lamp).await, 400, "25014", "xprod10");

    // A root contains no products, and an id is generated if none is given.
    let (_, made) = create(
        &admin,
        json!({"categoryId": "rootCategory", "properties": {"displayName": "X"}}),
    )
    .await;
    assert_eq!(made["parentCategories"], json!([]));
    let id = made["id"].as_str().unwrap();
    assert_eq!(product(&admin, id).await, made);

    let list = async |query: &str| {
        let path = format!("products{query}");
        let (status, body) = ask(&admin, Method::GET, &path, json!({})).await;
        assert_eq!(status, 200, "{body}");
        body
    };
    let of_a = list("?categoryId=a").await;
    assert_eq!(ids(&of_a["items"]), "p0 p1 xprod10");
    assert_eq!(
        (&of_a["totalResults"], &of_a["limit"]),
        (&json!(3), &json!(250))
    );
    let part = list("?categoryId=a&limit=1&offset=2&fields=items.id,offset").await;
    assert_eq!(part, json!({"offset": 2, "items": [{"id": "xprod10"}]}));
    // The largest offset: added to the limit, it exceeds the integers of a database.
    for query in ["?", "?categoryId=a&"] {
        let far = format!("{query}limit=250&offset={}&fields=items", i64::MAX);
        assert_eq!(list(&far).await, json!({"items": []}));
    }
    assert_eq!(list("").await["totalResults"], 4);
}

#[rstest]
#[tokio::test]
async fn registering_a_product_keeps_its_existing_collections(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    admin.make("a", None, 1).await;
    admin.make("b", None, 0).await;
    let body = json!({"categoryId": "b", "properties": {"id": "p0", "displayName": "P"}});
    let (status, made) = create(&admin, body).await;
    assert_eq!(
        (status, ids(&made["parentCategories"])),
        (200, "a b".into())
    );
}

#[rstest]
#[tokio::test]
async fn one_of_several_concurrent_creates_of_a_product_succeeds(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    admin.make("a", None, 0).await;
    let creates = (0..12).map(|n| {
        let properties = json!({"id": "x", "displayName": format!("X{n}")});
        create(&admin, json!({"categoryId": "a", "properties": properties}))
    });
    let (made, refused): (Vec<_>, Vec<_>) = futures::future::join_all(creates)
        .await
        .into_iter()
        .partition(|(status, _)| *status == 200);
    assert_eq!(made.len(), 1);
    for refused in &refused {
        assert_error(refused, 400, "25014", "x");
    }
    assert_eq!(
        product(&admin, "x").await["displayName"],
        made[0].1["displayName"]
    );
    assert_eq!(admin.products("a").await, "x");
}

#[rstest]
#[tokio::test]
async fn invalid_product_requests_are_rejected(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    let named = |more: Value| json!({"properties": {"displayName": "X"}, "categoryId": more});
    assert_error(
        &create(&admin, json!({})).await,
        400,
        "25014",
        "displayName",
    );
    let blank = json!({"properties": {"displayName": " "}});
    assert_error(
        &create(&admin, blank).await,
        400,
        "25014",
        "properties.displayName",
    );
    assert_error(
        &create(&admin, named(json!("ghost"))).await,
        400,
        "20091",
        "ghost",
    );
    let odd = json!({"properties": {"displayName": "X", "errorCode": 1}});
    assert_error(&create(&admin, odd).await, 400, "25014", "errorCode");
    let silent = admin.request(Method::POST, "products").json(&json!({}));
    assert_error(&send(silent).await, 400, "82001", "x-ccasset-language");
    for id in ["xprod9", "a%20b"] {
        let response = ask(&admin, Method::GET, &format!("products/{id}"), json!({})).await;
        let id = id.replace("%20", " ");
        assert_error(&response, 400, "20031", &id);
    }
    for path in ["products?categoryId=ghost", "products?categoryId=a%20b"] {
        let response = ask(&admin, Method::GET, path, json!({})).await;
        assert_error(&response, 400, "20091", "");
    }
    for path in ["products?limit=x", "products?offset=-1"] {
        let response = ask(&admin, Method::GET, path, json!({})).await;
        assert_error(&response, 400, "400", "integer");
    }
}

#[rstest]
#[tokio::test]
async fn a_product_is_added_to_collections(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    admin.make("a", None, 1).await;
    admin.make("b", None, 0).await;
    let path = "products/x/addToCollections";
    let body = json!({"collections": ["b", "a", "rootCategory"]});
    let (status, response) = ask(&admin, Method::POST, path, body).await;
    assert_eq!(status, 200, "{response}");
    assert_eq!(response["id"], "x");
    assert_eq!(ids(&response["parentCategories"]), "a b");
    assert_eq!(response["links"][0]["rel"], "self");
    assert_eq!(admin.products("a").await, "p0 x");
    for (body, code) in [
        (json!({}), "20008"),
        (json!({"collections": []}), "20008"),
        (json!({"collections": ["ghost"]}), "20091"),
        (json!({"collections": [5]}), "20091"),
        (json!({"collections": "a"}), "25014"),
    ] {
        assert_error(&ask(&admin, Method::POST, path, body).await, 400, code, "");
    }
}

#[rstest]
#[tokio::test]
async fn products_are_linked_unlinked_and_moved(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    admin.make("a", None, 3).await;
    admin.make("b", None, 0).await;
    admin.make("c", None, 2).await;
    let done = (200, json!({"success": true}));
    let body = |operation: &str, products: &[&str], collections: &[&str]| json!({"operation": operation, "products": products, "collections": collections});
    assert_eq!(
        assign(&admin, body("link", &["p2", "p0"], &["b"])).await,
        done
    );
    assert_eq!(admin.products("b").await, "p2 p0");
    assert_eq!(admin.products("a").await, "p0 p1 p2");
    // From all other collections, by default.
    let moved = json!({"products": ["p0"], "collections": ["b"]});
    assert_eq!(assign(&admin, moved).await, done);
    assert_eq!(admin.products("a").await, "p1 p2");
    assert_eq!(admin.products("b").await, "p2 p0");
    assert_eq!(admin.products("c").await, "p1");
    // From one collection.
    let mut from = body("move", &["p1"], &["b"]);
    from["fromParent"] = "a".into();
    assert_eq!(assign(&admin, from.clone()).await, done);
    assert_eq!(admin.products("a").await, "p2");
    assert_eq!(admin.products("b").await, "p2 p0 p1");
    assert_eq!(admin.products("c").await, "p1");
    // A root takes no products, so none is removed from another collection either.
    let nowhere = json!({"products": ["p0", "p1"], "collections": ["rootCategory"]});
    assert_eq!(assign(&admin, nowhere).await, done);
    assert_eq!(admin.products("b").await, "p2 p0 p1");
    let missed = assign(&admin, from).await;
    assert_error(&missed, 400, "20094", "p1");
    assert_eq!(
        assign(&admin, body("unlink", &["p2", "p9"], &["a", "b"])).await,
        done
    );
    assert_eq!(admin.products("b").await, "p0 p1");
    for (body, code) in [
        (body("link", &[], &["b"]), "20092"),
        (body("link", &["p1"], &[]), "20008"),
        (body("swap", &["p1"], &["b"]), "20202"),
        (body("link", &["p1"], &["ghost"]), "20091"),
        (body("link", &["p\t1"], &["b"]), "20094"),
    ] {
        assert_error(&assign(&admin, body).await, 400, code, "");
    }
    // Only a move removes products from a named collection.
    for operation in ["link", "unlink"] {
        for from in ["a", "b", "ghost"] {
            let mut body = body(operation, &["p1"], &["b"]);
            body["fromParent"] = from.into();
            let refused = assign(&admin, body).await;
            assert_error(&refused, 400, "25014", "fromParent");
        }
    }
    assert_eq!(admin.products("b").await, "p0 p1");
}

#[rstest]
#[tokio::test]
async fn check_products_rejects_unregistered_products(#[values(Sqlite, Postgres)] engine: Engine) {
    let flags = Flags {
        check_products: Some("true".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let admin = Admin(&server);
    admin.make("a", None, 0).await;
    let link = json!({"operation": "link", "products": ["x"], "collections": ["a"]});
    assert_error(&assign(&admin, link.clone()).await, 400, "20094", "x");
    let path = "products/x/addToCollections";
    let add = json!({"collections": ["a"]});
    assert_error(
        &ask(&admin, Method::POST, path, add).await,
        400,
        "20094",
        "x",
    );
    create(
        &admin,
        json!({"properties": {"id": "x", "displayName": "X"}}),
    )
    .await;
    assert_eq!(assign(&admin, link).await.0, 200);
}

async fn update(admin: &Admin<'_>, id: &str, body: Value) -> (u16, Value) {
    let request = admin.write(Method::PUT, &format!("products/{id}"), "en");
    send(request.json(&body)).await
}

#[rstest]
#[tokio::test]
async fn a_product_update_changes_only_the_given_fields(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    admin.make("a", None, 2).await;
    admin.make("b", None, 0).await;
    let body = json!({"categoryId": "a", "productType": "lamp", "properties": {
        "id": "x", "displayName": "X", "listPrice": 5, "brand": "B", "active": true,
    }});
    assert_eq!(create(&admin, body).await.0, 200);
    let changes = json!({"properties": {
        "id": "ignored", "displayName": "Y", "brand": null, "x_new": {"a": [1]},
    }});
    let (status, response) = update(&admin, "x", changes).await;
    assert_eq!(status, 200, "{response}");
    let expected = json!({
        "id": "x", "repositoryId": "x", "displayName": "Y", "productType": "lamp",
        "active": true, "listPrice": 5, "x_new": {"a": [1]},
        "parentCategory": {"repositoryId": "a"}, "parentCategories": [{"repositoryId": "a"}],
    });
    assert_eq!(response, expected);
    assert_eq!(product(&admin, "x").await, expected);
    // A named collection also gets the product, at the end.
    let joins = json!({"categoryId": "b", "productType": ""});
    let (_, response) = update(&admin, "x", joins).await;
    assert_eq!(ids(&response["parentCategories"]), "a b");
    assert_eq!(response["productType"], "");
    let (_, response) = update(&admin, "x", json!({"categoryId": "rootCategory"})).await;
    assert_eq!(ids(&response["parentCategories"]), "a b");
    assert_eq!(admin.products("a").await, "p0 p1 x");
    // A product that is only in collections needs a name to become registered.
    let nameless = json!({"properties": {"brand": "B"}});
    let refused = update(&admin, "p0", nameless).await;
    assert_error(&refused, 400, "25014", "properties.displayName");
    let named = json!({"properties": {"displayName": "P", "brand": "B"}});
    let (status, response) = update(&admin, "p0", named).await;
    assert_eq!((status, &response["brand"]), (200, &json!("B")));
    assert_eq!(ids(&response["parentCategories"]), "a");

    let language = admin.request(Method::PUT, "products/x").json(&json!({}));
    assert_error(&send(language).await, 400, "82001", "x-ccasset-language");
    for (id, body, code, says) in [
        ("ghost", json!({}), "20031", "ghost"),
        (
            "ghost",
            json!({"properties": {"displayName": "G"}}),
            "20031",
            "ghost",
        ),
        ("a%20b", json!({}), "20031", "a b"),
        (
            "x",
            json!({"properties": {"displayName": null}}),
            "25014",
            "displayName",
        ),
        (
            "x",
            json!({"properties": {"displayName": ""}}),
            "25014",
            "displayName",
        ),
        (
            "x",
            json!({"properties": {"status": "x"}}),
            "25014",
            "properties.status",
        ),
        ("x", json!({"properties": 5}), "25014", "properties"),
        ("x", json!({"productType": 5}), "25014", "productType"),
        ("x", json!({"categoryId": "ghost"}), "20091", "ghost"),
    ] {
        assert_error(&update(&admin, id, body).await, 400, code, says);
    }
}

#[rstest]
#[tokio::test]
async fn a_deleted_product_is_in_no_collection(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    admin.make("a", None, 3).await;
    admin.make("b", None, 2).await;
    assert_eq!(
        create(
            &admin,
            json!({"properties": {"id": "p1", "displayName": "P"}})
        )
        .await
        .0,
        200
    );
    // One that was created, and one that is only in collections.
    for id in ["p1", "p0"] {
        let delete = || send(admin.request(Method::DELETE, &format!("products/{id}")));
        assert_eq!(delete().await, (200, json!({"success": true})));
        assert_error(&delete().await, 400, "20031", id);
        let read = ask(&admin, Method::GET, &format!("products/{id}"), json!({})).await;
        assert_error(&read, 400, "20031", id);
    }
    assert_eq!(admin.products("a").await, "p2");
    assert_eq!(admin.products("b").await, "");
}

async fn of_grpc(server: &Server) -> pb::Product {
    let request = pb::GetProductRequest {
        product_id: "lamp".into(),
        ..pb::GetProductRequest::default()
    };
    let found = server.products().await.get_product(request).await;
    found.unwrap().into_inner().product.unwrap()
}

fn price(id: &str, amount: &str, compare_at_price: &str) -> pb::ProductPrice {
    pb::ProductPrice {
        id: id.into(),
        amount: amount.into(),
        compare_at_price: compare_at_price.into(),
        ..pb::ProductPrice::default()
    }
}

#[rstest]
#[tokio::test]
async fn product_properties_are_mapped_to_rule_facts(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    let properties = json!({
        "id": "lamp", "displayName": "Lamp", "brand": "Acme", "active": true, "listPrice": 20.50,
        "creationDate": "2013-04-01T16:27:38.000Z", "lastModifiedDate": "2014-01-01T00:00:00+01:00",
    });
    let (status, made) = create(&admin, json!({ "properties": properties })).await;
    assert_eq!(status, 200, "{made}");
    for (name, value) in properties.as_object().unwrap() {
        assert_eq!(&made[name], value);
    }
    let found = of_grpc(&server).await;
    assert_eq!((&*found.vendor, found.available), ("Acme", Some(true)));
    assert_eq!(found.prices, [price("listPrice", "20.5", "")]);
    let seconds = |time: Option<prost_types::Timestamp>| time.map(|time| time.seconds);
    assert_eq!(seconds(found.product_create_time), Some(1_364_833_658));
    assert_eq!(seconds(found.product_update_time), Some(1_388_530_800));

    // A property in a later request forms a price with the one that is stored.
    let put = async |properties: Value| {
        let request = admin.write(Method::PUT, "products/lamp", "en");
        let (status, body) = send(request.json(&json!({ "properties": properties }))).await;
        assert_eq!(status, 200, "{body}");
        body
    };
    put(json!({"salePrice": 15})).await;
    assert_eq!(
        of_grpc(&server).await.prices,
        [price("listPrice", "15", "20.5")]
    );
    put(json!({"listPrices": {"retail": 30, "club": 25}, "salePrices": {"club": 9.99}})).await;
    let groups = [price("retail", "30", ""), price("club", "9.99", "25")];
    assert_eq!(of_grpc(&server).await.prices, groups);

    // A change by another API is shown, and stays when it is sent back.
    let request = pb::UpsertProductsRequest {
        products: vec![pb::Product {
            id: "lamp".into(),
            vendor: "Other".into(),
            available: Some(false),
            prices: vec![price("x", "1", "")],
            ..pb::Product::default()
        }],
        ..pb::UpsertProductsRequest::default()
    };
    let mut products = server.products().await;
    products.upsert_products(request).await.unwrap();
    let before = of_grpc(&server).await;
    let shown = product(&admin, "lamp").await;
    assert_eq!(
        (&shown["brand"], &shown["active"]),
        (&json!("Other"), &json!(false))
    );
    put(shown).await;
    assert_eq!(of_grpc(&server).await, before);

    // Invalid values are stored and are not facts; removed ones are not facts either.
    let odd = json!({
        "brand": 5, "active": "yes", "listPrices": {"retail": "abc"}, "salePrices": null,
        "listPrice": null, "salePrice": null, "creationDate": "today", "lastModifiedDate": null,
    });
    let after = put(odd).await;
    assert_eq!(
        (&after["brand"], &after["active"]),
        (&json!(5), &json!("yes"))
    );
    let found = of_grpc(&server).await;
    assert_eq!(
        (&*found.vendor, found.available, found.prices),
        ("", None, vec![])
    );
    assert_eq!(
        (found.product_create_time, found.product_update_time),
        (None, None)
    );
}
