//! The error of a credential that is not accepted.

use std::fmt;

use crate::domain::Error;

/// Why a credential is not accepted, in a word: by these rejections are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// There is none.
    Missing,
    /// It is not of the form that it should have.
    Malformed,
    /// It is of a kind that the server does not accept.
    Unsupported,
    /// Nothing is known by its id.
    Unknown,
    /// Its secret or its signature is not the right one.
    Mismatch,
    /// It was revoked, or its login was ended.
    Revoked,
    /// It is expired.
    Expired,
    /// What it claims does not hold.
    Invalid,
}

impl Reason {
    /// Its name in metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Unsupported => "unsupported",
            Self::Unknown => "unknown",
            Self::Mismatch => "mismatch",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Invalid => "invalid",
        }
    }
}

/// Why a credential is not accepted.
#[derive(Debug)]
pub(crate) struct Rejection {
    pub(crate) reason: Reason,
    why: String,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Rejection {}

/// The error, and why, for the log: truncated, as that may quote the credential's contents.
pub(crate) fn refused(reason: Reason, why: impl Into<String>) -> Error {
    const LOGGED_CHARS: usize = 300;
    let mut why = why.into();
    if let Some((end, _)) = why.char_indices().nth(LOGGED_CHARS) {
        why.truncate(end);
        why.push('…');
    }
    Error::unauthenticated().caused_by(Rejection { reason, why })
}
