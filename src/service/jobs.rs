//! Doing jobs, see [`jobs`]: by every server, one job at a time each, in steps that keep other
//! writers waiting for a short time only.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use tokio::time::sleep;

use super::{Service, Settings};
use crate::{
    domain::{Caller, ChildId, ChildType, Result},
    store::{
        Mode, Tx, children,
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
    /// Does jobs for ever. Others than `owner` is the name of do, too.
    pub async fn do_jobs(&self, owner: &str) {
        loop {
            match jobs::claim(&self.store, owner).await {
                Ok((Some(job), count)) => {
                    metrics::jobs(count);
                    if let Err(error) = self.job(job).await {
                        let causes = causes(&error);
                        tracing::warn!(causes, "a job was cut off: {error}");
                        sleep(LOOK).await;
                    }
                }
                Ok((None, count)) => {
                    metrics::jobs(count);
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

    async fn job(&self, mut job: Job) -> Result<()> {
        let writing = Caller::operator(job.tenant.clone()).writing()?;
        let size = AtomicUsize::new(LISTS.0);
        loop {
            let began = Instant::now();
            let context = (&job, &size, self.settings());
            let left = self
                .store
                .write_on(
                    &writing,
                    Mode::Commit,
                    &context,
                    |tx, (job, size, settings)| step(tx, job, size, settings).boxed(),
                )
                .await?;
            let Some(task) = left else {
                return Ok(());
            };
            job.task = task;
            let took = began.elapsed();
            let lists = size.load(Ordering::Relaxed);
            let lists = if took > STEP {
                lists / 2
            } else {
                lists + lists / 2
            };
            size.store(lists.clamp(LISTS.0, LISTS.1), Ordering::Relaxed);
            // Those who waited come first.
            sleep(took).await;
        }
    }
}

/// Does a part of a job: what is left of it then.
async fn step(tx: &Tx, job: &Job, size: &AtomicUsize, settings: &Settings) -> Result<Option<Task>> {
    let Task::LeaveLists {
        mut products,
        after,
    } = job.task.clone();
    let Some(product) = products.front().cloned() else {
        jobs::advance(tx, job, None).await?;
        return Ok(None);
    };
    let child = ChildId::from(product);
    let size = size.load(Ordering::Relaxed);
    let list = ChildType::Product;
    let lists = children::parents(tx, list, &child, after.as_ref(), size).await?;
    let left = if let Some(last) = lists.last() {
        let set = LockSet {
            linked: lists.iter().cloned().collect(),
            ..LockSet::default()
        };
        let leaving: BTreeMap<_, _> = lists
            .iter()
            .map(|list| (list.clone(), vec![child.clone()]))
            .collect();
        let mut locked = tx.lock(set).await?;
        locked.take_out(tx, leaving).await?;
        locked.save(tx, &settings.default_locale).await?;
        Task::LeaveLists {
            after: Some(last.clone()),
            products,
        }
    } else {
        products.pop_front();
        Task::LeaveLists {
            products,
            after: None,
        }
    };
    jobs::advance(tx, job, Some(&left)).await?;
    Ok(Some(left))
}
