//! Load shedding: requests above the limit on requests in flight are refused at once, before any
//! work is done for them.

use tokio::sync::{Semaphore, SemaphorePermit};

use super::protocol::Protocol;
use crate::domain::{Error, Reason, Result};

/// The path of gRPC health checks, which are never shed: overload is no reason for a restart.
const HEALTH: &str = "/grpc.health.v1.Health/";

/// Takes the slot of a request, if one is free. It is held until the response's head, so that clients
/// that read slowly can't occupy it.
///
/// # Errors
/// [`Reason::Overloaded`] if none is free.
pub(super) fn admit<'a>(
    free: &'a Semaphore,
    protocol: &Protocol,
    path: &str,
) -> Result<Option<SemaphorePermit<'a>>> {
    if protocol.is_grpc() && path.starts_with(HEALTH) {
        return Ok(None);
    }
    let full = |_| {
        let message = "too many requests in flight; retry later";
        Error::new(Reason::Overloaded, message).limited_by("max_requests_in_flight")
    };
    free.try_acquire().map(Some).map_err(full)
}
