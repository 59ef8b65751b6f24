//! Rate limits: the configured rate, and what a rejected caller is told. They are enforced outside
//! the domain.

use std::{num::NonZeroU32, time::Duration};

/// A number of requests per interval. All of them may come in a burst; the allowance is then
/// replenished evenly (a token bucket).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The number of requests.
    pub count: NonZeroU32,
    /// The interval.
    pub interval: Duration,
}

/// The details of a rejected request that exceeded a rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttled {
    /// The limit.
    pub rate: Rate,
    /// How long to wait before a retry can succeed.
    pub retry_after: Duration,
}

impl Throttled {
    /// The wait in whole seconds, rounded up, for `Retry-After`; at least one.
    pub fn retry_seconds(&self) -> u64 {
        let whole = self.retry_after.as_secs();
        let rest = u64::from(self.retry_after.subsec_nanos() > 0);
        (whole + rest).max(1)
    }
}
