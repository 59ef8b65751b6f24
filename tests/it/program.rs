//! The program itself: its commands, and that no acknowledged write is lost when it is killed.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use endcap::grpc::pb::collection_service_client::CollectionServiceClient;

use crate::{
    harness::{append, create, get, mutate, products, rename},
    postgres,
};

pub(crate) fn endcap(data: &Path, database_url: Option<&str>) -> Command {
    endcap_at("127.0.0.1:0", data, database_url)
}

/// Like `endcap`, with this address for gRPC.
pub(crate) fn endcap_at(grpc: &str, data: &Path, database_url: Option<&str>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_endcap"));
    command.env_clear().arg("--data-dir").arg(data);
    command.args(["--grpc-addr", grpc]);
    for port in ["--http-addr", "--admin-addr"] {
        command.args([port, "127.0.0.1:0"]);
    }
    if let Some(url) = database_url {
        command.args(["--database-url", url]);
    }
    command
}

pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) grpc: String,
    pub(crate) http: String,
    pub(crate) admin: String,
    /// What it has logged so far.
    log: Arc<Mutex<Vec<serde_json::Value>>>,
}

/// Starts the program, and waits until it is ready.
pub(crate) fn start(command: Command) -> Running {
    let running = start_unready(command);
    running.logs("ready");
    running
}

/// Starts the program, and reads its addresses from the log.
pub(crate) fn start_unready(mut command: Command) -> Running {
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let log = Arc::new(Mutex::new(Vec::new()));
    let logged = Arc::clone(&log);
    // The pipe must be drained, or it fills up.
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let entry = serde_json::from_str(&line).unwrap_or(line.into());
            logged.lock().unwrap().push(entry);
        }
    });
    let mut running = Running {
        child,
        grpc: String::new(),
        http: String::new(),
        admin: String::new(),
        log,
    };
    let serving = running.logs("serving");
    let url = |port: &str| format!("http://{}", serving[port].as_str().unwrap());
    running.grpc = url("grpc");
    running.http = url("http");
    running.admin = url("admin");
    running
}

impl Running {
    /// Everything that it has logged.
    pub(crate) fn log(&self) -> Vec<serde_json::Value> {
        self.log.lock().unwrap().clone()
    }

