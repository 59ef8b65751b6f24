//! The log: its format, and its filter, which can be changed at run time.

use std::{
    fmt,
    io::{self, IsTerminal as _},
    str::FromStr,
    sync::{Mutex, OnceLock, PoisonError},
};

use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::logs::{SdkLogger, SdkLoggerProvider};
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    layer::{Context, SubscriberExt as _},
    registry::LookupSpan,
    reload,
    util::SubscriberInitExt as _,
};

/// The filter of the log, of which a process has one.
static FILTER: OnceLock<LogFilterHandle> = OnceLock::new();

/// Access to the filter of the log, to show and change it.
#[derive(Debug)]
pub struct LogFilterHandle {
    layer: reload::Handle<EnvFilter, Registry>,
    text: Mutex<String>,
}

/// The settings of the log.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// The filter: a level, or directives of `tracing`.
    pub filter: String,
    /// The format.
    pub format: LogFormat,
}

/// The format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Pretty if standard error is a terminal, JSON otherwise.
    Auto,
    /// For people.
    Pretty,
    /// For programs: one JSON object per line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "pretty" => Ok(Self::Pretty),
            "json" => Ok(Self::Json),
            _ => Err("must be auto, pretty or json".into()),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Pretty => "pretty",
            Self::Json => "json",
        })
    }
}

/// Starts logging to standard error.
///
/// # Errors
/// If the filter can't be parsed, or logging was started before.
pub fn init(config: &LogConfig) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    init_with(config, None)
}

/// Starts logging to standard error, and to a collector if there is one.
pub(super) fn init_with(
    config: &LogConfig,
    collector: Option<&SdkLoggerProvider>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (filter, handle) = reload::Layer::new(EnvFilter::try_new(&config.filter)?);
    let json = match config.format {
        LogFormat::Json => true,
        LogFormat::Pretty => false,
        LogFormat::Auto => !io::stderr().is_terminal(),
    };
    let sent = collector.map(|provider| SentLayer(OpenTelemetryTracingBridge::new(provider)));
    let registry = tracing_subscriber::registry().with(filter).with(sent);
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    if json {
        registry
            .with(layer.json().flatten_event(true).with_span_list(false))
            .try_init()?;
    } else {
        let colours = io::stderr().is_terminal();
        registry
            .with(layer.with_ansi(colours).with_target(false))
            .try_init()?;
    }
    FILTER.get_or_init(|| LogFilterHandle {
        layer: handle,
        text: Mutex::new(config.filter.clone()),
    });
    Ok(())
}

/// The layer that exports log events, except those of the exporters themselves, which would cause
/// more exports. A per-layer filter of `tracing` would slow down every span and event of all
/// layers.
struct SentLayer(OpenTelemetryTracingBridge<SdkLoggerProvider, SdkLogger>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for SentLayer {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        const OF_EXPORTERS: [&str; 6] =
            ["opentelemetry", "h2", "hyper", "reqwest", "tonic", "tower"];
        let target = event.metadata().target();
        if !OF_EXPORTERS.iter().any(|prefix| target.starts_with(prefix)) {
            self.0.on_event(event, context);
        }
    }
}

/// The filter of the log; `None` if logging was not started.
pub fn log_filter() -> Option<&'static LogFilterHandle> {
    FILTER.get()
}

impl LogFilterHandle {
    /// The directives of the filter.
    pub fn text(&self) -> String {
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        text.clone()
    }

    /// Replaces the filter.
    ///
    /// # Errors
    /// If it can't be parsed.
    pub fn set(&self, filter: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let parsed = EnvFilter::try_new(filter)?;
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        // The line about the change must be logged, even if neither the old nor the new filter
        // allows it.
        let told = format!("{filter},{}=info", module_path!());
        self.layer.reload(EnvFilter::try_new(told)?)?;
        tracing::info!(from = %text, to = filter, "log filter changed");
        self.layer.reload(parsed)?;
        filter.clone_into(&mut text);
        Ok(())
    }
}
