//! An OpenTelemetry collector that stores what it receives over gRPC and HTTP.

use std::sync::{Arc, Mutex};

use axum::{Router, body::Bytes, extract::State, routing::post};
use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::{
            ExportLogsServiceRequest, ExportLogsServiceResponse,
            logs_service_server::{LogsService, LogsServiceServer},
        },
        metrics::v1::{
            ExportMetricsServiceRequest, ExportMetricsServiceResponse,
            metrics_service_server::{MetricsService, MetricsServiceServer},
        },
        trace::v1::{
            ExportTraceServiceRequest, ExportTraceServiceResponse,
            trace_service_server::{TraceService, TraceServiceServer},
        },
    },
    common::v1::{KeyValue, any_value::Value},
    logs::v1::LogRecord,
    metrics::v1::Metric,
    resource::v1::Resource,
    trace::v1::Span,
};
use prost::Message as _;
use tonic::{Request, Response, Status, metadata::MetadataMap};

/// What it has received.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) spans: Vec<Span>,
    pub(crate) metrics: Vec<Metric>,
    pub(crate) logs: Vec<LogRecord>,
    pub(crate) resources: Vec<Resource>,
    /// The values of the header `api-key` in its requests.
    pub(crate) keys: Vec<String>,
}

/// The collector.
#[derive(Clone, Default)]
pub(crate) struct Collector(Arc<Mutex<Received>>);

impl Collector {
    /// Listens, and returns the URL.
    pub(crate) async fn listen(&self, protocol: &str) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = if protocol == "grpc" {
            tonic::service::Routes::new(TraceServiceServer::new(self.clone()))
                .add_service(MetricsServiceServer::new(self.clone()))
                .add_service(LogsServiceServer::new(self.clone()))
                .into_axum_router()
        } else {
            Router::new()
                .route("/v1/traces", post(traces))
                .route("/v1/metrics", post(metrics))
                .route("/v1/logs", post(logs))
                .with_state(self.clone())
        };
        tokio::spawn(async move { axum::serve(listener, app).await });
        url
    }

    /// What it has received so far.
    pub(crate) fn received(&self) -> std::sync::MutexGuard<'_, Received> {
        self.0.lock().unwrap()
    }

    fn take_traces(&self, request: ExportTraceServiceRequest) {
        let mut received = self.received();
        for part in request.resource_spans {
            received.resources.extend(part.resource);
            let spans = part.scope_spans.into_iter().flat_map(|it| it.spans);
            received.spans.extend(spans);
        }
    }

    fn take_metrics(&self, request: ExportMetricsServiceRequest) {
        let mut received = self.received();
        for part in request.resource_metrics {
            received.resources.extend(part.resource);
            let metrics = part.scope_metrics.into_iter().flat_map(|it| it.metrics);
            received.metrics.extend(metrics);
        }
    }

    fn take_logs(&self, request: ExportLogsServiceRequest) {
        let mut received = self.received();
        for part in request.resource_logs {
            received.resources.extend(part.resource);
            let logs = part.scope_logs.into_iter().flat_map(|it| it.log_records);
            received.logs.extend(logs);
        }
    }

    fn take_key(&self, key: Option<&str>) {
        self.received().keys.extend(key.map(str::to_owned));
    }
}

/// The value of an attribute, as text.
pub(crate) fn attribute(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|one| one.key == name)?;
    let value = found.value.as_ref()?.value.as_ref()?;
    Some(match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(_)
        | Value::DoubleValue(_)
        | Value::ArrayValue(_)
        | Value::KvlistValue(_)
        | Value::BytesValue(_)
        | Value::StringValueStrindex(_) => format!("{value:?}"),
    })
}

fn key(metadata: &MetadataMap) -> Option<&str> {
    metadata.get("api-key")?.to_str().ok()
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.take_key(key(request.metadata()));
        self.take_traces(request.into_inner());
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.take_key(key(request.metadata()));
        self.take_metrics(request.into_inner());
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Collector {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        self.take_key(key(request.metadata()));
        self.take_logs(request.into_inner());
        Ok(Response::new(Default::default()))
    }
}

async fn traces(State(collector): State<Collector>, headers: http::HeaderMap, body: Bytes) {
    collector.take_key(headers.get("api-key").and_then(|it| it.to_str().ok()));
    collector.take_traces(ExportTraceServiceRequest::decode(body).unwrap());
}

async fn metrics(State(collector): State<Collector>, headers: http::HeaderMap, body: Bytes) {
    collector.take_key(headers.get("api-key").and_then(|it| it.to_str().ok()));
    collector.take_metrics(ExportMetricsServiceRequest::decode(body).unwrap());
}

async fn logs(State(collector): State<Collector>, headers: http::HeaderMap, body: Bytes) {
    collector.take_key(headers.get("api-key").and_then(|it| it.to_str().ok()));
    collector.take_logs(ExportLogsServiceRequest::decode(body).unwrap());
}
