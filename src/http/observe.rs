//! Observability of requests: the span, the log line and the metrics of each, from its head to the
//! last byte of its response.

use std::{
    borrow::Cow,
    error::Error as _,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context as TaskContext, Poll},
    time::{Duration, Instant},
};

use axum::{
    body::{Body, Bytes},
    extract::{MatchedPath, Request},
    response::Response,
};
use http::{HeaderMap, Method, StatusCode, Version, header::USER_AGENT};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use opentelemetry::{
    KeyValue,
    trace::{Status, TraceContextExt as _},
};
use tonic::Code;
use tracing::{Instrument as _, Span};

use super::{connections::ConnectionState, ids::REQUEST_ID, protocol::Protocol};
use crate::{
    grpc,
    telemetry::{
        REQUESTS,
        metrics::{self, CallLabels, ExchangeLabels, GaugeGuard, Measured},
        request::RequestContext,
        trace,
    },
};

/// How many characters of the user agent are recorded.
const MAX_AGENT: usize = 256;

/// Handles a request in its span, and records it when it is over, even if the client disconnected
/// before.
pub(super) async fn observe<F: Future<Output = Response>>(
    has_tls: bool,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let observed = Observed::of(&request, if has_tls { "https" } else { "http" });
    let (context, span) = (observed.context.clone(), observed.span.clone());
    let (received, cut_off) = (
        Arc::clone(&observed.received),
        Arc::clone(&observed.received),
    );
    let is_http2 = request.version() == Version::HTTP_2;
    let request = request.map(|body| {
        if body.is_end_stream() {
            return body;
        }
        let body = body.inspect_frame(move |frame| {
            let length = frame.data_ref().map_or(0, Bytes::len);
            received.bytes.fetch_add(length as u64, Ordering::Relaxed);
        });
        // Over HTTP/2, frames are checked before they become a body, so any error is a disconnect.
        let is_gone = move |error: &axum::Error| is_http2 || is_incomplete(error);
        Body::new(body.map_err(move |error| {
            cut_off.is_cut.fetch_or(is_gone(&error), Ordering::Relaxed);
            error
        }))
    });
    let response = context.scope(next(request).instrument(span)).await;
    observed.sending(response)
}

/// Records the template of the matched route. A handler of a wildcard route may record a more
/// specific template itself.
pub(super) fn note_route(request: Request) -> Request {
    let path = request.extensions().get::<MatchedPath>();
    if let (Some(path), Some(context)) = (path, crate::telemetry::request::current()) {
        context.set_route(path.as_str());
    }
    request
}

/// Records the status of a gRPC call inside of the gRPC-Web translation, which moves it into the
/// body.
pub(super) fn note_status(response: Response) -> Response {
    let Some(context) = crate::telemetry::request::current() else {
        return response;
    };
    match code(response.headers()) {
        Some(code) => {
            context.set_grpc_status(code);
            response
        }
        None => response.map(|body| {
            Body::new(body.inspect_frame(move |frame| {
                let code = frame.trailers_ref().and_then(code);
                code.into_iter()
                    .for_each(|code| context.set_grpc_status(code));
            }))
        }),
    }
}

/// Whether a body over HTTP/1 ended before its end.
fn is_incomplete(error: &axum::Error) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        let is_end = |error: &io::Error| error.kind() == io::ErrorKind::UnexpectedEof;
        if error.downcast_ref().is_some_and(is_end) {
            return true;
        }
        source = error.source();
    }
    false
}

fn code(headers: &HeaderMap) -> Option<Code> {
    let status = headers.get("grpc-status")?;
    Some(Code::from_bytes(status.as_bytes()))
}

/// A request that is not over yet.
struct Observed {
    context: RequestContext,
    span: Span,
    kind: Kind,
    protocol: &'static str,
    peer: Option<ConnectionState>,
    version: &'static str,
    start: Instant,
    received: Arc<Received>,
    sent: u64,
    /// The status of its response; `None` while there is none.
    status: Option<StatusCode>,
    /// Whether the response was sent to its end.
    is_complete: bool,
    _active: GaugeGuard,
}

/// What was received of a request body.
#[derive(Default)]
struct Received {
    bytes: AtomicU64,
    /// Whether the client disconnected before its end.
    is_cut: AtomicBool,
}

/// The type of a request. gRPC calls are not counted as HTTP exchanges as well.
enum Kind {
    Grpc {
        method: &'static str,
    },
    Rest {
        method: &'static str,
        scheme: &'static str,
    },
}

