//! The protocol of a request, and how errors are rendered in it. It is determined once, outside of
//! all middleware that responds by itself, and passed on in the request's extensions.

use axum::{
    Json,
    extract::Request,
    response::{IntoResponse as _, Response},
};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode, Version,
    header::{ALLOW, CONTENT_TYPE, HOST, RETRY_AFTER},
};

use super::docs;
use crate::{
    auth::challenge,
    dialect::{Dialect, Dialects},
    domain::{Error, ErrorKind, Reason, Scope},
    grpc,
    telemetry::log_failure,
};

/// The protocol of a request.
#[derive(Clone, Debug)]
pub(super) enum Protocol {
    /// gRPC or gRPC-Web, with the content type of the response.
    Grpc(HeaderValue),
    /// The REST API of a dialect, determined by the path.
    Rest(&'static Dialect),
    /// The documentation pages and OpenAPI descriptions.
    Docs,
    /// Neither of these.
    Unknown,
}

/// Determines the protocol of a request, and stores it in the request's extensions.
pub(super) fn recognize(dialects: Dialects, mut request: Request) -> Request {
    let protocol = Protocol::among(dialects, &request);
    request.extensions_mut().insert(protocol);
    request
}

impl Protocol {
    /// The protocol that [`recognize`] has stored.
    pub(super) fn of(request: &Request) -> Self {
        let found = request.extensions().get().cloned();
        found.unwrap_or(Self::Unknown)
    }

    /// Determines the protocol by the content type, or else by the path.
    pub(super) fn among(dialects: Dialects, request: &Request) -> Self {
        let path = request.uri().path();
        match grpc_kind(request.headers()) {
            Some(kind) => Self::Grpc(kind),
            None => match dialects.iter().find(|dialect| dialect.claims(path)) {
                Some(dialect) => Self::Rest(dialect),
                None if docs::is_here(dialects, path) => Self::Docs,
                None => Self::Unknown,
            },
        }
    }

    /// The name of the protocol in the log.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Grpc(_) if self.is_grpc_web() => "grpc-web",
            Self::Grpc(_) => "grpc",
            Self::Rest(dialect) => dialect.name,
            Self::Docs => "docs",
            Self::Unknown => "none",
        }
    }

    pub(super) fn is_grpc_web(&self) -> bool {
        matches!(self, Self::Grpc(kind) if kind.as_bytes().starts_with(b"application/grpc-web"))
    }

    pub(super) fn is_grpc(&self) -> bool {
        matches!(self, Self::Grpc(_))
    }

    /// The scope that a request requires at least, as far as is known without its body.
    pub(super) fn scope(&self, request: &Request) -> Option<Scope> {
        let path = request.uri().path();
        match self {
            Self::Grpc(_) => grpc::scope(path),
            Self::Rest(dialect) => (dialect.scope)(request.method(), path),
            Self::Docs | Self::Unknown => None,
        }
    }

    /// Renders an error in the form of the protocol.
    pub(super) fn render(&self, error: &Error) -> Response {
        let mut response = self.rendered(error);
        if response.status() == StatusCode::UNAUTHORIZED {
            challenge(response.headers_mut());
        }
        response
    }

    fn rendered(&self, error: &Error) -> Response {
        match self {
            Self::Grpc(kind) => {
                let mut response = grpc::status(error).into_http::<axum::body::Body>();
                response.headers_mut().insert(CONTENT_TYPE, kind.clone());
                response
            }
            Self::Rest(dialect) => (dialect.error)(error),
            Self::Docs | Self::Unknown => {
                log_failure(error);
                let wait = error
                    .throttled
                    .as_ref()
                    .map(|throttled| throttled.retry_seconds());
                let (status, wait) = if error.kind() == ErrorKind::Unauthenticated {
                    (StatusCode::UNAUTHORIZED, None)
                } else if wait.is_some() {
                    (StatusCode::TOO_MANY_REQUESTS, wait)
                } else if error.kind() == ErrorKind::Unavailable {
                    (StatusCode::SERVICE_UNAVAILABLE, Some(1))
                } else {
                    (StatusCode::INTERNAL_SERVER_ERROR, None)
                };
                let body = Json(serde_json::json!({ "message": error.message }));
                let mut response = (status, body).into_response();
                if let Some(seconds) = wait {
                    response.headers_mut().insert(RETRY_AFTER, seconds.into());
                }
                response
            }
        }
    }
}

/// The content type of a gRPC request without its parameters, which have no meaning here; `None`
/// for other requests.
fn grpc_kind(headers: &HeaderMap) -> Option<HeaderValue> {
    let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let essence = kind.split(';').next()?.trim().to_ascii_lowercase();
    let of_grpc = essence.strip_prefix("application/grpc")?;
    let of_web = of_grpc.strip_prefix("-web").unwrap_or(of_grpc);
    let format = of_web.strip_prefix("-text").unwrap_or(of_web);
    let is_grpc = format.is_empty() || format.starts_with('+');
    is_grpc.then(|| essence.parse().ok())?
}

/// Responds to an invalid gRPC request in the form of its protocol, where tonic's response would be
/// unintelligible to the client. Otherwise normalizes the content type to one that tonic knows.
pub(super) fn refuse_grpc(kind: &HeaderValue, request: &mut Request) -> Option<Response> {
    let text = kind.to_str().unwrap_or_default();
    let (base, format) = text.split_once('+').unwrap_or((text, "proto"));
    let refuse = |message: String| {
        let base = HeaderValue::from_str(base).ok()?;
        Some(Protocol::Grpc(base).render(&Error::new(Reason::InvalidField, message)))
    };
    if request.method() != Method::POST {
        let mut response = refuse(format!("a gRPC call is a POST, not a {}", request.method()))?;
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        let post = HeaderValue::from_static("POST");
        response.headers_mut().insert(ALLOW, post);
        return Some(response);
    }
    if format != "proto" {
        return refuse(format!(
            "the content type {text} is not supported; send {base}+proto"
        ));
    }
    if base == "application/grpc" && request.version() < Version::HTTP_2 {
        return refuse("gRPC needs HTTP/2; over HTTP/1.1 send application/grpc-web".into());
    }
    request.headers_mut().insert(CONTENT_TYPE, kind.clone());
    None
}

/// The response to an HTTP/1.1 request without exactly one `Host` header (RFC 9112, section 3.2).
pub(super) fn host_missing(request: &Request) -> Option<Response> {
    let hosts = request.headers().get_all(HOST).iter().count();
    let is_named = hosts == 1 || hosts == 0 && request.uri().authority().is_some();
    if request.version() == Version::HTTP_11 && !is_named {
        let message = "a request over HTTP/1.1 must have one Host header";
        let body = Json(serde_json::json!({ "message": message }));
        return Some((StatusCode::BAD_REQUEST, body).into_response());
    }
    None
}

/// The response to a request that no route matches.
pub(super) async fn not_found(request: Request) -> Response {
    let path = request.uri().path();
    match Protocol::of(&request) {
        Protocol::Rest(dialect) => (dialect.not_found)(request.method(), path),
        Protocol::Grpc(_) | Protocol::Docs | Protocol::Unknown => {
            let message = format!("route not found: {} {path}", request.method());
            let body = Json(serde_json::json!({ "message": message }));
            (StatusCode::NOT_FOUND, body).into_response()
        }
    }
}
