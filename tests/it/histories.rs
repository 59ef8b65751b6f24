//! Linearizability: clients that time out, and servers that are killed. Whatever happens, the
//! responses must be those of operations that ran one after the other.
//!
//! Each client sends a request with a request id until it gets a response, with a short timeout per
//! attempt; meanwhile servers are killed and restarted. Every response contains the version of the
//! collection. At the end, all operations on a collection are replayed on a model, a `Vec`, in the
//! order of these versions. Each response must be that of the model, each page must be the model's
//! at its version, and no response may be older than one that was known when its request was sent.
//!
//! The test is short by default; `ENDCAP_HISTORY_SECONDS=600 cargo test --test it histories` runs
//! longer.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use endcap::{
    domain::{ChildId, Mutation, OnDuplicate, Position},
    grpc::pb::{
        self, child_mutation::Operation, collection_service_client::CollectionServiceClient,
        product_service_client::ProductServiceClient,
    },
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tonic::{Code, Status, transport::Channel};

use crate::{
    children::apply,
    harness::named,
    postgres,
    program::{Running, endcap, endcap_at, start},
};

const CLIENTS: u64 = 8;
/// The number of collections whose product lists change.
const LISTS: u64 = 3;
/// The collection that is deleted and created again.
const RECREATED: &str = "c2";
/// The collection whose child collections change.
const PARENT: &str = "parent";
/// The collection whose products are deleted.
const DELETED: &str = "deleted";

/// An operation on a collection's list, at a version.
#[derive(Clone, Debug)]
enum Event {
    Created,
    Mutated {
        mutation: Mutation,
        result: pb::ChildMutationResult,
        /// The version that the request required.
        expected: Option<u64>,
    },
    /// A page that contains the whole list.
    Read(Vec<String>),
}

/// All events.
#[derive(Default)]
struct History {
    events: Mutex<HashMap<String, Vec<(u64, Event)>>>,
    /// The latest version of each collection in any response so far.
    known: Mutex<HashMap<String, u64>>,
    operations: AtomicU64,
    retries: AtomicU64,
}

impl History {
    fn known(&self, collection: &str) -> u64 {
        let known = self.known.lock().unwrap();
        known.get(collection).copied().unwrap_or_default()
    }

    /// Records a response. `known` is the latest version that was known when its request was sent.
    fn note(&self, collection: &str, version: u64, known: u64, event: Event) {
        let is_read = matches!(event, Event::Read(_));
        if is_read {
            assert!(
                version >= known,
                "{collection}: {version:x} is older than {known:x}"
            );
        }
        let mut all = self.known.lock().unwrap();
        let latest = all.entry(collection.into()).or_default();
        *latest = version.max(*latest);
        drop(all);
        let mut events = self.events.lock().unwrap();
        events
            .entry(collection.into())
            .or_default()
            .push((version, event));
        self.operations.fetch_add(1, Ordering::Relaxed);
    }
}

fn version(etag: &str) -> u64 {
    u64::from_str_radix(etag, 16).unwrap()
}

/// The servers, and the means to kill them.
struct Servers {
    urls: Vec<String>,
    running: Mutex<Vec<Option<Running>>>,
    data: PathBuf,
    database_url: Option<String>,
}

impl Servers {
    fn start(count: usize, data: PathBuf, database_url: Option<String>) -> Self {
        if let Some(url) = &database_url {
            let migrated = endcap(&data, Some(url)).arg("migrate").status().unwrap();
            assert!(migrated.success());
        }
        let start = |_| Some(start(endcap(&data, database_url.as_deref())));
        let running: Vec<_> = (0..count).map(start).collect();
        let urls = running.iter().flatten().map(|it| it.grpc.clone()).collect();
        Self {
            urls,
            running: Mutex::new(running),
            data,
            database_url,
        }
    }

