//! Changes of products in updates, in every documented form.

use std::time::Duration;

use bytes::Bytes;
use endcap::store::Engine::{self, Postgres, Sqlite};
use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};

use super::{Admin, assert_error, ids, send};
use endcap::config::Flags;

use crate::harness::{Server, append, mutate};

#[rstest]
#[tokio::test]
async fn each_product_operation_results_in_the_expected_order(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let one = json!({"fromStart": 0, "fromEnd": 0, "to": 2});
    let two = json!({"fromStart": "2", "fromEnd": "3", "to": "0"});
    let cases = [
        (
            json!({"type": "appendProducts", "products": ["x", "p1", "y", "x"]}),
            "p0 p1 p2 p3 x y",
        ),
        (
            json!({"type": "updateProducts", "op": "remove", "products": ["p1", "p9"]}),
            "p0 p2 p3",
        ),
        (json!({"op": "remove", "products": ["p9"]}), "p0 p1 p2 p3"),
        (
            json!({"type": "updateProducts", "op": "move", "moves": [one]}),
            "p1 p2 p0 p3",
        ),
        (json!({"op": "move", "moves": one}), "p1 p2 p0 p3"),
        (json!({"op": "move", "moves": [one, two]}), "p0 p3 p1 p2"),
        (
            json!({"op": "move", "fromStart": "2", "fromEnd": "3", "to": "0"}),
            "p2 p3 p0 p1",
        ),
        (
            json!({"op": "move", "fromStart": 0, "fromEnd": 3, "to": 0}),
            "p0 p1 p2 p3",
        ),
        (
            json!({"op": "reorder", "productMap": {"p3": 0, "p0": "2"}}),
            "p3 p1 p0 p2",
        ),
        (
            json!({"type": "updateProducts", "op": "reorder", "productMap": ["p2", "p0"]}),
            "p2 p0 p1 p3",
        ),
        // Integers with zeros after the decimal point; -1 is the last index.
        (
            json!({"op": "move", "fromStart": 2.0, "fromEnd": 3.0, "to": 0.0}),
            "p2 p3 p0 p1",
        ),
        (
            json!({"op": "reorder", "productMap": {"p3": 0.0, "p0": 2e0}}),
            "p3 p1 p0 p2",
        ),
        (
            json!({"op": "reorder", "productMap": {"p1": -1}}),
            "p0 p2 p3 p1",
        ),
        (
            json!({"op": "reorder", "productMap": {"p0": "-1", "p3": 1}}),
            "p1 p3 p2 p0",
        ),
        (
            json!({"op": "reorder", "productMap": {"p3": -1.0}}),
            "p0 p1 p2 p3",
        ),
    ];
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    for (n, (body, order)) in cases.iter().enumerate() {
        let id = format!("c{n}");
        admin.make(&id, None, 4).await;
        let (status, response) = admin.put(&id, body.clone()).await;
        assert_eq!(status, 200, "{body}: {response}");
        assert_eq!(ids(&response["fixedChildProducts"]), *order, "{body}");
        assert_eq!(response["childProducts"], response["fixedChildProducts"]);
        assert_eq!(admin.products(&id).await, *order, "{body}");
    }
}

#[rstest]
#[tokio::test]
async fn each_error_has_its_code_and_changes_nothing(#[values(Sqlite, Postgres)] engine: Engine) {
    let range = |start: i64, end: i64, to: i64| json!({"op": "move", "moves": [{"fromStart": start, "fromEnd": end, "to": to}]});
    let append = |ids: &[&str]| json!({"type": "appendProducts", "products": ids});
    let cases = [
        (append(&["p0", "p1"]), "20093", "a"),
        (append(&[]), "20092", "No products"),
        (append(&["x\ty"]), "20094", "x\\ty"),
        (
            json!({"op": "shuffle", "products": ["p0"]}),
            "20202",
            "shuffle",
        ),
        (
            json!({"type": "updateProducts", "products": ["p0"]}),
            "20202",
            "op",
        ),
        (json!({"type": "setProducts"}), "20202", "setProducts"),
        (range(1, 3, 0), "37202", "3"),
        (range(2, 1, 0), "37202", "2"),
        (range(-1, 1, 0), "37202", "-1"),
        (range(0, 0, 3), "37202", "from 0 to 2"),
        (
            json!({"op": "move", "moves": [{"fromStart": 1, "fromEnd": 1}]}),
            "37202",
            "to",
        ),
        (
            json!({"op": "reorder", "productMap": {"p0": 1, "p1": 1}}),
            "20084",
            "productMap",
        ),
        (
            json!({"op": "reorder", "productMap": {"p0": 3}}),
            "20084",
            "3",
        ),
        // The last place twice: as -1, or by its index.
        (
            json!({"op": "reorder", "productMap": {"p0": -1, "p1": -1}}),
            "20084",
            "productMap",
        ),
        (
            json!({"op": "reorder", "productMap": {"p0": -1, "p1": 2}}),
            "20084",
            "productMap",
        ),
        (
            json!({"op": "reorder", "productMap": {"p0": -2}}),
            "20084",
            "-2",
        ),
        (
            json!({"op": "reorder", "productMap": {"p0": 0.5}}),
            "20084",
            "0.5",
        ),
        (json!({"op": ""}), "20202", "op"),
        (json!({"op": "", "products": ["p0"]}), "20202", "op"),
        (
            json!({"type": "", "op": "remove", "products": ["p0"]}),
            "20202",
            "type",
        ),
        (
            json!({"op": "reorder", "productMap": {"p0": 1, "p9": 0}}),
            "20094",
            "p9",
        ),
        (
            json!({"op": "reorder", "productMap": ["p9"]}),
            "20094",
            "p9",
        ),
    ];
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    admin.make("a", None, 3).await;
    let before = admin.get("a").await;
    for (body, code, says) in &cases {
        let mut body = body.clone();
        body["properties"] = json!({"displayName": "New"});
        let response = admin.put("a", body).await;
        assert_error(&response, 400, code, says);
    }
    assert_eq!(admin.get("a").await, before);
}

