//! The ids of requests (`X-Request-Id`): correlation ids for logs and traces, not idempotency keys.

use axum::extract::Request;
use http::{HeaderName, HeaderValue};
use uuid::Uuid;

/// The header with the id of a request, and of its response.
pub(super) static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest accepted id, in characters.
const MAX: usize = 128;

/// Gives a request an id, unless the client sent a valid one, and returns it. It is sent back in the
/// response, and some clients accept only 8 KiB of headers.
pub(super) fn ensure(request: &mut Request) -> Option<HeaderValue> {
    let headers = request.headers_mut();
    let sent = headers.get(&REQUEST_ID).filter(|id| {
        let id = id.as_bytes();
        (1..=MAX).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
    });
    let id = match sent {
        Some(id) => id.clone(),
        // Cannot fail: it has digits, letters and hyphens.
        None => HeaderValue::try_from(Uuid::new_v4().to_string()).ok()?,
    };
    headers.insert(REQUEST_ID.clone(), id.clone());
    Some(id)
}
