//! The program's telemetry: traces, metrics and logs, to a collector and on `/metrics`.

mod collector;
mod metrics;

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use endcap::grpc::pb::{self, collection_service_client::CollectionServiceClient};
use futures::future::join_all;
use opentelemetry_proto::tonic::{
    logs::v1::LogRecord,
    trace::v1::{Span, span::SpanKind},
};
use tonic::{Code, Request};

use crate::{
    harness::{append, create, http_client, mutate, rename},
    postgres,
    program::{Running, endcap, start},
};
use collector::{Collector, Received, attribute};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
/// A secret that must not appear anywhere in telemetry.
const SECRET: &str = "s3cr3t";

fn migrated(folder: &Path, database: Option<&str>) {
    if database.is_some() {
        let migrate = endcap(folder, database).arg("migrate").status();
        assert!(migrate.unwrap().success());
    }
}

/// A traced request over each protocol, and some that fail.
async fn call(running: &Running) {
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let mut client = CollectionServiceClient::connect(running.grpc.clone())
        .await
        .unwrap();
    create(&mut client, "summer").await;
    let add = mutate("summer", vec![append(["p1", "p2"])]);
    client.mutate_children(add).await.unwrap();
    let renamed = client.update_collection(rename("summer", "Summer")).await;
    renamed.unwrap();
    for (id, code) in [("summer", None), ("winter", Some(Code::NotFound))] {
        let mut get = Request::new(pb::GetCollectionRequest {
            key: Some(pb::get_collection_request::Key::CollectionId(id.into())),
            ..pb::GetCollectionRequest::default()
        });
        get.metadata_mut()
            .insert("traceparent", traceparent.parse().unwrap());
        get.metadata_mut()
            .insert("authorization", format!("Bearer {SECRET}").parse().unwrap());
        let got = client.get_collection(get).await;
        assert_eq!(got.err().map(|status| status.code()), code);
    }
    let rest = http_client().build().unwrap();
    for (path, status) in [
        ("/ccadmin/v1/collections/summer", 200),
        ("/ccadmin/v1/collections/winter", 400),
        ("/nothing/here", 404),
    ] {
        let url = format!("{}{path}?_token={SECRET}", running.http);
        let get = rest.get(url).header("traceparent", &traceparent);
        let got = get.bearer_auth(SECRET).send().await.unwrap();
        assert_eq!(got.status(), status, "{path}");
    }
    let web = rest
        .post(format!(
            "{}/endcap.v1.CollectionService/GetCollection",
            running.http
        ))
        .header("content-type", "application/grpc-web+proto")
        .body(vec![0_u8; 5]);
    assert_eq!(web.send().await.unwrap().status(), 200);
}

fn named<'a>(received: &'a Received, name: &str) -> Vec<&'a Span> {
    let spans = received.spans.iter();
    spans.filter(|span| span.name == name).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn children<'a>(received: &'a Received, parent: &Span) -> Vec<&'a Span> {
    let spans = received.spans.iter();
    spans
        .filter(|span| span.parent_span_id == parent.span_id && span.trace_id == parent.trace_id)
        .collect()
}

/// The child span with this name.
fn below<'a>(received: &'a Received, parent: &Span, name: &str) -> &'a Span {
    let all = children(received, parent);
    let found = all.iter().find(|span| span.name == name);
    found.unwrap_or_else(|| panic!("no {name} in {all:#?}"))
}

