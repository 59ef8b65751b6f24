//! The edge that all protocols share: one service for both ports, its layers, the
//! listeners, and the admin port.

mod admin;
mod auth;
mod authority;
mod connection;
mod connections;
mod docs;
mod exchange;
mod guard;
mod health;
mod ids;
mod io;
mod listener;
mod observe;
mod overload;
mod protocol;
mod rate;
mod responses;
mod tls;

use std::sync::Arc;

use axum::{Router, extract::Request};
use http::{HeaderName, HeaderValue, Method, header::ACCEPT_ENCODING};
use tokio::sync::Semaphore;
use tonic::service::Routes;
use tower::{Layer as _, ServiceExt as _};
use tower_http::{
    CompressionLevel,
    compression::{CompressionLayer, predicate::SizeAbove},
    cors::{AllowHeaders, AllowOrigin, CorsLayer},
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
};

pub use admin::router as admin_router;
pub use connections::Connections;
pub use health::{CHECK_INTERVAL, Health, NotReady};
use ids::REQUEST_ID;
pub use listener::{Listener, raise_file_limit, serve};
use protocol::Protocol;
pub use tls::Tls;

use crate::{
    config::ListenConfig,
    dialect::{self, Dialect, Dialects},
    grpc::refused_by_tonic,
    memory::Memory,
    rate::RateLimiter,
};

/// Bytes of a REST response from which it is compressed, if its client accepts that.
const MIN_COMPRESSED: u64 = 1_024;

/// All protocols behind their layers. A request passes, from the outside: request id, its
/// protocol recognized, observation (span, log, metrics), CORS, the requests in flight, whether
/// there is a database to serve from, the guard (panics, deadline), the memory of responses,
/// authentication, the caller's rate, and then by its content type gRPC (or gRPC-Web) or the
/// REST routes.
///
/// The guard stands inside the others, so that a panic's answer too has its request
/// id, its line in the log and its CORS headers. Authentication stands inside the guard,
/// which bounds how long a credential is looked up, and inside CORS, for browsers ask
/// without a credential whether they may call. Requests too many are refused before
/// anything is done for them, so outside of those; and who asks too often is known only
/// inside.
pub fn service(
    routes: Routes,
    dialects: Dialects,
    rest: dialect::Context,
    callers: Option<Arc<RateLimiter>>,
    memory: Memory,
    health: Health,
    config: &ListenConfig,
) -> Router {
    let gate = auth::Gate {
        authenticator: rest.authenticator.clone(),
        max_open_body: config.max_unauthenticated_body,
    };
    let grpc = routes.prepare().into_axum_router();
    let grpc = grpc.layer(axum::middleware::from_fn(observe::note_status));
    let grpc_web = tonic_web::GrpcWebLayer::new().layer(grpc);
    let grpc = Router::new().fallback_service(grpc_web);
    let routes_of = |dialect: &&Dialect| (dialect.routes)(rest.clone());
    let mut rest = dialects
        .iter()
        .map(routes_of)
        .fold(Router::new(), Router::merge);
    if config.reflection {
        rest = rest.merge(docs::router(dialects));
    }
    let compression = CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(SizeAbove::new(MIN_COMPRESSED));
    let rest = rest
        .layer(compression)
        .layer(axum::middleware::map_request(accept_identity))
        .route_layer(axum::middleware::from_fn(observe::note_route))
        .fallback(protocol::not_found);
    let by_protocol = tower::service_fn(move |mut request: Request| {
        let protocol = Protocol::of(&request);
        let malformed = match &protocol {
            Protocol::Grpc(kind) => protocol::refuse_grpc(kind, &mut request),
            Protocol::Rest(_) | Protocol::Docs | Protocol::Unknown => None,
        };
        let routes = if protocol.is_grpc() { &grpc } else { &rest };
        let answer = routes.clone().oneshot(request);
        async move {
            if let Some(refused) = malformed {
                return Ok(refused);
            }
            let answer = answer.await?;
            let refused = if protocol.is_grpc() {
                refused_by_tonic(answer.headers())
            } else {
                None
            };
            Ok(refused.map_or(answer, |error| protocol.render(&error)))
        }
    });
    let guard = guard::Guard {
        request_timeout: config.request_timeout,
    };
    let in_flight = Arc::new(Semaphore::new(config.max_requests_in_flight));
    Router::new()
        .fallback_service(by_protocol)
        .layer(axum::middleware::from_fn_with_state(callers, rate::limit))
        .layer(axum::middleware::from_fn_with_state(
            gate,
            auth::authenticate,
        ))
        .layer(axum::middleware::from_fn_with_state(
            memory,
            responses::count,
        ))
        .layer(axum::middleware::from_fn_with_state(guard, guard::guard))
        .layer(axum::middleware::from_fn_with_state(health, health::gate))
        .layer(axum::middleware::from_fn_with_state(
            in_flight,
            overload::shed,
        ))
        .layer(axum::middleware::from_fn(protocol::require_host))
        .layer(cors(&config.cors_origins))
        .layer(axum::middleware::from_fn_with_state(
            config.tls.is_some(),
            observe::observe,
        ))
        .layer(axum::middleware::from_fn_with_state(
            dialects,
            protocol::recognize,
        ))
        .layer(PropagateRequestIdLayer::new(REQUEST_ID.clone()))
        .layer(SetRequestIdLayer::new(REQUEST_ID.clone(), MakeRequestUuid))
        .layer(axum::middleware::map_request(ids::accept))
}

/// Every client takes a response as it is: a write that is done is not answered with 406 because
/// its response can't be compressed.
async fn accept_identity(mut request: Request) -> Request {
    let forbids = |coding: &str| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").map(str::parse);
        matches!(name.trim(), "identity" | "*") && weight == Some(Ok(0.0_f32))
    };
    let headers = request.headers_mut();
    let values = headers.get_all(ACCEPT_ENCODING).iter();
    let codings = values.filter_map(|value| value.to_str().ok());
    let codings: Vec<_> = codings.flat_map(|value| value.split(',')).collect();
    if codings.iter().any(|coding| forbids(coding)) {
        let kept: Vec<_> = codings.into_iter().filter(|it| !forbids(it)).collect();
        // What is part of a header is one.
        match HeaderValue::try_from(kept.join(",")) {
            Ok(kept) if !kept.is_empty() => headers.insert(ACCEPT_ENCODING, kept),
            Ok(_) | Err(_) => headers.remove(ACCEPT_ENCODING),
        };
    }
    request
}

fn cors(origins: &[String]) -> CorsLayer {
    let layer = CorsLayer::new();
    if origins.is_empty() {
        return layer;
    }
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| origin.parse().ok()))
    };
    // What gRPC-Web clients read of an answer, which a browser hides otherwise.
    let exposed = [
        "grpc-status",
        "grpc-message",
        "grpc-status-details-bin",
        "etag",
        "x-request-id",
        "idempotency-replayed",
        "retry-after",
    ];
    layer
        .allow_origin(allowed)
        .allow_methods([
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ])
        // Not `*`, which does not stand for Authorization.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(exposed.map(HeaderName::from_static))
}
