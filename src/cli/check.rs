//! `endcap check`: verifies the integrity of the data.

use std::process::ExitCode;

use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::{
    outcome::{Failure, Outcome, say},
    output::Output,
    progress::progress,
};
use crate::{
    config::Config,
    domain::{Caller, CollectionId, TenantId},
    store::{Probe, Store, check},
};

pub(super) const HELP: &str = "\
Reads the database directly, whether a server is running or not. Checks every collection of every
tenant in one snapshot: each child is in exactly one segment and has one row that names it, segments
are in order and have their stored length, the stored lengths of the lists are correct, and no list
belongs to a deleted collection.

Each problem is one line: tenant, collection, list, problem. The exit status is 0 if there is none.

Example:
  endcap --database-url postgres://endcap:secret@db/endcap check";

/// The progress of the check.
#[derive(Debug, Default)]
struct Tally {
    tenants: u64,
    collections: u64,
    problems: u64,
    /// The problems as JSON, for JSON output. In text output each is printed when it is found.
    found: Vec<Value>,
}

pub(super) async fn run(config: &Config, output: Output) -> Outcome {
    let store = open(config).await?;
    let everywhere = Caller::operator(config.auth.default_tenant.clone()).administering()?;
    let total = check::collection_count(&store, &everywhere).await?;
    let bar = progress(Some(total), "collections");
    let mut tally = Tally::default();
    let mut last = None;
    while let Some(tenant) = check::tenant_after(&store, &everywhere, last.as_ref()).await? {
        check_tenant(&store, &tenant, (&bar, output), &mut tally).await?;
        last = Some(tenant);
    }
    bar.finish_and_clear();
    store.close().await;
    let Tally {
        tenants,
        collections,
        problems,
        found,
    } = tally;
    let summary = if problems == 0 {
        "no problems".into()
    } else {
        format!("problems: {problems}")
    };
    output.print(
        &format!("checked; tenants: {tenants}, collections: {collections}, {summary}\n"),
        &json!({
            "tenant_count": tenants, "collection_count": collections,
            "problem_count": problems, "problems": found,
        }),
    );
    Ok(if problems == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A problem of a list, as the output shows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) tenant: &'a TenantId,
    pub(super) collection: &'a CollectionId,
    pub(super) problem: &'a check::Problem,
}

impl Line<'_> {
    /// Prints it at once in text output, or adds it to `found` for JSON output.
    pub(super) fn report(self, bar: &ProgressBar, output: Output, found: &mut Vec<Value>) {
        let Self {
            tenant,
            collection,
            problem: check::Problem { list, what },
        } = self;
        if output.is_json() {
            found.push(json!({
                "tenant_id": tenant.to_string(), "collection_id": collection.to_string(),
                "list": list.to_string(), "problem": what,
            }));
        } else {
            let line = format!("{tenant} {collection} {list}: {what}\n");
            bar.suspend(|| say(&line));
        }
    }
}

/// Opens a database that exists and has the current schema. Creates and migrates nothing.
pub(super) async fn open(config: &Config) -> Result<Store, Failure> {
    let mut probe = Probe::new(&config.database)?;
    probe.exists()?;
    probe.schema().await?.check()?;
    Ok(Store::connect(&config.database).await?)
}

async fn check_tenant(
    store: &Store,
    tenant: &TenantId,
    (bar, output): (&ProgressBar, Output),
    tally: &mut Tally,
) -> Result<(), Failure> {
    let reading = Caller::operator(tenant.clone()).reading()?;
    let mut last: Option<CollectionId> = None;
    loop {
        // One snapshot per collection: a concurrent write is seen completely or not at all, and no
        // snapshot is kept open for the whole check.
        let tx = store.read(&reading).await?;
        let Some(collection) = check::collection_after(&tx, last.as_ref()).await? else {
            break;
        };
        for problem in check::problems(&tx, &collection).await? {
            let line = Line {
                tenant,
                collection: &collection,
                problem: &problem,
            };
            line.report(bar, output, &mut tally.found);
            tally.problems += 1;
        }
        tally.collections += 1;
        bar.inc(1);
        last = Some(collection);
    }
    tally.tenants += 1;
    Ok(())
}
