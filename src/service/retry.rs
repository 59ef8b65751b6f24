//! How to recognise and answer a retried request.

use std::{fmt, sync::Arc};

use crate::domain::Retryable;

/// Encodes a result as a response, or returns `None` if it is far too large to store. The closure
/// may hold context of the protocol.
pub type Encode<T> = Arc<dyn Fn(&T) -> Option<Vec<u8>> + Send + Sync>;
/// Encodes a summary of a result.
pub type Summarize<T> = Arc<dyn Fn(&T) -> Vec<u8> + Send + Sync>;

/// A request that the client may retry.
#[derive(Clone)]
pub struct Retry<T> {
    /// The idempotency key and the identity of the request.
    pub request: Retryable,
    /// Encodes the response, which is stored.
    pub encode: Encode<T>,
    /// Encodes what is stored of a response that is too large: enough to answer a retry together
    /// with the then current data.
    pub summarize: Summarize<T>,
}

impl<T> fmt::Debug for Retry<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}
