//! What changes between the steps of a job that evaluates rules. The tests do its steps themselves.

use std::time::{Duration, Instant};

use endcap::store::{
    Mode, claims,
    jobs::Job,
    lock::LockSet,
    membership::{self, CaughtUp, Matches, NextList},
};
use futures::FutureExt as _;
use rand::seq::SliceRandom as _;

use super::*;

/// How many children or products each step deals with.
const SIZE: usize = 3;
/// How many products join the list only later.
const LATE: u8 = 8;

/// Sorts by title.
fn by_title() -> Change<Sort> {
    Change::Set(Sort {
        by: SortBy::Title,
        descending: false,
        out_of_stock_last: false,
    })
}

impl World {
    /// Replaces the rules of a collection.
    async fn rewrite(&self, number: u8, test: Test) {
        let changes = Changes {
            rules: Change::Set(test.rules()),
            ..Changes::default()
        };
        let update = update(collection_id(number), changes);
        self.execute(update).await.unwrap();
    }

    /// Builds the next list of the collection whose rules the oldest job evaluates.
    async fn build(&self, number: u8) -> (Job, NextList) {
        let job = claims::claim(&self.store, "test").await.unwrap().0.unwrap();
        let collection = self.get(&collection_id(number)).await;
        let mut matches = Matches::none(&collection);
        let reading = self.caller.reading().unwrap();
        let later = Instant::now() + Duration::from_secs(60);
        let tx = self.store.read(&reading).await.unwrap();
        while matches.find(&tx, later).await.unwrap() {}
        let next = NextList::begin(&tx, matches).await.unwrap();
        drop(tx);
        let (writing, mut next) = (self.caller.writing().unwrap(), next.unwrap());
        loop {
            let context = (&job, &next);
            let written =
                self.store
                    .write_on(&writing, Mode::Commit, &context, |tx, (job, next)| {
                        next.write(tx, job, SIZE).boxed()
                    });
            let written = written.await.unwrap().unwrap();
            if next.wrote(&written) {
                return (job, next);
            }
        }
    }

    /// Has the next list catch up, and makes it the current one.
    async fn finish(&self, job: &Job, mut next: NextList) {
        while !self.catch_up(job, &mut next).await {}
    }

    /// Has the next list catch up with a few products. Returns whether it is the current one now.
    async fn catch_up(&self, job: &Job, next: &mut NextList) -> bool {
        let writing = self.caller.writing().unwrap();
        let context = (job, &*next);
        let step = self
            .store
            .write_on(&writing, Mode::Commit, &context, |tx, (job, next)| {
                catch_up(tx, job, next).boxed()
            });
        match step.await.unwrap() {
            CaughtUp::Partly(update) => {
                next.update(update);
                false
            }
            CaughtUp::Wholly => true,
            CaughtUp::Outdated => panic!("few products moved"),
        }
    }

