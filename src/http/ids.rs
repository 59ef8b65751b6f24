//! The outermost layer but for the one that makes request ids: a request is known by its
//! ids to everything inside.

use std::sync::Arc;

use axum::{extract::Request, middleware::Next, response::Response};
use http::{HeaderMap, HeaderName};

use crate::{
    domain::digest::{is_hex, random},
    telemetry::{RequestIds, identified},
};

/// The header of a request's id.
pub(super) static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id of a request, in characters.
const MAX: usize = 128;

/// Takes away an id that is no good: responses have it too, and some clients take 8 KiB of
/// headers. Another is made.
pub(super) async fn accept(mut request: Request) -> Request {
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

/// Tells everything inside the request's ids.
pub(super) async fn tell(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let id = headers.get(&REQUEST_ID).and_then(|id| id.to_str().ok());
    let ids = RequestIds {
        request: id.unwrap_or_default().into(),
        trace: trace(headers).unwrap_or_else(|| random::<16>().into()),
    };
    identified(ids, next.run(request)).await
}

/// The trace of a W3C `traceparent`: `00-<trace>-<span>-<flags>`.
fn trace(headers: &HeaderMap) -> Option<Arc<str>> {
    let mut parts = headers.get("traceparent")?.to_str().ok()?.split('-');
    let (version, trace) = (parts.next()?, parts.next()?);
    let well_formed = is_hex(version, 1) && version != "ff" && is_hex(trace, 16);
    let none = trace.bytes().all(|digit| digit == b'0');
    (well_formed && !none).then(|| trace.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_read_as_w3c_writes_it() {
        let read = |text: &str| {
            let headers =
                HeaderMap::from_iter([("traceparent".parse().unwrap(), text.parse().unwrap())]);
            trace(&headers).map(|trace| trace.to_string())
        };
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let parent = format!("00-{trace}-b7ad6b7169203331-01");
        assert_eq!(read(&parent).as_deref(), Some(trace));
        for odd in [
            "",
            "00",
            &parent.to_uppercase(),
            &parent.replacen("00", "ff", 1),
            &parent.replace(trace, &"0".repeat(32)),
            &parent[1..],
        ] {
            assert_eq!(read(odd), None, "{odd}");
        }
    }
}
