//! The job that evaluates the new rules of a smart collection over all products. It finds the
//! products that match, builds the next list with them next to the current one, has it catch up with
//! the products that changed in the meantime, and then makes it the current list, which takes the
//! same time for lists of any length. Each step makes other writers wait only briefly.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures::FutureExt as _;

use super::{Service, Settings, jobs::Steps};
use crate::{
    domain::{Caller, CollectionId, ProductId, Result, RulesState, Timestamp},
    store::{
        Tx, collections,
        jobs::{self, Job},
        lock::LockSet,
        membership::{self, CaughtUp, Matches, NextList},
        rules::{due, evaluations},
    },
};

/// The target duration of the reads before a step, which block nobody.
const READ: Duration = Duration::from_millis(250);
/// How many more children than other rows a step may write: they are next to each other.
const CHILDREN: usize = 4;
/// How often a next list that is outdated is built again.
const RESTARTS: u32 = 3;

/// What the job does next.
enum Phase {
    /// Begins, or finds that the evaluation has ended.
    Begin,
    /// Evaluates the rules over more products.
    Find(Box<Matches>),
    /// Removes what an earlier job left of a next list.
    Clear(Box<Matches>),
    /// Writes the next list.
    Write(Box<NextList>),
    /// Updates the next list for products that changed, and makes it the current one when none are
    /// left.
    CatchUp(Box<NextList>),
    /// Has nothing left to do.
    Done,
}

impl Service {
    /// Does a job that evaluates the rules of a collection.
    ///
    /// # Errors
    /// If the database fails, or another process has taken the job over. The job starts over later.
    pub(super) async fn evaluate_rules(&self, job: &Job, id: &CollectionId) -> Result<()> {
        let reading = Caller::operator(job.tenant.clone()).reading()?;
        let mut steps = Steps::new(self, job)?;
        let mut restarts = 0;
        let mut phase = Phase::Begin;
        loop {
            phase = match phase {
                Phase::Begin => {
                    let context = (job, id, self.settings());
                    let step = steps.take(&context, |tx, (job, id, settings)| {
                        begin(tx, job, id, settings).boxed()
                    });
                    let matches = step.await?;
                    matches.map_or(Phase::Done, |matches| Phase::Find(Box::new(matches)))
                }
                Phase::Find(mut matches) => {
                    let tx = self.store.read_on(&reading).await?;
                    let has_more = matches.find(&tx, Instant::now() + READ).await?;
                    drop(tx);
                    let context = (job, id, matches.done(), matches.take_due());
                    let step = steps.take(&context, |tx, (job, id, done, due)| {
                        record(tx, job, id, *done, due).boxed()
                    });
                    match (step.await?, has_more) {
                        (false, _) => Phase::Done,
                        (true, true) => Phase::Find(matches),
                        (true, false) => {
                            steps.restart();
                            Phase::Clear(matches)
                        }
                    }
                }
                Phase::Clear(matches) => {
                    let context = (job, id, steps.size);
                    let step = steps.take(&context, |tx, (job, id, size)| {
                        clear(tx, job, id, *size).boxed()
                    });
                    match step.await? {
                        None => Phase::Begin,
                        Some(true) => Phase::Clear(matches),
                        Some(false) => {
                            let tx = self.store.read_on(&reading).await?;
                            let next = NextList::begin(&tx, *matches).await?;
                            steps.restart();
                            next.map_or(Phase::Begin, |next| Phase::Write(Box::new(next)))
                        }
                    }
                }
                Phase::Write(mut next) => {
                    let context = (job, &*next, steps.size * CHILDREN);
                    let step = steps.take(&context, |tx, (job, next, size)| {
                        next.write(tx, job, *size).boxed()
                    });
                    match step.await? {
                        None => Phase::Begin,
                        Some(written) if next.wrote(&written) => {
                            steps.restart();
                            Phase::CatchUp(next)
                        }
                        Some(_) => Phase::Write(next),
                    }
                }
                Phase::CatchUp(mut next) => {
                    let size = steps.size.saturating_mul(next.factor());
                    let context = (job, &*next, (size, restarts < RESTARTS), self.settings());
                    let step = steps.take(&context, |tx, (job, next, how, settings)| {
                        catch_up(tx, job, next, *how, settings).boxed()
                    });
                    match step.await? {
                        CaughtUp::Partly(update) => {
                            next.update(update);
                            Phase::CatchUp(next)
                        }
                        CaughtUp::Outdated => {
                            restarts += 1;
                            Phase::Begin
                        }
                        CaughtUp::Wholly => Phase::Begin,
                    }
                }
                Phase::Done => return Ok(()),
            };
        }
    }
}

