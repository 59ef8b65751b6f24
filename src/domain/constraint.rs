//! Constraints on the values of fields, independent of the field. A [`super::Violation`] combines a
//! constraint with the field ([`super::field`]) and its value.

use std::fmt;

/// A violated constraint. It is structured, because each dialect has its own messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Constraint {
    /// A value is required.
    Required,
    /// No value is allowed, for the given reason.
    Forbidden(&'static str),
    /// The value must not be empty.
    Empty,
    /// The text is too long.
    TooLong {
        /// The actual length in characters.
        length: usize,
        /// The maximum length in characters.
        max: usize,
    },
    /// The value is too large.
    TooLarge {
        /// The actual size in bytes.
        bytes: usize,
        /// The maximum size in bytes.
        max: usize,
    },
    /// There are too many items.
    TooMany {
        /// The actual number.
        count: usize,
        /// The maximum number.
        max: usize,
    },
    /// Groups of rules, or JSON values, are nested too deeply.
    TooDeep {
        /// The actual number of levels.
        depth: usize,
        /// The maximum number of levels.
        max: usize,
    },
    /// Rules would complete a too long chain of collections in which the rules of each name the
    /// next.
    ChainTooLong {
        /// The number of collections that would be in the chain.
        length: usize,
        /// The maximum number.
        max: usize,
    },
    /// The value must have the described form ("a BCP 47 locale such as en or pt-BR").
    Malformed(&'static str),
    /// The value must be from `min` to `max`.
    OutOfRange {
        /// The minimum.
        min: i64,
        /// The maximum.
        max: i64,
    },
    /// The value must be one of the described ones.
    Unknown(&'static str),
    /// The value must be one of those in the named setting.
    NotListed(&'static str),
    /// The value must not occur twice.
    Repeated,
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Required => f.write_str("is required"),
            Self::Forbidden(why) => write!(f, "is not allowed: {why}"),
            Self::Empty => f.write_str("must not be empty"),
            Self::TooLong { length, max } => {
                write!(f, "is {length} characters long; the limit is {max}")
            }
            Self::TooLarge { bytes, max } => write!(f, "has {bytes} bytes; the limit is {max}"),
            Self::TooMany { count, max } => write!(f, "has {count} items; the limit is {max}"),
            Self::TooDeep { depth, max } => write!(f, "has {depth} levels; the limit is {max}"),
            Self::ChainTooLong { length, max } => write!(
                f,
                "makes a chain of {length} collections whose rules each name the next; the limit is \
                 {max}"
            ),
            Self::Malformed(what) => write!(f, "must be {what}"),
            Self::OutOfRange { min, max } => write!(f, "must be from {min} to {max}"),
            Self::Unknown(known) => write!(f, "must be one of {known}"),
            Self::NotListed(setting) => {
                write!(f, "is not listed in the server's setting `{setting}`")
            }
            Self::Repeated => f.write_str("is given twice"),
        }
    }
}