impl Observed {
    fn of(request: &Request, scheme: &'static str) -> Self {
        let protocol = Protocol::of(request);
        let (path, headers) = (request.uri().path(), request.headers());
        let peer = request.extensions().get::<ConnectionState>().cloned();
        let version = version(request.version());
        let kind = if protocol.is_grpc() {
            let method = grpc::method(path);
            Kind::Grpc { method }
        } else {
            let method = method(request.method());
            Kind::Rest { method, scheme }
        };
        let (name, active) = match kind {
            Kind::Grpc { method } => (method, GaugeGuard::call(method)),
            Kind::Rest { method, scheme } => (method, GaugeGuard::exchange(method, scheme)),
        };
        let trace = trace::server_span(headers, Cow::Borrowed(name), || {
            attributes(&kind, path, headers, peer.as_ref(), version)
        });
        let id = headers.get(&REQUEST_ID).and_then(|id| id.to_str().ok());
        let context = RequestContext::new(id.unwrap_or_default(), trace);
        Self {
            span: span(&context, request),
            context,
            kind,
            protocol: protocol.name(),
            peer,
            version,
            start: Instant::now(),
            received: Arc::default(),
            sent: 0,
            status: None,
            is_complete: false,
            _active: active,
        }
    }

    fn sending(mut self, response: Response) -> Response {
        self.status = Some(response.status());
        if let Some(code) = code(response.headers()) {
            self.context.set_grpc_status(code);
        }
        self.is_complete = response.body().is_end_stream();
        response.map(|body| {
            Body::new(Sending {
                body,
                observed: self,
            })
        })
    }

    /// Whether the client disconnected before the end of its request.
    fn is_cut(&self) -> bool {
        self.received.is_cut.load(Ordering::Relaxed)
    }

    fn measure(&self, duration: Duration) -> Outcome {
        let received = self.received.bytes.load(Ordering::Relaxed);
        let is_cut = self.is_cut();
        let measured = Measured {
            tenant: self.context.tenant(),
            duration,
            sizes: (received, self.sent),
        };
        match self.kind {
            Kind::Grpc { method } => {
                // Without a status, the client disconnected before the call ended.
                let code = self.context.grpc_status().filter(|_| !is_cut);
                let code = code.unwrap_or(Code::Cancelled);
                let outcome = Outcome::of_call(code);
                let labels = CallLabels {
                    method,
                    code: outcome.name,
                    is_error: outcome.is_error,
                };
                metrics::called(labels, measured);
                outcome
            }
            Kind::Rest { method, scheme } => {
                // 499, as Nginx logs a client that closed the connection.
                let status = self.status.filter(|_| !is_cut);
                let status = status.map_or(499, |status| status.as_u16());
                let labels = ExchangeLabels {
                    method,
                    route: self.context.route().cloned(),
                    status,
                    scheme,
                    version: self.version,
                };
                metrics::exchanged(&labels, measured);
                Outcome {
                    name: "",
                    number: i64::from(status),
                    is_error: status >= 500,
                }
            }
        }
    }

    fn end_span(&self, outcome: &Outcome) {
        let span = self.context.trace().span();
        if !span.is_recording() {
            return;
        }
        match self.kind {
            Kind::Grpc { .. } => {
                span.set_attribute(KeyValue::new("rpc.status_code", outcome.name));
                if outcome.is_error {
                    span.set_attribute(KeyValue::new("error.type", outcome.name));
                }
            }
            Kind::Rest { method, .. } => {
                if let Some(route) = self.context.route() {
                    span.update_name(format!("{method} {route}"));
                    span.set_attribute(KeyValue::new("http.route", Arc::clone(route)));
                }
                let status = KeyValue::new("http.response.status_code", outcome.number);
                span.set_attribute(status);
                if outcome.is_error {
                    span.set_attribute(KeyValue::new("error.type", outcome.number.to_string()));
                }
            }
        }
        let known = [
            ("endcap.tenant", self.context.tenant()),
            ("user.id", self.context.subject()),
        ];
        for (name, value) in known {
            if let Some(value) = value {
                span.set_attribute(KeyValue::new(name, value.to_owned()));
            }
        }
        if outcome.is_error {
            span.set_status(Status::error(""));
        }
        span.end();
    }

