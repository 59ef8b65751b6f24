//! A rolling restart: three servers on one PostgreSQL are replaced one after the other under load,
//! and no request fails.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use endcap::{
    grpc::pb::{self, collection_service_client::CollectionServiceClient},
    store::Engine,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::{Code, transport::Channel};

use crate::{
    harness::{Server, create, http_client},
    postgres,
    program::{Running, endcap, start},
};

/// The endpoints that clients may use: those that report that they are ready, as in Kubernetes.
#[derive(Clone, Default)]
struct Endpoints(Arc<Mutex<Vec<Endpoint>>>);

#[derive(Clone)]
struct Endpoint {
    admin: String,
    http: String,
    grpc: CollectionServiceClient<Channel>,
    is_ready: bool,
}

impl Endpoints {
    async fn add(&self, running: &Running) {
        let endpoint = Endpoint {
            admin: format!("{}/readyz", running.admin),
            http: running.http.clone(),
            grpc: CollectionServiceClient::connect(running.grpc.clone())
                .await
                .unwrap(),
            is_ready: false,
        };
        self.0.lock().unwrap().push(endpoint);
    }

    /// Updates which endpoints are ready, until the task is aborted.
    async fn watch(self, client: reqwest::Client) {
        loop {
            let all = self.0.lock().unwrap().clone();
            for endpoint in all {
                let ready = client.get(&endpoint.admin).send().await;
                let is_ready = ready.is_ok_and(|response| response.status().is_success());
                let mut all = self.0.lock().unwrap();
                let same = all.iter_mut().find(|other| other.admin == endpoint.admin);
                same.into_iter().for_each(|same| same.is_ready = is_ready);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn wait_for(&self, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let ready = || {
            self.0
                .lock()
                .unwrap()
                .iter()
                .filter(|it| it.is_ready)
                .count()
        };
        while ready() < count {
            assert!(Instant::now() < deadline, "too few servers are ready");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn pick(&self) -> Endpoint {
        let all = self.0.lock().unwrap();
        let ready: Vec<_> = all.iter().filter(|it| it.is_ready).collect();
        ready[rand::random_range(0..ready.len())].clone()
    }
}

/// What the clients observed.
#[derive(Clone, Default)]
struct Seen {
    succeeded: Arc<AtomicU64>,
    failures: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
}

impl Seen {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn note(&self, result: Result<(), String>) {
        match result {
            Ok(()) => drop(self.succeeded.fetch_add(1, Ordering::Relaxed)),
            Err(failure) => self.failures.lock().unwrap().push(failure),
        }
    }
}

/// Reads over gRPC. On UNAVAILABLE it retries with another server, as gRPC's own retries do.
async fn call_over_grpc(endpoints: Endpoints, seen: Seen) {
    while seen.goes_on() {
        let mut result = Ok(());
        for _ in 0..3 {
            let get = pb::GetCollectionRequest {
                key: Some(pb::get_collection_request::Key::CollectionId(
                    "summer".into(),
                )),
                ..pb::GetCollectionRequest::default()
            };
            let mut client = endpoints.pick().grpc;
            result = match client.get_collection(get).await {
                Ok(_) => Ok(()),
                Err(status) => Err(status),
            };
            // A connection that received GOAWAY starts no call; tonic reports this with these
            // words.
            let is_retryable = result.as_ref().err().is_some_and(|status| {
                status.code() == Code::Unavailable
                    || status.code() == Code::Cancelled
                    || status.message().contains("operation was canceled")
            });
            if !is_retryable {
                break;
            }
        }
        seen.note(result.map_err(|status| format!("gRPC: {status:?}")));
    }
}

/// Reads and writes over REST, with keep-alive and without retries.
async fn call_over_rest(endpoints: Endpoints, client: reqwest::Client, seen: Seen) {
    while seen.goes_on() {
        let url = format!("{}/ccadmin/v1/collections/summer", endpoints.pick().http);
        let write = rand::random_bool(0.3);
        let request = if write {
            let body = serde_json::json!({ "displayName": "Summer" });
            client
                .put(&url)
                .header("x-ccasset-language", "en")
                .json(&body)
        } else {
            client.get(&url)
        };
        let result = match request.send().await {
            Ok(response) if response.status().is_success() => {
                let body = response.bytes().await;
                body.map(drop).map_err(|error| format!("body: {error:?}"))
            }
            Ok(response) => Err(response.text().await.unwrap_or_default()),
            Err(error) => Err(format!("{error:?}")),
        };
        seen.note(result);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_three_servers_are_replaced() {
    let database = postgres::new_database().await;
    let folder = tempfile::tempdir().unwrap();
    let migrate = endcap(folder.path(), Some(&database))
        .arg("migrate")
        .status();
    assert!(migrate.unwrap().success());
    let new_server = || {
        let mut command = endcap(folder.path(), Some(&database));
        command.args(["--shutdown-delay", "1s", "--database-max-connections", "3"]);
        start(command)
    };
    let client = || {
        let client = http_client().retry(reqwest::retry::never());
        client.build().unwrap()
    };
    let endpoints = Endpoints::default();
    let mut servers = Vec::new();
    for _ in 0..3 {
        let server = new_server();
        endpoints.add(&server).await;
        servers.push(server);
    }
    let looking = tokio::spawn(endpoints.clone().watch(client()));
    endpoints.wait_for(3).await;
    create(&mut endpoints.pick().grpc, "summer").await;
    let seen = Seen::default();
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(tokio::spawn(call_over_grpc(
            endpoints.clone(),
            seen.clone(),
        )));
        let rest = call_over_rest(endpoints.clone(), client(), seen.clone());
        clients.push(tokio::spawn(rest));
    }
    let mut replaced = Vec::new();
    for mut old in servers {
        let new = new_server();
        endpoints.add(&new).await;
        endpoints.wait_for(3 + 1).await;
        let before = seen.succeeded.load(Ordering::Relaxed);
        let stopped = tokio::task::spawn_blocking(move || old.stop()).await;
        assert!(stopped.unwrap());
        assert!(seen.succeeded.load(Ordering::Relaxed) > before);
        replaced.push(new);
    }
    seen.stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    looking.abort();
    let failures = seen.failures.lock().unwrap();
    assert!(
        failures.is_empty(),
        "{} failed: {:#?}",
        failures.len(),
        &failures[..failures.len().min(3)]
    );
}

/// A request that arrives while the server drains is served, and its response announces that the
/// connection closes.
#[tokio::test(flavor = "multi_thread")]
async fn a_draining_server_sends_connection_close_to_keep_alive_clients() {
    let server = Server::new(Engine::Sqlite).await;
    let address = server.http.trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let get = format!("GET /ccadmin/v1/collections HTTP/1.1\r\nhost: {address}\r\n\r\n");
    let mut exchange = async || {
        stream.write_all(get.as_bytes()).await.unwrap();
        let mut text = String::new();
        // The body is short, and the next response follows it.
        while !text.contains("\r\n\r\n") || !text.ends_with('}') {
            let mut part = [0; 4_096];
            let length = stream.read(&mut part).await.unwrap();
            assert_ne!(length, 0, "closed after {text:?}");
            text.push_str(std::str::from_utf8(&part[..length]).unwrap());
        }
        text
    };
    assert!(!exchange().await.contains("connection: close"));
    let stopping = tokio::spawn(server.stop());
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let text = exchange().await;
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        if text.contains("connection: close") {
            break;
        }
        assert!(Instant::now() < deadline, "no connection: close is sent");
    }
    assert!(stopping.await.unwrap());
}

/// The same for a new connection: its first request may already be in flight.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_request_of_a_connection_is_served_while_draining() {
    let server = Server::new(Engine::Sqlite).await;
    let address = server.http.trim_start_matches("http://").to_owned();
    let ready = format!("{}/readyz", server.admin);
    let client = server.client.clone();
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let stopping = tokio::spawn(server.stop());
    let is_ready = async || {
        let response = client.get(&ready).send().await;
        response.is_ok_and(|response| response.status().is_success())
    };
    while is_ready().await {}
    let get = format!("GET /ccadmin/v1/collections HTTP/1.1\r\nhost: {address}\r\n\r\n");
    stream.write_all(get.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text:?}");
    assert!(text.contains("connection: close"), "{text}");
    assert!(stopping.await.unwrap());
}
