//! The home page, the OpenAPI descriptions of the HTTP APIs, and Swagger UI at `/docs/`. All files
//! come from this program; the pages load nothing from other hosts.

mod examples;

use std::sync::Arc;

use axum::{
    Router,
    extract::Path,
    response::{Html, IntoResponse, Redirect, Response},
    routing::{MethodRouter, get},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE},
};
use sha2::{Digest as _, Sha256};
use utoipa_swagger_ui::Config;

use crate::dialect::{Dialects, is_at};

const HOME: &str = "/";
const PAGE: &str = "/docs";
/// The content security policy of `/docs/`: scripts and styles of this server only, which may call
/// this server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// The routes of the pages and of what they load.
pub(super) fn router(dialects: Dialects) -> Router {
    let (html, policy) = home(dialects);
    let mut router = Router::new()
        .route(HOME, page(html, policy))
        .route(PAGE, get(async || Redirect::to("docs/")))
        .route("/docs/", page(docs(dialects), POLICY.to_owned()))
        .route("/docs/{file}", get(file));
    for dialect in dialects {
        let description = Bytes::from(examples::described(dialect));
        let kind = [(CONTENT_TYPE, "application/json")];
        let description = get(async move || (kind, description));
        router = router.route(dialect.description_path, description);
    }
    router
}

fn page(html: String, policy: String) -> MethodRouter {
    let html = Bytes::from(html);
    get(async move || ([(CONTENT_SECURITY_POLICY, policy)], Html(html)))
}

/// The home page, and its content security policy, which allows its inline style by hash, and
/// nothing else.
fn home(dialects: Dialects) -> (String, String) {
    let html = include_str!("home.html");
    // The policy allows the inline style by its hash, so the hash is computed from the page itself.
    let mut parts = html.split(['<', '>']).skip_while(|part| *part != "style");
    let style = parts.nth(1).unwrap_or_default();
    let hash = BASE64_STANDARD.encode(Sha256::digest(style));
    let links = links(dialects, |name, path| {
        format!("<li><a href=\"{path}\">OpenAPI description: {name}</a></li>")
    });
    let html = filled(html, &links);
    (
        html,
        format!("default-src 'none'; style-src 'sha256-{hash}'"),
    )
}

/// The page with Swagger UI.
fn docs(dialects: Dialects) -> String {
    let links = links(dialects, |name, path| {
        let file = path.rsplit('/').next().unwrap_or_default();
        let api = file.trim_end_matches(".json");
        format!("<a href=\"?api={api}\" data-description=\"../{path}\">{name}</a>")
    });
    filled(include_str!("docs.html"), &links)
}

/// One link per description. Paths are relative, because a proxy may serve the pages below a path
/// of its own.
fn links(dialects: Dialects, link: impl Fn(&str, &str) -> String) -> String {
    let links = dialects.iter().map(|dialect| {
        let path = dialect.description_path.trim_start_matches('/');
        link(dialect.name, path)
    });
    links.collect::<Vec<_>>().join("\n")
}

fn filled(html: &str, links: &str) -> String {
    html.replace("{version}", env!("CARGO_PKG_VERSION"))
        .replace("{descriptions}", links)
}

/// The files that the page loads: its own, and those of Swagger UI.
async fn file(Path(name): Path<String>) -> Response {
    let (kind, text) = match name.as_str() {
        "docs.css" => ("text/css; charset=utf-8", include_str!("docs.css")),
        "docs.js" => ("text/javascript; charset=utf-8", include_str!("docs.js")),
        "sample.json" => ("application/json", include_str!("sample.json")),
        "swagger-ui.css" | "swagger-ui-bundle.js" => return swagger_ui(&name),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    ([(CONTENT_TYPE, kind)], text).into_response()
}

fn swagger_ui(name: &str) -> Response {
    let Ok(Some(file)) = utoipa_swagger_ui::serve(name, Arc::new(Config::default())) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let mut response = ([(CONTENT_TYPE, file.content_type)], file.bytes).into_response();
    if file.gzpipped {
        let gzip = HeaderValue::from_static("gzip");
        response.headers_mut().insert(CONTENT_ENCODING, gzip);
    }
    response
}

/// Whether a path belongs to these pages or to a description.
pub(super) fn is_here(dialects: Dialects, path: &str) -> bool {
    let mut described = dialects.iter().map(|dialect| dialect.description_path);
    path == HOME || is_at(path, PAGE) || described.any(|described| described == path)
}