#[rstest]
#[tokio::test]
async fn a_list_of_moves_with_an_invalid_one_is_rejected_as_a_whole(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    admin.make("a", None, 4).await;
    let good = json!({"fromStart": 0, "fromEnd": 0, "to": 3});
    let bad = json!({"fromStart": 4, "fromEnd": 4, "to": 0});
    let response = admin
        .put("a", json!({"op": "move", "moves": [good, bad]}))
        .await;
    assert_error(&response, 400, "37202", "moves.1.fromEnd");
    assert_eq!(response.1["o:errorPath"], "moves.1.fromEnd");
    assert_eq!(admin.products("a").await, "p0 p1 p2 p3");
}

#[rstest]
#[tokio::test]
async fn one_update_can_change_properties_parent_and_products(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    admin.make("parent", None, 0).await;
    admin.make("a", None, 3).await;
    let body = json!({
        "properties": {"displayName": "New"},
        "parentCategoryId": "parent",
        "op": "remove",
        "products": ["p1"],
    });
    let (status, response) = admin.put("a", body).await;
    assert_eq!(status, 200, "{response}");
    assert_eq!(
        response["categoryPaths"],
        json!(["/Commerce Root/parent/New"])
    );
    assert_eq!(ids(&response["fixedChildProducts"]), "p0 p2");
}

#[rstest]
#[tokio::test]
async fn unknown_collections_have_the_error_code_of_the_operation(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    let append = json!({"type": "appendProducts", "products": ["p"]});
    for (id, said) in [("nope", "nope"), ("a%20b", "a b"), ("%FF", "id")] {
        assert_error(&admin.put(id, json!({})).await, 400, "20140", said);
        assert_error(&admin.put(id, append.clone()).await, 400, "20091", said);
        let read = admin.request(Method::GET, &format!("collections/{id}"));
        assert_error(&send(read).await, 400, "20140", said);
    }
    assert_error(&admin.put("%20", json!({})).await, 400, "20141", "");
    assert_error(&admin.put("%20", append).await, 400, "20090", "");
}

#[rstest]
#[tokio::test]
async fn lists_can_be_excluded_from_the_response(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    admin.make("a", None, 2).await;
    let cut = admin
        .get("a?exclude=childProducts,fixedChildProducts")
        .await;
    assert!(cut.get("childProducts").is_none() && cut.get("fixedChildProducts").is_none());
    assert_eq!(cut["fixedChildCategories"], json!([]));
    let chosen = admin.get("a?fields=id,childProducts.repositoryId").await;
    let products = json!([{"repositoryId": "p0"}, {"repositoryId": "p1"}]);
    assert_eq!(chosen, json!({"id": "a", "childProducts": products}));
    assert_eq!(
        admin.get("a?fields=description").await,
        json!({"description": Value::Null})
    );
}

/// Adds products `p0` to `pN` to the collection, in calls that are short enough for any deadline.
async fn fill(server: &Server, id: &str, products: usize) {
    let mut client = server.grpc().await;
    for first in (0..products).step_by(20_000) {
        let ids = (first..products.min(first + 20_000)).map(|n| format!("p{n}"));
        let request = mutate(id, vec![append(ids)]);
        client.mutate_children(request).await.unwrap();
    }
}

