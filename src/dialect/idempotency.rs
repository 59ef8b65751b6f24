//! `Idempotency-Key`: a request that comes again under its key gets the first answer, byte for
//! byte; where that was too large to be kept, one of the same status with what the data says by
//! then. The draft standard (draft-ietf-httpapi-idempotency-key-header)
//! writes the key as a quoted string; a bare one is taken too.

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
    service::{Kept, Retry},
};

/// The header, as error messages name it.
pub const HEADER: &str = "Idempotency-Key";
/// What a response to a retry has.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// A JSON answer, as it is sent and as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    status: u16,
    etag: Option<String>,
    body: String,
}

/// How a dialect writes the answer of a use case.
pub type Render<T> = Arc<dyn Fn(&T) -> Reply + Send + Sync>;

impl Reply {
    /// An answer with that body, and with an `ETag` header where there is an etag.
    pub fn new(status: StatusCode, etag: Option<Etag>, body: &impl Serialize) -> Self {
        Self {
            status: status.as_u16(),
            etag: etag.map(|etag| format!("\"{etag}\"")),
            // What a dialect answers can always be written.
            body: serde_json::to_string(body).unwrap_or_default(),
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        // Numbers and strings can always be written.
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

/// What the request is known by when it comes again; none where it names no key.
/// `method` names the operation: keys of different operations don't meet. `body` is
/// the parsed body, so that spaces in it don't make it another request.
///
/// # Errors
/// Where the key can't be one.
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
    // A line break can stand in none of the first three, nor in compact JSON.
    let text = format!(
        "{}\n{}\n{query}\n{}",
        parts.method,
        parts.uri.path(),
        body.unwrap_or_default()
    );
    sha256(text)
}

/// What is kept of an answer that is too large.
#[derive(Serialize, Deserialize)]
struct Summary {
    status: u16,
    /// The id of what was written.
    about: String,
}

/// What a command carries so that the answer is kept as `render` writes it; `about` is the id
/// of what is written.
pub fn retry<T: 'static>(
    request: Option<Retryable>,
    render: &Render<T>,
    about: fn(&T) -> String,
) -> Option<Retry<T>> {
    let (whole, head) = (Arc::clone(render), Arc::clone(render));
    Some(Retry {
        request: request?,
        encode: Arc::new(move |answer| Some(whole(answer).to_bytes())),
        summarize: Arc::new(move |answer| {
            let summary = Summary {
                status: head(answer).status,
                about: about(answer),
            };
            // A number and a text can always be written.
            serde_json::to_vec(&summary).unwrap_or_default()
        }),
    })
}

/// The answer to a retry, as it was kept; or, with `present`, which reads what was written, as
/// it is by now.
///
/// # Errors
/// Where what was kept can't be read, or what was written.
pub async fn replay<T, F>(
    kept: Kept,
    render: &Render<T>,
    present: impl FnOnce(String) -> F,
) -> Result<Response>
where
    F: Future<Output = Result<T>>,
{
    match kept {
        Kept::Whole(bytes) => Ok(replayed(Reply::from_bytes(&bytes)?, "stored")),
        Kept::Summary(bytes) => {
            let Summary { status, about } =
                serde_json::from_slice(&bytes).map_err(Error::internal)?;
            let reply = render(&present(about).await?);
            Ok(replayed(Reply { status, ..reply }, "current"))
        }
    }
}

/// Says of a response that it is to a retry, and of when it is: `stored`, or `current`.
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
    fn a_key_may_be_quoted_and_must_be_an_id() {
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
    fn the_fingerprint_tells_requests_apart_and_not_their_spaces() {
        let of = |body: &str| {
            let body = serde_json::from_str(body).unwrap();
            fingerprint(&parts("k"), Some(&body))
        };
        assert_eq!(of(r#"{"a":1}"#), of("{ \"a\" : 1 }"));
        assert_ne!(of(r#"{"a":1}"#), of(r#"{"a":2}"#));
        assert_ne!(of("{}"), fingerprint(&parts("k"), None));
    }

    #[test]
    fn an_answer_is_kept_whole() {
        let body = serde_json::json!({"b": "é", "a": 1});
        let reply = Reply::new(StatusCode::CREATED, Some(Etag::of(255)), &body);
        assert_eq!(Reply::from_bytes(&reply.to_bytes()).unwrap(), reply);
        let response = reply.into_response();
        assert_eq!(response.status(), 201);
        assert_eq!(response.headers()[ETAG], "\"ff\"");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
    }
}