    /// Kills one of the servers, and restarts it at the same address.
    fn kill(&self, which: usize) {
        let mut running = self.running.lock().unwrap();
        // Dropping it kills it.
        running[which] = None;
        let address = self.urls[which].trim_start_matches("http://");
        let command = endcap_at(address, &self.data, self.database_url.as_deref());
        running[which] = Some(start(command));
    }
}

struct Client {
    name: u64,
    random: StdRng,
    servers: Arc<Servers>,
    history: Arc<History>,
    count: u64,
}

impl Client {
    fn channel(&mut self) -> Channel {
        let urls = &self.servers.urls;
        let url = urls[self.random.random_range(0..urls.len())].clone();
        Channel::from_shared(url).unwrap().connect_lazy()
    }

    /// A unique name.
    fn fresh(&mut self, what: &str) -> String {
        self.count += 1;
        format!("{what}{}-{}", self.name, self.count)
    }

    /// Sends a request until there is a response: its result, or why it can't be executed.
    async fn ask<T>(
        &mut self,
        send: impl AsyncFn(Channel) -> Result<T, Status>,
    ) -> Result<T, Status> {
        loop {
            let deadline = Duration::from_millis(self.random.random_range(1..300));
            let channel = self.channel();
            match tokio::time::timeout(deadline, send(channel)).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(status)) => match status.code() {
                    Code::Unavailable
                    | Code::DeadlineExceeded
                    | Code::Cancelled
                    | Code::Unknown => {}
                    Code::Internal if status.get_ref().is_transport() => {}
                    Code::Internal | Code::DataLoss | Code::Unimplemented => {
                        panic!("{status:?}")
                    }
                    Code::Ok
                    | Code::InvalidArgument
                    | Code::NotFound
                    | Code::AlreadyExists
                    | Code::PermissionDenied
                    | Code::ResourceExhausted
                    | Code::FailedPrecondition
                    | Code::Aborted
                    | Code::OutOfRange
                    | Code::Unauthenticated => return Err(status),
                },
                // The client gave up, but the request may have been executed.
                Err(_) => {}
            }
            self.history.retries.fetch_add(1, Ordering::Relaxed);
            let pause = self.random.random_range(1..30);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    async fn mutate(
        &mut self,
        collection: &str,
        list: pb::ChildType,
        mutation: Mutation,
        expected: Option<u64>,
    ) -> Option<u64> {
        let request = pb::MutateChildrenRequest {
            collection_id: collection.into(),
            child_type: list.into(),
            mutations: vec![encoded(&mutation)],
            etag: expected
                .map(|version| format!("{version:x}"))
                .unwrap_or_default(),
            request_id: self.fresh("r"),
            ..Default::default()
        };
        let known = self.history.known(collection);
        let send = async |channel| {
            let mut client = CollectionServiceClient::new(channel);
            client.mutate_children(request.clone()).await
        };
        let response = self.ask(send).await.ok()?.into_inner();
        let version = version(&response.collection.unwrap().etag);
        let result = response.results[0].clone();
        let event = Event::Mutated {
            mutation,
            result,
            expected,
        };
        self.history.note(collection, version, known, event);
        Some(version)
    }

    async fn read(&mut self, collection: &str, list: pb::ChildType) -> Option<u64> {
        let request = pb::ListChildrenRequest {
            collection_id: collection.into(),
            child_type: list.into(),
            page_size: 1_000,
            ..Default::default()
        };
        let known = self.history.known(collection);
        let send = async |channel| {
            let mut client = CollectionServiceClient::new(channel);
            client.list_children(request.clone()).await
        };
        let page = self.ask(send).await.ok()?.into_inner();
        let version = version(&page.etag);
        if page.next_page_token.is_empty() {
            let ids = page.children.into_iter().map(|child| child.id).collect();
            self.history
                .note(collection, version, known, Event::Read(ids));
        }
        Some(version)
    }

