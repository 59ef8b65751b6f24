//! Logs and metrics, and the one place where failures are told to both.

mod ids;
mod log;
pub mod metrics;

pub use ids::{RequestIds, identified, request_ids};
pub use log::{LogConfig, LogFilterHandle, LogFormat, init, log_filter};

use crate::domain::Error;

/// Tells of a failure, once, where it leaves for the caller: counts the limits that it is
/// about, and logs it where it is ours, with its chain of causes, which the caller does
/// not see.
pub fn log_failure(error: &Error) {
    metrics::count(error);
    if !error.is_ours() {
        return;
    }
    let causes = causes(error);
    tracing::error!(reason = ?error.reason, causes, "{}", error.message);
}

/// What led to the error, the nearest first.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    causes.join(": ")
}
