//! Permits to use a connection or to search, for which the tenants take turns.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::tenant_queue::TenantQueue;
use crate::domain::TenantId;

/// A limited number of permits. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Permits(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    free: usize,
    /// While there are any, no permit is free.
    waiting: TenantQueue<oneshot::Sender<Permit>>,
}

/// A permit, until it is dropped.
#[derive(Debug)]
pub struct Permit(Permits);

impl Permits {
    pub(super) fn new(count: usize) -> Self {
        let waiting = TenantQueue::new();
        Self(Arc::new(Mutex::new(State {
            free: count,
            waiting,
        })))
    }

    /// Waits for a permit.
    pub(super) async fn acquire(&self, tenant: Option<&TenantId>) -> Permit {
        loop {
            let given = {
                let mut state = self.state();
                if state.free > 0 {
                    state.free -= 1;
                    return Permit(self.clone());
                }
                let (give, given) = oneshot::channel();
                state.waiting.push(tenant.cloned(), give);
                given
            };
            // Always: a sender leaves the queue only to be used, unless nobody waits.
            if let Ok(permit) = given.await {
                return permit;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let next = {
            let mut state = self.0.state();
            let next = state.waiting.pop(oneshot::Sender::is_closed);
            if next.is_none() {
                state.free += 1;
            }
            next
        };
        // If its receiver is dropped now, the permit is, too, and the next one gets it.
        if let Some(next) = next {
            drop(next.send(Self(self.0.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    /// A task that waits for a permit.
    macro_rules! waiting {
        ($permits:expr, $tenant:expr) => {{
            let mut waiting = Box::pin($permits.acquire($tenant));
            assert!(waiting.as_mut().now_or_never().is_none());
            waiting
        }};
    }

    #[tokio::test]
    async fn tenants_that_wait_take_turns_for_permits() {
        let permits = Permits::new(1);
        let (one, two) = (TenantId::trusted("one"), TenantId::trusted("two"));
        let mut held = permits.acquire(Some(&one)).await;
        let second = waiting!(permits, Some(&one));
        let third = waiting!(permits, Some(&one));
        let other = waiting!(permits, Some(&two));
        let own = waiting!(permits, None);
        for next in [second.boxed(), other.boxed(), own.boxed(), third.boxed()] {
            drop(held);
            held = next.now_or_never().unwrap();
        }
        drop(held);
        assert_eq!(permits.state().free, 1);
    }

    #[tokio::test]
    async fn no_permit_is_lost_if_those_that_wait_give_up() {
        let permits = Permits::new(1);
        let held = permits.acquire(None).await;
        let early = waiting!(permits, None);
        let late = waiting!(permits, None);
        let last = waiting!(permits, None);
        drop(early);
        drop(held);
        // The permit is on its way to this one.
        drop(late);
        drop(last.now_or_never().unwrap());
        assert_eq!(permits.state().free, 1);
    }
}
