//! Limits on unknown API keys: how many one client address may present, and how many are looked up
//! at the same time. Keys that were found before are exempt. So a client that tries out random keys
//! does not lock out known callers, even behind the same proxy.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Instant,
};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    domain::{Error, Rate, Reason, Result, Throttled},
    telemetry::metrics,
};

/// The setting of the rate.
const SETTING: &str = "rate_of_unknown_keys";
/// How many addresses are tracked.
const ADDRESSES: u64 = 10_000;
/// How many look-ups of unknown keys run at the same time. Random keys from many addresses thus
/// wait for each other, and don't occupy the other database connections.
const LOOK_UPS: usize = 2;

/// The client address that limits apply to, which requests have in their extensions. Behind a proxy
/// it is the proxy's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer(IpAddr);

impl Peer {
    /// The peer of a connection. IPv6 addresses are reduced to their /64 network, as one client
    /// usually has all of it.
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
            ip @ IpAddr::V4(_) => ip,
        })
    }
}

/// Counts unknown keys per address in fixed windows. [`crate::rate::RateLimiter`] does not fit,
/// because whether a key counts is only known after the look-up.
#[derive(Debug)]
pub(super) struct UnknownKeys {
    rate: Option<Rate>,
    windows: moka::sync::Cache<Peer, Arc<Window>>,
    free: Semaphore,
}

#[derive(Debug)]
struct Window {
    begun: Instant,
    count: AtomicU32,
}

/// A counted look-up of a key that may be unknown. It stays counted unless it is given back, so
/// cancelled requests count.
#[derive(Debug)]
pub(super) struct LookUp<'a> {
    window: Option<Arc<Window>>,
    _slot: Option<SemaphorePermit<'a>>,
}

impl UnknownKeys {
    pub(super) fn new(rate: Option<Rate>) -> Self {
        let windows = moka::sync::Cache::builder().max_capacity(ADDRESSES);
        let windows = match rate {
            Some(rate) => windows.time_to_live(rate.interval),
            None => windows,
        };
        Self {
            rate,
            windows: windows.build(),
            free: Semaphore::new(LOOK_UPS),
        }
    }

    /// Waits for a slot, then counts a look-up for the address.
    ///
    /// # Errors
    /// [`Reason::RateLimited`] if the address has none left.
    pub(super) async fn look_up(&self, peer: Peer) -> Result<LookUp<'_>> {
        // Checked before the queue, so that an address past its limit does not slow down the
        // others.
        self.window(peer)?;
        // Counted only once it has a slot: after a restart, many valid keys may wait at the same
        // time. The semaphore is never closed.
        let slot = self.free.acquire().await.ok();
        let window = self.window(peer)?;
        if let Some(window) = &window {
            window.count.fetch_add(1, Ordering::Relaxed);
        }
        Ok(LookUp {
            window,
            _slot: slot,
        })
    }

    /// The current window of the address; `None` without a limit.
    fn window(&self, peer: Peer) -> Result<Option<Arc<Window>>> {
        let Some(rate) = self.rate else {
            return Ok(None);
        };
        let new = || Window {
            begun: Instant::now(),
            count: AtomicU32::new(0),
        };
        let window = self.windows.get_with(peer, || Arc::new(new()));
        if window.count.load(Ordering::Relaxed) < rate.count.get() {
            return Ok(Some(window));
        }
        metrics::refused(SETTING);
        let retry_after = rate.interval.saturating_sub(window.begun.elapsed());
        let message = "too many unknown keys from this address; try again later";
        Err(Error {
            throttled: Some(Box::new(Throttled { rate, retry_after })),
            ..Error::new(Reason::RateLimited, message).with("setting", SETTING)
        })
    }
}

impl LookUp<'_> {
    /// Uncounts the look-up: the key was found, or the look-up failed.
    pub(super) fn give_back(self) {
        if let Some(window) = &self.window {
            window.count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, time::Duration};

    use super::*;

    fn peer(address: &str) -> Peer {
        Peer::of(address.parse().unwrap())
    }

    #[test]
    fn an_ipv6_network_is_one_peer() {
        assert_eq!(peer("2001:db8::1"), peer("2001:db8::ffff:1"));
        assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
        assert_eq!(peer("::ffff:10.0.0.1"), peer("10.0.0.1"));
        assert_ne!(peer("10.0.0.2"), peer("10.0.0.1"));
    }

    #[tokio::test]
    async fn only_unknown_keys_count_towards_the_rate_limit_per_address() {
        let rate = Rate {
            count: NonZeroU32::new(2).unwrap(),
            interval: Duration::from_secs(3_600),
        };
        let keys = UnknownKeys::new(Some(rate));
        let (a, b) = (peer("10.0.0.1"), peer("10.0.0.2"));
        for _ in 0..5 {
            keys.look_up(a).await.unwrap().give_back();
        }
        for _ in 0..2 {
            drop(keys.look_up(a).await.unwrap());
        }
        let error = keys.look_up(a).await.unwrap_err();
        assert_eq!(error.reason, Reason::RateLimited);
        let throttled = error.throttled.unwrap();
        assert_eq!(throttled.rate, rate);
        assert!(throttled.retry_after > Duration::from_secs(3_500));
        assert!(keys.look_up(b).await.is_ok());
        let unlimited = UnknownKeys::new(None);
        for _ in 0..1_000 {
            drop(unlimited.look_up(a).await.unwrap());
        }
    }
}
