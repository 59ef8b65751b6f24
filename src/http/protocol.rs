//! Which protocol a request speaks, and how the edge responds in it. That is decided once,
//! outside of all layers that respond by themselves; they read it from the request.

use axum::{
    Json,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};

use super::docs;
use crate::{
    auth::challenge,
    dialect::{Dialect, Dialects},
    domain::{Error, ErrorKind},
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
pub(super) async fn recognize(
    State(dialects): State<Dialects>,
    mut request: Request,
    next: Next,
) -> Response {
    let protocol = Protocol::among(dialects, &request);
    request.extensions_mut().insert(protocol);
    next.run(request).await
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
        let kind = request.headers().get(CONTENT_TYPE);
        match kind {
            Some(kind) if kind.as_bytes().starts_with(b"application/grpc") => {
                Self::Grpc(kind.clone())
            }
            _ => match dialects.iter().find(|dialect| dialect.claims(path)) {
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

/// The answer where no route is.
pub(super) async fn not_found(request: Request) -> Response {
    let path = request.uri().path();
    match Protocol::of(&request) {
        Protocol::Rest(dialect) => (dialect.not_found)(request.method(), path),
        Protocol::Grpc(_) | Protocol::Docs | Protocol::Unknown => {
            let message = format!("nothing is served at {} {path}", request.method());
            let body = Json(serde_json::json!({ "message": message }));
            (StatusCode::NOT_FOUND, body).into_response()
        }
    }
}
