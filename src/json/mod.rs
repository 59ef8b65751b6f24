//! `endcap.v1` over HTTP and JSON (transcoding). The option `google.api.http` of each method
//! defines its routes, and messages are translated by their descriptors, so no method needs a
//! handler of its own. A request becomes an encoded message (`request`), the gRPC service is called
//! with it in this process (`call`), and the response message becomes JSON (`response`). So both
//! protocols behave the same, including limits and errors.
//!
//! To `http`, this is one more REST dialect, at `/v1`.

mod call;
#[cfg(test)]
#[path = "../../tests/it/json/client.rs"]
mod client;
mod description;
mod error;
mod names;
mod query;
mod request;
mod response;
#[cfg(test)]
mod round_trips;
mod routes;
mod schema;
mod turn;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
    routing::any,
};
use http::{HeaderValue, Method, header::ALLOW};

use call::Services;
use error::Refused;
use request::Limits;
use routes::{Found, ROUTES};
use turn::translated;

use crate::{
    dialect::{Context, Dialect},
    domain::{Error, Scope},
    grpc,
};

/// The JSON API as a dialect.
pub static DIALECT: Dialect = Dialect {
    name: "Endcap",
    paths: &["/v1"],
    open_paths: &[],
    scope,
    routes,
    error: error_response,
    not_found,
    description_path: "/openapi/endcap.json",
    description: description::describe,
    examples: include_str!("examples.json"),
    rate_headers: None,
    scopes: &[],
    root_names: None,
    facts_of_stored: None,
};

/// The state of the handler.
#[derive(Debug)]
struct Api {
    context: Context,
    services: Services,
    limits: Limits,
}

fn routes(context: Context) -> Router {
    let api = Api {
        limits: Limits {
            body: context.max_body,
            items: context.max_items,
        },
        services: Services::new(grpc::Context {
            requires_tenant: context.authenticator.authentication_enabled(),
            service: Arc::clone(&context.service),
            max_message: context.max_body,
            max_items: context.max_items,
            reflection: false,
        }),
        context,
    };
    Router::new()
        .route("/v1/{*path}", any(handle))
        .with_state(Arc::new(api))
}

async fn handle(State(api): State<Arc<Api>>, request: Request) -> Response {
    match respond(&api, request).await {
        Ok(response) => response,
        Err(refused) => refused.into_response(),
    }
}

async fn respond(api: &Api, request: Request) -> Result<Response, Refused> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let route = match ROUTES.find(&parts.method, path) {
        Found::Route(route) => route,
        Found::Methods(allowed) => return Ok(wrong_method(&parts.method, path, &allowed)),
        Found::Nothing => return Ok(not_found(&parts.method, path)),
    };
    if let Some(context) = crate::telemetry::request::current() {
        context.set_operation_route(&route.binding.template);
    }
    let json = request::json(&route, &parts.headers, body, api.limits).await?;
    let frame = translated(json.len(), || {
        let message = request::message(&route, &parts, &json)?;
        Ok::<_, Refused>(call::frame(&message)?)
    });
    let frame = frame.await?;
    let rpc = &route.binding.rpc;
    let response = api.services.call(&rpc.path, frame, &parts.extensions);
    let response = response
        .await
        .map_err(|status| error::of_call(status, &parts.headers))?;
    response::response(&api.context, rpc, response).await
}

/// The scope that the method of a route requires.
fn scope(method: &Method, path: &str) -> Option<Scope> {
    match ROUTES.find(method, path) {
        Found::Route(route) => grpc::scope(&route.binding.rpc.path),
        Found::Methods(_) | Found::Nothing => None,
    }
}

fn error_response(error: &Error) -> Response {
    Refused::from(grpc::status(error)).into_response()
}

fn not_found(method: &Method, path: &str) -> Response {
    // An id may be the reason, if the path is longer than `/v1/collections`.
    let hint = if path.contains(':') || path.split('/').count() > 4 {
        "; after the last \":\" of a path comes the method, so that in an id \":\" is %3A and \"/\" is \
         %2F"
    } else {
        ""
    };
    error::no_route(format!("route not found: {method} {path}{hint}")).into_response()
}

fn wrong_method(method: &Method, path: &str, allowed: &[&str]) -> Response {
    let allowed = allowed.join(", ");
    let mut response =
        error::wrong_method(format!("{path} allows {allowed}, not {method}")).into_response();
    if let Ok(allowed) = HeaderValue::try_from(allowed) {
        response.headers_mut().insert(ALLOW, allowed);
    }
    response
}