#[rstest]
#[tokio::test]
async fn long_lists_are_returned_completely(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    admin.make("a", None, 0).await;
    fill(&server, "a", 20_001).await;
    let expected: Vec<_> = (0..20_001)
        .map(|n| json!({"repositoryId": format!("p{n}")}))
        .collect();
    let expected = Value::from(expected);
    let read = admin.get("a").await;
    assert_eq!(read["id"], "a");
    for field in ["childProducts", "fixedChildProducts"] {
        assert!(read[field] == expected, "{field}");
    }
    assert_eq!(read["childCategories"], Value::Null);
    assert_eq!(read["fixedChildCategories"], json!([]));
    let (_, updated) = admin.put("a", json!({"properties": {}})).await;
    let mut updated = updated;
    updated["creationDate"] = read["creationDate"].clone();
    assert!(read == updated, "a read and an update return the same");
    let only = admin.get("a?fields=childProducts").await;
    assert!(only == json!({"childProducts": expected}));
}

#[rstest]
#[tokio::test]
async fn stalled_readers_hold_no_database_connection(#[values(Sqlite, Postgres)] engine: Engine) {
    let flags = Flags {
        request_timeout: Some("3s".into()),
        database_max_connections: Some("2".into()),
        database_acquire_timeout: Some("1s".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let admin = Admin(&server);
    admin.make("a", None, 0).await;
    fill(&server, "a", 300_000).await;
    let mut stopped = Vec::new();
    for _ in 0..4 {
        let request = admin.request(Method::GET, "collections/a");
        let mut response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.chunk().await.unwrap().is_some());
        stopped.push(response);
    }
    let path = "collections/a?fields=id";
    let another = send(admin.request(Method::GET, path)).await;
    assert_eq!(another, (200, json!({"id": "a"})));
    // The deadline does not interrupt a response that has begun.
    tokio::time::sleep(Duration::from_secs(3)).await;
    for mut response in stopped {
        let mut end = Bytes::new();
        while let Some(chunk) = response.chunk().await.unwrap() {
            end = chunk;
        }
        assert!(end.ends_with(b"}"), "{end:?}");
    }
}

/// Each operand of product operations, with a value.
fn operands() -> [(&'static str, Value); 6] {
    [
        ("products", json!(["p0"])),
        ("moves", json!([{"fromStart": 0, "fromEnd": 0, "to": 1}])),
        ("productMap", json!({"p0": 1})),
        ("fromStart", json!(0)),
        ("fromEnd", json!(0)),
        ("to", json!(1)),
    ]
}

#[rstest]
#[tokio::test]
async fn unsupported_fields_are_rejected_and_not_ignored(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    admin.make("a", None, 3).await;
    let properties = json!({"id": "new", "displayName": "New"});
    let of_new = [("type", json!("appendProducts")), ("op", json!("move"))];
    for (name, value) in of_new.into_iter().chain(operands()) {
        let made = admin
            .post(json!({"properties": properties, name: value}))
            .await;
        assert_error(&made, 400, "20202", name);
        assert_eq!(made.1["o:errorPath"], name);
    }
    // All fields that an append needs.
    let body = json!({"type": "appendProducts", "products": ["p1"], "properties": properties});
    assert_eq!(admin.post(body).await.0, 400);
    for (name, value) in [
        ("parentCategoryId", json!("a")),
        ("parentCategoryIds", json!(["a"])),
        ("orphaned", json!(true)),
        ("catalogId", json!("c")),
        ("type", json!("appendProducts")),
        ("categoryImages", json!([{"path": "/a.png"}])),
    ] {
        let mut properties = properties.clone();
        properties[name] = value;
        let body = json!({"properties": properties});
        let path = format!("properties.{name}");
        let made = admin.post(body.clone()).await;
        assert_error(&made, 400, "25014", &path);
        assert_eq!(made.1["o:errorPath"], path);
        // Responses have images, which clients send back.
        if name != "categoryImages" {
            assert_error(&admin.put("a", body).await, 400, "25014", &path);
        }
    }
    let none = send(admin.request(Method::GET, "collections/new")).await;
    assert_error(&none, 400, "20140", "new");
    // Empty operands are accepted.
    let silent = json!({
        "type": null, "op": null, "products": [], "moves": [], "productMap": {}, "to": null,
        "properties": {"id": "new", "displayName": "New", "parentCategoryId": null},
    });
    assert_eq!(admin.post(silent).await.0, 200);

    let [products, moves, map, from, end, to] = operands();
    for (kind, op, own) in [
        ("appendProducts", Value::Null, vec![products.clone()]),
        ("updateProducts", json!("remove"), vec![products]),
        ("updateProducts", json!("move"), vec![moves]),
        ("updateProducts", json!("move"), vec![from, end, to]),
        ("updateProducts", json!("reorder"), vec![map]),
    ] {
        let mut body = json!({"type": kind, "op": op});
        for (name, value) in &own {
            body[name] = value.clone();
        }
        for (name, value) in operands() {
            if body.get(name).is_some() {
                continue;
            }
            let mut body = body.clone();
            body[name] = value;
            let (status, response) = admin.put("a", body.clone()).await;
            assert_eq!(status, 400, "{body}: {response}");
            assert_eq!(admin.products("a").await, "p0 p1 p2", "{body}");
        }
    }
}
