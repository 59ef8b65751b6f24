//! Letting lists follow the time: products whose ages cross what rules say join and leave.

use std::time::{Duration, Instant};

use futures::FutureExt as _;
use tokio::time::sleep;

use super::Service;
use crate::{
    domain::{Caller, Result, TenantId},
    store::{
        Mode,
        lock::{LockSet, RuleLock},
        rules::due,
    },
    telemetry::causes,
};

/// How often what is due is looked for.
const LOOK: Duration = Duration::from_secs(1);
/// What a step may take: on SQLite nobody else writes meanwhile.
const STEP: Duration = Duration::from_millis(25);
/// Products that a step evaluates, at least and at most.
const PRODUCTS: (usize, usize) = (1, 1_000);
/// Products that the first step evaluates.
const FIRST: usize = 32;

impl Service {
    /// Evaluates products when they are due, for ever, while `ready` lets it. Every server does; what
    /// another one did is not due any more.
    pub async fn follow_time<F: Future<Output = ()>>(&self, ready: impl Fn() -> F) {
        let warn = |error: &crate::domain::Error| {
            let causes = causes(error);
            tracing::warn!(causes, "evaluating what is due: {error}");
        };
        let mut size = FIRST;
        loop {
            ready().await;
            let tenants = due::tenants(&self.store).await;
            for tenant in tenants.inspect_err(warn).unwrap_or_default() {
                // One tenant's failure is not another's.
                let done = self.follow_time_of(tenant, &mut size).await;
                let _ = done.inspect_err(warn);
            }
            sleep(LOOK).await;
        }
    }

    async fn follow_time_of(&self, tenant: TenantId, size: &mut usize) -> Result<()> {
        let writing = Caller::operator(tenant).writing()?;
        loop {
            let began = Instant::now();
            let context = (*size, self.settings());
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
            if done < *size {
                return Ok(());
            }
            let took = began.elapsed();
            *size = if took > STEP { *size / 2 } else { *size * 2 };
            *size = (*size).clamp(PRODUCTS.0, PRODUCTS.1);
            // Those who waited come first.
            sleep(took).await;
        }
    }
}
