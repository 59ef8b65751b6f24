//! `endcap migrate`: pending migrations, `--check`, `--status` and `--wait`.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use endcap::store::Engine::{self, Postgres, Sqlite};
use endcap_migrations::Migrator;
use rstest::rstest;
use sea_orm::{ConnectionTrait as _, Statement, TransactionTrait as _};
use sea_orm_migration::MigratorTrait as _;

use super::Place;
use crate::{
    commands::read as output,
    postgres::{self, Cluster},
    program::start,
};

/// The names of all migrations.
pub(super) fn names() -> Vec<String> {
    let files = Migrator::get_migration_files();
    files.iter().map(|file| file.name().to_owned()).collect()
}

async fn has_table(place: &Place, table: &str) -> bool {
    let db = place.connect().await;
    let probe = format!("SELECT 1 FROM {table}");
    let backend = db.get_database_backend();
    let found = db
        .query_all_raw(Statement::from_string(backend, probe))
        .await;
    db.close().await.unwrap();
    found.is_ok()
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn pending_migrations_are_applied_all_or_none(#[values(Sqlite, Postgres)] engine: Engine) {
    let place = Place::new(engine).await;
    // Conflicts with one of the later migrations.
    place.execute(&["CREATE TABLE jobs (x INTEGER)"]).await;
    let (status, printed, error) = place.run(&["migrate"]);
    assert_eq!((status, printed.as_str()), (Some(1), ""));
    assert!(error.contains("jobs"), "{error}");
    assert!(!has_table(&place, "collections").await);
    assert!(!has_table(&place, "seaql_migrations").await);
    place.execute(&["DROP TABLE jobs"]).await;
    let (status, printed, error) = place.run(&["migrate"]);
    assert_eq!(status, Some(0), "{error}");
    assert_eq!(printed, format!("applied {} migrations\n", names().len()));
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_migrations_all_succeed(#[values(Sqlite, Postgres)] engine: Engine) {
    let place = Place::new(engine).await;
    let start = || {
        let mut command = place.endcap();
        command.args(["--log", "error", "migrate"]);
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        piped.spawn().unwrap()
    };
    let all: Vec<_> = (0..8).map(|_| start()).collect();
    let mut applied = 0;
    for child in all {
        let (status, printed, error) = output(&child.wait_with_output().unwrap());
        assert_eq!((status, error.as_str()), (Some(0), ""));
        if printed == format!("applied {} migrations\n", names().len()) {
            applied += 1;
        } else {
            assert_eq!(printed, "the schema was up to date\n");
        }
    }
    assert_eq!(applied, 1);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn pending_migrations_are_reported_without_changes(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let place = Place::new(engine).await;
    let names = names();
    let (last, others) = names.split_last().unwrap();
    let pending = names.iter().map(|name| format!("{name}\tpending\n"));
    let versions = format!("floor\tnone\nthis version\t{last}\n");
    let (status, printed, error) = place.run(&["migrate", "--check"]);
    assert_eq!((status, error.as_str()), (Some(1), ""));
    assert_eq!(printed, pending.clone().collect::<String>());
    let (status, printed, error) = place.run(&["migrate", "--status"]);
    assert_eq!((status, error.as_str()), (Some(0), ""));
    assert_eq!(printed, pending.collect::<String>() + versions.as_str());
    if engine == Sqlite {
        let files = std::fs::read_dir(place.data()).unwrap();
        assert_eq!(files.count(), 0, "nothing is created");
    }

    // With invalid settings, it is unknown whether migrations are pending.
    for odd in ["--log=bogus=bogus", "--database-url=bogus", "--max-depth=0"] {
        let (status, printed, error) = super::run(place.endcap().args(["migrate", "--check", odd]));
        assert_eq!((status, printed.as_str()), (Some(2), ""), "{error}");
        let (status, _, _) = super::run(place.endcap().args(["migrate", "--status", odd]));
        assert_eq!(status, Some(1));
    }

    // All but the last.
    let db = place.connect().await;
    let count = u32::try_from(others.len()).unwrap();
    Migrator::up(&db, Some(count)).await.unwrap();
    db.close().await.unwrap();
    let (status, printed, _) = place.run(&["migrate", "--check"]);
    assert_eq!(status, Some(1));
    assert_eq!(printed, format!("{last}\tpending\n"));
    let (_, printed, _) = place.run(&["migrate", "--status"]);
    let applied = others.iter().map(|name| format!("{name}\tapplied\n"));
    let applied: String = applied.collect();
    let expected = format!("{applied}{last}\tpending\n");
    assert!(printed.starts_with(&expected), "{printed}");

    let (status, printed, _) = place.run(&["migrate"]);
    assert_eq!((status, &*printed), (Some(0), "applied 1 migrations\n"));
    let (status, printed, _) = place.run(&["migrate", "--check"]);
    assert_eq!((status, &*printed), (Some(0), "no pending migrations\n"));
    let (status, printed, _) = place.run(&["migrate"]);
    assert_eq!(
        (status, &*printed),
        (Some(0), "the schema was up to date\n")
    );

    let both = place.run(&["migrate", "--check", "--status"]);
    assert_eq!(both.0, Some(2), "{}", both.2);
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_waits_for_an_unreachable_database() {
    let cluster = Cluster::start();
    cluster.pg_ctl(&["-m", "fast", "stop"]);
    let url = cluster.url();
    let migrate = |wait: &str| {
        let folder = tempfile::tempdir().unwrap();
        let mut command = crate::program::endcap(folder.path(), Some(&url));
        command.args(["--log-format", "json", "migrate", "--wait", wait]);
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        piped.spawn().unwrap()
    };
    let began = Instant::now();
    let (status, _, error) = output(&migrate("2s").wait_with_output().unwrap());
    assert_eq!(status, Some(1));
    assert!(began.elapsed() >= Duration::from_secs(2));
    // Logged when the wait begins, and reported as the cause when it times out.
    let cause = "the database can't be reached: 127.0.0.1:";
    assert_eq!(error.matches(cause).count(), 2, "{error}");

    let waiting = migrate("5m");
    cluster.start_again();
    let (status, printed, error) = output(&waiting.wait_with_output().unwrap());
    assert_eq!(status, Some(0), "{error}");
    assert_eq!(printed, format!("applied {} migrations\n", names().len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_waits_for_a_locked_data_directory() {
    let place = Place::new(Sqlite).await;
    let mut server = start(place.endcap());
    let mut command = place.endcap();
    command.args(["migrate", "--wait", "5m"]);
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let waiting = piped.spawn().unwrap();
    assert!(server.stop());
    let (status, printed, error) = output(&waiting.wait_with_output().unwrap());
    assert_eq!(status, Some(0), "{error}");
    assert_eq!(printed, "the schema was up to date\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_does_not_wait_for_an_incompatible_schema() {
    let place = Place {
        postgres: Some(postgres::new_database().await),
        ..Place::new(Sqlite).await
    };
    assert_eq!(place.run(&["migrate"]).0, Some(0));
    place
        .execute(&["UPDATE schema_compatibility SET floor = 'm9'"])
        .await;
    // A wait would exceed the test's own timeout.
    let (status, _, error) = place.run(&["migrate", "--wait", "1000000000y"]);
    assert_eq!(status, Some(1));
    assert!(error.contains("too new"), "{error}");
}

/// A reader, such as a backup, keeps reading a table that a migration has to change.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_waiting_for_a_table_does_not_block_requests() {
    let place = Place::new(Postgres).await;
    let names = names();
    let changes = names.iter().position(|name| name.ends_with("_graph"));
    let before = u32::try_from(changes.unwrap()).unwrap();
    let db = place.connect().await;
    Migrator::up(&db, Some(before)).await.unwrap();
    let reading = db.begin().await.unwrap();
    let read = "SELECT count(*) FROM tenants";
    reading.execute_unprepared(read).await.unwrap();
    let mut command = place.endcap();
    command.args(["--log", "error", "migrate"]);
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let migrating = piped.spawn().unwrap();

    let waits = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() \
                 AND wait_event_type = 'Lock'";
    let waits = Statement::from_string(db.get_database_backend(), waits);
    let deadline = Instant::now() + Duration::from_secs(60);
    while db.query_one_raw(waits.clone()).await.unwrap().is_none() {
        assert!(Instant::now() < deadline, "the migration does not wait");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Queued behind the migration, which is queued behind the reader.
    let another = place.connect().await;
    let response = another.execute_unprepared(read);
    let response = tokio::time::timeout(Duration::from_secs(30), response).await;
    response.expect("requests wait for the migration").unwrap();
    reading.rollback().await.unwrap();
    let (status, printed, error) = output(&migrating.wait_with_output().unwrap());
    assert_eq!(status, Some(0), "{error}");
    let applied = names.len() - usize::try_from(before).unwrap();
    assert_eq!(printed, format!("applied {applied} migrations\n"));
}
