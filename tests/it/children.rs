//! Property tests of the ordered lists against a model, a `Vec`. Segments are so small that they
//! are split, merged and renumbered all the time.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use endcap::{
    domain::{
        Caller, Changes, ChildId, ChildType, Collection, CollectionId, Draft, Error, Kind, Limits,
        Locale, MapChange, Mutation, OnDuplicate, OnMissing, Outcome, Place, Position, RootNames,
        TenantId, TextField, Writing,
    },
    store::{
        DatabasePlace, Engine, Mode, Store, Tx,
        children::Children,
        collections,
        lock::{Applied, Edits, LockSet, Locked},
        tenants,
    },
};
use futures::FutureExt as _;
use proptest::{
    prelude::*,
    test_runner::{TestCaseError, TestRunner},
};

use crate::{harness, postgres, product_ids::HOSTILE};

/// The numbers of applied and rejected requests; most should be applied.
static APPLIED: AtomicU64 = AtomicU64::new(0);
static REFUSED: AtomicU64 = AtomicU64::new(0);

const LIST: ChildType = ChildType::Product;
/// The maximum number of lists that one transaction changes.
const LISTS: usize = 3;

/// Distinct ids that are difficult to separate or quote.
fn id(number: u8) -> ChildId {
    ChildId::trusted(HOSTILE[usize::from(number)].as_str())
}

/// The model: the effect of each mutation. `None` if it must be rejected.
pub(crate) fn apply(list: &mut Vec<ChildId>, mutation: &Mutation) -> Option<Outcome> {
    let mut outcome = Outcome::default();
    // The ids in the mutation that are in the list.
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

/// The index of a position in the list; `None` if it does not exist.
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

/// One of the numbers stands for the last place.
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

/// The changes of one transaction: some mutations for each of several lists.
type Round = Vec<Vec<Mutation>>;

fn rounds() -> impl Strategy<Value = Vec<Round>> {
    let request = prop::collection::vec(mutation(), 0..4);
    let round = prop::collection::vec(request, 1..=LISTS);
    prop::collection::vec(round, 1..5)
}

/// A position relative to a child that is itself moved there is rejected before the list is read.
fn well_formed(mutation: &Mutation) -> bool {
    let (Mutation::MoveIds { ids, position } | Mutation::Insert { ids, position, .. }) = mutation
    else {
        return true;
    };
    position
        .anchor()
        .is_none_or(|(anchor, _)| !ids.contains(anchor))
}

/// Fills the lists, so that few requests are rejected.
fn filled() -> Round {
    vec![vec![Mutation::append((0..50).map(id).collect())]; LISTS]
}

/// The model's result of a request: the outcome of each mutation, and the list afterwards.
type Made = (Vec<Outcome>, Vec<ChildId>);

/// The well-formed part of a request, and the model's result of it; `None` if it must be rejected.
fn expected<'a>(request: &'a [Mutation], model: &[ChildId]) -> (Vec<&'a Mutation>, Option<Made>) {
    let request: Vec<_> = request.iter().filter(|m| well_formed(m)).collect();
    let mut list = model.to_vec();
    let outcomes: Option<Vec<_>> = request.iter().map(|m| apply(&mut list, m)).collect();
    (request, outcomes.map(|outcomes| (outcomes, list)))
}

/// The models of the lists.
type Models = [Vec<ChildId>; LISTS];

/// The effect of a transaction on each list.
type Done = BTreeMap<CollectionId, Applied>;

/// A round, and the models' results of it.
struct Planned<'a> {
    /// The whole round, if it must be rejected because of one of its parts.
    refused: Option<Edits<'a>>,
    /// The parts that are not rejected.
    good: Edits<'a>,
    made: Vec<Option<Made>>,
}

impl<'a> Planned<'a> {
    fn of(round: &'a Round, models: &Models) -> Self {
        let (mut all, mut good, mut made) = (Edits::new(), Edits::new(), Vec::new());
        for ((request, model), collection) in round.iter().zip(models).zip(collections()) {
            let (request, expected) = expected(request, model);
            all.insert(collection.clone(), request.clone());
            if expected.is_some() {
                good.insert(collection, request);
            }
            made.push(expected);
        }
        Self {
            refused: (good.len() < all.len()).then_some(all),
            good,
            made,
        }
    }

