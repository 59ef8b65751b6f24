//! Requests that may come again.

use super::ids::RequestId;

/// A request that its client may send again under its idempotency key.
#[derive(Clone, Debug)]
pub struct Retryable {
    /// The operation; the same key may be that of another request of another operation, or
    /// of another caller.
    pub method: &'static str,
    /// The idempotency key.
    pub id: RequestId,
    /// The digest of what the request says, to tell a retry from another request.
    pub fingerprint: String,
}
