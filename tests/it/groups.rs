//! Group commit: writes that share a transaction do not affect each other. On SQLite these are any
//! writes, on PostgreSQL updates of properties.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use endcap::{
    config::Flags,
    domain::{
        Caller, ChildId, ChildType, CollectionId, Error, Locale, Mutation, Reason, Result,
        RootNames, TenantId,
    },
    store::{Engine, Mode, Store, Tx, children::Children, collections, lock::LockSet, tenants},
};
use futures::{FutureExt as _, future::join_all};
use proptest::{prelude::*, sample::select, test_runner::TestRunner};
use rstest::rstest;
use sea_orm::{
    ConnectionTrait as _, DatabaseTransaction, DbBackend, SqliteTransactionMode, Statement,
    TransactionOptions, TransactionTrait as _,
};
use tokio::sync::{Notify, Semaphore};

use crate::{
    children::new_store,
    collections::reason,
    faults::disk::limited,
    harness::{Server, append, create, get, http_client, mutate, rename},
    postgres,
    program::{Running, endcap_at, output, start},
};
use endcap::grpc::pb::{self, collection_service_client::CollectionServiceClient};

/// How a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Kept,
    DryRun,
    /// It reads, and writes nothing.
    Idle,
    Fails,
    /// It fails before its first statement.
    FailsAtOnce,
    Panics,
    /// Its caller is cancelled while it runs.
    Cancelled,
}

const FATES: [Fate; 7] = [
    Fate::Kept,
    Fate::DryRun,
    Fate::Idle,
    Fate::Fails,
    Fate::FailsAtOnce,
    Fate::Panics,
    Fate::Cancelled,
];

/// The parameters of a transaction.
struct Unit {
    fate: Fate,
    id: ChildId,
    /// Gets permits once all transactions wait for their turn.
    gate: Arc<Semaphore>,
    /// Notified when it starts to hang.
    hangs: Arc<Notify>,
}

async fn work(tx: &Tx, unit: &Unit) -> Result<()> {
    drop(unit.gate.acquire().await.unwrap());
    let failed = || Error::new(Reason::InvalidField, "it was to fail");
    if unit.fate == Fate::Idle {
        return Ok(());
    }
    if unit.fate == Fate::FailsAtOnce {
        return Err(failed());
    }
    let (root, locale) = (CollectionId::root(), Locale::trusted("en"));
    tenants::ensure(tx, RootNames::default(), &locale).await?;
    let mut locked = tx.lock(LockSet::of(&root)).await?;
    let mutation = Mutation::append(vec![unit.id.clone()]);
    let list = ChildType::Product;
    locked.mutate(tx, &root, list, &[&mutation]).await?;
    locked.save(tx, &locale).await?;
    match unit.fate {
        Fate::Fails => Err(failed()),
        // Without the panic hook: a backtrace of this large program can take longer than others
        // wait for the writer.
        Fate::Panics => std::panic::resume_unwind(Box::new("it was to panic")),
        Fate::Cancelled => {
            unit.hangs.notify_one();
            std::future::pending().await
        }
        Fate::Kept | Fate::DryRun | Fate::Idle | Fate::FailsAtOnce => Ok(()),
    }
}

/// Runs transactions with these fates that all wait for the single writer, and returns which ones
/// are committed.
async fn run(store: &Store, tenant: &TenantId, fates: &[Fate]) -> BTreeSet<ChildId> {
    let gate = Arc::new(Semaphore::new(0));
    let units = fates.iter().enumerate().map(|(at, &fate)| {
        let unit = Unit {
            fate,
            id: ChildId::trusted(format!("p{at}")),
            gate: Arc::clone(&gate),
            hangs: Arc::default(),
        };
        let (store, tenant, hangs) = (store.clone(), tenant.clone(), Arc::clone(&unit.hangs));
        let task = tokio::spawn(async move {
            let writing = Caller::operator(tenant).writing().unwrap();
            let mode = if fate == Fate::DryRun {
                Mode::DryRun
            } else {
                Mode::Commit
            };
            store
                .write_on(&writing, mode, &unit, |tx, unit| work(tx, unit).boxed())
                .await
        });
        async move {
            if fate == Fate::Cancelled {
                hangs.notified().await;
                task.abort();
            }
            (fate, at, task.await)
        }
    });
    let units: Vec<_> = units.collect();
    gate.add_permits(fates.len());
    let mut kept = BTreeSet::new();
    for (fate, at, result) in join_all(units).await {
        match fate {
            Fate::Kept => {
                result.unwrap().unwrap();
                kept.insert(ChildId::trusted(format!("p{at}")));
            }
            Fate::DryRun | Fate::Idle => result.unwrap().unwrap(),
            Fate::Fails | Fate::FailsAtOnce => {
                assert_eq!(result.unwrap().unwrap_err().reason, Reason::InvalidField);
            }
            Fate::Panics => assert!(result.unwrap_err().is_panic()),
            Fate::Cancelled => assert!(result.unwrap_err().is_cancelled()),
        }
    }
    kept
}

