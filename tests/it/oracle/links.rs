//! moveCollection and deleteCollection: the parents of collections.

use endcap::store::Engine::{self, Postgres, Sqlite};
use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};

use super::{Admin, ask, assert_error, ids, send};
use crate::harness::Server;

async fn relink(admin: &Admin<'_>, body: Value) -> (u16, Value) {
    ask(admin, Method::PUT, "collections", body).await
}

async fn moves(admin: &Admin<'_>, body: Value) {
    assert_eq!(relink(admin, body).await, (200, json!({"success": true})));
}

async fn children(admin: &Admin<'_>, id: &str) -> String {
    ids(&admin.get(id).await["fixedChildCategories"])
}

async fn parents(admin: &Admin<'_>, id: &str) -> String {
    ids(&admin.get(id).await["fixedParentCategories"])
}

/// `a` with `a1`, `a2` and `a3`, and `b` with `b1`.
async fn set_up(admin: &Admin<'_>) {
    for (id, parent) in [
        ("a", None),
        ("b", None),
        ("a1", Some("a")),
        ("a2", Some("a")),
        ("a3", Some("a")),
        ("b1", Some("b")),
    ] {
        admin.make(id, parent, 0).await;
    }
}

#[rstest]
#[tokio::test]
async fn a_collection_is_moved_linked_reordered_and_unlinked(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    set_up(&admin).await;
    // As in the documentation: an index as a string, and no operation.
    moves(
        &admin,
        json!({"parent": "b", "fromParent": "a", "index": "0", "child": "a2"}),
    )
    .await;
    assert_eq!(children(&admin, "a").await, "a1 a3");
    assert_eq!(children(&admin, "b").await, "a2 b1");
    assert_eq!(parents(&admin, "a2").await, "b");

    let body = |operation: &str, more: Value| {
        let mut body = json!({"operation": operation, "child": "a2"});
        let more = more.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(more);
        body
    };
    moves(&admin, body("link", json!({"parent": "a", "index": 1}))).await;
    assert_eq!(children(&admin, "a").await, "a1 a2 a3");
    assert_eq!(parents(&admin, "a2").await, "a b");
    moves(&admin, body("reorder", json!({"parent": "a", "index": -1}))).await;
    assert_eq!(children(&admin, "a").await, "a1 a3 a2");
    moves(&admin, body("reorder", json!({"parent": "a", "index": 0}))).await;
    assert_eq!(children(&admin, "a").await, "a2 a1 a3");
    moves(&admin, body("unlink", json!({"fromParent": "b"}))).await;
    assert_eq!(parents(&admin, "a2").await, "a");
    assert_eq!(children(&admin, "b").await, "b1");
    // Within its parent, and then from any parent to the root.
    let within = json!({"parent": "a", "fromParent": "a", "index": 2});
    moves(&admin, body("move", within)).await;
    assert_eq!(children(&admin, "a").await, "a1 a3 a2");
    moves(&admin, body("link", json!({"parent": "b"}))).await;
    moves(&admin, body("move", json!({"parent": "rootCategory"}))).await;
    assert_eq!(parents(&admin, "a2").await, "rootCategory");
    assert_eq!(children(&admin, "rootCategory").await, "a b a2");
    moves(&admin, body("unlink-all", json!({}))).await;
    assert_eq!(parents(&admin, "a2").await, "");
    assert_eq!(admin.get("a2").await["categoryPaths"], json!([]));
}

