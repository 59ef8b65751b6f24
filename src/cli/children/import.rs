//! `endcap import children`: adds the ids in a file to child lists.

use std::{path::PathBuf, process::ExitCode, time::Instant};

use indicatif::ProgressBar;
use serde_json::json;
use tokio::task::block_in_place;

use super::{
    client::{CallFailed, Client, Place, call},
    ids::{self, Format, Ids, Target},
};
use crate::{
    cli::{
        outcome::{Failure, Outcome},
        output::Output,
        progress::progress,
    },
    config::Config,
    grpc::pb::{
        self,
        child_mutation::{Append, Operation, Replace},
    },
};

pub(in crate::cli) const HELP: &str = "\
The whole file is read and checked, and the server is asked whether each collection can be changed,
before anything is changed. Then ids are sent in batches of at most 10,000. Each batch is atomic and
idempotent; the import as a whole is not atomic. After a failure it can be run again: ids that are
already in a list keep their position.

A CSV file begins with a row of column names; a field with a comma, a quote or a line end must be
in double quotes. Columns that no flag names are ignored.

With --replace the first batch replaces a list and the others are appended: until the import is
complete the list is shorter, and it stays shorter after a failure. If the file has no ids, the list
of --collection becomes empty; collections that do not occur in --collection-column are not changed.

Example:
  endcap import children ids.txt --collection summer --server http://endcap:50051
  endcap import children feed.csv --collection summer --id-column sku
  endcap import children sets.csv --collection-column set --replace";

/// The limits of a batch: ids, and their total bytes.
const BATCH: usize = 10_000;
const BATCH_BYTES: usize = 1 << 20;

/// What to import, and where to.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// File of ids; - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Format of the file [default: csv if its name ends in .csv, or else lines]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Column of the ids in a CSV file
    #[arg(long, value_name = "NAME", default_value = "id")]
    id_column: String,
    /// Id of the collection to which all ids are added
    #[arg(long, value_name = "ID", required_unless_present = "collection_column")]
    collection: Option<String>,
    /// Column of a CSV file with the id of each row's collection
    #[arg(long, value_name = "NAME", conflicts_with = "collection")]
    collection_column: Option<String>,
    #[command(flatten)]
    place: Place,
    /// Replace each list with the ids of the file; each batch is atomic, the import is not
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    output: Output,
}

impl Args {
    fn ids(&self) -> Result<Vec<Ids>, Failure> {
        let target = match (&self.collection, &self.collection_column) {
            (_, Some(column)) => Target::Column(column),
            (collection, None) => Target::Collection(collection.as_deref().unwrap_or_default()),
        };
        let format = self.format.unwrap_or_else(|| Format::of(&self.file));
        let list = self.place.list.into();
        ids::read(&self.file, format, list, target, &self.id_column)
    }

    /// The requests for one list, in order, each with the number of its ids.
    fn requests<'a>(
        &'a self,
        list: &'a Ids,
    ) -> impl Iterator<Item = (u64, pb::MutateChildrenRequest)> {
        let mut batches = batches(&list.ids);
        if batches.is_empty() && self.replace {
            batches.push(&[]);
        }
        let request = |(number, ids): (usize, &[String])| {
            let (count, ids) = (ids.len() as u64, ids.to_vec());
            let operation = if self.replace && number == 0 {
                Operation::Replace(Replace { ids })
            } else {
                Operation::Append(Append {
                    ids,
                    ..Append::default()
                })
            };
            let request = pb::MutateChildrenRequest {
                tenant_id: self.place.tenant.clone(),
                collection_id: list.collection.clone(),
                child_type: pb::ChildType::from(self.place.list).into(),
                mutations: vec![pb::ChildMutation {
                    operation: Some(operation),
                }],
                ..pb::MutateChildrenRequest::default()
            };
            (count, request)
        };
        batches.into_iter().enumerate().map(request)
    }
}

/// Splits the ids into batches that fit a request.
fn batches(mut ids: &[String]) -> Vec<&[String]> {
    let mut batches = Vec::new();
    while !ids.is_empty() {
        let mut bytes = 0;
        let fits = |id: &&String| {
            bytes += id.len();
            bytes <= BATCH_BYTES
        };
        let fitting = ids.iter().take(BATCH).take_while(fits).count();
        let (batch, rest) = ids.split_at(fitting.max(1));
        batches.push(batch);
        ids = rest;
    }
    batches
}

/// The totals of the batches so far.
#[derive(Debug, Default)]
struct Tally {
    sent: u64,
    added: u64,
    removed: u64,
}

pub(in crate::cli) async fn run(config: &Config, args: &Args) -> Outcome {
    let start = Instant::now();
    let lists = block_in_place(|| args.ids())?;
    let client = args.place.connect(config).await?;
    for list in &lists {
        if let Some((_, mut request)) = args.requests(list).next() {
            request.validate_only = true;
            mutate(&client, &request).await?;
        }
    }
    let total = lists.iter().map(|list| list.ids.len() as u64).sum();
    let bar = progress(Some(total), "ids");
    let mut tally = Tally::default();
    let result = import(args, &lists, &client, &bar, &mut tally).await;
    bar.finish_and_clear();
    let Tally {
        sent,
        added,
        removed,
    } = tally;
    if let Err(error) = result {
        return Err(format!("{error}\n  before that, {sent} ids were imported").into());
    }
    let there = sent.saturating_sub(added);
    let mut told = format!("{added} added, {there} already present");
    if args.replace {
        told.push_str(&format!(", {removed} removed"));
    }
    if args.collection_column.is_some() {
        told.push_str(&format!(", in {} collections", lists.len()));
    }
    let seconds = start.elapsed().as_secs_f64();
    let rate = sent as f64 / seconds;
    args.output.print(
        &format!("{told}, in {seconds:.1} s: {rate:.0} ids/s\n"),
        &json!({
            "added_count": added, "existing_count": there, "removed_count": removed,
            "collection_count": lists.len(), "duration_seconds": seconds,
        }),
    );
    Ok(ExitCode::SUCCESS)
}

async fn import(
    args: &Args,
    lists: &[Ids],
    client: &Client,
    bar: &ProgressBar,
    tally: &mut Tally,
) -> Result<(), Failure> {
    // Each batch has an idempotency key of its own, so retries have no further effect.
    let run: u128 = rand::random();
    let requests = lists.iter().flat_map(|list| args.requests(list));
    for (number, (count, mut request)) in requests.enumerate() {
        request.request_id = format!("import-{run:032x}-{number}");
        for result in mutate(client, &request).await?.results {
            tally.added += u64::try_from(result.added_count).unwrap_or_default();
            tally.removed += u64::try_from(result.removed_count).unwrap_or_default();
        }
        tally.sent += count;
        bar.inc(count);
    }
    Ok(())
}

async fn mutate(
    client: &Client,
    request: &pb::MutateChildrenRequest,
) -> Result<pb::MutateChildrenResponse, CallFailed> {
    call(|| {
        let (mut client, request) = (client.clone(), request.clone());
        async move { client.mutate_children(request).await }
    })
    .await
}
