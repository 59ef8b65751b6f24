//! This service's lists, through the use cases and through gRPC.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use endcap::{
    config::{Config, Flags},
    domain::{
        Caller, ChildId, ChildType, CollectionId, Draft, Kind, Locale, Mutation, OnDuplicate,
        Place, Position, TenantId, TextField,
    },
    grpc::pb::{self, collection_service_client::CollectionServiceClient},
    service::{
        ChildMutation, ChildStart, CreateCollection, Executed, Include, ListChildren, Parents,
        Service, UpdateCollection,
    },
    store::Store,
};
use rand::{RngExt as _, rngs::StdRng};
use tonic::transport::Channel;

use crate::{Op, measure, oracle, product, report::Cell, scattered};

type Client = CollectionServiceClient<Channel>;

pub(crate) struct Ours {
    service: Service,
    client: Client,
    rest: reqwest::Client,
    url: String,
    caller: Caller,
    id: CollectionId,
    locale: Locale,
    n: u64,
    statements: Arc<AtomicU64>,
    /// How long loading took.
    pub(crate) loaded: Duration,
}

impl Ours {
    /// Creates the collection `name` with `n` products, loaded in calls of 100,000.
    pub(crate) async fn load(
        store: Store,
        name: String,
        n: u64,
        statements: Arc<AtomicU64>,
    ) -> Self {
        let config = endcap::app::config(&Flags::default(), None).unwrap();
        let auth = endcap::auth::Authenticator::new(&config.auth, &store).unwrap();
        let service = endcap::app::service(&config, store);
        let id = CollectionId::trusted(name);
        let caller = Caller::operator(TenantId::trusted("default"));
        let mut changes = endcap::domain::Changes::default();
        let key = (config.default_locale.clone(), TextField::DisplayName);
        changes.texts.entries.push((key, Some(id.to_string())));
        let create = CreateCollection {
            draft: Draft {
                id: Some(id.clone()),
                kind: Kind::Manual,
                changes,
            },
            parents: Parents::Root,
            products: Vec::new(),
            include: Include::default(),
            retry: None,
        };
        service.execute(&caller, create).await.unwrap();
        let (client, url) = serve(service.clone(), auth, &config).await;
        let mut ours = Self {
            service,
            client,
            rest: reqwest::Client::new(),
            url,
            caller,
            id,
            locale: config.default_locale.clone(),
            n,
            statements,
            loaded: Duration::ZERO,
        };
        let started = Instant::now();
        let mut next = 0;
        while next < n {
            let end = (next + 100_000).min(n);
            let ids = (next..end)
                .map(|number| ChildId::trusted(product(number)))
                .collect();
            ours.mutate([Mutation::append(ids)]).await;
            next = end;
        }
        ours.loaded = started.elapsed();
        ours
    }

    /// Measures the operation through all interfaces.
    pub(crate) async fn run(
        &self,
        op: Op,
        random: &mut StdRng,
        budget: Duration,
    ) -> Vec<(&'static str, Cell)> {
        let (mut rows, mut count) = (0, 0);
        let mut sent = 0;
        let times = measure(budget, async || {
            let before = self.statements.load(Ordering::Relaxed);
            let started = Instant::now();
            let written = self.in_process(op, random).await;
            let time = started.elapsed();
            sent += self.statements.load(Ordering::Relaxed) - before;
            rows += written;
            count += 1;
            self.restore(op).await;
            time
        })
        .await;
        let mean = |sum: u64| Some(sum as f64 / f64::from(count));
        let use_case = Cell::of(times, mean(rows), mean(sent));
        let times = measure(budget, async || {
            let started = Instant::now();
            self.over_grpc(op, random).await;
            let time = started.elapsed();
            self.restore(op).await;
            time
        })
        .await;
        let mut cells = vec![
            ("use case", use_case),
            ("gRPC", Cell::of(times, None, None)),
        ];
        if oracle::body(self.mutation(op, random).await, op, random).is_some() {
            let times = measure(budget, async || {
                let mutation = self.mutation(op, random).await;
                let body = oracle::body(mutation, op, random).unwrap();
                let request = oracle::request(&self.rest, &self.url, &self.id, body);
                let started = Instant::now();
                oracle::send(request).await;
                let time = started.elapsed();
                self.restore(op).await;
                time
            })
            .await;
            cells.push(("updateCollection", Cell::of(times, None, None)));
        }
        cells
    }

    async fn mutate(&self, mutations: impl IntoIterator<Item = Mutation>) -> u64 {
        let list = ChildType::Product;
        let mutations = mutations.into_iter();
        let command = UpdateCollection {
            mutations: mutations
                .map(|mutation| ChildMutation { list, mutation })
                .collect(),
            ..UpdateCollection::of(self.id.clone())
        };
        self.update(command).await
    }

    /// Runs the update, and returns the number of rows written.
    async fn update(&self, command: UpdateCollection) -> u64 {
        match self.service.execute(&self.caller, command).await.unwrap() {
            // Includes the row of the collection.
            Executed::New(updated) => updated.rows_written + 1,
            Executed::Replayed(_) => unreachable!("no request id was given"),
        }
    }

