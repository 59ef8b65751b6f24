//! The ordered lists against the obvious model on a `Vec`, with segments so small that
//! splits, merges and new ranks happen all the time.

use std::{
    collections::{BTreeSet, HashSet},
    sync::atomic::{AtomicU64, Ordering},
};

use endcap::{
    domain::{Caller, ChildId, ChildList, CollectionId, Mutation, Outcome, Place, TenantId},
    store::{Database, DatabasePlace, Engine, Mode, Store, Tx, children::Children},
};
use futures::FutureExt as _;
use proptest::{
    prelude::*,
    test_runner::{Config, TestCaseError, TestRunner},
};

use crate::postgres;

/// How many requests were applied and refused: most should be applied.
static APPLIED: AtomicU64 = AtomicU64::new(0);
static REFUSED: AtomicU64 = AtomicU64::new(0);

const LIST: ChildList = ChildList::Products;

fn id(number: u8) -> ChildId {
    ChildId::trusted(format!("p{number}"))
}

/// The model: what each mutation means. None where it must be refused.
pub(crate) fn apply(list: &mut Vec<ChildId>, mutation: &Mutation) -> Option<Outcome> {
    let mut outcome = Outcome::default();
    // Of the ids that the mutation names, those in the list.
    let named = named(mutation);
    let there: HashSet<ChildId> = list
        .iter()
        .filter(|id| named.contains(id))
        .cloned()
        .collect();
    match mutation {
        Mutation::Append { ids } | Mutation::Insert { ids, .. } => {
            let index = if let Mutation::Insert { index, .. } = mutation {
                *index as usize
            } else {
                list.len()
            };
            if index > list.len() {
                return None;
            }
            let (old, new): (Vec<_>, Vec<_>) =
                unique(ids).into_iter().partition(|id| there.contains(id));
            outcome.added = new.len() as u64;
            outcome.already_there = old;
            list.splice(index..index, new);
        }
        Mutation::Remove { ids } => {
            let (gone, absent): (Vec<_>, Vec<_>) =
                unique(ids).into_iter().partition(|id| there.contains(id));
            list.retain(|id| !gone.contains(id));
            outcome.removed = gone.len() as u64;
            outcome.absent = absent;
        }
        Mutation::Move {
            from_start,
            from_end,
            to,
        } => {
            let (start, end, to) = (*from_start as usize, *from_end as usize, *to as usize);
            if start > end || end >= list.len() || to > list.len() - (end - start + 1) {
                return None;
            }
            let moved: Vec<_> = list.drain(start..=end).collect();
            outcome.moved = moved.len() as u64;
            list.splice(to..to, moved);
        }
        Mutation::MoveIds { ids, place } => {
            let ids = unique(ids);
            if ids.iter().any(|id| !there.contains(id)) {
                return None;
            }
            let mut rest: Vec<_> = list
                .iter()
                .filter(|id| !ids.contains(id))
                .cloned()
                .collect();
            let find = |anchor: &ChildId| rest.iter().position(|id| id == anchor);
            let index = match place {
                Place::Before(anchor) => find(anchor)?,
                Place::After(anchor) => find(anchor)? + 1,
                Place::Index(index) => Some(*index as usize).filter(|i| *i <= rest.len())?,
            };
            outcome.moved = ids.len() as u64;
            rest.splice(index..index, ids);
            *list = rest;
        }
        Mutation::Reorder { indexes } => {
            let fits =
                |(id, index): &(ChildId, u64)| there.contains(id) && (*index as usize) < list.len();
            if !indexes.iter().all(fits) {
                return None;
            }
            let named: BTreeSet<_> = indexes.iter().map(|(id, _)| id).collect();
            let mut rest = list.iter().filter(|id| !named.contains(id));
            let at = |place: usize| {
                let named = indexes.iter().find(|(_, index)| *index as usize == place);
                named.map(|(id, _)| id)
            };
            let new: Vec<_> = (0..list.len())
                .map(|place| at(place).or_else(|| rest.next()).unwrap().clone())
                .collect();
            *list = new;
            outcome.moved = indexes.len() as u64;
        }
        Mutation::Replace { ids } => {
            let ids = unique(ids);
            let stayed = ids.iter().filter(|id| there.contains(id)).count();
            outcome.added = (ids.len() - stayed) as u64;
            outcome.removed = (list.len() - stayed) as u64;
            outcome.moved = stayed as u64;
            *list = ids;
        }
    }
    Some(outcome)
}

fn named(mutation: &Mutation) -> HashSet<&ChildId> {
    match mutation {
        Mutation::Append { ids }
        | Mutation::Insert { ids, .. }
        | Mutation::Remove { ids }
        | Mutation::MoveIds { ids, .. }
        | Mutation::Replace { ids } => ids.iter().collect(),
        Mutation::Reorder { indexes } => indexes.iter().map(|(id, _)| id).collect(),
        Mutation::Move { .. } => HashSet::new(),
    }
}

fn unique(ids: &[ChildId]) -> Vec<ChildId> {
    let mut seen = BTreeSet::new();
    ids.iter().filter(|id| seen.insert(*id)).cloned().collect()
}

