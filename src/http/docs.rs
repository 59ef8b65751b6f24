//! The first page, the descriptions of the REST dialects, and a page that shows these. Everything
//! on the pages comes from this program: nothing is loaded from elsewhere.

use axum::{
    Router,
    response::{Html, IntoResponse},
    routing::get,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::header::CONTENT_SECURITY_POLICY;
use sha2::{Digest as _, Sha256};
use utoipa_swagger_ui::{Config, SwaggerUi, Url};

use crate::dialect::{Dialects, is_at};

const HOME: &str = "/";
const PAGE: &str = "/docs";

/// The page and what it shows.
pub(super) fn router(dialects: Dialects) -> Router {
    // The page would else have a badge made by another server.
    let config = Config::default().validator_url("none");
    let described = dialects.iter().enumerate().map(|(index, dialect)| {
        let is_first = index == 0;
        let url = Url::with_primary(dialect.name, dialect.description_path, is_first);
        (url, (dialect.description)())
    });
    let page = SwaggerUi::new(PAGE).config(config);
    let (html, policy) = home(dialects);
    let home = get(async move || ([(CONTENT_SECURITY_POLICY, policy)], Html(html)).into_response());
    Router::new()
        .route(HOME, home)
        .merge(page.urls(described.collect()))
}

/// The first page, and its content security policy: it has a style, and nothing that runs or is
/// loaded.
fn home(dialects: Dialects) -> (String, String) {
    let descriptions = dialects.iter().map(|dialect| {
        let (name, path) = (dialect.name, dialect.description_path);
        format!("<li><a href=\"{path}\">OpenAPI description: {name}</a></li>")
    });
    let descriptions = descriptions.collect::<Vec<_>>().join("\n");
    let html = include_str!("home.html");
    let mut parts = html.split(['<', '>']).skip_while(|part| *part != "style");
    let style = parts.nth(1).unwrap_or_default();
    let hash = BASE64_STANDARD.encode(Sha256::digest(style));
    let html = html
        .replace("{version}", env!("CARGO_PKG_VERSION"))
        .replace("{descriptions}", &descriptions);
    (
        html,
        format!("default-src 'none'; style-src 'sha256-{hash}'"),
    )
}

/// Whether that is where the page, or what it shows, is.
pub(super) fn is_here(dialects: Dialects, path: &str) -> bool {
    let mut described = dialects.iter().map(|dialect| dialect.description_path);
    path == HOME || is_at(path, PAGE) || described.any(|described| described == path)
}
