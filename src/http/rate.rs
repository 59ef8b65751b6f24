//! The rate limit per caller. It is inside authentication, which determines the caller.

use std::sync::Arc;

use axum::{extract::Request, response::Response};

use super::protocol::Protocol;
use crate::{domain::Caller, rate::RateLimiter};

/// Runs the request if its caller is within its rate. Some dialects report the remaining allowance
/// in response headers. Requests to open paths have no caller, and no limit.
pub(super) async fn limit<F: Future<Output = Response>>(
    callers: Option<&RateLimiter>,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let subject = request.extensions().get::<Caller>();
    let subject = subject.map(|caller| Arc::clone(&caller.identity.subject));
    let (Some(callers), Some(subject)) = (callers, subject) else {
        return next(request).await;
    };
    let protocol = Protocol::of(&request);
    match callers.take(&subject) {
        Ok(remaining) => {
            let mut response = next(request).await;
            // If the tenant's rate refused the request, the headers report that rate already.
            if let Protocol::Rest(dialect) = protocol
                && let Some(add) = dialect.rate_headers
                && response.status() != http::StatusCode::TOO_MANY_REQUESTS
            {
                add(response.headers_mut(), callers.rate(), remaining);
            }
            response
        }
        Err(error) => protocol.render(&error),
    }
}
