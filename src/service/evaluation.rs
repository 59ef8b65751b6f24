//! The job that evaluates the new rules of a smart collection over all products. It finds the
//! candidates, builds the next list with them beside the current one, has it catch up with the
//! products that changed in the meantime, and then makes it the current list, which takes the same
//! time for lists of any length. Each step makes other writers wait only briefly.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures::FutureExt as _;

use super::{Service, Settings, jobs::Steps};
use crate::{
    domain::{
        Caller, ChildId, CollectionId, Kind, Needs, Product, ProductId, Result, RuleSet,
        RulesState, Timestamp,
    },
    store::{
        Tx, collections,
        jobs::{self, Job},
        lock::LockSet,
        membership::{self, CaughtUp, NextList},
        products::Pages,
        rules::{
            due::{self, Due},
            evaluations,
            names::Memberships,
        },
    },
};

/// The target duration of the reads before a step, which block nobody.
const READ: Duration = Duration::from_millis(250);
/// The number of rows to write after which the reads end, so that the step stays short.
const ROWS: usize = 4_000;
/// How many more children than other rows a step may write: they are next to each other.
const CHILDREN: usize = 4;

/// What the job does next.
enum Phase {
    /// Finds candidates among more products, or that the evaluation has ended.
    Find,
    /// Removes what an earlier job left of a next list.
    Clear,
    /// Reads the candidates with their sort keys.
    Read(Box<NextList>),
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
    /// If the database fails, or another process has taken the job over. The job is resumed later;
    /// a next list that is not complete is built again.
    pub(super) async fn evaluate_rules(&self, job: &Job, id: &CollectionId) -> Result<()> {
        let reading = Caller::operator(job.tenant.clone()).reading()?;
        let mut steps = Steps::new(self, job)?;
        let mut phase = Phase::Find;
        loop {
            phase = match phase {
                Phase::Find => {
                    let tx = self.store.read_on(&reading).await?;
                    let found = find(&tx, job, id).await?;
                    drop(tx);
                    let context = (job, id, found, self.settings());
                    let step = steps.take(&context, |tx, (job, id, found, settings)| {
                        record(tx, job, id, found.as_ref(), settings).boxed()
                    });
                    step.await?
                }
                Phase::Clear => {
                    let context = (job, id, steps.size);
                    let step = steps.take(&context, |tx, (job, id, size)| {
                        clear(tx, job, id, *size).boxed()
                    });
                    match step.await? {
                        None => Phase::Find,
                        Some(true) => Phase::Clear,
                        Some(false) => {
                            let tx = self.store.read_on(&reading).await?;
                            let next = NextList::begin(&tx, job, id).await?;
                            next.map_or(Phase::Find, |next| Phase::Read(Box::new(next)))
                        }
                    }
                }
                Phase::Read(mut next) => {
                    let tx = self.store.read_on(&reading).await?;
                    let is_read = next.read(&tx, Instant::now() + READ).await?;
                    drop(tx);
                    let renewed = steps.take(job, |tx, job| renew(tx, job).boxed());
                    match (renewed.await?, is_read) {
                        (false, _) => Phase::Done,
                        (true, false) => Phase::Read(next),
                        (true, true) => Phase::Write(next),
                    }
                }
                Phase::Write(mut next) => {
                    let context = (job, &*next, steps.size * CHILDREN);
                    let step = steps.take(&context, |tx, (job, next, size)| {
                        next.write(tx, job, *size).boxed()
                    });
                    match step.await? {
                        None => Phase::Find,
                        Some(written) if next.wrote(&written) => Phase::CatchUp(next),
                        Some(_) => Phase::Write(next),
                    }
                }
                Phase::CatchUp(mut next) => {
                    let size = steps.size.saturating_mul(next.factor());
                    let context = (job, &*next, size, self.settings());
                    let step = steps.take(&context, |tx, (job, next, size, settings)| {
                        catch_up(tx, job, next, *size, settings).boxed()
                    });
                    match step.await? {
                        None => Phase::Find,
                        Some(caught_up) => {
                            next.caught_up(caught_up);
                            Phase::CatchUp(next)
                        }
                    }
                }
                Phase::Done => return Ok(()),
            };
        }
    }
}

