//! Errors before a collection is read, preconditions, and unknown paths.

use endcap::config::Flags;
use endcap::store::Engine::{self, Postgres, Sqlite};
use reqwest::{Method, header::CONTENT_TYPE};
use rstest::rstest;
use serde_json::{Value, json};

use super::{Admin, assert_error, send};
use crate::harness::Server;

#[rstest]
#[tokio::test]
async fn writes_require_a_language_header_and_reads_do_not(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    let body = json!({"properties": {"id": "a", "displayName": "A"}});
    let missing = "Required header is missing: x-ccasset-language";
    let bare = admin.request(Method::POST, "collections").json(&body);
    let response = send(bare).await;
    assert_error(&response, 400, "82001", missing);
    assert_eq!(response.1["message"], missing);
    let bare = admin.request(Method::PUT, "collections/a").json(&body);
    assert_error(&send(bare).await, 400, "82001", missing);
    admin.make("a", None, 0).await;
    assert_eq!(admin.get("a").await["displayName"], "a");
    let odd = admin.put_in("not a language", "a", json!({})).await;
    assert_error(&odd, 400, "400", "not a language");
}

#[rstest]
#[tokio::test]
async fn only_configured_locales_are_accepted(#[values(Sqlite, Postgres)] engine: Engine) {
    let flags = Flags {
        locales: Some("en,fr".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let admin = Admin(&server);
    admin.make("a", None, 0).await;
    assert_eq!(admin.put_in("fr", "a", json!({})).await.0, 200);
    assert_error(
        &admin.put_in("xx-YY", "a", json!({})).await,
        400,
        "400",
        "xx-YY",
    );
    let read = admin.write(Method::GET, "collections/a", "de");
    assert_error(&send(read).await, 400, "400", "de");
}

#[rstest]
#[tokio::test]
async fn a_create_requires_a_display_name_and_an_unused_id(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    for body in [
        json!({}),
        json!({"properties": null}),
        json!({"properties": {"name": "X"}}),
    ] {
        let response = admin.post(body).await;
        assert_error(
            &response,
            400,
            "25014",
            "properties.displayName: is required",
        );
    }
    admin.make("a", None, 0).await;
    for id in ["a", "rootCategory", "a b"] {
        let body = json!({"properties": {"id": id, "displayName": "A"}});
        assert_error(&admin.post(body).await, 400, "25014", id);
    }
    let body = json!({"orphaned": true, "catalogId": "c", "properties": {"displayName": "A"}});
    assert_error(&admin.post(body).await, 400, "25014", "catalogId");
}

#[rstest]
#[tokio::test]
async fn several_problems_are_reported_at_once(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    admin.make("a", None, 1).await;
    let body = json!({
        "properties": {"displayName": 5, "active": "yes"},
        "categoryImages": [{"path": "x.jpg"}],
        "op": "remove",
    });
    let (status, response) = admin.put("a", body).await;
    assert_eq!((status, &response["status"]), (400, &json!("400")));
    // Oracle's own client looks only here.
    assert_eq!(response["errorCode"], "25014", "{response}");
    let codes: Vec<_> = response["errors"].as_array().unwrap().iter().collect();
    let codes: Vec<_> = codes
        .iter()
        .map(|e| e["errorCode"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["25014", "25014", "26108", "20092"]);
    assert_eq!(
        response["errors"][0]["o:errorPath"],
        "properties.displayName"
    );
    assert_eq!(response["errors"][0]["status"], "400");

    let odd = json!({"op": "remove", "products": vec![""; 10_000]});
    let (_, response) = admin.put("a", odd).await;
    assert_eq!(response["errors"].as_array().unwrap().len(), 100);
}

#[rstest]
#[tokio::test]
async fn unreadable_request_bodies_are_rejected(#[values(Sqlite, Postgres)] engine: Engine) {
    let flags = Flags {
        max_body_size: Some("64KiB".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let admin = Admin(&server);
    admin.make("a", None, 0).await;
    let put = |kind: &str, body: String| {
        let request = admin.write(Method::PUT, "collections/a", "en");
        send(request.header(CONTENT_TYPE, kind).body(body))
    };
    let json = "application/json";
    assert_error(
        &put(json, "{'op': 1}".into()).await,
        400,
        "400",
        "not valid JSON",
    );
    assert_error(&put(json, "[]".into()).await, 400, "400", "JSON object");
    assert_error(
        &put(json, String::new()).await,
        400,
        "400",
        "not valid JSON",
    );
    assert_error(
        &put(json, "[".repeat(10_000)).await,
        400,
        "400",
        "recursion",
    );
    assert_error(&put("text/xml", "{}".into()).await, 415, "415", "text/xml");
    let large = json!({"x": "y".repeat(70_000)}).to_string();
    assert_error(&put(json, large).await, 413, "413", "65536");
    assert_eq!(
        put("application/json; charset=utf-8", "{}".into()).await.0,
        200
    );
}

#[rstest]
#[tokio::test]
async fn roots_cannot_be_deactivated_but_can_be_renamed(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    for root in ["rootCategory", "nonNavigableCategory"] {
        for active in [json!(false), json!(null)] {
            let body = json!({"properties": {"active": active}});
            assert_error(&admin.put(root, body).await, 400, "20202", root);
        }
    }
    let root = admin.get("rootCategory").await;
    assert_eq!(root["categoryPaths"], json!(["/Commerce Root"]));
    assert_eq!(root["fixedParentCategories"], json!([]));
    let named = json!({"properties": {"displayName": "Navegação"}});
    assert_eq!(admin.put_in("pt_BR", "rootCategory", named).await.0, 200);
    admin.make("a", None, 0).await;
    let read = admin.write(Method::GET, "collections/a", "pt_BR");
    assert_eq!(send(read).await.1["categoryPaths"], json!(["/Navegação/a"]));
}

#[rstest]
#[tokio::test]
async fn a_stale_if_match_is_rejected(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    admin.make("a", None, 0).await;
    let get = || admin.request(Method::GET, "collections/a");
    let first = get().send().await.unwrap().headers()["etag"].clone();
    // The etag does not cover languages and ancestors, so a read is always sent.
    let read = get().header("If-None-Match", &first).send().await.unwrap();
    assert_eq!(
        (read.status().as_u16(), &read.headers()["etag"]),
        (200, &first)
    );

    let put = |etag: &str, name: &str| {
        let request = admin.write(Method::PUT, "collections/a", "en");
        let body = json!({"properties": {"displayName": name}});
        request.header("If-Match", etag).json(&body)
    };
    let first = first.to_str().unwrap();
    let response = put(first, "One").send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_ne!(response.headers()["etag"], first);
    assert_error(&send(put(first, "Two")).await, 412, "412", "not current");
    assert_error(&send(put("W/\"x\"", "Two")).await, 412, "412", "If-Match");
    assert_eq!(send(put("*", "Three")).await.0, 200);
    let changed = get().header("If-None-Match", first).send().await.unwrap();
    assert_eq!(changed.status(), 200);
}

#[rstest]
#[tokio::test]
async fn paths_may_end_in_a_slash_or_use_the_ccadminui_prefix(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    let body = |id: &str| json!({"properties": {"id": id, "displayName": id}});
    for (path, id) in [
        ("v1/../../ccadminui/v1/collections", "a"),
        ("v1/collections/", "b/c"),
    ] {
        let url = format!("{}/ccadmin/{path}", server.http);
        let request = server.client.post(url).header("x-ccasset-language", "en");
        let (status, made) = send(request.json(&body(id))).await;
        assert_eq!((status, &made["id"]), (200, &json!(id)), "{made}");
    }
    assert_eq!(admin.get("a/").await["id"], "a");
    assert_eq!(admin.get("b%2Fc").await["id"], "b/c");
    let patch = admin
        .request(Method::PATCH, "collections/a")
        .send()
        .await
        .unwrap();
    assert_eq!(patch.headers()["allow"], "GET,HEAD,PUT,DELETE");
    let body: Value = patch.json().await.unwrap();
    assert_error(&(405, body), 405, "405", "PATCH");
    let none = send(admin.request(Method::GET, "nothing")).await;
    assert_error(&none, 404, "404", "/ccadmin/v1/nothing");
}

#[rstest]
#[tokio::test]
async fn a_repeated_idempotency_key_returns_the_first_response(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    let post = |key: &str, language: &str, name: &str| {
        let request = admin.write(Method::POST, "collections", language);
        let body = json!({"properties": {"displayName": name}});
        request.header("Idempotency-Key", key).json(&body)
    };
    let first = post("k1", "en", "A").send().await.unwrap();
    let etag = first.headers()["etag"].clone();
    let first = first.text().await.unwrap();
    let again = post("k1", "en", "A").send().await.unwrap();
    assert_eq!(again.headers()["etag"], etag);
    assert_eq!(again.text().await.unwrap(), first);
    assert_error(&send(post("k1", "en", "B")).await, 400, "400", "k1");
    assert_error(&send(post("k1", "fr", "A")).await, 400, "400", "k1");
    assert_error(
        &send(post("a b", "en", "A")).await,
        400,
        "400",
        "Idempotency-Key",
    );

    admin.make("a", None, 3).await;
    let body = json!({"op": "move", "fromStart": 0, "fromEnd": 0, "to": 2});
    for _ in 0..2 {
        let request = admin.write(Method::PUT, "collections/a", "en");
        let request = request.header("Idempotency-Key", "k1").json(&body);
        let (status, response) = send(request).await;
        assert_eq!(status, 200, "{response}");
    }
    assert_eq!(admin.products("a").await, "p1 p2 p0");
}

/// The operations with a body, by their actual paths and those in the description.
const WRITES: [(Method, &str, &str); 7] = [
    (Method::POST, "collections", "collections"),
    (Method::PUT, "collections/a", "collections/{id}"),
    (Method::PUT, "collections", "collections"),
    (
        Method::POST,
        "collections/assignProducts",
        "collections/assignProducts",
    ),
    (Method::POST, "products", "products"),
    (Method::PUT, "products/p0", "products/{id}"),
    (
        Method::POST,
        "products/p0/addToCollections",
        "products/{id}/addToCollections",
    ),
];

/// The schema with `value` in every field, including in lists and alternative forms.
fn filled(description: &Value, schema: &Value, value: &Value, form: usize) -> Value {
    if let Some(name) = schema["$ref"].as_str() {
        let schema = description.pointer(name.trim_start_matches('#')).unwrap();
        return filled(description, schema, value, form);
    }
    if let Some(forms) = schema["oneOf"].as_array() {
        let forms = forms.iter().filter(|form| form["type"] != "null");
        let forms: Vec<_> = forms.collect();
        return filled(description, forms[form % forms.len()], value, form);
    }
    if let Some(fields) = schema["properties"].as_object() {
        let fields = fields.iter();
        let filled = |field| filled(description, field, value, form);
        return fields
            .map(|(name, field)| (name.clone(), filled(field)))
            .collect();
    }
    match schema.get("items") {
        Some(items) => {
            let item = filled(description, items, value, form);
            json!([item, item])
        }
        None => value.clone(),
    }
}

#[rstest]
#[tokio::test]
async fn each_error_is_reported_once_and_the_first_sets_the_error_code(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    admin.make("a", None, 1).await;
    let description = server
        .client
        .get(format!("{}/openapi/oracle.json", server.http));
    let (_, description) = send(description).await;
    let long = "x".repeat(10_000);
    let deep = (0..40).fold(json!(1), |inside, _| json!([inside]));
    let mut several = 0;
    for (method, path, described) in WRITES {
        let schema = format!(
            "/paths/~1ccadmin~1v1~1{}/{}/requestBody/content/application~1json/schema",
            described.replace('/', "~1"),
            method.as_str().to_ascii_lowercase()
        );
        let schema = description.pointer(&schema).unwrap();
        for value in [
            json!(null),
            json!(5),
            json!(-1.5),
            json!(true),
            json!(""),
            json!("\u{0}"),
            json!(" a/../b "),
            json!(long),
            json!([]),
            json!([{}]),
            json!({}),
            json!({"": {"a": 1}}),
            deep.clone(),
        ] {
            for form in 0..2 {
                let mut body = filled(&description, schema, &value, form);
                for op in [None, Some("remove"), Some("move"), Some("reorder")] {
                    if let Some(op) = op {
                        body["op"] = op.into();
                        body["type"] = Value::Null;
                    }
                    let request = admin.write(method.clone(), path, "en").json(&body);
                    let (status, response) = send(request).await;
                    let context = format!("{method} {path} {op:?} {value}");
                    if status == 200 {
                        continue;
                    }
                    assert_eq!(status, 400, "{context}: {response}");
                    assert!(response["errorCode"].is_string(), "{context}: {response}");
                    let Some(errors) = response["errors"].as_array() else {
                        continue;
                    };
                    several += 1;
                    assert!(errors.len() > 1, "{context}: {response}");
                    assert_eq!(response["errorCode"], errors[0]["errorCode"], "{context}");
                    for (at, error) in errors.iter().enumerate() {
                        let same = |other: &&Value| {
                            ["errorCode", "o:errorPath"].map(|name| other.get(name))
                                == ["errorCode", "o:errorPath"].map(|name| error.get(name))
                        };
                        assert_eq!(errors[..at].iter().find(same), None, "{context}");
                    }
                }
            }
        }
    }
    assert!(several > 50, "{several}");
}

#[rstest]
#[tokio::test]
async fn an_error_is_not_as_large_as_its_request(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    admin.make("a", None, 1).await;
    let huge = "a".repeat(500_000);
    for body in [
        json!({"op": huge}),
        json!({"type": huge}),
        json!({"op": "move", "moves": [{"fromStart": huge, "fromEnd": huge, "to": huge}]}),
        json!({"op": "reorder", "productMap": {&*huge: "x"}}),
        json!({"op": "reorder", "productMap": {"p0": huge}}),
        json!({"op": "remove", "products": [huge]}),
        json!({"parentCategoryId": huge}),
        json!({"properties": {"active": huge}}),
        json!({"properties": {"displayName": huge}}),
        json!({"properties": {&*huge: {"op": 1}}}),
    ] {
        let (status, error) = admin.put("a", body).await;
        assert_eq!(status, 400);
        let size = error.to_string().len();
        assert!(size < 10_000, "{size}");
    }
}