    /// Changes the list by hand: moves products that are not in `pins`, or changes rule entries or
    /// products. Returns whether it did.
    async fn interfere(&self, products: u8, pins: &mut BTreeMap<u8, u64>) -> bool {
        let product = rand::random_range(0..products);
        let index = rand::random_range(0..u64::from(products));
        let entry =
            |kind, index| rule_entries(collection_id(0), kind, vec![(product_id(product), index)]);
        let no_entry = |kind| ChangeRuleEntries {
            remove: vec![product_id(product)],
            ..rule_entries(collection_id(0), kind, Vec::new())
        };
        match rand::random_range(0..12) {
            0 => {
                let taken = self.execute(entry(EntryKind::Pin, Some(index))).await;
                let is_pinned = taken.is_ok();
                if is_pinned {
                    pins.insert(product, index);
                }
                is_pinned
            }
            1 => {
                pins.remove(&product);
                self.execute(no_entry(EntryKind::Pin)).await.is_ok()
            }
            2 => self.execute(entry(EntryKind::Include, None)).await.is_ok(),
            3 => self.execute(entry(EntryKind::Exclude, None)).await.is_ok(),
            4 => self.execute(no_entry(EntryKind::Include)).await.is_ok(),
            5 => self.execute(no_entry(EntryKind::Exclude)).await.is_ok(),
            6..=8 => {
                // Products of the second kind leave the list until they are of the first again.
                let product = rand::random_range(0..products + LATE);
                let mut item = item(rand::random_range(1..=2), rand::random_range(0..10));
                item.title = rand::random_range(0..4);
                let put = upserts(vec![upsert(product_id(product), &item)]);
                self.execute(put).await.is_ok()
            }
            _ => {
                let list = self.list(&collection_id(0)).await;
                let is_pinned = |id: &&String| pins.keys().any(|n| product_id(*n).as_str() == *id);
                let mut free: Vec<_> = list.iter().filter(|id| !is_pinned(id)).collect();
                free.shuffle(&mut rand::rng());
                let mut ids = free.into_iter().map(|id| ChildId::trusted(&**id));
                let (Some(anchor), Some(first)) = (ids.next(), ids.next()) else {
                    return false;
                };
                let at = list.iter().position(|id| *id == first.as_str());
                let at = at.unwrap_or_default() as u64;
                let position = Position::After(anchor);
                let mutation = match index % 3 {
                    0 => Mutation::MoveRange {
                        first: at,
                        last: at,
                        position,
                    },
                    1 => Mutation::MoveIds {
                        ids: ids.take(2).chain([first]).collect(),
                        position,
                    },
                    _ => Mutation::Reorder {
                        placements: vec![(first, (index % list.len() as u64).into())],
                    },
                };
                let update = mutate(collection_id(0), mutation);
                self.execute(update).await.is_ok()
            }
        }
    }
}

async fn catch_up(tx: &Tx, job: &Job, next: &NextList) -> Result<CaughtUp, Error> {
    let id = next.collection();
    let mut locked = tx.lock(LockSet::of_rules(id)).await?;
    let evaluation = membership::evaluation_of(tx, job, id).await?.unwrap();
    let step = locked.catch_up(tx, (job, &evaluation), next, (SIZE, true));
    let step = step.await?;
    if let CaughtUp::Wholly = step {
        locked.save(tx, &Locale::parse("en").unwrap()).await?;
    }
    Ok(step)
}

/// A list that is not sorted keeps the order of the previous one, whenever its products begin to
/// match the new rules.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn products_keep_their_places_when_rules_are_evaluated(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    const PRODUCTS: u8 = 40;
    let (config, store, _folder) = harness::migrated(engine, &all_by_jobs()).await;
    for round in 0..20 {
        let store = store.clone().with_segment_target(1 + round % 5);
        let world = World::new(&config, store, &format!("t{round}"));
        // In one kind, so that all are members first; then those that cost little.
        let price = |_| rand::random_range(0..10);
        let before: Vec<i64> = (0..PRODUCTS).map(price).collect();
        let after: Vec<i64> = (0..PRODUCTS).map(price).collect();
        let put = (0..PRODUCTS).zip(&before);
        let put = put.map(|(n, price)| upsert(product_id(n), &item(1, *price)));
        world.execute(upserts(put.collect())).await.unwrap();
        let rules = Test::Kind(1).rules();
        let smart = creation(collection_id(0), Kind::Smart { rules });
        world.execute(smart).await.unwrap();
        world.do_jobs().await;
        let mut order: Vec<u8> = (0..PRODUCTS).collect();
        order.shuffle(&mut rand::rng());
        let ids = order.iter().map(|n| product_id(*n).into()).collect();
        let position = Position::Index(0);
        let update_order = mutate(collection_id(0), Mutation::MoveIds { ids, position });
        world.execute(update_order).await.unwrap();
        let most = [1, 3, 5][round % 3];
        world.rewrite(0, Test::Below(most)).await;

        let (job, next) = world.build(0).await;
        let mut changed: Vec<u8> = (0..PRODUCTS).collect();
        changed.shuffle(&mut rand::rng());
        for some in changed.chunks(9) {
            let put = some.iter().map(|n| {
                let price = after[usize::from(*n)];
                upsert(product_id(*n), &item(1, price))
            });
            world.execute(upserts(put.collect())).await.unwrap();
        }
        // Not in the list before.
        let new = [PRODUCTS, PRODUCTS + 1].map(|n| upsert(product_id(n), &item(2, 0)));
        world.execute(upserts(new.into())).await.unwrap();
        world.finish(&job, next).await;
        let stay = order.iter().filter(|n| after[usize::from(**n)] < most);
        let expected = stay.copied().chain([PRODUCTS, PRODUCTS + 1]);
        let expected: Vec<_> = expected.map(|n| product_id(n).to_string()).collect();
        assert_eq!(world.list(&collection_id(0)).await, expected, "{round}");
        world.do_jobs().await;
        assert_eq!(world.list(&collection_id(0)).await, expected, "{round}");
        let problems = world.problems(&collection_id(0)).await;
        assert!(problems.is_empty(), "{problems:?}");
    }
}