/// What a job found out about the next products of the tenant, in order of ids.
struct Found {
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
async fn find(tx: &Tx, job: &Job, id: &CollectionId) -> Result<Option<Found>> {
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
    let mut found = Found {
        matching: Vec::new(),
        changes: Vec::new(),
        last: None,
        done: evaluation.progress.done,
    };
    let mut pages = Pages::after(tx, evaluation.last, &needs);
    while began.elapsed() < READ && found.matching.len() + found.changes.len() < ROWS {
        let Some(page) = pages.next().await? else {
            break;
        };
        let ids: Vec<_> = page.products.iter().map(|it| it.id.clone()).collect();
        let due = Due::of_rules(tx, &rules, &ids).await?;
        let memberships = Memberships::of(tx, &rules, &ids).await?;
        tx.work(page.bytes, || {
            found.add(id, (&rules, &needs), (&due, &memberships), &page.products);
        });
        found.last = ids.into_iter().last();
    }
    Ok(Some(found))
}

impl Found {
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

/// Records what was found out about more products, or begins an evaluation that a job without one
/// asks for.
async fn record(
    tx: &Tx,
    job: &Job,
    id: &CollectionId,
    found: Option<&Found>,
    settings: &Settings,
) -> Result<Phase> {
    if !jobs::is_ours(tx, job).await? {
        // The job was removed, for example because the rules changed and another job evaluates
        // them.
        return Ok(Phase::Done);
    }
    let evaluation = evaluations::get(tx, id).await?;
    if evaluation.is_none_or(|it| it.job != job.id) {
        return begin(tx, job, id, settings).await;
    }
    let Some(found) = found else {
        // The collection was deleted or changed in the meantime.
        tx.lock(LockSet::of_rules(id)).await?;
        evaluations::end(tx, id).await?;
        return Ok(Phase::Done);
    };
    let Some(last) = &found.last else {
        return Ok(Phase::Clear);
    };
    jobs::add_lists(tx, &job.id, &found.matching).await?;
    due::put_earlier(tx, &found.changes).await?;
    evaluations::advance(tx, id, last, found.done).await?;
    jobs::renew(tx, job).await?;
    Ok(Phase::Find)
}

/// Evaluates the rules of a smart collection again, for example after an upgrade: in this
/// transaction, or by another job if there are too many products.
async fn begin(tx: &Tx, job: &Job, id: &CollectionId, settings: &Settings) -> Result<Phase> {
    let mut locked = tx.lock(LockSet::of_rules(id)).await?;
    locked.evaluate(id, settings.limits.synchronous_products);
    locked.save(tx, &settings.default_locale).await?;
    jobs::advance(tx, job, &BTreeMap::new()).await?;
    Ok(Phase::Done)
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
        evaluations::set_outdated(tx, id, false).await?;
    }
    jobs::renew(tx, job).await?;
    Ok(Some(has_more))
}

/// Keeps the job. Returns whether it still is this process's.
async fn renew(tx: &Tx, job: &Job) -> Result<bool> {
    let is_ours = jobs::is_ours(tx, job).await?;
    if is_ours {
        jobs::renew(tx, job).await?;
    }
    Ok(is_ours)
}

/// Updates the next list for some of the products that changed. If none are left, it becomes the
/// current list; if it can't, the current list is rewritten. Then the result is `None`.
async fn catch_up(
    tx: &Tx,
    job: &Job,
    next: &NextList,
    size: usize,
    settings: &Settings,
) -> Result<Option<CaughtUp>> {
    let mut locked = tx.lock(LockSet::of_rules(next.collection())).await?;
    let evaluation = membership::evaluation_of(tx, job, next.collection()).await?;
    let Some(evaluation) = evaluation else {
        return Ok(None);
    };
    // Only after locking the rules: whoever changes them removes this job while holding that lock,
    // and both must lock the rules and the job in the same order.
    jobs::renew(tx, job).await?;
    let caught_up = locked.catch_up(tx, (job, &evaluation), next, size).await?;
    if caught_up.is_none() {
        locked.save(tx, &settings.default_locale).await?;
    }
    Ok(caught_up)
}