    /// Waits for a logged message that begins with this text.
    pub(crate) fn logs(&self, message: &str) -> serde_json::Value {
        let deadline = Instant::now() + Duration::from_secs(60);
        let says = |entry: &serde_json::Value| {
            let text = entry["message"].as_str();
            text.is_some_and(|text| text.starts_with(message))
        };
        loop {
            let log = self.log();
            if let Some(entry) = log.iter().find(|entry| says(entry)) {
                return entry.clone();
            }
            assert!(Instant::now() < deadline, "{message:?} is not in {log:#?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends SIGTERM, and waits until the program exits. Returns whether it exited successfully.
    pub(crate) fn stop(&mut self) -> bool {
        let pid = self.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(told.unwrap().success());
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.success();
            }
            assert!(Instant::now() < deadline, "it does not stop");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Concurrent clients, so that many writes share a commit of SQLite.
const WRITERS: usize = 64;

/// What is known of a writer's collection.
#[derive(Clone, Default)]
struct Written {
    products: Vec<String>,
    /// The number in its name; 0 before it is renamed.
    name: usize,
}

/// Writes until the program is killed, and returns what was acknowledged. Each write appends two
/// products, which are numbered from the length of the client's list, and names the collection by
/// that length.
async fn write_until_killed(mut running: Running, lists: &[Written]) -> Vec<Written> {
    let client = CollectionServiceClient::connect(running.grpc.clone())
        .await
        .unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let writers = lists.iter().enumerate().map(|(writer, list)| {
        let (mut client, count) = (client.clone(), Arc::clone(&count));
        let mut acknowledged = list.clone();
        tokio::spawn(async move {
            let id = format!("c{writer}");
            for write in acknowledged.products.len().. {
                let ids = [format!("p{write}"), format!("p{write}'")];
                let request = mutate(&id, vec![append(&ids)]);
                if client.mutate_children(request).await.is_err() {
                    break;
                }
                acknowledged.products.extend(ids);
                let name = acknowledged.products.len();
                let request = rename(&id, &name.to_string());
                if client.update_collection(request).await.is_err() {
                    break;
                }
                acknowledged.name = name;
                count.fetch_add(1, Ordering::Relaxed);
            }
            acknowledged
        })
    });
    let writers: Vec<_> = writers.collect();
    // Kill at a different point of a write each time.
    let enough = 100 + rand::random_range(0..200);
    let deadline = Instant::now() + Duration::from_secs(60);
    while count.load(Ordering::Relaxed) < enough {
        assert!(Instant::now() < deadline, "too few writes");
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    let mut all = Vec::new();
    for writer in writers {
        all.push(writer.await.unwrap());
    }
    all
}

/// The number of times that the program is killed: `ENDCAP_KILLS`.
pub(crate) fn kills() -> usize {
    std::env::var("ENDCAP_KILLS").map_or(2, |kills| kills.parse().unwrap())
}

async fn killed_and_restarted(database_url: Option<&str>) {
    let folder = tempfile::tempdir().unwrap();
    if database_url.is_some() {
        let status = endcap(folder.path(), database_url)
            .arg("migrate")
            .status()
            .unwrap();
        assert!(status.success());
    }
    let mut running = start(endcap(folder.path(), database_url));
    let client = CollectionServiceClient::connect(running.grpc.clone());
    let mut client = client.await.unwrap();
    for writer in 0..WRITERS {
        create(&mut client, &format!("c{writer}")).await;
    }
    let mut lists = vec![Written::default(); WRITERS];
    for _ in 0..kills() {
        let acknowledged = write_until_killed(running, &lists).await;
        running = start(endcap(folder.path(), database_url));
        let client = CollectionServiceClient::connect(running.grpc.clone());
        let mut client = client.await.unwrap();
        for (writer, acknowledged) in acknowledged.iter().enumerate() {
            let id = format!("c{writer}");
            let products = products(&mut client, &id).await;
            // The last write may be committed without an acknowledgement, but not partly.
            let more = products.len() - acknowledged.products.len();
            assert!(more == 0 || more == 2, "{more} more");
            assert_eq!(
                products[..acknowledged.products.len()],
                acknowledged.products[..]
            );
            let name = get(&mut client, &id).await.unwrap().texts["en"]
                .display_name
                .clone();
            let name = name.parse().unwrap_or(0);
            let names = [acknowledged.name, acknowledged.products.len()];
            assert!(names.contains(&name), "{name} is not one of {names:?}");
            lists[writer] = Written { products, name };
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_all_acknowledged_writes_after_a_kill() {
    killed_and_restarted(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_all_acknowledged_writes_after_a_kill() {
    killed_and_restarted(Some(&postgres::new_database().await)).await;
}

#[test]
fn sigterm_stops_the_server_and_healthcheck_reports_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = start(endcap(folder.path(), None));
    let admin = running.admin.strip_prefix("http://").unwrap().to_owned();
    let port = admin.rsplit_once(':').unwrap().1;
    let by_name = format!("localhost:{port}");
    // The address from the settings, and an explicit one.
    let checks = [
        ["healthcheck", "--admin-addr", &admin].to_vec(),
        vec!["healthcheck", &by_name],
    ];
    for check in &checks {
        assert!(output(check, &[]).0, "{check:?}");
    }
    assert!(running.stop());
    for check in &checks {
        let (ok, _, error) = output(check, &[]);
        assert!(!ok && error.contains(check[check.len() - 1]), "{error}");
    }
}

/// Runs the program. Returns whether it succeeded, its standard output and its standard error.
pub(crate) fn output(arguments: &[&str], environment: &[(&str, &str)]) -> (bool, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_endcap"))
        .env_clear()
        .envs(environment.iter().copied())
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.success(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn help_version_and_settings_are_printed() {
    let listening = ["Listening:", "--grpc-addr", "127.0.0.1:50051"];
    for (arguments, parts) in [
        (&["--help"][..], ["Examples:", "healthcheck"]),
        (&["serve", "--help"], ["Limits:", "--max-depth"]),
    ] {
        let (ok, help, _) = output(arguments, &[]);
        assert!(ok);
        for part in listening.iter().chain(&parts) {
            assert!(help.contains(part), "{part} in {help}");
        }
    }
    let (ok, version, _) = output(&["--version"], &[]);
    assert!(ok && version.starts_with("endcap "), "{version}");
    let url = ("ENDCAP_DATABASE_URL", "postgres://me:secret@db/endcap");
    let (ok, settings, _) = output(&["config", "--max-depth", "7"], &[url]);
    assert!(ok);
    assert!(settings.contains("max_depth = 7\n"), "{settings}");
    assert!(
        settings.contains("postgres://me:***@db/endcap"),
        "{settings}"
    );
}

#[test]
fn invalid_settings_are_all_reported() {
    let arguments = ["serve", "--max-depth", "0", "--grpc-addr", "nowhere"];
    let (ok, _, error) = output(&arguments, &[("ENDCAP_COLOUR", "red")]);
    assert!(!ok);
    for part in ["--max-depth", "--grpc-addr", "ENDCAP_COLOUR"] {
        assert!(error.contains(part), "{part} in {error}");
    }
    let (ok, _, error) = output(&["serve", "--http-addr", "0.0.0.0:0"], &[]);
    assert!(!ok && error.contains("auth = none"), "{error}");
}
