//! The deadline and the panic handler of a request: whatever a handler does, the client gets a
//! response in its own protocol and in time.

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use axum::{extract::Request, response::Response};
use futures::FutureExt as _;
use http::HeaderMap;
use tokio::time::timeout_at;

use super::protocol::Protocol;
use crate::domain::{Deadline, Error, Reason};

/// The settings of the guard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guard {
    /// The server's limit on the time that a request takes.
    pub(super) request_timeout: Duration,
}

/// Runs the request with a deadline: the client's `grpc-timeout`, or the server's limit if that is
/// shorter. A panic becomes an internal error.
pub(super) async fn guard<F: Future<Output = Response>>(
    guard: Guard,
    mut request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let protocol = Protocol::of(&request);
    let asked = if protocol.is_grpc() {
        grpc_timeout(request.headers())
    } else {
        None
    };
    let timeout = asked.map_or(guard.request_timeout, |t| t.min(guard.request_timeout));
    let deadline = Instant::now() + timeout;
    request.extensions_mut().insert(Deadline(deadline));
    let run = AssertUnwindSafe(next(request)).catch_unwind();
    match timeout_at(deadline.into(), run).await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => protocol.render(&Error::internal(format!(
            "a handler panicked: {}",
            told(panic.as_ref())
        ))),
        Err(_) => {
            let mut late = Error::new(
                Reason::DeadlineExceeded,
                format!("the request took longer than {} ms", timeout.as_millis()),
            );
            if timeout == guard.request_timeout {
                late = late.limited_by("request_timeout");
            }
            protocol.render(&late)
        }
    }
}

fn told(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

/// The value of `grpc-timeout`: up to eight digits and a unit. A malformed one is ignored.
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let unit = text.chars().last()?;
    let digits = text.strip_suffix(unit)?;
    if digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    Some(match unit {
        'H' => Duration::from_secs(value * 3_600),
        'M' => Duration::from_secs(value * 60),
        'S' => Duration::from_secs(value),
        'm' => Duration::from_millis(value),
        'u' => Duration::from_micros(value),
        'n' => Duration::from_nanos(value),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{app::DIALECTS, http::protocol::recognize};
    use axum::{
        Router,
        middleware::{Next, from_fn},
        routing::get,
    };
    use tower::ServiceExt as _;

    #[test]
    fn grpc_timeouts_are_parsed() {
        let read = |text: &str| {
            let headers =
                HeaderMap::from_iter([("grpc-timeout".parse().unwrap(), text.parse().unwrap())]);
            grpc_timeout(&headers)
        };
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("2S"), Some(Duration::from_secs(2)));
        assert_eq!(
            read("99999999H"),
            Some(Duration::from_secs(99_999_999 * 3_600))
        );
        for odd in ["", "S", "-1S", "1", "1s", "123456789S"] {
            assert_eq!(read(odd), None, "{odd}");
        }
    }

    fn app(path: &str) -> Router {
        let guard = Guard {
            request_timeout: Duration::from_millis(50),
        };
        let boom = || async {
            if true {
                panic!("secret detail");
            }
        };
        let stuck = || std::future::pending::<()>();
        Router::new()
            .route(&format!("{path}/boom"), get(boom).post(boom))
            .route(&format!("{path}/stuck"), get(stuck).post(stuck))
            .layer(from_fn(move |request, next: Next| {
                super::guard(guard, recognize(DIALECTS, request), |request| {
                    next.run(request)
                })
            }))
    }

    async fn ask(path: &str, kind: Option<&str>) -> (u16, HeaderMap, String) {
        let mut request = Request::builder().uri(path);
        if let Some(kind) = kind {
            request = request.method("POST").header("content-type", kind);
        }
        let folder = path.rsplit_once('/').unwrap().0;
        let request = request.body(axum::body::Body::empty()).unwrap();
        let response = app(folder).oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 10_000).await.unwrap();
        (
            parts.status.as_u16(),
            parts.headers,
            String::from_utf8(body.to_vec()).unwrap(),
        )
    }

    #[tokio::test]
    async fn panics_and_exceeded_deadlines_are_reported_in_the_protocol_s_format() {
        let grpc = Some("application/grpc");
        let (status, headers, _) = ask("/endcap.v1.X/boom", grpc).await;
        assert_eq!(
            (status, headers["grpc-status"].to_str().unwrap()),
            (200, "13")
        );
        assert!(!format!("{headers:?}").contains("secret"));
        let (_, headers, _) = ask("/endcap.v1.X/stuck", grpc).await;
        assert_eq!(headers["grpc-status"], "4");

        for folder in ["/products/collections", "/ccadmin/v1/collections", "/other"] {
            let (status, _, body) = ask(&format!("{folder}/boom"), None).await;
            assert_eq!(status, 500, "{folder}");
            assert!(!body.contains("secret"), "{body}");
            assert!(body.starts_with('{'), "{body}");
        }
        let (status, _, _) = ask("/products/collections/stuck", None).await;
        assert_eq!(status, 504);
    }
}
