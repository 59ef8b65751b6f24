//! A server under load, and the threads that monitor it.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use endcap::grpc::pb::{
    self, collection_service_client::CollectionServiceClient,
    product_service_client::ProductServiceClient,
};
use tempfile::TempDir;
use tonic::transport::Channel;

use crate::{LIVE, OTHERS};

/// A running server with its own database.
pub(crate) struct Program {
    child: Child,
    pub(crate) grpc: String,
    pub(crate) http: String,
    pub(crate) admin: String,
    _folder: TempDir,
    /// Servers run one at a time, because times are measured.
    _turn: MutexGuard<'static, ()>,
}

static TURN: Mutex<()> = Mutex::new(());

impl Program {
    pub(crate) fn start(settings: &[&str]) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_endcap"));
        command.env_clear().arg("--data-dir").arg(folder.path());
        for port in ["--grpc-addr", "--http-addr", "--admin-addr"] {
            command.args([port, "127.0.0.1:0"]);
        }
        command.args(["--log-format", "json"]).args(settings);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let addresses = loop {
            let mut line = String::new();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "it did not start");
            let entry: serde_json::Value = serde_json::from_str(&line).unwrap();
            if entry["message"] == "serving" {
                break entry;
            }
        };
        // The log must be drained, or the pipe fills up.
        thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let address = |name: &str| addresses[name].as_str().unwrap().to_owned();
        Self {
            child,
            grpc: address("grpc"),
            http: address("http"),
            admin: address("admin"),
            _folder: folder,
            _turn: turn,
        }
    }

    pub(crate) async fn collections(&self) -> CollectionServiceClient<Channel> {
        let url = format!("http://{}", self.grpc);
        let client = CollectionServiceClient::connect(url).await.unwrap();
        client.max_decoding_message_size(usize::MAX)
    }

    pub(crate) async fn products(&self) -> ProductServiceClient<Channel> {
        let url = format!("http://{}", self.grpc);
        ProductServiceClient::connect(url).await.unwrap()
    }

    /// The resident memory of the server without mapped files, in MiB.
    pub(crate) fn memory(&self) -> u64 {
        memory(self.child.id())
    }

    /// Monitors the server until [`Watch::end`].
    pub(crate) fn watch(&self) -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let (admin, id) = (self.admin.clone(), self.child.id());
        let live = watch(&stop, Duration::from_millis(20), move || {
            (timed(|| live(&admin)), memory(id))
        });
        let grpc = self.grpc.clone();
        let others = {
            let stop = Arc::clone(&stop);
            thread::spawn(move || other_tenant(&grpc, &stop))
        };
        Watch { stop, live, others }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn memory(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    kib.map_or(0, |kib| kib.parse::<u64>().unwrap() >> 10)
}

fn live(admin: &str) {
    let mut stream = TcpStream::connect(admin).unwrap();
    let request = format!("GET /livez HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
}

fn timed(act: impl FnOnce()) -> Duration {
    let began = Instant::now();
    act();
    began.elapsed()
}

fn watch<T: Send + 'static>(
    stop: &Arc<AtomicBool>,
    pause: Duration,
    look: impl Fn() -> T + Send + 'static,
) -> JoinHandle<Vec<T>> {
    let stop = Arc::clone(stop);
    thread::spawn(move || {
        let mut seen = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            seen.push(look());
            thread::sleep(pause);
        }
        seen
    })
}

/// Sends alternating reads and writes of another, well-behaved tenant on its own connection, and
/// returns the duration of each.
#[tokio::main(flavor = "current_thread")]
async fn other_tenant(grpc: &str, stop: &AtomicBool) -> Vec<Duration> {
    let url = format!("http://{grpc}");
    let mut client = CollectionServiceClient::connect(url).await.unwrap();
    let id = "quiet";
    let create = pb::CreateCollectionRequest {
        tenant_id: id.into(),
        collection: Some(named(id)),
        ..Default::default()
    };
    client.create_collection(create).await.unwrap();
    let mut seen = Vec::new();
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let began = Instant::now();
        if n % 2 == 0 {
            let get = pb::GetCollectionRequest {
                tenant_id: id.into(),
                key: Some(pb::get_collection_request::Key::CollectionId(id.into())),
                ..Default::default()
            };
            client.get_collection(get).await.unwrap();
        } else {
            let append = pb::child_mutation::Append {
                ids: vec![format!("p{n}")],
                ..Default::default()
            };
            let mutate = pb::MutateChildrenRequest {
                tenant_id: id.into(),
                collection_id: id.into(),
                child_type: pb::ChildType::Product.into(),
                mutations: vec![pb::ChildMutation {
                    operation: Some(pb::child_mutation::Operation::Append(append)),
                }],
                ..Default::default()
            };
            client.mutate_children(mutate).await.unwrap();
        }
        seen.push(began.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    seen
}

/// A collection with an English name.
pub(crate) fn named(id: &str) -> pb::Collection {
    let text = pb::LocalizedText {
        display_name: id.into(),
        ..Default::default()
    };
    pb::Collection {
        id: id.into(),
        texts: [("en".to_owned(), text)].into(),
        ..Default::default()
    }
}

/// The threads that monitor a server.
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    live: JoinHandle<Vec<(Duration, u64)>>,
    others: JoinHandle<Vec<Duration>>,
}

impl Watch {
    /// Stops the threads, and asserts that all measurements are within their limits; `most` is the
    /// limit of memory, in MiB.
    pub(crate) fn end(self, what: &str, most: u64) {
        self.stop.store(true, Ordering::Relaxed);
        let live = self.live.join().unwrap();
        let mut others = self.others.join().unwrap();
        others.sort();
        let slowest = live.iter().map(|(took, _)| *took).max().unwrap();
        let memory = live.iter().map(|(_, memory)| *memory).max().unwrap();
        let p99 = others[others.len() * 99 / 100];
        eprintln!(
            "{what}: /livez {slowest:?} of {}, other tenant p99 {p99:?} of {}, max {:?}; {memory} MiB",
            live.len(),
            others.len(),
            others[others.len() - 1]
        );
        assert!(slowest < LIVE, "{what}: /livez took {slowest:?}");
        assert!(p99 < OTHERS, "{what}: the p99 of another tenant is {p99:?}");
        assert!(memory < most, "{what}: {memory} MiB");
    }
}
