//! `/metrics`, and the page that documents it.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use endcap::{grpc::pb, store::Engine, telemetry::metrics::DEFINITIONS};
use rstest::rstest;
use sea_orm::ConnectionTrait as _;

use crate::{
    collections::{cheaper_than, creation, rules},
    harness::{Server, create, http_client, named},
    program::{endcap, start},
};

/// The name of a metric in Prometheus.
fn prometheus(name: &str, kind: &str, unit: &str) -> String {
    let name = name.replace('.', "_");
    let unit = match unit {
        "s" => "_seconds",
        "By" => "_bytes",
        _ => "",
    };
    let total = if kind == "counter" { "_total" } else { "" };
    let name = if name.ends_with(unit) {
        name
    } else {
        name + unit
    };
    format!("{name}{total}")
}

/// The page, generated from the table of metrics.
fn page() -> String {
    let mut page = String::from(
        "# Which metrics are there?\n\n\
         Generated from the table in src/telemetry/metrics/table.rs; `UPDATE_DOCS=1 cargo test --test it \
         metrics_are_documented` regenerates it.\n\n\
         `GET /metrics` on the admin port returns all of them, in OpenMetrics or in Prometheus' text \
         format, by the `Accept` header. With a collector they are sent over OTLP too. The \
         names over OTLP have dots; those of Prometheus have underscores, the unit and, for \
         counters, `_total`. A histogram has `_bucket`, `_count` and `_sum`. The tenant is a label \
         only where `metrics_tenant_label` is set. There are no exemplars: the SDK records none.\n\n\
         | OTLP | Prometheus | kind | unit | labels | what |\n|---|---|---|---|---|---|\n",
    );
    for metric in DEFINITIONS {
        let labels: Vec<_> = metric
            .attributes
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let unit = if metric.unit.is_empty() {
            ""
        } else {
            metric.unit
        };
        writeln!(
            page,
            "| `{}` | `{}` | {} | {unit} | {} | {} |",
            metric.name,
            prometheus(metric.name, metric.kind, metric.unit),
            metric.kind,
            labels.join(" "),
            metric.description,
        )
        .unwrap();
    }
    page
}

#[test]
fn metrics_are_documented() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/metrics.md");
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    assert_eq!(
        written, page,
        "see docs/reference/metrics.md on how to regenerate it"
    );
}

#[tokio::test]
async fn each_exported_metric_is_documented_with_its_labels() {
    let server = Server::new(Engine::Sqlite).await;
    create(&mut server.grpc().await, "summer").await;
    let documented: BTreeMap<_, _> = DEFINITIONS
        .iter()
        .map(|it| (prometheus(it.name, it.kind, it.unit), it.attributes))
        .collect();
    let text = server.metrics().await;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let family = ["_bucket", "_count", "_sum"]
            .iter()
            .filter_map(|suffix| name.strip_suffix(suffix))
            .find(|family| documented.contains_key(*family))
            .unwrap_or(name);
        if family == "target_info" {
            continue;
        }
        let labels = documented.get(family);
        let labels = labels.unwrap_or_else(|| panic!("{name} is not in the table"));
        let written = line.split_once('{').map_or("", |(_, rest)| rest);
        let written = written.rsplit_once('}').map_or("", |(labels, _)| labels);
        for label in written.split("\",").filter(|label| !label.is_empty()) {
            let label = label.split('=').next().unwrap();
            let is_known = labels.iter().any(|known| known.replace('.', "_") == label);
            assert!(is_known || label == "le", "{label} of {name}");
        }
    }
}

/// The Python of the clients' virtual environment.
fn python() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    let mut folders = std::env::split_paths(&path);
    let found = folders.find_map(|folder| folder.join("schemathesis").canonicalize().ok());
    let program = found.expect("scripts/setup installs the clients");
    program.with_file_name("python")
}

