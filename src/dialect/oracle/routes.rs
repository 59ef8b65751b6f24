//! The addresses.

use axum::{
    Router,
    extract::Request,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};

use super::{
    codes, create,
    error::{Failure, Problem},
    get as get_one, update,
};
use crate::dialect::Context;

/// Where the Admin API stands: for programs, and for the administration's pages.
const PREFIXES: [&str; 2] = ["/ccadmin/v1", "/ccadminui/v1"];

/// The paths that need no credential: there one gets one.
pub const OPEN_PATHS: [&str; 2] = ["/ccadmin/v1/login", "/ccadminui/v1/login"];

/// The routes. What is at none of them is left to the edge.
pub fn router(context: Context) -> Router {
    let mut router = Router::new();
    for prefix in PREFIXES {
        // Oracle's own client writes the slash at the end.
        for slash in ["", "/"] {
            router = router
                .route(
                    &format!("{prefix}/collections{slash}"),
                    post(create::handle),
                )
                .route(
                    &format!("{prefix}/collections/{{id}}{slash}"),
                    get(get_one::handle).put(update::handle),
                );
        }
    }
    router
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(context)
}

async fn method_not_allowed(request: Request) -> Response {
    let detail = format!("{} {}", request.method(), request.uri().path());
    Failure::from(Problem::new(codes::METHOD_NOT_ALLOWED, detail)).into_response()
}
