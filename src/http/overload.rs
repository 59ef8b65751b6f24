//! Load shedding: requests above the limit on requests in flight are refused at once, before any
//! work is done for them.

use axum::{extract::Request, response::Response};
use tokio::sync::Semaphore;

use super::protocol::Protocol;
use crate::{
    domain::{Error, Reason},
    telemetry::metrics,
};

/// The path of gRPC health checks, which are never shed: overload is no reason for a restart.
const HEALTH: &str = "/grpc.health.v1.Health/";

/// Runs the request if a slot is free. The slot is held until the response's head, so that clients
/// that read slowly can't occupy it.
pub(super) async fn shed<F: Future<Output = Response>>(
    free: &Semaphore,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let _guard = metrics::GaugeGuard::request();
    let protocol = Protocol::of(&request);
    if protocol.is_grpc() && request.uri().path().starts_with(HEALTH) {
        return next(request).await;
    }
    let Ok(_room) = free.try_acquire() else {
        let full = Error::new(
            Reason::Overloaded,
            "too many requests in flight; retry later",
        )
        .limited_by("max_requests_in_flight");
        return protocol.render(&full);
    };
    next(request).await
}
