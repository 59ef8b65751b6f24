//! What the descriptions of the dialects share.

use utoipa::openapi::{
    OpenApi,
    security::{Http, HttpAuthScheme, SecurityScheme},
};

/// Says that a request has a bearer's token, under the name that the vendor gives that.
pub fn add_bearer(description: &mut OpenApi, name: &str) {
    let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let components = description.components.get_or_insert_default();
    components.add_security_scheme(name, scheme);
}
