//! HighLevel's prices and inventory, and the facts in its bodies that rules evaluate.

use endcap::store::Engine::{self, Postgres, Sqlite};
use endcap::{config::Flags, grpc::pb};
use reqwest::{Method, RequestBuilder};
use rstest::rstest;
use serde_json::{Value, json};

use crate::{
    harness::Server,
    highlevel::{done, request as send, status_and_body, with},
};

const LOCATION: &str = "3SwdhCsvxI8Au3KsPJt6";

fn product(more: Value) -> Value {
    let least = json!({"locationId": LOCATION, "name": "Hat", "productType": "PHYSICAL"});
    with(least, more)
}

/// Creates a product, and returns its id.
async fn make(server: &Server, more: Value) -> String {
    let made = done(send(server, Method::POST, "/").json(&product(more))).await;
    made["_id"].as_str().unwrap().into()
}

fn price(more: Value) -> Value {
    let least = json!({
        "locationId": LOCATION, "name": "Red / S", "type": "one_time", "currency": "usd",
        "amount": 19.99,
    });
    with(least, more)
}

fn post(server: &Server, product: &str, more: Value) -> RequestBuilder {
    send(server, Method::POST, &format!("/{product}/price")).json(&price(more))
}

fn at(product: &str, price: &str) -> String {
    format!("/{product}/price/{price}?locationId={LOCATION}")
}

async fn prices(server: &Server, product: &str, query: &str) -> (Vec<String>, Value) {
    let path = format!("/{product}/price?locationId={LOCATION}{query}");
    let body = done(send(server, Method::GET, &path)).await;
    let ids = body["prices"].as_array().unwrap().iter();
    let ids = ids.map(|price| price["_id"].as_str().unwrap().into());
    (ids.collect(), body["total"].clone())
}

async fn inventory(server: &Server, query: &str) -> (Vec<Value>, Value) {
    let path = format!("/inventory?altId={LOCATION}&altType=location{query}");
    let body = done(send(server, Method::GET, &path)).await;
    let items = body["inventory"].as_array().unwrap().clone();
    (items, body["total"].clone())
}

fn stock(server: &Server, items: Value) -> RequestBuilder {
    let body = json!({"altId": LOCATION, "altType": "location", "items": items});
    send(server, Method::POST, "/inventory").json(&body)
}

async fn of_grpc(server: &Server, id: &str) -> pb::Product {
    let request = pb::GetProductRequest {
        tenant_id: LOCATION.into(),
        product_id: id.into(),
    };
    let found = server.products().await.get_product(request).await;
    found.unwrap().into_inner().product.unwrap()
}

async fn set_by_grpc(server: &Server, product: pb::Product) {
    let request = pb::UpsertProductsRequest {
        tenant_id: LOCATION.into(),
        products: vec![product],
        ..pb::UpsertProductsRequest::default()
    };
    let mut products = server.products().await;
    products.upsert_products(request).await.unwrap();
}

