//! HighLevel's Products Collections API.

use axum::{
    Router,
    response::{IntoResponse as _, Response},
};
use http::{Method, StatusCode};

use super::Context;
use crate::domain::{Error, ErrorKind};

pub fn router(_context: Context) -> Router {
    Router::new()
}

pub fn error_response(error: &Error) -> Response {
    let code = if error.kind() == ErrorKind::Deadline {
        StatusCode::GATEWAY_TIMEOUT
    } else {
        StatusCode::INTERNAL_SERVER_ERROR
    };
    (code, "{}").into_response()
}

pub fn not_found(_method: &Method, _path: &str) -> Response {
    StatusCode::NOT_FOUND.into_response()
}
