//! `endcap migrate`: brings the schema up to date, or says how it is.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::outcome::{Outcome, say};
use crate::{
    config::Config,
    store::{
        Cause, Database, Probe, Store,
        schema::{Schema, own_version},
    },
    telemetry,
};

/// How often a database is tried that is waited for.
const TRY_INTERVAL: Duration = Duration::from_secs(1);

pub(super) const HELP: &str = "\
All that is pending is applied in one transaction, or nothing. Any number of these may run at
once: they take turns, and the later ones find nothing to do. The embedded database is not migrated
under a server, which does that itself when it starts.

--check and --status need no more than the right to read.

Examples:
  endcap --database-url postgres://owner:secret@db/endcap migrate --wait 5m
  endcap --database-url postgres://endcap:secret@db/endcap migrate --check";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Change nothing; exit with 0 if nothing is pending, with 1 if something is, with 2 if that
    /// can't be told
    #[arg(long, conflicts_with = "status")]
    check: bool,
    /// Change nothing; list the migrations, and the compatibility floor: the oldest version that
    /// may use the schema
    #[arg(long)]
    status: bool,
    /// How long to wait for a database that can't be used yet, such as 5m
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    wait: Option<Duration>,
}

/// The exit status of a check that could not be made.
pub(super) const UNKNOWN: u8 = 2;

impl Args {
    /// Whether the exit status says what is pending.
    pub(super) fn checks(&self) -> bool {
        self.check
    }
}

pub(super) async fn run(config: &Config, args: &Args) -> Outcome {
    telemetry::init(&config.telemetry.log)?;
    let database = &config.database;
    // Later than a clock can tell is for ever.
    let deadline = Instant::now().checked_add(args.wait.unwrap_or_default());
    if args.status {
        let schema = waited(deadline, || read(database)).await?;
        say(&status(&schema));
    } else if args.check {
        let usable = waited(deadline, || async {
            let schema = read(database).await?;
            schema.check_floor().map(|()| schema)
        });
        return Ok(check(&usable.await?));
    } else {
        say(&waited(deadline, || migrate(database)).await?);
    }
    Ok(ExitCode::SUCCESS)
}

/// Tries until it succeeds, waiting is in vain, or the deadline has passed. Says why it waits, once
/// for each cause.
async fn waited<T, F>(deadline: Option<Instant>, attempt: impl Fn() -> F) -> Result<T, Cause>
where
    F: Future<Output = Result<T, Cause>>,
{
    let mut last = None;
    loop {
        let cause = match attempt().await {
            Ok(done) => return Ok(done),
            Err(cause) => cause,
        };
        let left = deadline.map_or(TRY_INTERVAL, |at| {
            at.saturating_duration_since(Instant::now())
        });
        if cause.is_lasting() || left.is_zero() {
            return Err(cause);
        }
        if last.as_ref() != Some(&cause) {
            tracing::warn!("waiting: {cause}");
            last = Some(cause);
        }
        sleep(left.min(TRY_INTERVAL)).await;
    }
}

async fn read(database: &Database) -> Result<Schema, Cause> {
    Probe::new(database)?.schema().await
}

async fn migrate(database: &Database) -> Result<String, Cause> {
    let _folder = database.place.lock_for_migration()?;
    let schema = read(database).await?;
    schema.check_floor()?;
    // Nothing to do takes no right to do it.
    if schema.pending().is_empty() {
        return Ok(match schema.newer() {
            None => "the schema was up to date\n".into(),
            Some(newer) => format!(
                "nothing to do: the schema is newer, up to {newer}, and compatible with this \
                 version, {}\n",
                own_version()
            ),
        });
    }
    let store = Store::connect(database).await?;
    let applied = store.migrate().await?;
    store.close().await;
    Ok(match applied.len() {
        0 => "the schema was up to date\n".into(),
        count => format!("applied {count} migrations\n"),
    })
}

fn check(schema: &Schema) -> ExitCode {
    let pending = schema.pending();
    if pending.is_empty() {
        say("nothing is pending\n");
        return ExitCode::SUCCESS;
    }
    for name in &pending {
        say(&format!("{name}\tpending\n"));
    }
    ExitCode::from(1)
}

/// A line for each migration in its order, and one for each version.
fn status(schema: &Schema) -> String {
    let own = own_version();
    let applied = schema.applied().into_iter().map(|(name, is_known)| {
        let state = if is_known {
            "applied"
        } else if *name > *own {
            "unknown-newer"
        } else {
            "unknown"
        };
        (name.to_owned(), state)
    });
    let pending = schema.pending().into_iter().map(|name| (name, "pending"));
    let mut all: Vec<_> = applied.chain(pending).collect();
    all.sort();
    let lines = all.iter().map(|(name, state)| format!("{name}\t{state}\n"));
    let floor = schema.floor().unwrap_or("none");
    lines.collect::<String>() + format!("floor\t{floor}\nthis version\t{own}\n").as_str()
}
