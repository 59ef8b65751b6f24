//! Executes background jobs (see [`jobs`]). Every server does, one job at a time, in steps that
//! make other writers wait only briefly.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use futures::{FutureExt as _, future::BoxFuture};
use tokio::time::{sleep, timeout};

use super::{Service, Settings, derive_facts};
use crate::{
    domain::{Caller, CollectionId, Error, ProductId, Result, Writing},
    store::{
        Engine, Mode, Tx, claims,
        jobs::{self, Job, Task},
        lock::{LockSet, RuleLock},
        membership,
        rules::{self, evaluations},
    },
    telemetry::{causes, metrics},
};

/// The interval of checking for jobs that other processes added or left.
const LOOK: Duration = Duration::from_secs(1);
/// The target duration of a step, which blocks all other writers on SQLite.
const STEP: Duration = Duration::from_millis(25);
/// The minimum and maximum number of lists per step.
const LISTS: (usize, usize) = (8, 1_000);

impl Service {
    /// Executes jobs forever, waiting for `ready` before each. `owner` identifies this process;
    /// other processes do the same.
    pub async fn do_jobs<F: Future<Output = ()>>(&self, owner: &str, ready: impl Fn() -> F) {
        ready().await;
        if self.store.engine() == Engine::Sqlite {
            // There is no other process: who had a job was killed.
            claims::release_or_warn(&self.store, None).await;
        }
        loop {
            ready().await;
            match self.do_job(owner).await {
                Ok(true) => {}
                Ok(false) => {
                    let _ = timeout(LOOK, self.store.job_added()).await;
                }
                // The step was rolled back, and whoever has the job does it.
                Err(error) if jobs::is_not_ours(&error) => {
                    tracing::debug!(causes = causes(&error), "a job step was rolled back");
                }
                Err(error) => {
                    metrics::job_failed();
                    let causes = causes(&error);
                    tracing::warn!(causes, "a job step failed: {error}");
                    sleep(LOOK).await;
                }
            }
        }
    }

    /// Executes the oldest job without a valid lease. Returns whether there was one.
    ///
    /// # Errors
    /// If the database fails. The job is resumed later.
    pub async fn do_job(&self, owner: &str) -> Result<bool> {
        let (job, waiting) = claims::claim(&self.store, owner).await?;
        metrics::jobs(waiting.count, waiting.lag);
        match job {
            Some(job) => self.job(job).await.map(|()| true),
            None => Ok(false),
        }
    }

    async fn job(&self, job: Job) -> Result<()> {
        if let Task::Evaluate { collection } = &job.task {
            let collection = CollectionId::trusted(collection.as_str());
            return self.evaluate_rules(&job, &collection).await;
        }
        let mut steps = Steps::new(self, &job)?;
        loop {
            let context = (&job, steps.size, self.settings());
            let has_more = steps.take(&context, |tx, (job, size, settings)| {
                step(tx, job, *size, settings).boxed()
            });
            if !has_more.await? {
                return Ok(());
            }
        }
    }
}

/// The steps of a job.
pub(super) struct Steps<'a> {
    service: &'a Service,
    writing: Writing,
    /// How many lists or children to write in the next step.
    pub(super) size: usize,
}

impl<'a> Steps<'a> {
    pub(super) fn new(service: &'a Service, job: &Job) -> Result<Self> {
        Ok(Self {
            service,
            writing: Caller::operator(job.tenant.clone()).writing()?,
            size: LISTS.0,
        })
    }

    /// Begins steps of another kind: how long they take is not known yet.
    pub(super) fn restart(&mut self) {
        self.size = LISTS.0;
    }

    /// Writes one step, and adapts the size of the next one to how long this one made others wait.
    pub(super) async fn take<C, T, F>(&mut self, context: &C, step: F) -> Result<T>
    where
        C: Sync + ?Sized,
        T: Send + 'static,
        F: for<'b> Fn(&'b Tx, &'b C) -> BoxFuture<'b, Result<T>> + Send + Sync,
    {
        let store = &self.service.store;
        let written = store.write_on(&self.writing, Mode::Commit, context, |tx, context| {
            timed(tx, step(tx, context)).boxed()
        });
        let (written, locked) = written.await?;
        // With the commit, for which others wait as well.
        let took = locked.elapsed();
        let size = if took > STEP {
            self.size / 2
        } else {
            self.size + self.size / 2
        };
        self.size = size.clamp(LISTS.0, LISTS.1);
        // Give waiting writers as much time as the step took.
        sleep(took).await;
        Ok(written)
    }
}

