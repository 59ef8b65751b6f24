//! The ids of requests, as clients send them.

use axum::extract::Request;
use http::HeaderName;

/// The header of a request's id.
pub(super) static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id of a request, in characters.
const MAX: usize = 128;

/// Takes away an id that is no good: responses have it too, and some clients take 8 KiB of
/// headers. Another is made.
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