#[test]
fn a_write_that_fails_panics_or_is_cancelled_rolls_back_only_itself() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // A store must be dropped within a runtime, also after a failed assertion.
    let _within = runtime.enter();
    let folder = tempfile::tempdir().unwrap();
    let store = runtime.block_on(new_store(Engine::Sqlite, folder.path()));
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 60,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let mut case = 0;
    let fates = prop::collection::vec(select(&FATES[..]), 1..12);
    let case = std::cell::RefCell::new(&mut case);
    runner
        .run(&fates, |fates| {
            let number = {
                let mut case = case.borrow_mut();
                **case += 1;
                **case
            };
            let tenant = TenantId::parse("", &format!("t{number}")).unwrap();
            runtime.block_on(async {
                let kept = run(&store, &tenant, &fates).await;
                let reading = Caller::operator(tenant).reading().unwrap();
                let tx = store.read(&reading).await.unwrap();
                let root = collections::get(&tx, &CollectionId::root()).await.unwrap();
                let Some(root) = root else {
                    prop_assert!(kept.is_empty());
                    return Ok(());
                };
                // The cached list, and the stored one.
                for list in [
                    Children::of(&tx, &root, ChildType::Product),
                    Children::uncached(&tx, &root.id, ChildType::Product),
                ] {
                    let all = list.page(0, 100).await.unwrap();
                    prop_assert_eq!(all.len, kept.len() as u64);
                    let all: BTreeSet<_> = all.children.into_iter().collect();
                    prop_assert_eq!(&all, &kept);
                    prop_assert_eq!(list.problems().await.unwrap(), Vec::<String>::new());
                }
                Ok(())
            })
        })
        .unwrap();
    runtime.block_on(store.close());
}

/// A transaction on another connection, which blocks all writers.
async fn hold(data: &Path) -> DatabaseTransaction {
    let url = format!("sqlite://{}", data.join("endcap.db").display());
    let other = sea_orm::Database::connect(url).await.unwrap();
    let options = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    other.begin_with_options(options).await.unwrap()
}

const IN_FLIGHT: &str = "endcap_requests_in_flight";

/// The value of one of the server's metrics.
async fn figure(running: &Running, name: &str) -> f64 {
    let url = format!("{}/metrics", running.admin);
    let client = http_client().build().unwrap();
    let text = client.get(url).send().await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0.0, |value| value.trim().parse().unwrap())
}

/// Files of the server may grow to 8 MiB.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_too_large_for_the_disk_fails_no_other_write_of_its_group() {
    let folder = tempfile::tempdir().unwrap();
    let mut served = endcap_at("127.0.0.1:0", folder.path(), None);
    served.args(["--max-group-commit-time", "10s"]);
    served.args(["--max-group-commit-size", "1GiB"]);
    let running = start(limited(&served, 16_384));
    let client = CollectionServiceClient::connect(running.grpc.clone());
    let mut client = client.await.unwrap();
    for list in 0..20 {
        create(&mut client, &format!("c{list}")).await;
    }
    create(&mut client, "large").await;
    let held = hold(folder.path()).await;
    // The large write is in the middle of the others.
    let writes = (0..21).map(|write| {
        let mut client = client.clone();
        let mutation = if write == 10 {
            let ids = (0..100_000).map(|n| format!("{n:060}"));
            mutate("large", vec![append(ids)])
        } else {
            mutate(&format!("c{}", write % 20), vec![append(["p"])])
        };
        tokio::spawn(async move { client.mutate_children(mutation).await })
    });
    let writes: Vec<_> = writes.collect();
    while figure(&running, IN_FLIGHT).await < 21.0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    held.rollback().await.unwrap();
    for (at, write) in writes.into_iter().enumerate() {
        let result = write.await.unwrap();
        if at == 10 {
            assert_eq!(reason(&result.unwrap_err()), "STORAGE_FULL");
        } else {
            result.unwrap();
        }
    }
}

