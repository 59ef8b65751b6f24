//! Executes background jobs (see [`jobs`]). Every server does, one job at a time, in steps that
//! make other writers wait only briefly.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use tokio::time::sleep;

use super::{Service, Settings, derive_facts};
use crate::{
    domain::{
        Caller, ChildId, CollectionId, Kind, Needs, Product, ProductId, Result, RuleSet,
        RulesState, Timestamp,
    },
    store::{
        Engine, Mode, Tx, claims, collections,
        jobs::{self, Job, Task},
        lock::{LockSet, RuleLock},
        membership, products,
        rules::{
            self,
            due::{self, Due},
            evaluations,
            names::Memberships,
        },
    },
    telemetry::{causes, metrics},
};

/// The interval of checking for jobs.
const LOOK: Duration = Duration::from_secs(1);
/// The target duration of a step, which blocks all other writers on SQLite.
const STEP: Duration = Duration::from_millis(25);
/// The target duration of the reads before a step, which block nobody.
const READ: Duration = Duration::from_millis(250);
/// The number of rows to write after which the reads end, so that the step stays short.
const ROWS: usize = 4_000;
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
                Ok(false) => sleep(LOOK).await,
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
        let caller = Caller::operator(job.tenant.clone());
        let (reading, writing) = (caller.reading()?, caller.writing()?);
        let mut size = LISTS.0;
        loop {
            let evaluated = match &job.task {
                Task::Evaluate { collection } => {
                    let tx = self.store.read_on(&reading).await?;
                    evaluate(&tx, &job, &CollectionId::trusted(collection.as_str())).await?
                }
                Task::LeaveLists { .. } | Task::DeriveFacts(_) | Task::Follow => None,
            };
            let began = Instant::now();
            let context = (&job, evaluated.as_ref(), size, self.settings());
            let has_more = self
                .store
                .write_on(
                    &writing,
                    Mode::Commit,
                    &context,
                    |tx, (job, evaluated, size, settings)| {
                        step(tx, job, *evaluated, *size, settings).boxed()
                    },
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
            // Give waiting writers as much time as the step took.
            sleep(took).await;
        }
    }
}

/// Does a part of a job. Returns whether there may be more.
async fn step(
    tx: &Tx,
    job: &Job,
    evaluated: Option<&Evaluated>,
    size: usize,
    settings: &Settings,
) -> Result<bool> {
    if !jobs::is_ours(tx, job).await? {
        // The job was removed, for example because the rules changed and another job evaluates
        // them.
        return Ok(false);
    }
    match &job.task {
        Task::LeaveLists { .. } => leave_lists(tx, job, size, settings).await,
        Task::DeriveFacts(_) => derive_facts::step(tx, job, size, settings).await,
        Task::Follow => follow(tx, job, size, settings).await,
        Task::Evaluate { collection } => {
            let collection = CollectionId::trusted(collection.as_str());
            match evaluations::get(tx, &collection).await? {
                Some(evaluation) if evaluation.job == job.id => {
                    record(tx, job, &collection, evaluated, settings).await
                }
                _ => begin_evaluation(tx, job, &collection, settings).await,
            }
        }
    }
}

/// Evaluates the rules of a smart collection again, for example after an upgrade: in this
/// transaction, or by another job if there are too many products.
async fn begin_evaluation(
    tx: &Tx,
    job: &Job,
    collection: &CollectionId,
    settings: &Settings,
) -> Result<bool> {
    let mut locked = tx.lock(LockSet::of_rules(collection)).await?;
    locked.evaluate(collection, settings.limits.synchronous_products);
    locked.save(tx, &settings.default_locale).await?;
    jobs::advance(tx, job, &BTreeMap::new()).await?;
    Ok(false)
}

/// What a job found out about the next products of the tenant, in order of ids.
struct Evaluated {
    /// Candidates for the list.
    matching: Vec<(CollectionId, ChildId)>,
    /// Due times of products whose age conditions will change.
    changes: Vec<(ProductId, Timestamp)>,
    /// The last of the products; `None` if there was none left.
    last: Option<ProductId>,
    /// How many products are done, with these.
    done: u64,
}

