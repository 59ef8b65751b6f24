//! A queue that is fair among tenants.

use std::collections::{HashMap, VecDeque};

use crate::domain::TenantId;

/// A queue in which the tenants take turns, so that one with many items delays each item of another
/// one by a single item. The items of one tenant stay in their order. What the service does for
/// itself has no tenant and gets turns like one.
#[derive(Debug)]
pub(super) struct TenantQueue<T> {
    items: HashMap<Option<TenantId>, VecDeque<T>>,
    /// The tenants that have items, the next one first.
    tenants: VecDeque<Option<TenantId>>,
}

impl<T> TenantQueue<T> {
    pub(super) fn new() -> Self {
        Self {
            items: HashMap::new(),
            tenants: VecDeque::new(),
        }
    }

    pub(super) fn push(&mut self, tenant: Option<TenantId>, item: T) {
        let items = self.items.entry(tenant).or_insert_with_key(|tenant| {
            self.tenants.push_back(tenant.clone());
            VecDeque::new()
        });
        items.push_back(item);
    }

    /// Takes the next item. Those of which `is_gone` is true are removed and take no turn.
    pub(super) fn pop(&mut self, is_gone: impl Fn(&T) -> bool) -> Option<T> {
        while let Some(tenant) = self.tenants.pop_front() {
            let Some(items) = self.items.get_mut(&tenant) else {
                continue;
            };
            let next = std::iter::from_fn(|| items.pop_front()).find(|item| !is_gone(item));
            if items.is_empty() {
                self.items.remove(&tenant);
            } else {
                self.tenants.push_back(tenant);
            }
            if next.is_some() {
                return next;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_take_turns_and_keep_the_order_of_their_items() {
        let mut queue = TenantQueue::new();
        let mut push = |name: &str, item| queue.push(Some(TenantId::trusted(name)), item);
        for item in 0..4 {
            push("a", item);
        }
        push("b", 10);
        push("c", 20);
        push("b", 11);
        // The items above 99 are gone.
        for item in [100, 101, 4] {
            push("d", item);
        }
        push("e", 102);
        let order: Vec<_> = std::iter::from_fn(|| queue.pop(|item| *item > 99)).collect();
        assert_eq!(order, [0, 10, 20, 4, 1, 11, 2, 3]);
        assert!(queue.items.is_empty() && queue.tenants.is_empty());
        queue.push(None, 5);
        let mut pop = || queue.pop(|_| false);
        assert_eq!((pop(), pop()), (Some(5), None));
    }
}