/// Moves and rule entries that are written while a job builds the next list of a collection, or while
/// that catches up, are in the next list, too.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn moves_and_rule_entries_are_kept_when_rules_are_evaluated(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    const PRODUCTS: u8 = 40;
    let (config, store, _folder) = harness::migrated(engine, &all_by_jobs()).await;
    for round in 0..40 {
        let store = store.clone().with_segment_target(1 + round % 5);
        let world = World::new(&config, store, &format!("t{round}"));
        let kind = |n| if n < PRODUCTS { 1 } else { 2 };
        let put = (0..PRODUCTS + LATE).map(|n| {
            let mut item = item(kind(n), i64::from(n % 10));
            item.title = rand::random_range(0..4);
            upsert(product_id(n), &item)
        });
        world.execute(upserts(put.collect())).await.unwrap();
        let rules = Test::Kind(1).rules();
        let mut smart = creation(collection_id(0), Kind::Smart { rules });
        let is_sorted = round % 4 == 3;
        if is_sorted {
            smart.draft.changes.sort = by_title();
        }
        world.execute(smart).await.unwrap();
        world.do_jobs().await;
        let mut pins = BTreeMap::new();
        for _ in 0..10 {
            world.interfere(PRODUCTS, &mut pins).await;
        }
        let most = [3, 5, 8][round % 3];
        world.rewrite(0, Test::Below(most)).await;
        let (job, mut next) = world.build(0).await;
        let mut done = 0;
        for _ in 0..40 {
            done += u32::from(world.interfere(PRODUCTS, &mut pins).await);
        }
        assert!(done > 10, "{done}");
        let mut before = world.list(&collection_id(0)).await;
        while !world.catch_up(&job, &mut next).await {
            for _ in 0..rand::random_range(0..4) {
                world.interfere(PRODUCTS, &mut pins).await;
            }
            before = world.list(&collection_id(0)).await;
        }
        let after = world.list(&collection_id(0)).await;
        let problems = world.problems(&collection_id(0)).await;
        assert!(problems.is_empty(), "{problems:?}");
        let pins = pins
            .into_iter()
            .map(|(n, index)| (product_id(n).to_string(), index));
        let pins: BTreeMap<_, _> = pins.collect();
        let free = |list: &[String], other: &[String]| -> Vec<String> {
            let both = list
                .iter()
                .filter(|id| other.contains(id) && !pins.contains_key(*id));
            both.cloned().collect()
        };
        if !is_sorted {
            assert_eq!(free(&after, &before), free(&before, &after), "{round}");
        }
    }
}

