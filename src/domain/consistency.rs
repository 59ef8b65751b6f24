//! The required freshness of a read. It decides whether a cached response or the read replica may
//! serve the read.

use std::time::Duration;

use super::etag::Etag;

/// The required freshness of a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// The read sees every write that was acknowledged before the request.
    #[default]
    Full,
    /// The collection is at least as new as this etag.
    AtLeast(Etag),
    /// The read sees every write that was acknowledged at least this long before the request.
    Within(Duration),
}

impl Consistency {
    /// The maximum staleness that may be allowed.
    pub const MAX_WITHIN: Duration = Duration::from_secs(3_600);
}
