//! The cost of telemetry: the server's processor time per GetCollection, and its throughput, with a
//! collector that discards everything, compared to no collector. Ratios are within the same run.
//!
//! `cargo bench --bench telemetry [-- --seconds 2 --rounds 7]`
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use axum::{Router, body::Body, extract::Request};
use endcap::grpc::pb::{
    Collection, CreateCollectionRequest, GetCollectionRequest, LocalizedText,
    collection_service_client::CollectionServiceClient, get_collection_request::Key,
};
use http_body_util::BodyExt as _;
use tonic::transport::Channel;

/// Concurrent calls.
const CLIENTS: usize = 8;

/// The variants of the server, with their environment variables.
const MODES: [(&str, &[(&str, &str)]); 4] = [
    ("off", &[("OTEL_SDK_DISABLED", "true")]),
    ("all sampled", &[("OTEL_TRACES_SAMPLER", "always_on")]),
    (
        "1 % sampled",
        &[
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.01"),
        ],
    ),
    (
        "1 % sampled, no logs",
        &[
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.01"),
            ("OTEL_LOGS_EXPORTER", "none"),
        ],
    ),
];

struct Server {
    child: Child,
    client: CollectionServiceClient<Channel>,
    _folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    async fn start(collector: &str, environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_endcap"));
        command.env_clear().arg("--data-dir").arg(folder.path());
        for port in ["--grpc-addr", "--http-addr", "--admin-addr"] {
            command.args([port, "127.0.0.1:0"]);
        }
        // Every variant has the endpoint; its own variables decide what is exported.
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector);
        command.envs(environment.iter().copied());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let address = loop {
            let mut line = String::new();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended");
            let entry: serde_json::Value = serde_json::from_str(&line).unwrap();
            if entry["message"] == "serving" {
                break entry["grpc"].as_str().unwrap().to_owned();
            }
        };
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let url = format!("http://{address}");
        let mut client = CollectionServiceClient::connect(url).await.unwrap();
        let text = LocalizedText {
            display_name: "Summer".into(),
            ..LocalizedText::default()
        };
        let collection = Collection {
            id: "summer".into(),
            texts: [("en".to_owned(), text)].into(),
            ..Collection::default()
        };
        let create = CreateCollectionRequest {
            collection: Some(collection),
            ..CreateCollectionRequest::default()
        };
        client.create_collection(create).await.unwrap();
        Self {
            child,
            client,
            _folder: folder,
        }
    }

    /// The processor time that it has used.
    fn cpu(&self) -> Duration {
        let pid = i32::try_from(self.child.id()).unwrap();
        let stat = procfs::process::Process::new(pid).unwrap().stat().unwrap();
        let ticks = (stat.utime + stat.stime) as f64;
        Duration::from_secs_f64(ticks / procfs::ticks_per_second() as f64)
    }

    /// Calls the server for `time`. Returns calls per second, and processor time per call in
    /// microseconds.
    async fn measure(&self, time: Duration) -> (f64, f64) {
        let (before, start) = (self.cpu(), Instant::now());
        let clients = (0..CLIENTS).map(|_| {
            let mut client = self.client.clone();
            tokio::spawn(async move {
                let mut count = 0_u64;
                while start.elapsed() < time {
                    let get = GetCollectionRequest {
                        key: Some(Key::CollectionId("summer".into())),
                        ..GetCollectionRequest::default()
                    };
                    client.get_collection(get).await.unwrap();
                    count += 1;
                }
                count
            })
        });
        let mut count = 0;
        for client in clients.collect::<Vec<_>>() {
            count += client.await.unwrap();
        }
        let cpu = (self.cpu() - before).as_secs_f64() * 1e6;
        (
            count as f64 / start.elapsed().as_secs_f64(),
            cpu / count as f64,
        )
    }
}

/// An HTTP collector that does not decode what it receives.
async fn collector() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let take = async |request: Request<Body>| {
        let _ = request.into_body().collect().await;
    };
    let app = Router::new().fallback(take);
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn option(name: &str, default: f64) -> f64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    let value = arguments.nth(1);
    value.map_or(default, |value| value.parse().unwrap())
}

#[tokio::main]
async fn main() {
    let time = Duration::from_secs_f64(option("--seconds", 2.0));
    let rounds = option("--rounds", 7.0) as usize;
    let collector = collector().await;
    let mut servers = Vec::new();
    for (_, environment) in MODES {
        servers.push(Server::start(&collector, environment).await);
    }
    let mut figures = vec![(Vec::new(), Vec::new()); MODES.len()];
    // The servers take turns in each round, so that temporary load on the machine affects all of
    // them.
    for _ in 0..=rounds {
        for (server, (rates, costs)) in servers.iter().zip(&mut figures) {
            let (rate, cost) = server.measure(time).await;
            rates.push(rate);
            costs.push(cost);
        }
    }
    let warm = |values: &Vec<f64>| median(values[1..].to_vec());
    let (rate, cost) = (warm(&figures[0].0), warm(&figures[0].1));
    println!("| telemetry | calls/s | : off | CPU µs a call | : off |");
    println!("|---|---|---|---|---|");
    for ((name, _), (rates, costs)) in MODES.iter().zip(&figures) {
        let (own_rate, own_cost) = (warm(rates), warm(costs));
        println!(
            "| {name} | {own_rate:.0} | {:.2} | {own_cost:.1} | {:.2} |",
            own_rate / rate,
            own_cost / cost
        );
    }
}