    /// A mutation of a product list.
    fn products(&mut self) -> Mutation {
        let fresh = (0..self.random.random_range(1..4)).map(|_| ChildId::trusted(self.fresh("p")));
        let fresh: Vec<_> = fresh.collect();
        // Mostly products of other clients.
        let known = ChildId::trusted(format!(
            "p{}-{}",
            self.random.random_range(0..CLIENTS),
            self.random.random_range(0..self.count + 1)
        ));
        let index = self.random.random_range(0..40);
        match self.random.random_range(0..6) {
            0 => Mutation::append(fresh),
            1 => Mutation::Insert {
                ids: fresh,
                position: Position::Index(index),
                on_duplicate: OnDuplicate::Ignore,
            },
            2 => Mutation::remove(vec![known]),
            3 => Mutation::MoveIds {
                ids: vec![known],
                position: Position::Index(index / 4),
            },
            4 => Mutation::MoveRange {
                first: index / 4,
                last: index / 4 + 2,
                position: Position::Index(index / 8),
            },
            // Keeps the lists short.
            _ => Mutation::Replace { ids: fresh },
        }
    }

    /// Deletes the collection and creates it again.
    async fn recreate(&mut self) {
        let delete = pb::DeleteCollectionRequest {
            collection_id: RECREATED.into(),
            request_id: self.fresh("d"),
            ..Default::default()
        };
        let send = async |channel| {
            let mut client = CollectionServiceClient::new(channel);
            client.delete_collection(delete.clone()).await
        };
        drop(self.ask(send).await);
        self.create(RECREATED).await;
    }

    async fn create(&mut self, id: &str) {
        let create = pb::CreateCollectionRequest {
            collection: Some(named(id, id)),
            request_id: self.fresh("n"),
            ..Default::default()
        };
        let known = self.history.known(id);
        let send = async |channel| {
            let mut client = CollectionServiceClient::new(channel);
            client.create_collection(create.clone()).await
        };
        if let Ok(response) = self.ask(send).await {
            let version = version(&response.into_inner().collection.unwrap().etag);
            self.history.note(id, version, known, Event::Created);
        }
    }

    /// Adds a new product to a list, and deletes it: afterwards it is in no list.
    async fn delete_product(&mut self) {
        let id = self.fresh("gone");
        let request = pb::MutateChildrenRequest {
            request_id: self.fresh("r"),
            ..crate::harness::mutate(DELETED, vec![crate::harness::append([&id])])
        };
        let send = async |channel| {
            let mut client = CollectionServiceClient::new(channel);
            client.mutate_children(request.clone()).await
        };
        self.ask(send).await.unwrap();
        let delete = pb::DeleteProductsRequest {
            ids: vec![id.clone()],
            request_id: self.fresh("d"),
            ..Default::default()
        };
        let send = async |channel| {
            let mut client = ProductServiceClient::new(channel);
            client.delete_products(delete.clone()).await
        };
        let missing = self.ask(send).await.unwrap().into_inner().missing_ids;
        assert_eq!(missing, Vec::<String>::new());
        let get = pb::GetChildRequest {
            collection_id: DELETED.into(),
            child_type: pb::ChildType::Product.into(),
            child_id: id,
            ..Default::default()
        };
        let send = async |channel| {
            let mut client = CollectionServiceClient::new(channel);
            client.get_child(get.clone()).await
        };
        let gone = self.ask(send).await.unwrap_err();
        assert_eq!(gone.code(), Code::NotFound);
        self.history.operations.fetch_add(2, Ordering::Relaxed);
    }

