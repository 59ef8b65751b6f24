//! Executes commands that write, with safe retries: the first response to a request is stored in
//! the transaction that did its work, and is returned when the request is retried. Only a summary
//! is stored of a response that is too large.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use tokio::time::sleep;

use super::{Detail, Include, Retry, Service, Settings};
use crate::{
    domain::{Caller, Result, RulesState, Writing},
    store::{
        Mode, Tx, collections,
        requests::{self, Packed, StoredResponse},
    },
    telemetry::{metrics, trace},
};

/// The interval of checking whether rules are evaluated.
const LOOK: Duration = Duration::from_millis(100);
/// A request that waits for rules returns this long before its deadline.
const AHEAD: Duration = Duration::from_secs(1);

/// A request that writes.
pub trait Command: Send + Sync {
    /// The result.
    type Response: Send;

    /// The name in telemetry.
    const NAME: &str;

    /// Checks that the caller is authorized, and returns the proof.
    ///
    /// # Errors
    /// If the caller is not authorized.
    fn authorize(&self, caller: &Caller) -> Result<Writing>;

    /// Checks everything that does not depend on stored data. This happens before a transaction
    /// begins, so that a request that cannot succeed never takes SQLite's single writer.
    ///
    /// # Errors
    /// With every violation.
    fn check(&self, settings: &Settings) -> Result<()>;

    /// How to recognise and answer a retry; `None` without an idempotency key.
    fn retry(&self) -> Option<&Retry<Self::Response>>;

    /// Whether the changes are committed.
    fn mode(&self) -> Mode {
        Mode::Commit
    }

    /// The collection in the result for whose rules the request may wait, and what to read of it.
    fn awaits_rules<'a>(
        &self,
        _response: &'a mut Self::Response,
    ) -> Option<(&'a mut Detail, Include)> {
        None
    }

    /// Does the work in a transaction that other requests share; `None` if it must be done in one of
    /// its own.
    fn shared(
        self: &Arc<Self>,
        _service: &Service,
        _writing: &Writing,
    ) -> impl Future<Output = Option<Result<Self::Response>>> + Send {
        std::future::ready(None)
    }

    /// Does the work. It may be called again, in another transaction.
    fn run(
        &self,
        tx: &Tx,
        settings: &Settings,
    ) -> impl Future<Output = Result<Self::Response>> + Send;
}

/// A result, or a stored response.
#[derive(Debug)]
pub enum Executed<T> {
    /// The work was done now.
    New(T),
    /// The work was done before; this is the stored response.
    Replayed(StoredResponse),
}

impl Service {
    /// Executes a command in one transaction, all or nothing.
    ///
    /// # Errors
    /// If the caller is not authorized; as the command documents; if the store fails.
    pub async fn execute<C: Command>(
        &self,
        caller: &Caller,
        command: C,
    ) -> Result<Executed<C::Response>> {
        trace::use_case(C::NAME, async {
            let writing = command.authorize(caller)?;
            command.check(&self.settings)?;
            self.store.take_rate(writing.tenant())?;
            let context = (Arc::new(command), Arc::clone(&self.settings));
            let mut executed = match context.0.shared(self, &writing).await {
                Some(response) => Executed::New(response?),
                None => {
                    let mode = context.0.mode();
                    let executed = self
                        .store
                        .write_on(&writing, mode, &context, |tx, (command, settings)| {
                            once(tx, &**command, settings).boxed()
                        })
                        .await;
                    executed?
                }
            };
            if let Executed::New(new) = &mut executed
                && let Some((detail, include)) = context.0.awaits_rules(new)
                && include.awaits_rules
            {
                // Boxed, because few requests wait, but this future would enlarge that of every
                // caller.
                self.await_rules(caller, detail, include).boxed().await?;
            }
            Ok(executed)
        })
        .await
    }

    /// Reads a collection repeatedly until its rules are evaluated or the deadline is near.
    async fn await_rules(
        &self,
        caller: &Caller,
        detail: &mut Detail,
        include: Include,
    ) -> Result<()> {
        let end = caller.deadline.and_then(|it| it.checked_sub(AHEAD));
        // Authorization was checked for the write, and a caller who may write may see the result.
        let reading = Caller::operator(caller.tenant.clone()).reading()?;
        while detail.collection.rules_state == RulesState::Evaluating
            && end.is_none_or(|end| Instant::now() < end)
        {
            sleep(LOOK).await;
            let tx = self.store.read(&reading).await?;
            match collections::get(&tx, &detail.collection.id).await? {
                Some(collection) => *detail = super::detail(&tx, collection, include).await?,
                // Deleted in the meantime: the result is what was written.
                None => return Ok(()),
            }
        }
        Ok(())
    }
}

async fn once<C: Command>(
    tx: &Tx,
    command: &C,
    settings: &Settings,
) -> Result<Executed<C::Response>> {
    let Some(retry) = command.retry() else {
        return Ok(Executed::New(command.run(tx, settings).await?));
    };
    if let Some(stored) = requests::claim(tx, &retry.request).await? {
        let (StoredResponse::Whole(bytes) | StoredResponse::Summary(bytes)) = &stored;
        settings.memory.try_reserve(bytes.len())?;
        metrics::replayed(match &stored {
            StoredResponse::Whole(_) => "whole",
            StoredResponse::Summary(_) => "summary",
        });
        return Ok(Executed::Replayed(stored));
    }
    let response = command.run(tx, settings).await?;
    let (max, whole) = (settings.limits.kept_bytes, (retry.encode)(&response));
    let packed = Packed::new(max, whole, || (retry.summarize)(&response))?;
    requests::store_response(tx, &retry.request, packed);
    Ok(Executed::New(response))
}
