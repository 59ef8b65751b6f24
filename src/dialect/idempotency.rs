//! `Idempotency-Key`: a request that is repeated with the same key gets the first response, byte
//! for byte. If that was too large to store, it gets a response of the same status with the current
//! state. draft-ietf-httpapi-idempotency-key-header writes the key as a quoted string; a bare key
//! is accepted too.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::{
    StatusCode,
    header::{CONTENT_TYPE, ETAG, HeaderName, HeaderValue},
    request::Parts,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::header;
use crate::{
    domain::{Constraint, Error, Etag, RequestId, Result, Retryable, Violation, digest::sha256},
    service::{Retry, StoredResponse},
};

/// The name of the header, for error messages.
pub const HEADER: &str = "Idempotency-Key";
/// The header that marks a replayed response.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// A JSON response, as it is sent and stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    status: u16,
    etag: Option<String>,
    body: String,
}

/// How a dialect renders the result of a use case.
pub type Render<T> = Arc<dyn Fn(&T) -> Reply + Send + Sync>;

impl Reply {
    /// A response with a JSON body, and with an `ETag` header if there is an etag.
    pub fn new(status: StatusCode, etag: Option<Etag>, body: &impl Serialize) -> Self {
        Self {
            status: status.as_u16(),
            etag: etag.map(|etag| format!("\"{etag}\"")),
            // Cannot fail: every response of a dialect can be serialized.
            body: serde_json::to_string(body).unwrap_or_default(),
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        // Cannot fail: it consists of numbers and strings.
        serde_json::to_vec(self).unwrap_or_default()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(Error::internal)
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        let mut response = (status, self.body).into_response();
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        if let Some(etag) = self.etag.and_then(|etag| etag.try_into().ok()) {
            response.headers_mut().insert(ETAG, etag);
        }
        response
    }
}

/// The identity of a request for retries; `None` if it has no idempotency key. `method` is the
/// operation: the same key in different operations is not a retry. `body` is the parsed body, so
/// that white space does not distinguish requests.
///
/// # Errors
/// If the key is invalid.
pub fn request(
    method: &'static str,
    parts: &Parts,
    body: Option<&serde_json::Map<String, Value>>,
) -> Result<Option<Retryable>, Violation> {
    let header = header::one_value(&parts.headers, HEADER);
    let header = header.map_err(|rule| Violation::new(HEADER, "", rule))?;
    let Some(header) = header else {
        return Ok(None);
    };
    let key = header.to_str().map_err(|_| {
        let rule = Constraint::Malformed(crate::domain::ids::ALPHABET);
        Violation::new(HEADER, "", rule)
    })?;
    let bare = key.strip_prefix('"').and_then(|key| key.strip_suffix('"'));
    let id = RequestId::parse(HEADER, bare.unwrap_or(key))?;
    let fingerprint = fingerprint(parts, body);
    Ok(Some(Retryable {
        method,
        id,
        fingerprint,
    }))
}

fn fingerprint(parts: &Parts, body: Option<&serde_json::Map<String, Value>>) -> String {
    let query = parts.uri.query().unwrap_or_default();
    let body = body.and_then(|body| serde_json::to_string(body).ok());
    // Neither of the first three, nor compact JSON, can contain a line break.
    let text = format!(
        "{}\n{}\n{query}\n{}",
        parts.method,
        parts.uri.path(),
        body.unwrap_or_default()
    );
    sha256(text)
}

/// What is stored of a response that is too large.
#[derive(Serialize, Deserialize)]
struct Summary {
    status: u16,
    /// The id of the object that was written.
    about: String,
}

/// The part of a command that stores its response as `render` renders it. `about` returns the id of
/// the object that was written.
pub fn retry<T: 'static>(
    request: Option<Retryable>,
    render: &Render<T>,
    about: fn(&T) -> String,
) -> Option<Retry<T>> {
    let (whole, head) = (Arc::clone(render), Arc::clone(render));
    Some(Retry {
        request: request?,
        encode: Arc::new(move |response| Some(whole(response).to_bytes())),
        summarize: Arc::new(move |response| {
            let summary = Summary {
                status: head(response).status,
                about: about(response),
            };
            // Cannot fail: it consists of a number and a string.
            serde_json::to_vec(&summary).unwrap_or_default()
        }),
    })
}

/// Renders a replayed response from what was stored. If that is a summary, `present` reads the
/// current state of the object that was written.
///
/// # Errors
/// If what was stored, or the current state, can't be read.
pub async fn replay<T, F>(
    stored: StoredResponse,
    render: &Render<T>,
    present: impl FnOnce(String) -> F,
) -> Result<Response>
where
    F: Future<Output = Result<T>>,
{
    match stored {
        StoredResponse::Whole(bytes) => Ok(replayed(Reply::from_bytes(&bytes)?, "stored")),
        StoredResponse::Summary(bytes) => {
            let Summary { status, about } =
                serde_json::from_slice(&bytes).map_err(Error::internal)?;
            let reply = render(&present(about).await?);
            Ok(replayed(Reply { status, ..reply }, "current"))
        }
    }
}

/// Marks a response as replayed. `of` is its source: `stored`, or `current` for the current state.
pub fn replayed(response: impl IntoResponse, of: &'static str) -> Response {
    let mut response = response.into_response();
    let of = HeaderValue::from_static(of);
    response.headers_mut().insert(REPLAYED, of);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(key: &str) -> Parts {
        let request = http::Request::post("/a?b=c").header(HEADER, key);
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn an_idempotency_key_may_be_quoted_and_must_be_a_valid_id() {
        let id = |key| request("m", &parts(key), None).map(|found| found.unwrap().id);
        assert_eq!(id("\"k-1\""), id("k-1"));
        assert_eq!(id("").unwrap_err().constraint, Constraint::Empty);
        assert!(id("a b").is_err());
        let mut twice = parts("k-1");
        twice
            .headers
            .append(HEADER, HeaderValue::from_static("k-1"));
        assert!(request("m", &twice, None).is_ok());
        twice
            .headers
            .append(HEADER, HeaderValue::from_static("k-2"));
        let refused = request("m", &twice, None).unwrap_err();
        assert_eq!(refused.constraint, Constraint::Repeated);
        let none = http::Request::post("/").body(()).unwrap().into_parts().0;
        assert!(request("m", &none, None).unwrap().is_none());
    }

    #[test]
    fn the_fingerprint_depends_on_the_body_but_not_its_whitespace() {
        let of = |body: &str| {
            let body = serde_json::from_str(body).unwrap();
            fingerprint(&parts("k"), Some(&body))
        };
        assert_eq!(of(r#"{"a":1}"#), of("{ \"a\" : 1 }"));
        assert_ne!(of(r#"{"a":1}"#), of(r#"{"a":2}"#));
        assert_ne!(of("{}"), fingerprint(&parts("k"), None));
    }

    #[test]
    fn a_stored_reply_round_trips_with_its_status_and_headers() {
        let body = serde_json::json!({"b": "é", "a": 1});
        let reply = Reply::new(StatusCode::CREATED, Some(Etag::of(255)), &body);
        assert_eq!(Reply::from_bytes(&reply.to_bytes()).unwrap(), reply);
        let response = reply.into_response();
        assert_eq!(response.status(), 201);
        assert_eq!(response.headers()[ETAG], "\"ff\"");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
    }
}