fn check_spans(received: &Received, system: &str) {
    let get = "endcap.v1.CollectionService/GetCollection";
    let server = named(received, get);
    // Two over gRPC and one over gRPC-Web; none of them has an HTTP span, too.
    assert_eq!(server.len(), 3, "{server:#?}");
    let traced: Vec<_> = server
        .iter()
        .filter(|span| hex(&span.trace_id) == TRACE)
        .collect();
    assert_eq!(traced.len(), 2);
    for span in traced {
        assert_eq!(hex(&span.parent_span_id), PARENT);
        assert_eq!(span.kind(), SpanKind::Server);
        let of = |name| attribute(&span.attributes, name);
        assert_eq!(of("rpc.system.name").as_deref(), Some("grpc"));
        assert_eq!(of("rpc.method").as_deref(), Some(get));
        assert!(matches!(
            of("rpc.status_code").as_deref(),
            Some("OK" | "NOT_FOUND")
        ));
        assert_eq!(of("endcap.tenant").as_deref(), Some("default"));
        assert_eq!(of("http.request.method"), None);
        let use_case = below(received, span, "GetCollection");
        // A single statement needs no transaction.
        let statement = below(received, use_case, "SELECT collections");
        assert_eq!(statement.kind(), SpanKind::Client);
        let of = |name| attribute(&statement.attributes, name);
        assert_eq!(of("db.system.name").as_deref(), Some(system));
        assert_eq!(
            of("db.query.summary").as_deref(),
            Some("SELECT collections")
        );
        assert_eq!(of("db.operation.name").as_deref(), Some("SELECT"));
        assert_eq!(of("db.collection.name").as_deref(), Some("collections"));
        assert_eq!(of("db.query.text"), None);
    }
    for method in ["MutateChildren", "UpdateCollection"] {
        let call = named(received, &format!("endcap.v1.CollectionService/{method}"));
        let update = below(received, call[0], "UpdateCollection");
        let write = below(received, update, "transaction");
        below(received, write, "BATCH");
        below(received, write, "COMMIT");
    }
    let rest = named(received, "GET /ccadmin/v1/collections/{id}");
    assert_eq!(rest.len(), 2);
    for span in rest {
        assert_eq!(span.kind(), SpanKind::Server);
        assert_eq!(hex(&span.trace_id), TRACE);
        let of = |name| attribute(&span.attributes, name);
        assert_eq!(of("http.request.method").as_deref(), Some("GET"));
        let route = of("http.route");
        assert_eq!(route.as_deref(), Some("/ccadmin/v1/collections/{id}"));
        assert_eq!(of("url.scheme").as_deref(), Some("http"));
        assert_eq!(of("network.protocol.version").as_deref(), Some("1.1"));
        let status = of("http.response.status_code");
        assert!(matches!(status.as_deref(), Some("200" | "400")));
        // A client error is not recorded as a server error.
        assert!(span.status.as_ref().is_none_or(|status| status.code == 0));
        assert_eq!(of("error.type"), None);
        assert!(!children(received, span).is_empty());
    }
    // No span is named after an unmatched path.
    assert_eq!(named(received, "GET").len(), 1);
}

fn check_metrics(received: &Received) {
    let names: Vec<_> = received
        .metrics
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    for name in [
        "rpc.server.call.duration",
        "http.server.request.duration",
        "db.client.operation.duration",
        "db.client.connection.count",
        "endcap.rows_written",
        "endcap.build_info",
    ] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
}

/// The log lines of completed requests.
fn completed(received: &Received) -> Vec<&LogRecord> {
    let is_completed = |log: &&LogRecord| format!("{:?}", log.body).contains("request completed");
    received.logs.iter().filter(is_completed).collect()
}

fn check_logs(received: &Received) {
    let completed = completed(received);
    let traced = completed.iter().filter(|log| hex(&log.trace_id) == TRACE);
    assert_eq!(traced.count(), 5);
    for log in completed {
        assert_ne!(hex(&log.span_id), "0".repeat(16));
        let of = |name| attribute(&log.attributes, name);
        assert!(of("duration_ms").is_some() && of("protocol").is_some());
        assert!(of("status").is_some() != of("grpc_status").is_some());
    }
    let is_audit = |log: &&LogRecord| {
        attribute(&log.attributes, "action").as_deref() == Some("mutate_children")
            && attribute(&log.attributes, "id").as_deref() == Some("summer")
    };
    assert_eq!(received.logs.iter().filter(is_audit).count(), 1);
}

