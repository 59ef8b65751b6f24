//! The admin port: is the process alive, should it be sent requests, how is it, and what does it
//! log.

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    response::IntoResponse,
    routing::get,
};
use http::{StatusCode, header::CONTENT_TYPE};

use super::health::Health;
use crate::{
    config::LogFilter,
    telemetry::{log_filter, metrics},
};

/// Bytes of a log filter.
const MAX_FILTER: usize = 4_096;

/// `/livez`, `/readyz`, `/metrics` and `/log`.
pub fn router(health: Health) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(told))
        .route("/log", get(filter).put(set_filter))
        .layer(DefaultBodyLimit::max(MAX_FILTER))
        .with_state(health)
}

async fn told() -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, kind)], metrics::text())
}

async fn filter() -> (StatusCode, String) {
    match log_filter() {
        Some(filter) => (StatusCode::OK, filter.text() + "\n"),
        None => (StatusCode::SERVICE_UNAVAILABLE, NO_LOG.into()),
    }
}

/// Sets the filter to the body, and answers it.
async fn set_filter(body: String) -> (StatusCode, String) {
    let text = body.trim();
    let set = match (text.parse::<LogFilter>(), log_filter()) {
        (Err(why), _) => Err((StatusCode::BAD_REQUEST, format!("{text:?} {why}\n"))),
        (Ok(_), None) => Err((StatusCode::SERVICE_UNAVAILABLE, NO_LOG.into())),
        (Ok(parsed), Some(filter)) => filter
            .set(&parsed.to_string())
            .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"))),
    };
    match set {
        Ok(()) => filter().await,
        Err(refused) => refused,
    }
}

const NO_LOG: &str = "this process has no log of its own\n";

async fn readyz(State(health): State<Health>) -> (StatusCode, &'static str) {
    if health.is_draining() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
    } else if health.answers() {
        (StatusCode::OK, "ok\n")
    } else {
        let why = "the database does not answer\n";
        (StatusCode::SERVICE_UNAVAILABLE, why)
    }
}
