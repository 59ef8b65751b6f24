//! The cost of a request compared with what the machine allows: the program as in production, a
//! bare tonic and a bare axum server that respond with the same bytes, and pgbench. Each is
//! measured once per round, so that temporary load on the machine affects all of them. Prints the
//! tables of docs/explanation/performance.md: medians over the rounds, and ratios within the same
//! run.
//!
//! ```sh
//! cargo bench --bench service -- [--seconds 1.5] [--rounds 5] [--only NAME]…
//! cargo bench --bench service -- --statements
//! ```
//!
//! `--only` measures the rows whose names contain `NAME`. The second command counts the statements
//! and the round trips of each operation ([`statements`]).
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

mod bare;
mod codec;
mod jwt;
mod load;
mod pgbench;
#[path = "../../tests/it/postgres.rs"]
mod postgres;
mod proxy;
mod report;
mod requests;
mod rows;
mod scene;
mod server;
mod shim;
mod statements;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use procfs::Current as _;
use tokio::signal::unix::{SignalKind, signal};

struct Arguments {
    time: Duration,
    rounds: usize,
    only: Vec<String>,
    counts_statements: bool,
}

fn arguments(mut given: impl Iterator<Item = String>) -> Arguments {
    let mut arguments = Arguments {
        time: Duration::from_secs_f64(1.5),
        rounds: 5,
        only: Vec::new(),
        counts_statements: false,
    };
    while let Some(flag) = given.next() {
        let mut value = || {
            given
                .next()
                .unwrap_or_else(|| panic!("{flag} has no value"))
        };
        match flag.as_str() {
            "--seconds" => arguments.time = Duration::from_secs_f64(value().parse().unwrap()),
            "--rounds" => arguments.rounds = value().parse().unwrap(),
            "--only" => arguments.only.push(value().to_lowercase()),
            "--statements" => arguments.counts_statements = true,
            // cargo adds this argument.
            "--bench" => {}
            other => panic!("unknown argument {other}"),
        }
    }
    assert!(arguments.rounds > 0, "--rounds must be at least 1");
    arguments
}

#[tokio::main]
async fn main() {
    let given: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, kind, folder] = &given[..]
        && flag == bare::FLAG
    {
        return bare::run(kind, Path::new(folder)).await;
    }
    endcap::crypto::install();
    let arguments = arguments(given.into_iter());
    // Returns at SIGTERM, so that dropping the scene stops the servers.
    let mut terminated = signal(SignalKind::terminate()).unwrap();
    tokio::select! {
        () = measure(arguments) => {}
        _ = terminated.recv() => panic!("terminated"),
    }
}

async fn measure(arguments: Arguments) {
    if arguments.counts_statements {
        return statements::run().await;
    }
    let load = procfs::LoadAverage::current().unwrap().one;
    let started = Instant::now();
    let mut scene = scene::Scene::new(arguments.only).await;
    assert!(
        !scene.modes.is_empty() || !scene.left_out.is_empty(),
        "no row has a name of --only in it"
    );
    let since = |what: &str| eprintln!("{what}: {:.0} s", started.elapsed().as_secs_f64());
    since("data is loaded");
    for round in 0..=arguments.rounds {
        let is_warm_up = round == 0;
        let time = if is_warm_up {
            arguments.time / 3
        } else {
            arguments.time
        };
        for mode in &mut scene.modes {
            mode.round(time, is_warm_up).await;
        }
        since(&format!("round {round} of {}", arguments.rounds));
    }
    println!("{}", report::tables(&scene));
    println!(
        "{} rounds of {:?}; load average before: {load}",
        arguments.rounds, arguments.time
    );
}
