//! Whether the server should be sent requests, for probes over HTTP and gRPC alike: told by a
//! check in the background, so that a probe is answered at once whatever the database does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::{sleep, timeout};
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{domain::Result, grpc::SERVICE_NAMES, telemetry::metrics};

/// How often the database is asked, and how long it may take to answer.
const EVERY: Duration = Duration::from_secs(1);
/// What stays SERVING as long as the process lives, for probes that restart it.
const LIVENESS: &str = "liveness";

/// How the server is. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Health {
    reporter: HealthReporter,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    answers: AtomicBool,
    is_draining: AtomicBool,
}

impl Health {
    /// The database has just answered.
    pub async fn new(reporter: HealthReporter) -> Self {
        reporter
            .set_service_status(LIVENESS, ServingStatus::Serving)
            .await;
        let state = State {
            answers: AtomicBool::new(true),
            is_draining: AtomicBool::new(false),
        };
        Self {
            reporter,
            state: Arc::new(state),
        }
    }

    /// Whether the server is stopping.
    pub(super) fn is_draining(&self) -> bool {
        self.state.is_draining.load(Ordering::Relaxed)
    }

    /// Whether the database answered when it was asked last.
    pub(super) fn answers(&self) -> bool {
        self.state.answers.load(Ordering::Relaxed)
    }

    /// Asks the database again and again, for ever.
    pub async fn watch<F>(&self, ask: impl Fn() -> F)
    where
        F: Future<Output = Result<()>>,
    {
        loop {
            sleep(EVERY).await;
            let error = match timeout(EVERY, ask()).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(crate::telemetry::causes(&error)),
                Err(_) => Some(format!("no answer within {} s", EVERY.as_secs())),
            };
            let was = self.state.answers.swap(error.is_none(), Ordering::Relaxed);
            match error {
                Some(causes) if was => tracing::error!(causes, "the database does not answer"),
                None if !was => tracing::info!("the database answers again"),
                _ => continue,
            }
            self.tell().await;
        }
    }

    /// No more requests should come.
    pub async fn drain(&self) {
        self.state.is_draining.store(true, Ordering::Relaxed);
        self.tell().await;
    }

    /// Ends the streams of those who watch.
    pub async fn end(&mut self) {
        for name in SERVICE_NAMES.into_iter().chain(["", LIVENESS]) {
            self.reporter.clear_service_status(name).await;
        }
    }

    async fn tell(&self) {
        let is_ready = self.answers() && !self.is_draining();
        metrics::ready(is_ready);
        let status = if is_ready {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        for name in SERVICE_NAMES.into_iter().chain([""]) {
            self.reporter.set_service_status(name, status).await;
        }
    }
}
