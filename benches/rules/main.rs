//! The cost of a product's change if many smart collections have rules, and of a change of rules if
//! there are many products, on both databases, through the use cases. For comparison, the cost of
//! evaluating every rule for the product in memory, as is necessary without an index of conditions,
//! and of reading the ids of every list, as is necessary without an index of memberships. Prints
//! medians, and ratios within the same run. Rules over more than 100,000 products are evaluated by a
//! job; meanwhile pages are read and another collection is renamed.
//!
//! ```sh
//! cargo bench --bench rules -- [--collections 100,10000] [--products 100000] [--engine sqlite|postgres] [--times 15]
//! ```
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

#[path = "../../tests/it/postgres.rs"]
mod postgres;
mod shop;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use endcap::{
    domain::{Facts, Limits, Product, Rules, rules::Matcher},
    store::{Access, Database, DatabasePlace, Engine, Pooler, Store},
};
use futures::{StreamExt as _, stream};
use shop::{Item, Meanwhile, Shop};

/// The allocator of the server.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

struct Arguments {
    collections: Vec<usize>,
    products: usize,
    engines: Vec<Engine>,
    times: usize,
}

fn arguments() -> Arguments {
    let mut arguments = Arguments {
        collections: vec![100, 10_000],
        products: 100_000,
        engines: vec![Engine::Sqlite, Engine::Postgres],
        times: 15,
    };
    let mut given = std::env::args().skip(1);
    while let Some(flag) = given.next() {
        let mut value = || {
            given
                .next()
                .unwrap_or_else(|| panic!("{flag} has no value"))
        };
        match flag.as_str() {
            "--collections" => {
                arguments.collections = value().split(',').map(|n| n.parse().unwrap()).collect();
            }
            "--products" => arguments.products = value().parse().unwrap(),
            "--engine" if value() == "sqlite" => arguments.engines = vec![Engine::Sqlite],
            "--engine" => arguments.engines = vec![Engine::Postgres],
            "--times" => arguments.times = value().parse().unwrap(),
            // cargo adds this argument.
            "--bench" => {}
            other => panic!("unknown argument {other}"),
        }
    }
    arguments
}

