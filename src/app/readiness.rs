//! The readiness of a server: its database responds, has a schema and grants that it can work with,
//! and contains what all servers on it share.

use std::pin::pin;

use tokio::time::{sleep, timeout};

use crate::{
    http::{CHECK_INTERVAL, Health, NotReady},
    service::Service,
    store::{Cause, Probe},
    telemetry::metrics,
};

/// Checks the readiness.
#[derive(Debug)]
pub(super) struct Readiness {
    probe: Probe,
    service: Service,
    is_prepared: bool,
}

impl Readiness {
    pub(super) fn new(probe: Probe, service: Service) -> Self {
        Self {
            probe: probe.answered_within(CHECK_INTERVAL),
            service,
            is_prepared: false,
        }
    }

    /// Runs the first check, so that a server whose database is available is ready when it starts.
    ///
    /// # Errors
    /// If the database can't be used, and waiting would not help.
    pub(super) async fn check_first(&mut self, health: &Health) -> Result<(), Cause> {
        let result = match timeout(CHECK_INTERVAL, self.check()).await {
            Ok(Err(cause)) if cause.is_lasting() => return Err(cause),
            Ok(result) => result.map_err(NotReady::from),
            Err(_) => Err(NotReady::silent()),
        };
        health.checked(result);
        Ok(())
    }

    /// Repeats the check forever.
    pub(super) async fn watch(mut self, health: &Health) {
        loop {
            {
                let mut check = pin!(self.check());
                let result = match timeout(CHECK_INTERVAL, &mut check).await {
                    Ok(result) => result,
                    Err(_) => {
                        health.checked(Err(NotReady::silent()));
                        // Continued after the timeout, as establishing a connection may take
                        // longer.
                        check.await
                    }
                };
                health.checked(result.map_err(NotReady::from));
            }
            sleep(CHECK_INTERVAL).await;
        }
    }

    /// Checks the database, and prepares it the first time.
    async fn check(&mut self) -> Result<(), Cause> {
        let schema = self.probe.schema().await?;
        metrics::pending_migrations(schema.pending().len());
        schema.check()?;
        if !self.is_prepared {
            self.probe.check_rights().await?;
            self.service.prepare().await?;
            self.is_prepared = true;
        }
        Ok(())
    }
}

impl From<Cause> for NotReady {
    fn from(cause: Cause) -> Self {
        Self {
            brief: cause.brief(),
            detail: cause.to_string(),
            is_refusing: cause.is_refusing(),
            may_pass: cause.may_pass(),
        }
    }
}
