//! Membership from the product's side, in HighLevel's products API.

use endcap::config::Flags;
use endcap::store::Engine::{self, Postgres, Sqlite};
use reqwest::{Method, RequestBuilder};
use rstest::rstest;
use serde_json::{Value, json};

use crate::{
    harness::Server,
    highlevel::{done, request as send, status_and_body, with},
};

const LOCATION: &str = "3SwdhCsvxI8Au3KsPJt6";

async fn refused(request: RequestBuilder, status: u16, message: Value) {
    let (found, body) = status_and_body(request).await;
    assert_eq!((found, &body["message"]), (status, &message), "{body}");
}

fn located(more: Value) -> Value {
    with(json!({"altId": LOCATION, "altType": "location"}), more)
}

async fn collection(server: &Server, slug: &str, products: &[&str]) -> String {
    let body = located(json!({"name": slug, "slug": slug, "productIds": products}));
    let body = done(send(server, Method::POST, "/collections").json(&body)).await;
    body["data"]["_id"].as_str().unwrap().into()
}

/// The products of a list, and the total.
async fn list(server: &Server, query: &str) -> (Vec<String>, Value) {
    let path = format!("/?locationId={LOCATION}{query}");
    let body = done(send(server, Method::GET, &path)).await;
    let ids = body["products"].as_array().unwrap().iter();
    let ids = ids.map(|product| product["_id"].as_str().unwrap().to_owned());
    (ids.collect(), body["total"].clone())
}

async fn read(server: &Server, id: &str) -> (u16, Value) {
    status_and_body(send(
        server,
        Method::GET,
        &format!("/{id}?locationId={LOCATION}"),
    ))
    .await
}

fn product(more: Value) -> Value {
    let least = json!({"locationId": LOCATION, "name": "Hat", "productType": "PHYSICAL"});
    with(least, more)
}

async fn make(server: &Server, more: Value) -> Value {
    done(send(server, Method::POST, "/").json(&product(more))).await
}

#[rstest]
#[tokio::test]
async fn the_products_of_a_collection_are_listed_in_its_order(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let c = collection(&server, "c", &["p3", "p1", "p2"]).await;
    let d = collection(&server, "d", &["p1", "p4"]).await;
    let total = |n: u64| json!([{ "total": n }]);
    let of = |query: String| {
        let server = &server;
        async move { list(server, &query).await }
    };
    let ids = |ids: &[&str]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    let one = of(format!("&collectionIds={c}")).await;
    assert_eq!(one, (ids(&["p3", "p1", "p2"]), total(3)));
    let page = of(format!("&collectionIds={c}&limit=1.0&offset=1.0")).await;
    assert_eq!(page, (ids(&["p1"]), total(3)));
    let beyond = of(format!("&collectionIds={c}&offset=9")).await;
    assert_eq!(beyond, (ids(&[]), total(3)));
    let by_slug = of("&collectionSlug=c".into()).await;
    assert_eq!(by_slug, one);
    for form in [
        format!("&collectionIds={c},{d}"),
        format!("&collectionIds={c}%2C{d}"),
        format!("&collectionIds={c}&collectionIds={d}"),
        format!("&collectionIds[]={c}&collectionIds%5B%5D={d}"),
        format!("&collectionIds={c}&collectionSlug=d"),
        String::new(),
    ] {
        let expected = (ids(&["p1", "p2", "p3", "p4"]), total(4));
        assert_eq!(of(form.clone()).await, expected, "{form}");
    }
    for none in [
        "&collectionIds=nowhere",
        "&collectionSlug=nowhere",
        "&search=hat",
    ] {
        assert_eq!(of(none.into()).await, (ids(&[]), total(0)), "{none}");
    }
    let some = of("&productIds[]=p4&productIds[]=p9".into()).await;
    assert_eq!(some, (ids(&["p4"]), total(1)));

    let mut both_ids = [c.clone(), d.clone()];
    both_ids.sort();
    let never = "1970-01-01T00:00:00.000Z";
    let expected = json!({
        "_id": "p1", "locationId": LOCATION, "collectionIds": both_ids, "name": "p1",
        "productType": "PHYSICAL", "createdAt": never, "updatedAt": never,
    });
    assert_eq!(read(&server, "p1").await, (200, expected));
    let path = format!("/collections/{c}?altId={LOCATION}&altType=location");
    done(send(&server, Method::DELETE, &path)).await;
    assert_eq!(read(&server, "p1").await.1["collectionIds"], json!([d]));
    assert_eq!(read(&server, "p2").await.0, 404);
}