/// A product that was pinned meanwhile, but that is not checked again yet, is a place for others.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn products_are_placed_next_to_one_that_is_pinned_meanwhile(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    const PINNED: u8 = 39;
    let (config, store, _folder) = harness::migrated(engine, &all_by_jobs()).await;
    let world = World::new(&config, store.with_segment_target(4), "t");
    let put = |n, kind, title| {
        let mut item = item(kind, i64::from(kind));
        item.title = title;
        upsert(product_id(n), &item)
    };
    // The last ones go directly after the pinned one.
    let others = (20..30).map(|n| put(n, 2, if n < 26 { 0 } else { 2 }));
    let first = (0..20).map(|n| put(n, 1, 0));
    let all = first.chain(others).chain([put(PINNED, 1, 1)]);
    world.execute(upserts(all.collect())).await.unwrap();
    let rules = Test::Kind(1).rules();
    let mut smart = creation(collection_id(0), Kind::Smart { rules });
    smart.draft.changes.sort = by_title();
    world.execute(smart).await.unwrap();
    world.do_jobs().await;
    world.rewrite(0, Test::Below(2)).await;
    let (job, next) = world.build(0).await;
    let pin = vec![(product_id(PINNED), Some(0))];
    let pin = rule_entries(collection_id(0), EntryKind::Pin, pin);
    world.execute(pin).await.unwrap();
    let others = (20..30).map(|n| (product_id(n), None));
    let include = rule_entries(collection_id(0), EntryKind::Include, others.collect());
    world.execute(include).await.unwrap();
    world.finish(&job, next).await;
    let expected = [PINNED].into_iter().chain(0..30);
    let expected: Vec<_> = expected.map(|n| product_id(n).to_string()).collect();
    assert_eq!(world.list(&collection_id(0)).await, expected);
}

/// If many products join or leave a list, jobs evaluate the rules that reference it, whether they
/// are in force or still being evaluated. If few do, the lists change together.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn lists_follow_a_referenced_list_that_a_job_replaces(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    const PRODUCTS: u32 = 600;
    const REFERENCED: u8 = 0;
    const NAMING: u8 = 1;
    const CHAINED: u8 = 2;
    /// With new rules that reference the list.
    const NEW: u8 = 3;
    let flags = Flags {
        max_synchronous_products: Some("599".into()),
        ..Flags::default()
    };
    let (config, store, _folder) = harness::migrated(engine, &flags).await;
    let world = World::new(&config, store, "t");
    let id = |n: u32| ProductId::trusted(format!("n{n:04}"));
    for n in 0..PRODUCTS / 200 {
        let some = (200 * n..200 * (n + 1)).map(|n| upsert(id(n), &item(1, i64::from(n))));
        world.execute(upserts(some.collect())).await.unwrap();
    }
    for (number, test) in [
        (REFERENCED, Test::Kind(3)),
        (NAMING, Test::In(REFERENCED)),
        (CHAINED, Test::NotIn(NAMING)),
        (NEW, Test::Kind(3)),
    ] {
        let rules = test.rules();
        let smart = creation(collection_id(number), Kind::Smart { rules });
        world.execute(smart).await.unwrap();
    }
    world.do_jobs().await;
    let states = async || {
        let numbers = [REFERENCED, NAMING, CHAINED, NEW];
        let states = numbers.map(async |number| {
            let found = world.get(&collection_id(number)).await;
            (
                found.rules_state == RulesState::Current,
                found.product_count,
            )
        });
        join_all(states).await
    };
    let right = async || {
        for number in [REFERENCED, NAMING, CHAINED, NEW] {
            let problems = world.problems(&collection_id(number)).await;
            assert!(problems.is_empty(), "{number}: {problems:?}");
        }
    };
    assert_eq!(
        states().await,
        [(true, 0), (true, 0), (true, 600), (true, 0)]
    );
    world.rewrite(REFERENCED, Test::Below(500)).await;
    world.rewrite(NEW, Test::In(REFERENCED)).await;
    let (job, next) = world.build(REFERENCED).await;
    world.finish(&job, next).await;
    let now = [(true, 500), (false, 0), (true, 600), (false, 0)];
    assert_eq!(states().await, now);
    // The products that change now are followed in the list as it is.
    world
        .execute(upserts(vec![upsert(id(0), &item(1, 900))]))
        .await
        .unwrap();
    assert_eq!(states().await[0], (true, 499));
    world.do_jobs().await;
    let now = [(true, 499), (true, 499), (true, 101), (true, 499)];
    assert_eq!(states().await, now);
    right().await;

    world.rewrite(REFERENCED, Test::Below(400)).await;
    let (job, next) = world.build(REFERENCED).await;
    let some = (380..420).map(|n| upsert(id(n), &item(1, 400 - i64::from(n % 2))));
    world.execute(upserts(some.collect())).await.unwrap();
    world.finish(&job, next).await;
    let now = [(true, 399), (true, 399), (true, 201), (true, 399)];
    assert_eq!(states().await, now);
    right().await;
}
