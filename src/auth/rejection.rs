//! The error of a credential that is not accepted.

use crate::domain::Error;

/// It, and why, for the log: truncated, as that may quote the credential's contents.
pub(crate) fn refused(why: impl Into<String>) -> Error {
    const LOGGED_CHARS: usize = 300;
    let mut why = why.into();
    if let Some((end, _)) = why.char_indices().nth(LOGGED_CHARS) {
        why.truncate(end);
        why.push('…');
    }
    Error::unauthenticated().caused_by(why)
}