/// Prometheus' own parsers accept both formats, and find samples of the same names in them.
#[tokio::test]
async fn prometheus_parses_both_formats() {
    const PARSE: &str = "
import sys
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics
parse = openmetrics if sys.argv[1] == 'openmetrics' else parser
families = list(parse.text_string_to_metric_families(sys.stdin.read()))
samples = {sample.name for family in families for sample in family.samples}
print('\\n'.join(sorted(samples)))
";
    let server = Server::new(Engine::Sqlite).await;
    create(&mut server.grpc().await, "summer").await;
    let collections = format!("{}/ccadmin/v1/collections", server.http);
    server.client.get(collections).send().await.unwrap();
    // Other tests may create metrics between the two requests.
    let mut found = Vec::new();
    for _ in 0..20 {
        found.clear();
        for (format, accept) in [
            ("openmetrics", "application/openmetrics-text"),
            ("text", "text/plain"),
        ] {
            let url = format!("{}/metrics", server.admin);
            let text = server.client.get(url).header("accept", accept);
            let text = text.send().await.unwrap().text().await.unwrap();
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("metrics");
            std::fs::write(&file, &text).unwrap();
            let output = std::process::Command::new(python())
                .args(["-c", PARSE, format])
                .stdin(std::fs::File::open(&file).unwrap())
                .output()
                .unwrap();
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{format}: {error}");
            found.push(String::from_utf8(output.stdout).unwrap());
        }
        if found[0] == found[1] {
            break;
        }
    }
    assert_eq!(found[0], found[1]);
    for name in [
        "rpc_server_call_duration_seconds_bucket",
        "http_server_request_duration_seconds_count",
        "endcap_refused_total",
        "process_cpu_time_seconds_total",
    ] {
        assert!(found[0].lines().any(|line| line == name), "{name}");
    }
}

/// Also, a call is counted once, either as gRPC or as HTTP.
#[tokio::test]
async fn the_metrics_format_follows_the_accept_header() {
    let server = Server::new(Engine::Sqlite).await;
    create(&mut server.grpc().await, "summer").await;
    let get = |accept: &str| {
        let url = format!("{}/metrics", server.admin);
        server.client.get(url).header("accept", accept).send()
    };
    let open = get("application/openmetrics-text;version=1.0.0,text/plain;q=0.5").await;
    let open = open.unwrap();
    let kind = open.headers()["content-type"].to_str().unwrap();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    let open = open.text().await.unwrap();
    assert!(open.ends_with("# EOF\n"));
    assert!(open.contains("# TYPE endcap_refused counter\n"));
    let text = get("*/*").await.unwrap();
    let kind = text.headers()["content-type"].to_str().unwrap();
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    let text = text.text().await.unwrap();
    assert!(text.contains("# TYPE endcap_refused_total counter\n"));
    let create = "rpc_method=\"endcap.v1.CollectionService/CreateCollection\"";
    let is_create =
        |line: &&str| line.contains(create) && line.contains("call_duration_seconds_count");
    assert!(text.lines().any(|line| is_create(&line)), "{text}");
    let as_http = "/endcap.v1.CollectionService";
    let is_http = |line: &&str| line.starts_with("http_server") && line.contains(as_http);
    assert_eq!(text.lines().find(is_http), None);
}

/// The sum of a metric's values with all these labels. It is that of the whole process.
async fn value(server: &Server, name: &str, labels: &[&str]) -> f64 {
    let text = server.metrics().await;
    let lines = text.lines().filter(|line| {
        let end = line.strip_prefix(name).unwrap_or_default();
        end.starts_with(['{', ' ']) && labels.iter().all(|label| line.contains(label))
    });
    let values = lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap());
    values.sum()
}

