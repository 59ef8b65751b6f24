//! The routes of this dialect, and the scopes that they require.

use axum::{
    Router,
    extract::Request,
    middleware,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use http::Method;

use super::{
    assign, catalogs, codes, create, delete, error::Failure, get as read, list, login, movement,
    problem::Problem, product_list, products, query, update,
};
use crate::{
    dialect::{Context, scope_of_body},
    domain::Scope,
};

/// The path prefixes of the Admin API: for programs, and for the pages of the administration UI.
const PREFIXES: [&str; 2] = ["/ccadmin/v1", "/ccadminui/v1"];

/// The login paths, which need no credential.
pub const OPEN_PATHS: [&str; 8] = [
    "/ccadmin/v1/login",
    "/ccadmin/v1/login/",
    "/ccadmin/v1/mfalogin",
    "/ccadmin/v1/mfalogin/",
    "/ccadminui/v1/login",
    "/ccadminui/v1/login/",
    "/ccadminui/v1/mfalogin",
    "/ccadminui/v1/mfalogin/",
];

/// The paths that any valid token may use, because they are about the token itself.
const SESSION_PATHS: [&str; 12] = [
    "/ccadmin/v1/refresh",
    "/ccadmin/v1/refresh/",
    "/ccadmin/v1/verify",
    "/ccadmin/v1/verify/",
    "/ccadmin/v1/logout",
    "/ccadmin/v1/logout/",
    "/ccadminui/v1/refresh",
    "/ccadminui/v1/refresh/",
    "/ccadminui/v1/verify",
    "/ccadminui/v1/verify/",
    "/ccadminui/v1/logout",
    "/ccadminui/v1/logout/",
];

/// The scope that a request requires, as far as is known without its body.
pub fn scope(method: &Method, path: &str) -> Option<Scope> {
    let is_about_data = !SESSION_PATHS.contains(&path);
    scope_of_body(method, path).filter(|_| is_about_data)
}

/// The routes. The caller responds to other paths.
pub fn router(context: Context) -> Router {
    let mut router = Router::new();
    for prefix in PREFIXES {
        // Oracle's own client adds a trailing slash.
        for slash in ["", "/"] {
            let at = |path: &str| format!("{prefix}{path}{slash}");
            router = router
                .route(&at("/login"), post(login::log_in))
                .route(&at("/mfalogin"), post(login::log_in_with_mfa))
                .route(&at("/refresh"), post(login::refresh))
                .route(&at("/verify"), post(login::verify))
                .route(&at("/logout"), post(login::log_out))
                .route(
                    &at("/collections"),
                    get(list::handle).post(create::handle).put(movement::handle),
                )
                .route(&at("/collections/assignProducts"), post(assign::handle))
                .route(
                    &at("/collections/{id}"),
                    get(read::handle).put(update::handle).delete(delete::handle),
                )
                .route(
                    &at("/products"),
                    get(product_list::handle).post(products::create),
                )
                .route(
                    &at("/products/{id}"),
                    get(products::read)
                        .put(products::update)
                        .delete(products::delete),
                )
                .route(&at("/catalogs"), get(catalogs::list))
                .route(&at("/locales"), get(catalogs::locales))
                .route(
                    &at("/products/{id}/addToCollections"),
                    post(products::add_to_collections),
                );
        }
    }
    router
        .method_not_allowed_fallback(method_not_allowed)
        .route_layer(middleware::from_fn(query::check))
        .with_state(context)
}

async fn method_not_allowed(request: Request) -> Response {
    let detail = format!("{} {}", request.method(), request.uri().path());
    Failure::from(Problem::new(codes::METHOD_NOT_ALLOWED, detail)).into_response()
}