    async fn act(&mut self) {
        let collection = format!("c{}", self.random.random_range(0..LISTS));
        let products = pb::ChildType::Product;
        match self.random.random_range(0..20) {
            0..=9 => {
                let mutation = self.products();
                self.mutate(&collection, products, mutation, None).await;
            }
            10..=12 => drop(self.read(&collection, products).await),
            // A read, then a write with its etag: there must be no write in between.
            13..=15 => {
                if let Some(version) = self.read(&collection, products).await {
                    let id = ChildId::trusted(self.fresh("p"));
                    let append = Mutation::append(vec![id]);
                    self.mutate(&collection, products, append, Some(version))
                        .await;
                }
            }
            16 => self.delete_product().await,
            17 => self.recreate().await,
            18 => {
                // Uses other collections than the lists, because linking changes the child's
                // version, too.
                let child = ChildId::trusted(format!("leaf{}", self.random.random_range(0..3)));
                let mutation = if self.random.random_bool(0.5) {
                    Mutation::append(vec![child])
                } else {
                    Mutation::remove(vec![child])
                };
                self.mutate(PARENT, pb::ChildType::Collection, mutation, None)
                    .await;
            }
            _ => drop(self.read(PARENT, pb::ChildType::Collection).await),
        }
    }
}

trait OfTransport {
    fn get_ref(&self) -> &Self;
    fn is_transport(&self) -> bool;
}

impl OfTransport for Status {
    fn get_ref(&self) -> &Self {
        self
    }

    /// Whether the connection broke: errors of the server have details.
    fn is_transport(&self) -> bool {
        self.details().is_empty()
    }
}

fn encoded(mutation: &Mutation) -> pb::ChildMutation {
    let texts = |ids: &[ChildId]| ids.iter().map(ToString::to_string).collect();
    let at = |position: &Position| {
        let Position::Index(index) = position else {
            panic!("{position:?}");
        };
        Some(pb::Position {
            position: Some(pb::position::Position::Index(*index as i32)),
        })
    };
    let operation = match mutation {
        Mutation::Append { ids, .. } => Operation::Append(pb::child_mutation::Append {
            ids: texts(ids),
            ..Default::default()
        }),
        Mutation::Insert { ids, position, .. } => Operation::Insert(pb::child_mutation::Insert {
            ids: texts(ids),
            position: at(position),
            ..Default::default()
        }),
        Mutation::Remove { ids, .. } => Operation::Remove(pb::child_mutation::Remove {
            ids: texts(ids),
            ..Default::default()
        }),
        Mutation::MoveRange {
            first,
            last,
            position,
        } => Operation::MoveRange(pb::child_mutation::MoveRange {
            first_index: Some(*first as i32),
            last_index: Some(*last as i32),
            position: at(position),
        }),
        Mutation::MoveIds { ids, position } => Operation::MoveIds(pb::child_mutation::MoveIds {
            ids: texts(ids),
            position: at(position),
        }),
        Mutation::Replace { ids } => {
            Operation::Replace(pb::child_mutation::Replace { ids: texts(ids) })
        }
        Mutation::Reorder { .. } => panic!("{mutation:?}"),
    };
    pb::ChildMutation {
        operation: Some(operation),
    }
}

/// The list after the event; `None` if that response is impossible.
fn after(list: &[ChildId], event: &Event) -> Option<Vec<ChildId>> {
    let mut list = list.to_vec();
    match event {
        Event::Created => list.clear(),
        Event::Read(ids) => {
            let same = list
                .iter()
                .map(ChildId::as_str)
                .eq(ids.iter().map(String::as_str));
            return same.then_some(list);
        }
        Event::Mutated {
            mutation, result, ..
        } => {
            let outcome = apply(&mut list, mutation)?;
            let counts = [outcome.added, outcome.removed, outcome.moved].map(|n| n as i32);
            let answered = [result.added_count, result.removed_count, result.moved_count];
            if counts != answered {
                return None;
            }
        }
    }
    Some(list)
}

