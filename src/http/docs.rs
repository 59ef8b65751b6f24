//! The descriptions of the REST dialects, and a page that shows them. Everything on the
//! page comes from this program: nothing is loaded from elsewhere.

use axum::Router;
use utoipa_swagger_ui::{Config, SwaggerUi, Url};

use crate::dialect::{Dialects, is_at};

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
    Router::new().merge(page.urls(described.collect()))
}

/// Whether that is where the page, or what it shows, is.
pub(super) fn is_here(dialects: Dialects, path: &str) -> bool {
    let mut described = dialects.iter().map(|dialect| dialect.description_path);
    is_at(path, PAGE) || described.any(|described| described == path)
}
