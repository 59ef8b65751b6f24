//! `endcap reindex`: rebuilds the lists of smart collections that differ from what their rules
//! select.

use std::process::ExitCode;

use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::{
    check::{Line, open},
    outcome::{Failure, Outcome},
    output::Output,
    progress::progress,
};
use crate::{
    app,
    config::Config,
    domain::{Caller, CollectionId, TenantId},
    service::Service,
    store::{Store, check},
};

pub(super) const HELP: &str = "\
Evaluates the rules of every smart collection over all products of its tenant, and rebuilds each list
of products in which check finds a problem: missing or wrong products, a wrong order, damaged
segments. Correct lists are not written. Each collection is one transaction; writes of products in
the tenant wait for it, and no limit of a setting applies.

On PostgreSQL servers may be running. The embedded database can't be reindexed while a server uses
it: stop the server first.

Each repaired problem is printed as one line, as by check: tenant, collection, list, problem.

Example:
  endcap --database-url postgres://endcap:secret@db/endcap reindex --tenant shop";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only the smart collections of this tenant; all tenants by default
    #[arg(long, value_name = "ID", value_parser = tenant)]
    tenant: Option<TenantId>,
    #[command(flatten)]
    output: Output,
}

fn tenant(id: &str) -> Result<TenantId, String> {
    TenantId::parse("tenant", id).map_err(|violation| violation.problem())
}

/// The progress of the command.
#[derive(Debug, Default)]
struct Tally {
    collections: u64,
    rebuilt: u64,
    problems: u64,
    /// The problems as JSON, for JSON output.
    found: Vec<Value>,
}

pub(super) async fn run(config: &Config, args: &Args) -> Outcome {
    let _folder = config.database.place.lock_for_server()?;
    let store = open(config).await?;
    let service = app::service(config, store.clone());
    let bar = progress(None, "smart collections");
    let mut tally = Tally::default();
    let context = (&store, &service, &bar, args.output);
    if let Some(tenant) = &args.tenant {
        reindex_tenant(context, tenant, &mut tally).await?;
    } else {
        let everywhere = Caller::operator(config.auth.default_tenant.clone()).administering()?;
        let mut last = None;
        while let Some(tenant) = check::tenant_after(&store, &everywhere, last.as_ref()).await? {
            reindex_tenant(context, &tenant, &mut tally).await?;
            last = Some(tenant);
        }
    }
    bar.finish_and_clear();
    store.close().await;
    let Tally {
        collections,
        rebuilt,
        problems,
        found,
    } = tally;
    args.output.print(
        &format!("reindexed; smart collections: {collections}, rebuilt: {rebuilt}\n"),
        &json!({
            "collection_count": collections, "rebuilt_count": rebuilt,
            "problem_count": problems, "problems": found,
        }),
    );
    Ok(ExitCode::SUCCESS)
}

async fn reindex_tenant(
    (store, service, bar, output): (&Store, &Service, &ProgressBar, Output),
    tenant: &TenantId,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let caller = Caller::operator(tenant.clone());
    let reading = caller.reading()?;
    let mut last: Option<CollectionId> = None;
    loop {
        let tx = store.read(&reading).await?;
        let Some(collection) = check::smart_after(&tx, last.as_ref()).await? else {
            return Ok(());
        };
        // Closed first: `reindex` needs a connection, and the pool may have only one.
        drop(tx);
        let problems = service.reindex(&caller, &collection).await?;
        tally.collections += 1;
        tally.rebuilt += u64::from(!problems.is_empty());
        tally.problems += problems.len() as u64;
        for problem in &problems {
            let line = Line {
                tenant,
                collection: &collection,
                problem,
            };
            line.report(bar, output, &mut tally.found);
        }
        bar.inc(1);
        last = Some(collection);
    }
}
