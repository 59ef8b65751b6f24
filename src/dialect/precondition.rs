//! Conditional requests: `If-Match` and `If-None-Match` with etags, and how fresh a read must be.

use http::{
    HeaderMap,
    header::{IF_MATCH, IF_NONE_MATCH},
};

use super::header;
use crate::domain::{
    Consistency, Constraint, Error, Etag, Precondition, Reason, Violation, error::shorten,
};

/// The etag that `If-Match` requires; `None` without the header, or for `*`. Only one strong etag
/// is supported: weak ones and lists don't identify the version to change.
///
/// # Errors
/// [`Reason::EtagMismatch`] if it can't be the current etag.
pub fn if_match(headers: &HeaderMap) -> Result<Option<Precondition>, Error> {
    let Ok(header) = header::one_value(headers, IF_MATCH) else {
        let message = "If-Match: must have exactly one etag";
        return Err(Error::new(Reason::EtagMismatch, message));
    };
    let Some(header) = header else {
        return Ok(None);
    };
    let text = header.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let tag = text.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
    match tag.map(|tag| Precondition::parse("If-Match", tag)) {
        Some(Ok(etag)) => Ok(Some(etag)),
        // An etag that this service did not issue can't be current.
        Some(Err(_)) | None => {
            let text = shorten(text, 80);
            let message =
                format!("If-Match: {text} must be an etag of a response, in quotes, or *");
            Err(Error::new(Reason::EtagMismatch, message))
        }
    }
}

/// Whether `If-None-Match` contains this etag, that is, the client has the current version. Uses
/// the weak comparison, as RFC 9110 demands.
pub fn has_already(headers: &HeaderMap, etag: Etag) -> bool {
    if !headers.contains_key(IF_NONE_MATCH) {
        return false;
    }
    let current = format!("\"{etag}\"");
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|header| header.to_str().ok())
        .flat_map(|header| header.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == current)
}

/// The header that says how fresh the response must be, as error messages name it.
pub const CONSISTENCY: &str = "Endcap-Consistency";

/// Parses `Endcap-Consistency`: `full`, `at-least=` with an etag, or `within=` with a duration such
/// as `500ms`. `None` without the header.
///
/// # Errors
/// If it has another form, or the duration is too long.
pub fn consistency(headers: &HeaderMap) -> Result<Option<Consistency>, Violation> {
    const FORM: &str = "full, at-least=ETAG, or within=DURATION from 0s to 1h";
    let header = header::one_value(headers, CONSISTENCY);
    let header = header.map_err(|rule| Violation::new(CONSISTENCY, "", rule))?;
    let Some(header) = header else {
        return Ok(None);
    };
    let text = header.to_str().unwrap_or_default().trim();
    let malformed = || Violation::new(CONSISTENCY, text, Constraint::Malformed(FORM));
    let consistency = match text.split_once('=') {
        None if text == "full" => Some(Consistency::Full),
        Some(("at-least", etag)) => {
            let etag = Etag::parse(CONSISTENCY, etag.trim_matches('"')).ok();
            etag.map(Consistency::AtLeast)
        }
        Some(("within", time)) => {
            let time = humantime::parse_duration(time).ok();
            let time = time.filter(|time| *time <= Consistency::MAX_WITHIN);
            time.map(Consistency::Within)
        }
        _ => None,
    };
    consistency.map(Some).ok_or_else(malformed)
}

#[cfg(test)]
mod tests {
    use http::header::HeaderValue;

    use super::*;

    fn with(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static(value))])
    }

    #[test]
    fn if_match_takes_one_strong_tag_or_any() {
        let read = |value| if_match(&with("if-match", value));
        let etag = Precondition::Collection(Etag::of(255));
        assert_eq!(read("\"ff\"").unwrap(), Some(etag));
        assert_eq!(read("*").unwrap(), None);
        assert_eq!(if_match(&HeaderMap::new()).unwrap(), None);
        let mut twice = with("if-match", "\"ff\"");
        twice.append("if-match", HeaderValue::from_static("\"fe\""));
        assert_eq!(if_match(&twice).unwrap_err().reason, Reason::EtagMismatch);
        for odd in ["ff", "W/\"ff\"", "\"ff\", \"fe\"", "\"", "\"xyz\"", ""] {
            assert_eq!(read(odd).unwrap_err().reason, Reason::EtagMismatch, "{odd}");
        }
    }

    #[test]
    fn if_none_match_compares_weakly() {
        let has = |value| has_already(&with("if-none-match", value), Etag::of(255));
        assert!(has("\"ff\"") && has("W/\"ff\"") && has("\"a\", \"ff\"") && has("*"));
        assert!(!has("\"fe\"") && !has("ff"));
    }
}
