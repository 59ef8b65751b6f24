//! A server that starts before its database.

use std::time::{Duration, Instant};

use endcap::{config::Flags, grpc::pb};
use endcap_migrations::Migrator;
use sea_orm::{ConnectionTrait as _, Database};
use sea_orm_migration::MigratorTrait as _;
use tonic::{Code, Status};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_types::StatusExt as _;

use super::{Place, migrate::names};
use crate::{
    collections::reason,
    harness::{Server, create, http_client, is_ready, products},
    postgres::{self, Cluster},
    program::{Running, endcap, start_unready},
};

/// Requests of each protocol that need the database.
const PATHS: [&str; 4] = [
    "/ccadmin/v1/collections/a",
    "/ccadmin/v1/login",
    "/products/collections/a?altId=default",
    "/products/collections?altId=default",
];

async fn get(server: &Running) -> Result<pb::Collection, Status> {
    let channel = tonic::transport::Endpoint::new(server.grpc.clone()).unwrap();
    let client =
        pb::collection_service_client::CollectionServiceClient::new(channel.connect_lazy());
    crate::harness::get(&mut client.clone(), "rootCategory").await
}

async fn health(server: &Running, service: &str) -> ServingStatus {
    let channel = tonic::transport::Endpoint::new(server.grpc.clone()).unwrap();
    let mut health = HealthClient::new(channel.connect_lazy());
    let request = HealthCheckRequest {
        service: service.into(),
    };
    health.check(request).await.unwrap().into_inner().status()
}

/// Waits until the server reports that it is not ready for this reason.
async fn waits_for(server: &Running, brief: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let body = is_ready(&server.admin, false).await;
        if body == format!("not ready: {brief}\n") {
            return;
        }
        assert!(Instant::now() < deadline, "{body:?} and not {brief:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Each probe and each protocol reports that the server is alive and not ready, and why.
async fn refuses(server: &Running, brief: &str) {
    for service in [
        "",
        "endcap.v1.CollectionService",
        "endcap.v1.ProductService",
        "endcap.v1.RuleService",
    ] {
        assert_eq!(health(server, service).await, ServingStatus::NotServing);
    }
    assert_eq!(health(server, "liveness").await, ServingStatus::Serving);
    let live = reqwest::get(format!("{}/livez", server.admin)).await;
    assert_eq!(live.unwrap().status(), 200);

    let status = get(server).await.unwrap_err();
    let told = (status.code(), reason(&status));
    assert_eq!(told, (Code::Unavailable, "DATABASE_UNAVAILABLE".into()));
    assert!(status.message().contains(brief), "{status:?}");
    assert!(status.get_error_details().retry_info().is_some());
    let client = http_client().build().unwrap();
    for path in PATHS {
        let url = format!("{}{path}", server.http);
        let response = client.post(url).header("version", "2021-07-28").send();
        let response = response.await.unwrap();
        assert_eq!(response.status(), 503, "{path}");
        assert_eq!(response.headers()["retry-after"], "1", "{path}");
        let body = response.text().await.unwrap();
        assert!(body.contains(brief), "{path}: {body}");
    }
    // API descriptions need no database.
    for path in ["/docs/", "/openapi/oracle.json"] {
        let response = reqwest::get(format!("{}{path}", server.http)).await;
        assert_eq!(response.unwrap().status(), 200, "{path}");
    }
}

/// The messages that the server has logged outside of requests, in order.
fn told(server: &Running) -> Vec<String> {
    let log = server.log();
    let beside = log.iter().filter(|entry| entry.get("span").is_none());
    let messages = beside.filter_map(|entry| entry["message"].as_str());
    messages.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_starts_before_its_database_and_reports_the_cause() {
    let cluster = Cluster::start();
    let base = cluster.url();
    let (cluster_url, _) = base.rsplit_once('/').unwrap();
    let url = format!("{cluster_url}/late");
    cluster.pg_ctl(&["-m", "fast", "stop"]);
    let folder = tempfile::tempdir().unwrap();
    let server = start_unready(endcap(folder.path(), Some(&url)));
    waits_for(&server, "the database can't be reached").await;
    refuses(&server, "the database can't be reached").await;

    cluster.start_again();
    waits_for(&server, "the database does not exist").await;
    refuses(&server, "the database does not exist").await;

    let admin = Database::connect(&base).await.unwrap();
    let sql = "CREATE DATABASE late";
    admin.execute_unprepared(sql).await.unwrap();
    admin.close().await.unwrap();
    let pending = format!("migrations are pending: {}", names().join(", "));
    waits_for(&server, &pending).await;
    refuses(&server, "migrations are pending").await;

    let migrated = endcap(folder.path(), Some(&url)).arg("migrate").output();
    assert!(migrated.unwrap().status.success());
    assert_eq!(is_ready(&server.admin, true).await, "ok\n");
    assert_eq!(get(&server).await.unwrap().id, "rootCategory");
    assert_eq!(health(&server, "").await, ServingStatus::Serving);

    // Each cause is logged once, however often it occurred, and nothing else. A database that is
    // starting up may be reported in between.
    let mut told = told(&server);
    told.retain(|text| !text.contains("starting up"));
    let starts = [
        "not ready yet: the database can't be reached: 127.0.0.1:",
        "serving",
        "using PostgreSQL",
        "authentication is disabled",
        "not ready yet: database \"late\" does not exist; ",
        "not ready yet: migrations are pending: ",
        "ready",
    ];
    assert_eq!(told.len(), starts.len(), "{told:#?}");
    for (text, start) in told.iter().zip(starts) {
        assert!(text.starts_with(start), "{told:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_waits_for_pending_migrations_without_a_restart() {
    let place = Place::new(endcap::store::Engine::Postgres).await;
    let names = names();
    let db = place.connect().await;
    let count = u32::try_from(names.len() - 1).unwrap();
    Migrator::up(&db, Some(count)).await.unwrap();
    db.close().await.unwrap();
    let server = start_unready(place.endcap());
    let last = names.last().unwrap();
    let pending = format!("migrations are pending: {last}");
    waits_for(&server, &pending).await;
    refuses(&server, &pending).await;
    let (status, printed, _) = place.run(&["migrate"]);
    assert_eq!((status, &*printed), (Some(0), "applied 1 migrations\n"));
    is_ready(&server.admin, true).await;
    get(&server).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_database_is_reported_and_requests_still_try_it() {
    let cluster = Cluster::start();
    let flags = Flags {
        database_acquire_timeout: Some("1s".into()),
        ..Flags::default()
    };
    let server = Server::start_at(Some(cluster.url()), flags).await;
    let mut client = server.grpc().await;
    create(&mut client, "a").await;
    cluster.pg_ctl(&["-m", "fast", "stop"]);
    let body = is_ready(&server.admin, false).await;
    assert_eq!(body, "not ready: the database can't be reached\n");
    // The error comes from the pool, not from the last check, whose result may be stale.
    let status = crate::harness::get(&mut client, "a").await.unwrap_err();
    assert!(!status.message().contains("not ready"), "{status:?}");
    cluster.start_again();
    is_ready(&server.admin, true).await;
    assert!(products(&mut client, "a").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_server_stops_promptly() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("postgres://nobody@127.0.0.1:{}/none", postgres::free_port());
    let mut server = start_unready(endcap(folder.path(), Some(&url)));
    waits_for(&server, "the database can't be reached").await;
    let began = Instant::now();
    assert!(server.stop());
    assert!(began.elapsed() < Duration::from_secs(10));
}
