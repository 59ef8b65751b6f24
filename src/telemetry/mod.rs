//! Logs and metrics, and the one place where failures are told to both.

mod ids;
pub mod metrics;

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

pub use ids::{RequestIds, identified, request_ids};

use crate::{
    config::{LogConfig, LogFormat},
    domain::Error,
};

/// Starts logging to standard error.
///
/// # Errors
/// Where the filter can't be parsed or logging was started before.
pub fn init(config: &LogConfig) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let filter = EnvFilter::try_new(&config.filter)?;
    let json = match config.format {
        LogFormat::Json => true,
        LogFormat::Pretty => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    if json {
        registry
            .with(layer.json().flatten_event(true).with_span_list(false))
            .try_init()?;
    } else {
        let colours = std::io::stderr().is_terminal();
        registry
            .with(layer.with_ansi(colours).with_target(false))
            .try_init()?;
    }
    Ok(())
}

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
