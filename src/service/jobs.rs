//! Doing jobs, see [`jobs`]: by every server, one job at a time each, in steps that keep other
//! writers waiting for a short time only.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use tokio::time::sleep;

use super::{Service, Settings};
use crate::{
    domain::{Caller, CollectionId, Result},
    store::{
        Mode, Tx,
        jobs::{self, Job, Task},
        lock::LockSet,
    },
    telemetry::{causes, metrics},
};

/// How often jobs are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// What a step may take: on SQLite nobody else writes meanwhile.
const STEP: Duration = Duration::from_millis(25);
/// Lists that a step changes, at least and at most.
const LISTS: (usize, usize) = (8, 1_000);

impl Service {
    /// Does jobs for ever, each when `ready` lets it. Others than `owner` is the name of do, too.
    pub async fn do_jobs<F: Future<Output = ()>>(&self, owner: &str, ready: impl Fn() -> F) {
        loop {
            ready().await;
            match jobs::claim(&self.store, owner).await {
                Ok((Some(job), waiting)) => {
                    metrics::jobs(waiting.count, waiting.lag);
                    if let Err(error) = self.job(job).await {
                        metrics::job_failed();
                        let causes = causes(&error);
                        tracing::warn!(causes, "a job was cut off: {error}");
                        sleep(LOOK).await;
                    }
                }
                Ok((None, waiting)) => {
                    metrics::jobs(waiting.count, waiting.lag);
                    sleep(LOOK).await;
                }
                Err(error) => {
                    let causes = causes(&error);
                    tracing::warn!(causes, "looking for jobs: {error}");
                    sleep(LOOK).await;
                }
            }
        }
    }

    async fn job(&self, job: Job) -> Result<()> {
        let writing = Caller::operator(job.tenant.clone()).writing()?;
        let mut size = LISTS.0;
        loop {
            let began = Instant::now();
            let context = (&job, size, self.settings());
            let has_more = self
                .store
                .write_on(
                    &writing,
                    Mode::Commit,
                    &context,
                    |tx, (job, size, settings)| step(tx, job, *size, settings).boxed(),
                )
                .await?;
            if !has_more {
                return Ok(());
            }
            let took = began.elapsed();
            size = if took > STEP {
                size / 2
            } else {
                size + size / 2
            };
            size = size.clamp(LISTS.0, LISTS.1);
            // Those who waited come first.
            sleep(took).await;
        }
    }
}

/// Does a part of a job; whether there may be more.
async fn step(tx: &Tx, job: &Job, size: usize, settings: &Settings) -> Result<bool> {
    match &job.task {
        Task::LeaveLists { .. } => leave_lists(tx, job, size, settings).await,
        Task::Evaluate { collection } => {
            let collection = CollectionId::trusted(collection.as_str());
            evaluate(tx, job, &collection, settings).await
        }
    }
}

/// Makes the list of a smart collection what its rules say, in one step.
async fn evaluate(
    tx: &Tx,
    job: &Job,
    collection: &CollectionId,
    settings: &Settings,
) -> Result<bool> {
    let mut locked = tx.lock(LockSet::of_rules(collection)).await?;
    locked.evaluate(collection);
    locked.save(tx, &settings.default_locale).await?;
    jobs::advance(tx, job, &BTreeMap::new()).await?;
    Ok(false)
}

async fn leave_lists(tx: &Tx, job: &Job, size: usize, settings: &Settings) -> Result<bool> {
    let lists = jobs::next_lists(tx, job, size).await?;
    if !lists.is_empty() {
        let set = LockSet {
            linked: lists.keys().cloned().collect(),
            ..LockSet::default()
        };
        let mut locked = tx.lock(set).await?;
        // Until they were locked, products could be added anew, which lists keep.
        let mut leaving = jobs::next_lists(tx, job, size).await?;
        leaving.retain(|id, _| lists.contains_key(id) && locked.exists(id));
        locked.take_out(tx, leaving).await?;
        locked.save(tx, &settings.default_locale).await?;
    }
    jobs::advance(tx, job, &lists).await?;
    Ok(!lists.is_empty())
}
