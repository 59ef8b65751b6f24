//! The problems of a request and the error body: `{message, status, errorCode}`, with a list of
//! `errors` if there are several problems. The code at the top is then that of the first: Oracle's
//! SDK takes a response without one for a success.

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use serde_json::{Map, Value, json};

use super::codes::Code;

/// Problems that an answer tells at most, so that it does not outgrow its request.
pub const TOLD: usize = 100;

/// Seconds after which a client may try again when the service is too busy.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// One thing that is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its code.
    pub code: Code,
    /// What the code's words leave open: the value, the limit. May be empty.
    pub detail: String,
    /// The field, as the request spells it (`moves.0.fromEnd`).
    pub path: Option<String>,
}

impl Problem {
    /// A problem with no field.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self {
            code,
            detail,
            path: None,
        }
    }

    /// The problem of a field.
    pub fn at(code: Code, path: impl Into<String>, detail: impl std::fmt::Display) -> Self {
        let path = path.into();
        Self {
            code,
            detail: format!("{path}: {detail}"),
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

/// The error response. Duplicates are left out.
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
