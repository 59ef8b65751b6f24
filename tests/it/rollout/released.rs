//! The latest release and this version on one database: upgrades and rollbacks under load.
//! `scripts/released` builds the release's program from the history.
//!
//! If the schema of this version has a higher floor than the release, the release must reject it.
//! Then an upgrade has to stop the old version first, and it can't be rolled back. Until there is a
//! release with this floor, rollback is tested with this version, from a newer schema.

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

/// Whether the release may use the schema of this version.
async fn is_compatible(engine: Engine) -> bool {
    let place = Place::new(engine).await;
    assert_eq!(run(place.endcap().arg("migrate")).0, Some(0));
    let (_, printed, _) = run(place.endcap().args(["migrate", "--status"]));
    let floor = printed
        .lines()
        .find_map(|line| line.strip_prefix("floor\t"));
    let floor = floor.unwrap().to_owned();
    let (_, printed, _) = run(place.of(released()).args(["migrate", "--status"]));
    let knows = format!("{floor}\tapplied");
    printed.lines().any(|line| line == knows)
}

/// Changes the schema like a later migration may do, while servers use it.
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
            // A deadlock with requests, or an uncommitted writer. Retried, as `migrate` does.
            Err(error) => {
                assert!(Instant::now() < deadline, "{error}");
                tx.rollback().await.unwrap();
            }
        }
    }
    db.close().await.unwrap();
}

/// Commands that open the database.
const COMMANDS: [&[&str]; 4] = [
    &["migrate"],
    &["migrate", "--check"],
    &["check"],
    &["key", "list"],
];

/// Checks that the program rejects the schema, and reports the cause.
fn is_refused(place: &Place, program: &Path) {
    for command in COMMANDS.into_iter().chain([&["serve"][..]]) {
        let mut endcap = place.of(program);
        let (status, printed, error) = run(endcap.args(["--log", "error"]).args(command));
        assert_ne!(status, Some(0), "{command:?}: {printed}");
        let says = "the schema is too new for this version of Endcap";
        assert!(error.contains(says), "{command:?}: {error}");
    }
}

fn commands_work(place: &Place, program: &Path) {
    for command in COMMANDS {
        let mut endcap = place.of(program);
        let (status, printed, error) = run(endcap.args(["--log", "error"]).args(command));
        assert_eq!(status, Some(0), "{program:?} {command:?}: {printed}{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn upgrade_and_rollback_work_under_load_on_postgres() {
    let (release, new) = (released(), Path::new(env!("CARGO_BIN_EXE_endcap")));
    let is_compatible = is_compatible(Postgres).await;
    let old = if is_compatible { release } else { new };
    let place = Place::new(Postgres).await;
    assert_eq!(run(place.of(release).arg("migrate")).0, Some(0));
    let mut first = start(place.of(release));
    let load = Load::start(&[&first]);
    load.goes_on().await;

    // The new server starts first, and waits for its migrations if any are pending.
    let mut second = start_unready(place.of(new));
    if !is_compatible {
        assert!(first.stop());
    }
    assert_eq!(run(place.of(new).arg("migrate")).0, Some(0));
    second.logs("ready");
    if !is_compatible {
        is_refused(&place, release);
        first = start(place.of(old));
        load.call(&[&first]);
    }
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
async fn upgrade_and_rollback_work_under_load_on_sqlite() {
    let (release, new) = (released(), Path::new(env!("CARGO_BIN_EXE_endcap")));
    let is_compatible = is_compatible(Sqlite).await;
    let old = if is_compatible { release } else { new };
    let place = Place::new(Sqlite).await;
    let mut server = start(place.of(release));
    let load = Load::start(&[&server]);
    load.goes_on().await;
    if !is_compatible {
        assert!(server.stop());
        assert_eq!(run(place.of(new).arg("migrate")).0, Some(0));
        is_refused(&place, release);
        server = start(place.of(new));
        load.call(&[&server]);
        load.goes_on().await;
    }
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
    assert!(!failures.is_empty(), "no request failed on a restart");
}

/// A shallow clone has no history to build from, which must be reported.
#[test]
fn missing_git_history_is_reported() {
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
        // The working copy of the script, which may not be committed.
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

/// The release rejects a schema whose floor excludes it, as every later version does.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn the_release_rejects_a_schema_with_a_higher_floor(
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
