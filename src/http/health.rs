//! Whether the server should be sent requests, for probes over HTTP and gRPC alike: told by a
//! check in the background, so that a probe is answered at once whatever the database does. Until
//! the check has succeeded once, requests are refused.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{extract::Request, response::Response};
use tokio::sync::watch;

use super::protocol::Protocol;
use crate::{
    domain::{Error, Reason},
    grpc::{OPEN_SERVICES, Statuses},
    telemetry::metrics,
};

/// How often the database is asked, and how long it may take to answer.
pub const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Why the server should not be sent requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotReady {
    /// In a few words, for all who may call the server: no hosts, no names of roles.
    pub brief: String,
    /// With what helps to do something about it, for the log.
    pub detail: String,
    /// Whether no request may run, though the database answers.
    pub is_refusing: bool,
    /// Whether it may pass by itself: else somebody has to do something first.
    pub may_pass: bool,
}

impl NotReady {
    /// The database was not asked yet.
    fn starting() -> Self {
        Self {
            brief: "starting".into(),
            detail: "starting".into(),
            is_refusing: true,
            may_pass: true,
        }
    }

    /// The check takes longer than it may.
    pub fn silent() -> Self {
        let brief = "the database does not answer".to_owned();
        Self {
            detail: format!("{brief} within {} s", CHECK_INTERVAL.as_secs()),
            brief,
            is_refusing: false,
            may_pass: true,
        }
    }
}

/// How the server is. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Health {
    statuses: Statuses,
    state: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// None where the last check succeeded.
    not_ready: watch::Sender<Option<Arc<NotReady>>>,
    /// Whether any check has succeeded.
    was_ready: AtomicBool,
    is_draining: AtomicBool,
}

impl Health {
    /// That of a server which has yet to be checked.
    pub fn new(statuses: Statuses) -> Self {
        let starting = Arc::new(NotReady::starting());
        let health = Self {
            statuses,
            state: Arc::new(Shared {
                not_ready: watch::Sender::new(Some(starting)),
                was_ready: AtomicBool::new(false),
                is_draining: AtomicBool::new(false),
            }),
        };
        health.tell();
        health
    }

    /// Whether the server is stopping.
    pub(super) fn is_draining(&self) -> bool {
        self.state.is_draining.load(Ordering::Relaxed)
    }

    /// Why the last check failed; none where it succeeded.
    pub(super) fn not_ready(&self) -> Option<Arc<NotReady>> {
        self.state.not_ready.borrow().clone()
    }

    /// Whether the last check succeeded.
    pub fn is_ready(&self) -> bool {
        self.not_ready().is_none()
    }

    /// Waits until a check succeeds, if the last one did not.
    pub async fn ready(&self) {
        let mut not_ready = self.state.not_ready.subscribe();
        // It ends with an error where the sender is gone, which this holds.
        drop(not_ready.wait_for(Option::is_none).await);
    }

    /// What a check found. Logged where it is another thing than before.
    pub fn checked(&self, result: Result<(), NotReady>) {
        let not_ready = result.err();
        let before = self.not_ready();
        if before.as_deref() == not_ready.as_ref() {
            return;
        }
        let was_ready = self.state.was_ready.load(Ordering::Relaxed);
        match &not_ready {
            Some(cause) if was_ready => tracing::error!("not ready: {}", cause.detail),
            Some(cause) => tracing::warn!("not ready yet: {}", cause.detail),
            None => {
                self.state.was_ready.store(true, Ordering::Relaxed);
                tracing::info!("ready");
            }
        }
        self.state.not_ready.send_replace(not_ready.map(Arc::new));
        self.tell();
    }

    /// No more requests should come.
    pub fn drain(&self) {
        self.state.is_draining.store(true, Ordering::Relaxed);
        self.tell();
    }

    /// Ends the streams of those who watch.
    pub fn end(&self) {
        self.statuses.end();
    }

    fn tell(&self) {
        let is_ready = self.is_ready() && !self.is_draining();
        metrics::ready(is_ready);
        self.statuses.set(is_ready);
    }

    /// Why requests are refused without being tried. A database that was lost is no reason: it may
    /// be back before the next check.
    fn refusal(&self) -> Option<Error> {
        let not_ready = self.not_ready()?;
        let was_ready = self.state.was_ready.load(Ordering::Relaxed);
        (not_ready.is_refusing || !was_ready).then(|| {
            let advice = if not_ready.may_pass {
                "; try again"
            } else {
                ""
            };
            let message = format!("the server is not ready: {}{advice}", not_ready.brief);
            Error::new(Reason::DatabaseUnavailable, message)
        })
    }
}

/// Refuses requests that need the database as long as the server has none to serve them from.
pub(super) async fn gate<F: Future<Output = Response>>(
    health: &Health,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let protocol = Protocol::of(&request);
    let needs_database = match &protocol {
        Protocol::Grpc(_) => {
            let service = request
                .uri()
                .path()
                .trim_start_matches('/')
                .split('/')
                .next();
            !service.is_some_and(|service| OPEN_SERVICES.contains(&service))
        }
        Protocol::Rest(_) => true,
        Protocol::Docs | Protocol::Unknown => false,
    };
    match health.refusal() {
        Some(error) if needs_database => protocol.render(&error),
        Some(_) | None => next(request).await,
    }
}
