//! Access to headers that must have one value.

use http::{HeaderMap, HeaderValue, header::AsHeaderName};

use crate::domain::Constraint;

/// The value of a header; `None` if it is missing.
///
/// # Errors
/// If it is repeated with different values.
pub fn one_value(
    headers: &HeaderMap,
    name: impl AsHeaderName,
) -> Result<Option<&HeaderValue>, Constraint> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.any(|other| Some(other) != first) {
        return Err(Constraint::Repeated);
    }
    Ok(first)
}
