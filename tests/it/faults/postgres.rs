use std::time::{Duration, Instant};

use endcap::{config::Flags, grpc::pb, store::Engine};
use futures::future::join_all;
use sea_orm::{ConnectionTrait as _, Database};
use tonic::{Code, Status};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_types::StatusExt as _;

use super::proxy::{Fault, Proxy};
use crate::{
    collections::reason,
    harness::{Server, append, create, mutate, products},
    postgres::{self, Cluster},
};

/// The pool size of these servers: small, so that a leaked connection is noticed.
const CONNECTIONS: usize = 2;

fn flags() -> Flags {
    Flags {
        database_max_connections: Some(CONNECTIONS.to_string()),
        database_acquire_timeout: Some("1s".into()),
        request_timeout: Some("3s".into()),
        ..Flags::default()
    }
}

async fn behind_a_proxy() -> (Proxy, Server) {
    let url = postgres::new_database().await;
    let proxy = Proxy::before(&url).await;
    let mut server = Server::start_at(Some(proxy.url(&url)), flags()).await;
    // Tests access the database directly.
    server.database = url;
    (proxy, server)
}

fn get(id: &str) -> pb::GetCollectionRequest {
    pb::GetCollectionRequest {
        key: Some(pb::get_collection_request::Key::CollectionId(id.into())),
        ..pb::GetCollectionRequest::default()
    }
}

/// Whether an error is UNAVAILABLE with a retry delay.
fn is_unavailable(status: &Status) -> bool {
    let told = (status.code(), reason(status));
    told == (Code::Unavailable, "DATABASE_UNAVAILABLE".into())
        && status.get_error_details().retry_info().is_some()
}

