//! The admin port: liveness, readiness, metrics, and the log filter, which can be changed at run
//! time. It serves no API, and needs no credential.

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    response::IntoResponse,
    routing::get,
};
use http::{
    HeaderMap, StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};

use super::health::Health;
use crate::{
    config::LogFilter,
    telemetry::{
        log_filter,
        metrics::{self, Format},
    },
};

/// The longest log filter, in bytes.
const MAX_FILTER: usize = 4_096;

/// The routes `/livez`, `/readyz`, `/metrics` and `/log`.
pub fn router(health: Health) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(all_metrics))
        .route("/log", get(filter).put(set_filter))
        .layer(DefaultBodyLimit::max(MAX_FILTER))
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

async fn filter() -> (StatusCode, String) {
    match log_filter() {
        Some(filter) => (StatusCode::OK, filter.text() + "\n"),
        None => (StatusCode::SERVICE_UNAVAILABLE, NO_LOG.into()),
    }
}

/// Sets the log filter to the request body, and responds with the filter in effect.
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

const NO_LOG: &str = "this process has no configurable log\n";

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
