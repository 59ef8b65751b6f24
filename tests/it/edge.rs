//! What all protocols share: both ports, gRPC-Web, CORS, health checks, deadlines, limits, graceful
//! shutdown.

use std::time::{Duration, Instant};

use bytes::{BufMut as _, Bytes, BytesMut};
use endcap::store::Engine::{self, Postgres, Sqlite};
use endcap::{
    config::Flags,
    grpc::pb::{self, collection_service_client::CollectionServiceClient},
};
use prost::Message as _;
use rstest::rstest;
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    collections::reason,
    harness::{Server, append, create, get, mutate, named},
};

fn flags(set: impl FnOnce(&mut Flags)) -> Flags {
    let mut flags = Flags::default();
    set(&mut flags);
    flags
}

/// A gRPC frame: a flag, a length, a message.
fn frame(message: &impl prost::Message) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.encoded_len()).unwrap());
    message.encode(&mut frame).unwrap();
    frame.freeze()
}

async fn post(server: &Server, method: &str, kind: &str, body: Bytes) -> reqwest::Response {
    let url = format!("{}/endcap.v1.CollectionService/{method}", server.http);
    let request = server.client.post(url).header("content-type", kind);
    request.body(body).send().await.unwrap()
}

#[rstest]
#[tokio::test]
async fn both_ports_serve_grpc_and_rest(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let mut on_http_port = CollectionServiceClient::connect(server.http.clone())
        .await
        .unwrap();
    create(&mut on_http_port, "a").await;
    for url in [&server.http, &server.grpc] {
        let url = format!("{url}/ccadmin/v1/collections/a");
        let response = server.client.get(url).send().await.unwrap();
        assert_eq!(response.status(), 200);
    }
    for (url, status) in [
        ("/nothing", 404),
        ("/products-nothing", 404),
        ("/ccadmin/v1/nothing", 404),
    ] {
        let response = server
            .client
            .get(format!("{}{url}", server.http))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), status, "{url}");
        let body: serde_json::Value = response.json().await.unwrap();
        assert!(body["message"].is_string(), "{body}");
    }
}

/// A dialect claims whole path segments. A path that only begins with the same characters belongs
/// to no dialect, and gets no dialect's error format.
#[rstest]
#[tokio::test]
async fn a_path_that_merely_shares_a_prefix_belongs_to_no_dialect(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let ask = async |path: &str| {
        let response = server.client.get(format!("{}{path}", server.http));
        let response = response.send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json::<serde_json::Value>().await.unwrap())
    };
    for path in [
        "/productsX",
        "/products-x/collections",
        "/ccadminX",
        "/ccadminX/v1",
    ] {
        let message = format!("route not found: GET {path}");
        let neutral = serde_json::json!({ "message": message });
        assert_eq!(ask(path).await, (404, neutral));
    }
    for (path, of_a_dialect) in [
        ("/products/a/b", "statusCode"),
        ("/ccadmin", "errorCode"),
        ("/ccadmin/x", "errorCode"),
        ("/ccadminui/x", "errorCode"),
    ] {
        let (_, body) = ask(path).await;
        assert!(body.get(of_a_dialect).is_some(), "{path}: {body}");
    }
}

#[rstest]
#[tokio::test]
async fn a_browser_can_call_grpc_web_across_origins(#[values(Sqlite, Postgres)] engine: Engine) {
    let flags = flags(|flags| flags.cors_origins = Some("https://shop.example".into()));
    let server = Server::start(engine, flags).await;
    create(&mut server.grpc().await, "a").await;
    let url = format!("{}/endcap.v1.CollectionService/GetCollection", server.http);
    let preflight = server
        .client
        .request(reqwest::Method::OPTIONS, &url)
        .header("origin", "https://shop.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,x-grpc-web")
        .send()
        .await
        .unwrap();
    let headers = preflight.headers();
    assert_eq!(
        headers["access-control-allow-origin"],
        "https://shop.example"
    );
    // For browsers, `*` does not cover `Authorization`.
    assert_eq!(
        headers["access-control-allow-headers"],
        "authorization,x-grpc-web"
    );

    let request = pb::GetCollectionRequest {
        key: Some(pb::get_collection_request::Key::CollectionId("a".into())),
        ..Default::default()
    };
    let response = server
        .client
        .post(&url)
        .header("origin", "https://shop.example")
        .header("content-type", "application/grpc-web+proto")
        .body(frame(&request))
        .send()
        .await
        .unwrap();
    assert_eq!(
        response.headers()["access-control-allow-origin"],
        "https://shop.example"
    );
    let exposed = response.headers()["access-control-expose-headers"]
        .to_str()
        .unwrap();
    assert!(
        exposed.contains("grpc-status") && exposed.contains("grpc-message"),
        "{exposed}"
    );
    let body = response.bytes().await.unwrap();
    let length = u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize;
    let response = pb::GetCollectionResponse::decode(&body[5..5 + length]).unwrap();
    assert_eq!(response.collection.unwrap().id, "a");
    let trailers = &body[5 + length..];
    assert_eq!(trailers[0], 0x80, "a frame of trailers");
    assert!(String::from_utf8_lossy(&trailers[5..]).contains("grpc-status:0"));

    let foreign = server
        .client
        .get(&server.http)
        .header("origin", "https://evil.example");
    let response = foreign.send().await.unwrap();
    assert!(
        !response
            .headers()
            .contains_key("access-control-allow-origin")
    );
}

