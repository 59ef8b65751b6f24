//! The HTTP server that all protocols share: listeners, connections, the middleware around every
//! request, and the admin port. It routes requests to `grpc`, or to a REST dialect.

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

use std::{convert::Infallible, sync::Arc};

use axum::{Router, body::Body, extract::Request, response::Response};
use futures::FutureExt as _;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version,
    header::{ACCEPT_ENCODING, CONNECTION, VARY},
};
use tokio::sync::{Semaphore, SemaphorePermit};
use tower::{Layer as _, ServiceExt as _, service_fn, util::MapRequestLayer};
use tower_http::{
    CompressionLevel,
    compression::{CompressionLayer, predicate::SizeAbove},
    cors::{AllowHeaders, AllowOrigin, CorsLayer},
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
    domain::Result,
    grpc::{Services, refused_by_tonic},
    memory::Memory,
    rate::RateLimiter,
    telemetry::metrics::GaugeGuard,
};

/// REST responses of at least this many bytes are compressed, if the client accepts that.
const MIN_COMPRESSED: u64 = 1_024;

/// All protocols behind the middleware. From the outside in, a request passes: request id,
/// recognition of its protocol, observation (span, log, metrics), CORS, the limit on requests in
/// flight, readiness, the guard (panics, deadline), the accounting of response memory,
/// authentication, the caller's rate limit, and then, by content type, gRPC (or gRPC-Web) or the
/// REST routes.
///
/// The guard is inside the request id, the log and CORS, so that the response to a panic has all of
/// them. Authentication is inside the guard, which bounds the look-up of a credential, and inside
/// CORS, as browsers send preflight requests without credentials. Excess requests are refused
/// outside of these, before any work is done for them. Rate limits need an authenticated caller, so
/// they are inside authentication.
///
/// The middleware consists of functions: as layers of an axum router, each would cost every request an
/// allocation and a clone of everything inside it.
pub fn handler(
    grpc: Services,
    dialects: Dialects,
    rest: dialect::Context,
    callers: Option<Arc<RateLimiter>>,
    memory: Memory,
    health: Health,
    config: &ListenConfig,
) -> Handler {
    let gate = auth::Gate {
        authenticator: rest.authenticator.clone(),
        max_open_body: config.max_unauthenticated_body,
    };
    let routes_of = |dialect: &&Dialect| (dialect.routes)(rest.clone());
    let mut rest = dialects
        .iter()
        .map(routes_of)
        .fold(Router::new(), Router::merge);
    if config.reflection {
        rest = rest.merge(docs::router(dialects));
    }
    let rest = rest
        .route_layer(MapRequestLayer::new(observe::note_route))
        .fallback(protocol::not_found);
    Handler::Api(Arc::new(Api {
        dialects,
        has_tls: config.tls.is_some(),
        cors: cors(&config.cors_origins),
        in_flight: Semaphore::new(config.max_requests_in_flight),
        health,
        guard: guard::Guard {
            request_timeout: config.request_timeout,
        },
        memory,
        gate,
        callers,
        grpc,
        rest,
        compression: CompressionLayer::new()
            .quality(CompressionLevel::Fastest)
            .compress_when(SizeAbove::new(MIN_COMPRESSED)),
    }))
}

/// What a listener serves. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Handler {
    /// All protocols behind the middleware.
    Api(Arc<Api>),
    /// Routes without middleware.
    Routes(Router),
}

impl From<Router> for Handler {
    fn from(routes: Router) -> Self {
        Self::Routes(routes)
    }
}

impl Handler {
    /// Serves a request.
    pub async fn call(self, request: Request) -> Response {
        match self {
            Self::Api(api) => api.serve(request).await,
            Self::Routes(routes) => {
                let response = routes.oneshot(request).await;
                response.unwrap_or_else(|never| match never {})
            }
        }
    }
}

/// The state of the middleware.
#[derive(Debug)]
pub struct Api {
    dialects: Dialects,
    has_tls: bool,
    /// `None` if no origin is allowed.
    cors: Option<CorsLayer>,
    in_flight: Semaphore,
    health: Health,
    guard: guard::Guard,
    memory: Memory,
    gate: auth::Gate,
    callers: Option<Arc<RateLimiter>>,
    grpc: Services,
    rest: Router,
    compression: CompressionLayer<SizeAbove>,
}

