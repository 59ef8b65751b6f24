//! How often somebody may ask.

use std::{num::NonZeroU32, time::Duration};

/// So many requests in such a time. All of them may come at once; the allowance then
/// grows back evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: NonZeroU32,
    /// In which time.
    pub interval: Duration,
}

/// What who asked too often is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttled {
    /// How often it may ask.
    pub rate: Rate,
    /// When it may ask again.
    pub retry_after: Duration,
}

impl Throttled {
    /// When it may ask again, in the whole seconds of `Retry-After`: one at least.
    pub fn retry_seconds(&self) -> u64 {
        let whole = self.retry_after.as_secs();
        let rest = u64::from(self.retry_after.subsec_nanos() > 0);
        (whole + rest).max(1)
    }
}
