//! The ordered lists against the obvious model on a `Vec`, with segments so small that
//! splits, merges and new ranks happen all the time.

use std::{
    collections::{BTreeSet, HashSet},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use endcap::{
    domain::{
        Caller, ChildId, ChildType, CollectionId, Error, Locale, Mutation, OnDuplicate, OnMissing,
        Outcome, Place, Position, RootNames, TenantId,
    },
    store::{
        DatabasePlace, Engine, Mode, Store, Tx, children::Children, collections, lock::LockSet,
        tenants,
    },
};
use futures::FutureExt as _;
use proptest::{
    prelude::*,
    test_runner::{Config, TestCaseError, TestRunner},
};

use crate::{harness, postgres, product_ids::HOSTILE};

/// How many requests were applied and refused: most should be applied.
static APPLIED: AtomicU64 = AtomicU64::new(0);
static REFUSED: AtomicU64 = AtomicU64::new(0);

const LIST: ChildType = ChildType::Product;

/// Ids that are hard for whatever separates or quotes them, all different.
fn id(number: u8) -> ChildId {
    ChildId::trusted(HOSTILE[usize::from(number)].as_str())
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
        Mutation::Append { ids, on_duplicate }
        | Mutation::Insert {
            ids, on_duplicate, ..
        } => {
            let index = if let Mutation::Insert { position, .. } = mutation {
                index(list, position)?
            } else {
                list.len()
            };
            let (old, new): (Vec<_>, Vec<_>) =
                unique(ids).into_iter().partition(|id| there.contains(id));
            let is_refused = match on_duplicate {
                OnDuplicate::Ignore => false,
                OnDuplicate::Error => !old.is_empty(),
                OnDuplicate::ErrorIfAll => new.is_empty(),
            };
            if is_refused {
                return None;
            }
            outcome.added = new.len() as u64;
            outcome.existing = old;
            list.splice(index..index, new);
        }
        Mutation::Remove { ids, on_missing } => {
            let (gone, missing): (Vec<_>, Vec<_>) =
                unique(ids).into_iter().partition(|id| there.contains(id));
            if *on_missing == OnMissing::Error && !missing.is_empty() {
                return None;
            }
            list.retain(|id| !gone.contains(id));
            outcome.removed = gone.len() as u64;
            outcome.missing = missing;
        }
        Mutation::MoveRange {
            first,
            last,
            position,
        } => {
            let (first, last) = (*first as usize, *last as usize);
            if first > last || last >= list.len() {
                return None;
            }
            let mut rest = list.clone();
            let moved: Vec<_> = rest.drain(first..=last).collect();
            let to = index(&rest, position)?;
            outcome.moved = moved.len() as u64;
            rest.splice(to..to, moved);
            *list = rest;
        }
        Mutation::MoveIds { ids, position } => {
            let ids = unique(ids);
            if ids.iter().any(|id| !there.contains(id)) {
                return None;
            }
            let mut rest: Vec<_> = list
                .iter()
                .filter(|id| !ids.contains(id))
                .cloned()
                .collect();
            let to = index(&rest, position)?;
            outcome.moved = ids.len() as u64;
            rest.splice(to..to, ids);
            *list = rest;
        }
        Mutation::Reorder { placements } => {
            let last = (list.len() as u64).saturating_sub(1);
            let place = |place: Place| place.index(last) as usize;
            let fits = |(id, at): &(ChildId, Place)| there.contains(id) && place(*at) < list.len();
            let places: BTreeSet<_> = placements.iter().map(|(_, at)| place(*at)).collect();
            if !placements.iter().all(fits) || places.len() < placements.len() {
                return None;
            }
            let named: BTreeSet<_> = placements.iter().map(|(id, _)| id).collect();
            let mut rest = list.iter().filter(|id| !named.contains(id));
            let at = |index: usize| {
                let named = placements.iter().find(|(_, at)| place(*at) == index);
                named.map(|(id, _)| id)
            };
            let new: Vec<_> = (0..list.len())
                .map(|place| at(place).or_else(|| rest.next()).unwrap().clone())
                .collect();
            *list = new;
            outcome.moved = placements.len() as u64;
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

/// Where in the list a position is; none where that is nowhere.
fn index(list: &[ChildId], position: &Position) -> Option<usize> {
    let find = |anchor: &ChildId| list.iter().position(|id| id == anchor);
    match position {
        Position::Index(index) => Some(*index as usize).filter(|index| *index <= list.len()),
        Position::Before(anchor) => find(anchor),
        Position::After(anchor) => find(anchor).map(|index| index + 1),
    }
}

fn named(mutation: &Mutation) -> HashSet<&ChildId> {
    match mutation {
        Mutation::Append { ids, .. }
        | Mutation::Insert { ids, .. }
        | Mutation::Remove { ids, .. }
        | Mutation::MoveIds { ids, .. }
        | Mutation::Replace { ids } => ids.iter().collect(),
        Mutation::Reorder { placements } => placements.iter().map(|(id, _)| id).collect(),
        Mutation::MoveRange { .. } => HashSet::new(),
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
        3 => (ids(1..30), on_duplicate())
            .prop_map(|(ids, on_duplicate)| Mutation::Append { ids, on_duplicate }),
        3 => (position(), ids(1..20), on_duplicate()).prop_map(|(position, ids, on_duplicate)| {
            Mutation::Insert { ids, position, on_duplicate }
        }),
        2 => (ids(1..12), on_missing())
            .prop_map(|(ids, on_missing)| Mutation::Remove { ids, on_missing }),
        4 => (index.clone(), index.clone(), position()).prop_map(|(a, b, position)| {
            Mutation::MoveRange { first: a.min(b), last: a.max(b), position }
        }),
        3 => (ids(1..6), position())
            .prop_map(|(ids, position)| Mutation::MoveIds { ids, position }),
        3 => prop::collection::btree_map(0u8..60, 0u64..45, 1..5).prop_filter_map(
            "places are distinct",
            |places| {
                let distinct: BTreeSet<_> = places.values().collect();
                (distinct.len() == places.len()).then(|| Mutation::Reorder {
                    placements: places.iter().map(|(n, at)| (id(*n), place(*at))).collect(),
                })
            },
        ),
        1 => ids(0..40).prop_map(|ids| Mutation::Replace { ids }),
    ]
}

/// One in so many is the last place.
fn place(number: u64) -> Place {
    if number == 44 {
        Place::Last
    } else {
        Place::Index(number)
    }
}

fn position() -> impl Strategy<Value = Position> {
    prop_oneof![
        1 => (0u8..60).prop_map(|number| Position::Before(id(number))),
        1 => (0u8..60).prop_map(|number| Position::After(id(number))),
        3 => (0u64..45).prop_map(Position::Index),
    ]
}

fn on_duplicate() -> impl Strategy<Value = OnDuplicate> {
    prop_oneof![
        6 => Just(OnDuplicate::Ignore),
        1 => Just(OnDuplicate::Error),
        1 => Just(OnDuplicate::ErrorIfAll),
    ]
}

fn on_missing() -> impl Strategy<Value = OnMissing> {
    prop_oneof![6 => Just(OnMissing::Ignore), 1 => Just(OnMissing::Error)]
}

/// Requests of one to four mutations each.
fn requests() -> impl Strategy<Value = Vec<Vec<Mutation>>> {
    prop::collection::vec(prop::collection::vec(mutation(), 1..5), 1..12)
}

/// A position beside a child that goes there itself is refused before the list is looked at.
fn well_formed(mutation: &Mutation) -> bool {
    let (Mutation::MoveIds { ids, position } | Mutation::Insert { ids, position, .. }) = mutation
    else {
        return true;
    };
    position
        .anchor()
        .is_none_or(|(anchor, _)| !ids.contains(anchor))
}

/// A list with something in it: of its requests few are refused.
fn filled() -> Vec<Mutation> {
    vec![Mutation::append((0..50).map(id).collect())]
}

/// What the model makes of a request: what each mutation did, and the list then.
type Made = (Vec<Outcome>, Vec<ChildId>);

/// The request, and what the model makes of it; none where it must be refused.
fn expected<'a>(request: &'a [Mutation], model: &[ChildId]) -> (Vec<&'a Mutation>, Option<Made>) {
    let request: Vec<_> = request.iter().filter(|m| well_formed(m)).collect();
    let mut list = model.to_vec();
    let outcomes: Option<Vec<_>> = request.iter().map(|m| apply(&mut list, m)).collect();
    (request, outcomes.map(|outcomes| (outcomes, list)))
}

/// Compares what a request came to with what the model made of it.
fn compare(
    expected: Option<Made>,
    got: Result<Vec<Outcome>, Error>,
    model: &mut Vec<ChildId>,
) -> Result<(), TestCaseError> {
    match (expected, got) {
        (Some((outcomes, list)), Ok(got)) => {
            prop_assert_eq!(got, outcomes);
            *model = list;
            APPLIED.fetch_add(1, Ordering::Relaxed);
        }
        (None, Err(error)) => {
            prop_assert!(!error.is_ours(), "{:?}", error);
            REFUSED.fetch_add(1, Ordering::Relaxed);
        }
        (expected, got) => prop_assert!(false, "expected {:?}, got {:?}", expected, got),
    }
    Ok(())
}

async fn check_list(list: Children<'_>, model: &[ChildId]) -> Result<(), TestCaseError> {
    prop_assert_eq!(&list.all().await.unwrap(), model);
    let problems = list.problems().await.unwrap();
    prop_assert!(problems.is_empty(), "{:?}", problems);
    Ok(())
}

/// Sends each request to the list and to the model, and compares all there is. One
/// transaction, which is undone: what is refused has written nothing.
async fn check(tx: &Tx, requests: &[Vec<Mutation>]) -> Result<(), TestCaseError> {
    let collection = CollectionId::root();
    let locale = Locale::trusted("en");
    tenants::ensure(tx, RootNames::default(), &locale)
        .await
        .unwrap();
    let mut locked = tx.lock(LockSet::of(&collection)).await.unwrap();
    let list = Children::uncached(tx, &collection, LIST);
    let mut model: Vec<ChildId> = Vec::new();
    for request in std::iter::once(&filled()).chain(requests) {
        let (request, expected) = expected(request, &model);
        let applied = locked.mutate(tx, &collection, LIST, &request).await;
        compare(
            expected,
            applied.map(|applied| applied.outcomes),
            &mut model,
        )?;
        let count = locked.get(&collection).unwrap().product_count;
        prop_assert_eq!(count, model.len() as u64);
        check_list(list, &model).await?;
    }
    check_reads(list, &model).await
}

/// The same, each request committed and the list then read through the directory that is
/// kept in memory.
async fn check_committed(
    store: &Store,
    tenant: TenantId,
    requests: &[Vec<Mutation>],
) -> Result<(), TestCaseError> {
    let caller = Caller::operator(tenant);
    let (writing, reading) = (caller.writing().unwrap(), caller.reading().unwrap());
    let collection = CollectionId::root();
    let mut model: Vec<ChildId> = Vec::new();
    for request in std::iter::once(&filled()).chain(requests) {
        let (request, expected) = expected(request, &model);
        let context = (&collection, &request);
        let applied = store
            .write(
                &writing,
                Mode::Commit,
                &context,
                |tx, (collection, request)| commit(tx, collection, request).boxed(),
            )
            .await;
        compare(expected, applied, &mut model)?;
        let tx = store.read(&reading).await.unwrap();
        let found = collections::get(&tx, &collection).await.unwrap();
        if let Some(found) = found {
            check_list(Children::of(&tx, &found, LIST), &model).await?;
            check_reads(Children::of(&tx, &found, LIST), &model).await?;
        }
    }
    Ok(())
}

async fn commit(
    tx: &Tx,
    collection: &CollectionId,
    request: &[&Mutation],
) -> Result<Vec<Outcome>, Error> {
    let locale = Locale::trusted("en");
    tenants::ensure(tx, RootNames::default(), &locale).await?;
    let mut locked = tx.lock(LockSet::of(collection)).await?;
    let applied = locked.mutate(tx, collection, LIST, request).await?;
    locked.save(tx, &locale).await?;
    Ok(applied.outcomes)
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

/// A new database, in that folder or in PostgreSQL.
pub(crate) async fn new_store(engine: Engine, folder: &Path) -> Store {
    let place = match engine {
        Engine::Sqlite => DatabasePlace::File(folder.join("test.db")),
        Engine::Postgres => DatabasePlace::Url(postgres::new_database().await),
    };
    let store = Store::connect(&harness::database(place)).await.unwrap();
    store.migrate().await.unwrap();
    store
}

fn against_the_model(engine: Engine) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = runtime.block_on(new_store(engine, folder.path()));
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

fn through_the_cache(engine: Engine) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = runtime.block_on(new_store(engine, folder.path()));
    let mut runner = TestRunner::new(Config {
        cases: 150,
        source_file: Some(file!()),
        ..Config::default()
    });
    let tenants = AtomicU64::new(0);
    let result = runner.run(&(requests(), 1usize..6), |(requests, target)| {
        let store = store.clone().with_segment_target(target);
        let number = tenants.fetch_add(1, Ordering::Relaxed);
        let tenant = TenantId::trusted(format!("t{number}"));
        runtime.block_on(check_committed(&store, tenant, &requests))
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn on_sqlite_committed_lists_are_what_the_cache_says() {
    through_the_cache(Engine::Sqlite);
}

#[test]
fn on_postgres_committed_lists_are_what_the_cache_says() {
    through_the_cache(Engine::Postgres);
}
