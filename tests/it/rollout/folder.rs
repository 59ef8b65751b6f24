//! The data directory of the embedded database: one server at a time locks it, and problems with it
//! are reported.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt},
    path::Path,
    process::Command,
};

use endcap::{
    config::Flags,
    domain::{Caller, Reason, TenantId},
    grpc::pb::collection_service_client::CollectionServiceClient,
    store::{DatabasePlace, Engine::Sqlite},
};
use rstest::rstest;

use super::{Place, run};
use crate::{
    collections::{creation, reason},
    harness::{is_ready, migrated, named},
    postgres::is_root,
    program::{endcap, start},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_is_locked_by_one_server_and_commands_still_work() {
    let place = Place::new(Sqlite).await;
    let mut server = start(place.endcap());
    let told = format!(
        "endcap: the data directory is in use: a server with process id {} has locked {}; stop",
        server.child.id(),
        place.data().join("endcap.lock").display()
    );
    for command in ["serve", "migrate"] {
        let (status, printed, error) = place.run(&[command]);
        assert_eq!((status, &*printed), (Some(1), ""), "{command}");
        assert!(error.starts_with(&told), "{error}");
    }
    let backup = place.data().join("copy");
    for command in [
        &["key", "create", "--label=x", "--tenant=t", "--scope=admin"][..],
        &["key", "list"],
        &["secret", "rotate"],
        &["check"],
        &["migrate", "--check"],
        &["migrate", "--status"],
        &["backup", backup.to_str().unwrap()],
    ] {
        let (status, _, error) = place.run(command);
        assert_eq!((status, error.as_str()), (Some(0), ""), "{command:?}");
    }
    // Neither a killed server nor one that exits normally leaves anything to clean up.
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let mut server = start(place.endcap());
    assert!(server.stop());
    assert_eq!(place.run(&["migrate"]).0, Some(0));
    let lock = fs::read_to_string(place.data().join("endcap.lock")).unwrap();
    assert_eq!(lock, "", "the lock file names no process");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_lock_excludes_servers_but_not_other_migrations() {
    let place = Place::new(Sqlite).await;
    assert_eq!(place.run(&["migrate"]).0, Some(0));
    let lock = fs::File::open(place.data().join("endcap.lock")).unwrap();
    lock.lock_shared().unwrap();
    assert_eq!(place.run(&["migrate"]).0, Some(0));
    let (status, _, error) = place.run(&["serve"]);
    assert_eq!(status, Some(1));
    let told = "endcap: the data directory is in use: another process has locked ";
    assert!(error.starts_with(told), "{error}");
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_database_file_is_removed_or_replaced_refuses_requests(
    #[values(true, false)] is_replaced: bool,
) {
    let place = Place::new(Sqlite).await;
    let server = start(place.endcap());
    let file = place.data().join("endcap.db");
    let moved = place.data().join("moved");
    fs::rename(&file, &moved).unwrap();
    if is_replaced {
        fs::copy(&moved, &file).unwrap();
    }
    let told = "the database file was removed or replaced";
    assert_eq!(
        is_ready(&server.admin, false).await,
        format!("not ready: {told}\n")
    );
    let request = creation(named("lost", "Lost"));
    let mut client = CollectionServiceClient::connect(server.grpc.clone())
        .await
        .unwrap();
    let status = client.create_collection(request).await.unwrap_err();
    assert_eq!(reason(&status), "DATABASE_UNAVAILABLE");
    assert!(status.message().contains(told), "{}", status.message());
    server.logs(&format!(
        "not ready: {told}: {}; move it back",
        file.display()
    ));
    fs::rename(&moved, &file).unwrap();
    is_ready(&server.admin, true).await;
}

/// A pool that opened another connection would open the new file with the `-shm` file of the old
/// one, which SQLite truncates under the connections that have it mapped.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn no_connection_is_opened_to_a_database_file_that_was_replaced(
    #[values(true, false)] is_replaced: bool,
) {
    let (config, store, folder) = migrated(Sqlite, &Flags::default()).await;
    let DatabasePlace::File(file) = &config.database.place else {
        panic!("not a file");
    };
    let caller = Caller::operator(TenantId::trusted("t"));
    let reading = caller.reading().unwrap();
    let first = store.read_on(&reading).await.unwrap();
    let moved = folder.path().join("moved");
    fs::rename(file, &moved).unwrap();
    if is_replaced {
        fs::copy(&moved, file).unwrap();
    }
    // The first reader has the only open connection.
    let error = store.read_on(&reading).await.unwrap_err();
    assert_eq!(error.reason, Reason::DatabaseUnavailable);
    assert_eq!(
        error.to_string(),
        "the database is unavailable: the database file was removed or replaced"
    );
    fs::rename(&moved, file).unwrap();
    store.read_on(&reading).await.unwrap();
    drop(first);
}

/// Runs the program without the privilege to write other users' files, even if this is root.
fn unprivileged(data: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let program = endcap(data, None);
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set=-all", "--inh-caps=-all", "--"]);
        command.arg(program.get_program());
        command
    } else {
        Command::new(program.get_program())
    };
    run(command.args(program.get_args()).args(arguments))
}

/// A database in a directory, with these modes of the directory and the file.
fn with_modes(directory: u32, file: u32) -> Place {
    let place = Place {
        folder: tempfile::tempdir().unwrap(),
        postgres: None,
    };
    let (status, _, error) = place.run(&["migrate"]);
    assert_eq!(status, Some(0), "{error}");
    let mode = |path: &Path, mode| fs::set_permissions(path, PermissionsExt::from_mode(mode));
    mode(&place.data().join("endcap.db"), file).unwrap();
    mode(place.data(), directory).unwrap();
    place
}

#[test]
fn an_unwritable_data_directory_is_reported() {
    let read_only = with_modes(0o555, 0o644);
    let file = with_modes(0o755, 0o444);
    let empty = tempfile::tempdir().unwrap();
    fs::set_permissions(empty.path(), PermissionsExt::from_mode(0o555)).unwrap();
    let missing = empty.path().join("below");
    let (owner, mode) = owner(empty.path());
    assert_eq!(mode, "555");
    let belongs = |path: &Path, mode: &str| {
        format!("{} belongs to user {owner}, mode {mode})", path.display())
    };
    for (data, path, belongs) in [
        (
            read_only.data(),
            read_only.data(),
            belongs(read_only.data(), "555"),
        ),
        (
            file.data(),
            &*file.data().join("endcap.db"),
            belongs(&file.data().join("endcap.db"), "444"),
        ),
        (empty.path(), empty.path(), belongs(empty.path(), "555")),
        (&missing, &missing, belongs(empty.path(), "555")),
    ] {
        let told = format!(
            "endcap: the data directory can't be used: {}: Permission denied (os error 13) (this \
             process runs as user {owner}; {belongs}; its files must be writable for the user \
             that Endcap runs as\n",
            path.display()
        );
        for command in [
            &["serve"][..],
            &["migrate"],
            &[
                "key",
                "create",
                "--label=x",
                "--tenant=t",
                "--scope=admin",
                "--create-database",
            ],
        ] {
            let (status, _, error) = unprivileged(data, command);
            assert_eq!((status, error.as_str()), (Some(1), &*told), "{command:?}");
        }
    }
    // The temporary directory must be removable.
    fs::set_permissions(read_only.data(), PermissionsExt::from_mode(0o755)).unwrap();
}

#[test]
fn a_data_directory_of_another_user_is_reported() {
    // Owned by `nobody` if this user is root, and by root otherwise.
    let folder = tempfile::tempdir().unwrap();
    let data = if is_root() {
        let owned = Command::new("chown")
            .arg("65534")
            .arg(folder.path())
            .status();
        assert!(owned.unwrap().success());
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        folder.path()
    } else {
        Path::new("/")
    };
    let (owner, _) = owner(data);
    for command in ["serve", "migrate"] {
        let (status, _, error) = unprivileged(data, &[command]);
        assert_eq!(status, Some(1));
        let told = format!("; {} belongs to user {owner}, mode ", data.display());
        assert!(error.contains(&told), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

fn owner(path: &Path) -> (u32, String) {
    let metadata = fs::metadata(path).unwrap();
    (metadata.uid(), format!("{:o}", metadata.mode() & 0o7777))
}

#[test]
fn a_file_that_is_not_a_database_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("endcap.db"),
        "no database ".repeat(1_000),
    )
    .unwrap();
    for command in [&["serve"][..], &["migrate"], &["check"], &["key", "list"]] {
        let (status, _, error) = run(endcap(folder.path(), None).args(command));
        assert_eq!(status, Some(1), "{command:?}");
        let told = format!(
            "endcap: the database file is damaged or not a database: {}: file is not a database; \
             restore a backup\n",
            folder.path().join("endcap.db").display()
        );
        assert_eq!(error, told, "{command:?}");
    }
}
