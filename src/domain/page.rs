//! Pages: where one starts and how much it holds.

use super::{
    constraint::Constraint,
    error::{Error, Reason, Violation},
    field::FieldPath,
    ids::CollectionId,
};

/// The items of a page where a request names no number.
pub const DEFAULT_SIZE: usize = 50;

/// Where a page of collections starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// After the collection with this creation time (microseconds) and id; none
    /// for the first page.
    After(Option<(i64, CollectionId)>),
    /// After so many.
    Offset(u64),
}

/// A page size as a request gives it: 0 means the default, more than `max` means
/// `max`.
///
/// # Errors
/// Where it is negative.
pub fn size(field: impl Into<FieldPath>, value: i32, max: usize) -> Result<usize, Violation> {
    match usize::try_from(value) {
        Ok(0) => Ok(DEFAULT_SIZE.min(max)),
        Ok(size) => Ok(size.min(max)),
        Err(_) => Err(Violation::new(
            field,
            &value.to_string(),
            Constraint::OutOfRange {
                min: 0,
                max: i64::try_from(max).unwrap_or(i64::MAX),
            },
        )),
    }
}

/// A token that can't go on with this request.
pub fn bad_token() -> Error {
    Error::new(
        Reason::PageTokenInvalid,
        "invalid page token; start again without one",
    )
}
