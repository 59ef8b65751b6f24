//! Reads JSON request bodies: checks the content type, decompresses, and enforces the limits on
//! bytes and items. All dialects and the JSON API use it.

use std::io::Read as _;

use axum::body::{Body, Bytes};
use flate2::read::MultiGzDecoder;
use http::{
    HeaderMap,
    header::{CONTENT_ENCODING, CONTENT_TYPE, ORIGIN},
};
use http_body::Body as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::{Map, Value};

use crate::{processor, telemetry::metrics};

/// The UTF-8 byte order mark, which some programs write at the beginning of a file.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a body can't be used. The text is for the client.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It exceeds the limit on bytes.
    #[error("the request body is over the limit of {max} bytes")]
    TooLarge {
        /// The limit, in bytes.
        max: usize,
    },
    /// It exceeds the limit on values and names.
    #[error(
        "the request body has more than {max} values and names; the limit is max_message_items"
    )]
    TooManyItems {
        /// The limit.
        max: usize,
    },
    /// It has an unsupported content type.
    #[error("the content type {0:?} is not supported; send application/json")]
    ContentType(String),
    /// A web page sent it without a content type.
    #[error("a request from a web page needs the content type application/json")]
    NoContentType,
    /// It has an unsupported content encoding.
    #[error("the content encoding {0:?} is not supported; send gzip or identity")]
    ContentEncoding(String),
    /// It can't be decompressed.
    #[error("the request body is not valid gzip")]
    Encoding,
    /// It is not valid JSON.
    #[error("the request body is not valid JSON: {0}")]
    Malformed(String),
    /// It is JSON, but not an object.
    #[error("the request body must be a JSON object")]
    NotAnObject,
    /// It was not received completely.
    #[error("the request body is incomplete")]
    Cut,
}

/// Reads the JSON object in a body. A missing content type means JSON, except from a web page.
///
/// # Errors
/// If the body has more than `max` bytes (decompressed) or `max_items` values and names, has
/// another content type, or is not a JSON object. JSON may be nested 128 levels deep.
pub async fn json_object(
    headers: &HeaderMap,
    body: Body,
    max: usize,
    max_items: usize,
) -> Result<Map<String, Value>, BodyError> {
    let bytes = json(headers, body, max, max_items).await?;
    processor::work(bytes.len(), || match serde_json::from_slice(&bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(BodyError::NotAnObject),
        Err(error) => Err(BodyError::Malformed(error.to_string())),
    })
}

/// Reads a body that will be parsed as JSON. A missing content type means JSON, except from a web
/// page.
///
/// # Errors
/// If the body has more than `max` bytes (decompressed) or `max_items` values and names, or has
/// another content type.
pub async fn json(
    headers: &HeaderMap,
    body: Body,
    max: usize,
    max_items: usize,
) -> Result<Bytes, BodyError> {
    match headers.get(CONTENT_TYPE) {
        Some(kind) if !is_json(kind.as_bytes()) => {
            let kind = String::from_utf8_lossy(kind.as_bytes());
            return Err(BodyError::ContentType(kind.into_owned()));
        }
        // Browsers send it to any origin without asking first, whereas JSON requires CORS.
        None if headers.contains_key(ORIGIN) && !body.is_end_stream() => {
            return Err(BodyError::NoContentType);
        }
        Some(_) | None => {}
    }
    let mut bytes = bytes(headers, body, max).await?;
    // Some editors write a byte order mark, which the parser would reject.
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes = bytes.slice(BYTE_ORDER_MARK.len()..);
    }
    if !processor::work(bytes.len(), || has_at_most(&bytes, max_items)) {
        metrics::refused("max_message_items");
        return Err(BodyError::TooManyItems { max: max_items });
    }
    Ok(bytes)
}

/// Whether JSON has at most `max` values and names. Checked before parsing, because a value of two
/// bytes takes dozens in memory. Invalid JSON is left to the parser.
fn has_at_most(json: &[u8], max: usize) -> bool {
    let (mut is_text, mut is_escaped) = (false, false);
    let begins = json.iter().filter(|byte| {
        if is_text {
            is_text = is_escaped || **byte != b'"';
            is_escaped = !is_escaped && **byte == b'\\';
            return false;
        }
        is_text = **byte == b'"';
        // Every value and name except the first of all follows one of these.
        matches!(byte, b'[' | b'{' | b',' | b':')
    });
    begins.take(max.saturating_add(1)).count() <= max
}

/// Reads a whole body, decompressed.
///
/// # Errors
/// If it has more than `max` bytes, or is not received completely.
pub async fn bytes(headers: &HeaderMap, body: Body, max: usize) -> Result<Bytes, BodyError> {
    at_most(headers, body, max, "max_body_size").await
}

/// Like [`bytes()`], under another limit than `max_body_size`; `limit` is the name of its setting.
///
/// # Errors
/// See [`bytes()`].
pub async fn at_most(
    headers: &HeaderMap,
    body: Body,
    max: usize,
    limit: &'static str,
) -> Result<Bytes, BodyError> {
    let is_gzip = is_gzip(headers)?;
    let too_large = || {
        metrics::refused(limit);
        BodyError::TooLarge { max }
    };
    // A `Content-Length` over the limit is rejected at once.
    if body.size_hint().lower() > max as u64 {
        return Err(too_large());
    }
    let sent = match Limited::new(body, max).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(too_large()),
        Err(_) => return Err(BodyError::Cut),
    };
    if !is_gzip {
        return Ok(sent);
    }
    let mut inflated = Vec::new();
    let most = (max as u64).saturating_add(1);
    // The size of the decompressed body is unknown, so the limit is assumed.
    let read = processor::work(max, || {
        let mut decoder = MultiGzDecoder::new(sent.as_ref()).take(most);
        decoder.read_to_end(&mut inflated)
    });
    match read {
        Ok(length) if length > max => Err(too_large()),
        Ok(_) => Ok(inflated.into()),
        Err(_) => Err(BodyError::Encoding),
    }
}

/// Whether the headers declare the body as gzip.
fn is_gzip(headers: &HeaderMap) -> Result<bool, BodyError> {
    let encodings = headers.get_all(CONTENT_ENCODING).iter();
    let encodings: Vec<_> = encodings
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(|encoding| String::from_utf8_lossy(encoding.trim_ascii()).to_ascii_lowercase())
        .filter(|encoding| !encoding.is_empty() && encoding != "identity")
        .collect();
    match encodings.as_slice() {
        [] => Ok(false),
        [one] if one == "gzip" || one == "x-gzip" => Ok(true),
        more => Err(BodyError::ContentEncoding(more.join(", "))),
    }
}

/// Whether a content type is `application/json`, with or without parameters, or has the suffix
/// `+json`.
fn is_json(kind: &[u8]) -> bool {
    let kind = String::from_utf8_lossy(kind).to_ascii_lowercase();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence == "application/json" || essence.ends_with("+json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_names_are_counted_and_string_contents_are_skipped() {
        for (json, items) in [
            (r#"{"a":[1,2,{}]}"#, 6),
            (r#"{"a,b:[{\"\\":"]{,\\"}"#, 2),
            ("[[[[", 4),
            ("", 0),
        ] {
            assert!(has_at_most(json.as_bytes(), items), "{json}");
            let fewer = items.checked_sub(1);
            let fits = fewer.is_some_and(|fewer| has_at_most(json.as_bytes(), fewer));
            assert!(!fits, "{json}");
        }
    }
}