#[rstest]
#[tokio::test]
async fn malformed_grpc_is_rejected_and_the_server_keeps_running(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let flags = flags(|flags| flags.max_body_size = Some("64KiB".into()));
    let server = Server::start(engine, flags).await;
    let kind = "application/grpc-web+proto";
    let mut bad_utf8 = BytesMut::from(&frame(&pb::GetCollectionRequest::default())[..]);
    bad_utf8.clear();
    bad_utf8.put_slice(&[0, 0, 0, 0, 4, 0x0a, 2, 0xff, 0xfe]);
    let whole = frame(&pb::CreateCollectionRequest {
        collection: Some(named("x", "x")),
        ..Default::default()
    });
    let cases = [
        (
            "GetCollection",
            Bytes::from_static(&[0, 0, 0]),
            "a truncated frame header",
        ),
        (
            "CreateCollection",
            whole.slice(..whole.len() - 2),
            "a truncated message",
        ),
        ("GetCollection", bad_utf8.freeze(), "bad UTF-8"),
        (
            "GetCollection",
            Bytes::from_static(&[7, 0, 0, 0, 0]),
            "an unknown flag",
        ),
    ];
    for (method, body, what) in cases {
        let response = post(&server, method, kind, body).await;
        let status = response
            .headers()
            .get("grpc-status")
            .map(|s| s.to_str().unwrap().to_owned());
        let body = response.bytes().await.unwrap();
        let told = status.unwrap_or_else(|| String::from_utf8_lossy(&body).into_owned());
        assert!(
            !told.contains("grpc-status:0") && told != "0",
            "{what}: {told}"
        );
    }
    let unknown = post(&server, "Nothing", kind, Bytes::new()).await;
    assert_eq!(
        unknown.headers()["grpc-status"],
        (Code::Unimplemented as i32).to_string().as_str()
    );

    let mut client = server.grpc().await;
    let huge = mutate("a", vec![append(0..20_000)]);
    let status = client.mutate_children(huge).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    assert!(status.message().contains("65536"), "{status:?}");
    create(&mut client, "a").await;
}

#[rstest]
#[tokio::test]
async fn a_deadline_is_enforced_and_the_interrupted_write_is_rolled_back(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    create(&mut client, "a").await;
    let mut request = tonic::Request::new(mutate("a", vec![append(0..100_000)]));
    request.set_timeout(Duration::from_millis(5));
    let status = client.mutate_children(request).await.unwrap_err();
    // The client's own deadline may expire first.
    assert!(
        matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled),
        "{status:?}"
    );
    let collection = get(&mut client, "a").await.unwrap();
    assert_eq!(collection.stats.unwrap().product_count, 0);
    // The connection that was interrupted can still be used.
    client
        .mutate_children(mutate("a", vec![append(["x"])]))
        .await
        .unwrap();
}

#[rstest]
#[tokio::test]
async fn the_server_enforces_its_own_request_timeout(#[values(Sqlite, Postgres)] engine: Engine) {
    let flags = flags(|flags| flags.request_timeout = Some("2s".into()));
    let server = Server::start(engine, flags).await;
    let mut client = server.grpc().await;
    create(&mut client, "a").await;
    let held = server.hold_writes().await;
    let request = mutate("a", vec![append(["x"])]);
    let status = client.mutate_children(request.clone()).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
    );
    assert!(status.message().contains("2000 ms"), "{status:?}");
    held.rollback().await.unwrap();
    client.mutate_children(request).await.unwrap();
}

