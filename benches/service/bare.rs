//! The baselines: a tonic and an axum server that respond with given bytes and do nothing else.
//! Each runs in a process of its own, as this same program, so that its processor time can be
//! measured.

use std::{
    collections::HashMap,
    convert::Infallible,
    fs,
    future::{Ready, ready},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::Path,
    pin::Pin,
    process::{Child, Command, Stdio},
    sync::Arc,
    task::{Context, Poll},
};

use axum::Router;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    body::Body,
    server::{Grpc, NamedService, UnaryService},
    transport::server::TcpIncoming,
};

use crate::codec::Raw;

/// The argument that makes this program run as such a server.
pub(crate) const FLAG: &str = "--bare";
/// The name of the file with the body of the REST response.
const JSON: &str = "json";

/// A running bare server, which is stopped when this is dropped.
pub(crate) struct Bare {
    child: Child,
    /// Host and port.
    pub(crate) address: String,
    _folder: tempfile::TempDir,
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Bare {
    /// Starts a tonic server that responds to each method with its bytes.
    pub(crate) fn tonic(responses: &[(&str, &Bytes)]) -> Self {
        Self::start("tonic", responses)
    }

    /// Starts an axum server that responds to every path with this JSON.
    pub(crate) fn axum(json: &Bytes) -> Self {
        Self::start("axum", &[(JSON, json)])
    }

    fn start(kind: &str, responses: &[(&str, &Bytes)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in responses {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([FLAG, kind]).arg(folder.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut address = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut address).unwrap();
        Self {
            child,
            address: address.trim().to_owned(),
            _folder: folder,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

/// Serves until the parent process exits.
pub(crate) async fn run(kind: &str, folder: &Path) {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    std::io::stdout().flush().unwrap();
    if kind == "axum" {
        let json = Bytes::from(fs::read(folder.join(JSON)).unwrap());
        let response = async move || ([(CONTENT_TYPE, "application/json")], json.clone());
        let app = Router::new().fallback(response);
        axum::serve(listener, app).await.unwrap();
        return;
    }
    let mut responses = HashMap::new();
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let method = format!("/{}/{name}", Answers::NAME);
        responses.insert(method, fs::read(&path).unwrap().into());
    }
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    tonic::transport::Server::builder()
        .add_service(Answers(Arc::new(responses)))
        .serve_with_incoming(incoming)
        .await
        .unwrap();
}

/// The response bytes by path.
#[derive(Clone)]
struct Answers(Arc<HashMap<String, Bytes>>);

impl NamedService for Answers {
    const NAME: &str = "endcap.v1.CollectionService";
}

impl tower::Service<http::Request<Body>> for Answers {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let response = Answer(self.0[request.uri().path()].clone());
        Box::pin(async { Ok(Grpc::new(Raw).unary(response, request).await) })
    }
}

struct Answer(Bytes);

impl UnaryService<Bytes> for Answer {
    type Response = Bytes;
    type Future = Ready<Result<Response<Bytes>, Status>>;

    fn call(&mut self, _: Request<Bytes>) -> Self::Future {
        ready(Ok(Response::new(self.0.clone())))
    }
}
