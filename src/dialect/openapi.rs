//! What the OpenAPI descriptions of the dialects share.

use utoipa::openapi::{
    OpenApi,
    security::{Http, HttpAuthScheme, SecurityScheme},
};

/// Adds bearer authentication to a description, under the vendor's name for it.
pub fn add_bearer(description: &mut OpenApi, name: &str) {
    let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let components = description.components.get_or_insert_default();
    components.add_security_scheme(name, scheme);
}
