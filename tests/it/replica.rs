//! Read replicas: which reads a hot standby of PostgreSQL may serve, and that it causes no errors,
//! only delays, if it is behind, stalled, gone or promoted.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use endcap::{
    config::Flags,
    grpc::pb::{
        self,
        collection_service_client::CollectionServiceClient,
        consistency::Requirement::{self, AtLeast, Within},
        get_collection_request::Key,
    },
};
use prost_types::FieldMask;
use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, Statement};
use tonic::transport::Channel;

use crate::{
    faults::proxy::{Fault, Proxy},
    harness::{Server, append, create, is_ready, mutate},
    postgres::Cluster,
};

type Client = CollectionServiceClient<Channel>;

fn within(time: Duration) -> Option<Requirement> {
    Some(Within(time.try_into().unwrap()))
}

/// A read that may be arbitrarily old.
fn any() -> Option<Requirement> {
    within(Duration::from_secs(3_600))
}

fn request(requirement: Option<Requirement>) -> pb::GetCollectionRequest {
    pb::GetCollectionRequest {
        key: Some(Key::CollectionId("a".into())),
        consistency: Some(pb::Consistency { requirement }),
        ..pb::GetCollectionRequest::default()
    }
}

/// Reads the collection, and returns its etag.
async fn read(client: &mut Client, requirement: Option<Requirement>) -> String {
    let response = client.get_collection(request(requirement)).await.unwrap();
    response.into_inner().collection.unwrap().etag
}

/// Reads a page of this size, and returns its etag.
async fn page(client: &mut Client, size: i32, requirement: Option<Requirement>) -> String {
    let page = client.list_children(page_request(size, requirement)).await;
    page.unwrap().into_inner().etag
}

fn page_request(size: i32, requirement: Option<Requirement>) -> pb::ListChildrenRequest {
    pb::ListChildrenRequest {
        collection_id: "a".into(),
        child_type: pb::ChildType::Product.into(),
        page_size: size,
        consistency: Some(pb::Consistency { requirement }),
        ..pb::ListChildrenRequest::default()
    }
}

/// Reads the title of the product "p0" on a page of the list.
async fn title(server: &Server, requirement: Option<Requirement>) -> String {
    let request = pb::ListChildrenRequest {
        product_mask: Some(FieldMask {
            paths: vec!["title".into()],
        }),
        ..page_request(50, requirement)
    };
    let page = server.grpc().await.list_children(request).await.unwrap();
    let mut children = page.into_inner().children.into_iter();
    let child = children.find(|child| child.id == "p0").unwrap();
    child.product.unwrap().title
}

async fn set_title(server: &Server, title: &str) {
    let product = pb::Product {
        id: "p0".into(),
        title: title.into(),
        ..Default::default()
    };
    let request = pb::UpsertProductsRequest {
        products: vec![product],
        ..Default::default()
    };
    let mut client = server.products().await;
    client.upsert_products(request).await.unwrap();
}

/// Writes to the collection, and returns its new etag.
async fn write(client: &mut Client, product: &str) -> String {
    let request = mutate("a", vec![append([product])]);
    let response = client.mutate_children(request).await.unwrap();
    response.into_inner().collection.unwrap().etag
}

async fn metric(server: &Server, name: &str) -> f64 {
    let metrics = server.metrics().await;
    let value = metrics.lines().find_map(|line| line.strip_prefix(name));
    value.map_or(0.0, |value| value.trim().parse().unwrap())
}

/// How many reads the replica has served.
async fn served(server: &Server) -> f64 {
    metric(server, "endcap_replica_reads_total{result=\"served\"}").await
}

