//! `endcap migrate`: applies pending migrations, or reports the state of the schema.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{outcome::Outcome, output::Output};
use crate::{
    config::Config,
    store::{
        Cause, Database, Probe, Store,
        schema::{Schema, own_version},
    },
    telemetry,
};

/// How often `--wait` tries to reach the database.
const TRY_INTERVAL: Duration = Duration::from_secs(1);

pub(super) const HELP: &str = "\
All pending migrations are applied in one transaction, or none. Several of these commands may run at
once: one applies the migrations, and the others wait and find none pending. The embedded database
can't be migrated while a server uses it; the server migrates it when it starts.

--check and --status need only the privilege to read.

Examples:
  endcap --database-url postgres://owner:secret@db/endcap migrate --wait 5m
  endcap --database-url postgres://endcap:secret@db/endcap migrate --check";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Change nothing; exit with 0 if no migration is pending, with 1 if some are, with 2 if that
    /// is unknown
    #[arg(long, conflicts_with = "status")]
    check: bool,
    /// Change nothing; list the migrations, and the compatibility floor: the oldest version that
    /// may use the schema
    #[arg(long)]
    status: bool,
    /// How long to wait for a database that can't be used yet, such as 5m
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    wait: Option<Duration>,
    #[command(flatten)]
    output: Output,
}

/// The exit status if the check failed.
pub(super) const UNKNOWN: u8 = 2;

impl Args {
    /// Whether the exit status tells if migrations are pending.
    pub(super) fn checks(&self) -> bool {
        self.check
    }
}

pub(super) async fn run(config: &Config, args: &Args) -> Outcome {
    telemetry::init(&config.telemetry.log)?;
    let database = &config.database;
    // A time too far in the future for `Instant` means to wait forever.
    let deadline = Instant::now().checked_add(args.wait.unwrap_or_default());
    if args.status {
        let schema = retry_until(deadline, || read(database)).await?;
        let (text, json) = status(&schema);
        args.output.print(&text, &json);
    } else if args.check {
        let usable = retry_until(deadline, || async {
            let schema = read(database).await?;
            schema.check_floor().map(|()| schema)
        });
        return Ok(check(&usable.await?, args.output));
    } else {
        let (text, json) = retry_until(deadline, || migrate(database)).await?;
        args.output.print(&text, &json);
    }
    Ok(ExitCode::SUCCESS)
}

/// Retries until the attempt succeeds, waiting can't help, or the deadline has passed. Logs every
/// new cause of waiting.
async fn retry_until<T, F>(deadline: Option<Instant>, attempt: impl Fn() -> F) -> Result<T, Cause>
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

/// Applies pending migrations. Returns the result as text and as JSON.
async fn migrate(database: &Database) -> Result<(String, Value), Cause> {
    let _folder = database.place.lock_for_migration()?;
    let schema = read(database).await?;
    schema.check_floor()?;
    // Not connected as a writer if nothing is pending, so that read access suffices.
    let applied = if schema.pending().is_empty() {
        Vec::new()
    } else {
        let store = Store::connect(database).await?;
        let applied = store.migrate().await?;
        store.close().await;
        applied
    };
    let own = own_version();
    let text = match (applied.len(), schema.newer()) {
        (0, Some(newer)) => format!(
            "nothing to do: the schema is newer, up to {newer}, and compatible with this \
             version, {own}\n"
        ),
        (0, None) => "the schema was up to date\n".into(),
        (count, _) => format!("applied {count} migrations\n"),
    };
    let json = json!({"applied": applied, "newer": schema.newer(), "version": own});
    Ok((text, json))
}

fn check(schema: &Schema, output: Output) -> ExitCode {
    let pending = schema.pending();
    let lines: String = match pending.as_slice() {
        [] => "no pending migrations\n".into(),
        names => names
            .iter()
            .map(|name| format!("{name}\tpending\n"))
            .collect(),
    };
    output.print(&lines, &json!({"pending": pending}));
    if pending.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    }
}

/// The migrations in order, then the compatibility floor and the version of this program, one per
/// line; and the same as JSON.
fn status(schema: &Schema) -> (String, Value) {
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
    let text =
        lines.collect::<String>() + format!("floor\t{floor}\nthis version\t{own}\n").as_str();
    let migrations = all
        .iter()
        .map(|(name, state)| json!({"name": name, "state": state}));
    let json = json!({
        "migrations": migrations.collect::<Vec<_>>(), "floor": schema.floor(), "version": own,
    });
    (text, json)
}
