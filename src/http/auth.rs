//! Authentication: the innermost layer, one for all protocols.

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{Extensions, HeaderMap};
use tracing::Span;

use super::{docs, protocol::Protocol};
use crate::{
    auth::{Authenticator, bearer},
    dialect::oracle,
    domain::{Caller, Deadline, ErrorKind, Result},
    grpc,
};

/// Puts the [`Caller`] into the request's extensions, or answers that there is no
/// credential which is accepted. What is open to all gets no caller, and so can reach no
/// use case.
pub(super) async fn authenticate(
    State(authenticator): State<Authenticator>,
    mut request: Request,
    next: Next,
) -> Response {
    let protocol = Protocol::of(&request);
    if is_open(&protocol, request.uri().path()) {
        return next.run(request).await;
    }
    match caller(&authenticator, request.headers(), request.extensions()).await {
        Ok(caller) => {
            Span::current().record("subject", &*caller.identity.subject);
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => {
            if error.kind() == ErrorKind::Unauthenticated {
                let why = error.source.as_ref().map(ToString::to_string);
                tracing::info!(why, "a credential is refused");
            }
            protocol.render(&error)
        }
    }
}

/// Whether a path needs no credential: health, reflection and descriptions, which tell
/// nothing of any tenant, and where one gets a credential.
fn is_open(protocol: &Protocol, path: &str) -> bool {
    match protocol {
        Protocol::Grpc(_) => {
            let service = path.trim_start_matches('/').split('/').next();
            service.is_some_and(|service| grpc::OPEN_SERVICES.contains(&service))
        }
        Protocol::Oracle => oracle::OPEN_PATHS.contains(&path),
        Protocol::Unknown => docs::is_here(path),
        Protocol::HighLevel => false,
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
        deadline: extensions.get::<Deadline>().map(|deadline| deadline.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_health_descriptions_and_logins_are_open() {
        let of = |path: &str, kind: Option<&str>| {
            let mut request = Request::builder().uri(path);
            if let Some(kind) = kind {
                request = request.header("content-type", kind);
            }
            let request = request.body(axum::body::Body::empty()).unwrap();
            is_open(&Protocol::of(&request), request.uri().path())
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
            "/ccadmin/v1/login",
            "/docs",
            "/docs/index.html",
            "/openapi/highlevel.json",
        ] {
            assert!(of(open, None), "{open}");
        }
        for closed in [
            "/",
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