#[rstest]
#[tokio::test]
async fn a_price_is_created_read_changed_and_deleted(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let id = make(&server, json!({})).await;
    let more = json!({
        "variantOptionIds": ["h4z7u0im2q8", "h3nst2ltsnn"], "compareAtPrice": 25,
        "trackInventory": true, "availableQuantity": 5, "allowOutOfStockPurchases": true,
        "sku": "sku_1", "shippingOptions": {"weight": {"value": 1.5, "unit": "kg"}},
        "recurring": null, "product": "other", "_id": "x", "createdAt": "x",
    });
    let (status, made) = status_and_body(post(&server, &id, more)).await;
    assert_eq!(status, 201, "{made}");
    let x = made["_id"].as_str().unwrap();
    assert!(x.len() == 24 && x.bytes().all(|digit| digit.is_ascii_hexdigit()));
    let expected = json!({
        "_id": x, "product": id, "locationId": LOCATION, "name": "Red / S", "type": "one_time",
        "currency": "usd", "amount": 19.99, "variantOptionIds": ["h4z7u0im2q8", "h3nst2ltsnn"],
        "compareAtPrice": 25, "trackInventory": true, "availableQuantity": 5,
        "allowOutOfStockPurchases": true, "sku": "sku_1",
        "shippingOptions": {"weight": {"value": 1.5, "unit": "kg"}},
        "createdAt": made["createdAt"], "updatedAt": made["createdAt"],
    });
    assert_eq!(made, expected);
    let read = async || done(send(&server, Method::GET, &at(&id, x))).await;
    assert_eq!(read().await, made);
    let fact = |inventory: &str, amount: &str| pb::ProductPrice {
        id: x.into(),
        variant_id: String::new(),
        title: "Red / S".into(),
        amount: amount.into(),
        currency: "USD".into(),
        compare_at_price: "25".into(),
        inventory: inventory.into(),
    };
    assert_eq!(of_grpc(&server, &id).await.prices, [fact("5", "19.99")]);

    // Sending a price back does not change it; absent fields stay unchanged.
    let before = of_grpc(&server, &id).await;
    let put = |body: Value| send(&server, Method::PUT, &format!("/{id}/price/{x}")).json(&body);
    assert_eq!(done(put(made.clone())).await, made);
    assert_eq!(of_grpc(&server, &id).await, before);
    let change = json!({
        "locationId": LOCATION, "amount": 1e1, "trackInventory": false, "sku": null,
    });
    let after = done(put(change)).await;
    let mut expected = with(
        made.clone(),
        json!({"amount": 1e1, "trackInventory": false}),
    );
    expected.as_object_mut().unwrap().remove("sku");
    expected["updatedAt"] = after["updatedAt"].clone();
    assert_eq!(after, expected);
    assert_eq!(read().await, after);
    assert_eq!(of_grpc(&server, &id).await.prices, [fact("", "10")]);
    // A product that is sent back keeps its prices.
    let path = format!("/{id}?locationId={LOCATION}");
    let whole = done(send(&server, Method::GET, &path)).await;
    assert_eq!(whole.get("~highlevelPrices"), None);
    let request = send(&server, Method::PUT, &format!("/{id}"));
    assert_eq!(done(request.json(&whole)).await, whole);
    assert_eq!(read().await, after);

    let gone = done(send(&server, Method::DELETE, &at(&id, x))).await;
    assert_eq!(gone, json!({"status": true}));
    assert_eq!(prices(&server, &id, "").await, (vec![], json!(0)));
    let bare = of_grpc(&server, &id).await;
    assert!(bare.prices.is_empty() && bare.attributes.is_none());
    for method in [Method::GET, Method::DELETE] {
        let (status, body) = status_and_body(send(&server, method, &at(&id, x))).await;
        assert_eq!(status, 404);
        assert_eq!(body["message"], format!("price \"{x}\" does not exist"));
    }
    assert_eq!(status_and_body(put(made.clone())).await.0, 404);
    let (status, body) = status_and_body(post(&server, "nowhere", json!({}))).await;
    assert_eq!(status, 404);
    assert_eq!(body["message"], "product \"nowhere\" does not exist");
}

#[rstest]
#[tokio::test]
async fn prices_are_listed_in_pages(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let id = make(&server, json!({})).await;
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        let made = done(post(&server, &id, json!({"name": name}))).await;
        ids.push(made["_id"].as_str().unwrap().to_owned());
    }
    let [a, _, c] = &ids[..] else {
        panic!("{ids:?}")
    };
    assert_eq!(prices(&server, &id, "").await, (ids.clone(), json!(3)));
    let part = prices(&server, &id, "&limit=1.0&offset=1").await;
    assert_eq!(part, (vec![ids[1].clone()], json!(3)));
    let named = format!("&ids={c},nowhere,{a}&limit=0");
    let expected = (vec![a.clone(), c.clone()], json!(2));
    assert_eq!(prices(&server, &id, &named).await, expected);
    // Concurrent creates are not lost.
    let writes = (0..8).map(|n| done(post(&server, &id, json!({"amount": n}))));
    futures::future::join_all(writes).await;
    assert_eq!(prices(&server, &id, "").await.1, 11);
}

