//! The HighLevel dialect: the examples of its documentation, then every form that the official SDKs
//! send, and every way in which a request is rejected.

use endcap::store::Engine::{self, Postgres, Sqlite};
use endcap::{config::Flags, grpc::pb};
use reqwest::{Method, RequestBuilder, Response};
use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::{Server, create, products};

const LOCATION: &str = "6578278e879ad2646715ba9c";
const COLLECTION: &str = "66057f9d28536eae584ec047";

/// The trace id that the requests send.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// A request below `/products`.
pub(crate) fn request(server: &Server, method: Method, path: &str) -> RequestBuilder {
    let url = format!("{}/products{path}", server.http);
    known(server.client.request(method, url)).header("version", "2021-07-28")
}

/// Adds the ids by which the request can be identified.
fn known(request: RequestBuilder) -> RequestBuilder {
    request
        .header("x-request-id", "asked")
        .header("traceparent", format!("00-{TRACE}-b7ad6b7169203331-01"))
}

/// The whole body of a failure, with the ids that the request sent.
pub(crate) fn failure(status: u16, message: &Value, error: &str) -> Value {
    json!({
        "statusCode": status, "message": message, "error": error,
        "traceId": TRACE, "requestId": "asked",
    })
}

fn send(server: &Server, method: Method, path: &str) -> RequestBuilder {
    request(server, method, &format!("/collections{path}"))
}

fn get(server: &Server, path: &str) -> RequestBuilder {
    send(server, Method::GET, path)
}

fn post(server: &Server, body: &Value) -> RequestBuilder {
    send(server, Method::POST, "").json(body)
}

fn put(server: &Server, id: &str, body: &Value) -> RequestBuilder {
    send(server, Method::PUT, &format!("/{id}")).json(&body)
}

fn query() -> String {
    format!("?altId={LOCATION}&altType=location")
}

pub(crate) async fn status_and_body(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap())
}

/// The body of a successful response.
pub(crate) async fn done(request: RequestBuilder) -> Value {
    let (status, body) = status_and_body(request).await;
    assert!(status < 300, "{status} {body}");
    body
}

/// Asserts the whole body of a failure.
async fn refused(request: RequestBuilder, status: u16, message: Value, error: &str) {
    let expected = failure(status, &message, error);
    assert_eq!(status_and_body(request).await, (status, expected));
}

async fn unprocessable(request: RequestBuilder, messages: Value) {
    refused(request, 422, messages, "Unprocessable Entity").await;
}

/// The minimal body of a create request.
fn least(name: &str, slug: &str) -> Value {
    json!({"altId": LOCATION, "altType": "location", "name": name, "slug": slug})
}

pub(crate) fn with(mut body: Value, more: Value) -> Value {
    let more = more.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(more);
    body
}

/// The body of an update with these changes.
fn changing(more: Value) -> Value {
    with(json!({"altId": LOCATION, "altType": "location"}), more)
}

fn smart(name: &str, slug: &str) -> Value {
    let condition = json!({"field": "price", "operator": "less_than", "value": 20});
    let rules = json!({"logic": "OR", "conditions": [condition]});
    with(least(name, slug), json!({"type": "smart", "rules": rules}))
}

async fn read(server: &Server, id: &str) -> Value {
    done(get(server, &format!("/{id}?altId={LOCATION}"))).await["data"].clone()
}

/// The products, which HighLevel's API does not show, through gRPC.
async fn members(server: &Server, id: &str) -> Vec<String> {
    let mut client = server.grpc().await;
    let request = pb::ListChildrenRequest {
        tenant_id: LOCATION.into(),
        collection_id: id.into(),
        child_type: pb::ChildType::Product.into(),
        ..pb::ListChildrenRequest::default()
    };
    let page = client.list_children(request).await.unwrap().into_inner();
    page.children.into_iter().map(|child| child.id).collect()
}

