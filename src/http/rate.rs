//! The rate limit per caller. It is inside authentication, which determines the caller.

use axum::{extract::Request, response::Response};
use http::StatusCode;

use super::protocol::Protocol;
use crate::{
    domain::{Caller, Rate, Result},
    rate::RateLimiter,
};

/// Counts a request against the rate of its caller. Returns the rate, and how many more requests it
/// allows now. Requests to open paths have no caller, and no limit.
///
/// # Errors
/// If the caller exceeds its rate.
pub(super) fn take(
    callers: Option<&RateLimiter>,
    request: &Request,
) -> Result<Option<(Rate, u32)>> {
    let caller = request.extensions().get::<Caller>();
    let (Some(callers), Some(caller)) = (callers, caller) else {
        return Ok(None);
    };
    let remaining = callers.take(&caller.identity.subject)?;
    Ok(Some((callers.rate(), remaining)))
}

/// Adds what [`take`] returned to the headers of the response, in the dialects that have such headers.
pub(super) fn report(protocol: &Protocol, (rate, remaining): (Rate, u32), response: &mut Response) {
    // If the tenant's rate refused the request, the headers report that rate already.
    if let Protocol::Rest(dialect) = protocol
        && let Some(add) = dialect.rate_headers
        && response.status() != StatusCode::TOO_MANY_REQUESTS
    {
        add(response.headers_mut(), rate, remaining);
    }
}
