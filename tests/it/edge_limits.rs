//! The server's limits: connections, headers, requests in flight, rates. Each of them is counted in
//! the metrics.

use std::time::{Duration, Instant};

use endcap::store::Engine::{self, Postgres, Sqlite};
use endcap::{
    config::Flags,
    grpc::pb::{self, product_service_client::ProductServiceClient},
};
use rstest::rstest;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::{Code, transport::Channel};
use tonic_types::StatusExt as _;

use sea_orm::{ConnectionTrait as _, TransactionTrait as _};

use crate::{
    auth::new_key,
    collections::reason,
    harness::{Server, append, create, mutate, named},
};

fn get(id: &str) -> pb::GetCollectionRequest {
    pb::GetCollectionRequest {
        key: Some(pb::get_collection_request::Key::CollectionId(id.into())),
        ..pb::GetCollectionRequest::default()
    }
}

fn highlevel(server: &Server) -> reqwest::RequestBuilder {
    let url = format!("{}/products/collections/a?altId=default", server.http);
    server.client.get(url).header("version", "2021-07-28")
}

fn oracle(server: &Server) -> reqwest::RequestBuilder {
    let url = format!("{}/ccadmin/v1/collections/rootCategory", server.http);
    server.client.get(url)
}

pub(crate) async fn connect(server: &Server) -> TcpStream {
    let address = server.http.strip_prefix("http://").unwrap();
    TcpStream::connect(address).await.unwrap()
}