/// The documentation's example of a create request, without its `"<array>"` placeholder.
fn documented_create() -> Value {
    json!({
        "altId": LOCATION,
        "altType": "LOCATION",
        "name": "Best Sellers",
        "slug": "best-sellers",
        "collectionId": COLLECTION,
        "image": "http://example.com/watermark.png",
        "type": "manual",
        "rules": {"logic": "AND", "conditions": []},
        "productIds": ["655b33a82209e60b6adb87a5", "655b33a82209e60b6adb87a6"],
        "seo": {
            "title": "Best Sellers",
            "description": "Collections where all the best products are available"
        },
        "ruleHash": "abc123def456",
        "ruleVersion": 1,
        "stats": {}
    })
}

/// The documentation's example of an update: the same without the id.
fn documented_update() -> Value {
    let mut body = documented_create();
    body.as_object_mut().unwrap().remove("collectionId");
    body
}

/// Removes what differs from run to run, after checking its form.
fn settle(data: &mut Value) {
    for field in ["createdAt", "updatedAt"] {
        let time = data[field].as_str().unwrap();
        assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
        data[field] = "TIME".into();
    }
    let hash = data["ruleHash"].as_str().unwrap();
    assert!(
        hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()),
        "{hash}"
    );
    data["ruleHash"] = "HASH".into();
}

#[rstest]
#[tokio::test]
async fn the_response_to_the_documented_create_matches_field_by_field(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let response = post(&server, &documented_create()).send().await.unwrap();
    assert_eq!(response.status(), 201);
    assert!(response.headers().contains_key("etag"));
    let mut body: Value = response.json().await.unwrap();
    settle(&mut body["data"]);
    // As text, to compare the order of the fields, too.
    let expected = json!({
        "data": {
            "_id": COLLECTION,
            "altId": LOCATION,
            "name": "Best Sellers",
            "slug": "best-sellers",
            "type": "manual",
            "createdAt": "TIME",
            "image": "http://example.com/watermark.png",
            "seo": {
                "title": "Best Sellers",
                "description": "Collections where all the best products are available"
            },
            "rules": {},
            "ruleVersion": 1,
            "ruleHash": "HASH",
            "stats": {"productCount": 2},
            "altType": "location",
            "updatedAt": "TIME"
        }
    });
    assert_eq!(body.to_string(), expected.to_string());
    let expected = ["655b33a82209e60b6adb87a5", "655b33a82209e60b6adb87a6"];
    assert_eq!(members(&server, COLLECTION).await, expected);
}

#[rstest]
#[tokio::test]
async fn the_response_to_the_documented_update_matches_exactly(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let before = with(least("Old", "old"), json!({"collectionId": COLLECTION}));
    done(post(&server, &before)).await;
    let update = put(&server, COLLECTION, &documented_update());
    let response = update.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.headers().contains_key("etag"));
    let text = response.text().await.unwrap();
    assert_eq!(text, r#"{"status":true,"message":"Successfully created"}"#);
    let after = read(&server, COLLECTION).await;
    assert_eq!(after["name"], "Best Sellers");
    assert_eq!(after["slug"], "best-sellers");
    assert_eq!(after["stats"]["productCount"], 2);
}