/// How many commits 20 writes take if all of them wait for the writer.
async fn commits(data: &Path, flags: &[&str]) -> (f64, f64) {
    let mut command = endcap_at("127.0.0.1:0", data, None);
    command.args(flags);
    let running = start(command);
    let client = CollectionServiceClient::connect(running.grpc.clone());
    let mut client = client.await.unwrap();
    create(&mut client, "a").await;
    let figure = async |name: &str| figure(&running, name).await;
    let (count, sum) = (
        "endcap_commit_group_size_count",
        "endcap_commit_group_size_sum",
    );
    let before = (figure(count).await, figure(sum).await);
    // No write starts until all of them wait.
    let held = hold(data).await;
    let writes = (0..20).map(|write| {
        let mut client = client.clone();
        tokio::spawn(async move {
            // More than a kilobyte each.
            let ids = (0..40).map(|n| format!("product-{write:010}-{n:010}"));
            let write = mutate("a", vec![append(ids)]);
            client.mutate_children(write).await.unwrap();
        })
    });
    let writes: Vec<_> = writes.collect();
    while figure(IN_FLIGHT).await < 20.0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    held.rollback().await.unwrap();
    for write in writes {
        write.await.unwrap();
    }
    (figure(count).await - before.0, figure(sum).await - before.1)
}

#[rstest]
#[case::as_large_as_it_may_be(&["--max-group-commit-time", "10s"], 1.0..=3.0)]
#[case::in_count(&["--max-group-commits", "5"], 4.0..=8.0)]
#[case::alone(&["--max-group-commits", "1"], 20.0..=20.0)]
#[case::in_bytes(&["--max-group-commit-size", "1KiB"], 20.0..=20.0)]
#[case::in_time(&["--max-group-commit-time", "1ms"], 2.0..=20.0)]
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_group_is_limited_in_count_bytes_and_time(
    #[case] flags: &[&str],
    #[case] expected: std::ops::RangeInclusive<f64>,
) {
    let folder = tempfile::tempdir().unwrap();
    let (commits, writes) = commits(folder.path(), flags).await;
    assert_eq!(writes, 20.0);
    assert!(expected.contains(&commits), "{commits}");
}

/// A running server with the collections `c0` to `c39`, and the URL of its PostgreSQL database.
async fn with_collections(
    engine: Engine,
    flags: &[&str],
) -> (tempfile::TempDir, Option<String>, Running) {
    let folder = tempfile::tempdir().unwrap();
    let url = match engine {
        Engine::Sqlite => None,
        Engine::Postgres => Some(postgres::new_database().await),
    };
    if let Some(url) = &url {
        let (migrated, _, error) = output(&["migrate", "--database-url", url], &[]);
        assert!(migrated, "{error}");
    }
    let mut command = endcap_at("127.0.0.1:0", folder.path(), url.as_deref());
    command.args(flags);
    let running = start(command);
    let client = CollectionServiceClient::connect(running.grpc.clone());
    let mut client = client.await.unwrap();
    for at in 0..40 {
        create(&mut client, &format!("c{at}")).await;
    }
    (folder, url, running)
}

