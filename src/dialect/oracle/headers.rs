//! The request headers of this dialect.

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

/// The language of the texts in a write.
///
/// # Errors
/// If the header is missing, or names a locale that is not allowed.
pub fn required_language(headers: &HeaderMap, settings: &Settings) -> Result<Locale, Failure> {
    language(headers, settings)?.ok_or_else(|| Problem::new(codes::LANGUAGE_MISSING, "").into())
}

/// The language of a read; the default locale if the header is missing.
///
/// # Errors
/// If it names a locale that is not allowed.
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
        return Err(refuse("is neither an enabled locale nor a prefix of one"));
    }
    Ok(Some(locale))
}

/// The identity of a request for retries. It includes the language, because the same body in
/// another language is another request.
///
/// # Errors
/// If `Idempotency-Key` is invalid.
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

/// The id in the path. A malformed id gets the code of an unknown one.
///
/// # Errors
/// If it is blank or malformed.
pub fn path_id(
    path: Result<Path<String>, PathRejection>,
    operation: Operation,
) -> Result<CollectionId, Failure> {
    // Invalid UTF-8 after decoding can't be an id either.
    let id = path.map_or_else(|_| char::REPLACEMENT_CHARACTER.into(), |Path(id)| id);
    if id.trim().is_empty() {
        return Err(Problem::new(operation.id_empty(), "").into());
    }
    CollectionId::parse("id", &id)
        .map_err(|violation| Problem::new(operation.id_invalid(), violation.to_string()).into())
}
