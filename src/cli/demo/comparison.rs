//! The timed part of the demo: operations on the long list, compared with a table of positions.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use super::{
    client::Client,
    names::{grouped, product},
    positions::Positions,
};
use crate::{
    cli::{
        outcome::{Failure, say},
        progress::progress,
    },
    grpc::pb::{
        self,
        child_mutation::{Insert, MoveRange, Operation, Remove},
        position::Position,
    },
    store::Database,
};

/// The maximum length of the table. Renumbering a million rows would take ten seconds, which is too
/// long for a demo.
const MAX_ROWS: u32 = 100_000;

/// The minimum number of calls, unless one call exceeds the whole time.
const MIN_CALLS: usize = 9;

const PAGE: u32 = 50;

/// The smart collection and the product of the explained membership.
const SMART: [&str; 2] = ["under-20", "cups"];

pub(super) async fn run(
    client: &Client,
    database: &Database,
    folder: &Path,
    products: u32,
) -> Result<(), Failure> {
    let start = Instant::now();
    let rows = products.min(MAX_ROWS);
    let budget = budget(products);
    let table = Positions::create(database, &folder.join("positions.db"), rows).await?;
    say(&format!(
        "Loaded a table with a row per product and its position, {} rows, in {:.1} s.\n{}",
        grouped(rows),
        start.elapsed().as_secs_f64(),
        heading(products, rows, budget)
    ));
    let show = Show {
        client,
        table: &table,
        products,
        budget,
    };
    show.run().await?;
    table.close().await;
    Ok(())
}

/// How long an operation is repeated: less for a short list, so that its demo is over soon.
fn budget(products: u32) -> Duration {
    Duration::from_micros(u64::from(products)).min(Duration::from_secs(1))
}

fn heading(products: u32, rows: u32, budget: Duration) -> String {
    let size = match products / rows {
        1 => "as long as the list".to_owned(),
        10 => "a tenth of the list".to_owned(),
        parts => format!("1/{parts} of the list"),
    };
    format!(
        "\nEndcap: over gRPC, each write on the disk before it is answered.\n\
         Table: in the same SQLite with the same settings, without a network, {size}:\n\
         what it renumbers grows with its length.\n\
         Medians of as many calls as fit in {budget:?}; a call that takes longer is made once.\n\n\
         {:40}{:>16}{:>16}\n{:40}{:>16}{:>16}\n",
        "",
        "Endcap",
        "table",
        "",
        grouped(products),
        grouped(rows),
    )
}

struct Show<'a> {
    client: &'a Client,
    table: &'a Positions,
    products: u32,
    budget: Duration,
}

impl Show<'_> {
    async fn run(&self) -> Result<(), Failure> {
        self.moves().await?;
        self.inserts().await?;
        self.pages().await?;
        self.finds().await?;
        self.explanations().await
    }

    async fn moves(&self) -> Result<(), Failure> {
        let last = i32::try_from(self.products)? - 1;
        let move_last = || {
            Operation::MoveRange(MoveRange {
                first_index: Some(last),
                last_index: Some(last),
                position: front(),
            })
        };
        let ours = self.median(async |_| self.client.mutate(move_last()).await);
        let ours = ours.await?;
        let theirs = self.median(async |_| Ok(self.table.move_last_first().await?));
        line(
            "move the last product to the front",
            ours,
            Some(theirs.await?),
        );
        Ok(())
    }

    async fn inserts(&self) -> Result<(), Failure> {
        let mut ids = Vec::new();
        let ours = self.median(async |call| {
            let id = format!("new-{call}");
            ids.push(id.clone());
            let insert = Insert {
                ids: vec![id],
                position: front(),
                ..Insert::default()
            };
            self.client.mutate(Operation::Insert(insert)).await
        });
        let ours = ours.await?;
        let theirs =
            self.median(async |call| Ok(self.table.insert_first(&format!("new-{call}")).await?));
        line("insert a product at the front", ours, Some(theirs.await?));
        // Restores the length of the list, which the commands printed afterwards depend on.
        let remove = Remove {
            ids,
            ..Remove::default()
        };
        self.client.mutate(Operation::Remove(remove)).await
    }

    async fn pages(&self) -> Result<(), Failure> {
        let middle = |count: u32, call: usize| (count / 2).saturating_sub(call as u32 % 40);
        let ours = self.median(async |call| {
            let start = middle(self.products, call);
            self.client.page(start, PAGE).await
        });
        let ours = ours.await?;
        let theirs = self.median(async |call| {
            let start = middle(self.table.count(), call);
            self.table.page(start, PAGE).await?;
            Ok(())
        });
        line("read a page of 50 in the middle", ours, Some(theirs.await?));
        Ok(())
    }

    async fn finds(&self) -> Result<(), Failure> {
        let ours = self.median(async |call| {
            let id = product(scattered(call, self.products));
            self.client.find(&id).await
        });
        let ours = ours.await?;
        let theirs = self.median(async |call| {
            let id = product(scattered(call, self.table.count()));
            self.table.find(&id).await?;
            Ok(())
        });
        line("find the index of a product", ours, Some(theirs.await?));
        Ok(())
    }

    async fn explanations(&self) -> Result<(), Failure> {
        let [collection, product] = SMART;
        let ours = self.median(async |_| self.client.explain(collection, product).await);
        line("explain a member of a smart collection", ours.await?, None);
        Ok(())
    }

    /// The median duration of a call, which is repeated and gets the number of calls before it.
    async fn median(
        &self,
        mut call: impl AsyncFnMut(usize) -> Result<(), Failure>,
    ) -> Result<Duration, Failure> {
        let bar = progress(None, "calls");
        let start = Instant::now();
        let mut times = Vec::new();
        while start.elapsed() < self.budget || times.len() < MIN_CALLS {
            let begun = Instant::now();
            call(times.len()).await?;
            let time = begun.elapsed();
            times.push(time);
            bar.inc(1);
            if time > self.budget {
                break;
            }
        }
        bar.finish_and_clear();
        times.sort_unstable();
        Ok(times[times.len() / 2])
    }
}

fn front() -> Option<pb::Position> {
    Some(pb::Position {
        position: Some(Position::Index(0)),
    })
}

/// A number below `count` that differs from call to call.
fn scattered(call: usize, count: u32) -> u32 {
    /// A large prime, so that the numbers are spread over the list.
    const STEP: u32 = 7_919;
    (call as u32).wrapping_mul(STEP) % count
}

fn line(what: &str, ours: Duration, theirs: Option<Duration>) {
    let theirs = theirs.map_or("no rules".into(), milliseconds);
    say(&format!(
        "{what:40}{:>16}{theirs:>16}\n",
        milliseconds(ours)
    ));
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}
