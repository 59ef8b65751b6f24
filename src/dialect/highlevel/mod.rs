//! HighLevel's Products Collections API, and of its Products API what collections
//! need: a location is a tenant, a collection stands under the root, and its name and
//! SEO texts are those of the default locale.
//! docs/compatibility.md says what is HighLevel's and what is ours.

mod description;
mod error;
mod fields;
mod handler;
mod headers;
mod openapi;
mod products;
mod query;
mod request;
mod response;
mod routes;
mod rules;

use axum::Router;

pub use description::describe;
pub use error::{error_response, not_found, rate_headers};

use super::Context;

/// The routes. What is at none of them is left to the edge.
pub fn router(context: Context) -> Router {
    routes::router()
        .merge(products::router())
        .with_state(context)
}
