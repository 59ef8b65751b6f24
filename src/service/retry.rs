//! Safe retries: the first answer to a request is kept in the transaction that did
//! its work, and answers the request when it comes again.

use std::{fmt, sync::Arc};

use futures::{FutureExt as _, future::BoxFuture};

use super::{Service, Settings};
use crate::{
    domain::{Result, Writing},
    store::{
        Mode, Tx,
        requests::{self, Retryable},
    },
};

/// Writes an answer. May hold what the protocol needs beside the answer.
pub type Encode<T> = Arc<dyn Fn(&T) -> Vec<u8> + Send + Sync>;

/// A request that its client may send again.
#[derive(Clone)]
pub struct Retry<T> {
    /// Which request.
    pub request: Retryable,
    /// How its protocol writes the answer, which is kept.
    pub encode: Encode<T>,
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
    Kept(Vec<u8>),
}

impl Service {
    /// Runs a command in a transaction and keeps its answer there, where it may come
    /// again; then it is answered what was kept.
    pub(super) async fn write<C, T>(
        &self,
        writing: &Writing,
        mode: Mode,
        command: &C,
        retry: Option<&Retry<T>>,
        run: impl for<'a> Fn(&'a Tx, &'a C, &'a Settings) -> BoxFuture<'a, Result<T>> + Send + Sync,
    ) -> Result<Answer<T>>
    where
        C: Sync,
        T: Send,
    {
        let context = (command, retry, self.settings.as_ref(), &run);
        self.store
            .write(
                writing,
                mode,
                &context,
                |tx, (command, retry, settings, run)| {
                    async move {
                        let Some(retry) = retry else {
                            return Ok(Answer::New(run(tx, command, settings).await?));
                        };
                        if let Some(kept) = requests::claim(tx, &retry.request).await? {
                            return Ok(Answer::Kept(kept));
                        }
                        let answer = run(tx, command, settings).await?;
                        requests::keep(tx, &retry.request, (retry.encode)(&answer)).await?;
                        Ok(Answer::New(answer))
                    }
                    .boxed()
                },
            )
            .await
    }
}