    /// The mutation to measure; `None` for a read.
    async fn mutation(&self, op: Op, random: &mut StdRng) -> Option<Mutation> {
        let n = self.n;
        let range = |start: u64, size: u64, to: u64| Mutation::MoveRange {
            first: start,
            last: start + size - 1,
            position: Position::Index(to),
        };
        Some(match op {
            Op::Move1 => range(random.random_range(0..n), 1, random.random_range(0..n)),
            Op::Move1000 => {
                let size = 1_000.min(n / 4);
                let start = random.random_range(0..n - size);
                range(start, size, random.random_range(0..n - size))
            }
            Op::MoveHalf => range(n / 4, n / 2, 0),
            Op::MoveIds100 => Mutation::MoveIds {
                ids: ids(scattered(random, n, 100)),
                position: Position::Index(random.random_range(0..n - 100)),
            },
            Op::InsertFirst => insert(0, vec![ChildId::trusted("first")]),
            Op::Append100 => Mutation::append(ids(n..n + 100)),
            Op::Remove100 => Mutation::remove(ids(self.removable())),
            Op::Reorder100 => {
                let places = scattered(random, n, 100);
                let ids = ids(scattered(random, n, 100)).into_iter();
                Mutation::Reorder {
                    placements: ids.zip(places.into_iter().map(Place::Index)).collect(),
                }
            }
            Op::Rename | Op::Page50 | Op::PlaceOfId | Op::WholeList => return None,
        })
    }

    /// A hundred ids, spread over the list in its initial order.
    fn removable(&self) -> impl Iterator<Item = u64> {
        let step = self.n / 100;
        (0..100).map(move |at| at * step)
    }

    /// Undoes the removals and insertions of an operation, so that the length of the list stays the
    /// same.
    async fn restore(&self, op: Op) {
        let mutation = match op {
            Op::InsertFirst => Mutation::remove(vec![ChildId::trusted("first")]),
            Op::Append100 => Mutation::remove(ids(self.n..self.n + 100)),
            Op::Remove100 => {
                // Approximately at their old positions, so that the next removal is scattered too.
                let back = ids(self.removable())
                    .into_iter()
                    .map(|id| insert(u64::from_str_radix(id.as_str(), 16).unwrap(), vec![id]));
                self.mutate(back).await;
                return;
            }
            Op::Rename
            | Op::Move1
            | Op::Move1000
            | Op::MoveHalf
            | Op::MoveIds100
            | Op::Reorder100
            | Op::Page50
            | Op::PlaceOfId
            | Op::WholeList => return,
        };
        self.mutate([mutation]).await;
    }

    async fn in_process(&self, op: Op, random: &mut StdRng) -> u64 {
        if let Some(mutation) = self.mutation(op, random).await {
            return self.mutate([mutation]).await;
        }
        let list = ChildType::Product;
        match op {
            Op::Rename => {
                let name = format!("name {}", random.random::<u64>());
                let mut command = UpdateCollection::of(self.id.clone());
                let key = (self.locale.clone(), TextField::DisplayName);
                command.changes.texts.entries.push((key, Some(name)));
                return self.update(command).await;
            }
            Op::PlaceOfId => {
                let child = ChildId::trusted(product(random.random_range(0..self.n)));
                let place = self
                    .service
                    .get_child(&self.caller, &self.id, list, &child)
                    .await;
                assert!(place.unwrap().0 < self.n);
            }
            Op::WholeList => {
                let include = Include {
                    products: true,
                    ..Include::default()
                };
                let id = self.id.clone();
                let whole = self.service.get_whole(&self.caller, id, include, None);
                assert_eq!(whole.await.unwrap().detail.products.len() as u64, self.n);
            }
            Op::Move1
            | Op::Move1000
            | Op::MoveHalf
            | Op::MoveIds100
            | Op::InsertFirst
            | Op::Append100
            | Op::Remove100
            | Op::Reorder100 => unreachable!("{op:?} is a mutation"),
            Op::Page50 => {
                let command = ListChildren {
                    collection: self.id.clone(),
                    list,
                    products: None,
                    start: ChildStart::Index(random.random_range(0..self.n - 50)),
                    size: 50,
                };
                let page = self
                    .service
                    .list_children(&self.caller, command)
                    .await
                    .unwrap();
                assert_eq!(page.children.len(), 50);
            }
        }
        0
    }

