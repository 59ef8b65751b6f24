//! Load: clients that continuously write and read, on any servers.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use endcap::grpc::pb::{self, collection_service_client::CollectionServiceClient};
use tokio::task::JoinHandle;
use tonic::{Code, Status, transport::Channel};

use crate::{
    harness::{append, http_client, mutate, named, products},
    program::Running,
};

/// How long a request is retried.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Each writer has its own collection.
const WRITERS: usize = 4;
const READERS: usize = 2;

/// The servers to call, and the results.
#[derive(Default)]
struct State {
    grpc: Mutex<Vec<String>>,
    http: Mutex<Vec<String>>,
    is_over: AtomicBool,
    done: AtomicUsize,
    failures: Mutex<Vec<String>>,
}

/// The load. Every failure must be one after which a client may retry; any other one fails its
/// task.
pub(super) struct Load {
    state: Arc<State>,
    writers: Vec<JoinHandle<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts the load on these servers.
    pub(super) fn start(servers: &[&Running]) -> Self {
        let load = Self {
            state: Arc::default(),
            writers: Vec::new(),
            readers: Vec::new(),
        };
        load.call(servers);
        let writers = (0..WRITERS).map(|n| tokio::spawn(write(Arc::clone(&load.state), n)));
        let readers = (0..READERS).map(|n| tokio::spawn(read(Arc::clone(&load.state), n)));
        let rest = tokio::spawn(read_rest(Arc::clone(&load.state)));
        Self {
            writers: writers.collect(),
            readers: readers.chain([rest]).collect(),
            ..load
        }
    }

    /// Continues with these servers.
    pub(super) fn call(&self, servers: &[&Running]) {
        let urls = |url: fn(&Running) -> &String| servers.iter().map(move |one| url(one).clone());
        *self.state.grpc.lock().unwrap() = urls(|server| &server.grpc).collect();
        *self.state.http.lock().unwrap() = urls(|server| &server.http).collect();
    }

    /// Waits until this many more requests of each kind have succeeded.
    pub(super) async fn goes_on(&self) {
        const MORE: usize = 300;
        let before = self.state.done.load(Ordering::Relaxed);
        let deadline = Instant::now() + TIMEOUT;
        while self.state.done.load(Ordering::Relaxed) < before + MORE {
            let failures = self.state.failures.lock().unwrap().clone();
            assert!(Instant::now() < deadline, "no progress: {failures:?}");
            let tasks = self.readers.iter().map(JoinHandle::is_finished);
            let ended = tasks.chain(self.writers.iter().map(JoinHandle::is_finished));
            assert!(!ended.into_iter().any(|ended| ended), "a client gave up");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Stops the load, and checks that everything acknowledged is stored. Returns the failures.
    pub(super) async fn stop(self, server: &Running) -> Vec<String> {
        self.state.is_over.store(true, Ordering::Relaxed);
        for reader in self.readers {
            reader.await.unwrap();
        }
        let mut client = CollectionServiceClient::connect(server.grpc.clone())
            .await
            .unwrap();
        for (n, writer) in self.writers.into_iter().enumerate() {
            let acknowledged = writer.await.unwrap();
            let list = products(&mut client, &format!("c{n}")).await;
            assert!(
                list == acknowledged,
                "{n}: {list:?} and not {acknowledged:?}"
            );
        }
        self.state.failures.lock().unwrap().clone()
    }
}

/// The clients of a task, whose connections are kept alive.
#[derive(Default)]
struct Clients(HashMap<String, CollectionServiceClient<Channel>>);

impl Clients {
    /// Calls one server after the other until one has executed the request.
    async fn call<T, F>(
        &mut self,
        state: &State,
        run: impl Fn(CollectionServiceClient<Channel>) -> F,
    ) -> T
    where
        F: Future<Output = Result<T, Status>>,
    {
        let deadline = Instant::now() + TIMEOUT;
        for turn in 0.. {
            let url = {
                let urls = state.grpc.lock().unwrap();
                urls[turn % urls.len()].clone()
            };
            let channel = || tonic::transport::Endpoint::new(url.clone()).unwrap();
            let client = self.0.entry(url.clone());
            let client =
                client.or_insert_with(|| CollectionServiceClient::new(channel().connect_lazy()));
            match run(client.clone()).await {
                Ok(done) => {
                    state.done.fetch_add(1, Ordering::Relaxed);
                    return done;
                }
                Err(status) => {
                    assert!(is_retryable(&status), "{status:?}");
                    assert!(Instant::now() < deadline, "{status:?}");
                    state.failures.lock().unwrap().push(status.to_string());
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
        unreachable!("turns don't end")
    }
}

/// Whether a client may retry a request: the server says so, or the connection broke without a
/// response. Writes have a request id, so they are executed once in any case.
fn is_retryable(status: &Status) -> bool {
    let source = std::error::Error::source(status);
    let is_broken = source.is_some_and(|source| source.is::<tonic::transport::Error>());
    status.code() == Code::Unavailable || is_broken
}

async fn write(state: Arc<State>, writer: usize) -> Vec<String> {
    let mut clients = Clients::default();
    let id = format!("c{writer}");
    let request = pb::CreateCollectionRequest {
        collection: Some(named(&id, &id)),
        request_id: format!("create-{writer}"),
        ..pb::CreateCollectionRequest::default()
    };
    let create = |mut client: CollectionServiceClient<Channel>| {
        let request = request.clone();
        async move { client.create_collection(request).await }
    };
    clients.call(&state, create).await;
    let mut acknowledged = Vec::new();
    for n in 0.. {
        if state.is_over.load(Ordering::Relaxed) {
            break;
        }
        let product = format!("p{n}");
        let request = pb::MutateChildrenRequest {
            request_id: format!("{writer}-{n}"),
            ..mutate(&id, vec![append([&product])])
        };
        let append = |mut client: CollectionServiceClient<Channel>| {
            let request = request.clone();
            async move { client.mutate_children(request).await }
        };
        clients.call(&state, append).await;
        acknowledged.push(product);
    }
    acknowledged
}

async fn read(state: Arc<State>, reader: usize) {
    let mut clients = Clients::default();
    while !state.is_over.load(Ordering::Relaxed) {
        let list = |mut client: CollectionServiceClient<Channel>| async move {
            let request = pb::ListCollectionsRequest::default();
            client.list_collections(request).await
        };
        clients.call(&state, list).await;
        let children = |mut client: CollectionServiceClient<Channel>| async move {
            let request = pb::ListChildrenRequest {
                collection_id: format!("c{reader}"),
                child_type: pb::ChildType::Product.into(),
                ..pb::ListChildrenRequest::default()
            };
            match client.list_children(request).await {
                // Its writer has not started yet.
                Err(status) if status.code() == Code::NotFound => Ok(()),
                page => page.map(drop),
            }
        };
        clients.call(&state, children).await;
    }
}

async fn read_rest(state: Arc<State>) {
    let client = http_client().build().unwrap();
    while !state.is_over.load(Ordering::Relaxed) {
        let url = state.http.lock().unwrap()[0].clone();
        let response = client.get(format!("{url}/ccadmin/v1/collections")).send();
        match response.await {
            Ok(response) if response.status() == 200 => {
                state.done.fetch_add(1, Ordering::Relaxed);
            }
            Ok(response) => {
                assert_eq!(response.status(), 503, "{response:?}");
                assert!(
                    response.headers().contains_key("retry-after"),
                    "{response:?}"
                );
            }
            // The server has shut down.
            Err(error) => assert!(error.is_connect() || error.is_request(), "{error:?}"),
        }
    }
}
