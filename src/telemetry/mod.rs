//! Telemetry: logs, metrics and traces. [`log_failure`] reports a failed request to all of them.

mod json_lines;
mod log;
pub mod metrics;
mod otlp;
pub mod request;
mod settings;
pub mod trace;

pub use log::{AUDIT, LogConfig, LogFilterHandle, LogFormat, REQUESTS, end_log, init, log_filter};
pub use otlp::{Otlp, OtlpError};
pub use settings::{
    OtlpConfig, OtlpHeaders, OtlpProtocol, Ratio, ResourceAttributes, TracesSampler,
};

use crate::domain::Error;

/// The settings of telemetry.
#[derive(Clone, Debug)]
pub struct TelemetryConfig {
    /// The settings of the log.
    pub log: LogConfig,
    /// The settings of the export to a collector.
    pub otlp: OtlpConfig,
    /// Whether the tenant is an attribute of the requests' metrics.
    pub tenant_label: bool,
}

/// Starts logging, and exporting over OTLP if that is enabled.
///
/// # Errors
/// If a setting is invalid, or logging was started before.
pub fn start(config: &TelemetryConfig) -> Result<Otlp, Box<dyn std::error::Error + Send + Sync>> {
    let otlp = Otlp::start(&config.otlp, config.tenant_label)?;
    log::start(&config.log, otlp.logs.as_ref())?;
    Ok(otlp)
}

/// Reports a failure, once, where it is converted to a response: counts the limits that it is
/// about, and logs an internal error with its chain of causes, which the client does not see.
pub fn log_failure(error: &Error) {
    metrics::count(error);
    if !error.is_ours() {
        return;
    }
    let causes = causes(error);
    tracing::error!(reason = ?error.reason, causes, "{}", error.message);
}

/// The causes of an error, from the nearest. A cause that the previous one already ends with is
/// left out.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut causes: Vec<String> = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if causes.last().is_none_or(|last| !last.ends_with(&text)) {
            causes.push(text);
        }
        cause = error.source();
    }
    causes.join(": ")
}

#[cfg(test)]
mod tests {
    use crate::domain::Error;

    /// An error whose text includes that of its cause, like the errors of database drivers.
    #[derive(Debug, thiserror::Error)]
    #[error("{0}{1}")]
    struct Wrapped(
        &'static str,
        #[source] Box<dyn std::error::Error + Send + Sync>,
    );

    #[test]
    fn a_repeated_cause_is_reported_once() {
        let refused: Box<dyn std::error::Error + Send + Sync> = "refused".into();
        let driver = Wrapped("connecting: ", refused);
        let error = Error::internal(Wrapped("Query Error: ", Box::new(driver)));
        assert_eq!(super::causes(&error), "Query Error: connecting: refused");
        let full = Error::internal("the disk is full");
        let error = Error::unauthenticated().caused_by(full);
        assert_eq!(super::causes(&error), "internal error: the disk is full");
        assert_eq!(super::causes(&Error::unauthenticated()), "");
    }
}
