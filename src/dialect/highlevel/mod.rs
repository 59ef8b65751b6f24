//! HighLevel's Products Collections API, and the parts of its Products API that collections need. A
//! location is a tenant. All collections are children of the root, and their name and SEO texts are
//! those of the default locale. docs/reference/highlevel.md says what is HighLevel's and what is an
//! Endcap extension.

mod description;
mod error;
mod fields;
mod handler;
mod headers;
mod object_id;
mod openapi;
mod prices;
mod products;
mod query;
mod request;
mod response;
mod routes;
mod rules;

use axum::Router;

use super::{Context, Dialect};
use crate::domain::Scope;

/// HighLevel's API as a dialect.
pub static DIALECT: Dialect = Dialect {
    name: "HighLevel",
    paths: &["/products"],
    open_paths: &[],
    scope: super::scope_of_body,
    routes,
    error: error::error_response,
    not_found: error::not_found,
    description_path: "/openapi/highlevel.json",
    description: || super::openapi::json(&description::describe()),
    examples: include_str!("examples.json"),
    rate_headers: Some(error::rate_headers),
    scopes: &[
        ("products/collection.readonly", Scope::CollectionsRead),
        ("products/collection.write", Scope::CollectionsWrite),
    ],
    root_names: None,
    facts_of_stored: Some(products::facts_of_stored),
};

fn routes(context: Context) -> Router {
    routes::router()
        .merge(products::router())
        .merge(prices::router())
        .with_state(context)
}
