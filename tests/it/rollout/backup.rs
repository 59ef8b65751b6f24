//! Backups, made and restored with the commands of docs/operate/backup-and-restore.md.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use endcap::{grpc::pb::collection_service_client::CollectionServiceClient, store::Engine::Sqlite};
use tonic::transport::Channel;

use super::{Place, blocks, roles::Roles};
use crate::{
    harness::{append, create, mutate, products},
    postgres,
    program::{Running, endcap, start},
};

/// The page with the commands.
const PAGE: &str = "backup-and-restore.md";

async fn client(server: &Running) -> CollectionServiceClient<Channel> {
    let client = CollectionServiceClient::connect(server.grpc.clone());
    client.await.unwrap()
}

/// Appends to the collection `a` until it is stopped, and records the acknowledged ids.
struct Writer {
    acknowledged: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Writer {
    async fn start(server: &Running) -> Self {
        let mut client = client(server).await;
        create(&mut client, "a").await;
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (list, stopped) = (Arc::clone(&acknowledged), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            for n in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let id = format!("p{n}");
                let request = mutate("a", vec![append([&id])]);
                client.mutate_children(request).await.unwrap();
                list.lock().unwrap().push(id);
            }
        });
        let writer = Self {
            acknowledged,
            stop,
            task,
        };
        writer.has_written(50).await;
        writer
    }

    fn acknowledged(&self) -> Vec<String> {
        self.acknowledged.lock().unwrap().clone()
    }

    async fn has_written(&self, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.acknowledged().len() < count {
            assert!(Instant::now() < deadline, "too few writes");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Stops it, and returns the acknowledged ids.
    async fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        let acknowledged = Arc::clone(&self.acknowledged);
        self.task.await.unwrap();
        let all = acknowledged.lock().unwrap();
        all.clone()
    }
}

/// Checks that a restored list is a consistent snapshot: it has everything that was acknowledged
/// before the backup began, and nothing that was written after it ended.
fn is_of_one_moment(restored: &[String], before: &[String], after: &[String]) {
    assert!(restored.len() >= before.len(), "acknowledged ids are lost");
    assert!(restored.len() <= after.len() + 1, "there are later ids");
    let written = (0..restored.len()).map(|n| format!("p{n}"));
    assert!(written.eq(restored.iter().cloned()), "{restored:?}");
}

/// Runs lines of the page, with this program and PostgreSQL's on the path.
fn shell(script: &str, folder: &Path, environment: &[(&str, &str)]) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_endcap")).parent().unwrap();
    let path = format!(
        "{}:{}:{}",
        program.display(),
        postgres::programs().display(),
        std::env::var("PATH").unwrap()
    );
    let output = Command::new("bash")
        .args(["-e", "-c", script])
        .current_dir(folder)
        .env("PATH", path)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let (printed, log) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{script}\n{printed}\n{log}");
    printed.into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_is_backed_up_under_writes_and_restored() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(folder.path().join("backups")).unwrap();
    let script = blocks(PAGE, "## The embedded database", "sh");
    assert_eq!(script.len(), 2, "{script:#?}");
    let here = |script: &str| {
        script
            .replace("/var/lib/endcap-restored", "restored")
            .replace("/var/lib/endcap", "data")
            .replace("/backups/", "backups/")
    };
    let server = start(endcap(&data, None));
    let writer = Writer::start(&server).await;
    let before = writer.acknowledged();
    let printed = shell(&here(&script[0]), folder.path(), &[]);
    let after = writer.acknowledged();
    let file = folder.path().join("backups/endcap.db");
    let metadata = fs::metadata(&file).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    let told = format!("{} bytes written to backups/endcap.db\n", metadata.len());
    assert_eq!(printed, told);
    // Writes continue during the backup, and after it.
    writer.has_written(after.len() + 10).await;
    let all = writer.stop().await;
    assert_eq!(products(&mut client(&server).await, "a").await, all);

    let printed = shell(&here(&script[1]), folder.path(), &[]);
    assert!(printed.ends_with("no problems\n"), "{printed}");
    let restored = start(endcap(&folder.path().join("restored"), None));
    let mut client = client(&restored).await;
    is_of_one_moment(&products(&mut client, "a").await, &before, &after);
    create(&mut client, "b").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_backup_overwrites_no_file_and_leaves_none() {
    let place = Place::new(Sqlite).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kept");
    let backup = |file: &Path| place.run(&["backup", file.to_str().unwrap()]);

    let (status, _, error) = backup(&file);
    assert_eq!(status, Some(1));
    assert!(
        error.starts_with("endcap: there is no database at "),
        "{error}"
    );
    assert!(!place.data().join("endcap.db").exists());

    assert_eq!(place.run(&["migrate"]).0, Some(0));
    fs::write(&file, "kept").unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    for (taken, told) in [
        (&*file, "already exists; a backup does not replace files"),
        (
            folder.path(),
            "already exists; a backup does not replace files",
        ),
        (&link, "already exists; a backup does not replace files"),
        (&folder.path().join("no/where"), "No such file or directory"),
    ] {
        let (status, printed, error) = backup(taken);
        assert_eq!((status, &*printed), (Some(1), ""), "{taken:?}");
        assert!(error.contains(&taken.display().to_string()), "{error}");
        assert!(error.contains(told), "{error}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
    // A backup that fails midway.
    fs::write(place.data().join("endcap.db"), vec![7; 100_000]).unwrap();
    assert_eq!(backup(&folder.path().join("new")).0, Some(1));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_backed_up_under_writes_and_restored() {
    let script = blocks(PAGE, "## PostgreSQL", "sh");
    assert_eq!(script.len(), 2, "{script:#?}");
    let folder = tempfile::tempdir().unwrap();
    let roles = Roles::migrated().await;
    let url = roles.url("serve");
    let server = start(endcap(folder.path(), Some(&url)));
    let writer = Writer::start(&server).await;
    let before = writer.acknowledged();
    let environment = [("ENDCAP_DATABASE_URL", &*url)];
    shell(&script[0], folder.path(), &environment);
    let after = writer.acknowledged();
    writer.has_written(after.len() + 10).await;
    writer.stop().await;

    let new = Roles::new().await;
    let environment = [("NEW_DATABASE_URL", &*new.url("migrate"))];
    let printed = shell(&script[1], folder.path(), &environment);
    assert!(printed.ends_with("no problems\n"), "{printed}");
    let restored = start(endcap(folder.path(), Some(&new.url("serve"))));
    let mut client = client(&restored).await;
    is_of_one_moment(&products(&mut client, "a").await, &before, &after);
    create(&mut client, "b").await;

    // The command itself rejects PostgreSQL, and names the alternative.
    let place = Place {
        folder,
        postgres: Some(url),
    };
    let (status, _, error) = place.run(&["backup", "never"]);
    assert_eq!(status, Some(1));
    assert!(error.contains("pg_dump"), "{error}");
    let points_to = format!("docs/operate/{PAGE}");
    assert!(error.contains(&points_to), "{error}");
}