impl Api {
    /// Serves a request.
    async fn serve(&self, mut request: Request) -> Response {
        let id = ids::ensure(&mut request);
        let request = protocol::recognize(self.dialects, request);
        let is_http1 = request.version() < Version::HTTP_2;
        // Boxed, as the functions around it would move it several times.
        let inside = |request| self.allow_origins(request).boxed();
        let mut response = observe::observe(self.has_tls, request, inside).await;
        let headers = response.headers_mut();
        id.and_then(|id| headers.insert(REQUEST_ID.clone(), id));
        // Once probes report not ready: the connections themselves start to drain a moment later.
        if is_http1 && self.health.is_draining() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// Serves a request within the rules of CORS.
    async fn allow_origins(&self, request: Request) -> Response {
        let Some(cors) = &self.cors else {
            return self.handle(request).await;
        };
        let inside = |request| async { Ok::<_, Infallible>(self.handle(request).await) };
        let response = cors.layer(service_fn(inside)).oneshot(request).await;
        response.unwrap_or_else(|never| match never {})
    }

    /// Serves a request: everything inside CORS.
    async fn handle(&self, request: Request) -> Response {
        if let Some(refused) = protocol::host_missing(&request) {
            return refused;
        }
        let protocol = &Protocol::of(&request);
        let _guard = GaugeGuard::request();
        let _slot = match self.admit(protocol, request.uri().path()) {
            Ok(slot) => slot,
            Err(error) => return protocol.render(&error),
        };
        let known = |request| {
            let response = self.authenticated(request, protocol);
            let response = response.map(|it| it.unwrap_or_else(|error| protocol.render(&error)));
            // Boxed, as the functions around it would move it several times.
            response.boxed()
        };
        let counted = |request| responses::count(&self.memory, request, known);
        guard::guard(self.guard, request, counted).await
    }

    /// Takes the slot of a request, if it can be served.
    fn admit(&self, protocol: &Protocol, path: &str) -> Result<Option<SemaphorePermit<'_>>> {
        let slot = overload::admit(&self.in_flight, protocol, path)?;
        self.health.check(protocol, path)?;
        Ok(slot)
    }

    /// Serves a request after authenticating its caller.
    async fn authenticated(&self, mut request: Request, protocol: &Protocol) -> Result<Response> {
        auth::authenticate(&self.gate, protocol, &mut request).await?;
        let taken = rate::take(self.callers.as_deref(), &request)?;
        let mut response = self.route(request, protocol).await;
        if let Some(taken) = taken {
            rate::report(protocol, taken, &mut response);
        }
        Ok(response)
    }

    /// Routes a request by its protocol.
    async fn route(&self, mut request: Request, protocol: &Protocol) -> Response {
        let Protocol::Grpc(kind) = protocol else {
            accept_identity(request.headers_mut());
            let rest = self.compression.layer(self.rest.clone());
            let response = rest.oneshot(request).await;
            let mut response = response.unwrap_or_else(|never| match never {});
            // As the response that it stands for: the layer leaves out what has no body.
            if response.status() == StatusCode::NOT_MODIFIED {
                response.headers_mut().append(VARY, ACCEPT_ENCODING.into());
            }
            return response.map(Body::new);
        };
        if let Some(refused) = protocol::refuse_grpc(kind, &mut request) {
            return refused;
        }
        if !protocol.is_grpc_web() {
            return call(&self.grpc, request, protocol).await;
        }
        let (grpc, protocol) = (self.grpc.clone(), protocol.clone());
        let noted = service_fn(move |request: http::Request<tonic::body::Body>| {
            let (grpc, protocol) = (grpc.clone(), protocol.clone());
            async move {
                let response = call(&grpc, request.map(Body::new), &protocol).await;
                Ok::<_, Infallible>(observe::note_status(response))
            }
        });
        let response = tonic_web::GrpcWebLayer::new().layer(noted).oneshot(request);
        let response = response.await.unwrap_or_else(|never| match never {});
        response.map(Body::new)
    }
}

/// Calls a gRPC method.
async fn call(grpc: &Services, request: Request, protocol: &Protocol) -> Response {
    let response = grpc.call(request).await;
    let refused = refused_by_tonic(response.headers());
    refused.map_or(response, |error| protocol.render(&error))
}

/// Makes every client accept an uncompressed response, by removing what forbids `identity` from
/// `Accept-Encoding`. A write must not be executed and then get 406.
fn accept_identity(headers: &mut HeaderMap) {
    let forbids = |coding: &str| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").map(str::parse);
        matches!(name.trim(), "identity" | "*") && weight == Some(Ok(0.0_f32))
    };
    let values = headers.get_all(ACCEPT_ENCODING).iter();
    let codings = values.filter_map(|value| value.to_str().ok());
    let codings: Vec<_> = codings.flat_map(|value| value.split(',')).collect();
    if codings.iter().any(|coding| forbids(coding)) {
        let kept: Vec<_> = codings.into_iter().filter(|it| !forbids(it)).collect();
        // Cannot fail: parts of a valid header value make a valid one.
        match HeaderValue::try_from(kept.join(",")) {
            Ok(kept) if !kept.is_empty() => headers.insert(ACCEPT_ENCODING, kept),
            Ok(_) | Err(_) => headers.remove(ACCEPT_ENCODING),
        };
    }
}

/// The layer for CORS; `None` if no origin is allowed.
fn cors(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| origin.parse().ok()))
    };
    // The headers that gRPC-Web and REST clients read, and browsers would otherwise hide from them.
    let exposed = [
        "grpc-status",
        "grpc-message",
        "grpc-status-details-bin",
        "etag",
        "x-request-id",
        "idempotency-replayed",
        "retry-after",
    ];
    let layer = CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ])
        // Not `*`, which does not cover `Authorization`.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(exposed.map(HeaderName::from_static));
    Some(layer)
}
