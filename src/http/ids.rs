//! The ids of requests (`X-Request-Id`): correlation ids for logs and traces, not idempotency keys.

use axum::extract::Request;
use http::HeaderName;

/// The header with the id of a request, and of its response.
pub(super) static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest accepted id, in characters.
const MAX: usize = 128;

/// Removes an invalid or overlong id, so that a new one is generated. The id is sent back in the
/// response, and some clients accept only 8 KiB of headers.
pub(super) fn accept(mut request: Request) -> Request {
    let headers = request.headers_mut();
    let is_good = headers.get(&REQUEST_ID).is_some_and(|id| {
        let id = id.as_bytes();
        (1..=MAX).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
    });
    if !is_good {
        headers.remove(&REQUEST_ID);
    }
    request
}
