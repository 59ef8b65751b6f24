//! How fresh a read must be.

use std::time::Duration;

use super::etag::Etag;

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// It shows every write that was acknowledged before it was asked for.
    #[default]
    Full,
    /// The collection is at least as new as that.
    AtLeast(Etag),
    /// It shows every write that was acknowledged that long before.
    Within(Duration),
}

impl Consistency {
    /// The longest that a read may be behind.
    pub const MAX_WITHIN: Duration = Duration::from_secs(3_600);
}