/// The result of a step, and since when it makes other writers wait: since it has its locks, for
/// which it may have waited itself.
async fn timed<T>(tx: &Tx, step: BoxFuture<'_, Result<T>>) -> Result<(T, Instant)> {
    let began = Instant::now();
    let done = step.await?;
    Ok((done, tx.locked_at().unwrap_or(began)))
}

/// Does a part of a job. Returns whether there may be more.
async fn step(tx: &Tx, job: &Job, size: usize, settings: &Settings) -> Result<bool> {
    if !jobs::is_ours(tx, job).await? {
        // The job was removed, or another process has it.
        return Ok(false);
    }
    match &job.task {
        Task::LeaveLists { .. } => leave_lists(tx, job, size, settings).await,
        Task::DeriveFacts(_) => derive_facts::step(tx, job, size, settings).await,
        Task::Follow => follow(tx, job, size, settings).await,
        Task::CleanUp { collection } => {
            let collection = CollectionId::trusted(collection.as_str());
            clean_up(tx, job, &collection, size).await
        }
        Task::Evaluate { .. } => Err(Error::internal("evaluations have steps of their own")),
    }
}

/// Removes what the evaluation of a collection's rules left: the products that it did not check
/// again, and the list that did not become the current one, or was the current one before.
async fn clean_up(tx: &Tx, job: &Job, id: &CollectionId, size: usize) -> Result<bool> {
    let unchecked = jobs::next_lists(tx, job, size).await?;
    if !unchecked.is_empty() {
        jobs::advance(tx, job, &unchecked).await?;
        return Ok(true);
    }
    let locked = tx.lock(LockSet::linked(id)).await?;
    // Another evaluation clears the list before it builds its own.
    if locked.exists(id)
        && evaluations::get(tx, id).await?.is_none()
        && membership::clear_other(tx, id, size).await?
    {
        jobs::renew(tx, job).await?;
        return Ok(true);
    }
    jobs::advance(tx, job, &BTreeMap::new()).await?;
    Ok(false)
}

/// Updates the lists of smart collections for changed products: either finds the affected lists of
/// some products, or updates some lists.
async fn follow(tx: &Tx, job: &Job, size: usize, settings: &Settings) -> Result<bool> {
    let mut lists = jobs::next_lists(tx, job, size).await?;
    let set = |linked| LockSet {
        rules: RuleLock::Shared,
        linked,
        ..LockSet::default()
    };
    if let Some(products) = lists.remove(&CollectionId::trusted("")) {
        // The shared lock keeps the rules unchanged until the lists are recorded.
        tx.lock(set(BTreeSet::new())).await?;
        // Only a few products, because each may affect as many lists as there are.
        let few: Vec<_> = products.into_iter().take(LISTS.0).collect();
        let ids: Vec<_> = few.iter().cloned().map(ProductId::from).collect();
        let compiled = rules::compiled(tx).await?;
        let found = membership::to_follow(tx, &compiled, &ids).await?;
        jobs::add_lists(tx, &job.id, &found).await?;
        let done = BTreeMap::from([(CollectionId::trusted(""), few)]);
        jobs::advance(tx, job, &done).await?;
        return Ok(true);
    }
    if !lists.is_empty() {
        let products = lists.values().flatten().cloned();
        let set = LockSet {
            // Locked, because a writer that changes a product at the same time would not find it in
            // the list yet.
            products: products.map(ProductId::from).collect(),
            ..set(lists.keys().cloned().collect())
        };
        let mut locked = tx.lock(set).await?;
        locked.follow_in(tx, &lists).await?;
        locked.save(tx, &settings.default_locale).await?;
    }
    jobs::advance(tx, job, &lists).await?;
    Ok(!lists.is_empty())
}

async fn leave_lists(tx: &Tx, job: &Job, size: usize, settings: &Settings) -> Result<bool> {
    let lists = jobs::next_lists(tx, job, size).await?;
    if !lists.is_empty() {
        let set = LockSet {
            linked: lists.keys().cloned().collect(),
            ..LockSet::default()
        };
        let mut locked = tx.lock(set).await?;
        // Read again under the locks: products may have been added again in the meantime, and then
        // the lists keep them.
        let mut leaving = jobs::next_lists(tx, job, size).await?;
        leaving.retain(|id, _| lists.contains_key(id) && locked.exists(id));
        locked.take_out(tx, leaving).await?;
        locked.save(tx, &settings.default_locale).await?;
    }
    jobs::advance(tx, job, &lists).await?;
    Ok(!lists.is_empty())
}
