//! Constraints on fields, without the field.

use std::fmt;

/// A constraint on a field. Structured, because each dialect has its own words for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Constraint {
    /// Must be given.
    Required,
    /// Must not be given, because of what the text says.
    Forbidden(&'static str),
    /// Must not be empty.
    Empty,
    /// Counts `length` characters (or bytes where the field says so).
    TooLong {
        /// What it has.
        length: usize,
        /// What it may have.
        max: usize,
    },
    /// Has `count` items.
    TooMany {
        /// What it has.
        count: usize,
        /// What it may have.
        max: usize,
    },
    /// Has groups in groups, or JSON in JSON, so many levels of them.
    TooDeep {
        /// What it has.
        depth: usize,
        /// What it may have.
        max: usize,
    },
    /// Must be as the text says ("a BCP 47 locale such as en or pt-BR").
    Malformed(&'static str),
    /// Must be from `min` to `max`.
    OutOfRange {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// Must be one of those that the text lists.
    Unknown(&'static str),
    /// Must be one of those that the setting lists.
    NotListed(&'static str),
    /// Must not repeat.
    Repeated,
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Required => f.write_str("is required"),
            Self::Forbidden(why) => write!(f, "is not allowed: {why}"),
            Self::Empty => f.write_str("must not be empty"),
            Self::TooLong { length, max } => {
                write!(f, "is {length} long; the limit is {max}")
            }
            Self::TooMany { count, max } => write!(f, "has {count} items; the limit is {max}"),
            Self::TooDeep { depth, max } => write!(f, "has {depth} levels; the limit is {max}"),
            Self::Malformed(what) => write!(f, "must be {what}"),
            Self::OutOfRange { min, max } => write!(f, "must be from {min} to {max}"),
            Self::Unknown(known) => write!(f, "must be one of {known}"),
            Self::NotListed(setting) => {
                write!(
                    f,
                    "is not among those that the server's setting `{setting}` lists"
                )
            }
            Self::Repeated => f.write_str("is given twice"),
        }
    }
}
