//! Authentication, one middleware for all protocols. It also checks the scope that a request needs,
//! as far as that is known before its body is read. The credentials themselves are verified in
//! `crate::auth`.

use axum::{body::Body, extract::Request};
use http::{Extensions, HeaderMap};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::{connections::ConnectionState, protocol::Protocol};
use crate::{
    auth::{Authenticator, Rejection, bearer},
    domain::{Caller, Deadline, Error, ErrorKind, Result},
    grpc,
    telemetry::{metrics, request},
};

/// The state of the middleware.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    pub(super) authenticator: Authenticator,
    /// The largest gRPC request that needs no credential, in bytes.
    pub(super) max_open_body: usize,
}

/// Authenticates a request: puts the [`Caller`] into its extensions. Requests to open paths get no
/// caller, and no use case can be called without one.
///
/// # Errors
/// [`ErrorKind::Unauthenticated`] if the credentials are missing or invalid; if they lack the scope
/// that the request needs.
pub(super) async fn authenticate(
    gate: &Gate,
    protocol: &Protocol,
    request: &mut Request,
) -> Result<()> {
    if is_open(protocol, request.uri().path()) {
        // A REST login limits its body itself, and responds in the form of its dialect.
        if protocol.is_grpc() {
            let body = std::mem::take(request.body_mut());
            *request.body_mut() = limit_body(body, gate.max_open_body);
        }
        return Ok(());
    }
    let caller = caller(&gate.authenticator, request.headers(), request.extensions());
    let caller = caller.await.inspect_err(note_failure)?;
    request::set_subject(&caller.identity.subject);
    if let Some(connection) = request.extensions().get::<ConnectionState>() {
        connection.authenticated();
    }
    // Before the message is decoded, which can take much more memory than the bytes of the message.
    if let Some(scope) = protocol.scope(request) {
        caller.check_scope(scope)?;
    }
    request.extensions_mut().insert(caller);
    Ok(())
}

/// Counts and logs a failed authentication.
fn note_failure(error: &Error) {
    if error.kind() == ErrorKind::Unauthenticated {
        let rejection = error.source.as_ref();
        let rejection = rejection.and_then(|source| source.downcast_ref::<Rejection>());
        let reason = rejection.map_or("invalid", |rejection| rejection.reason.name());
        metrics::authentication_failed(reason);
        let why = rejection.map(ToString::to_string);
        tracing::info!(reason, why, "authentication failed");
    }
}

/// Limits the body of a gRPC request without a credential. Health checks and reflection need little
/// more than a name per message, and streams count as a whole.
fn limit_body(body: Body, max: usize) -> Body {
    Body::new(Limited::new(body, max).map_err(move |error| {
        if error.is::<LengthLimitError>() {
            metrics::refused("max_unauthenticated_body_size");
            let message = format!("the request body is over the limit of {max} bytes");
            // A status with details is recognized as the service's own, so that the metrics don't
            // count it as `max_body_size` as well (see `grpc::refused_by_tonic`).
            let details = ErrorDetails::with_bad_request_violation("", &message);
            Status::with_error_details(Code::OutOfRange, message, details).into()
        } else {
            error
        }
    }))
}

/// Whether a path needs no credential: health checks, reflection and API descriptions, which reveal
/// nothing about any tenant, and logins.
fn is_open(protocol: &Protocol, path: &str) -> bool {
    match protocol {
        Protocol::Grpc(_) => {
            let service = path.trim_start_matches('/').split('/').next();
            service.is_some_and(|service| grpc::OPEN_SERVICES.contains(&service))
        }
        Protocol::Rest(dialect) => dialect.open_paths.contains(&path),
        Protocol::Docs => true,
        Protocol::Unknown => false,
    }
}

async fn caller(
    authenticator: &Authenticator,
    headers: &HeaderMap,
    extensions: &Extensions,
) -> Result<Caller> {
    let identity = authenticator
        .identify(
            bearer(headers)?,
            extensions.get(),
            extensions.get().copied(),
        )
        .await?;
    Ok(Caller {
        tenant: authenticator.home(&identity),
        identity,
        served: authenticator.served(),
        deadline: extensions.get::<Deadline>().map(|deadline| deadline.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::DIALECTS;

    #[test]
    fn only_health_descriptions_and_logins_need_no_authentication() {
        let of = |path: &str, kind: Option<&str>| {
            let mut request = Request::builder().uri(path);
            if let Some(kind) = kind {
                request = request.header("content-type", kind);
            }
            let request = request.body(axum::body::Body::empty()).unwrap();
            let protocol = Protocol::among(DIALECTS, &request);
            is_open(&protocol, request.uri().path())
        };
        let grpc = Some("application/grpc");
        for open in [
            "/grpc.health.v1.Health/Check",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        ] {
            assert!(of(open, grpc), "{open}");
            assert!(of(open, Some("application/grpc-web+proto")), "{open}");
            assert!(!of(open, None), "{open}");
        }
        for open in [
            "/",
            "/ccadmin/v1/login",
            "/docs",
            "/docs/index.html",
            "/openapi/highlevel.json",
        ] {
            assert!(of(open, None), "{open}");
        }
        for closed in [
            "/docsx",
            "/openapi/",
            "/endcap.v1.CollectionService/GetCollection",
            "/grpc.health.v1.HealthX/Check",
            "/ccadmin/v1/login/../collections/a",
            "/ccadmin/v1/collections/a",
            "/products/collections/a",
        ] {
            assert!(!of(closed, None), "{closed}");
            assert!(!of(closed, grpc), "{closed}");
        }
    }
}
