//! The export of traces, metrics and logs to a collector over OTLP. It never delays requests:
//! queues are bounded, and whatever does not fit is dropped.

use std::{
    thread,
    time::{Duration, Instant},
};

use opentelemetry::KeyValue;
use opentelemetry_otlp::{
    ExporterBuildError, LogExporter, MetricExporter, SpanExporter, WithExportConfig as _,
    WithHttpConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::{
    Resource,
    logs::SdkLoggerProvider,
    metrics::{MeterProviderBuilder, SdkMeterProvider},
    trace::SdkTracerProvider,
};
use tokio::{runtime::Runtime, sync::oneshot};
use tonic::metadata::MetadataMap;

use super::{
    metrics,
    settings::{OtlpConfig, OtlpProtocol, Signal, WrongVariable},
    trace,
};

/// Why exporting can't start.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// A standard variable is invalid.
    #[error(transparent)]
    Variable(#[from] WrongVariable),
    /// An exporter can't be built.
    #[error("sending over OTLP: {0}")]
    Exporter(#[from] ExporterBuildError),
    /// The thread of the exporters can't be started.
    #[error("sending over OTLP: {0}")]
    Runtime(#[from] std::io::Error),
}

/// The running exporters.
#[derive(Debug, Default)]
pub struct Otlp {
    traces: Option<SdkTracerProvider>,
    pub(super) logs: Option<SdkLoggerProvider>,
    sends_metrics: bool,
    /// The runtime of the exporters. They don't share the server's threads, which may all be busy,
    /// and the last export at shutdown blocks.
    runtime: Option<Runtime>,
}

/// Builds the exporter of a signal.
macro_rules! exporter {
    ($exporter:ident, $config:ident, $signal:expr) => {
        match $config.protocol($signal)? {
            OtlpProtocol::Grpc => {
                let mut builder = $exporter::builder().with_tonic();
                if let Some(endpoint) = &$config.endpoint {
                    builder = builder.with_endpoint(endpoint);
                }
                if let Some(timeout) = $config.timeout {
                    builder = builder.with_timeout(timeout);
                }
                if let Some(headers) = &$config.headers {
                    let headers = http::HeaderMap::try_from(&headers.expose());
                    let headers = headers.unwrap_or_default();
                    builder = builder.with_metadata(MetadataMap::from_headers(headers));
                }
                builder.build()?
            }
            OtlpProtocol::HttpProtobuf => {
                let mut builder = $exporter::builder().with_http();
                if let Some(endpoint) = &$config.endpoint {
                    let endpoint = endpoint.trim_end_matches('/');
                    builder = builder.with_endpoint(format!("{endpoint}/{}", $signal.path()));
                }
                if let Some(timeout) = $config.timeout {
                    builder = builder.with_timeout(timeout);
                }
                if let Some(headers) = &$config.headers {
                    builder = builder.with_headers(headers.expose());
                }
                builder.build()?
            }
        }
    };
}

impl Otlp {
    /// Starts exporting as the settings and the standard variables demand.
    ///
    /// # Errors
    /// If one of these is invalid.
    pub(super) fn start(config: &OtlpConfig, has_tenant: bool) -> Result<Self, OtlpError> {
        crate::crypto::install();
        let resource = resource(config);
        let mut otlp = Self::default();
        let signals = [Signal::Traces, Signal::Metrics, Signal::Logs];
        let mut measured = SdkMeterProvider::builder().with_resource(resource.clone());
        if signals.into_iter().any(|signal| config.sends(signal)) {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .thread_name("otlp")
                .enable_all()
                .build()?;
            let entered = runtime.enter();
            let started = otlp.start_signals(config, &resource, measured);
            drop(entered);
            match started {
                Ok(provider) => measured = provider,
                Err(error) => {
                    // Dropping a runtime blocks, which is not allowed within another runtime.
                    runtime.shutdown_background();
                    return Err(error);
                }
            }
            otlp.runtime = Some(runtime);
        }
        metrics::install(measured, has_tenant);
        Ok(otlp)
    }

    fn start_signals(
        &mut self,
        config: &OtlpConfig,
        resource: &Resource,
        mut measured: MeterProviderBuilder,
    ) -> Result<MeterProviderBuilder, OtlpError> {
        if config.sends(Signal::Traces) {
            let exporter = exporter!(SpanExporter, config, Signal::Traces);
            let mut builder = SdkTracerProvider::builder()
                .with_resource(resource.clone())
                .with_batch_exporter(exporter);
            if let Some(sampler) = config.sampler() {
                builder = builder.with_sampler(sampler);
            }
            let provider = builder.build();
            trace::install(&provider);
            self.traces = Some(provider);
        }
        if config.sends(Signal::Logs) {
            let exporter = exporter!(LogExporter, config, Signal::Logs);
            let builder = SdkLoggerProvider::builder().with_resource(resource.clone());
            self.logs = Some(builder.with_batch_exporter(exporter).build());
        }
        if config.sends(Signal::Metrics) {
            let exporter = exporter!(MetricExporter, config, Signal::Metrics);
            measured = measured.with_periodic_exporter(exporter);
            self.sends_metrics = true;
        }
        Ok(measured)
    }

    /// Exports what is left, for at most `timeout`, and stops.
    pub async fn shutdown(self, timeout: Duration) {
        let Some(runtime) = self.runtime else { return };
        let (traces, logs) = (self.traces, self.logs);
        let (done, is_done) = oneshot::channel();
        // These calls block, and one ignores the timeout, so they run on a detached thread.
        let flush = thread::Builder::new().name("otlp-flush".into());
        let flush = flush.spawn(move || {
            let end = Instant::now() + timeout;
            let left = || end.saturating_duration_since(Instant::now());
            if let Some(Err(error)) = traces.map(|it| it.shutdown_with_timeout(left())) {
                tracing::warn!(%error, "the final export of spans failed");
            }
            if self.sends_metrics {
                metrics::shutdown(left());
            }
            if let Some(logs) = logs {
                // Can't be logged, as nothing exports logs any more.
                drop(logs.shutdown_with_timeout(left()));
            }
            let _ = done.send(());
        });
        if flush.is_ok() && tokio::time::timeout(timeout, is_done).await.is_err() {
            tracing::warn!("the final telemetry export timed out");
        }
        runtime.shutdown_background();
    }
}

/// The attributes of this server as a resource.
fn resource(config: &OtlpConfig) -> Resource {
    let has_name = std::env::var("OTEL_SERVICE_NAME").is_ok_and(|name| !name.is_empty());
    let instance = format!("{:032x}", rand::random::<u128>());
    let own = [
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", instance),
    ];
    // In order of precedence: settings, standard variables, attributes from here.
    let detected = Resource::builder().build();
    let missing = |pair: &KeyValue| detected.get(&pair.key).is_none();
    let mut builder = Resource::builder().with_attributes(own.into_iter().filter(missing));
    let unnamed = detected
        .get(&"service.name".into())
        .is_none_or(|name| name.as_str().starts_with("unknown_service"));
    if unnamed && !has_name {
        builder = builder.with_service_name("endcap");
    }
    let set = config.resource_attributes.iter().flat_map(|set| &set.0);
    let set = set.map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
    builder.with_attributes(set).build()
}
