//! The admin port: is the process alive, should it be sent requests, and how is it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{Router, extract::State, response::IntoResponse, routing::get};
use http::{StatusCode, header::CONTENT_TYPE};

use crate::{service::Service, telemetry::metrics};

/// Whether requests should come.
#[derive(Clone, Debug)]
pub struct Readiness {
    service: Service,
    draining: Arc<AtomicBool>,
}

impl Readiness {
    /// Ready while the database answers.
    pub fn new(service: Service) -> Self {
        Self {
            service,
            draining: Arc::default(),
        }
    }

    /// No more requests should come.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}

/// `/livez`, `/readyz` and `/metrics`.
pub fn router(readiness: Readiness) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(told))
        .with_state(readiness)
}

async fn told() -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, kind)], metrics::text())
}

async fn readyz(State(readiness): State<Readiness>) -> (StatusCode, &'static str) {
    if readiness.draining.load(Ordering::Relaxed) {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    match readiness.service.ping().await {
        Ok(()) => (StatusCode::OK, "ok\n"),
        Err(error) => {
            crate::telemetry::log_failure(&error);
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "the database does not answer\n",
            )
        }
    }
}
