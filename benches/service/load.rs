//! Load generation: a number of clients, each of which sends its next request after the response to
//! the last one. Requests are encoded beforehand and responses are not decoded, so that the
//! clients, which share the processors with the server, cost little.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{StatusCode, uri::PathAndQuery};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet};
use tonic::{
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

use crate::{codec::Raw, pgbench::Pgbench, server};

/// A request within a load: the client that sends it, and its number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    client: usize,
    clients: usize,
    /// Unique within the load.
    pub(crate) number: u64,
}

impl Turn {
    /// Which of `count` objects the request is about. Each client has objects of its own; a single
    /// client uses all of them in turn.
    pub(crate) fn of(self, count: usize) -> usize {
        if self.clients == 1 {
            self.number as usize % count
        } else {
            self.client % count
        }
    }
}

/// The requests of a load.
pub(crate) enum Work {
    Grpc(Grpc),
    Http(Http),
    Pgbench(Pgbench),
}

/// Calls of a gRPC method.
pub(crate) struct Grpc {
    channels: Vec<Channel>,
    path: PathAndQuery,
    authorization: MetadataValue<Ascii>,
    make: Arc<dyn Fn(Turn) -> Bytes + Send + Sync>,
    number: Arc<AtomicU64>,
}

/// Reads of a REST path.
pub(crate) struct Http {
    /// Host and port.
    pub(crate) address: String,
    pub(crate) path: String,
    pub(crate) key: String,
}

/// The result of one round of a load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Requests per second.
    pub(crate) rate: f64,
    /// The median and the 99th percentile of the durations.
    pub(crate) times: Option<(Duration, Duration)>,
    /// The server's processor time per request, in microseconds.
    pub(crate) cpu: Option<f64>,
}

/// The median and the 99th percentile.
fn quantiles(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    (at(0.5), at(0.99))
}

impl Work {
    /// Generates load with `clients` clients for `time`, and measures the server, whose process is
    /// `pid`.
    pub(crate) async fn measure(&self, pid: Option<u32>, clients: usize, time: Duration) -> Sample {
        let all = match self {
            Self::Pgbench(pgbench) => return pgbench.run(clients, time),
            Self::Grpc(grpc) => grpc.clients(clients),
            Self::Http(http) => {
                let mut all = Vec::new();
                for _ in 0..clients {
                    all.push(http.client().await);
                }
                all
            }
        };
        let cpu = || pid.map(server::cpu).unwrap_or_default();
        let (before, start) = (cpu(), Instant::now());
        let mut running = JoinSet::new();
        for client in all {
            running.spawn(client.run(start + time));
        }
        let times: Vec<Duration> = running.join_all().await.concat();
        let (took, used) = (start.elapsed(), cpu() - before);
        let count = times.len() as f64;
        Sample {
            rate: count / took.as_secs_f64(),
            times: Some(quantiles(times)),
            cpu: pid.map(|_| used.as_secs_f64() * 1e6 / count),
        }
    }
}

/// One client of a load.
enum Client {
    Grpc(GrpcClient),
    Http(HttpClient),
}

struct GrpcClient {
    client: usize,
    clients: usize,
    grpc: tonic::client::Grpc<Channel>,
    path: PathAndQuery,
    authorization: MetadataValue<Ascii>,
    make: Arc<dyn Fn(Turn) -> Bytes + Send + Sync>,
    number: Arc<AtomicU64>,
}

struct HttpClient {
    sender: hyper::client::conn::http1::SendRequest<Empty<Bytes>>,
    request: http::Request<Empty<Bytes>>,
}

impl Client {
    /// Sends requests until the deadline, and returns their durations.
    async fn run(mut self, deadline: Instant) -> Vec<Duration> {
        let mut times = Vec::with_capacity(1 << 14);
        let mut start = Instant::now();
        while start < deadline || times.is_empty() {
            match &mut self {
                Self::Grpc(client) => {
                    client.call().await;
                }
                Self::Http(client) => {
                    client.get().await;
                }
            }
            let end = Instant::now();
            times.push(end - start);
            start = end;
        }
        times
    }
}

impl GrpcClient {
    async fn call(&mut self) -> Bytes {
        let turn = Turn {
            client: self.client,
            clients: self.clients,
            number: self.number.fetch_add(1, Ordering::Relaxed),
        };
        let mut request = tonic::Request::new((self.make)(turn));
        let headers = request.metadata_mut();
        headers.insert("authorization", self.authorization.clone());
        self.grpc.ready().await.unwrap();
        let response = self.grpc.unary(request, self.path.clone(), Raw).await;
        let response = response.unwrap_or_else(|status| panic!("{}: {status}", self.path));
        response.into_inner()
    }
}

impl HttpClient {
    async fn get(&mut self) -> Bytes {
        self.sender.ready().await.unwrap();
        let response = self.sender.send_request(self.request.clone()).await;
        let (head, body) = response.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        assert_eq!(head.status, StatusCode::OK, "{body:?}");
        body
    }
}

impl Grpc {
    pub(crate) fn new(
        channels: &[Channel],
        method: &str,
        key: &str,
        make: impl Fn(Turn) -> Bytes + Send + Sync + 'static,
    ) -> Self {
        let path = format!("/endcap.v1.{method}");
        Self {
            channels: channels.to_vec(),
            path: path.parse().unwrap(),
            authorization: format!("Bearer {key}").parse().unwrap(),
            make: Arc::new(make),
            number: Arc::default(),
        }
    }

    /// Calls the method once, and returns the response message.
    pub(crate) async fn once(&self) -> Bytes {
        self.client(0, 1).call().await
    }

    fn client(&self, client: usize, clients: usize) -> GrpcClient {
        let channel = self.channels[client % self.channels.len()].clone();
        GrpcClient {
            client,
            clients,
            grpc: tonic::client::Grpc::new(channel),
            path: self.path.clone(),
            authorization: self.authorization.clone(),
            make: Arc::clone(&self.make),
            number: Arc::clone(&self.number),
        }
    }

    fn clients(&self, clients: usize) -> Vec<Client> {
        let client = |at| Client::Grpc(self.client(at, clients));
        (0..clients).map(client).collect()
    }
}

impl Http {
    /// Sends the request once, and returns the response body.
    pub(crate) async fn once(&self) -> Bytes {
        self.http_client().await.get().await
    }

    async fn client(&self) -> Client {
        Client::Http(self.http_client().await)
    }

    /// A client with a connection of its own.
    async fn http_client(&self) -> HttpClient {
        let stream = TcpStream::connect(&self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let connected = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = connected.unwrap();
        tokio::spawn(connection);
        let request = http::Request::get(&self.path)
            .header("host", &self.address)
            .header("version", "2021-07-28")
            .header("authorization", format!("Bearer {}", self.key));
        HttpClient {
            sender,
            request: request.body(Empty::new()).unwrap(),
        }
    }
}