    /// Compares the models' results with those of the parts that were not rejected, and updates the
    /// models.
    fn compare(self, mut done: Done, models: &mut Models) -> Result<(), TestCaseError> {
        for ((made, model), collection) in self.made.into_iter().zip(models).zip(collections()) {
            let Some((outcomes, list)) = made else {
                continue;
            };
            prop_assert_eq!(done.remove(&collection).unwrap().outcomes, outcomes);
            *model = list;
            APPLIED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn check_refused(done: Result<Done, Error>) -> Result<(), TestCaseError> {
    prop_assert!(
        done.as_ref().is_err_and(|error| !error.is_ours()),
        "{:?}",
        done
    );
    REFUSED.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

async fn check_list(list: Children<'_>, model: &[ChildId]) -> Result<(), TestCaseError> {
    prop_assert_eq!(&list.all().await.unwrap(), model);
    let problems = list.problems().await.unwrap();
    prop_assert!(problems.is_empty(), "{:?}", problems);
    Ok(())
}

/// The collections whose lists are changed: one is locked completely, one only for its lists, and
/// the last one is created in the first transaction.
fn collections() -> [CollectionId; LISTS] {
    [
        CollectionId::root().as_str(),
        "nonNavigableCategory",
        "made",
    ]
    .map(CollectionId::trusted)
}

async fn lock(tx: &Tx) -> Result<Locked, Error> {
    let locale = Locale::trusted("en");
    tenants::ensure(tx, RootNames::default(), &locale).await?;
    let [whole, lists, made] = collections();
    let set = LockSet {
        graph: true,
        collections: [whole, made.clone()].into(),
        linked: [lists].into(),
        ..LockSet::default()
    };
    let mut locked = tx.lock(set).await?;
    if !locked.exists(&made) {
        let name = (locale.clone(), TextField::DisplayName);
        let draft = Draft {
            id: Some(made),
            kind: Kind::Manual,
            changes: Changes {
                texts: MapChange::to([(name, "made".to_owned())]),
                ..Changes::default()
            },
        };
        let limits = Limits::default();
        let collection = Collection::create(draft, tx.now, &locale, &limits)?;
        locked.create(tx, collection, &locale, &limits).await?;
    }
    Ok(locked)
}

/// Applies each round to the lists and to their models, and compares everything, in one transaction
/// that is rolled back. Rejected requests must not have written anything.
async fn check(tx: &Tx, rounds: &[Round]) -> Result<(), TestCaseError> {
    let mut locked = lock(tx).await.unwrap();
    let mut models = Models::default();
    for round in std::iter::once(&filled()).chain(rounds) {
        let planned = Planned::of(round, &models);
        if let Some(refused) = &planned.refused {
            check_refused(locked.mutate_many(tx, LIST, refused).await)?;
        }
        let done = locked.mutate_many(tx, LIST, &planned.good).await.unwrap();
        planned.compare(done, &mut models)?;
        for (collection, model) in collections().iter().zip(&models) {
            let count = locked.get(collection).map(|found| found.product_count);
            prop_assert!(count.is_none_or(|count| count == model.len() as u64));
            check_list(Children::uncached(tx, collection, LIST), model).await?;
        }
    }
    for (collection, model) in collections().iter().zip(&models) {
        check_reads(Children::uncached(tx, collection, LIST), model).await?;
    }
    Ok(())
}

/// Like [`check`], but commits each round, and reads the lists through the cached directories.
async fn check_committed(
    store: &Store,
    tenant: TenantId,
    rounds: &[Round],
) -> Result<(), TestCaseError> {
    let caller = Caller::operator(tenant);
    let (writing, reading) = (caller.writing().unwrap(), caller.reading().unwrap());
    let mut models = Models::default();
    for round in std::iter::once(&filled()).chain(rounds) {
        let planned = Planned::of(round, &models);
        if let Some(refused) = &planned.refused {
            check_refused(commit(store, &writing, refused).await)?;
        }
        let done = commit(store, &writing, &planned.good).await.unwrap();
        planned.compare(done, &mut models)?;
        let tx = store.read(&reading).await.unwrap();
        for (collection, model) in collections().iter().zip(&models) {
            let found = collections::get(&tx, collection).await.unwrap().unwrap();
            prop_assert_eq!(found.product_count, model.len() as u64);
            check_list(Children::of(&tx, &found, LIST), model).await?;
            check_reads(Children::of(&tx, &found, LIST), model).await?;
        }
    }
    Ok(())
}

async fn commit(store: &Store, writing: &Writing, edits: &Edits<'_>) -> Result<Done, Error> {
    let mutate = async |tx: &Tx, edits: &Edits<'_>| {
        let mut locked = lock(tx).await?;
        let done = locked.mutate_many(tx, LIST, edits).await?;
        locked.save(tx, &Locale::trusted("en")).await?;
        Ok(done)
    };
    store
        .write_on(writing, Mode::Commit, edits, |tx, edits| {
            mutate(tx, edits).boxed()
        })
        .await
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

/// A new database, in this directory or in PostgreSQL.
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
    let mut runner = TestRunner::new(harness::random_test(file!(), 3_000));
    let result = runner.run(&(rounds(), 1usize..6), |(rounds, target)| {
        let store = store.clone().with_segment_target(target);
        let checked = store.write_on(&writing, Mode::DryRun, &rounds, |tx, rounds| {
            check(tx, rounds).map(Ok).boxed()
        });
        runtime.block_on(checked).unwrap()
    });
    runtime.block_on(store.close());
    if let Err(error) = result {
        panic!("{error}");
    }
    let (applied, refused) = (
        APPLIED.load(Ordering::Relaxed),
        REFUSED.load(Ordering::Relaxed),
    );
    assert!(
        applied > refused,
        "{applied} applied, {refused} rejected: too few were applied"
    );
}

#[test]
fn lists_match_the_model_on_sqlite() {
    against_the_model(Engine::Sqlite);
}

#[test]
fn lists_match_the_model_on_postgres() {
    against_the_model(Engine::Postgres);
}

fn through_the_cache(engine: Engine) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = runtime.block_on(new_store(engine, folder.path()));
    let mut runner = TestRunner::new(harness::random_test(file!(), 150));
    let tenants = AtomicU64::new(0);
    let result = runner.run(&(rounds(), 1usize..6), |(rounds, target)| {
        let store = store.clone().with_segment_target(target);
        let number = tenants.fetch_add(1, Ordering::Relaxed);
        let tenant = TenantId::trusted(format!("t{number}"));
        runtime.block_on(check_committed(&store, tenant, &rounds))
    });
    runtime.block_on(store.close());
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn committed_lists_match_the_model_through_the_cache_on_sqlite() {
    through_the_cache(Engine::Sqlite);
}

#[test]
fn committed_lists_match_the_model_through_the_cache_on_postgres() {
    through_the_cache(Engine::Postgres);
}