/// Waits until the peer closes the connection, and returns what it sent before.
pub(crate) async fn closed(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    let closing = stream.read_to_end(&mut said);
    let closing = tokio::time::timeout(Duration::from_secs(60), closing);
    // An error also ends the connection.
    drop(closing.await.expect("the connection was not closed"));
    String::from_utf8_lossy(&said).into_owned()
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn excess_requests_are_shed_in_each_protocol_before_authentication(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let flags = Flags {
        max_requests_in_flight: Some("1".into()),
        // Requests are shed before they are authenticated.
        auth: Some("keys".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let key = new_key(&server, "default", &["collections.write"], &[]);
    let before = server.refused("max_requests_in_flight").await;
    let held = server.hold_writes().await;
    let url = format!("{}/ccadmin/v1/collections", server.http);
    let write = server.client.post(url).bearer_auth(key);
    let write = write
        .header("x-ccasset-language", "en")
        .json(&serde_json::json!({"properties": {"displayName": "x"}}));
    let under_way = tokio::spawn(until_served(write));
    let mut client = server.grpc().await;
    let deadline = Instant::now() + Duration::from_secs(60);
    // Until the write has arrived, this request is rejected for its missing credential.
    let status = loop {
        let status = client
            .get_collection(get("rootCategory"))
            .await
            .unwrap_err();
        if status.code() != Code::Unauthenticated {
            break status;
        }
        assert!(Instant::now() < deadline, "the write does not come");
    };
    let told = (status.code(), reason(&status));
    assert_eq!(told, (Code::Unavailable, "OVERLOADED".into()));
    assert!(status.get_error_details().retry_info().is_some());
    let other = server.client.get(format!("{}/other", server.http));
    for request in [highlevel(&server), oracle(&server), other] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "1");
        assert!(response.headers().contains_key("x-request-id"));
    }
    // Health checks are never shed.
    let channel = Channel::from_shared(server.grpc.clone()).unwrap();
    let mut health =
        tonic_health::pb::health_client::HealthClient::new(channel.connect().await.unwrap());
    health
        .check(tonic_health::pb::HealthCheckRequest::default())
        .await
        .unwrap();
    assert!(server.refused("max_requests_in_flight").await >= before + 4);

    held.rollback().await.unwrap();
    let done = under_way.await.unwrap();
    assert!(done.status().is_success(), "{done:?}");
}

#[rstest]
#[tokio::test]
async fn a_caller_over_its_rate_limit_is_rejected_in_each_protocol(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let flags = Flags {
        auth: Some("keys".into()),
        rate_per_caller: Some("4/1h".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let before = server.refused("rate_per_caller").await;
    let key = new_key(&server, "default", &["collections.read"], &[]);
    let ask =
        async |request: reqwest::RequestBuilder| request.bearer_auth(&key).send().await.unwrap();
    let response = ask(highlevel(&server)).await;
    let told = |response: &reqwest::Response, name: &str| {
        let value = response.headers().get(format!("x-ratelimit-{name}"));
        value.map(|value| value.to_str().unwrap().parse::<u64>().unwrap())
    };
    assert_eq!(told(&response, "max"), Some(4));
    assert_eq!(told(&response, "remaining"), Some(3));
    assert_eq!(told(&response, "interval-milliseconds"), Some(3_600_000));
    assert_eq!(told(&response, "limit-daily"), Some(96));
    assert_eq!(told(&response, "daily-remaining"), Some(96));
    for _ in 0..3 {
        let response = ask(oracle(&server)).await;
        assert_eq!(told(&response, "max"), None);
        assert_ne!(response.status(), 429);
    }

    let response = ask(highlevel(&server)).await;
    assert_eq!(response.status(), 429);
    assert_eq!(told(&response, "remaining"), Some(0));
    assert_eq!(told(&response, "max"), Some(4));
    let seconds: u64 = response.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((600..=900).contains(&seconds), "{seconds}");
    let response = ask(oracle(&server)).await;
    assert_eq!(response.status(), 429);
    assert!(response.headers().contains_key("retry-after"));
    let mut request = tonic::Request::new(get("rootCategory"));
    let bearer = format!("Bearer {key}").parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    let status = server
        .grpc()
        .await
        .get_collection(request)
        .await
        .unwrap_err();
    let told = (status.code(), reason(&status));
    assert_eq!(told, (Code::ResourceExhausted, "RATE_LIMITED".into()));
    let wait = status.get_error_details().retry_info().unwrap().retry_delay;
    assert!(wait.unwrap() > Duration::from_secs(600));
    assert!(server.refused("rate_per_caller").await >= before + 3);

    // Another caller has its own rate limit.
    let other = new_key(&server, "default", &["collections.read"], &[]);
    let response = highlevel(&server).bearer_auth(other).send().await.unwrap();
    assert_ne!(response.status(), 429);
}

#[rstest]
#[tokio::test]
async fn a_tenant_over_its_rate_limit_does_not_affect_other_tenants(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let flags = Flags {
        rate_per_tenant: Some("3/1h".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let before = server.refused("rate_per_tenant").await;
    let mut client = server.grpc().await;
    create(&mut client, "a").await;
    for _ in 0..2 {
        client.get_collection(get("a")).await.unwrap();
    }
    let status = client.get_collection(get("a")).await.unwrap_err();
    let told = (status.code(), reason(&status));
    assert_eq!(told, (Code::ResourceExhausted, "RATE_LIMITED".into()));
    let response = highlevel(&server).send().await.unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["x-ratelimit-remaining"], "0");
    assert_eq!(oracle(&server).send().await.unwrap().status(), 429);
    assert!(server.refused("rate_per_tenant").await >= before + 3);
    let request = pb::CreateCollectionRequest {
        tenant_id: "other".into(),
        collection: Some(named("a", "a")),
        ..pb::CreateCollectionRequest::default()
    };
    client.create_collection(request).await.unwrap();
}

#[rstest]
#[tokio::test]
async fn a_tenant_cannot_exceed_its_limit_of_collections(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let flags = Flags {
        max_collections: Some("2".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let before = server.refused("max_collections").await;
    let mut client = server.grpc().await;
    create(&mut client, "a").await;
    create(&mut client, "b").await;
    let make = |tenant: &str, id: &str| pb::CreateCollectionRequest {
        tenant_id: tenant.into(),
        collection: Some(named(id, id)),
        ..pb::CreateCollectionRequest::default()
    };
    let status = client.create_collection(make("", "c")).await.unwrap_err();
    let told = (status.code(), reason(&status));
    assert_eq!(
        told,
        (Code::FailedPrecondition, "TOO_MANY_COLLECTIONS".into())
    );
    assert!(status.message().contains("2 collections"), "{status:?}");
    assert!(server.refused("max_collections").await > before);
    client.create_collection(make("other", "c")).await.unwrap();
    let request = pb::DeleteCollectionRequest {
        collection_id: "a".into(),
        ..pb::DeleteCollectionRequest::default()
    };
    client.delete_collection(request).await.unwrap();
    client.create_collection(make("", "c")).await.unwrap();
}

#[rstest]
#[tokio::test]
async fn an_oversized_body_is_rejected_and_counted_in_each_protocol(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let flags = Flags {
        max_body_size: Some("4KiB".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let before = server.refused("max_body_size").await;
    let mut client = server.grpc().await;
    let status = client
        .mutate_children(mutate("a", vec![append(0..2_000)]))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
    for path in ["/products/collections", "/ccadmin/v1/collections"] {
        let request = server.client.post(format!("{}{path}", server.http));
        let response = request
            .header("version", "2021-07-28")
            .header("x-ccasset-language", "en")
            .header("content-type", "application/json")
            .body(" ".repeat(5_000))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 413);
    }
    assert!(server.refused("max_body_size").await >= before + 3);
}

#[tokio::test]
async fn oversized_headers_are_rejected_over_http_1_and_2() {
    let flags = Flags {
        max_header_size: Some("8KiB".into()),
        ..Flags::default()
    };
    let server = Server::start(Engine::Sqlite, flags).await;
    let before = server.refused("max_header_size").await;
    let huge = "x".repeat(20_000);
    let response = oracle(&server)
        .header("x-huge", &huge)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 431);
    assert!(server.refused("max_header_size").await > before);
    let mut request = tonic::Request::new(get("a"));
    request
        .metadata_mut()
        .insert("x-huge", huge.parse().unwrap());
    let mut client = server.grpc().await;
    client.get_collection(request).await.unwrap_err();
    create(&mut client, "a").await;
}

#[tokio::test]
async fn a_slow_head_and_a_slow_body_time_out() {
    let flags = Flags {
        header_timeout: Some("300ms".into()),
        request_timeout: Some("500ms".into()),
        ..Flags::default()
    };
    let server = Server::start(Engine::Sqlite, flags).await;
    let before = server.refused("header_timeout").await;
    let mut slow = connect(&server).await;
    slow.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nx-slow: ")
        .await
        .unwrap();
    closed(&mut slow).await;
    assert!(server.refused("header_timeout").await > before);

    let before = server.refused("request_timeout").await;
    let mut slow = connect(&server).await;
    let head = "POST /ccadmin/v1/collections HTTP/1.1\r\nhost: a\r\n\
                x-ccasset-language: en\r\ncontent-type: application/json\r\n\
                content-length: 100\r\n\r\n{";
    slow.write_all(head.as_bytes()).await.unwrap();
    let said = closed(&mut slow).await;
    assert!(said.starts_with("HTTP/1.1 504 "), "{said}");
    assert!(server.refused("request_timeout").await > before);
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_one_with_a_request_in_flight_is_not() {
    let flags = Flags {
        connection_idle_timeout: Some("300ms".into()),
        ..Flags::default()
    };
    let server = Server::start(Engine::Sqlite, flags).await;
    let before = server.refused("connection_idle_timeout").await;
    // An HTTP/1 connection whose request has completed.
    let mut stream = connect(&server).await;
    let get = b"GET /unserved HTTP/1.1\r\nhost: a\r\n\r\n";
    stream.write_all(get).await.unwrap();
    closed(&mut stream).await;
    // An HTTP/2 connection.
    let mut client = server.grpc().await;
    create(&mut client, "a").await;
    let deadline = Instant::now() + Duration::from_secs(60);
    while server.refused("connection_idle_timeout").await < before + 2 {
        assert!(Instant::now() < deadline, "the connection stays open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let mut client = server.grpc().await;
    let held = server.hold_writes().await;
    let under_way = tokio::spawn(async move {
        let request = mutate("a", vec![append(["x"])]);
        client.mutate_children(request).await
    });
    tokio::time::sleep(Duration::from_millis(900)).await;
    held.rollback().await.unwrap();
    under_way.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_connection_past_its_maximum_age_completes_in_flight_requests() {
    let flags = Flags {
        max_connection_age: Some("500ms".into()),
        ..Flags::default()
    };
    let server = Server::start(Engine::Sqlite, flags).await;
    let before = server.refused("max_connection_age").await;
    let mut client = server.grpc().await;
    create(&mut client, "a").await;
    let held = server.hold_writes().await;
    let mut other = client.clone();
    let under_way = tokio::spawn(async move {
        let request = mutate("a", vec![append(["x"])]);
        other.mutate_children(request).await
    });
    let deadline = Instant::now() + Duration::from_secs(60);
    while server.refused("max_connection_age").await == before {
        assert!(Instant::now() < deadline, "the connection stays open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    held.rollback().await.unwrap();
    under_way.await.unwrap().unwrap();
    // The client reconnects by itself.
    client.get_collection(get("a")).await.unwrap();
}

#[tokio::test]
async fn metrics_name_every_limit_that_is_a_setting() {
    let server = Server::start(Engine::Sqlite, Flags::default()).await;
    let metrics = server.metrics().await;
    for name in endcap::config::SETTINGS.iter().map(|setting| &setting.name) {
        // These limits shorten a page, delay streams or delete stored responses, and reject
        // nothing.
        let refuses = (name.starts_with("max_") || name.starts_with("rate_"))
            && ![
                "max_page_size",
                "max_connection_streams",
                "max_concurrent_searches",
                "max_wal_size",
                "max_group_commits",
                "max_group_commit_size",
                "max_group_commit_time",
                "max_lists_at_once",
                "max_kept_response_size",
                "max_kept_size_per_caller",
                "max_kept_size_per_tenant",
            ]
            .contains(name);
        let line = format!("endcap_refused_total{{limit=\"{name}\"}}");
        assert_eq!(metrics.contains(&line), refuses || is_time(name), "{name}");
    }
}

/// Whether it is a timeout whose expiry is counted.
fn is_time(name: &str) -> bool {
    [
        "header_timeout",
        "request_timeout",
        "connection_idle_timeout",
        "response_idle_timeout",
    ]
    .contains(&name)
}

/// Sends a request until it gets a slot: another request of the same test may have the only one.
async fn until_served(request: reqwest::RequestBuilder) -> reqwest::Response {
    loop {
        let response = request.try_clone().unwrap().send().await.unwrap();
        if response.status() != 503 {
            return response;
        }
    }
}

/// JSON of many values of two bytes each, both at paths that a dialect reads and at others.
#[rstest]
#[tokio::test]
async fn json_with_too_many_items_is_rejected_in_each_dialect(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let flags = Flags {
        max_message_items: Some("1000".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let before = server.refused("max_message_items").await;
    let paths = [
        "ccadmin/v1/collections",
        "ccadmin/v1/products",
        "products/collections",
        "products/",
    ];
    let mut sent = 0;
    for path in paths {
        for field in ["categoryImages", "keywords", "productIds", "zz"] {
            for value in ["{}", "0", "\"\"", "[]"] {
                let values = [value; 1_000].join(",");
                let request = server
                    .client
                    .post(format!("{}/{path}", server.http))
                    .header("content-type", "application/json")
                    .header("version", "2021-07-28")
                    .header("x-ccasset-language", "en")
                    .body(format!("{{\"{field}\":[{values}]}}"));
                let response = request.send().await.unwrap();
                assert_eq!(response.status(), 413, "{path} {field} {value}");
                let text = response.text().await.unwrap();
                assert!(text.contains("the limit is max_message_items"), "{text}");
                sent += 1;
            }
        }
    }
    assert!(server.refused("max_message_items").await >= before + sent);
}

/// From the outside: request id, CORS, requests in flight, authentication, rate limit, routes. (The
/// tests of authentication show that the deadline is between the requests in flight and
/// authentication.)
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn the_middleware_layers_are_in_the_expected_order(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let flags = Flags {
        auth: Some("keys".into()),
        cors_origins: Some("https://shop.example".into()),
        max_requests_in_flight: Some("1".into()),
        rate_per_caller: Some("2/1h".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let key = new_key(&server, "default", &["admin"], &[]);
    let unserved = || {
        let request = server.client.get(format!("{}/unserved", server.http));
        request.header("origin", "https://shop.example")
    };
    // Authentication is outside of the rate limit, which is outside of the routes: an
    // unauthenticated request does not count towards a rate limit.
    for _ in 0..3 {
        assert_eq!(unserved().send().await.unwrap().status(), 401);
    }
    let response = unserved().bearer_auth(&key).send().await.unwrap();
    assert_eq!(response.status(), 404);

    let held = server.hold_writes().await;
    let url = format!("{}/ccadmin/v1/collections", server.http);
    let write = server.client.post(url).bearer_auth(&key);
    let write = write
        .header("x-ccasset-language", "en")
        .json(&serde_json::json!({"properties": {"displayName": "x"}}));
    let under_way = tokio::spawn(until_served(write));
    let deadline = Instant::now() + Duration::from_secs(60);
    // The limit on requests in flight is outside of authentication, and inside of CORS and the
    // request id.
    let shed = loop {
        let response = unserved().send().await.unwrap();
        if response.status() == 503 {
            break response;
        }
        assert!(Instant::now() < deadline, "the write does not come");
    };
    for name in ["x-request-id", "access-control-allow-origin"] {
        assert!(shed.headers().contains_key(name), "{name}: {shed:?}");
    }
    let preflight = server
        .client
        .request(reqwest::Method::OPTIONS, &server.http)
        .header("origin", "https://shop.example")
        .header("access-control-request-method", "POST");
    assert_eq!(preflight.send().await.unwrap().status(), 200);
    held.rollback().await.unwrap();
    assert!(under_way.await.unwrap().status().is_success());

    let response = unserved().bearer_auth(&key).send().await.unwrap();
    assert_eq!(response.status(), 429);
    assert!(response.headers().contains_key("retry-after"));
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_are_queued_and_leave_connections_to_other_requests() {
    let flags = Flags {
        max_concurrent_searches: Some("1".into()),
        database_max_connections: Some("2".into()),
        database_acquire_timeout: Some("2s".into()),
        ..Flags::default()
    };
    let server = Server::start(Postgres, flags).await;
    let mut client = server.grpc().await;
    create(&mut client, "a").await;
    let db = sea_orm::Database::connect(&server.database).await.unwrap();
    let held = db.begin().await.unwrap();
    let lock = "LOCK TABLE products IN ACCESS EXCLUSIVE MODE";
    held.execute_unprepared(lock).await.unwrap();
    let searches: Vec<_> = (0..6)
        .map(|_| {
            let url = server.grpc.clone();
            tokio::spawn(async move {
                let mut client = ProductServiceClient::connect(url).await.unwrap();
                let request = pb::ListProductsRequest::default();
                client.list_products(request).await
            })
        })
        .collect();
    server.waits_for_a_lock().await;
    // One of these searches occupies one of the connections; all of these requests use the other.
    for _ in 0..20 {
        client.get_collection(get("a")).await.unwrap();
        client
            .mutate_children(mutate("a", vec![append(["p"])]))
            .await
            .unwrap();
    }
    held.rollback().await.unwrap();
    for search in searches {
        search.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_write_ahead_log_is_truncated_to_its_limit() {
    let flags = Flags {
        max_wal_size: Some("1MiB".into()),
        ..Flags::default()
    };
    let server = Server::start(Sqlite, flags).await;
    let mut client = server.products().await;
    let file = server.database.trim_start_matches("sqlite://").to_owned() + "-wal";
    let size = || std::fs::metadata(&file).map_or(0, |file| file.len());
    let mut largest = 0;
    for n in 0..20 {
        let value = prost_types::Value {
            kind: Some(prost_types::value::Kind::StringValue("x".repeat(250_000))),
        };
        let product = pb::Product {
            id: format!("p{n}"),
            title: "t".into(),
            attributes: Some(prost_types::Struct {
                fields: [("a".to_owned(), value)].into(),
            }),
            ..pb::Product::default()
        };
        let request = pb::UpsertProductsRequest {
            products: vec![product],
            ..pb::UpsertProductsRequest::default()
        };
        client.upsert_products(request).await.unwrap();
        largest = size().max(largest);
    }
    assert!(largest > 1 << 20, "{largest}");
    let deadline = Instant::now() + Duration::from_secs(30);
    while size() > 1 << 20 {
        assert!(Instant::now() < deadline, "{} bytes stay", size());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(server.metrics().await.contains("endcap_sqlite_wal_bytes "));
}