#[rstest]
#[tokio::test]
async fn rule_evaluations_are_measured(#[values(Engine::Sqlite, Engine::Postgres)] engine: Engine) {
    const MEASURED: [(&str, &[&str]); 6] = [
        ("endcap_rules_evaluations_total", &["cause=\"rules\""]),
        ("endcap_rules_evaluations_total", &["cause=\"product\""]),
        ("endcap_rules_candidates_sum", &[]),
        (
            "endcap_rules_lists_changed_sum",
            &["operation=\"CreateCollection\""],
        ),
        (
            "endcap_rules_lists_changed_sum",
            &["operation=\"UpsertProducts\""],
        ),
        (
            "endcap_rules_failures_total",
            &["cause=\"product\"", "error_type=\"Internal\""],
        ),
    ];
    let server = Server::new(engine).await;
    let smart = |id: &str| {
        let smart = pb::Collection {
            kind: pb::CollectionKind::Smart.into(),
            rules: Some(rules(vec![cheaper_than("10")])),
            ..named(id, id)
        };
        creation(smart)
    };
    let product = |id: &str| {
        let price = pb::ProductPrice {
            id: "x".into(),
            amount: "5".into(),
            ..pb::ProductPrice::default()
        };
        let product = pb::Product {
            id: id.into(),
            title: id.into(),
            prices: vec![price],
            ..pb::Product::default()
        };
        pb::UpsertProductsRequest {
            products: vec![product],
            ..pb::UpsertProductsRequest::default()
        }
    };
    let mut before = Vec::new();
    for (name, labels) in MEASURED {
        before.push(value(&server, name, labels).await);
    }
    let (mut collections, mut products) = (server.grpc().await, server.products().await);
    products.upsert_products(product("a")).await.unwrap();
    // Evaluates one collection for a matching product, and then a product for one collection.
    collections.create_collection(smart("cheap")).await.unwrap();
    products.upsert_products(product("b")).await.unwrap();
    // Makes the rules of another collection unreadable.
    collections.create_collection(smart("more")).await.unwrap();
    let db = sea_orm::Database::connect(&server.database).await.unwrap();
    let sql = "UPDATE collections SET sort = 'unreadable' WHERE id = 'more'";
    db.execute_unprepared(sql).await.unwrap();
    db.close().await.unwrap();
    let failed = products.upsert_products(product("c")).await;
    assert_eq!(failed.unwrap_err().code(), tonic::Code::Internal);
    for ((name, labels), before) in MEASURED.into_iter().zip(before) {
        let after = value(&server, name, labels).await;
        assert!(after > before, "{name} {labels:?}: {before}, {after}");
    }
}

#[rstest]
#[tokio::test]
async fn a_failed_job_is_counted(#[values(Engine::Sqlite, Engine::Postgres)] engine: Engine) {
    const FAILURES: &str = "endcap_jobs_failures_total";
    let server = Server::new(engine).await;
    create(&mut server.grpc().await, "summer").await;
    let before = value(&server, FAILURES, &[]).await;
    let db = sea_orm::Database::connect(&server.database).await.unwrap();
    for sql in [
        "UPDATE collections SET sort = 'unreadable' WHERE id = 'summer'",
        "INSERT INTO jobs (job_id, tenant_id, task, owner, lease_end, create_time) VALUES \
         ('1', 'default', '{\"evaluate\":{\"collection\":\"summer\"}}', '', 0, 1)",
    ] {
        db.execute_unprepared(sql).await.unwrap();
    }
    db.close().await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while value(&server, FAILURES, &[]).await <= before {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Each series of durations was measured, and has the tenant if that is set.
#[rstest]
#[tokio::test]
async fn durations_have_the_tenant_if_that_is_set(#[values(false, true)] is_set: bool) {
    const COUNT: &str = "http_server_request_duration_seconds_count{";
    let folder = tempfile::tempdir().unwrap();
    let mut command = endcap(folder.path(), None);
    command.args(["--metrics-tenant-label", &is_set.to_string()]);
    let running = start(command);
    let client = http_client().build().unwrap();
    for tenant in ["a", "a", "b"] {
        let get = client.get(format!("{}/v1/collections/none", running.http));
        let response = get.header("x-endcap-tenant", tenant).send().await.unwrap();
        assert_eq!(response.status(), 404);
    }
    // No tenant is known of this one.
    let nothing = client.get(format!("{}/nothing", running.http));
    assert_eq!(nothing.send().await.unwrap().status(), 404);
    let metrics = client.get(format!("{}/metrics", running.admin));
    let metrics = metrics.send().await.unwrap().text().await.unwrap();
    let mut counts = BTreeMap::new();
    for line in metrics.lines().filter_map(|line| line.strip_prefix(COUNT)) {
        let (labels, count) = line.rsplit_once("} ").unwrap();
        let label = |name: &str| {
            let (_, value) = labels.split_once(&format!("{name}=\""))?;
            Some(value.split_once('"')?.0)
        };
        let series = (label("http_route"), label("endcap_tenant"));
        assert!(counts.insert(series, count).is_none(), "{line}");
    }
    let route = Some("/v1/collections/{collectionId}");
    let expected = if is_set {
        BTreeMap::from([
            ((None, None), "1"),
            ((route, Some("a")), "2"),
            ((route, Some("b")), "1"),
        ])
    } else {
        BTreeMap::from([((None, None), "1"), ((route, None), "3")])
    };
    assert_eq!(counts, expected);
}
