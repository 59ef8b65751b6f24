//! Derives facts, in a job, for products that were stored before facts existed: from their
//! attributes, as if their clients had written them now.

use std::collections::{BTreeMap, BTreeSet};

use super::Settings;
use crate::{
    domain::{Details, Needs, Product, ProductId, Result, Timestamp, Violations},
    store::{
        Tx,
        jobs::{self, FactsTask, Job},
        lock::{LockSet, RuleLock},
        products,
    },
};

/// Processes up to `size` products of the job. Returns whether there may be more.
pub(super) async fn step(tx: &Tx, job: &Job, size: usize, settings: &Settings) -> Result<bool> {
    let Some(task) = jobs::facts_task(tx, job).await? else {
        return Ok(false);
    };
    let after = (!task.after.is_empty()).then(|| ProductId::trusted(task.after.as_str()));
    let mut page = products::after(tx, after.as_ref(), &Needs::of_columns()).await?;
    page.truncate(size);
    let Some(last) = page.last().map(|product| product.id.to_string()) else {
        jobs::advance(tx, job, &BTreeMap::new()).await?;
        return Ok(false);
    };
    let before = Timestamp::from_micros(task.before);
    let derived = |product: &Product| derived(product, before, settings);
    let candidates = page.iter().filter(|product| derived(product).is_some());
    let candidates: BTreeSet<_> = candidates.map(|product| product.id.clone()).collect();
    if !candidates.is_empty() {
        let set = LockSet {
            products: candidates,
            rules: RuleLock::Shared,
            ..LockSet::default()
        };
        let locked = tx.lock(set).await?;
        // The products may have changed before they were locked, so facts are derived again.
        let derived: Vec<_> = locked.products().values().filter_map(derived).collect();
        locked.put_products(tx, &derived).await?;
        locked.save(tx, &settings.default_locale).await?;
    }
    let task = FactsTask {
        after: last,
        ..task
    };
    jobs::go_on(tx, job, task).await?;
    Ok(true)
}

/// The product with its facts; `None` if its attributes state none or if it already has some.
/// Products that were written since `before` are skipped, because their clients could state facts.
fn derived(product: &Product, before: Timestamp, settings: &Settings) -> Option<Product> {
    if product.update_time >= before || product.details != Details::default() {
        return None;
    }
    let mut derived = product.clone();
    for facts in &settings.facts_of_stored {
        facts(product).apply(&mut derived.details);
    }
    let mut violations = Violations::default();
    derived.details.check(0, &settings.limits, &mut violations);
    let is_one = derived != *product && violations.finish().is_ok();
    is_one.then_some(derived)
}