fn ids(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<ChildId>> {
    prop::collection::vec((0u8..60).prop_map(id), count)
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = 0u64..45;
    prop_oneof![
        3 => ids(1..30).prop_map(|ids| Mutation::Append { ids }),
        3 => (index.clone(), ids(1..20)).prop_map(|(index, ids)| Mutation::Insert { index, ids }),
        2 => ids(1..12).prop_map(|ids| Mutation::Remove { ids }),
        4 => (index.clone(), index.clone(), index.clone()).prop_map(|(a, b, to)| {
            Mutation::Move { from_start: a.min(b), from_end: a.max(b), to }
        }),
        3 => (ids(1..6), place()).prop_map(|(ids, place)| Mutation::MoveIds { ids, place }),
        3 => prop::collection::btree_map(0u8..60, 0u64..45, 1..5).prop_filter_map(
            "indexes are distinct",
            |places| {
                let distinct: BTreeSet<_> = places.values().collect();
                (distinct.len() == places.len()).then(|| Mutation::Reorder {
                    indexes: places.iter().map(|(n, index)| (id(*n), *index)).collect(),
                })
            },
        ),
        1 => ids(0..40).prop_map(|ids| Mutation::Replace { ids }),
    ]
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![
        (0u8..60).prop_map(|number| Place::Before(id(number))),
        (0u8..60).prop_map(|number| Place::After(id(number))),
        (0u64..45).prop_map(Place::Index),
    ]
}

/// Requests of one to four mutations each.
fn requests() -> impl Strategy<Value = Vec<Vec<Mutation>>> {
    prop::collection::vec(prop::collection::vec(mutation(), 1..5), 1..12)
}

/// An anchor among the moved is refused before the list is looked at.
fn well_formed(mutation: &Mutation) -> bool {
    if let Mutation::MoveIds {
        ids,
        place: Place::Before(anchor) | Place::After(anchor),
    } = mutation
    {
        !ids.contains(anchor)
    } else {
        true
    }
}

/// Sends each request to the list and to the model, and compares all there is. One
/// transaction, which is undone: what is refused has written nothing.
async fn check(tx: &Tx, requests: &[Vec<Mutation>]) -> Result<(), TestCaseError> {
    let collection = CollectionId::trusted("c");
    let list = Children::uncached(tx, &collection, LIST);
    let mut model: Vec<ChildId> = Vec::new();
    // Of a list with something in it few requests are refused.
    let filled = vec![Mutation::Append {
        ids: (0..50).map(id).collect(),
    }];
    for request in std::iter::once(&filled).chain(requests) {
        let request: Vec<_> = request.iter().filter(|m| well_formed(m)).collect();
        let mut tried = model.clone();
        let expected: Option<Vec<_>> = request.iter().map(|m| apply(&mut tried, m)).collect();
        match (expected, list.mutate(&request).await) {
            (Some(expected), Ok(got)) => {
                prop_assert_eq!(got.outcomes, expected);
                prop_assert_eq!(got.len, tried.len() as u64);
                model = tried;
                APPLIED.fetch_add(1, Ordering::Relaxed);
            }
            (None, Err(error)) => {
                prop_assert!(!error.is_ours(), "{:?}", error);
                REFUSED.fetch_add(1, Ordering::Relaxed);
            }
            (expected, got) => prop_assert!(false, "expected {:?}, got {:?}", expected, got),
        }
        prop_assert_eq!(&list.all().await.unwrap(), &model);
        let problems = list.problems().await.unwrap();
        prop_assert!(problems.is_empty(), "{:?}", problems);
    }
    check_reads(list, &model).await
}

async fn check_reads(list: Children<'_>, model: &[ChildId]) -> Result<(), TestCaseError> {
    let middle = model.len() / 2;
    let page = list.page(middle as u64, 7).await.unwrap();
    prop_assert_eq!(page.len, model.len() as u64);
    prop_assert_eq!(
        &page.children,
        &model[middle..(middle + 7).min(model.len())]
    );
    for number in [0, 30, 59] {
        let index = list.index_of(&id(number)).await.unwrap();
        let place = model.iter().position(|child| *child == id(number));
        prop_assert_eq!(index, place.map(|place| place as u64));
    }
    Ok(())
}

fn against_the_model(engine: Engine) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = runtime.block_on(async {
        let place = match engine {
            Engine::Sqlite => DatabasePlace::File(folder.path().join("test.db")),
            Engine::Postgres => DatabasePlace::Url(postgres::new_database().await),
        };
        let store = Store::connect(&Database {
            place,
            max_connections: 2,
            acquire_timeout: std::time::Duration::from_secs(10),
            statement_timeout: None,
        })
        .await
        .unwrap();
        store.migrate().await.unwrap();
        store
    });
    let caller = Caller::operator(TenantId::parse("", "test").unwrap());
    let writing = caller.writing().unwrap();
    let mut runner = TestRunner::new(Config {
        cases: 10_000,
        source_file: Some(file!()),
        ..Config::default()
    });
    let result = runner.run(&(requests(), 1usize..6), |(requests, target)| {
        let store = store.clone().with_segment_target(target);
        let checked = store.write(&writing, Mode::DryRun, &requests, |tx, requests| {
            check(tx, requests).map(Ok).boxed()
        });
        runtime.block_on(checked).unwrap()
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let (applied, refused) = (
        APPLIED.load(Ordering::Relaxed),
        REFUSED.load(Ordering::Relaxed),
    );
    assert!(
        applied > refused,
        "{applied} applied, {refused} refused: too few say anything"
    );
}

#[test]
fn on_sqlite_lists_do_what_the_model_does() {
    against_the_model(Engine::Sqlite);
}

#[test]
fn on_postgres_lists_do_what_the_model_does() {
    against_the_model(Engine::Postgres);
}
