//! Many concurrent editors of one list, with all operations except Replace: all responses must fit
//! one serial order, that of the versions in them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use endcap::{
    app,
    domain::{
        Caller, Changes, ChildId, ChildType, CollectionId, Draft, Kind, Locale, MapChange,
        Mutation, OnDuplicate, Outcome, Position, TenantId, TextField,
    },
    service::{
        ChildMutation, CreateCollection, Executed, Include, Parents, Service, UpdateCollection,
    },
    store::{Database, DatabasePlace, Engine, Store, children::Children},
};
use futures::future::join_all;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{children::apply, harness, postgres};

const EDITORS: u64 = 32;
/// The number of children, and the duration in seconds. `cargo test --release soak` uses more;
/// without optimizations, the model alone would take minutes.
const SIZE: (u64, u64) = if cfg!(debug_assertions) {
    (10_000, 6)
} else {
    (100_000, 30)
};
const CHILDREN: u64 = SIZE.0;
const TIME: Duration = Duration::from_secs(SIZE.1);

/// A mutation by an editor, and its response.
struct Done {
    version: i64,
    mutation: Mutation,
    outcome: Outcome,
}

fn id(number: u64) -> ChildId {
    ChildId::trusted(format!("p{number}"))
}

fn mutation(random: &mut StdRng, fresh: &AtomicU64) -> Mutation {
    // About as many are removed as added.
    let n = CHILDREN - 2_000;
    let mut index = || random.random_range(0..n);
    let some = |random: &mut StdRng, count: u64| -> Vec<ChildId> {
        (0..count)
            .map(|_| id(random.random_range(0..CHILDREN)))
            .collect()
    };
    let new = |count: u64| -> Vec<ChildId> {
        let first = fresh.fetch_add(count, Ordering::Relaxed);
        (first..first + count).map(id).collect()
    };
    let (start, to) = (index(), index());
    match random.random_range(0..8) {
        0 => Mutation::append(new(20)),
        1 => Mutation::Insert {
            ids: new(10),
            position: Position::Index(to),
            on_duplicate: OnDuplicate::Ignore,
        },
        2 => Mutation::remove(some(random, 30)),
        3 | 4 => Mutation::MoveRange {
            first: start,
            last: start,
            position: Position::Index(to),
        },
        5 => {
            let size = random.random_range(1..=1_999.min(n - start));
            let to = random.random_range(0..n - size);
            Mutation::MoveRange {
                first: start,
                last: start + size - 1,
                position: Position::Index(to),
            }
        }
        6 => Mutation::MoveIds {
            ids: some(random, 5),
            position: Position::Index(to),
        },
        _ => Mutation::Reorder {
            placements: vec![(id(start), to.into())],
        },
    }
}

async fn edit(
    service: Service,
    caller: Caller,
    collection: CollectionId,
    seed: u64,
    fresh: Arc<AtomicU64>,
) -> Vec<Done> {
    let mut random = StdRng::seed_from_u64(seed);
    let started = Instant::now();
    let mut done = Vec::new();
    while started.elapsed() < TIME {
        let mutation = mutation(&mut random, &fresh);
        let command = UpdateCollection {
            mutations: vec![ChildMutation {
                list: ChildType::Product,
                mutation: mutation.clone(),
            }],
            ..UpdateCollection::of(collection.clone())
        };
        match service.execute(&caller, command).await {
            Ok(Executed::New(updated)) => done.push(Done {
                version: updated.detail.collection.version,
                mutation,
                outcome: updated.outcomes[0].clone(),
            }),
            Ok(Executed::Replayed(_)) => panic!("no request id was given"),
            // For example, a child to move was removed by another editor.
            Err(error) => assert!(!error.is_ours(), "{error:?}"),
        }
    }
    done
}

async fn soak(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let place = match engine {
        Engine::Sqlite => DatabasePlace::File(folder.path().join("test.db")),
        Engine::Postgres => DatabasePlace::Url(postgres::new_database().await),
    };
    let store = Store::connect(&Database {
        max_connections: 16,
        acquire_timeout: Duration::from_secs(30),
        ..harness::database(place)
    })
    .await
    .unwrap();
    store.migrate().await.unwrap();
    let config = endcap::app::config(&endcap::config::Flags::default(), None).unwrap();
    let service = app::service(&config, store.clone());
    let caller = Caller::operator(TenantId::trusted("default"));
    let collection = CollectionId::trusted("long");
    let name = (
        (Locale::trusted("en"), TextField::DisplayName),
        Some("Long".into()),
    );
    let create = CreateCollection {
        draft: Draft {
            id: Some(collection.clone()),
            kind: Kind::Manual,
            changes: Changes {
                texts: MapChange {
                    entries: [name].into(),
                    ..MapChange::default()
                },
                ..Changes::default()
            },
        },
        parents: Parents::Root,
        products: Vec::new(),
        include: Include::default(),
        retry: None,
    };
    service.execute(&caller, create).await.unwrap();
    let mut model: Vec<ChildId> = (0..CHILDREN).map(id).collect();
    let fill = UpdateCollection {
        mutations: vec![ChildMutation {
            list: ChildType::Product,
            mutation: Mutation::append(model.clone()),
        }],
        ..UpdateCollection::of(collection.clone())
    };
    service.execute(&caller, fill).await.unwrap();

    let fresh = Arc::new(AtomicU64::new(CHILDREN));
    let editors = (0..EDITORS).map(|seed| {
        let (service, caller) = (service.clone(), caller.clone());
        let editor = edit(
            service,
            caller,
            collection.clone(),
            seed,
            Arc::clone(&fresh),
        );
        tokio::spawn(editor)
    });
    let mut done: Vec<Done> = Vec::new();
    for editor in join_all(editors).await {
        let of_one = editor.unwrap();
        assert!(!of_one.is_empty(), "an editor made no edit");
        done.extend(of_one);
    }
    eprintln!("{engine:?}: {} edits", done.len());

    // A mutation that changed nothing has the version of the preceding change, and comes after it.
    done.sort_by_key(|done| (done.version, changes_nothing(&done.outcome)));
    for Done {
        mutation, outcome, ..
    } in &done
    {
        assert_eq!(
            apply(&mut model, mutation).as_ref(),
            Some(outcome),
            "{mutation:?}"
        );
    }
    let tx = store.read(&caller.reading().unwrap()).await.unwrap();
    let list = Children::uncached(&tx, &collection, ChildType::Product);
    assert!(
        list.all().await.unwrap() == model,
        "the list differs from the model's"
    );
    assert_eq!(list.problems().await.unwrap(), Vec::<String>::new());
}

fn changes_nothing(outcome: &Outcome) -> bool {
    outcome.added + outcome.removed + outcome.moved == 0
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_edits_match_a_serial_order_on_sqlite() {
    soak(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_edits_match_a_serial_order_on_postgres() {
    soak(Engine::Postgres).await;
}
