//! REST dialects: the APIs of vendors, each with routes, JSON, queries and errors of its own over
//! the same use cases. The rest of the program knows a dialect as a [`Dialect`]. The dialects share
//! [`body`], [`handler`], [`header`], [`id_list`], [`idempotency`], [`json_body`] and
//! [`precondition`].
//!
//! docs/project/adding-a-dialect.md says how to add one.

pub mod body;
pub mod handler;
pub mod header;
pub mod highlevel;
mod id_list;
pub mod idempotency;
mod json_body;
mod openapi;
pub mod oracle;
pub mod precondition;

use std::sync::Arc;

use axum::{Router, response::Response};
use http::{HeaderMap, Method};
use serde_json::Value;

use crate::{
    auth::Authenticator,
    config::Raw,
    domain::{Error, Rate, RootNames, Scope},
    service::{FactsOfStored, Service},
};

/// The dialects that a server serves.
pub type Dialects = &'static [&'static Dialect];

/// A REST dialect, as the rest of the program sees it.
#[derive(Debug)]
pub struct Dialect {
    /// Its display name.
    pub name: &'static str,
    /// The path prefixes that it claims. Errors below them are rendered in its form, whether or not
    /// one of its routes matches.
    pub paths: &'static [&'static str],
    /// The paths among them that need no credential.
    pub open_paths: &'static [&'static str],
    /// The scope that a request with this method and path requires, as far as is known before its
    /// body is read. `None` if it depends on the rest of the request, or any credential suffices.
    pub scope: fn(&Method, &str) -> Option<Scope>,
    /// Its routes.
    pub routes: fn(Context) -> Router,
    /// Renders an error that occurred outside of its handlers. Logs internal errors.
    pub error: fn(&Error) -> Response,
    /// The response if no route matches.
    pub not_found: fn(&Method, &str) -> Response,
    /// The path of its OpenAPI description.
    pub description_path: &'static str,
    /// Its OpenAPI description.
    pub description: fn() -> Value,
    /// Its examples: JSON with the request and the response of each operation.
    pub examples: &'static str,
    /// Adds rate limit headers: the rate, and the number of remaining requests. `None` if the
    /// vendor's clients don't read such headers.
    pub rate_headers: Option<fn(&mut HeaderMap, Rate, u32)>,
    /// Its names for scopes.
    pub scopes: &'static [(&'static str, Scope)],
    /// The vendor's names for the root collections of a new tenant; `None` if it has no roots. At
    /// most one dialect has names.
    pub root_names: Option<RootNames>,
    /// Derives the facts of a product that was stored through the dialect before facts existed.
    /// `None` if that can't have happened.
    pub facts_of_stored: Option<FactsOfStored>,
}

/// What the routes of all dialects depend on. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Context {
    /// The use cases.
    pub service: Arc<Service>,
    /// Issues and revokes the tokens of logins.
    pub authenticator: Authenticator,
    /// The settings; dialects read their own from here.
    pub settings: Arc<Raw>,
    /// The largest request body, in bytes.
    pub max_body: usize,
    /// The maximum number of values and names in the JSON of a request.
    pub max_items: usize,
    /// The largest body of a request that needs no credential, in bytes.
    pub max_unauthenticated_body: usize,
}

impl Dialect {
    /// Whether it claims the path. `/products` does not claim `/productsX`.
    pub fn claims(&self, path: &str) -> bool {
        self.paths.iter().any(|claimed| is_at(path, claimed))
    }
}

/// The scope that a vendor's request requires by its method alone: POST, PUT and PATCH write.
pub fn scope_of_body(method: &Method, _: &str) -> Option<Scope> {
    let has_body = [Method::POST, Method::PUT, Method::PATCH].contains(method);
    has_body.then_some(Scope::CollectionsWrite)
}

/// Whether a path is `place` or below it.
pub fn is_at(path: &str, place: &str) -> bool {
    let rest = path.strip_prefix(place);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