#[rstest]
#[tokio::test]
async fn all_violations_of_a_price_are_reported_at_once(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let id = make(&server, json!({})).await;
    let path = format!("/{id}/price");
    let number =
        |field: &str| format!("{field} must be a number conforming to the specified constraints");
    let cases = [
        (
            json!({}),
            json!([
                "locationId must be a string",
                "locationId should not be empty",
                "name must be a string",
                "name should not be empty",
                "type must be one of the following values: one_time, recurring",
                "currency must be a string",
                "currency should not be empty",
                number("amount"),
                "amount should not be empty",
            ]),
        ),
        (
            price(json!({
                "type": "weekly", "currency": "US", "amount": -0.5, "compareAtPrice": "25",
                "availableQuantity": 1e300, "trackInventory": "yes", "name": "n".repeat(256),
            })),
            json!([
                "name must be shorter than or equal to 255 characters",
                "type must be one of the following values: one_time, recurring",
                "currency must be a valid ISO4217 currency code",
                "amount must not be less than 0",
                number("compareAtPrice"),
                number("availableQuantity"),
                "trackInventory must be a boolean value",
            ]),
        ),
    ];
    for (body, messages) in cases {
        let (status, response) =
            status_and_body(send(&server, Method::POST, &path).json(&body)).await;
        assert_eq!((status, &response["message"]), (422, &messages));
    }
    let odd = format!("/{id}/price?locationId={LOCATION}&limit=101&unknown=1");
    let (status, body) = status_and_body(send(&server, Method::GET, &odd)).await;
    let messages = json!([
        "property unknown should not exist",
        "limit must not be greater than 100",
    ]);
    assert_eq!((status, &body["message"]), (422, &messages));
    let (status, body) =
        status_and_body(stock(&server, json!([1, {"availableQuantity": "1"}]))).await;
    let messages = json!([
        "items.0 must be an object",
        "items.1.priceId must be a string",
        "items.1.priceId should not be empty",
        "items.1.availableQuantity must be a number conforming to the specified constraints",
    ]);
    assert_eq!((status, &body["message"]), (422, &messages));
    let (status, body) = status_and_body(stock(&server, json!([]))).await;
    let messages = json!(["items should not be empty"]);
    assert_eq!((status, &body["message"]), (422, &messages));
}

