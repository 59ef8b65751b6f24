//! The admin port: is the process alive, should it be sent requests, and how is it.

use axum::{Router, extract::State, response::IntoResponse, routing::get};
use http::{
    HeaderMap, StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};

use super::health::Health;
use crate::telemetry::metrics::{self, Format};

/// `/livez`, `/readyz` and `/metrics`.
pub fn router(health: Health) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(all_metrics))
        .with_state(health)
}

async fn all_metrics(headers: HeaderMap) -> impl IntoResponse {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::accepted(accept.unwrap_or_default());
    (
        [(CONTENT_TYPE, format.content_type())],
        metrics::text(format),
    )
}

async fn readyz(State(health): State<Health>) -> (StatusCode, String) {
    if health.is_draining() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".into())
    } else if let Some(cause) = health.not_ready() {
        let body = format!("not ready: {}\n", cause.brief);
        (StatusCode::SERVICE_UNAVAILABLE, body)
    } else {
        (StatusCode::OK, "ok\n".into())
    }
}
