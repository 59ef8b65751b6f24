//! The cost of positional operations on lists of a thousand to a million children, on both
//! databases: through the use cases, through gRPC, through Oracle's dialect, and with the usual
//! alternative, a row per child with its position ([`naive`]). Prints tables, and ratios within the
//! same run; docs/explanation/performance.md has measured results.
//!
//! ```sh
//! cargo bench --bench children -- [--sizes 1000,10000] [--engine sqlite|postgres] [--seconds 2] [--plots docs/performance]
//! cargo bench --bench children -- --sizes 1000000 --segments 64,128,256,512,1024
//! ```
//!
//! The second command varies the target size of segments ([`sweep`]).
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

mod naive;
mod oracle;
mod ours;
mod plot;
#[path = "../../tests/it/postgres.rs"]
mod postgres;
mod report;
mod sweep;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use endcap::store::{Database, DatabasePlace, Engine, Store};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use report::{Cell, Report};

/// A measured operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    /// Changes no children: the cost of any write.
    Rename,
    Move1,
    Move1000,
    MoveHalf,
    MoveIds100,
    InsertFirst,
    Append100,
    Remove100,
    Reorder100,
    Page50,
    PlaceOfId,
    WholeList,
}

impl Op {
    pub(crate) const ALL: [Self; 12] = [
        Self::Rename,
        Self::Move1,
        Self::Move1000,
        Self::MoveHalf,
        Self::MoveIds100,
        Self::InsertFirst,
        Self::Append100,
        Self::Remove100,
        Self::Reorder100,
        Self::Page50,
        Self::PlaceOfId,
        Self::WholeList,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rename => "rename the collection",
            Self::Move1 => "move 1",
            Self::Move1000 => "move 1,000",
            Self::MoveHalf => "move n/2",
            Self::MoveIds100 => "move_ids 100",
            Self::InsertFirst => "insert 1 first",
            Self::Append100 => "append 100",
            Self::Remove100 => "remove 100",
            Self::Reorder100 => "reorder 100",
            Self::Page50 => "page of 50",
            Self::PlaceOfId => "place of an id",
            Self::WholeList => "whole list",
        }
    }
}

struct Arguments {
    sizes: Vec<u64>,
    engines: Vec<Engine>,
    budget: Duration,
    plots: Option<PathBuf>,
    segments: Vec<usize>,
}

fn arguments() -> Arguments {
    let mut arguments = Arguments {
        sizes: vec![1_000, 10_000, 100_000, 1_000_000],
        engines: vec![Engine::Sqlite, Engine::Postgres],
        budget: Duration::from_secs(2),
        plots: None,
        segments: Vec::new(),
    };
    let mut given = std::env::args().skip(1);
    while let Some(flag) = given.next() {
        match flag.as_str() {
            "--sizes" => {
                let list = given.next().unwrap();
                arguments.sizes = list.split(',').map(|n| n.parse().unwrap()).collect();
            }
            "--engine" if given.next().unwrap() == "sqlite" => {
                arguments.engines = vec![Engine::Sqlite];
            }
            "--engine" => arguments.engines = vec![Engine::Postgres],
            "--seconds" => {
                arguments.budget = Duration::from_secs_f64(given.next().unwrap().parse().unwrap());
            }
            "--plots" => arguments.plots = Some(given.next().unwrap().into()),
            "--segments" => {
                let list = given.next().unwrap();
                arguments.segments = list.split(',').map(|n| n.parse().unwrap()).collect();
            }
            // cargo adds this argument.
            "--bench" => {}
            other => panic!("unknown argument {other}"),
        }
    }
    arguments
}

/// Calls `run` until the budget is used up, but at least nine times. Only once if a call takes more
/// than twenty budgets.
pub(crate) async fn measure(
    budget: Duration,
    mut run: impl AsyncFnMut() -> Duration,
) -> Vec<Duration> {
    const MAX_RUNS: usize = 2_000;
    let started = Instant::now();
    let mut times = Vec::new();
    while times.len() < 9 || (started.elapsed() < budget && times.len() < MAX_RUNS) {
        let time = run().await;
        times.push(time);
        if time > 20 * budget {
            break;
        }
    }
    times
}

/// The id of a product: 24 characters, like HighLevel's.
pub(crate) fn product(number: u64) -> String {
    format!("{number:024x}")
}

/// `count` distinct numbers below `n`.
pub(crate) fn scattered(random: &mut StdRng, n: u64, count: usize) -> Vec<u64> {
    let mut numbers = std::collections::BTreeSet::new();
    while numbers.len() < count.min(n as usize) {
        numbers.insert(random.random_range(0..n));
    }
    numbers.into_iter().collect()
}

#[tokio::main]
async fn main() {
    endcap::crypto::install();
    let arguments = arguments();
    for engine in arguments.engines {
        let folder = tempfile::tempdir().unwrap();
        let place = match engine {
            Engine::Sqlite => DatabasePlace::File(folder.path().join("bench.db")),
            Engine::Postgres => DatabasePlace::Url(postgres::new_database().await),
        };
        let database = Database {
            place,
            access: endcap::store::Access::default(),
            pooler: endcap::store::Pooler::None,
            max_connections: 4,
            acquire_timeout: Duration::from_secs(60),
            statement_timeout: None,
            slow_statement: Duration::from_secs(1),
            replica: None,
        };
        let statements = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&statements);
        let store = Store::connect(&database).await.unwrap();
        store.on_statement(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        store.migrate().await.unwrap();

        let budget = arguments.budget;
        if !arguments.segments.is_empty() {
            for &n in &arguments.sizes {
                sweep::run(&store, n, &arguments.segments, &statements, budget).await;
            }
            continue;
        }
        let mut report = Report::new(engine);
        for &n in &arguments.sizes {
            let mut random = StdRng::seed_from_u64(n);
            let name = format!("n{n}");
            let ours = ours::Ours::load(store.clone(), name, n, Arc::clone(&statements)).await;
            report.loaded("ours", n, ours.loaded);
            for op in Op::ALL {
                for (way, cell) in ours.run(op, &mut random, budget).await {
                    report.add(way, op, n, cell);
                }
            }
            let naive = naive::Naive::load(&database, n).await;
            report.loaded("naive", n, naive.loaded);
            report.loaded("bare insert", n, naive.bare);
            for op in Op::ALL.into_iter().filter(|op| *op != Op::Rename) {
                let times = naive.run(op, &mut random, budget).await;
                report.add("naive", op, n, Cell::of(times, None, None));
            }
            eprintln!("{engine:?}: {n} done");
        }
        println!("{}", report.finish());
        if let Some(folder) = &arguments.plots {
            plot::draw(engine, folder, &arguments.sizes, |way, op, n| {
                report.median(way, op, n)
            });
        }
    }
}
