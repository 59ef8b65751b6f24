//! The admin port: is the process alive, should it be sent requests, and how is it.

use axum::{Router, extract::State, response::IntoResponse, routing::get};
use http::{StatusCode, header::CONTENT_TYPE};

use super::health::Health;
use crate::telemetry::metrics;

/// `/livez`, `/readyz` and `/metrics`.
pub fn router(health: Health) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(told))
        .with_state(health)
}

async fn told() -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, kind)], metrics::text())
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
