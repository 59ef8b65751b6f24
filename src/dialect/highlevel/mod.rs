//! HighLevel's Products Collections API, and of its Products API what collections
//! need: a location is a tenant, a collection stands under the root, and its name and
//! SEO texts are those of the default locale.
//! docs/compatibility.md says what is HighLevel's and what is ours.

mod error;
mod fields;
mod headers;
mod openapi;
mod products;
mod query;
mod request;
mod response;
mod routes;
mod rules;

pub use error::{error_response, not_found, rate_headers};
pub use openapi::openapi;
pub use routes::router;

/// `altType` has this one value; clients write it in either case.
const ALT_TYPE: &str = "location";
