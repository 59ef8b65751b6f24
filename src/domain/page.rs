//! Pages: where one starts and how much it holds.

use std::{fmt, sync::Arc};

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

impl Start {
    /// The offset; 0 if it starts after an item.
    pub fn offset(&self) -> u64 {
        match self {
            Self::Offset(offset) => *offset,
            Self::After(_) => 0,
        }
    }
}

/// How many bytes the items of a page may take, as the protocol of the response writes them.
#[derive(Clone)]
pub struct PageBytes<T> {
    /// All of them together.
    pub max: usize,
    /// One of them.
    pub of: Arc<dyn Fn(&T) -> usize + Send + Sync>,
}

impl<T> PageBytes<T> {
    /// Whether so many items, which are stored in so many bytes together, may take more than
    /// that. A number is stored in two bytes and sent in thirteen; the rest of an item is small.
    pub fn may_exceed(&self, count: usize, stored: usize) -> bool {
        const GROWTH: usize = 8;
        const REST: usize = 8 << 10;
        stored.saturating_mul(GROWTH) + count.saturating_mul(REST) > self.max
    }

    /// How many of the items fit, the first of them in any case.
    pub fn fitting(&self, items: &[T]) -> usize {
        fitting(items.iter().map(|item| (self.of)(item)), self.max)
    }
}

impl<T> fmt::Debug for PageBytes<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageBytes")
            .field("max", &self.max)
            .finish_non_exhaustive()
    }
}

/// How many bytes a response takes while it is made of so many: rows, values and what is
/// written.
pub fn made_of(stored: usize) -> usize {
    stored.saturating_mul(6)
}

/// How many items of these sizes fit into `max` bytes, the first of them in any case.
pub fn fitting(sizes: impl IntoIterator<Item = usize>, max: usize) -> usize {
    let mut sum = 0_usize;
    let fits = sizes.into_iter().enumerate().take_while(|(at, size)| {
        sum = sum.saturating_add(*size);
        *at == 0 || sum <= max
    });
    fits.count()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_an_item_and_no_more_than_fit() {
        for (sizes, fit) in [
            (&[][..], 0),
            (&[11], 1),
            (&[11, 1], 1),
            (&[5, 5, 1], 2),
            (&[5, 6], 1),
            (&[0, 0, 10], 3),
            (&[1, usize::MAX, 1], 1),
        ] {
            assert_eq!(fitting(sizes.iter().copied(), 10), fit, "{sizes:?}");
        }
    }
}
