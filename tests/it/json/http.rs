//! The JSON API as HTTP: status codes, headers, limits, the OpenAPI description.

use endcap::{
    config::Flags,
    store::Engine::{self, Postgres, Sqlite},
};
use reqwest::RequestBuilder;
use rstest::rstest;
use serde_json::{Value, json};

use super::{client::encoded, send, status_and_body, whole};
use crate::{
    auth::new_key,
    harness::{Server, http_client},
    program,
};

fn create(server: &Server, id: &str) -> RequestBuilder {
    let body = json!({"id": id, "texts": {"en": {"displayName": id}}});
    send(server, "POST", "/v1/collections").json(&body)
}

fn append(server: &Server, id: &str, ids: &[&str]) -> RequestBuilder {
    let target = format!("/v1/collections/{}:mutateChildren", encoded(id));
    let mutations = json!([{"append": {"ids": ids}}]);
    send(server, "POST", &target)
        .json(&json!({"childType": "CHILD_TYPE_PRODUCT", "mutations": mutations}))
}

/// The reason of an error, for programs.
fn reason(error: &Value) -> &str {
    let details = error["details"].as_array();
    let mut details = details.into_iter().flatten();
    let info = details.find_map(|it| it["reason"].as_str());
    info.unwrap_or_default()
}

/// The fields that an error names, each with its problem.
fn violations(error: &Value) -> Vec<(&str, &str)> {
    let details = error["details"].as_array().unwrap().iter();
    let violations = details.filter_map(|it| it["fieldViolations"].as_array());
    violations
        .flatten()
        .map(|it| {
            let text = |name: &str| it[name].as_str().unwrap();
            (text("field"), text("description"))
        })
        .collect()
}

#[rstest]
#[tokio::test]
async fn ids_may_contain_path_delimiters(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let products = [
        "50% off:a/b",
        "ü😀",
        "a?b#c",
        "a+b",
        "x:mutateChildren",
        "a%2Fb",
    ];
    for id in ["a/b:c", "a:mutateChildren", "a+b@c~", "children/x"] {
        assert_eq!(status_and_body(create(&server, id)).await.0, 200, "{id}");
        let at = format!("/v1/collections/{}", encoded(id));
        let (status, read) = status_and_body(send(&server, "GET", &at)).await;
        assert_eq!((status, &read["collection"]["id"]), (200, &json!(id)));
        assert_eq!(
            status_and_body(append(&server, id, &products)).await.0,
            200,
            "{id}"
        );
        for (index, product) in products.iter().enumerate() {
            let of = "childType=CHILD_TYPE_PRODUCT";
            let target = format!("{at}/children/{}?{of}", encoded(product));
            let (status, child) = status_and_body(send(&server, "GET", &target)).await;
            assert_eq!((status, &child["child"]["id"]), (200, &json!(product)));
            assert_eq!(child["child"]["index"].as_u64().unwrap_or(0), index as u64);
        }
    }
    // The method follows the last raw colon; earlier colons belong to the id.
    let target = "/v1/collections/a:mutateChildren:mutateChildren";
    let body =
        json!({"childType": "CHILD_TYPE_PRODUCT", "mutations": [{"append": {"ids": ["z"]}}]});
    let (status, done) = status_and_body(send(&server, "POST", target).json(&body)).await;
    assert_eq!(
        (status, &done["collection"]["id"]),
        (200, &json!("a:mutateChildren"))
    );
    let (status, error) = status_and_body(send(&server, "GET", "/v1/collections/a:b")).await;
    assert_eq!(status, 404);
    assert!(
        error["message"].as_str().unwrap().contains("%3A"),
        "{error}"
    );
    let (status, error) = status_and_body(send(&server, "GET", "/v1/collections/%FF")).await;
    assert_eq!(status, 400);
    assert_eq!(
        violations(&error),
        [("collection_id", "is not UTF-8 in the path")]
    );
}

