//! The error of a rejected credential.

use std::fmt;

use crate::domain::Error;

/// Why a credential was rejected; also the label by which rejections are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// No credential was sent.
    Missing,
    /// It is malformed.
    Malformed,
    /// The server does not accept this type of credential.
    Unsupported,
    /// Its id is unknown.
    Unknown,
    /// The secret or the signature does not match.
    Mismatch,
    /// It was revoked, or its login was ended.
    Revoked,
    /// It is expired.
    Expired,
    /// Its claims are not valid.
    Invalid,
}

impl Reason {
    /// The label in metrics.
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

/// Why a credential was rejected, with details for the log.
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

/// An authentication error. `why` is for the log, and is truncated, as it may quote the
/// credential's contents.
pub(crate) fn refused(reason: Reason, why: impl Into<String>) -> Error {
    const LOGGED_CHARS: usize = 300;
    let mut why = why.into();
    if let Some((end, _)) = why.char_indices().nth(LOGGED_CHARS) {
        why.truncate(end);
        why.push('…');
    }
    Error::unauthenticated().caused_by(Rejection { reason, why })
}