/// The medians of a run, by measured operation.
#[derive(Default)]
struct Medians(BTreeMap<&'static str, Duration>);

impl Medians {
    fn add(&mut self, what: &'static str, mut times: Vec<Duration>, statements: Option<u64>) {
        times.sort_unstable();
        let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
        let statements = statements.map_or_else(|| "–".into(), |count| count.to_string());
        println!("| {what} | {median:.2?} | {worst:.2?} | {statements} |");
        self.0.insert(what, median);
    }
}

/// Calls `run` `times` times. Returns the durations, and the number of statements of the last call.
async fn measure(
    times: usize,
    statements: &AtomicU64,
    mut run: impl AsyncFnMut(usize),
) -> (Vec<Duration>, u64) {
    let (mut taken, mut count) = (Vec::new(), 0);
    for number in 0..times {
        let before = statements.load(Ordering::Relaxed);
        let started = Instant::now();
        run(number).await;
        taken.push(started.elapsed());
        count = statements.load(Ordering::Relaxed) - before;
    }
    (taken, count)
}

const NOTHING: &str = "one product changes, no list";
const TEN: &str = "one product changes, 10 lists";
const THOUSAND: &str = "one product changes, 1,000 lists";

/// Measures changes of products with `count` smart collections.
async fn products(shop: &Shop, statements: &AtomicU64, count: usize, times: usize) -> Medians {
    let rules = shop.fill(count).await;
    let known: Vec<_> = (0..1_000).map(Item::known).collect();
    shop.put(known.clone()).await;
    println!("\n### {count} smart collections\n");
    println!("| what | median | worst | statements |\n|---|---|---|---|");
    let mut medians = Medians::default();
    for (what, tag) in [(NOTHING, "none"), (TEN, "ten"), (THOUSAND, "thousand")] {
        let (taken, sent) = measure(times, statements, async |number| {
            let tags = if number.is_multiple_of(2) {
                vec![tag]
            } else {
                Vec::new()
            };
            shop.put(vec![Item::tagged(0, &tags)]).await;
        })
        .await;
        medians.add(what, taken, Some(sent));
    }
    let (taken, sent) = measure(times, statements, async |number| {
        shop.put(vec![Item::known(10_000 + number)]).await;
    })
    .await;
    medians.add("a new product", taken, Some(sent));
    let (taken, sent) = measure(times.min(9), statements, async |number| {
        let changed = |item: Item| {
            let moves = item.number.is_multiple_of(10) && number.is_multiple_of(2);
            Item::tagged(item.number, if moves { &["five"] } else { &[] })
        };
        shop.put(known.iter().cloned().map(changed).collect()).await;
    })
    .await;
    medians.add(
        "1,000 known products, a tenth of which changes 5 lists",
        taken,
        Some(sent),
    );
    let (taken, sent) = measure(times.min(9), statements, async |number| {
        let first = 20_000 + number * 1_000;
        shop.put((first..first + 1_000).map(Item::known).collect())
            .await;
    })
    .await;
    medians.add("1,000 new products", taken, Some(sent));
    let taken = every_rule(&rules, &shop.product(0).await, times);
    medians.add(
        "every rule evaluated for one product, in memory alone",
        taken,
        None,
    );
    let (taken, sent) = measure(1, statements, async |_| shop.read_lists(count).await).await;
    medians.add("the ids of every list read", taken, Some(sent));
    medians
}

/// Measures the evaluation of every rule, without an index of conditions.
fn every_rule(rules: &[Rules], product: &Product, times: usize) -> Vec<Duration> {
    let matchers: Vec<_> = rules.iter().map(Matcher::new).collect();
    let once = |_| {
        let started = Instant::now();
        let facts = Facts::of(product, product.update_time);
        let matching = matchers.iter().filter(|rules| rules.matches(&facts));
        std::hint::black_box(matching.count());
        started.elapsed()
    };
    (0..times).map(once).collect()
}

/// Measures changes of rules with `count` products, of which a tenth match.
async fn rules(shop: &Shop, statements: &AtomicU64, count: usize, times: usize) {
    let numbers: Vec<_> = (0..count).collect();
    let put = stream::iter(numbers.chunks(1_000)).map(async |numbers| {
        shop.put(numbers.iter().map(|n| Item::known(*n)).collect())
            .await;
    });
    put.buffer_unordered(4).collect::<()>().await;
    println!("\n### Rules over {count} products, of which a tenth match\n");
    println!("| what | median | worst | statements |\n|---|---|---|---|");
    let mut medians = Medians::default();
    let job = shop.do_jobs();
    shop.create("other", &shop::decile(0)).await;
    shop.create("wide", &shop::decile(0)).await;
    shop.until_current("wide").await;
    let mut meanwhile = Meanwhile::default();
    let last = times.min(5);
    let (taken, sent) = measure(last, statements, async |number| {
        shop.write_rules("wide", &shop::decile(number + 1)).await;
        meanwhile += shop.until_current("wide").await;
    })
    .await;
    medians.add(
        "rules are others: a tenth leaves, a tenth joins",
        taken,
        Some(sent),
    );
    let members = last % 10 * 100;
    let pin = async |number| shop.pin("wide", (members + number, number)).await;
    let (taken, sent) = measure(times, statements, pin).await;
    medians.add("a product is pinned", taken, Some(sent));
    if count > Limits::default().synchronous_products {
        medians.add("a page of 50 meanwhile", meanwhile.pages, None);
        medians.add("a rename meanwhile", meanwhile.renames, None);
    } else {
        let preview = async |number| shop.preview(&shop::decile(number)).await;
        let (taken, sent) = measure(times, statements, preview).await;
        medians.add("a preview", taken, Some(sent));
    }
    job.abort();
}

async fn open(engine: Engine, folder: &std::path::Path, statements: &Arc<AtomicU64>) -> Store {
    let database = Database {
        place: match engine {
            Engine::Sqlite => DatabasePlace::File(folder.join("bench.db")),
            Engine::Postgres => DatabasePlace::Url(postgres::new_database().await),
        },
        access: Access::default(),
        pooler: Pooler::None,
        max_connections: 4,
        acquire_timeout: Duration::from_secs(60),
        statement_timeout: None,
        slow_statement: Duration::from_secs(60),
        replica: None,
    };
    let store = Store::connect(&database).await.unwrap();
    let counter = Arc::clone(statements);
    store.on_statement(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    store.migrate().await.unwrap();
    store
}

#[tokio::main]
async fn main() {
    endcap::crypto::install();
    let arguments = arguments();
    for engine in &arguments.engines {
        println!("\n## {engine:?}");
        let mut runs = Vec::new();
        for &count in &arguments.collections {
            let folder = tempfile::tempdir().unwrap();
            let statements = Arc::new(AtomicU64::new(0));
            let shop = Shop::new(open(*engine, folder.path(), &statements).await);
            runs.push((
                count,
                products(&shop, &statements, count, arguments.times).await,
            ));
        }
        if let [(few, first), .., (many, last)] = &runs[..] {
            let (first, last) = (first.0[TEN], last.0[TEN]);
            let ratio = last.as_secs_f64() / first.as_secs_f64();
            let exponent = ratio.ln() / (*many as f64 / *few as f64).ln();
            println!("\nExponent of \"{TEN}\" from {few} to {many} collections: {exponent:.2}");
        }
        let folder = tempfile::tempdir().unwrap();
        let statements = Arc::new(AtomicU64::new(0));
        let shop = Shop::new(open(*engine, folder.path(), &statements).await);
        rules(&shop, &statements, arguments.products, arguments.times).await;
    }
}