/// Evaluates the rules of a smart collection over more products. This only reads, so it makes no
/// writer wait: a product that changes afterwards is checked again in the end. `None` if the
/// collection was deleted, or needs no evaluation by this job any more.
async fn evaluate(tx: &Tx, job: &Job, id: &CollectionId) -> Result<Option<Evaluated>> {
    let began = Instant::now();
    let evaluation = evaluations::get(tx, id).await?;
    let Some(evaluation) = evaluation.filter(|it| it.job == job.id) else {
        return Ok(None);
    };
    let collection = collections::get(tx, id).await?;
    let collection = collection.filter(|it| it.rules_state == RulesState::Evaluating);
    let Some(Kind::Smart { rules }) = collection.map(|it| it.kind) else {
        return Ok(None);
    };
    let rules = RuleSet::new([(id.clone(), rules)]);
    let needs = rules.needs();
    let mut evaluated = Evaluated {
        matching: Vec::new(),
        changes: Vec::new(),
        last: None,
        done: evaluation.progress.done,
    };
    while began.elapsed() < READ && evaluated.matching.len() + evaluated.changes.len() < ROWS {
        let last = evaluated.last.as_ref().or(evaluation.last.as_ref());
        let (products, bytes) = products::after(tx, last, &needs).await?;
        if products.is_empty() {
            break;
        }
        let ids: Vec<_> = products.iter().map(|it| it.id.clone()).collect();
        let due = Due::of_rules(tx, &rules, &ids).await?;
        let memberships = Memberships::of(tx, &rules, &ids).await?;
        tx.work(bytes, || {
            evaluated.add(id, (&rules, &needs), (&due, &memberships), &products);
        });
        evaluated.last = ids.into_iter().last();
    }
    Ok(Some(evaluated))
}

impl Evaluated {
    fn add(
        &mut self,
        id: &CollectionId,
        (rules, needs): (&RuleSet, &Needs),
        (due, memberships): (&Due, &Memberships),
        products: &[Product],
    ) {
        for product in products {
            let moment = due.moment(&product.id);
            let facts = memberships.needed(product, moment, needs);
            if rules.matches(id, &facts) {
                self.matching.push((id.clone(), product.id.clone().into()));
            }
            let next = rules.next_change(&facts, moment);
            self.changes
                .extend(next.map(|next| (product.id.clone(), next)));
        }
        self.done += products.len() as u64;
    }
}

/// Records what was found out about more products. When all of them are done, replaces the list.
async fn record(
    tx: &Tx,
    job: &Job,
    id: &CollectionId,
    evaluated: Option<&Evaluated>,
    settings: &Settings,
) -> Result<bool> {
    let Some(evaluated) = evaluated else {
        // The collection was deleted or changed in the meantime.
        tx.lock(LockSet::of_rules(id)).await?;
        evaluations::end(tx, id).await?;
        return Ok(false);
    };
    let Some(last) = &evaluated.last else {
        return finish_evaluation(tx, job, id, settings).await;
    };
    jobs::add_lists(tx, &job.id, &evaluated.matching).await?;
    due::put_earlier(tx, &evaluated.changes).await?;
    evaluations::advance(tx, id, last, evaluated.done).await?;
    jobs::renew(tx, job).await?;
    Ok(true)
}

async fn finish_evaluation(
    tx: &Tx,
    job: &Job,
    id: &CollectionId,
    settings: &Settings,
) -> Result<bool> {
    let mut locked = tx.lock(LockSet::of_rules(id)).await?;
    // Only after locking the rules: whoever changes them removes this job while holding that lock,
    // and both must lock the rules and the job in the same order.
    jobs::renew(tx, job).await?;
    locked.finish_evaluation(id);
    locked.save(tx, &settings.default_locale).await?;
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
