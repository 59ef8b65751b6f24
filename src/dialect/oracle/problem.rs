//! The problems of a request, and the error body: `{message, status, errorCode}`, with a list
//! `errors` if there are several problems. The top level then has the code of the first one,
//! because Oracle's SDK takes a response without a code for a success.

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use serde_json::{Map, Value, json};

use super::codes::Code;
use crate::domain::error::shorten;

/// The maximum number of problems in a response, so that it does not outgrow the request.
pub const TOLD: usize = 100;

/// The number of characters of a path, and of details, that are sent.
const SHOWN: usize = 2_000;

/// After how many seconds a client may retry if the service is overloaded.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// One problem of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The error code.
    pub code: Code,
    /// Details beyond the code's message, such as the value or the limit. May be empty.
    pub detail: String,
    /// The field, as the request spells it, such as `moves.0.fromEnd`.
    pub path: Option<String>,
}

impl Problem {
    /// A problem that is not about a field.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: shorten(&detail.into(), SHOWN),
            path: None,
        }
    }

    /// A problem with a field.
    pub fn at(code: Code, path: impl Into<String>, detail: impl std::fmt::Display) -> Self {
        let path = shorten(&path.into(), SHOWN);
        Self {
            code,
            detail: shorten(&format!("{path}: {detail}"), SHOWN),
            path: Some(path),
        }
    }

    fn message(&self) -> String {
        match self.detail.as_str() {
            "" => self.code.words.into(),
            detail => format!("{}: {detail}", self.code.words.trim_end_matches('.')),
        }
    }

    pub(super) fn body(&self) -> Map<String, Value> {
        let mut body = Map::new();
        body.insert("message".into(), self.message().into());
        body.insert("status".into(), self.code.status.as_str().into());
        body.insert("errorCode".into(), self.code.number.into());
        if let Some(path) = &self.path {
            body.insert("o:errorPath".into(), path.as_str().into());
        }
        body
    }
}

/// The error response. Duplicate problems are left out.
pub fn response(problems: &[Problem]) -> Response {
    let mut told: Vec<&Problem> = Vec::with_capacity(problems.len());
    for problem in problems {
        if !told.contains(&problem) {
            told.push(problem);
        }
    }
    let status = problems
        .first()
        .map_or(StatusCode::INTERNAL_SERVER_ERROR, |p| p.code.status);
    let kind = format!(
        "https://httpwg.org/specs/rfc9110.html#status.{}",
        status.as_u16()
    );
    let mut body = match told.as_slice() {
        [problem] => problem.body(),
        told => {
            let errors: Vec<_> = told.iter().map(|problem| problem.body()).collect();
            let body = json!({
                "message": format!("{} problems were found", errors.len()),
                "status": status.as_str(),
                "errorCode": told.first().map(|problem| problem.code.number),
                "errors": errors,
            });
            body.as_object().cloned().unwrap_or_default()
        }
    };
    body.insert("type".into(), kind.into());
    let mut response = (status, Json(body)).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, RETRY_SECONDS);
    }
    response
}