#[rstest]
#[tokio::test]
async fn health_reports_the_shutdown_and_in_flight_requests_complete(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::start(engine, Flags::default()).await;
    let mut client = server.grpc().await;
    create(&mut client, "a").await;
    let channel = tonic::transport::Endpoint::new(server.grpc.clone()).unwrap();
    let mut health = HealthClient::new(channel.connect_lazy());
    for service in ["", "endcap.v1.CollectionService"] {
        let request = HealthCheckRequest {
            service: service.into(),
        };
        let response = health.check(request).await.unwrap().into_inner();
        assert_eq!(response.status(), ServingStatus::Serving);
    }
    for (path, status) in [("livez", 200), ("readyz", 200), ("other", 404)] {
        let response = server
            .client
            .get(format!("{}/{path}", server.admin))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), status, "{path}");
    }
    let request = HealthCheckRequest {
        service: "endcap.v1.CollectionService".into(),
    };
    let mut watch = health.watch(request).await.unwrap().into_inner();
    assert_eq!(
        watch.message().await.unwrap().unwrap().status(),
        ServingStatus::Serving
    );

    let held = server.hold_writes().await;
    let under_way = tokio::spawn(async move {
        let request = mutate("a", vec![append(["x"])]);
        client.mutate_children(request).await
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let stopped = tokio::spawn(server.stop());
    let next = watch.message().await.unwrap().unwrap();
    assert_eq!(next.status(), ServingStatus::NotServing);
    // `Watch` streams don't delay the shutdown.
    assert_eq!(watch.message().await.unwrap(), None);
    held.rollback().await.unwrap();
    under_way.await.unwrap().unwrap();
    assert!(stopped.await.unwrap(), "in-flight requests complete");
}

#[rstest]
#[tokio::test]
async fn a_response_has_the_request_id_of_the_client_or_a_generated_one(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let response = server
        .client
        .get(format!("{}/x", server.http))
        .send()
        .await
        .unwrap();
    assert!(response.headers().contains_key("x-request-id"));
    let mine = server
        .client
        .get(format!("{}/x", server.http))
        .header("x-request-id", "mine");
    assert_eq!(mine.send().await.unwrap().headers()["x-request-id"], "mine");
    // An id that is invalid, or would not fit a client's headers, is not accepted.
    for odd in ["", "a b", "\u{e9}", &"i".repeat(129), &"i".repeat(17_000)] {
        let odd = server
            .client
            .get(format!("{}/x", server.http))
            .header("x-request-id", odd);
        let response = odd.send().await.unwrap();
        assert_eq!(response.headers()["x-request-id"].len(), 36);
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_server_keeps_serving_during_the_shutdown_delay(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let flags = flags(|flags| flags.shutdown_delay = Some("3s".into()));
    let server = Server::start(engine, flags).await;
    create(&mut server.grpc().await, "a").await;
    let (grpc, admin) = (server.grpc.clone(), server.admin.clone());
    let stopped = tokio::spawn(server.stop());
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let ready = reqwest::get(format!("{admin}/readyz")).await.unwrap();
        if ready.status() == 503 {
            break;
        }
        assert!(Instant::now() < deadline, "the server is still ready");
    }
    // New connections are served, too.
    let client = CollectionServiceClient::connect(grpc).await;
    create(&mut client.unwrap(), "b").await;
    assert!(!stopped.is_finished());
    assert!(stopped.await.unwrap());
}

#[tokio::test]
async fn the_health_list_contains_the_services_that_can_be_checked() {
    use endcap::grpc::pb::health::{
        HealthListRequest, health_check_response, health_client::HealthClient as ListClient,
    };
    let server = Server::new(Sqlite).await;
    let channel = tonic::transport::Channel::from_shared(server.grpc.clone());
    let channel = channel.unwrap().connect().await.unwrap();
    let mut health = HealthClient::new(channel);
    let mut list = ListClient::connect(server.grpc.clone()).await.unwrap();
    let listed = list.list(HealthListRequest {}).await.unwrap();
    let mut names: Vec<_> = listed.into_inner().statuses.into_iter().collect();
    names.sort_by(|(one, _), (other, _)| one.cmp(other));
    let serving = health_check_response::ServingStatus::Serving;
    for (name, status) in &names {
        assert_eq!(status.status(), serving, "{name}");
        let request = HealthCheckRequest {
            service: name.clone(),
        };
        let checked = health.check(request).await.unwrap().into_inner();
        assert_eq!(checked.status(), ServingStatus::Serving, "{name}");
    }
    let names: Vec<_> = names.into_iter().map(|(name, _)| name).collect();
    let services = ["Collection", "Product", "Rule"].map(|it| format!("endcap.v1.{it}Service"));
    assert_eq!(
        names,
        ["", &services[0], &services[1], &services[2], "liveness"]
    );
    let unknown = || HealthCheckRequest {
        service: "nothing".into(),
    };
    let refused = health.check(unknown()).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    let mut watch = health.watch(unknown()).await.unwrap().into_inner();
    let first = watch.message().await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::ServiceUnknown);
}
