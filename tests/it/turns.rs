//! Tenants that wait for the database take turns.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use endcap::{
    domain::{Caller, CollectionId, Reason, TenantId},
    store::{Database, DatabasePlace, Engine, Mode, Store, collections, keys},
};
use futures::{
    FutureExt as _,
    future::{BoxFuture, join, join_all, ready},
};
use rstest::rstest;
use tempfile::TempDir;
use tokio::sync::Notify;

use crate::{harness, postgres};

/// What a request does.
#[derive(Clone, Copy, Debug)]
enum Request {
    Read,
    Write,
    Search,
}

/// Runs `work` in a request of the tenant.
async fn run(
    store: &Store,
    request: Request,
    tenant: &str,
    work: &(dyn Fn() -> BoxFuture<'static, ()> + Sync),
) {
    let caller = Caller::operator(TenantId::parse("", tenant).unwrap());
    match request {
        Request::Write => {
            let writing = caller.writing().unwrap();
            let written = store.write_on(&writing, Mode::Commit, work, |_, work| {
                work().map(Ok).boxed()
            });
            written.await.unwrap();
        }
        Request::Read => {
            let _tx = store.read(&caller.reading().unwrap()).await.unwrap();
            work().await;
        }
        Request::Search => {
            let _permit = store.search(&caller.reading().unwrap()).await;
            work().await;
        }
    }
}

/// A store with a single connection that reads, on PostgreSQL also writes, and one search at a time.
async fn with_one_connection(engine: Engine, acquire_timeout: Duration) -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let place = match engine {
        Engine::Sqlite => DatabasePlace::File(folder.path().join("test.db")),
        Engine::Postgres => DatabasePlace::Url(postgres::new_database().await),
    };
    let database = Database {
        max_connections: 1,
        acquire_timeout,
        ..harness::database(place)
    };
    let store = Store::connect(&database).await.unwrap().with_searches(1);
    store.migrate().await.unwrap();
    (folder, store)
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_with_many_requests_delays_another_one_by_one_request(
    #[values(Engine::Sqlite, Engine::Postgres)] engine: Engine,
    #[values(Request::Read, Request::Write, Request::Search)] request: Request,
) {
    let (_folder, store) = with_one_connection(engine, Duration::from_secs(10)).await;
    let (held, gate) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    // It holds the only connection or permit until the gate is opened.
    let hold = || {
        let (held, gate) = (Arc::clone(&held), Arc::clone(&gate));
        async move {
            held.notify_one();
            gate.notified().await;
        }
        .boxed()
    };
    let mut holder = Box::pin(run(&store, request, "first", &hold));
    tokio::select! {
        () = &mut holder => panic!("it holds nothing"),
        () = held.notified() => {}
    }
    let done = Arc::new(Mutex::new(Vec::new()));
    let record = |tenant: &'static str| {
        let done = Arc::clone(&done);
        move || {
            done.lock().unwrap().push(tenant);
            ready(()).boxed()
        }
    };
    let (busy, quiet) = (record("busy"), record("quiet"));
    let mut requests = Vec::new();
    for _ in 0..20 {
        requests.push(Box::pin(run(&store, request, "busy", &busy)));
    }
    for _ in 0..2 {
        requests.push(Box::pin(run(&store, request, "quiet", &quiet)));
    }
    for waiting in &mut requests {
        assert!(waiting.as_mut().now_or_never().is_none());
    }
    gate.notify_one();
    join(holder, join_all(requests)).await;
    let mut order = vec!["busy", "quiet", "busy", "quiet"];
    order.extend(["busy"; 18]);
    assert_eq!(*done.lock().unwrap(), order);
    store.close().await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn requests_wait_for_a_connection_no_longer_than_the_timeout(
    #[values(Engine::Sqlite, Engine::Postgres)] engine: Engine,
) {
    let (_folder, store) = with_one_connection(engine, Duration::from_millis(300)).await;
    let caller = Caller::operator(TenantId::parse("", "shop").unwrap());
    let reading = caller.reading().unwrap();
    let held = store.read(&reading).await.unwrap();
    let tx = store.look_up(&reading).unwrap();
    let results = [
        store.read(&reading).await.map(drop),
        collections::get(&tx, &CollectionId::root()).await.map(drop),
        // A statement for no tenant, as those that check credentials.
        keys::find(&store, "none").await.map(drop),
    ];
    for result in results {
        assert_eq!(result.unwrap_err().reason, Reason::DatabaseUnavailable);
    }
    drop(held);
    assert!(keys::find(&store, "none").await.unwrap().is_none());
    store.close().await;
}
