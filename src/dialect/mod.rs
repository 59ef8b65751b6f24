//! What a REST dialect is, and those of the vendors: each is its routes, its JSON, its queries and its errors over
//! the same use cases, and is known to the rest of the program as a [`Dialect`]. What they
//! share is here: [`body`], [`handler`], [`header`], [`id_list`], [`idempotency`], [`json_body`]
//! and [`precondition`].
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
use utoipa::openapi::OpenApi;

use crate::{
    auth::Authenticator,
    config::Raw,
    domain::{Error, Rate, RootNames, Scope},
    service::{FactsOfStored, Service},
};

/// Those that are served.
pub type Dialects = &'static [&'static Dialect];

/// A REST dialect, as the rest of the program takes it.
#[derive(Debug)]
pub struct Dialect {
    /// What people call it.
    pub name: &'static str,
    /// The paths that it claims, each with all below it. Errors there are rendered in its
    /// form, whether one of its routes matches or not.
    pub paths: &'static [&'static str],
    /// The paths among them that need no credential.
    pub open_paths: &'static [&'static str],
    /// The scope that a request needs in any case, by its method and path, before its body is
    /// read; none where that depends on the rest of the request, or a login is enough.
    pub scope: fn(&Method, &str) -> Option<Scope>,
    /// Its routes.
    pub routes: fn(Context) -> Router,
    /// The response to a request that failed before a route took it, or in one that did not
    /// return. Logs the error where it is ours.
    pub error: fn(&Error) -> Response,
    /// The response where no route matches.
    pub not_found: fn(&Method, &str) -> Response,
    /// Where its description is served.
    pub description_path: &'static str,
    /// Its description.
    pub description: fn() -> OpenApi,
    /// Its examples: the JSON of a request and a response for each operation.
    pub examples: &'static str,
    /// Adds to a response's headers how often the caller may ask, and how many requests it
    /// has left; none where the vendor's clients do not read that.
    pub rate_headers: Option<fn(&mut HeaderMap, Rate, u32)>,
    /// Its own names for scopes.
    pub scopes: &'static [(&'static str, Scope)],
    /// The vendor's names for the roots that a new tenant gets; none where it has no roots.
    /// One dialect at most has some.
    pub root_names: Option<RootNames>,
    /// The facts of a product that a client of the dialect stored before facts were; none where
    /// nobody could.
    pub facts_of_stored: Option<FactsOfStored>,
}

/// What the routes of all dialects work with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Context {
    /// The use cases.
    pub service: Service,
    /// Who gives tokens to those that log in.
    pub authenticator: Authenticator,
    /// The settings, for a dialect to read its own.
    pub settings: Arc<Raw>,
    /// Bytes of a request's body at most.
    pub max_body: usize,
    /// Values and names in a request's JSON at most.
    pub max_items: usize,
    /// Bytes of the body of a request that needs no credential.
    pub max_unauthenticated_body: usize,
}

impl Dialect {
    /// Whether the path is one that it claims: `/products` is not `/productsX`.
    pub fn claims(&self, path: &str) -> bool {
        self.paths.iter().any(|claimed| is_at(path, claimed))
    }
}

/// The scope of a vendor's request by its method alone: one with a body writes.
pub fn scope_of_body(method: &Method, _: &str) -> Option<Scope> {
    let has_body = [Method::POST, Method::PUT, Method::PATCH].contains(method);
    has_body.then_some(Scope::CollectionsWrite)
}

/// Whether the path is `place` or below it.
pub fn is_at(path: &str, place: &str) -> bool {
    let rest = path.strip_prefix(place);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
