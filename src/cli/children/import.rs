//! `endcap import children`: a file's ids into a list.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use indicatif::ProgressBar;
use tokio::task::block_in_place;

use super::{
    client::{Client, Place, call},
    ids::{Ids, line_count},
};
use crate::{
    cli::{
        outcome::{Failure, Outcome, say},
        progress::progress,
    },
    config::Config,
    grpc::pb::{
        self,
        child_mutation::{Append, Operation, Replace},
    },
};

pub(in crate::cli) const HELP: &str = "\
Ids are sent in batches of 10,000. Each batch is atomic and idempotent; the import as a whole is
not atomic. After a failure it can be run again: ids that are already in the list keep their place.

With --replace the first batch replaces the list and the others are appended: until the import is
complete the list is shorter, and it stays so after a failure. An empty file empties the list.

Example:
  endcap import children ids.txt --collection summer --server http://endcap:50051";

/// Ids that one request names.
const BATCH: usize = 10_000;

/// What to import, and where to.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// File with one id per line; - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    place: Place,
    /// Replace the list with the ids of the file; each batch is atomic, the import is not
    #[arg(long)]
    replace: bool,
}

/// What the batches came to.
#[derive(Debug, Default)]
struct Tally {
    read: u64,
    added: u64,
    removed: u64,
}

pub(in crate::cli) async fn run(config: &Config, args: &Args) -> Outcome {
    let start = Instant::now();
    let mut ids = Ids::open(&args.file, args.place.list.into())?;
    let client = args.place.connect(config).await?;
    let bar = bar(&args.file);
    let mut tally = Tally::default();
    let result = import(args, &mut ids, &client, &bar, &mut tally).await;
    bar.finish_and_clear();
    if let Err(error) = result {
        let done = tally.read;
        return Err(format!("{error}\n  before that, {done} ids were imported").into());
    }
    let Tally {
        read,
        added,
        removed,
    } = tally;
    let there = read.saturating_sub(added);
    let removed = if args.replace {
        format!(", {removed} removed")
    } else {
        String::new()
    };
    let seconds = start.elapsed().as_secs_f64();
    let rate = read as f64 / seconds;
    say(&format!(
        "{added} added, {there} already there{removed}, in {seconds:.1} s: {rate:.0} ids/s\n"
    ));
    Ok(ExitCode::SUCCESS)
}

async fn import(
    args: &Args,
    ids: &mut Ids,
    client: &Client,
    bar: &ProgressBar,
    tally: &mut Tally,
) -> Result<(), Failure> {
    // Under its own name a batch that is sent again has one effect.
    let run: u128 = rand::random();
    for number in 0_u64.. {
        let batch = block_in_place(|| ids.batch(BATCH))?;
        let replace = args.replace && number == 0;
        if batch.is_empty() && !replace {
            break;
        }
        let length = batch.len() as u64;
        let operation = if replace {
            Operation::Replace(Replace { ids: batch })
        } else {
            Operation::Append(Append {
                ids: batch,
                ..Append::default()
            })
        };
        let request = pb::MutateChildrenRequest {
            request_id: format!("import-{run:032x}-{number}"),
            ..request(&args.place, operation)
        };
        let answer = call(|| {
            let (mut client, request) = (client.clone(), request.clone());
            async move { client.mutate_children(request).await }
        })
        .await?;
        for result in answer.results {
            tally.added += u64::try_from(result.added_count).unwrap_or_default();
            tally.removed += u64::try_from(result.removed_count).unwrap_or_default();
        }
        tally.read += length;
        bar.inc(length);
    }
    Ok(())
}

fn request(place: &Place, operation: Operation) -> pb::MutateChildrenRequest {
    pb::MutateChildrenRequest {
        tenant_id: place.tenant.clone(),
        collection_id: place.collection.clone(),
        child_type: pb::ChildType::from(place.list).into(),
        mutations: vec![pb::ChildMutation {
            operation: Some(operation),
        }],
        ..pb::MutateChildrenRequest::default()
    }
}

/// A bar up to the file's lines, or a counter; lines are counted for a terminal alone.
fn bar(path: &Path) -> ProgressBar {
    let bar = progress(None, "ids");
    if bar.is_hidden() {
        return bar;
    }
    match line_count(path) {
        Some(lines) => progress(Some(lines), "ids"),
        None => bar,
    }
}
