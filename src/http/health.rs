//! Readiness, for probes over HTTP and gRPC alike. A background task checks the database, so that a
//! probe gets its response at once, whatever state the database is in. Requests are refused until
//! the first check has succeeded.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

use super::protocol::Protocol;
use crate::{
    domain::{self, Error, Reason},
    grpc::{OPEN_SERVICES, Statuses},
    telemetry::metrics,
};

/// The interval of the readiness checks, and the timeout of each.
pub const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Why the server is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotReady {
    /// The reason in a few words, for clients: no host names, no role names.
    pub brief: String,
    /// The reason with what an operator needs to fix it, for the log.
    pub detail: String,
    /// Whether all requests must be refused, although the database responds.
    pub is_refusing: bool,
    /// Whether it may pass without anybody's intervention.
    pub may_pass: bool,
}

impl NotReady {
    /// The database has not been checked yet.
    fn starting() -> Self {
        Self {
            brief: "starting".into(),
            detail: "starting".into(),
            is_refusing: true,
            may_pass: true,
        }
    }

    /// The check timed out.
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

/// The readiness of the server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Health {
    statuses: Statuses,
    state: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Why the last check failed; `None` if it succeeded.
    not_ready: watch::Sender<Option<Arc<NotReady>>>,
    /// Whether any check has succeeded so far.
    was_ready: AtomicBool,
    is_draining: AtomicBool,
}

impl Health {
    /// The readiness of a server that has not been checked yet.
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

    /// Whether the server is draining.
    pub(super) fn is_draining(&self) -> bool {
        self.state.is_draining.load(Ordering::Relaxed)
    }

    /// Why the last check failed; `None` if it succeeded.
    pub(super) fn not_ready(&self) -> Option<Arc<NotReady>> {
        self.state.not_ready.borrow().clone()
    }

    /// Whether the last check succeeded.
    pub fn is_ready(&self) -> bool {
        self.not_ready().is_none()
    }

    /// Waits until the last check is one that succeeded.
    pub async fn ready(&self) {
        let mut not_ready = self.state.not_ready.subscribe();
        // An error would mean that the sender was dropped, but `self` holds it.
        drop(not_ready.wait_for(Option::is_none).await);
    }

    /// Stores the result of a check, and logs it if it differs from the previous one.
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

    /// Reports the server as not ready from now on, so that no more requests are sent to it.
    pub fn drain(&self) {
        self.state.is_draining.store(true, Ordering::Relaxed);
        self.tell();
    }

    /// Ends the health checking streams (`Watch`).
    pub fn end(&self) {
        self.statuses.end();
    }

    fn tell(&self) {
        let is_ready = self.is_ready() && !self.is_draining();
        metrics::ready(is_ready);
        self.statuses.set(is_ready);
    }

    /// The error for requests that are refused without being tried. Losing the database is not a
    /// reason by itself, as it may be back before the next check.
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

    /// Checks that a request can be served.
    ///
    /// # Errors
    /// [`Reason::DatabaseUnavailable`] if it needs the database while no database can serve it.
    pub(super) fn check(&self, protocol: &Protocol, path: &str) -> domain::Result<()> {
        let Some(refusal) = self.refusal() else {
            return Ok(());
        };
        let needs_database = match protocol {
            Protocol::Grpc(_) => {
                let service = path.trim_start_matches('/').split('/').next();
                !service.is_some_and(|service| OPEN_SERVICES.contains(&service))
            }
            Protocol::Rest(_) => true,
            Protocol::Docs | Protocol::Unknown => false,
        };
        if needs_database { Err(refusal) } else { Ok(()) }
    }
}
