//! The request headers that this dialect knows.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use http::{HeaderMap, request::Parts};

use super::{codes, error::Failure, fields::Object, operation::Operation, problem::Problem};
use crate::{
    dialect::{header, idempotency},
    domain::{CollectionId, Locale, Retryable},
    service::Settings,
};

const LANGUAGE: &str = "x-ccasset-language";

/// The language of a write, whose texts it writes.
///
/// # Errors
/// Where the header is missing or names no locale that may be written.
pub fn required_language(headers: &HeaderMap, settings: &Settings) -> Result<Locale, Failure> {
    language(headers, settings)?.ok_or_else(|| Problem::new(codes::LANGUAGE_MISSING, "").into())
}

/// The language of a read; the default locale where it names none.
///
/// # Errors
/// Where it names no locale that there may be texts in.
pub fn optional_language(headers: &HeaderMap, settings: &Settings) -> Result<Locale, Failure> {
    let named = language(headers, settings)?;
    Ok(named.unwrap_or_else(|| settings.default_locale.clone()))
}

fn language(headers: &HeaderMap, settings: &Settings) -> Result<Option<Locale>, Failure> {
    let value = header::one_value(headers, LANGUAGE);
    let value = value.map_err(|why| Problem::at(codes::BAD_REQUEST, LANGUAGE, why))?;
    let Some(value) = value else {
        return Ok(None);
    };
    let value = String::from_utf8_lossy(value.as_bytes());
    let value = value.trim();
    if value.is_empty() {
        return Ok(None);
    }
    let refuse = |detail: &str| {
        let detail = format!("{value:?} {detail}");
        Failure::from(Problem::at(codes::BAD_REQUEST, LANGUAGE, detail))
    };
    let locale = Locale::parse(value).map_err(|constraint| refuse(&constraint.to_string()))?;
    if !settings.locales().allow(&locale) {
        return Err(refuse(
            "is not among the locales that are enabled, nor a prefix of it",
        ));
    }
    Ok(Some(locale))
}

/// What the request is known by when it comes again. The language of one that writes texts
/// counts: the same body in another is another request.
///
/// # Errors
/// Where its `Idempotency-Key` can't be one.
pub fn retryable(
    method: &'static str,
    parts: &Parts,
    body: Option<&Object>,
    locale: Option<&Locale>,
) -> Result<Option<Retryable>, Failure> {
    let mut request = idempotency::request(method, parts, body)
        .map_err(|violation| Problem::new(codes::BAD_REQUEST, violation.to_string()))?;
    if let (Some(request), Some(locale)) = (&mut request, locale) {
        request.fingerprint.push_str(&format!(" {locale}"));
    }
    Ok(request)
}

/// The id in the path. One that can't be an id is not that of a collection.
///
/// # Errors
/// Where it is blank or can't be an id.
pub fn path_id(
    path: Result<Path<String>, PathRejection>,
    operation: Operation,
) -> Result<CollectionId, Failure> {
    // What is not UTF-8 after decoding is no id.
    let id = path.map_or_else(|_| char::REPLACEMENT_CHARACTER.into(), |Path(id)| id);
    if id.trim().is_empty() {
        return Err(Problem::new(operation.id_empty(), "").into());
    }
    CollectionId::parse("id", &id)
        .map_err(|violation| Problem::new(operation.id_invalid(), violation.to_string()).into())
}