    async fn over_grpc(&self, op: Op, random: &mut StdRng) {
        let mut client = self.client.clone();
        let collection_id = self.id.to_string();
        let child_type = pb::ChildType::Product.into();
        if let Some(mutation) = self.mutation(op, random).await {
            let request = pb::MutateChildrenRequest {
                collection_id,
                child_type,
                mutations: vec![wire(mutation)],
                ..Default::default()
            };
            client.mutate_children(request).await.unwrap();
            return;
        }
        match op {
            Op::Rename => {
                let name = format!("name {}", random.random::<u64>());
                let locale = self.locale.to_string();
                let text = pb::LocalizedText {
                    display_name: name,
                    ..Default::default()
                };
                let collection = pb::Collection {
                    id: collection_id,
                    texts: [(locale, text)].into(),
                    ..Default::default()
                };
                let request = pb::UpdateCollectionRequest {
                    collection: Some(collection),
                    update_mask: Some(prost_types::FieldMask {
                        paths: vec!["texts".into()],
                    }),
                    ..Default::default()
                };
                client.update_collection(request).await.unwrap();
            }
            Op::PlaceOfId => {
                let request = pb::GetChildRequest {
                    collection_id,
                    child_type,
                    child_id: product(random.random_range(0..self.n)),
                    ..Default::default()
                };
                client.get_child(request).await.unwrap();
            }
            Op::WholeList => {
                let mut page_token = String::new();
                loop {
                    let request = pb::ListChildrenRequest {
                        collection_id: collection_id.clone(),
                        child_type,
                        page_size: 1_000,
                        page_token,
                        ..Default::default()
                    };
                    let page = client.list_children(request).await.unwrap().into_inner();
                    page_token = page.next_page_token;
                    if page_token.is_empty() {
                        break;
                    }
                }
            }
            Op::Move1
            | Op::Move1000
            | Op::MoveHalf
            | Op::MoveIds100
            | Op::InsertFirst
            | Op::Append100
            | Op::Remove100
            | Op::Reorder100 => unreachable!("{op:?} is a mutation"),
            Op::Page50 => {
                let request = pb::ListChildrenRequest {
                    collection_id,
                    child_type,
                    page_size: 50,
                    start_index: random.random_range(0..self.n - 50) as i32,
                    ..Default::default()
                };
                client.list_children(request).await.unwrap();
            }
        }
    }
}

/// Serves the use cases with all middleware on a free port.
async fn serve(
    service: Service,
    auth: endcap::auth::Authenticator,
    config: &Config,
) -> (Client, String) {
    let edge = endcap::app::edge(config, service, auth, None);
    let (all, health) = edge.unwrap();
    health.checked(Ok(()));
    let listener = endcap::http::Listener::bind("127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    let url = format!("http://{}", listener.address);
    let connections = endcap::http::Connections::new(config.listen.connections.clone());
    let (never, stop) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        endcap::http::serve(listener, all, connections, stop).await;
        drop(never);
    });
    let client = CollectionServiceClient::connect(url.clone()).await;
    (client.unwrap(), url)
}

fn ids(numbers: impl IntoIterator<Item = u64>) -> Vec<ChildId> {
    numbers
        .into_iter()
        .map(|number| ChildId::trusted(product(number)))
        .collect()
}

fn insert(index: u64, ids: Vec<ChildId>) -> Mutation {
    Mutation::Insert {
        ids,
        position: Position::Index(index),
        on_duplicate: OnDuplicate::Ignore,
    }
}

fn wire(mutation: Mutation) -> pb::ChildMutation {
    use pb::child_mutation::{
        Append, Insert, MoveIds, MoveRange, Operation, Placement, Remove, Reorder, Replace,
    };
    let texts = |ids: Vec<ChildId>| ids.into_iter().map(String::from).collect();
    let on_duplicate = pb::OnDuplicate::Unspecified.into();
    let operation = match mutation {
        Mutation::Append { ids, .. } => Operation::Append(Append {
            ids: texts(ids),
            on_duplicate,
        }),
        Mutation::Insert { ids, position, .. } => Operation::Insert(Insert {
            ids: texts(ids),
            position: wire_position(position),
            on_duplicate,
        }),
        Mutation::Remove { ids, .. } => Operation::Remove(Remove {
            ids: texts(ids),
            on_missing: pb::OnMissing::Unspecified.into(),
        }),
        Mutation::MoveRange {
            first,
            last,
            position,
        } => Operation::MoveRange(MoveRange {
            first_index: Some(first as i32),
            last_index: Some(last as i32),
            position: wire_position(position),
        }),
        Mutation::MoveIds { ids, position } => Operation::MoveIds(MoveIds {
            ids: texts(ids),
            position: wire_position(position),
        }),
        Mutation::Reorder { placements } => Operation::Reorder(Reorder {
            placements: placements
                .into_iter()
                .map(|(id, place)| Placement {
                    id: id.into(),
                    index: Some(place.index(u64::MAX) as i32),
                })
                .collect(),
        }),
        Mutation::Replace { ids } => Operation::Replace(Replace { ids: texts(ids) }),
    };
    pb::ChildMutation {
        operation: Some(operation),
    }
}

fn wire_position(position: Position) -> Option<pb::Position> {
    let position = match position {
        Position::Before(id) => pb::position::Position::BeforeId(id.into()),
        Position::After(id) => pb::position::Position::AfterId(id.into()),
        Position::Index(index) => pb::position::Position::Index(index as i32),
    };
    Some(pb::Position {
        position: Some(position),
    })
}