/// What happens to an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UpdateFate {
    Done,
    /// Its etag is not the current one.
    Mismatched,
    /// Its collection does not exist.
    Missing,
    /// It would change the kind, which is found out when it is applied.
    Refused,
    /// Its caller is gone.
    Cancelled,
    /// It changes another property of the collection that the update before it changes.
    Other,
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn updates_that_share_a_transaction_do_not_affect_each_other(
    #[values(Engine::Sqlite, Engine::Postgres)] engine: Engine,
) {
    use UpdateFate::{Cancelled, Done, Mismatched, Missing, Other, Refused};
    const ROUNDS: usize = 20;
    let (_folder, _, running) = with_collections(engine, &[]).await;
    let client = CollectionServiceClient::connect(running.grpc.clone());
    let mut client = client.await.unwrap();
    let fates = [
        Done, Other, Done, Mismatched, Done, Missing, Done, Refused, Done, Cancelled,
    ];
    let fate = |at: usize| fates[at % fates.len()];
    let old = get(&mut client, "c0").await.unwrap().etag;
    let mut acknowledged = 0;
    for round in 0..ROUNDS {
        let updates = (0..40).map(|at| {
            let mut client = client.clone();
            let id = match fate(at) {
                Missing => "none".into(),
                Other => format!("c{}", at - 1),
                Done | Mismatched | Refused | Cancelled => format!("c{at}"),
            };
            let mut request = rename(&id, &format!("{round} {at}"));
            let mask = request.update_mask.as_mut().unwrap();
            let collection = request.collection.as_mut().unwrap();
            match fate(at) {
                Mismatched => collection.etag.clone_from(&old),
                Refused => {
                    collection.kind = pb::CollectionKind::Smart.into();
                    mask.paths.push("kind".into());
                }
                Other => {
                    collection.catalog_id = format!("{round}");
                    mask.paths = vec!["catalog_id".into()];
                }
                Done | Missing | Cancelled => {}
            }
            let mut request = tonic::Request::new(request);
            let name = format!("{round}-{at}").parse().unwrap();
            request.metadata_mut().insert("x-request-id", name);
            tokio::spawn(async move { client.update_collection(request).await })
        });
        let updates: Vec<_> = updates.collect();
        for at in (0..40).filter(|at| fate(*at) == Cancelled) {
            updates[at].abort();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let mut etags: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (at, update) in updates.into_iter().enumerate() {
            if fate(at) == Cancelled {
                continue;
            }
            let result = update.await.unwrap();
            let expected = match fate(at) {
                Mismatched => "ETAG_MISMATCH",
                Missing => "COLLECTION_NOT_FOUND",
                Refused => "KIND_IMMUTABLE",
                Done | Other | Cancelled => {
                    let updated = result.unwrap().into_inner().collection.unwrap();
                    acknowledged += 1;
                    if fate(at) == Done {
                        let name = format!("{round} {at}");
                        assert_eq!(updated.texts["en"].display_name, name);
                    } else {
                        assert_eq!(updated.catalog_id, round.to_string());
                    }
                    etags.entry(updated.id).or_default().push(updated.etag);
                    continue;
                }
            };
            assert_eq!(reason(&result.unwrap_err()), expected, "{at}");
        }
        for at in (0..40).filter(|at| fate(*at) == Done) {
            let stored = get(&mut client, &format!("c{at}")).await.unwrap();
            assert_eq!(stored.texts["en"].display_name, format!("{round} {at}"));
            // Nothing has changed it since the last of its updates was acknowledged.
            assert!(etags[&stored.id].contains(&stored.etag));
            let has_other = at + 1 < 40 && fate(at + 1) == Other;
            let catalog = if has_other {
                round.to_string()
            } else {
                String::new()
            };
            assert_eq!(stored.catalog_id, catalog);
        }
    }
    // Nobody waits for these.
    for at in 0..40 {
        let (mut client, rename) = (client.clone(), rename(&format!("c{at}"), "gone"));
        tokio::spawn(async move { client.update_collection(rename).await }).abort();
    }
    client
        .update_collection(rename("c0", "last"))
        .await
        .unwrap();
    // Each acknowledged update is in the audit log, under its own request.
    let audited = || {
        let log = running.log().into_iter();
        let updates =
            log.filter(|it| it["message"] == "committed" && it["operation"] == "UpdateCollection");
        let updates = updates.filter_map(|it| {
            let request = it["span"]["request_id"].as_str()?;
            let (round, at) = request.split_once('-')?;
            let (_, at): (usize, usize) = (round.parse().ok()?, at.parse().ok()?);
            let id = at - usize::from(fate(at) == Other);
            assert_eq!(it["id"], format!("c{id}"));
            Some((fate(at) != Cancelled, request.to_owned()))
        });
        updates.collect::<Vec<_>>()
    };
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while audited().iter().filter(|(is_known, _)| *is_known).count() < acknowledged {
        assert!(std::time::Instant::now() < deadline, "lines are missing");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let all = audited();
    let requests: BTreeSet<_> = all.iter().collect();
    assert_eq!(requests.len(), all.len());
}

/// Changes all collections at once, several times, to more than half a kilobyte each. Returns the
/// number of commits of groups, and of the writes in them.
async fn rename_all(running: &Running, rounds: usize) -> (f64, f64) {
    let client = CollectionServiceClient::connect(running.grpc.clone());
    let client = client.await.unwrap();
    let figures = async || {
        let figure = async |name: &str| figure(running, name).await;
        (
            figure("endcap_commit_group_size_count").await,
            figure("endcap_commit_group_size_sum").await,
        )
    };
    let before = figures().await;
    for round in 0..rounds {
        let renames = (0..40).map(|at| {
            let mut client = client.clone();
            let mut rename = rename(&format!("c{at}"), &round.to_string());
            let texts = &mut rename.collection.as_mut().unwrap().texts;
            texts.get_mut("en").unwrap().description = "d".repeat(600);
            async move { client.update_collection(rename).await.unwrap() }
        });
        join_all(renames).await;
    }
    let after = figures().await;
    (after.0 - before.0, after.1 - before.1)
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_of_properties_share_commits_on_postgres_up_to_the_limits() {
    let (_folder, _, running) = with_collections(Engine::Postgres, &[]).await;
    let (commits, writes) = rename_all(&running, 10).await;
    assert!(commits < writes, "{commits} {writes}");
    let (_folder, _, running) =
        with_collections(Engine::Postgres, &["--max-group-commits", "1"]).await;
    assert_eq!(rename_all(&running, 2).await, (0.0, 0.0));
    // No two collections fit.
    let flags = ["--max-group-commit-size", "1KiB"];
    let (_folder, _, running) = with_collections(Engine::Postgres, &flags).await;
    let (commits, writes) = rename_all(&running, 2).await;
    assert!(writes > 0.0);
    assert_eq!(commits, writes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_collection_holds_up_no_group() {
    let (_folder, url, running) = with_collections(Engine::Postgres, &[]).await;
    let client = CollectionServiceClient::connect(running.grpc.clone());
    let client = client.await.unwrap();
    let other = sea_orm::Database::connect(url.unwrap()).await.unwrap();
    let held = other.begin().await.unwrap();
    let lock = "SELECT 1 FROM collections WHERE id IN ('c0', 'c1', 'c2') FOR UPDATE";
    held.execute_unprepared(lock).await.unwrap();
    let update = |at: usize| {
        let mut client = client.clone();
        let rename = rename(&format!("c{at}"), "new");
        tokio::spawn(async move { client.update_collection(rename).await.map(drop) })
    };
    let locked: Vec<_> = (0..3).map(&update).collect();
    while figure(&running, IN_FLIGHT).await < 3.0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let grouped = async || figure(&running, "endcap_commit_group_size_sum").await;
    let before = grouped().await;
    for other in (3..20).map(&update).collect::<Vec<_>>() {
        other.await.unwrap().unwrap();
    }
    assert!(grouped().await > before);
    assert!(locked.iter().all(|update| !update.is_finished()));
    held.rollback().await.unwrap();
    for update in locked {
        update.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_do_not_wait_for_groups_that_hang() {
    let server = Server::new(Engine::Postgres).await;
    let mut client = server.grpc().await;
    for at in 0..20 {
        create(&mut client, &format!("c{at}")).await;
    }
    // No group gets its locks, so those after the first two wait until they are done alone.
    let held = server.hold_writes().await;
    let updates = (0..20).map(|at| {
        let mut client = client.clone();
        let rename = rename(&format!("c{at}"), "new");
        tokio::spawn(async move { client.update_collection(rename).await.map(drop) })
    });
    let updates: Vec<_> = updates.collect();
    let other = sea_orm::Database::connect(&server.database).await.unwrap();
    let waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() \
        AND wait_event_type = 'Lock' OFFSET 2";
    let waiting = Statement::from_string(DbBackend::Postgres, waiting);
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while other
        .query_one_raw(waiting.clone())
        .await
        .unwrap()
        .is_none()
    {
        assert!(
            std::time::Instant::now() < deadline,
            "all updates wait for the groups"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    held.rollback().await.unwrap();
    for update in updates {
        update.await.unwrap().unwrap();
    }
    for at in 0..20 {
        let stored = get(&mut client, &format!("c{at}")).await.unwrap();
        assert_eq!(stored.texts["en"].display_name, "new");
    }
}

/// Clients of two servers count in the same collections, each with the etag that it read.
#[tokio::test(flavor = "multi_thread")]
async fn updates_through_two_replicas_overwrite_none_of_each_other() {
    const CLIENTS: usize = 24;
    const COUNTS: usize = 8;
    let one = Server::new(Engine::Postgres).await;
    let other = Server::start_at(Some(one.database.clone()), Flags::default()).await;
    let servers = [one.grpc().await, other.grpc().await];
    let mut client = servers[0].clone();
    for at in 0..6 {
        create(&mut client, &format!("c{at}")).await;
    }
    let clients = (0..CLIENTS).map(|at| {
        let mut client = servers[at % 2].clone();
        tokio::spawn(async move {
            let id = format!("c{}", at % 6);
            for _ in 0..COUNTS {
                loop {
                    let collection = get(&mut client, &id).await.unwrap();
                    let count: usize = collection.catalog_id.parse().unwrap_or(0);
                    let mut request = rename(&id, &id);
                    let changed = request.collection.as_mut().unwrap();
                    changed.catalog_id = (count + 1).to_string();
                    changed.etag = collection.etag;
                    request.update_mask.as_mut().unwrap().paths = vec!["catalog_id".into()];
                    match client.update_collection(request).await {
                        Ok(_) => break,
                        Err(status) => assert_eq!(reason(&status), "ETAG_MISMATCH"),
                    }
                }
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    for at in 0..6 {
        let counted = get(&mut client, &format!("c{at}")).await.unwrap();
        assert_eq!(counted.catalog_id, (CLIENTS / 6 * COUNTS).to_string());
    }
}