#[rstest]
#[tokio::test]
async fn the_inventory_of_all_products_is_listed_and_updated(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let flags = Flags {
        max_scanned: Some("2".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    // Ids that are generated in the same second have no order.
    let [hat, sock] = ["hat", "sock"];
    for (id, title) in [(hat, "Hat"), (sock, "Sock")] {
        let product = pb::Product {
            id: id.into(),
            title: title.into(),
            ..pb::Product::default()
        };
        set_by_grpc(&server, product).await;
    }
    let image = json!({"locationId": LOCATION, "image": "http://example.com/hat.png"});
    done(send(&server, Method::PUT, "/hat").json(&image)).await;
    let new = async |product: &str, more: Value| {
        let made = done(post(&server, product, more)).await;
        made["_id"].as_str().unwrap().to_owned()
    };
    let red = new(
        hat,
        json!({"name": "Red", "availableQuantity": 5, "sku": "r"}),
    )
    .await;
    let loose = new(
        hat,
        json!({"name": "Loose", "availableQuantity": 9, "trackInventory": false}),
    )
    .await;
    new(hat, json!({"name": "Endless"})).await;
    let pair = new(sock, json!({"name": "Pair", "availableQuantity": 0})).await;

    let (items, total) = inventory(&server, "").await;
    assert_eq!(total, json!({"total": 2}));
    let expected = json!({
        "_id": red, "name": "Red", "availableQuantity": 5, "sku": "r",
        "allowOutOfStockPurchases": false, "product": hat, "productName": "Hat",
        "updatedAt": items[0]["updatedAt"], "image": "http://example.com/hat.png",
    });
    assert_eq!(items[0], expected);
    assert_eq!(
        (&items[1]["_id"], &items[1]["sku"]),
        (&json!(pair), &json!(""))
    );
    for (query, found, total) in [
        ("&search=SOCK", vec![&pair], 1),
        ("&search=red", vec![&red], 1),
        ("&search=nothing", vec![], 0),
        ("&limit=1&offset=1", vec![&pair], 2),
    ] {
        let (items, count) = inventory(&server, query).await;
        let ids: Vec<_> = items.iter().map(|item| &item["_id"]).collect();
        assert_eq!(ids, found, "{query}");
        assert_eq!(count, json!({"total": total}), "{query}");
    }

    let items = json!([
        {"priceId": red, "availableQuantity": 2.5},
        {"priceId": loose, "availableQuantity": 7},
        {"priceId": pair, "allowOutOfStockPurchases": true},
    ]);
    let (status, body) = status_and_body(stock(&server, items)).await;
    assert_eq!(status, 201, "{body}");
    assert_eq!(
        body,
        json!({"status": true, "message": "Successfully created"})
    );
    let stocks = of_grpc(&server, hat).await.prices;
    let stocks: Vec<_> = stocks
        .iter()
        .map(|price| price.inventory.as_str())
        .collect();
    assert_eq!(stocks, ["2.5", "", ""]);
    let (items, _) = inventory(&server, "&search=pair").await;
    assert_eq!(items[0]["allowOutOfStockPurchases"], true);
    let read = done(send(&server, Method::GET, &at(hat, &loose))).await;
    assert_eq!(read["availableQuantity"], 7);

    let unknown = json!([{"priceId": red, "availableQuantity": 1}, {"priceId": "nowhere"}]);
    let (status, body) = status_and_body(stock(&server, unknown)).await;
    assert_eq!(status, 404);
    assert_eq!(body["message"], "price \"nowhere\" does not exist");
    assert_eq!(of_grpc(&server, hat).await.prices[0].inventory, "2.5");

    // At most `max_scanned` products are examined.
    make(&server, json!({})).await;
    let path = format!("/inventory?altId={LOCATION}&altType=location");
    let (status, body) = status_and_body(send(&server, Method::GET, &path)).await;
    let messages = json!(["products must contain no more than 2 elements"]);
    assert_eq!((status, &body["message"]), (422, &messages));
}

#[rstest]
#[tokio::test]
async fn several_products_and_their_prices_are_edited_at_once(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let (hat, sock) = (
        make(&server, json!({})).await,
        make(&server, json!({})).await,
    );
    let made = done(post(&server, &hat, json!({}))).await;
    let x = made["_id"].as_str().unwrap();
    let edit = |products: Value| {
        let body = json!({"altId": LOCATION, "altType": "location", "products": products});
        send(&server, Method::POST, "/bulk-update/edit").json(&body)
    };
    let both = json!([
        {"_id": hat, "name": "Cap", "prices": [{"_id": x, "amount": 5, "availableQuantity": 3}]},
        {"_id": sock, "availableInStore": true},
    ]);
    assert_eq!(done(edit(both)).await["updatedCount"], 2);
    let found = of_grpc(&server, &hat).await;
    let [price] = &found.prices[..] else {
        panic!("{found:?}")
    };
    assert_eq!(
        (&*found.title, &*price.amount, &*price.inventory),
        ("Cap", "5", "3")
    );
    assert_eq!(of_grpc(&server, &sock).await.available, Some(true));

    // The price of another product is not found.
    let other = json!([{"_id": hat, "name": "X"}, {"_id": sock, "prices": [{"_id": x}]}]);
    let (status, body) = status_and_body(edit(other)).await;
    assert_eq!(status, 404, "{body}");
    assert_eq!(of_grpc(&server, &hat).await.title, "Cap");
    let many = json!([{"_id": hat, "prices": vec![json!({"_id": x}); 30]}]);
    let (status, body) = status_and_body(edit(many)).await;
    let messages = json!(["products must contain no more than 30 elements"]);
    assert_eq!((status, &body["message"]), (422, &messages));
}

#[rstest]
#[tokio::test]
async fn changes_through_another_api_are_merged_with_the_product_body(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let variants = json!([
        {"id": "size", "name": "Size", "options": [
            {"id": "s", "name": "Small"}, {"id": "l", "name": "Large"},
        ]},
    ]);
    let body = json!({"availableInStore": true, "variants": variants});
    let id = make(&server, body).await;
    let variant = |id: &str, title: &str| pb::ProductVariant {
        id: id.into(),
        title: title.into(),
        inventory: String::new(),
    };
    let found = of_grpc(&server, &id).await;
    assert_eq!(found.available, Some(true));
    assert_eq!(
        found.variants,
        [variant("s", "Small"), variant("l", "Large")]
    );

    // Another API replaces these fields, and adds a price.
    let with_stock = pb::ProductVariant {
        inventory: "4".into(),
        ..variant("xl", "Huge")
    };
    let price = pb::ProductPrice {
        id: "x".into(),
        variant_id: "xl".into(),
        title: "Huge".into(),
        amount: "12.50".into(),
        currency: "EUR".into(),
        inventory: "4".into(),
        ..pb::ProductPrice::default()
    };
    let changed = pb::Product {
        id: id.clone(),
        available: Some(false),
        variants: vec![with_stock],
        prices: vec![price],
        ..pb::Product::default()
    };
    set_by_grpc(&server, changed).await;
    let before = of_grpc(&server, &id).await;
    let path = format!("/{id}?locationId={LOCATION}");
    let whole = done(send(&server, Method::GET, &path)).await;
    assert_eq!(whole["availableInStore"], false);
    let shown = done(send(&server, Method::GET, &at(&id, "x"))).await;
    let expected = json!({
        "_id": "x", "product": id, "locationId": LOCATION, "name": "Huge", "type": "one_time",
        "currency": "EUR", "amount": 12.5, "trackInventory": true, "availableQuantity": 4,
        "variantOptionIds": ["xl"],
        "createdAt": whole["createdAt"], "updatedAt": whole["updatedAt"],
    });
    assert_eq!(shown, expected);
    // Sending it back changes nothing.
    done(send(&server, Method::PUT, &format!("/{id}")).json(&whole)).await;
    let put = send(&server, Method::PUT, &format!("/{id}/price/x"));
    done(put.json(&shown)).await;
    assert_eq!(of_grpc(&server, &id).await, before);
    // A change is visible through gRPC, and the other fields of the price are unchanged.
    let put = send(&server, Method::PUT, &format!("/{id}/price/x"));
    let change = json!({"locationId": LOCATION, "amount": 9, "sku": "s"});
    let after = done(put.json(&change)).await;
    assert_eq!((&after["amount"], &after["sku"]), (&json!(9), &json!("s")));
    let found = of_grpc(&server, &id).await;
    assert_eq!(
        (&*found.prices[0].amount, &*found.prices[0].variant_id),
        ("9", "xl")
    );
    let change = json!({"locationId": LOCATION, "availableInStore": null, "variants": []});
    let body = done(send(&server, Method::PUT, &format!("/{id}")).json(&change)).await;
    assert_eq!(body.get("availableInStore"), None);
    let found = of_grpc(&server, &id).await;
    assert_eq!((found.available, found.variants), (None, vec![]));
}
