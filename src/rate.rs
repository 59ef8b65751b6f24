//! Rate limits per caller and per tenant.

use governor::{
    Quota, clock::Clock as _, clock::DefaultClock, middleware::StateInformationMiddleware,
    state::keyed::DashMapStateStore,
};

use crate::{
    domain::{Error, Rate, Reason, Result, Throttled},
    telemetry::metrics,
};

type Limiter = governor::RateLimiter<
    String,
    DashMapStateStore<String>,
    DefaultClock,
    StateInformationMiddleware,
>;

/// Limits each of many keys to the same rate.
#[derive(Debug)]
pub struct RateLimiter {
    rate: Rate,
    /// The setting of the rate.
    setting: &'static str,
    limiter: Limiter,
}

impl RateLimiter {
    /// A limiter with the rate that `setting` has.
    pub fn new(setting: &'static str, rate: Rate) -> Self {
        // Rates above a billion per second are limited to that.
        let each = (rate.interval / rate.count.get()).max(std::time::Duration::from_nanos(1));
        let quota = Quota::with_period(each).map_or_else(
            || Quota::per_second(rate.count),
            |quota| quota.allow_burst(rate.count),
        );
        let limiter = governor::RateLimiter::dashmap(quota);
        Self {
            rate,
            setting,
            limiter: limiter.with_middleware(),
        }
    }

    /// The rate.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes one request from the allowance of `who`, and returns how many are left.
    ///
    /// # Errors
    /// [`Reason::RateLimited`] if none was left.
    pub fn take(&self, who: &str) -> Result<u32> {
        let refused = match self.limiter.check_key(&who.to_owned()) {
            Ok(state) => return Ok(state.remaining_burst_capacity()),
            Err(refused) => refused,
        };
        metrics::refused(self.setting);
        let retry_after = refused.wait_time_from(self.limiter.clock().now());
        let interval = humantime::format_duration(self.rate.interval);
        let message = format!(
            "{who:?} exceeded the rate limit of {} requests per {interval} ({})",
            self.rate.count, self.setting
        );
        Err(Error {
            throttled: Some(Box::new(Throttled {
                rate: self.rate,
                retry_after,
            })),
            ..Error::new(Reason::RateLimited, message).with("setting", self.setting)
        })
    }

    /// Drops the entries whose allowance is full again.
    pub fn forget_idle(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, time::Duration};

    use super::*;

    fn limiter(count: u32, interval: Duration) -> RateLimiter {
        let count = NonZeroU32::new(count).unwrap();
        RateLimiter::new("rate_per_caller", Rate { count, interval })
    }

    #[test]
    fn each_caller_has_its_own_rate_limit_and_gets_retry_after() {
        let limiter = limiter(2, Duration::from_secs(3_600));
        assert_eq!(limiter.take("a").unwrap(), 1);
        assert_eq!(limiter.take("a").unwrap(), 0);
        let error = limiter.take("a").unwrap_err();
        assert_eq!(error.reason, Reason::RateLimited);
        let throttled = error.throttled.unwrap();
        assert!(throttled.retry_after <= Duration::from_secs(1_800));
        assert!(throttled.retry_after > Duration::from_secs(1_700));
        assert_eq!(limiter.take("b").unwrap(), 1);
    }

    #[test]
    fn idle_callers_are_removed_from_the_rate_limiter() {
        let limiter = limiter(1_000_000, Duration::from_millis(1));
        limiter.take("a").unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while !limiter.limiter.is_empty() {
            assert!(std::time::Instant::now() < deadline);
            limiter.forget_idle();
        }
    }
}
