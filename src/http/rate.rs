//! How often a caller may ask: the layer inside authentication, which knows who it is.

use std::sync::Arc;

use axum::{extract::Request, response::Response};

use super::protocol::Protocol;
use crate::{domain::Caller, rate::RateLimiter};

/// Runs the request where its caller has an allowance left, which the clients of some
/// dialects read in the response. What is open to all has no caller, and no limit.
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
            // The tenant's rate, where that refused, is told already.
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