/// The name of a product that is only in a collection is its id.
#[rstest]
#[tokio::test]
async fn products_are_searched_by_their_displayed_names(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let flags = Flags {
        max_scanned: Some("5".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let listed = ["Lampe 14", "STRA\u{df}E", "p%_\\", "lampe 2"];
    let c = collection(&server, "c", &listed).await;
    let d = collection(&server, "d", &["lampe 2", "rug"]).await;
    // A registered product has its own name, and is not found by its id.
    let named = json!({"name": "Stehlampe", "collectionIds": [c]});
    let made = send(&server, Method::POST, "/").json(&product(named));
    let made: Value = made.send().await.unwrap().json().await.unwrap();
    let registered = made["_id"].as_str().unwrap();
    let put = json!({"name": "Hat"});
    done(send(&server, Method::PUT, "/rug").json(&product(put))).await;
    for (search, expected) in [
        ("lampe", vec![registered, "Lampe 14", "lampe 2"]),
        ("LAMPE%201", vec!["Lampe 14"]),
        ("strasse", vec!["STRA\u{df}E"]),
        ("%25_", vec!["p%_\\"]),
        ("rug", vec![]),
        ("hat", vec!["rug"]),
    ] {
        let mut expected = expected;
        expected.sort_unstable();
        let query = format!("&search={search}");
        let (found, total) = list(&server, &query).await;
        assert_eq!(found, expected, "{search}");
        assert_eq!(total, json!([{"total": expected.len()}]), "{search}");
        let mut paged = Vec::new();
        for offset in 0..=expected.len() {
            let page = format!("{query}&limit=1&offset={offset}");
            paged.extend(list(&server, &page).await.0);
        }
        assert_eq!(paged, expected, "{search}");
    }
    for narrower in [
        format!("&collectionIds={d}"),
        "&collectionSlug=d".to_owned(),
        "&productIds=lampe%202,rug".to_owned(),
    ] {
        let query = format!("&search=lampe{narrower}");
        assert_eq!(list(&server, &query).await.0, ["lampe 2"], "{narrower}");
    }

    // Five products may be examined, and a sixth is too many; registered ones don't count.
    for id in ["n1", "n2", "n3"] {
        collection(&server, id, &[id]).await;
    }
    let path = |query: &str| format!("/?locationId={LOCATION}&search=lampe{query}");
    let refused = send(&server, Method::GET, &path("")).send().await.unwrap();
    assert_eq!(refused.status(), 422);
    let refused: Value = refused.json().await.unwrap();
    let message = refused["message"][0].as_str().unwrap();
    for part in ["search", " 5 ", "max_scanned"] {
        assert!(message.contains(part), "{message}");
    }
    let narrow = format!("&search=lampe&collectionIds={d}");
    assert_eq!(list(&server, &narrow).await.0, ["lampe 2"]);
}

#[rstest]
#[tokio::test]
async fn a_product_and_its_memberships_are_created_updated_and_deleted(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let (c, d) = (
        collection(&server, "c", &["x"]).await,
        collection(&server, "d", &[]).await,
    );
    let more = json!({
        "slug": "hat", "description": "Warm", "image": "http://example.com/a.png",
        "collectionIds": [c], "variants": [{"id": "v1", "name": "Size"}], "gone": 1,
    });
    let body = product(more.clone());
    let response = send(&server, Method::POST, "/").json(&body).send().await;
    let response = response.unwrap();
    assert_eq!(response.status(), 201);
    let made: Value = response.json().await.unwrap();
    let id = made["_id"].as_str().unwrap().to_owned();
    assert!(id.len() == 24 && id.bytes().all(|b| b.is_ascii_hexdigit()));
    for (name, value) in body.as_object().unwrap() {
        assert_eq!(&made[name], value, "{name}");
    }
    assert_eq!(read(&server, &id).await, (200, made.clone()));
    let listed = list(&server, &format!("&collectionIds={c}")).await.0;
    assert_eq!(listed, ["x", id.as_str()]);
    assert_eq!(list(&server, "&search=HA").await.0, [id.as_str()]);

    // Absent fields stay unchanged, and `null` removes one; the same holds for the collections.
    let change = json!({"name": "Cap", "gone": null, "description": "Cold"});
    let put = send(&server, Method::PUT, &format!("/{id}")).json(&product(change));
    let after = done(put).await;
    let mut expected = with(made, json!({"name": "Cap", "description": "Cold"}));
    expected.as_object_mut().unwrap().remove("gone");
    expected["updatedAt"] = after["updatedAt"].clone();
    assert_eq!(after, expected);
    let change = product(json!({"collectionIds": [d]}));
    let after = done(send(&server, Method::PUT, &format!("/{id}")).json(&change)).await;
    assert_eq!(after["collectionIds"], json!([d]));
    assert_eq!(list(&server, &format!("&collectionIds={c}")).await.0, ["x"]);
    assert_eq!(
        list(&server, &format!("&collectionIds={d}")).await.0,
        [id.as_str()]
    );

    // A product that is only in a collection becomes registered; an unknown one is not found.
    let change = product(json!({"name": "X"}));
    let after = done(send(&server, Method::PUT, "/x").json(&change)).await;
    assert_eq!(
        (&after["name"], &after["collectionIds"]),
        (&json!("X"), &json!([c]))
    );
    let nowhere = json!("product \"nowhere\" does not exist");
    let put = send(&server, Method::PUT, "/nowhere").json(&change);
    refused(put, 404, nowhere.clone()).await;

    let path = format!("/{id}?locationId={LOCATION}");
    let gone = done(send(&server, Method::DELETE, &path)).await;
    assert_eq!(gone, json!({"status": true}));
    assert_eq!(read(&server, &id).await.0, 404);
    assert!(
        list(&server, &format!("&collectionIds={d}"))
            .await
            .0
            .is_empty()
    );
    let path = format!("/nowhere?locationId={LOCATION}");
    refused(send(&server, Method::DELETE, &path), 404, nowhere).await;
}

#[rstest]
#[tokio::test]
async fn a_bulk_update_adds_products_to_collections_and_removes_none(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let (c, d) = (
        collection(&server, "c", &["p2"]).await,
        collection(&server, "d", &[]).await,
    );
    let body = located(json!({
        "type": "bulk-update-product-collection",
        "productIds": ["p1", "p2"], "collectionIds": [c, d], "filters": {},
    }));
    for _ in 0..2 {
        let (status, body) =
            status_and_body(send(&server, Method::POST, "/bulk-update").json(&body)).await;
        assert_eq!((status, &body["status"]), (201, &json!(true)));
    }
    assert_eq!(
        list(&server, &format!("&collectionIds={c}")).await.0,
        ["p2", "p1"]
    );
    assert_eq!(
        list(&server, &format!("&collectionIds={d}")).await.0,
        ["p1", "p2"]
    );

    let bulk = |more: Value| send(&server, Method::POST, "/bulk-update").json(&located(more));
    let all = json!([
        "type must be one of the following values: bulk-update-product-collection",
        "productIds should not be empty",
        "collectionIds should not be empty",
    ]);
    refused(
        bulk(json!({"type": "bulk-update-price", "productIds": []})),
        422,
        all,
    )
    .await;
    let place = |collections: Value| {
        bulk(json!({
            "type": "bulk-update-product-collection",
            "productIds": ["p9"], "collectionIds": collections,
        }))
    };
    let unknown = json!(["each value in collectionIds must be a collection"]);
    refused(place(json!([c, "nowhere"])), 422, unknown).await;
    let root = json!(["each value in collectionIds must be a valid id"]);
    refused(place(json!(["rootCategory"])), 422, root).await;
    assert_eq!(read(&server, "p9").await.0, 404);
}

#[rstest]
#[tokio::test]
async fn all_violations_of_a_product_are_reported_at_once(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let body = json!({
        "name": 1, "productType": "BOOK", "slug": 2, "collectionIds": ["a b", 3],
    });
    let all = json!([
        "locationId must be a string",
        "locationId should not be empty",
        "name must be a string",
        "productType must be one of the following values: DIGITAL, PHYSICAL, SERVICE, PHYSICAL/DIGITAL",
        "slug must be a string",
        "each value in collectionIds must be a valid id",
        "each value in collectionIds must be a string",
    ]);
    refused(send(&server, Method::POST, "/").json(&body), 422, all).await;
    let path = "?limit=x&offset=-1&collectionSlug=a_b&collectionIds=a%20b&productIds=%00";
    let all = json!([
        "locationId must be a string",
        "locationId should not be empty",
        "limit must be a number conforming to the specified constraints",
        "offset must not be less than 0",
        "collectionSlug must match /^[a-z0-9]+(?:-[a-z0-9]+)*$/ regular expression",
        "each value in productIds must be a valid id",
        "each value in collectionIds must be a valid id",
    ]);
    refused(send(&server, Method::GET, path), 422, all).await;
    let large = product(json!({"description": "d".repeat(262_144)}));
    let (status, _) = status_and_body(send(&server, Method::POST, "/").json(&large)).await;
    assert_eq!(status, 422);
    let odd = product(json!({"collectionIds": ["nowhere"]}));
    let unknown = json!(["each value in collectionIds must be a collection"]);
    refused(send(&server, Method::POST, "/").json(&odd), 422, unknown).await;
}

#[rstest]
#[tokio::test]
async fn unregistered_products_are_rejected_if_products_are_checked(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let strict = Flags {
        check_products: Some("true".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, strict).await;
    let known = make(&server, json!({})).await["_id"].clone();
    let body = |id: &Value| located(json!({"name": "C", "slug": "c", "productIds": [id]}));
    let create = |id: &Value| send(&server, Method::POST, "/collections").json(&body(id));
    let unknown = json!(["unregistered products: \"x\""]);
    refused(create(&json!("x")), 422, unknown.clone()).await;
    let made = done(create(&known)).await;
    let c = made["data"]["_id"].clone();
    let place = located(json!({
        "type": "bulk-update-product-collection",
        "productIds": ["x"], "collectionIds": [c],
    }));
    let place = send(&server, Method::POST, "/bulk-update").json(&place);
    refused(place, 422, unknown).await;
}

#[rstest]
#[tokio::test]
async fn a_product_is_created_once_per_idempotency_key(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let create = || {
        let request = send(&server, Method::POST, "").json(&product(json!({})));
        request.header("idempotency-key", "k1")
    };
    let first = done(create()).await;
    assert_eq!(done(create()).await, first);
    assert_eq!(list(&server, "").await.0.len(), 1);
}

/// The response to a GET or DELETE as an SDK sends it: with a content type, but without a body.
async fn wired(server: &Server, method: Method, path: &str, [name, sdk]: [&str; 2]) -> Value {
    let request = send(server, method, path).header("content-type", "application/json");
    done(request.header(name, sdk)).await
}

#[rstest]
#[tokio::test]
async fn requests_are_accepted_in_the_wire_formats_of_the_sdks(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let made = make(&server, json!({"name": "Red hat"})).await;
    let id = made["_id"].as_str().unwrap();
    let c = collection(&server, "red-hats", &[id, "p2"]).await;
    let d = collection(&server, "towels", &["p2"]).await;
    let at = format!("altId={LOCATION}&altType=location");
    for sdk in [
        ["x-sdk-version", "3.1.0"],
        ["ghl-sdk-version", "python/3.0.0"],
    ] {
        let get = |path: String| {
            let server = &server;
            async move { wired(server, Method::GET, &path, sdk).await }
        };
        for numbers in ["limit=20&offset=0", "limit=20.0&offset=0.0"] {
            for ids in [format!("{c},{d}"), format!("{c}%2C{d}")] {
                let query = format!("{at}&{numbers}&collectionIds={ids}&name=towel");
                let body = get(format!("/collections?{query}")).await;
                assert_eq!(body["total"], 1, "{query}");
                assert_eq!(body["data"][0]["_id"], json!(d));
                let query = format!("locationId={LOCATION}&{numbers}&collectionIds={ids}");
                let body = get(format!("/?{query}")).await;
                assert_eq!(body["total"], json!([{"total": 2}]), "{query}");
            }
        }
        let location = format!("locationId={LOCATION}");
        for query in ["search=red+hat", "search=red%20hat", "search=RED%2Bhat"] {
            let found = get(format!("/?{location}&{query}")).await;
            let expected = u64::from(!query.contains("%2B"));
            assert_eq!(found["total"], json!([{ "total": expected }]), "{query}");
        }
        for query in [
            format!("productIds%5B%5D={id}&productIds%5B%5D=p2"),
            format!("productIds={id}&productIds=p2"),
        ] {
            let found = get(format!("/?{location}&{query}")).await;
            assert_eq!(found["total"], json!([{"total": 2}]), "{query}");
        }
        get(format!("/{id}?{location}&sendWishlistStatus=true")).await;
    }
    let python = ["ghl-sdk-version", "python/3.0.0"];
    for path in [
        format!("/collections/{d}?{at}"),
        format!("/{id}?locationId={LOCATION}"),
    ] {
        wired(&server, Method::DELETE, &path, python).await;
    }
}