#[rstest]
#[tokio::test]
async fn an_invalid_move_returns_its_error_code_and_changes_nothing(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    set_up(&admin).await;
    let before = [children(&admin, "a").await, children(&admin, "b").await];
    let from_a = |to: &str, child: &str| json!({"parent": to, "fromParent": "a", "index": 0, "child": child});
    for (body, code, says) in [
        (json!({"parent": "b"}), "20080", ""),
        (from_a("b", "ghost"), "20081", "ghost"),
        (from_a("ghost", "a1"), "20071", "ghost"),
        (json!({"child": "a1"}), "20087", ""),
        (json!({"child": "a1", "operation": "link"}), "20086", ""),
        (
            json!({"child": "a1", "parent": "b", "operation": "swap"}),
            "20088",
            "unlink-all",
        ),
        (
            json!({"parent": "b", "fromParent": "b", "child": "a1"}),
            "20085",
            "a1",
        ),
        (
            json!({"parent": "b", "operation": "unlink", "child": "a1"}),
            "20085",
            "a1",
        ),
        (
            json!({"operation": "link", "parent": "b", "fromParent": "b", "child": "a1"}),
            "25014",
            "fromParent",
        ),
        (
            json!({"operation": "unlink-all", "fromParent": "b", "child": "a1"}),
            "25014",
            "fromParent",
        ),
        (
            json!({"operation": "unlink-all", "parent": "b", "child": "a1"}),
            "25014",
            "parent",
        ),
        (
            json!({"operation": "unlink", "parent": "b", "fromParent": "a", "child": "a1"}),
            "25014",
            "fromParent",
        ),
        (
            json!({"operation": "reorder", "parent": "a", "fromParent": "b", "child": "a1"}),
            "25014",
            "fromParent",
        ),
        (
            json!({"parent": "b", "child": "a1", "index": -2}),
            "20084",
            "-2",
        ),
        (
            json!({"parent": "b", "child": "a1", "index": 2}),
            "20084",
            "2",
        ),
        (
            json!({"parent": "a", "operation": "reorder", "child": "a1", "index": 3}),
            "20084",
            "3",
        ),
        (
            json!({"parent": "a", "operation": "reorder", "child": "a1", "index": 0}),
            "20082",
            "a1",
        ),
        (
            json!({"parent": "a", "operation": "link", "child": "a1"}),
            "20082",
            "a1",
        ),
        (from_a("a", "a1"), "20082", "a1"),
        (json!({"parent": "a1", "child": "a"}), "20083", "a"),
        (json!({"parent": "a", "child": "a"}), "20083", "a"),
        (
            json!({"parent": "a", "child": "rootCategory"}),
            "20079",
            "root",
        ),
    ] {
        let response = relink(&admin, body.clone()).await;
        assert_error(&response, 400, code, says);
    }
    let after = [children(&admin, "a").await, children(&admin, "b").await];
    assert_eq!(after, before);
}

#[rstest]
#[tokio::test]
async fn a_move_changes_the_etags_of_child_and_parents_and_is_idempotent(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    set_up(&admin).await;
    let etag = async |id: &str| {
        let request = admin.request(Method::GET, &format!("collections/{id}"));
        let response = request.send().await.unwrap();
        response.headers()["etag"].to_str().unwrap().to_owned()
    };
    let before = [etag("a").await, etag("b").await, etag("a1").await];
    let body = json!({"parent": "b", "fromParent": "a", "child": "a1"});
    for _ in 0..2 {
        let request = admin.request(Method::PUT, "collections").json(&body);
        let response = send(request.header("idempotency-key", "k")).await;
        assert_eq!(response, (200, json!({"success": true})));
    }
    let after = [etag("a").await, etag("b").await, etag("a1").await];
    assert!(
        before
            .iter()
            .zip(&after)
            .all(|(before, after)| before != after)
    );
    // A move within a list only changes the parent's version.
    let child = etag("a2").await;
    moves(
        &admin,
        json!({"operation": "reorder", "parent": "a", "index": -1, "child": "a2"}),
    )
    .await;
    assert_ne!(etag("a").await, after[0]);
    assert_eq!(etag("a2").await, child);
}

#[rstest]
#[tokio::test]
async fn only_a_collection_without_children_can_be_deleted(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    set_up(&admin).await;
    let delete = async |id: &str| {
        let path = format!("collections/{id}");
        ask(&admin, Method::DELETE, &path, json!({})).await
    };
    let done = (200, json!({"success": true}));
    assert_error(&delete("a").await, 400, "20162", "3 child collections");
    assert_error(&delete("ghost").await, 400, "20161", "ghost");
    assert_error(&delete("a%20b").await, 400, "20161", "a b");
    assert_error(&delete("rootCategory").await, 400, "200228", "rootCategory");
    for id in ["a1", "a2", "a3/?catalogId=c", "a"] {
        assert_eq!(delete(id).await, done, "{id}");
    }
    assert_eq!(children(&admin, "rootCategory").await, "b");
    let gone = ask(&admin, Method::GET, "collections/a", json!({})).await;
    assert_error(&gone, 400, "20140", "a");
    let stale = admin.request(Method::DELETE, "collections/b1");
    let stale = send(stale.header("if-match", "\"0\"")).await;
    assert_error(&stale, 412, "412", "");
}