#[rstest]
#[tokio::test]
async fn malformed_requests_are_rejected_with_the_invalid_field(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let create = |body: &str| {
        let request = send(&server, "POST", "/v1/collections");
        request
            .header("content-type", "application/json")
            .body(body.to_owned())
    };
    for (body, field, problem) in [
        (
            r#"{"nam": 1}"#,
            "collection.nam",
            "unrecognized field name 'nam'",
        ),
        (
            r#"{"texts": {"en": {"titel": ""}}}"#,
            "collection.texts.en.titel",
            "unrecognized field name 'titel'",
        ),
        (
            r#"{"texts": {"en": {"[0]": ""}}}"#,
            "collection.texts.en.[0]",
            "unrecognized field name '[0]'",
        ),
        (
            r#"{"images": [{}, {"url": 1}]}"#,
            "collection.images[1].url",
            "expected a string",
        ),
        (
            r#"{"images": [{"url": "a", "path": "b"}]}"#,
            "collection.images[0]",
            "multiple fields provided for oneof 'source'",
        ),
        (
            r#"{"active": "YES"}"#,
            "collection.active",
            "unrecognized enum value 'YES'",
        ),
        (
            r#"{"active": "YES"}"#,
            "collection.active",
            "; the values are ACTIVE_YES, ACTIVE_NO, ACTIVE_INHERIT",
        ),
        (
            r#"{"active": false}"#,
            "collection.active",
            "; the values are ACTIVE_YES, ACTIVE_NO, ACTIVE_INHERIT",
        ),
        (
            r#"{"texts": {"en": {"titel": ""}}}"#,
            "collection.texts.en.titel",
            "; the fields are displayName, ",
        ),
        ("[]", "collection", "expected a map"),
    ] {
        let (status, error) = status_and_body(create(body)).await;
        assert_eq!((status, reason(&error)), (400, "INVALID_FIELD"), "{body}");
        let violations = violations(&error);
        assert_eq!((violations.len(), violations[0].0), (1, field), "{body}");
        assert!(violations[0].1.contains(problem), "{body}: {error}");
    }
    // A body that is the whole request, without a field around it.
    let whole = send(&server, "POST", "/v1/collections/a:mutateChildren").json(&json!({"x'": 1}));
    let (_, error) = status_and_body(whole).await;
    assert_eq!(violations(&error)[0].0, "x'");
    for body in ["{", "{} {}", "\u{1}", "{\"id\":}"] {
        let (status, error) = status_and_body(create(body)).await;
        assert_eq!((status, reason(&error)), (400, "INVALID_FIELD"), "{body}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("is not valid JSON"), "{body}: {error}");
    }
    // An error is not as large as the request that caused it.
    let huge = "a".repeat(500_000);
    for body in [
        json!({ &*huge: 1 }),
        json!({"texts": {&*huge: {"titel": 1}}}),
        json!({"texts": {"en": {&*huge: 1}}}),
        json!({"active": huge}),
        json!({"slug": huge}),
        json!({"customProperties": {&*huge: {"deep": 1}}}),
    ] {
        let (status, error) = status_and_body(create(&body.to_string())).await;
        assert_eq!(status, 400);
        assert!(error.to_string().len() < 5_000);
    }
    let target = format!("/v1/collections?{}=1", &huge[..5_000]);
    let (_, error) = status_and_body(send(&server, "GET", &target)).await;
    assert!(error.to_string().len() < 5_000);
    for (query, told) in [
        ("nothing=1", "unknown parameter; known here are tenantId, "),
        ("readMask=a__b", "names in lowerCamelCase"),
        ("filter.nothing=x", "; known here are displayNameContains, "),
        ("filter.kind=x", "; the values are COLLECTION_KIND_MANUAL, "),
        ("readMask=nothing", "must be one of internal_name, "),
    ] {
        let target = format!("/v1/collections?{query}");
        let (_, error) = status_and_body(send(&server, "GET", &target)).await;
        assert!(violations(&error)[0].1.contains(told), "{query}: {error}");
    }
    let target = "/v1/collections/a?consistency.within=30d";
    let (_, error) = status_and_body(send(&server, "GET", target)).await;
    let told = violations(&error)[0].1;
    assert!(told.starts_with("must be a duration in seconds"), "{error}");
    for (query, field) in [
        ("nothing=1", "nothing"),
        ("pageSize=many", "pageSize"),
        ("pageSize=1&page_size=2", "page_size"),
        ("pageSize=1&pageSize=1", "pageSize"),
        ("filter=x", "filter"),
        ("filter.nothing=x", "filter.nothing"),
        ("filter[x]=y", "filter[x]"),
        ("omitTotalSize=yes", "omitTotalSize"),
        ("readMask=internal__name", "readMask"),
    ] {
        let target = format!("/v1/collections?{query}");
        let (status, error) = status_and_body(send(&server, "GET", &target)).await;
        assert_eq!(status, 400, "{query}");
        assert_eq!(violations(&error)[0].0, field, "{query}");
    }
    let both = status_and_body(send(&server, "GET", "/v1/collections/a?slug=b")).await;
    assert_eq!((both.0, violations(&both.1)[0].0), (400, "slug"));
    let target = "/v1/collections/a?updateMask=slug";
    let other = send(&server, "PATCH", target).json(&json!({"id": "b"}));
    assert_eq!(
        violations(&status_and_body(other).await.1)[0].0,
        "collection.id"
    );
}

#[rstest]
#[tokio::test]
async fn both_spellings_of_a_field_are_accepted(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let body = json!({"id": "a", "internal_name": "N", "texts": {"en": {"display_name": "A"}}});
    let (status, made) =
        status_and_body(send(&server, "POST", "/v1/collections").json(&body)).await;
    assert_eq!(
        (status, &made["collection"]["internalName"]),
        (200, &json!("N"))
    );
    for target in [
        "/v1/collections?filter.display_name_contains=a&page_size=1&read_mask=id,internal_name",
        "/v1/collections?filter.displayNameContains=a&pageSize=1&readMask=id,internalName",
    ] {
        let (_, page) = status_and_body(send(&server, "GET", target)).await;
        let collection = json!({"id": "a", "internalName": "N"});
        assert_eq!(
            page,
            json!({"collections": [collection], "totalSize": 1}),
            "{target}"
        );
    }
    let target = "/v1/collections/a?update_mask=internal_name&text_masks[en]=seo_title";
    let change = json!({"internalName": "M", "texts": {"en": {"seoTitle": "T"}}});
    let (_, changed) = status_and_body(send(&server, "PATCH", target).json(&change)).await;
    let changed = &changed["collection"];
    assert_eq!(changed["internalName"], "M");
    assert_eq!(
        changed["texts"]["en"],
        json!({"displayName": "A", "seoTitle": "T"})
    );
}

#[rstest]
#[tokio::test]
async fn unknown_routes_and_methods_are_reported(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    for (method, target, allowed) in [
        ("PUT", "/v1/collections/a", "DELETE, GET, PATCH"),
        ("DELETE", "/v1/collections", "GET, POST"),
        ("GET", "/v1/collections/a:mutateChildren", "POST"),
        ("PATCH", "/v1/collections:batchGet", "GET, POST"),
    ] {
        let response = send(&server, method, target).send().await.unwrap();
        let (status, headers, error) = whole(response).await;
        assert_eq!(status, 405, "{method} {target}");
        assert_eq!(headers["allow"], allowed, "{method} {target}");
        assert_eq!(error["code"], 12, "{error}");
    }
    for target in [
        "/v1",
        "/v1/",
        "/v1/nothing",
        "/v1/collections/",
        "/v1/collections/a/b/c/d",
    ] {
        let (status, error) = status_and_body(send(&server, "GET", target)).await;
        assert_eq!((status, &error["code"]), (404, &json!(12)), "{target}");
    }
    // The path belongs to no dialect, so the error has no dialect's form.
    let (status, error) = status_and_body(send(&server, "GET", "/v1x/collections")).await;
    assert_eq!((status, &error["code"]), (404, &Value::Null));
}

#[rstest]
#[tokio::test]
async fn etags_are_supported_in_headers(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let made = whole(create(&server, "a").send().await.unwrap()).await;
    let etag = made.2["collection"]["etag"].as_str().unwrap();
    assert_eq!(made.1["etag"], format!("\"{etag}\""));
    let get = || send(&server, "GET", "/v1/collections/a");
    let (_, headers, read) = whole(get().send().await.unwrap()).await;
    let tag = headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(tag, format!("\"{}\"", read["readEtag"].as_str().unwrap()));
    for same in [tag.clone(), format!("W/{tag}")] {
        let response = get().header("if-none-match", same).send().await.unwrap();
        let (status, headers, body) = whole(response).await;
        assert_eq!((status, body), (304, Value::Null));
        assert_eq!(headers["etag"], tag);
        assert_eq!(headers["vary"], "accept-encoding");
    }
    // A value that is not a read etag never matches.
    for other in ["*", "\"x\"", made.1["etag"].to_str().unwrap()] {
        let (status, _) = status_and_body(get().header("if-none-match", other)).await;
        assert_eq!(status, 200, "{other}");
    }
    let head = send(&server, "HEAD", "/v1/collections/a")
        .send()
        .await
        .unwrap();
    assert_eq!(
        (head.status().as_u16(), &head.headers()["etag"]),
        (200, &headers["etag"])
    );
    assert_eq!(head.text().await.unwrap(), "");

    let mut names = 0..;
    let mut update = |tag: &str| {
        let target = "/v1/collections/a?updateMask=internalName";
        // An update without changes would not create a version.
        let body = json!({"internalName": names.next().unwrap().to_string()});
        send(&server, "PATCH", target)
            .json(&body)
            .header("if-match", tag)
    };
    // With the etag of a read, with that of a write, and with `*`.
    let (status, headers, _) = whole(update(&tag).send().await.unwrap()).await;
    assert_eq!(status, 200);
    let written = headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(status_and_body(update(&written)).await.0, 200);
    assert_eq!(status_and_body(update("*")).await.0, 200);
    let (status, error) = status_and_body(update(&written)).await;
    assert_eq!((status, reason(&error)), (412, "ETAG_MISMATCH"));
    // The same etag in a field causes a conflict (409): the request has no HTTP precondition.
    let target = "/v1/collections/a?updateMask=internalName";
    let body = json!({"internalName": "x", "etag": etag});
    let (status, error) = status_and_body(send(&server, "PATCH", target).json(&body)).await;
    assert_eq!((status, reason(&error)), (409, "ETAG_MISMATCH"));
    // It may also be a read etag, of which the version counts.
    let (_, headers, read) = whole(get().send().await.unwrap()).await;
    let current = headers["etag"].to_str().unwrap();
    let body = json!({"internalName": "y", "etag": read["collection"]["etag"]});
    let in_both = send(&server, "PATCH", target)
        .json(&body)
        .header("if-match", current);
    assert_eq!(status_and_body(in_both).await.0, 200);
    let (_, _, read) = whole(get().send().await.unwrap()).await;
    let body = json!({"internalName": "z", "etag": read["readEtag"]});
    let in_field = send(&server, "PATCH", target).json(&body);
    assert_eq!(status_and_body(in_field).await.0, 200);
    let (status, error) = status_and_body(update("\"not ours\"")).await;
    assert_eq!((status, reason(&error)), (412, "ETAG_MISMATCH"));
    for wrong in ["x", "W/\"1\"", "\"1\", \"2\""] {
        let (status, error) = status_and_body(update(wrong)).await;
        assert_eq!(status, 400, "{wrong}");
        let problem = violations(&error)[0].1;
        assert!(
            problem.starts_with(&format!("{wrong:?} must be")),
            "{problem}"
        );
    }
    let mutate = append(&server, "a", &["x"]).header("if-match", &written);
    assert_eq!(status_and_body(mutate).await.0, 412);
    let delete = send(&server, "DELETE", "/v1/collections/a");
    assert_eq!(
        status_and_body(delete.header("if-match", &written)).await.0,
        412
    );
    // A body that the method does not have is rejected, too: it could contain an etag.
    let delete = || send(&server, "DELETE", "/v1/collections/a");
    let (status, error) = status_and_body(delete().json(&json!({"etag": "1"}))).await;
    assert_eq!((status, violations(&error)[0].0), (400, "body"));
    let (status, _) = status_and_body(delete().json(&json!({})).header("if-match", "\"1\"")).await;
    assert_eq!(status, 412);
    // A precondition that the method does not support is rejected, and not ignored.
    let unsupported = create(&server, "b").header("if-match", &written);
    assert_eq!(
        violations(&status_and_body(unsupported).await.1)[0].0,
        "if-match"
    );
    let unsupported = create(&server, "b").header("if-none-match", "*");
    assert_eq!(
        violations(&status_and_body(unsupported).await.1)[0].0,
        "if-none-match"
    );
}

#[rstest]
#[tokio::test]
async fn a_retry_with_the_same_idempotency_key_gets_the_first_response(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let create = |key: &str| create(&server, "a").header("idempotency-key", key);
    let (status, headers, first) = whole(create("k").send().await.unwrap()).await;
    assert_eq!((status, headers.get("idempotency-replayed")), (200, None));
    let (status, headers, again) = whole(create("\"k\"").send().await.unwrap()).await;
    assert_eq!((status, &again), (200, &first));
    assert_eq!(headers["idempotency-replayed"], "stored");
    let other = create("k").query(&[("orphaned", "true")]);
    let (status, error) = status_and_body(other).await;
    assert_eq!((status, reason(&error)), (400, "REQUEST_ID_REUSED"));
    for empty in ["", "\"\""] {
        assert_eq!(
            violations(&status_and_body(create(empty)).await.1)[0].0,
            "Idempotency-Key"
        );
    }
    // If the key is given in two places, both must be the same.
    let two = create("k").query(&[("requestId", "l")]);
    assert_eq!(violations(&status_and_body(two).await.1)[0].0, "request_id");
    // A read ignores the idempotency key.
    let read = send(&server, "GET", "/v1/collections/a").header("idempotency-key", "k");
    assert_eq!(status_and_body(read).await.0, 200);
}

#[rstest]
#[tokio::test]
async fn the_tenant_is_a_header_or_a_parameter(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let made = create(&server, "a").header("x-endcap-tenant", "one");
    assert_eq!(
        status_and_body(made).await.1["collection"]["tenantId"],
        "one"
    );
    let get = |query: &str| send(&server, "GET", &format!("/v1/collections/a?{query}"));
    assert_eq!(status_and_body(get("tenantId=one")).await.0, 200);
    assert_eq!(
        status_and_body(get("tenant_id=one").header("x-endcap-tenant", "one"))
            .await
            .0,
        200
    );
    assert_eq!(status_and_body(get("")).await.0, 404);
    let two = get("tenantId=one").header("x-endcap-tenant", "two");
    assert_eq!(violations(&status_and_body(two).await.1)[0].0, "tenant_id");
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn authentication_is_required_and_scopes_are_enforced(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let flags = Flags {
        auth: Some("keys".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let (status, headers, error) = whole(create(&server, "a").send().await.unwrap()).await;
    assert_eq!((status, reason(&error)), (401, "UNAUTHENTICATED"));
    assert!(
        headers["www-authenticate"]
            .to_str()
            .unwrap()
            .starts_with("Bearer")
    );
    assert_eq!(error["code"], 16);
    let id = headers["x-request-id"].to_str().unwrap();
    assert!(error.to_string().contains(id), "{error}");
    let reader = new_key(&server, "shop", &["collections.read"], &[]);
    let (status, error) = status_and_body(create(&server, "a").bearer_auth(&reader)).await;
    assert_eq!((status, reason(&error)), (403, "SCOPE_MISSING"));
    // The scope to read suffices, even for a read with a body.
    let batch = send(&server, "POST", "/v1/collections:batchGet").json(&json!({"ids": ["a"]}));
    let (status, batch) = status_and_body(batch.bearer_auth(&reader)).await;
    assert_eq!((status, batch), (200, json!({"missingIds": ["a"]})));
    // An unauthenticated request does not learn which paths exist.
    assert_eq!(
        status_and_body(send(&server, "GET", "/v1/nothing")).await.0,
        401
    );
}

#[rstest]
#[tokio::test]
async fn bodies_are_limited(#[values(Sqlite, Postgres)] engine: Engine) {
    let flags = Flags {
        max_body_size: Some("10kB".into()),
        max_message_items: Some("100".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let before = server.refused("max_body_size").await;
    let (status, error) = status_and_body(append(&server, "a", &[&"x".repeat(10_000)])).await;
    assert_eq!((status, reason(&error)), (413, "INVALID_FIELD"));
    assert!(server.refused("max_body_size").await > before);
    let before = server.refused("max_message_items").await;
    let (status, error) = status_and_body(append(&server, "a", &["x"; 101])).await;
    assert_eq!((status, reason(&error)), (413, "INVALID_FIELD"));
    assert!(error.to_string().contains("max_message_items"), "{error}");
    assert!(server.refused("max_message_items").await > before);
    let form = send(&server, "POST", "/v1/collections").body("a=b");
    let form = form.header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(status_and_body(form).await.0, 415);
    // As a web page sends it, and as a script does.
    let untyped = |id: &str| {
        let body = format!(r#"{{"id": "{id}", "texts": {{"en": {{"displayName": "A"}}}}}}"#);
        send(&server, "POST", "/v1/collections").body(body)
    };
    let page = untyped("page").header("origin", "http://example.com");
    assert_eq!(status_and_body(page).await.0, 415);
    assert_eq!(status_and_body(untyped("script")).await.0, 200);
    let packed = create(&server, "a").header("content-encoding", "br");
    assert_eq!(status_and_body(packed).await.0, 415);
}

#[rstest]
#[tokio::test]
async fn a_caller_over_its_rate_limit_gets_retry_after(#[values(Sqlite, Postgres)] engine: Engine) {
    let flags = Flags {
        rate_per_caller: Some("1/1h".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    assert_eq!(status_and_body(create(&server, "a")).await.0, 200);
    let refused = create(&server, "b").send().await.unwrap();
    let (status, headers, error) = whole(refused).await;
    assert_eq!((status, reason(&error)), (429, "RATE_LIMITED"));
    assert_eq!(error["code"], 8);
    let seconds: u64 = headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=3_600).contains(&seconds), "{seconds}");
}

/// In the metrics, a request counts as one HTTP request, with the template of its route, and not as
/// a gRPC call. It has one line in the log. Run as a program, because metrics are those of the
/// whole process.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_counted_once() {
    let folder = tempfile::tempdir().unwrap();
    let running = program::start(program::endcap(folder.path(), None));
    let url = format!("{}/v1/products/p", running.http);
    let client = http_client().build().unwrap();
    assert_eq!(client.get(url).send().await.unwrap().status(), 404);
    // Metrics are recorded before the line is logged.
    let line = running.logs("request completed");
    let metrics = client.get(format!("{}/metrics", running.admin));
    let metrics = metrics.send().await.unwrap().text().await.unwrap();
    let counted: Vec<_> = metrics
        .lines()
        .filter(|line| line.contains("_server_") && line.contains("duration_seconds_count"))
        .collect();
    assert_eq!(counted.len(), 1, "{counted:?}");
    assert!(
        counted[0].contains("http_route=\"/v1/products/{productId}\""),
        "{counted:?}"
    );
    assert!(counted[0].ends_with(" 1"), "{counted:?}");
    assert_eq!(line["protocol"], "Endcap");
    assert_eq!(line["route"], "/v1/products/{productId}");
    let lines = running.log();
    let lines = lines
        .iter()
        .filter(|line| line["message"] == "request completed");
    assert_eq!(lines.count(), 1);
}

#[rstest]
#[tokio::test]
async fn a_cors_preflight_allows_updates(#[values(Sqlite, Postgres)] engine: Engine) {
    let flags = Flags {
        cors_origins: Some("https://shop.example".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let preflight = send(&server, "OPTIONS", "/v1/collections/a")
        .header("origin", "https://shop.example")
        .header("access-control-request-method", "PATCH")
        .header("access-control-request-headers", "if-match,x-endcap-tenant");
    let response = preflight.send().await.unwrap();
    let headers = response.headers();
    let methods = headers["access-control-allow-methods"].to_str().unwrap();
    assert!(
        methods.split(',').any(|method| method == "PATCH"),
        "{methods}"
    );
    assert_eq!(
        headers["access-control-allow-headers"],
        "if-match,x-endcap-tenant"
    );
}

#[rstest]
#[tokio::test]
async fn the_openapi_description_can_be_disabled(#[values(Sqlite, Postgres)] engine: Engine) {
    let flags = Flags {
        reflection: Some("false".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    assert_eq!(
        status_and_body(send(&server, "GET", "/openapi/endcap.json"))
            .await
            .0,
        404
    );
    // The API itself is still served.
    assert_eq!(status_and_body(create(&server, "a")).await.0, 200);
}
