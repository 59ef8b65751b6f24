//! The latest release and this version on one database: upgrades and rollbacks in the middle of
//! load. `scripts/released` builds the release's program from the history.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::{Duration, Instant},
};

use endcap::store::Engine::{self, Postgres, Sqlite};
use rstest::rstest;
use sea_orm::{ConnectionTrait as _, TransactionTrait as _};

use super::{Place, floor::NEWER, load::Load, run};
use crate::program::{start, start_unready};

/// The program of the latest release.
fn released() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/released");
        let output = Command::new(script).output().unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{log}");
        String::from_utf8(output.stdout).unwrap().trim().into()
    })
}

/// Does to the schema what a migration after this version's may do, while servers use it.
async fn newer(place: &Place) {
    let db = place.connect().await;
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let tx = db.begin().await.unwrap();
        let mut done = Ok(());
        for statement in NEWER {
            if done.is_ok() {
                done = tx.execute_unprepared(statement).await.map(drop);
            }
        }
        match done {
            Ok(()) => break tx.commit().await.unwrap(),
            // A deadlock with requests, or a writer that is not done. As `migrate` does.
            Err(error) => {
                assert!(Instant::now() < deadline, "{error}");
                tx.rollback().await.unwrap();
            }
        }
    }
    db.close().await.unwrap();
}

/// Each command of a program that opens the database.
fn commands_work(place: &Place, program: &Path) {
    for command in [
        &["migrate"][..],
        &["migrate", "--check"],
        &["check"],
        &["key", "list"],
    ] {
        let mut endcap = place.of(program);
        let (status, printed, error) = run(endcap.args(["--log", "error"]).args(command));
        assert_eq!(status, Some(0), "{program:?} {command:?}: {printed}{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres_upgrade_and_rollback_in_the_middle_of_load() {
    let (old, new) = (released(), Path::new(env!("CARGO_BIN_EXE_endcap")));
    let place = Place::new(Postgres).await;
    assert_eq!(run(place.of(old).arg("migrate")).0, Some(0));
    let mut first = start(place.of(old));
    let load = Load::start(&[&first]);
    load.goes_on().await;

    // The new one comes first, and waits for its migrations if it has any.
    let mut second = start_unready(place.of(new));
    assert_eq!(run(place.of(new).arg("migrate")).0, Some(0));
    second.logs("ready");
    load.goes_on().await;
    newer(&place).await;
    load.goes_on().await;
    load.call(&[&first, &second]);
    load.goes_on().await;
    assert!(first.stop());
    load.call(&[&second]);
    load.goes_on().await;
    commands_work(&place, new);
    commands_work(&place, old);

    let back = start(place.of(old));
    load.call(&[&back, &second]);
    load.goes_on().await;
    assert!(second.stop());
    load.call(&[&back]);
    load.goes_on().await;
    commands_work(&place, new);
    commands_work(&place, old);
    load.stop(&back).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_upgrade_and_rollback_in_the_middle_of_load() {
    let (old, new) = (released(), Path::new(env!("CARGO_BIN_EXE_endcap")));
    let place = Place::new(Sqlite).await;
    let mut server = start(place.of(old));
    let load = Load::start(&[&server]);
    load.goes_on().await;
    newer(&place).await;
    load.goes_on().await;
    for program in [new, old, new] {
        assert!(server.stop());
        commands_work(&place, new);
        commands_work(&place, old);
        server = start(place.of(program));
        load.call(&[&server]);
        load.goes_on().await;
    }
    let failures = load.stop(&server).await;
    assert!(!failures.is_empty(), "nobody noticed");
}

/// A shallow clone has no history to build from, which is said and not passed over.
#[test]
fn without_history_it_is_said_how_to_get_it() {
    let folder = tempfile::tempdir().unwrap();
    let root = env!("CARGO_MANIFEST_DIR");
    let clone = folder.path().join("shallow");
    let cloned = Command::new("git")
        .args(["clone", "--quiet", "--depth", "1"])
        .arg(format!("file://{root}"))
        .arg(&clone)
        .status();
    assert!(cloned.unwrap().success());
    let bare = folder.path().join("bare");
    std::fs::create_dir_all(bare.join("scripts")).unwrap();
    for name in ["released", "env.sh"] {
        let (from, to) = (format!("{root}/scripts/{name}"), format!("scripts/{name}"));
        std::fs::copy(&from, bare.join(&to)).unwrap();
        // As it is now, not as it was committed.
        std::fs::copy(&from, clone.join(&to)).unwrap();
    }
    for (place, told) in [
        (&clone, "git fetch --unshallow --tags"),
        (&bare, "no git checkout"),
    ] {
        let output = Command::new(place.join("scripts/released"))
            .env("GIT_CEILING_DIRECTORIES", folder.path())
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(told), "{error}");
    }
}

/// The release refuses what its floor does not allow, as each version after it does.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn the_release_refuses_a_schema_below_whose_floor_it_is(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let place = Place::new(engine).await;
    let old = released();
    assert_eq!(run(place.of(old).arg("migrate")).0, Some(0));
    let floor = "UPDATE schema_compatibility SET floor = 'm20990101_000001_later'";
    place.execute(&[floor]).await;
    for command in ["serve", "migrate", "check"] {
        let (status, _, error) = run(place.of(old).args(["--log", "error", command]));
        assert_eq!(status, Some(1), "{command}");
        assert!(error.contains("m20990101_000001_later"), "{error}");
    }
}
