//! The descriptions of the REST dialects, and a page that shows them. Everything on the
//! page comes from this program: nothing is loaded from elsewhere.

use axum::Router;
use utoipa_swagger_ui::{Config, SwaggerUi, Url};

use crate::dialect::{highlevel, oracle};

const PAGE: &str = "/docs";
const HIGHLEVEL: &str = "/openapi/highlevel.json";
const ORACLE: &str = "/openapi/oracle.json";

/// The page and what it shows.
pub(super) fn router() -> Router {
    // The page would else have a badge made by another server.
    let config = Config::default().validator_url("none");
    let page = SwaggerUi::new(PAGE).config(config);
    let page = page
        .url(
            Url::with_primary("HighLevel", HIGHLEVEL, true),
            highlevel::describe(),
        )
        .url(Url::new("Oracle Commerce", ORACLE), oracle::describe());
    Router::new().merge(page)
}

/// Whether that is where the page, or what it shows, is.
pub(super) fn is_here(path: &str) -> bool {
    let rest = path.strip_prefix(PAGE);
    [HIGHLEVEL, ORACLE].contains(&path)
        || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