/// Reads until the replica serves this etag.
async fn until_served(server: &Server, client: &mut Client, etag: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let before = served(server).await;
        let read = read(client, any()).await;
        if served(server).await > before && read == etag {
            return;
        }
        assert!(Instant::now() < deadline, "{}", server.metrics().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn ask(db: &DatabaseConnection, sql: &str) -> String {
    let statement = Statement::from_string(DbBackend::Postgres, sql);
    let row = db.query_one_raw(statement).await.unwrap().unwrap();
    row.try_get_by_index(0).unwrap()
}

async fn in_background<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// A primary, a hot standby, and a proxy in front of the standby.
async fn start() -> (Arc<Cluster>, Arc<Cluster>, Proxy) {
    let primary = Arc::new(in_background(Cluster::start).await);
    let url = primary.url();
    let follow = move || {
        let arguments = ["-R", "--no-sync", "-c", "fast", "-d", &url];
        Cluster::made("pg_basebackup", &arguments)
    };
    let standby = Arc::new(in_background(follow).await);
    let proxy = Proxy::before(&standby.url()).await;
    (primary, standby, proxy)
}

/// A single test, because metrics are those of the whole process.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_serves_allowed_reads_and_its_faults_cause_no_errors() {
    let (primary, standby, proxy) = start().await;
    let flags = Flags {
        database_read_url: Some(proxy.url(&standby.url())),
        database_read_timeout: Some("1s".into()),
        ..Flags::default()
    };
    let uncached = Flags {
        read_cache_size: Some("0".into()),
        ..flags.clone()
    };
    let server = Server::start_at(Some(primary.url()), uncached).await;
    let caching = Server::start_at(Some(primary.url()), flags).await;
    let mut client = server.grpc().await;
    let db = sea_orm::Database::connect(standby.url()).await.unwrap();

    up_to_date(&server, &mut client).await;
    behind(&server, &caching, &db).await;
    for fault in [Fault::Stall, Fault::Cut] {
        proxy.set(fault);
        let now = write(&mut client, &format!("{fault:?}")).await;
        let start = Instant::now();
        for _ in 0..50 {
            assert_eq!(read(&mut client, any()).await, now);
        }
        let took = start.elapsed();
        assert!(took < Duration::from_secs(5), "{took:?}");
        is_ready(&server.admin, true).await;
        // Stalled connections stay stalled.
        proxy.set(Fault::Cut);
        tokio::time::sleep(Duration::from_millis(100)).await;
        proxy.set(Fault::None);
        until_served(&server, &mut client, &now).await;
    }

    // The standby becomes a primary while it is read, and others write to it.
    let now = read(&mut client, None).await;
    let reads = tokio::spawn({
        let (mut client, now) = (server.grpc().await, now.clone());
        async move {
            let start = Instant::now();
            while start.elapsed() < Duration::from_secs(4) {
                assert_eq!(read(&mut client, any()).await, now);
            }
        }
    });
    // A clone, because dropping it would stop it.
    let promoted = Arc::clone(&standby);
    in_background(move || promoted.pg_ctl(&["promote"])).await;
    let astray = "UPDATE collections SET version = version + 1 WHERE id = 'a'";
    let done = db.execute_unprepared(astray).await.unwrap();
    assert_eq!(done.rows_affected(), 1);
    reads.await.unwrap();
    let before = served(&server).await;
    assert_eq!(read(&mut client, any()).await, now);
    assert_eq!(read(&mut client, Some(AtLeast(now.clone()))).await, now);
    assert_eq!(served(&server).await, before);
}

/// The standby serves reads, except those that require newer data.
async fn up_to_date(server: &Server, client: &mut Client) {
    let mut now = create(client, "a").await.etag;
    until_served(server, client, &now).await;
    for n in 0..20 {
        now = write(client, &format!("p{n}")).await;
        let before = served(server).await;
        assert_eq!(read(client, None).await, now);
        assert_eq!(served(server).await, before);
        let at_least = Some(AtLeast(now.clone()));
        assert_eq!(read(client, at_least.clone()).await, now);
        assert_eq!(page(client, 50, at_least).await, now);
    }
    until_served(server, client, &now).await;
    let before = served(server).await;
    assert_eq!(page(client, 50, any()).await, now);
    assert_eq!(read(client, Some(AtLeast(now.clone()))).await, now);
    assert_eq!(served(server).await, before + 2.0);
    set_title(server, "before").await;
    // Until the standby has replayed it, and has served a page with it.
    let deadline = Instant::now() + Duration::from_secs(60);
    while title(server, any()).await != "before" || served(server).await < before + 3.0 {
        assert!(
            Instant::now() < deadline,
            "the standby serves no page with products"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Replay is paused: the standby's data is returned only for requests that allow data of this age,
/// and is cached with its age.
async fn behind(server: &Server, caching: &Server, standby: &DatabaseConnection) {
    let (mut client, mut cached) = (server.grpc().await, caching.grpc().await);
    ask(standby, "SELECT pg_wal_replay_pause()::text").await;
    while ask(standby, "SELECT pg_get_wal_replay_pause_state()").await != "paused" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let old = read(&mut client, None).await;
    set_title(server, "after").await;
    let now = write(&mut client, "while it is paused").await;
    until_served(server, &mut client, &old).await;
    // Data from the database stays cached, so each attempt reads another page.
    let mut size = 1;
    while page(&mut cached, size, any()).await != old {
        assert!(size < 1_000);
        size += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let before = served(server).await;
    assert_eq!(page(&mut cached, size, any()).await, old);
    assert_eq!(served(server).await, before);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let recent = within(Duration::from_millis(200));
    // Pages with products are as old as the replica, and never mix two states.
    assert_eq!(title(server, any()).await, "before");
    assert_eq!(title(server, recent.clone()).await, "after");
    assert_eq!(title(server, Some(AtLeast(now.clone()))).await, "after");
    assert_eq!(title(server, None).await, "after");
    for client in [&mut client, &mut cached] {
        assert_eq!(read(client, recent.clone()).await, now);
        assert_eq!(page(client, size, recent.clone()).await, now);
        assert_eq!(page(client, size, Some(AtLeast(now.clone()))).await, now);
        assert_eq!(page(client, size, None).await, now);
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    while metric(server, "endcap_replica_lag_seconds").await < 1.0 {
        assert!(Instant::now() < deadline, "{}", server.metrics().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ask(standby, "SELECT pg_wal_replay_resume()::text").await;
    until_served(server, &mut client, &now).await;
}
