//! Safe retries: the first answer to a request is kept in the transaction that did
//! its work, and answers the request when it comes again.

use std::{fmt, sync::Arc};

use crate::{
    domain::Result,
    store::{
        Tx,
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

/// The kept answer where there is one; else what follows is the request's first.
pub(super) async fn kept<T>(tx: &Tx, retry: Option<&Retry<T>>) -> Result<Option<Answer<T>>> {
    let Some(retry) = retry else { return Ok(None) };
    let kept = requests::claim(tx, &retry.request).await?;
    Ok(kept.map(Answer::Kept))
}

/// The answer, after it was kept where it is to be.
pub(super) async fn keep<T>(tx: &Tx, retry: Option<&Retry<T>>, answer: T) -> Result<Answer<T>> {
    if let Some(retry) = retry {
        requests::keep(tx, &retry.request, (retry.encode)(&answer)).await?;
    }
    Ok(Answer::New(answer))
}
