//! Pages of lists: where they start, and how much they contain. Page tokens are issued by
//! [`crate::service`].

use std::{fmt, sync::Arc};

use super::{
    constraint::Constraint,
    error::{Error, Reason, Violation},
    field::FieldPath,
    ids::CollectionId,
};

/// The number of items on a page if the request does not specify it.
pub const DEFAULT_SIZE: usize = 50;

/// The start of a page of collections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// After the collection with this creation time (microseconds since 1970) and id; `None` for
    /// the first page.
    After(Option<(i64, CollectionId)>),
    /// After this many items.
    Offset(u64),
}

impl Start {
    /// The offset; 0 if the page starts after an item.
    pub fn offset(&self) -> u64 {
        match self {
            Self::Offset(offset) => *offset,
            Self::After(_) => 0,
        }
    }
}

/// A limit on the size of a page, in the encoding of the response's protocol.
#[derive(Clone)]
pub struct PageBytes<T> {
    /// The maximum size of all items together, in bytes.
    pub max: usize,
    /// The size of an item, in bytes.
    pub of: Arc<dyn Fn(&T) -> usize + Send + Sync>,
}

impl<T> PageBytes<T> {
    /// Whether `count` items that take `stored` bytes in the database may exceed the limit,
    /// estimated without encoding them. A number may be stored in two bytes and sent in thirteen;
    /// the rest of an item is small.
    pub fn may_exceed(&self, count: usize, stored: usize) -> bool {
        const GROWTH: usize = 8;
        const REST: usize = 8 << 10;
        stored.saturating_mul(GROWTH) + count.saturating_mul(REST) > self.max
    }

    /// The number of items that fit. The first item always does.
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

/// The number of items with these sizes that fit into `max` bytes. The first item always does.
pub fn fitting(sizes: impl IntoIterator<Item = usize>, max: usize) -> usize {
    let mut sum = 0_usize;
    let fits = sizes.into_iter().enumerate().take_while(|(at, size)| {
        sum = sum.saturating_add(*size);
        *at == 0 || sum <= max
    });
    fits.count()
}

/// The page size of a request: 0 stands for the default, and values over `max` for `max`.
///
/// # Errors
/// If it is negative.
pub fn size(field: impl Into<FieldPath>, value: i32, max: usize) -> Result<usize, Violation> {
    match usize::try_from(value) {
        Ok(0) => Ok(DEFAULT_SIZE.min(max)),
        Ok(size) => Ok(size.min(max)),
        Err(_) => Err(Violation::new(
            field,
            &value.to_string(),
            Constraint::OutOfRange {
                min: 0,
                max: i32::MAX.into(),
            },
        )),
    }
}

/// The error of a token that does not belong to the request.
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
    fn a_page_has_at_least_one_item_and_no_more_than_fit() {
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