/// Sends requests until one succeeds.
async fn recovers(server: &Server) {
    let mut client = server.grpc().await;
    let deadline = Instant::now() + Duration::from_secs(60);
    while let Err(status) = client.get_collection(get("a")).await {
        assert!(Instant::now() < deadline, "{status:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Checks that both connections of the pool are usable soon: while a write waits for a lock on one,
/// a read uses the other.
async fn no_connection_leaked(server: &Server) {
    let mut client = server.grpc().await;
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let held = server.hold_writes().await;
        let mut writer = client.clone();
        let write = tokio::spawn(async move {
            let request = mutate("a", vec![append(["later"])]);
            writer.mutate_children(request).await
        });
        let waits = tokio::time::timeout(Duration::from_secs(2), server.waits_for_a_lock());
        let waits = waits.await.is_ok();
        let read = client.get_collection(get("a")).await;
        held.rollback().await.unwrap();
        let written = write.await.unwrap();
        if waits && read.is_ok() && written.is_ok() {
            return;
        }
        assert!(Instant::now() < deadline, "{waits} {read:?} {written:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_lost_during_a_write_rolls_it_back_and_is_reported() {
    for fault in [Fault::Cut, Fault::Reset] {
        let (proxy, server) = behind_a_proxy().await;
        let mut client = server.grpc().await;
        create(&mut client, "a").await;
        let held = server.hold_writes().await;
        let mut writer = client.clone();
        let write = tokio::spawn(async move {
            let request = mutate("a", vec![append(["lost"])]);
            writer.mutate_children(request).await
        });
        server.waits_for_a_lock().await;
        proxy.set(fault);
        let status = write.await.unwrap().unwrap_err();
        assert!(is_unavailable(&status), "{fault:?}: {status:?}");
        held.rollback().await.unwrap();
        proxy.set(Fault::None);
        recovers(&server).await;
        let request = mutate("a", vec![append(["kept"])]);
        client.mutate_children(request).await.unwrap();
        assert_eq!(products(&mut client, "a").await, ["kept"], "{fault:?}");
        no_connection_leaked(&server).await;
    }
}

/// As after a failover, when the address of the database still leads to a standby.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_database_refuses_writes_until_it_is_writable() {
    let (_proxy, server) = behind_a_proxy().await;
    let mut client = server.grpc().await;
    create(&mut client, "a").await;
    let (base, name) = server.database.rsplit_once('/').unwrap();
    let another = format!("{base}/postgres");
    let db = Database::connect(another).await.unwrap();
    let restart = async |setting: &str| {
        let sql = format!("ALTER DATABASE {name} {setting}");
        db.execute_unprepared(&sql).await.unwrap();
        let sql = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        );
        db.execute_unprepared(&sql).await.unwrap();
    };
    restart("SET default_transaction_read_only = on").await;
    recovers(&server).await;
    let request = || mutate("a", vec![append(["p"])]);
    let status = client.mutate_children(request()).await.unwrap_err();
    assert!(is_unavailable(&status), "{status:?}");
    restart("RESET default_transaction_read_only").await;
    recovers(&server).await;
    client.mutate_children(request()).await.unwrap();
    assert_eq!(products(&mut client, "a").await, ["p"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_idle_connections_fail_no_request() {
    let (proxy, server) = behind_a_proxy().await;
    let mut client = server.grpc().await;
    create(&mut client, "a").await;
    let reads = (0..20).map(|_| {
        let mut client = client.clone();
        async move { client.get_collection(get("a")).await.unwrap() }
    });
    join_all(reads).await;
    proxy.set(Fault::Cut);
    proxy.set(Fault::None);
    for _ in 0..2 * CONNECTIONS {
        client.get_collection(get("a")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_database_is_reported_in_each_protocol_until_it_is_back() {
    let (proxy, server) = behind_a_proxy().await;
    create(&mut server.grpc().await, "a").await;
    proxy.set(Fault::Cut);
    let status = server
        .grpc()
        .await
        .get_collection(get("a"))
        .await
        .unwrap_err();
    assert!(is_unavailable(&status), "{status:?}");
    for path in [
        "/ccadmin/v1/collections/a",
        "/products/collections/a?altId=default",
    ] {
        let url = format!("{}{path}", server.http);
        let request = server.client.get(url).header("version", "2021-07-28");
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 503, "{path}");
        assert_eq!(response.headers()["retry-after"], "1", "{path}");
    }
    // All probes report the same, whatever their protocol, and none waits for the database.
    is_ready(&server, false).await;
    proxy.set(Fault::Stall);
    is_ready(&server, false).await;
    proxy.set(Fault::None);
    recovers(&server).await;
    is_ready(&server, true).await;
}

/// Waits until all probes report this state.
async fn is_ready(server: &Server, expected: bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let channel = tonic::transport::Endpoint::new(server.grpc.clone()).unwrap();
    let mut health = HealthClient::new(channel.connect_lazy());
    let mut check = async |service: &str| {
        let request = HealthCheckRequest {
            service: service.into(),
        };
        let response = health.check(request).await.unwrap().into_inner();
        response.status() == ServingStatus::Serving
    };
    loop {
        let ready = server.client.get(format!("{}/readyz", server.admin)).send();
        let status = ready.await.unwrap().status();
        let mut all = vec![status == 200];
        for service in [
            "",
            "endcap.v1.CollectionService",
            "endcap.v1.ProductService",
            "endcap.v1.RuleService",
        ] {
            all.push(check(service).await);
        }
        assert!(check("liveness").await, "the process is alive");
        if all.iter().all(|ready| *ready == expected) {
            return;
        }
        assert!(Instant::now() < deadline, "{all:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_database_delays_no_request_beyond_its_deadline() {
    let (proxy, server) = behind_a_proxy().await;
    let client = server.grpc().await;
    create(&mut client.clone(), "a").await;
    // Gives the connection time to return to its pool, which can't be observed.
    tokio::time::sleep(Duration::from_millis(500)).await;
    proxy.set(Fault::Stall);
    let started = Instant::now();
    let requests = (0..5 * CONNECTIONS).map(|n| {
        let mut client = client.clone();
        async move {
            if n % 2 == 0 {
                client.get_collection(get("a")).await.unwrap_err()
            } else {
                let request = mutate("a", vec![append(["x"])]);
                client.mutate_children(request).await.unwrap_err()
            }
        }
    });
    for status in join_all(requests).await {
        let is_late = status.code() == Code::DeadlineExceeded;
        assert!(is_late || is_unavailable(&status), "{status:?}");
    }
    // The deadline is 3 s; the rest is a margin for slow machines.
    assert!(started.elapsed() < Duration::from_secs(20));
    // Stalled connections stay stalled; new ones work.
    proxy.set(Fault::None);
    recovers(&server).await;
    no_connection_leaked(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_writes_survive_restarts_of_postgres() {
    let cluster = Cluster::start();
    let server = Server::start_at(Some(cluster.url()), flags()).await;
    let client = server.grpc().await;
    create(&mut client.clone(), "a").await;
    // Writers run continuously.
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (mut client, stopped) = (client.clone(), stopped.clone());
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for n in 0.. {
                    if *stopped.borrow() {
                        break;
                    }
                    let id = format!("{writer}-{n}");
                    let request = mutate("a", vec![append([&id])]);
                    match client.mutate_children(request).await {
                        Ok(_) => acknowledged.push(id),
                        Err(status) => {
                            let is_late = status.code() == Code::DeadlineExceeded;
                            assert!(is_late || is_unavailable(&status), "{status:?}");
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                    }
                }
                acknowledged
            })
        })
        .collect();
    for mode in ["fast", "immediate"] {
        cluster.pg_ctl(&["-m", mode, "stop"]);
        let status = client.clone().get_collection(get("a")).await.unwrap_err();
        assert!(is_unavailable(&status), "{mode}: {status:?}");
        cluster.start_again();
        recovers(&server).await;
    }
    stop.send_replace(true);
    let lists = join_all(writers).await;
    let list = products(&mut client.clone(), "a").await;
    for id in lists.into_iter().flat_map(Result::unwrap) {
        assert!(list.contains(&id), "{id} was acknowledged");
    }
    no_connection_leaked(&server).await;
}

#[tokio::test]
async fn serialization_failures_are_retried_a_limited_number_of_times() {
    let server = Server::start(Engine::Postgres, Flags::default()).await;
    let mut client = server.grpc().await;
    create(&mut client, "a").await;
    let db = sea_orm::Database::connect(&server.database).await.unwrap();
    // A sequence is not rolled back with the transaction that used it.
    db.execute_unprepared(
        "CREATE SEQUENCE failures MINVALUE -1000000 START 1;
         CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF nextval('failures') <= 3 THEN
                 RAISE EXCEPTION 'again' USING ERRCODE = '40001';
             END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER fail BEFORE UPDATE ON collections
             FOR EACH ROW EXECUTE FUNCTION fail();",
    )
    .await
    .unwrap();
    let request = mutate("a", vec![append(["third-time-lucky"])]);
    client.mutate_children(request).await.unwrap();

    db.execute_unprepared("SELECT setval('failures', -1000000)")
        .await
        .unwrap();
    let request = mutate("a", vec![append(["never"])]);
    let status = client.mutate_children(request).await.unwrap_err();
    assert!(is_unavailable(&status), "{status:?}");
    assert_eq!(products(&mut client, "a").await, ["third-time-lucky"]);
}
