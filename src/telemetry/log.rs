//! The log: its format, and its filter, which can be changed at run time.

use std::{
    fmt,
    io::{self, IsTerminal as _, Write},
    str::FromStr,
    sync::{Mutex, OnceLock, PoisonError},
    thread,
    time::Duration,
};

use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::logs::{SdkLogger, SdkLoggerProvider};
use tracing::{Event, Subscriber};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    fmt::{MakeWriter, writer::MakeWriterExt as _},
    layer::{Context, SubscriberExt as _},
    registry::LookupSpan,
    reload,
    util::SubscriberInitExt as _,
};

use super::json_lines::JsonLines;

/// What writes the waiting lines when it is dropped; a process has one.
static WAITING: Mutex<Option<WorkerGuard>> = Mutex::new(None);

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

/// The target of the lines about completed requests.
pub const REQUESTS: &str = "endcap::http::observe";
/// The target of the audit log, by which filters include or exclude it.
pub const AUDIT: &str = "audit";

/// How many lines about requests may wait to be written. If there are more, requests wait for the
/// reader of standard error, as code that logs other lines always does.
const MAX_WAITING: usize = 4_096;
/// How long after a write the next lines about requests are collected. A write per line, for which
/// the reader wakes up, would take a fifth of the processor time of a cached response.
const COLLECT: Duration = Duration::from_millis(2);
/// The most bytes of lines that are collected.
const MAX_COLLECTED: usize = 64 << 10;

/// Starts logging to standard error.
///
/// # Errors
/// If the filter can't be parsed, or logging was started before.
pub fn init(config: &LogConfig) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    init_with(config, None, io::stderr)
}

/// Starts logging to standard error, and to a collector if there is one. Lines about requests and
/// what they changed are written by a thread of its own, a moment later and together; all others,
/// among them failures, are written before the code that logs them continues. Call [`end_log`] at
/// the end.
pub(super) fn start(
    config: &LogConfig,
    collector: Option<&SdkLoggerProvider>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (requests, guard) = NonBlockingBuilder::default()
        .lossy(false)
        .buffered_lines_limit(MAX_WAITING)
        .thread_name("request-log")
        .finish(Collected::of(io::stderr()));
    let requests = requests.with_filter(|metadata| [REQUESTS, AUDIT].contains(&metadata.target()));
    init_with(config, collector, requests.or_else(io::stderr))?;
    *WAITING.lock().unwrap_or_else(PoisonError::into_inner) = Some(guard);
    Ok(())
}

/// Writes the lines that wait. Lines about requests that are logged afterwards are lost, so this
/// must be the last thing that the process does.
pub fn end_log() {
    let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
    // Takes about a second at most, if nobody reads standard error.
    drop(waiting.take());
}

/// Lines that are written together.
struct Collected<W> {
    lines: Vec<u8>,
    output: W,
}

impl<W: Write> Collected<W> {
    fn of(output: W) -> Self {
        let lines = Vec::with_capacity(MAX_COLLECTED);
        Self { lines, output }
    }

    fn write_out(&mut self) -> io::Result<()> {
        // In one call, during which standard error is locked, so that no other line comes in
        // between.
        let written = self.output.write_all(&self.lines);
        self.lines.clear();
        written
    }
}

impl<W: Write> Write for Collected<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lines.len() + line.len() > MAX_COLLECTED {
            self.write_out()?;
        }
        self.lines.extend_from_slice(line);
        Ok(line.len())
    }

    /// Called when no more lines wait.
    fn flush(&mut self) -> io::Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let written = self.write_out();
        thread::sleep(COLLECT);
        written
    }
}

fn init_with(
    config: &LogConfig,
    collector: Option<&SdkLoggerProvider>,
    output: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (filter, handle) = reload::Layer::new(EnvFilter::try_new(&config.filter)?);
    let json = match config.format {
        LogFormat::Json => true,
        LogFormat::Pretty => false,
        LogFormat::Auto => !io::stderr().is_terminal(),
    };
    let sent = collector.map(|provider| SentLayer(OpenTelemetryTracingBridge::new(provider)));
    let registry = tracing_subscriber::registry().with(filter).with(sent);
    let layer = tracing_subscriber::fmt::layer().with_writer(output);
    if json {
        let layer = layer.event_format(JsonLines).fmt_fields(JsonLines);
        registry.with(layer).try_init()?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_collected_until_no_more_wait_or_they_are_many() {
        let mut collected = Collected::of(Vec::new());
        let lines = [b"a", b"b", b"c"].map(|line| line.repeat(MAX_COLLECTED / 2));
        for (line, written) in lines.iter().zip([0, 0, 2]) {
            collected.write_all(line).unwrap();
            assert_eq!(collected.output.len(), written * MAX_COLLECTED / 2);
        }
        collected.flush().unwrap();
        assert_eq!(collected.output, lines.concat());
        collected.flush().unwrap();
        assert_eq!(collected.output.len(), 3 * (MAX_COLLECTED / 2));
    }
}