#[rstest]
#[tokio::test]
async fn get_list_and_delete_respond_as_documented(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let made = done(post(&server, &least("A", "a"))).await["data"].clone();
    let id = made["_id"].as_str().unwrap();
    assert!(id.len() == 24 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_eq!(made["image"], "");
    assert_eq!(made["seo"], json!({}));

    let found = done(get(&server, &format!("/{id}?altId={LOCATION}"))).await;
    assert_eq!(found, json!({"data": made, "status": true}));
    for path in [query(), format!("/{}", query())] {
        let list = done(get(&server, &path)).await;
        assert_eq!(list, json!({"data": [made], "total": 1}));
    }
    let path = format!("/{id}/{}", query());
    let deleted = done(send(&server, Method::DELETE, &path)).await;
    assert_eq!(
        deleted,
        json!({"status": true, "message": "Successfully deleted"})
    );

    let missing = json!(format!("collection {id:?} does not exist"));
    let again = send(&server, Method::DELETE, &path);
    refused(again, 404, missing.clone(), "Not Found").await;
    let again = get(&server, &format!("/{id}?altId={LOCATION}"));
    refused(again, 404, missing.clone(), "Not Found").await;
    let again = put(&server, id, &changing(json!({})));
    refused(again, 404, missing, "Not Found").await;
    let list = done(get(&server, &query())).await;
    assert_eq!(list, json!({"data": [], "total": 0}));
}

#[rstest]
#[tokio::test]
async fn lists_are_paged_and_filtered_newest_first(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let mut ids = Vec::new();
    for at in 0..12 {
        let body = least(&format!("Shoes {at:02}"), &format!("shoes-{at}"));
        let body = done(send(&server, Method::POST, "/").json(&body)).await;
        ids.push(body["data"]["_id"].as_str().unwrap().to_owned());
    }
    let names = async |more: &str| {
        let list = done(get(&server, &format!("{}{more}", query()))).await;
        let data = list["data"].as_array().unwrap().iter();
        let names: Vec<_> = data
            .map(|c| c["name"].as_str().unwrap().to_owned())
            .collect();
        (names, list["total"].as_u64().unwrap())
    };
    let (first, total) = names("").await;
    assert_eq!((first.len(), total), (10, 12));
    assert_eq!(first[0], "Shoes 11");
    let rest = vec!["Shoes 01".to_owned(), "Shoes 00".to_owned()];
    assert_eq!(names("&limit=20.0&offset=10.0").await, (rest.clone(), 12));
    assert_eq!(names("&limit=2&offset=10").await, (rest.clone(), 12));
    assert_eq!(names("&offset=9007199254740991").await, (vec![], 12));
    assert_eq!(
        names("&name=sHOES%2007").await,
        (vec!["Shoes 07".into()], 1)
    );
    assert_eq!(names("&name=%25").await, (vec![], 0));
    let (a, b) = (&ids[0], &ids[1]);
    for form in [
        format!("&collectionIds={a},{b}"),
        format!("&collectionIds={a}%2C{b}"),
        format!("&collectionIds={a}&collectionIds={b}&collectionIds=none"),
        format!("&collectionIds%5B%5D={a}&collectionIds[]={b}"),
    ] {
        assert_eq!(names(&form).await, (rest.clone(), 2), "{form}");
    }
    assert_eq!(names("&collectionIds=rootCategory").await, (vec![], 0));
}

#[rstest]
#[tokio::test]
async fn all_violations_of_a_request_are_reported_at_once(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    unprocessable(
        post(&server, &json!({})),
        json!([
            "altId must be a string",
            "altId should not be empty",
            "altType must be one of the following values: location",
            "name must be a string",
            "name should not be empty",
            "slug must be a string",
            "slug should not be empty",
        ]),
    )
    .await;
    let odd = json!({
        "name": "n".repeat(256), "slug": "a b", "image": "watermark.png",
        "productIds": [1, 2], "collectionId": "x", "type": "clever",
        "seo": {"title": 1},
    });
    unprocessable(
        post(&server, &with(least("A", "a"), odd)),
        json!([
            "name must be shorter than or equal to 255 characters",
            "slug must match /^[a-z0-9]+(?:-[a-z0-9]+)*$/ regular expression",
            "image must be a URL address",
            "seo.title must be a string",
            "collectionId must be a mongodb id",
            "type must be one of the following values: manual, smart",
            "each value in productIds must be a string",
        ]),
    )
    .await;
    unprocessable(
        get(
            &server,
            "?altType=company&limit=101&offset=-1&collectionIds=%20a%20b",
        ),
        json!([
            "altId must be a string",
            "altId should not be empty",
            "altType must be one of the following values: location",
            "limit must not be greater than 100",
            "offset must not be less than 0",
            "each value in collectionIds must be a valid id",
        ]),
    )
    .await;
    let list = done(get(&server, &query())).await;
    assert_eq!(list["total"], 0);
}

#[rstest]
#[tokio::test]
async fn an_update_changes_only_the_given_fields(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    done(post(&server, &documented_create())).await;
    let before = read(&server, COLLECTION).await;
    done(put(&server, COLLECTION, &changing(json!({})))).await;
    assert_eq!(read(&server, COLLECTION).await, before);

    let seo = json!({"seo": {"title": "New"}, "type": "manual"});
    done(put(&server, COLLECTION, &changing(seo))).await;
    let mut after = read(&server, COLLECTION).await;
    assert_eq!(after["seo"]["title"], "New");
    assert_eq!(after["seo"]["description"], before["seo"]["description"]);
    for field in ["seo", "updatedAt"] {
        after[field] = before[field].clone();
    }
    assert_eq!(after, before);

    let replace = json!({"productIds": ["z", "a", "z", "655b33a82209e60b6adb87a5"]});
    done(put(&server, COLLECTION, &changing(replace))).await;
    let expected = ["z", "a", "655b33a82209e60b6adb87a5"];
    assert_eq!(members(&server, COLLECTION).await, expected);

    let clear = json!({"image": null, "seo": null, "productIds": [], "rules": null});
    done(put(&server, COLLECTION, &changing(clear))).await;
    let cleared = read(&server, COLLECTION).await;
    assert_eq!(
        (&cleared["image"], &cleared["seo"]),
        (&json!(""), &json!({}))
    );
    assert_eq!(cleared["stats"], json!({"productCount": 0}));

    let null = put(&server, COLLECTION, &changing(json!({"name": null})));
    let messages = json!(["name must be a string", "name should not be empty"]);
    unprocessable(null, messages).await;
    assert_eq!(read(&server, COLLECTION).await, cleared);
}

#[rstest]
#[tokio::test]
async fn only_smart_collections_accept_rules_and_only_manual_ones_products(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let made = done(post(&server, &smart("Cheap", "cheap"))).await["data"].clone();
    let id = made["_id"].as_str().unwrap();
    let condition = json!({"field": "price", "operator": "less_than", "value": "20"});
    assert_eq!(made["type"], "smart");
    assert_eq!(
        made["rules"],
        json!({"logic": "OR", "conditions": [condition]})
    );
    assert_eq!(made["ruleVersion"], 1);

    let other = json!({"rules": {"logic": "AND", "conditions": [condition]}});
    done(put(&server, id, &changing(other.clone()))).await;
    let after = read(&server, id).await;
    assert_eq!(after["ruleVersion"], 2);
    assert_ne!(after["ruleHash"], made["ruleHash"]);

    let to_manual = put(&server, id, &changing(json!({"type": "manual"})));
    unprocessable(to_manual, json!(["type cannot be changed"])).await;
    let products = put(&server, id, &changing(json!({"productIds": ["p"]})));
    let why = "productIds is not allowed: the products of a smart collection follow from \
               its rules";
    unprocessable(products, json!([why])).await;
    let products = post(
        &server,
        &with(smart("B", "b"), json!({"productIds": ["p"]})),
    );
    unprocessable(products, json!([why])).await;
    let none = put(&server, id, &changing(json!({"rules": {}})));
    unprocessable(none, json!(["rules should not be empty"])).await;
    assert_eq!(read(&server, id).await, after);

    let manual = done(post(&server, &least("M", "m"))).await;
    let manual = manual["data"]["_id"].as_str().unwrap();
    let why = json!(["rules is not allowed: a manual collection has no rules"]);
    unprocessable(put(&server, manual, &changing(other.clone())), why.clone()).await;
    unprocessable(post(&server, &with(least("N", "n"), other)), why).await;
    let to_smart = put(&server, manual, &changing(json!({"type": "smart"})));
    unprocessable(to_smart, json!(["type cannot be changed"])).await;
}

#[rstest]
#[tokio::test]
async fn invalid_conditions_are_rejected(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let rules = json!({"logic": "XOR", "conditions": [
        "<array>",
        {"field": "odd", "operator": "is", "value": null},
    ]});
    let odd = with(least("A", "a"), json!({"type": "smart", "rules": rules}));
    let operators = "equals, not_equals, greater_than, less_than, contains, not_contains, \
                     starts_with, ends_with, in, not_in, greater_or_equal, less_or_equal, \
                     between, is_set, is_not_set, older_than, newer_than";
    let fields = "title, variant_title, price, inventory, slug, type, vendor, tag, status, \
                  available, price_currency, compare_at_price, created, updated, product_id, \
                  collection, attributes.<path>";
    let at = "rules.conditions";
    unprocessable(
        post(&server, &odd),
        json!([
            "rules.logic must be one of the following values: AND, OR, NONE",
            format!("{at}.0 must be an object"),
            format!("{at}.1.field must be one of the following values: {fields}"),
            format!("{at}.1.operator must be one of the following values: {operators}"),
            format!("{at}.1.value must be a string, a number or a boolean"),
        ]),
    )
    .await;
    let rules = json!({"conditions": [
        {"field": "price", "operator": "greater_than", "value": 100},
        {"field": "price", "operator": "less_than", "value": 50},
    ]});
    let never = with(least("A", "a"), json!({"type": "smart", "rules": rules}));
    let why = "rules.conditions is not allowed: its conditions contradict each other, so \
               nothing can match";
    unprocessable(post(&server, &never), json!([why])).await;
}

#[rstest]
#[tokio::test]
async fn slugs_and_ids_are_unique_and_a_rejected_request_changes_nothing(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    done(post(&server, &documented_create())).await;
    let other = done(post(&server, &least("Other", "other"))).await["data"].clone();
    let id = other["_id"].as_str().unwrap();
    let taken = json!(["slug must be unique"]);
    unprocessable(post(&server, &least("B", "Best-Sellers")), taken.clone()).await;
    let rename = json!({"name": "New", "slug": "best-sellers", "productIds": ["p"]});
    unprocessable(put(&server, id, &changing(rename)), taken).await;
    assert_eq!(read(&server, id).await, other);
    let same_id = with(least("C", "c"), json!({"collectionId": COLLECTION}));
    let taken = json!(["collectionId must be unique"]);
    unprocessable(post(&server, &same_id), taken).await;
    assert_eq!(done(get(&server, &query())).await["total"], 2);
}

#[rstest]
#[tokio::test]
async fn locations_are_isolated_from_each_other(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    done(post(&server, &documented_create())).await;
    let missing = json!(format!("collection {COLLECTION:?} does not exist"));
    let theirs = get(&server, &format!("/{COLLECTION}?altId=other"));
    refused(theirs, 404, missing.clone(), "Not Found").await;
    let theirs = json!({"altId": "other", "altType": "location", "name": "x"});
    let theirs = put(&server, COLLECTION, &theirs);
    refused(theirs, 404, missing.clone(), "Not Found").await;
    let theirs = format!("/{COLLECTION}?altId=other&altType=location");
    let theirs = send(&server, Method::DELETE, &theirs);
    refused(theirs, 404, missing, "Not Found").await;
    let list = done(get(&server, "?altId=other&altType=location")).await;
    assert_eq!(list["total"], 0);
    // The same id and slug are available in another location.
    let mine = with(documented_create(), json!({"altId": "other"}));
    done(post(&server, &mine)).await;
}

#[rstest]
#[tokio::test]
async fn ids_of_other_dialects_are_accepted_and_invalid_ids_are_rejected(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    create(&mut client, "gift/shop").await;
    // As the Python and the Node SDKs encode it.
    for id in ["gift/shop", "gift%2Fshop", "gift/shop/"] {
        let path = format!("/{id}?altId=default");
        assert_eq!(done(get(&server, &path)).await["data"]["_id"], "gift/shop");
    }
    let body = json!({"altId": "default", "altType": "location", "productIds": ["p"]});
    done(put(&server, "gift%2Fshop", &body)).await;
    assert_eq!(products(&mut client, "gift/shop").await, ["p"]);

    for root in ["rootCategory", "nonNavigableCategory"] {
        let missing = json!(format!("collection {root:?} does not exist"));
        let request = get(&server, &format!("/{root}?altId=default"));
        refused(request, 404, missing.clone(), "Not Found").await;
        let request = put(&server, root, &body);
        refused(request, 404, missing, "Not Found").await;
    }
    for odd in ["a%20b", "%C3%A9", "%FF", "a%00", "a,b"] {
        let why = json!(["collectionId must be a valid id"]);
        let request = get(&server, &format!("/{odd}?altId=default"));
        unprocessable(request, why.clone()).await;
        unprocessable(put(&server, odd, &body), why).await;
    }
    let long = get(&server, &format!("/{}?altId=default", "x".repeat(129)));
    let why = "collectionId must be shorter than or equal to 128 characters";
    unprocessable(long, json!([why])).await;
}

#[rstest]
#[tokio::test]
async fn unsupported_methods_are_rejected_in_the_error_format_of_the_dialect(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let patch = send(&server, Method::PATCH, "");
    let message = json!("Cannot PATCH /products/collections");
    refused(patch, 405, message, "Method Not Allowed").await;
    let patch = send(&server, Method::PATCH, "/x").send().await.unwrap();
    assert_eq!(patch.headers()["allow"], "GET,HEAD,PUT,DELETE");
    // A path that only begins with the same characters is not HighLevel's.
    let other = server.client.get(format!("{}/products-x", server.http));
    let neutral = json!({ "message": "route not found: GET /products-x" });
    assert_eq!(status_and_body(known(other)).await, (404, neutral));
}

#[rstest]
#[tokio::test]
async fn malformed_and_oversized_bodies_are_rejected(#[values(Sqlite, Postgres)] engine: Engine) {
    let flags = Flags {
        max_body_size: Some("64KiB".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let raw = |body: String| {
        let post = send(&server, Method::POST, "");
        post.header("content-type", "application/json; charset=utf-8")
            .body(body)
    };
    let cases = [
        ("{".to_owned(), "the request body is not valid JSON"),
        (String::new(), "the request body is not valid JSON"),
        ("[".repeat(500), "recursion limit exceeded"),
        ("{\"a\":".repeat(500), "recursion limit exceeded"),
        ("[]".to_owned(), "the request body must be a JSON object"),
    ];
    for (body, why) in cases {
        let (status, body) = status_and_body(raw(body)).await;
        assert_eq!(status, 400, "{body}");
        assert_eq!(body["error"], "Bad Request");
        assert!(body["message"].as_str().unwrap().contains(why), "{body}");
    }
    let max = 64 * 1024;
    let message = json!(format!("the request body is over the limit of {max} bytes"));
    let big = raw(" ".repeat(max + 1));
    refused(big, 413, message, "Payload Too Large").await;
    let form = send(&server, Method::POST, "").body("a=b");
    let form = form.header("content-type", "application/x-www-form-urlencoded");
    let message = "the content type \"application/x-www-form-urlencoded\" is not supported; \
                   send application/json";
    refused(form, 415, json!(message), "Unsupported Media Type").await;
}

#[rstest]
#[tokio::test]
async fn the_version_header_is_required_by_default(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let with = |version: Option<&str>| {
        let url = format!("{}/products/collections{}", server.http, query());
        let request = known(server.client.get(url));
        version.iter().fold(request, |r, v| r.header("Version", *v))
    };
    for version in ["2021-07-28", "2021-04-15", "2023-02-21", "v3"] {
        done(with(Some(version))).await;
    }
    let absent = json!("version header was not found.");
    refused(with(None), 401, absent, "Unauthorized").await;
    let odd = json!("version header is invalid");
    refused(with(Some("2020-01-01")), 401, odd, "Unauthorized").await;
    let lax = Flags {
        highlevel_require_version: Some("false".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, lax).await;
    let url = format!("{}/products/collections{}", server.http, query());
    done(server.client.get(url)).await;
}

#[rstest]
#[tokio::test]
async fn etags_make_updates_deletes_and_reads_conditional(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let made = post(&server, &documented_create()).send().await.unwrap();
    let first = made.headers()["etag"].to_str().unwrap().to_owned();
    let rename = |name: &str, etag: &str| {
        let body = changing(json!({ "name": name }));
        put(&server, COLLECTION, &body).header("if-match", etag)
    };
    let updated = rename("Two", &first).send().await.unwrap();
    assert_eq!(updated.status(), 200);
    let second = updated.headers()["etag"].to_str().unwrap().to_owned();
    assert_ne!(first, second);
    let [old, current] = [&first, &second].map(|etag| etag.trim_matches('"'));
    for (stale, message) in [
        (
            first.as_str(),
            format!("etag {old} is not current; the current one is {current}"),
        ),
        (
            "\"nonsense\"",
            r#"If-Match: "nonsense" must be an etag of a response, in quotes, or *"#.into(),
        ),
        (
            &format!("W/{second}"),
            format!(r#"If-Match: W/"{current}" must be an etag of a response, in quotes, or *"#),
        ),
    ] {
        let request = rename("Three", stale);
        refused(request, 412, json!(message), "Precondition Failed").await;
    }
    assert_eq!(read(&server, COLLECTION).await["name"], "Two");
    done(rename("Three", "*")).await;

    let path = format!("/{COLLECTION}?altId={LOCATION}");
    let full = get(&server, &path).send().await.unwrap();
    let etag = full.headers()["etag"].clone();
    let same = get(&server, &path).header("if-none-match", &etag);
    let same = same.send().await.unwrap();
    assert_eq!(
        (same.status().as_u16(), &same.headers()["etag"]),
        (304, &etag)
    );
    assert_eq!(same.headers()["vary"], "accept-encoding");
    let old = get(&server, &path).header("if-none-match", &second);
    assert_eq!(old.send().await.unwrap().status(), 200);

    let path = format!("/{COLLECTION}{}", query());
    let delete = send(&server, Method::DELETE, &path).header("if-match", &first);
    assert_eq!(delete.send().await.unwrap().status(), 412);
    let delete = send(&server, Method::DELETE, &path).header("if-match", &etag);
    assert_eq!(delete.send().await.unwrap().status(), 200);
}

/// All that a client sees of a response, except for what is unique to each response.
async fn whole(response: Response) -> (u16, Option<String>, String) {
    let status = response.status().as_u16();
    let etag = response.headers().get("etag");
    let etag = etag.map(|etag| etag.to_str().unwrap().to_owned());
    (status, etag, response.text().await.unwrap())
}

#[rstest]
#[tokio::test]
async fn a_retry_with_the_same_idempotency_key_gets_the_first_response(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let keyed = async |request: RequestBuilder, key: &str| {
        let request = request.header("idempotency-key", key);
        whole(request.send().await.unwrap()).await
    };
    // Without an id in the body: a second create would get another one.
    let body = least("A", "a");
    let first = keyed(post(&server, &body), "k1").await;
    assert_eq!(first.0, 201);
    let data: Value = serde_json::from_str(&first.2).unwrap();
    let id = data["data"]["_id"].as_str().unwrap();
    let rename = changing(json!({"name": "B"}));
    let updated = keyed(put(&server, id, &rename), "k1").await;
    assert_eq!(updated.0, 200);
    done(put(&server, id, &changing(json!({"name": "C"})))).await;

    assert_eq!(keyed(post(&server, &body), "\"k1\"").await, first);
    assert_eq!(keyed(put(&server, id, &rename), "k1").await, updated);
    assert_eq!(read(&server, id).await["name"], "C");
    let other = post(&server, &least("D", "d")).header("idempotency-key", "k1");
    let message = json!(["Idempotency-Key was used for another request"]);
    unprocessable(other, message).await;
    let odd = post(&server, &least("D", "d")).header("idempotency-key", "a b");
    unprocessable(odd, json!(["Idempotency-Key must be a valid id"])).await;

    let path = format!("/{id}{}", query());
    let delete = || send(&server, Method::DELETE, &path);
    let deleted = keyed(delete(), "k1").await;
    assert_eq!(deleted.0, 200);
    assert_eq!(keyed(delete(), "k1").await, deleted);
    assert_eq!(keyed(delete(), "k2").await.0, 404);
}
