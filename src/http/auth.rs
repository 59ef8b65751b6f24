//! Authentication: the innermost layer, one for all protocols.

use axum::{body::Body, extract::Request, response::Response};
use http::{Extensions, HeaderMap};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::{connections::ConnectionState, protocol::Protocol};
use crate::{
    auth::{Authenticator, Rejection, bearer},
    domain::{Caller, Deadline, ErrorKind, Result},
    grpc,
    telemetry::{metrics, request},
};

/// What authentication works with.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    pub(super) authenticator: Authenticator,
    /// Bytes of the body of a request that needs no credential.
    pub(super) max_open_body: usize,
}

/// Puts the [`Caller`] into the request's extensions, or answers that there is no
/// credential which is accepted. What is open to all gets no caller, and so can reach no
/// use case.
pub(super) async fn authenticate<F: Future<Output = Response>>(
    gate: &Gate,
    mut request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let protocol = Protocol::of(&request);
    if is_open(&protocol, request.uri().path()) {
        // Who reads the body of a login limits it, and refuses it in its dialect's form.
        let request = if protocol.is_grpc() {
            request.map(|body| limited(body, gate.max_open_body))
        } else {
            request
        };
        return next(request).await;
    }
    match caller(&gate.authenticator, request.headers(), request.extensions()).await {
        Ok(caller) => {
            request::set_subject(&caller.identity.subject);
            if let Some(connection) = request.extensions().get::<ConnectionState>() {
                connection.authenticated();
            }
            // Before the message is read: that can cost much more than its bytes say.
            if let Some(scope) = protocol.scope(&request)
                && let Err(error) = caller.check_scope(scope)
            {
                return protocol.render(&error);
            }
            request.extensions_mut().insert(caller);
            next(request).await
        }
        Err(error) => {
            if error.kind() == ErrorKind::Unauthenticated {
                let rejection = error.source.as_ref();
                let rejection = rejection.and_then(|source| source.downcast_ref::<Rejection>());
                let reason = rejection.map_or("invalid", |rejection| rejection.reason.name());
                metrics::authentication_failed(reason);
                let why = rejection.map(ToString::to_string);
                tracing::info!(reason, why, "authentication failed");
            }
            protocol.render(&error)
        }
    }
}

/// The messages of one gRPC request without a credential, all together: what they are about
/// is a name each.
fn limited(body: Body, max: usize) -> Body {
    Body::new(Limited::new(body, max).map_err(move |error| {
        if error.is::<LengthLimitError>() {
            metrics::refused("max_unauthenticated_body_size");
            let message = format!("the request body is over the limit of {max} bytes");
            // With details it is known as ours, and not counted as another limit's.
            let details = ErrorDetails::with_bad_request_violation("", &message);
            Status::with_error_details(Code::OutOfRange, message, details).into()
        } else {
            error
        }
    }))
}

/// Whether a path needs no credential: health, reflection and descriptions, which tell
/// nothing of any tenant, and where one gets a credential.
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
    fn only_health_descriptions_and_logins_are_open() {
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
