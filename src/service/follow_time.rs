//! Updates the lists of smart collections as time passes: products join and leave when their age
//! crosses a limit in the rules.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use tokio::time::sleep;

use super::Service;
use crate::{
    domain::{Caller, Error, Result, TenantId},
    store::{
        Mode,
        lock::{LockSet, RuleLock},
        rules::due,
    },
    telemetry::causes,
};

/// The interval of checking for due products.
const LOOK: Duration = Duration::from_secs(1);
/// The target duration of a step, which blocks all other writers on SQLite.
const STEP: Duration = Duration::from_millis(25);
/// The minimum and maximum number of products per step.
const PRODUCTS: (usize, usize) = (1, 1_000);
/// The maximum number of tenants until due products are looked for from the start again.
const TENANTS: usize = 10_000;
/// The number of products in the first step.
const FIRST: usize = 32;

impl Service {
    /// Evaluates due products, forever, waiting for `ready` each time. Every server does this:
    /// products that another server has evaluated are no longer due.
    pub async fn follow_time<F: Future<Output = ()>>(&self, ready: impl Fn() -> F) {
        loop {
            ready().await;
            self.do_due().await;
            sleep(LOOK).await;
        }
    }

    /// Evaluates the products that are due now. Failures are logged, and a failure in one tenant
    /// does not affect others.
    pub async fn do_due(&self) {
        let warn = |error: &Error| {
            let causes = causes(error);
            tracing::warn!(causes, "evaluating due products failed: {error}");
        };
        // The overdue products of a tenant that fails stay the earliest ones.
        let mut seen = BTreeSet::new();
        while seen.len() < TENANTS {
            let tenants = due::tenants(&self.store, &seen).await.inspect_err(warn);
            let tenants = tenants.unwrap_or_default();
            if tenants.is_empty() {
                return;
            }
            for tenant in &tenants {
                let _ = self.follow_time_of(tenant.clone()).await.inspect_err(warn);
            }
            seen.extend(tenants);
        }
    }

    async fn follow_time_of(&self, tenant: TenantId) -> Result<()> {
        let writing = Caller::operator(tenant).writing()?;
        let mut size = FIRST;
        loop {
            let began = Instant::now();
            let context = (size, self.settings());
            let done = self
                .store
                .write_on(&writing, Mode::Commit, &context, |tx, (size, settings)| {
                    async move {
                        let products = due::products(tx, *size).await?;
                        let set = LockSet {
                            rules: RuleLock::Shared,
                            products: products.iter().cloned().collect(),
                            ..LockSet::default()
                        };
                        let mut locked = tx.lock(set).await?;
                        let count = products.len();
                        locked.follow_time(products);
                        locked.save(tx, &settings.default_locale).await?;
                        Ok(count)
                    }
                    .boxed()
                })
                .await?;
            if done < size {
                return Ok(());
            }
            let took = began.elapsed();
            size = if took > STEP { size / 2 } else { size * 2 };
            size = size.clamp(PRODUCTS.0, PRODUCTS.1);
            // Give waiting writers as much time as the step took.
            sleep(took).await;
        }
    }
}
