//! Executing commands that write, and safe retries: the first answer to a request is kept in
//! the transaction that did its work, and answers the request when it comes again. Of one that
//! is too large a summary is kept.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use tokio::time::sleep;

use super::{Detail, Include, Service, Settings};
use crate::{
    domain::{Caller, Result, Retryable, RulesState, Writing},
    store::{
        Mode, Tx, collections,
        requests::{self, Kept, Packed},
    },
    telemetry::{metrics, trace},
};

/// How often it is looked whether rules are evaluated.
const LOOK: Duration = Duration::from_millis(100);
/// So long before its caller stops waiting a request is answered that waits for rules.
const AHEAD: Duration = Duration::from_secs(1);

/// Something that a caller asks for and that writes.
pub trait Command: Send + Sync {
    /// What it is answered.
    type Answer: Send;

    /// Its name in telemetry.
    const NAME: &str;

    /// The proof that the caller may.
    ///
    /// # Errors
    /// Where the caller may not.
    fn authorize(&self, caller: &Caller) -> Result<Writing>;

    /// Checks what can be checked without the data, before a transaction is begun: a request
    /// that can't succeed never takes SQLite's one writer.
    ///
    /// # Errors
    /// With every violation.
    fn check(&self, settings: &Settings) -> Result<()>;

    /// Under which a retry is recognised.
    fn retry(&self) -> Option<&Retry<Self::Answer>>;

    /// Whether what it does stays.
    fn mode(&self) -> Mode {
        Mode::Commit
    }

    /// The collection in an answer, which waits for a job that evaluates its rules, with what is
    /// read of it.
    fn awaits_rules<'a>(&self, _answer: &'a mut Self::Answer) -> Option<(&'a mut Detail, Include)> {
        None
    }

    /// Does it. May be called again in another transaction.
    fn run(
        &self,
        tx: &Tx,
        settings: &Settings,
    ) -> impl Future<Output = Result<Self::Answer>> + Send;
}

/// Writes an answer. May hold what the protocol needs next to the answer.
pub type Encode<T> = Arc<dyn Fn(&T) -> Option<Vec<u8>> + Send + Sync>;
/// Writes a summary of an answer.
pub type Summarize<T> = Arc<dyn Fn(&T) -> Vec<u8> + Send + Sync>;

/// A request that its client may send again.
#[derive(Clone)]
pub struct Retry<T> {
    /// Which request.
    pub request: Retryable,
    /// How its protocol writes the answer, which is kept; none where it is far too large.
    pub encode: Encode<T>,
    /// How it writes what is kept of one that is too large: enough to answer, with what the
    /// data says by then, a retry.
    pub summarize: Summarize<T>,
}

impl<T> fmt::Debug for Retry<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}

/// An answer, new or kept.
#[derive(Debug)]
pub enum Answer<T> {
    /// The work was done now.
    New(T),
    /// The work was done before; this was the answer, as its protocol wrote it.
    Kept(Kept),
}

impl Service {
    /// Executes a command in one transaction, all or nothing.
    ///
    /// # Errors
    /// Where the caller may not; where the command can't be done, as it says; where the
    /// store fails.
    pub async fn execute<C: Command>(
        &self,
        caller: &Caller,
        command: C,
    ) -> Result<Answer<C::Answer>> {
        trace::use_case(C::NAME, async {
            let writing = command.authorize(caller)?;
            command.check(&self.settings)?;
            let context = (command, Arc::clone(&self.settings));
            let answer = self
                .store
                .write(
                    &writing,
                    context.0.mode(),
                    &context,
                    |tx, (command, settings)| once(tx, command, settings).boxed(),
                )
                .await;
            let mut answer = answer?;
            if let Answer::New(new) = &mut answer
                && let Some((detail, include)) = context.0.awaits_rules(new)
                && include.awaits_rules
            {
                // Boxed: few wait, and its future is deep in that of each caller.
                self.await_rules(caller, detail, include).boxed().await?;
            }
            Ok(answer)
        })
        .await
    }

    /// Reads a collection again until its list follows its rules, as long as the caller waits.
    async fn await_rules(
        &self,
        caller: &Caller,
        detail: &mut Detail,
        include: Include,
    ) -> Result<()> {
        let end = caller.deadline.and_then(|it| it.checked_sub(AHEAD));
        // Who may write the collection sees what became of it.
        let reading = Caller::operator(caller.tenant.clone()).reading()?;
        while detail.collection.rules_state == RulesState::Evaluating
            && end.is_none_or(|end| Instant::now() < end)
        {
            sleep(LOOK).await;
            let tx = self.store.read(&reading).await?;
            match collections::get(&tx, &detail.collection.id).await? {
                Some(collection) => *detail = super::detail(&tx, collection, include).await?,
                // Deleted meanwhile: the answer is what was written.
                None => return Ok(()),
            }
        }
        Ok(())
    }
}

async fn once<C: Command>(tx: &Tx, command: &C, settings: &Settings) -> Result<Answer<C::Answer>> {
    let Some(retry) = command.retry() else {
        return Ok(Answer::New(command.run(tx, settings).await?));
    };
    if let Some(kept) = requests::claim(tx, &retry.request).await? {
        let (Kept::Whole(bytes) | Kept::Summary(bytes)) = &kept;
        settings.memory.try_reserve(bytes.len())?;
        metrics::replayed(match &kept {
            Kept::Whole(_) => "whole",
            Kept::Summary(_) => "summary",
        });
        return Ok(Answer::Kept(kept));
    }
    let answer = command.run(tx, settings).await?;
    let (max, whole) = (settings.limits.kept_bytes, (retry.encode)(&answer));
    let packed = Packed::new(max, whole, || (retry.summarize)(&answer))?;
    requests::keep(tx, &retry.request, packed);
    Ok(Answer::New(answer))
}
