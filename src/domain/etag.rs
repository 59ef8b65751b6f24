//! The version of a collection as a strong validator.

use std::fmt;

use super::{
    constraint::Constraint,
    error::{Error, Reason, Violation},
    field::FieldPath,
};

/// A collection's version. It starts at the time of creation in microseconds and
/// rises by at least one with every change, so that an etag of a collection that
/// was deleted and made anew under the same id does not fit the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Etag(i64);

impl Etag {
    /// Of a stored version.
    pub fn of(version: i64) -> Self {
        Self(version)
    }

    /// Parses what a client sends back.
    ///
    /// # Errors
    /// Where it can't be an etag of this service.
    pub fn parse(field: impl Into<FieldPath>, value: &str) -> Result<Self, Violation> {
        i64::from_str_radix(value, 16)
            .ok()
            .filter(|_| value.bytes().all(|b| b.is_ascii_hexdigit()))
            .map(Self)
            .ok_or_else(|| {
                Violation::new(field, value, Constraint::Malformed("an etag as answered"))
            })
    }

    /// Checks that a client's etag is the current one.
    ///
    /// # Errors
    /// [`Reason::EtagMismatch`], saying what is current.
    pub fn expect(self, current: Self, id: &str) -> Result<(), Error> {
        if self == current {
            return Ok(());
        }
        Err(Error::new(
            Reason::EtagMismatch,
            format!("etag {self} is not current; the current one is {current}"),
        )
        .about(id)
        .with("current_etag", current))
    }
}

impl fmt::Display for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_comes_back_as_it_went() {
        let etag = Etag::of(1_795_300_000_000_123);
        assert_eq!(Etag::parse("etag", &etag.to_string()), Ok(etag));
        for odd in ["", "-1", "+1", "g", "W/\"1\"", "ffffffffffffffffffff"] {
            assert!(Etag::parse("etag", odd).is_err(), "{odd}");
        }
    }
}