    fn log(&self, duration: Duration, outcome: &Outcome) {
        let (method, grpc_status, status) = match self.kind {
            Kind::Grpc { method } => (Some(method), Some(outcome.number), None),
            Kind::Rest { .. } => (None, None, Some(outcome.number)),
        };
        // Rounded to microseconds.
        let duration_ms = (duration.as_secs_f64() * 1e6).round() / 1e3;
        tracing::info!(
            target: REQUESTS,
            protocol = self.protocol,
            rpc_method = method,
            route = self.context.route().map(AsRef::<str>::as_ref),
            status,
            grpc_status,
            duration_ms,
            tenant = self.context.tenant(),
            subject = self.context.subject(),
            peer = self.peer.as_ref().map(ConnectionState::peer),
            request_bytes = self.received.bytes.load(Ordering::Relaxed),
            response_bytes = self.sent,
            complete = self.is_complete && !self.is_cut(),
            "request completed"
        );
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        let duration = self.start.elapsed();
        let outcome = self.measure(duration);
        let mut trace = self.context.trace().clone();
        // An unsampled request that did not fail exports no log line either: log lines cost a
        // collector more than metrics and spans together.
        if trace::is_left_out(&trace) && !outcome.is_error {
            trace = trace.with_telemetry_suppressed();
        }
        let _attached = trace.attach();
        self.span.in_scope(|| self.log(duration, &outcome));
        self.end_span(&outcome);
    }
}

/// The outcome of a request.
struct Outcome {
    /// The name of the gRPC status; empty for REST.
    name: &'static str,
    /// The number of the gRPC or HTTP status.
    number: i64,
    /// Whether the server is at fault.
    is_error: bool,
}

impl Outcome {
    fn of_call(code: Code) -> Self {
        let (name, is_error) = match code {
            Code::Ok => ("OK", false),
            Code::Cancelled => ("CANCELLED", false),
            Code::Unknown => ("UNKNOWN", true),
            Code::InvalidArgument => ("INVALID_ARGUMENT", false),
            Code::DeadlineExceeded => ("DEADLINE_EXCEEDED", true),
            Code::NotFound => ("NOT_FOUND", false),
            Code::AlreadyExists => ("ALREADY_EXISTS", false),
            Code::PermissionDenied => ("PERMISSION_DENIED", false),
            Code::ResourceExhausted => ("RESOURCE_EXHAUSTED", false),
            Code::FailedPrecondition => ("FAILED_PRECONDITION", false),
            Code::Aborted => ("ABORTED", false),
            Code::OutOfRange => ("OUT_OF_RANGE", false),
            Code::Unimplemented => ("UNIMPLEMENTED", true),
            Code::Internal => ("INTERNAL", true),
            Code::Unavailable => ("UNAVAILABLE", true),
            Code::DataLoss => ("DATA_LOSS", true),
            Code::Unauthenticated => ("UNAUTHENTICATED", false),
        };
        Self {
            name,
            number: i64::from(code as i32),
            is_error,
        }
    }
}

/// The span of a request in the log. It leaves out the query, and all headers but the request id,
/// as these may hold secrets.
fn span(context: &RequestContext, request: &Request) -> Span {
    tracing::info_span!(
        "request",
        request_id = context.request_id(),
        trace_id = context.trace_id(),
        span_id = context.span_id(),
        method = request.method().as_str(),
        path = request.uri().path(),
    )
}

/// The initial attributes of a SERVER span. The query is left out, as it may hold a credential.
fn attributes(
    kind: &Kind,
    path: &str,
    headers: &HeaderMap,
    peer: Option<&ConnectionState>,
    version: &'static str,
) -> Vec<KeyValue> {
    let mut attributes = match kind {
        Kind::Grpc { method } => vec![
            KeyValue::new("rpc.system.name", "grpc"),
            KeyValue::new("rpc.method", *method),
        ],
        Kind::Rest { method, scheme } => vec![
            KeyValue::new("http.request.method", *method),
            KeyValue::new("url.scheme", *scheme),
            KeyValue::new("url.path", path.to_owned()),
        ],
    };
    attributes.push(KeyValue::new("network.protocol.version", version));
    if let Some(peer) = peer {
        let peer = peer.peer().to_owned();
        attributes.push(KeyValue::new("client.address", peer.clone()));
        attributes.push(KeyValue::new("network.peer.address", peer));
    }
    if let Some(agent) = headers.get(USER_AGENT).and_then(|it| it.to_str().ok()) {
        let agent: String = agent.chars().take(MAX_AGENT).collect();
        attributes.push(KeyValue::new("user_agent.original", agent));
    }
    attributes
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

/// The method's name for metrics; unknown methods share one, to bound the number of series.
fn method(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = [
        "GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE",
    ];
    let known = KNOWN.into_iter().find(|known| *known == method.as_str());
    known.unwrap_or("_OTHER")
}

/// A response body. The request is over when this is dropped.
struct Sending {
    body: Body,
    observed: Observed,
}

impl http_body::Body for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.observed.sent += data.len() as u64;
                } else if let Some(code) = frame.trailers_ref().and_then(code) {
                    self.observed.context.set_grpc_status(code);
                }
                // Recorded with the last frame: hyper does not poll again once the stream reports
                // its end.
                self.observed.is_complete = frame.is_trailers() || self.body.is_end_stream();
            }
            Poll::Ready(None) => self.observed.is_complete = true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
