//! Oracle Commerce's Admin API for collections.

use axum::{
    Router,
    response::{IntoResponse as _, Response},
};
use http::StatusCode;

use super::Context;
use crate::domain::Error;

pub fn router(_context: Context) -> Router {
    Router::new()
}

pub fn error_response(_error: &Error) -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, "{}").into_response()
}

pub fn not_found(_path: &str) -> Response {
    StatusCode::NOT_FOUND.into_response()
}