async fn one_call_arrives_in_all_signals(protocol: &str, database: Option<&str>) {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::default();
    let url = collector.listen(protocol).await;
    migrated(folder.path(), database);
    let mut command = endcap(folder.path(), database);
    // One protocol is set by the standard variables, and one by this program's settings.
    if protocol == "grpc" {
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &url);
        command.env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol);
        command.env("OTEL_EXPORTER_OTLP_HEADERS", "api-key=k1");
        command.env("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=endcap-0");
    } else {
        command.args(["--otlp-endpoint", &url, "--otlp-protocol", protocol]);
        command.args(["--otlp-headers", "api-key=k1"]);
        command.args(["--resource-attributes", "k8s.pod.name=endcap-0"]);
    }
    // A single worker thread must both serve and export.
    command.env("TOKIO_WORKER_THREADS", "1");
    let mut running = start(command);
    call(&running).await;
    let stopped = tokio::task::spawn_blocking(move || running.stop())
        .await
        .unwrap();
    assert!(stopped);
    // Everything was exported before the program ended.
    let received = collector.received();
    check_spans(
        &received,
        if database.is_some() {
            "postgresql"
        } else {
            "sqlite"
        },
    );
    check_metrics(&received);
    check_logs(&received);
    assert!(!received.keys.is_empty() && received.keys.iter().all(|key| key == "k1"));
    for resource in &received.resources {
        let of = |name| attribute(&resource.attributes, name);
        assert_eq!(of("service.name").as_deref(), Some("endcap"));
        assert_eq!(
            of("service.version").as_deref(),
            Some(env!("CARGO_PKG_VERSION"))
        );
        assert_eq!(of("k8s.pod.name").as_deref(), Some("endcap-0"));
        assert!(of("service.instance.id").is_some());
    }
    let all = format!("{received:?}");
    assert!(!all.contains(SECRET));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_signals_are_exported_over_grpc() {
    one_call_arrives_in_all_signals("grpc", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_signals_are_exported_over_http_on_postgres() {
    let database = postgres::new_database().await;
    one_call_arrives_in_all_signals("http/protobuf", Some(&database)).await;
}

/// Requests succeed and the program stops in time, whatever the collector does.
async fn a_collector_that_fails_costs_nothing(url: &str) {
    for protocol in ["grpc", "http/protobuf"] {
        let folder = tempfile::tempdir().unwrap();
        let mut command = endcap(folder.path(), None);
        command.args(["--otlp-endpoint", url, "--otlp-protocol", protocol]);
        command.args(["--drain-timeout", "3s"]);
        // Far more spans than fit into the queue, at once.
        command.env("OTEL_BSP_MAX_QUEUE_SIZE", "64");
        command.env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "16");
        command.env("TOKIO_WORKER_THREADS", "1");
        let mut running = start(command);
        let mut client = CollectionServiceClient::connect(running.grpc.clone())
            .await
            .unwrap();
        for at in 0..100 {
            create(&mut client, &format!("c{at}")).await;
        }
        let stopping = Instant::now();
        let stopped = tokio::task::spawn_blocking(move || running.stop())
            .await
            .unwrap();
        assert!(stopped);
        assert!(stopping.elapsed() < Duration::from_secs(5), "{protocol}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unresponsive_collector_does_not_affect_requests() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            open.push(stream);
        }
    });
    a_collector_that_fails_costs_nothing(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_collector_does_not_affect_requests() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    a_collector_that_fails_costs_nothing(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn disabled_traces_and_logs_are_not_exported() {
    for (switch, value) in [
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_TRACES_SAMPLER", "always_off"),
        ("OTEL_TRACES_EXPORTER", "none"),
        ("ENDCAP_TRACES_SAMPLER", "always_off"),
        ("ENDCAP_OTEL_SDK_DISABLED", "true"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let collector = Collector::default();
        let url = collector.listen("grpc").await;
        let mut command: Command = endcap(folder.path(), None);
        command.args(["--otlp-endpoint", &url, "--otlp-protocol", "grpc"]);
        command.env(switch, value);
        let mut running = start(command);
        let mut client = CollectionServiceClient::connect(running.grpc.clone())
            .await
            .unwrap();
        create(&mut client, "summer").await;
        let unknown = format!("{}/endcap.v1.Nothing/Get", running.http);
        let unknown = http_client().build().unwrap().post(unknown);
        let unknown = unknown.header("content-type", "application/grpc-web+proto");
        unknown.body(vec![0_u8; 5]).send().await.unwrap();
        tokio::task::spawn_blocking(move || running.stop())
            .await
            .unwrap();
        let received = collector.received();
        assert!(received.spans.is_empty(), "{switch}");
        let is_off = switch.ends_with("DISABLED");
        assert_eq!(received.logs.is_empty(), is_off, "{switch}");
        // Of unsampled requests, only server errors are logged.
        let statuses: Vec<_> = completed(&received)
            .iter()
            .filter_map(|line| attribute(&line.attributes, "grpc_status"))
            .collect();
        let expected: &[&str] = match (switch, is_off) {
            (_, true) => &[],
            ("OTEL_TRACES_EXPORTER", _) => &["0", "12"],
            _ => &["12"],
        };
        assert_eq!(statuses, expected, "{switch}");
    }
}

/// Lines about requests are collected and written together, by a thread of their own; all others are
/// written at once, by the code that logs them.
#[tokio::test(flavor = "multi_thread")]
async fn every_log_line_is_whole_and_none_is_lost() {
    const CLIENTS: usize = 32;
    const CALLS: usize = 50;
    let folder = tempfile::tempdir().unwrap();
    let mut command = endcap(folder.path(), None);
    command.args(["--auth", "keys"]);
    let mut running = start(command);
    let url = format!("{}/v1/collections/a", running.http);
    let request = http_client().build().unwrap().get(url).bearer_auth("wrong");
    let calls = (0..CLIENTS).map(|_| async {
        for _ in 0..CALLS {
            let response = request.try_clone().unwrap().send().await.unwrap();
            assert_eq!(response.status(), 401);
        }
    });
    join_all(calls).await;
    assert!(running.stop());
    let deadline = Instant::now() + Duration::from_secs(10);
    for message in ["authentication failed", "request completed"] {
        let count = || {
            let log = running.log();
            log.iter().filter(|line| line["message"] == message).count()
        };
        // The thread that reads the log may still be reading.
        while count() < CLIENTS * CALLS && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(count(), CLIENTS * CALLS, "{message}");
    }
    assert!(running.log().iter().all(serde_json::Value::is_object));
}

/// The status in the log is the one that was sent, or says that the client disconnected.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_logged_with_the_status_that_was_sent() {
    const PATH: &str = "/endcap.v1.CollectionService/GetCollection";
    let folder = tempfile::tempdir().unwrap();
    let mut running = start(endcap(folder.path(), None));
    let address = running.http.strip_prefix("http://").unwrap().to_owned();
    // In base64, the other type.
    let empty = BASE64_STANDARD.encode([0; 5]);
    for (kind, body, status) in [
        // Without the frame of a message; a frame that is cut off; a message that is not one.
        ("application/grpc-web", vec![], "3"),
        ("application/grpc-web", vec![0, 0, 0, 0, 9], "3"),
        ("application/grpc-web", vec![0, 0, 0, 0, 1, 0xff], "3"),
        ("application/grpc-web-text", b"====".to_vec(), "3"),
        // Without a key.
        ("application/grpc-web-text", empty.into_bytes(), "3"),
    ] {
        let post = http_client().build().unwrap();
        let post = post.post(format!("{}{PATH}", running.http));
        let post = post.header("content-type", kind).body(body.clone());
        let sent = post.send().await.unwrap();
        assert_eq!(sent.headers()["grpc-status"], status, "{kind} {body:?}");
    }
    // Half of a request over each protocol.
    for head in [
        format!("POST {PATH} HTTP/1.1\r\ncontent-type: application/grpc-web\r\n"),
        "POST /v1/collections HTTP/1.1\r\ncontent-type: application/json\r\n".to_owned(),
    ] {
        let mut stream = TcpStream::connect(&address).unwrap();
        let half = format!("{head}host: a\r\ncontent-length: 100\r\n\r\n\0\0\0\0\x5f{{}}");
        stream.write_all(half.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    }
    assert!(running.stop());
    let seen = || {
        let log = running.log().into_iter();
        let lines = log.filter(|line| line["message"] == "request completed");
        let lines = lines.map(|line| {
            let status = ["grpc_status", "status"].map(|name| line[name].as_i64());
            (status, line["complete"].as_bool())
        });
        lines.collect::<Vec<_>>()
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    while seen().len() < 7 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut expected = vec![([Some(3), None], Some(true)); 5];
    expected.push(([Some(1), None], Some(false)));
    expected.push(([None, Some(499)], Some(false)));
    assert_eq!(seen(), expected);
}
