//! What the OpenAPI descriptions of the dialects share.

use serde_json::Value;
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

/// A description as JSON.
pub fn json(description: &OpenApi) -> Value {
    // Cannot fail: a description has no keys but strings.
    serde_json::to_value(description).unwrap_or_default()
}
