//! Requests that clients may retry, identified by an idempotency key. The store keeps the first
//! response for the retries.

use super::ids::RequestId;

/// A request with an idempotency key.
#[derive(Clone, Debug)]
pub struct Retryable {
    /// The operation. The same key may be used for another operation, or by another caller.
    pub method: &'static str,
    /// The idempotency key.
    pub id: RequestId,
    /// A digest of the request, which distinguishes a retry from another request with the same key.
    pub fingerprint: String,
}