/// Begins the evaluation, or begins one that a job without one asks for. `None` if this job has
/// nothing left to do.
async fn begin(
    tx: &Tx,
    job: &Job,
    id: &CollectionId,
    settings: &Settings,
) -> Result<Option<Matches>> {
    if !jobs::is_ours(tx, job).await? {
        // The job was removed, for example because the rules changed and another job evaluates
        // them.
        return Ok(None);
    }
    let evaluation = evaluations::get(tx, id).await?;
    if evaluation.is_none_or(|it| it.job != job.id) {
        evaluate_again(tx, job, id, settings).await?;
        return Ok(None);
    }
    let collection = collections::get(tx, id).await?;
    let collection = collection.filter(|it| it.rules_state == RulesState::Evaluating);
    let Some(collection) = collection.filter(|it| it.kind.is_smart()) else {
        // The collection was deleted or changed in the meantime.
        tx.lock(LockSet::of_rules(id)).await?;
        evaluations::end(tx, id).await?;
        return Ok(None);
    };
    evaluations::advance(tx, id, 0).await?;
    jobs::renew(tx, job).await?;
    Ok(Some(Matches::none(&collection)))
}

/// Evaluates the rules of a smart collection again, for example after an upgrade: in this
/// transaction, or by another job if there are too many products.
async fn evaluate_again(tx: &Tx, job: &Job, id: &CollectionId, settings: &Settings) -> Result<()> {
    let mut locked = tx.lock(LockSet::of_rules(id)).await?;
    locked.evaluate(id, settings.limits.synchronous_products);
    locked.save(tx, &settings.default_locale).await?;
    jobs::advance(tx, job, &BTreeMap::new()).await
}

/// Records how many products are done, and the due times that were found. Returns whether the job
/// still is this process's.
async fn record(
    tx: &Tx,
    job: &Job,
    id: &CollectionId,
    done: u64,
    due: &[(ProductId, Timestamp)],
) -> Result<bool> {
    let is_ours = jobs::is_ours(tx, job).await?;
    if is_ours {
        due::put_earlier(tx, due).await?;
        evaluations::advance(tx, id, done).await?;
        jobs::renew(tx, job).await?;
    }
    Ok(is_ours)
}

/// Removes some of what an earlier job left of a next list. Returns whether there may be more;
/// `None` if the job has nothing left to do.
async fn clear(tx: &Tx, job: &Job, id: &CollectionId, size: usize) -> Result<Option<bool>> {
    tx.lock(LockSet::linked(id)).await?;
    if membership::evaluation_of(tx, job, id).await?.is_none() {
        return Ok(None);
    }
    let has_more = membership::clear_other(tx, id, size).await?;
    if !has_more {
        membership::begin_next(tx, job, id).await?;
    }
    jobs::renew(tx, job).await?;
    Ok(Some(has_more))
}

/// Updates the next list for some of the products that changed, or makes it the current list.
async fn catch_up(
    tx: &Tx,
    job: &Job,
    next: &NextList,
    how: (usize, bool),
    settings: &Settings,
) -> Result<CaughtUp> {
    let mut locked = tx.lock(LockSet::of_rules(next.collection())).await?;
    let evaluation = membership::evaluation_of(tx, job, next.collection()).await?;
    let Some(evaluation) = evaluation else {
        return Ok(CaughtUp::Wholly);
    };
    // Only after locking the rules: whoever changes them removes this job while holding that lock,
    // and both must lock the rules and the job in the same order.
    jobs::renew(tx, job).await?;
    let caught_up = locked.catch_up(tx, (job, &evaluation), next, how).await?;
    if let CaughtUp::Wholly = caught_up {
        locked.save(tx, &settings.default_locale).await?;
    }
    Ok(caught_up)
}
