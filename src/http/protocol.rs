//! Which protocol a request speaks, and how the edge responds in it. That is decided once,
//! outside of all layers that respond by themselves; they read it from the request.

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

/// What a request speaks.
#[derive(Clone, Debug)]
pub(super) enum Protocol {
    /// gRPC or gRPC-Web, with the content type to answer with.
    Grpc(HeaderValue),
    /// The REST of a dialect, by the path.
    Rest(&'static Dialect),
    /// None: what describes the dialects.
    Docs,
    /// None of ours.
    Unknown,
}

/// Tells everything inside which protocol the request speaks.
pub(super) fn recognize(dialects: Dialects, mut request: Request) -> Request {
    let protocol = Protocol::among(dialects, &request);
    request.extensions_mut().insert(protocol);
    request
}

impl Protocol {
    /// What [`recognize`] found.
    pub(super) fn of(request: &Request) -> Self {
        let found = request.extensions().get().cloned();
        found.unwrap_or(Self::Unknown)
    }

    /// By the content type, else by the path.
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

    /// Its name in the log.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Grpc(kind) if kind.as_bytes().starts_with(b"application/grpc-web") => "grpc-web",
            Self::Grpc(_) => "grpc",
            Self::Rest(dialect) => dialect.name,
            Self::Docs => "docs",
            Self::Unknown => "none",
        }
    }

    pub(super) fn is_grpc(&self) -> bool {
        matches!(self, Self::Grpc(_))
    }

    /// The scope that a request needs in any case, before its message or body is read.
    pub(super) fn scope(&self, request: &Request) -> Option<Scope> {
        let path = request.uri().path();
        match self {
            Self::Grpc(_) => grpc::scope(path),
            Self::Rest(dialect) => (dialect.scope)(request.method(), path),
            Self::Docs | Self::Unknown => None,
        }
    }

    /// The error in the protocol's form.
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

/// The content type of a gRPC request, without parameters, which mean nothing here.
fn grpc_kind(headers: &HeaderMap) -> Option<HeaderValue> {
    let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let essence = kind.split(';').next()?.trim().to_ascii_lowercase();
    let of_grpc = essence.strip_prefix("application/grpc")?;
    let of_web = of_grpc.strip_prefix("-web").unwrap_or(of_grpc);
    let format = of_web.strip_prefix("-text").unwrap_or(of_web);
    let is_grpc = format.is_empty() || format.starts_with('+');
    is_grpc.then(|| essence.parse().ok())?
}

/// Refuses a gRPC request that is none in the form of its protocol, where the library would answer
/// nothing that its client understands; else its content type is one that the library knows.
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

/// The response to a request of HTTP/1.1 that does not name one host, as HTTP wants it.
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

/// The answer where no route is.
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