/// Replays the events of a collection, and returns the number of changes.
fn replay(collection: &str, events: Vec<(u64, Event)>) -> usize {
    let mut versions: BTreeMap<u64, Vec<Event>> = BTreeMap::new();
    for (version, event) in events {
        versions.entry(version).or_default().push(event);
    }
    let mut list: Vec<ChildId> = Vec::new();
    let mut last = 0;
    for (version, events) in &versions {
        // One of the events created the version; the others found it, and changed nothing.
        let one = events.iter().enumerate().find_map(|(at, event)| {
            if matches!(event, Event::Read(_)) {
                return None;
            }
            let now = after(&list, event)?;
            let mut others = events.iter().enumerate().filter(|(other, _)| *other != at);
            let fits = others.all(|(_, other)| after(&now, other).as_ref() == Some(&now));
            fits.then_some((event, now))
        });
        let Some((event, now)) = one else {
            panic!("{collection} at {version:x}: {events:#?} after {list:?}");
        };
        if let Event::Mutated {
            expected: Some(expected),
            ..
        } = event
        {
            assert_eq!(
                *expected, last,
                "{collection} at {version:x}: another write came between"
            );
        }
        list = now;
        last = *version;
    }
    versions.len()
}

async fn histories(database_url: Option<String>, replicas: usize, kills: Duration) {
    let seconds = std::env::var("ENDCAP_HISTORY_SECONDS");
    let seconds = seconds.map_or(6, |seconds| seconds.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let servers = Servers::start(replicas, folder.path().into(), database_url);
    let servers = Arc::new(servers);
    let history = Arc::new(History::default());
    let client = |name: u64| Client {
        name,
        random: StdRng::seed_from_u64(name),
        servers: Arc::clone(&servers),
        history: Arc::clone(&history),
        count: 0,
    };
    let mut first = client(CLIENTS);
    for n in 0..LISTS {
        first.create(&format!("c{n}")).await;
    }
    for id in [PARENT, DELETED, "leaf0", "leaf1", "leaf2"] {
        first.create(id).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let killer = {
        let (servers, stop) = (Arc::clone(&servers), Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut killed = 0;
            while !stop.load(Ordering::Relaxed) {
                std::thread::sleep(kills);
                servers.kill(killed % replicas);
                killed += 1;
            }
            killed
        })
    };
    let until = Instant::now() + Duration::from_secs(seconds);
    let clients = (0..CLIENTS).map(|name| {
        let mut client = client(name);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.enable_all().build().unwrap();
            runtime.block_on(async {
                while Instant::now() < until {
                    client.act().await;
                }
            });
        })
    });
    let clients: Vec<_> = clients.collect();
    let ended = tokio::task::spawn_blocking(|| {
        for client in clients {
            client.join().unwrap();
        }
    });
    ended.await.unwrap();
    stop.store(true, Ordering::Relaxed);
    let killed = tokio::task::spawn_blocking(|| killer.join().unwrap())
        .await
        .unwrap();
    // The final state must be the result of all changes.
    for n in 0..LISTS {
        first.read(&format!("c{n}"), pb::ChildType::Product).await;
    }
    first.read(PARENT, pb::ChildType::Collection).await;
    let events = std::mem::take(&mut *history.events.lock().unwrap());
    let events: BTreeMap<_, _> = events.into_iter().collect();
    let mut changes = 0;
    for (collection, events) in events {
        if collection != DELETED {
            changes += replay(&collection, events);
        }
    }
    let operations = history.operations.load(Ordering::Relaxed);
    let retries = history.retries.load(Ordering::Relaxed);
    eprintln!(
        "{replicas} replicas, {seconds} s: {operations} operations, {changes} changes, \
         {retries} retries, {killed} kills"
    );
    assert!(changes > 20 && retries > 0 && killed > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_on_sqlite_are_linearizable_despite_kills_and_timeouts() {
    histories(None, 1, Duration::from_millis(1_500)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_of_two_replicas_on_postgres_are_linearizable() {
    let database = postgres::new_database().await;
    histories(Some(database), 2, Duration::from_millis(1_500)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_of_three_replicas_on_postgres_are_linearizable() {
    let database = postgres::new_database().await;
    histories(Some(database), 3, Duration::from_millis(1_000)).await;
}
