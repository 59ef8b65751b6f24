//! Groups of commands of a tenant that change different collections and wait at the same time, so
//! that they can be executed together. This only decides which commands are in a group; callers
//! execute them.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::oneshot::{Receiver, Sender},
    time::timeout,
};

use crate::{
    domain::{CollectionId, Error, Result, TenantId},
    store::{Engine, Sharer, Store},
};

/// The number of groups of a tenant that run at the same time.
const GROUPS: usize = 2;
/// The maximum number of commands in a group, because its statement grows with it.
const COMMANDS: usize = 16;
/// The minimum and maximum time that a command waits for its group to begin: four times as long as
/// the last group took.
const PATIENCE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// What a group did of a command; `None` if it must be executed alone.
pub(super) type Done<R> = Option<Result<R>>;

/// The commands that wait for a group or are in one. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Groups<C, R> {
    tenants: Arc<Mutex<HashMap<TenantId, Tenant<C, R>>>>,
    /// The number of commands in a group; 1 if none are grouped.
    size: usize,
    /// How long the last group took, in microseconds.
    took: Arc<AtomicU64>,
}

/// Those of a tenant.
#[derive(Debug)]
struct Tenant<C, R> {
    waiting: VecDeque<Waiting<C, R>>,
    /// The number of running groups.
    groups: usize,
    /// The collections that they change.
    changing: HashSet<CollectionId>,
}

/// A command that waits for its group.
#[derive(Debug)]
pub(super) struct Waiting<C, R> {
    pub(super) command: Arc<C>,
    pub(super) sharer: Sharer,
    pub(super) done: Sender<Done<R>>,
}

impl<C, R> Default for Tenant<C, R> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            groups: 0,
            changing: HashSet::new(),
        }
    }
}

impl<C, R> Groups<C, R> {
    /// The groups of a server with this store.
    pub(super) fn new(store: &Store) -> Self {
        let size = match store.engine() {
            // All its writes share commits.
            Engine::Sqlite => 1,
            Engine::Postgres => COMMANDS.min(store.groups().units),
        };
        Self {
            tenants: Arc::default(),
            size,
            took: Arc::default(),
        }
    }

    /// Whether commands are grouped at all.
    pub(super) fn is_enabled(&self) -> bool {
        self.size > 1
    }

    /// Records how long a group took.
    pub(super) fn record(&self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.took.store(took, Ordering::Relaxed);
    }

    fn tenants(&self) -> MutexGuard<'_, HashMap<TenantId, Tenant<C, R>>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a command. Returns the commands of a group that the caller must run, if it may begin
    /// now.
    pub(super) fn add(&self, tenant: &TenantId, command: Waiting<C, R>) -> Vec<Waiting<C, R>> {
        let mut tenants = self.tenants();
        let of_tenant = tenants.entry(tenant.clone()).or_default();
        of_tenant.waiting.push_back(command);
        if of_tenant.groups == GROUPS {
            return Vec::new();
        }
        let next = of_tenant.next(self.size);
        if !next.is_empty() {
            of_tenant.groups += 1;
        }
        next
    }

    /// Ends a group that changed `collections`. Returns the commands of the next one; if there are
    /// none, the caller runs no groups any more.
    pub(super) fn next(
        &self,
        tenant: &TenantId,
        collections: &[CollectionId],
    ) -> Vec<Waiting<C, R>> {
        let mut tenants = self.tenants();
        let Some(of_tenant) = tenants.get_mut(tenant) else {
            return Vec::new();
        };
        for id in collections {
            of_tenant.changing.remove(id);
        }
        let next = of_tenant.next(self.size);
        if next.is_empty() {
            of_tenant.groups -= 1;
            if of_tenant.groups == 0 {
                tenants.remove(tenant);
            }
        }
        next
    }

    /// How long a command waits for its group to begin.
    fn patience(&self) -> Duration {
        let took = Duration::from_micros(self.took.load(Ordering::Relaxed));
        took.saturating_mul(4).clamp(PATIENCE.0, PATIENCE.1)
    }

    /// Takes back a command that still waits. Returns whether it did.
    fn take_back(&self, tenant: &TenantId, command: &Arc<C>) -> bool {
        let mut tenants = self.tenants();
        let Some(of_tenant) = tenants.get_mut(tenant) else {
            return false;
        };
        let before = of_tenant.waiting.len();
        let is_other = |it: &Waiting<C, R>| !Arc::ptr_eq(&it.command, command);
        of_tenant.waiting.retain(is_other);
        of_tenant.waiting.len() < before
    }
}

impl<C, R> Tenant<C, R> {
    /// The commands of the next group: for different collections that no running group changes.
    fn next(&mut self, max: usize) -> Vec<Waiting<C, R>> {
        let mut next = Vec::new();
        let mut rest = VecDeque::new();
        for waiting in self.waiting.drain(..) {
            if waiting.done.is_closed() {
                continue;
            }
            if next.len() < max && self.changing.insert(waiting.sharer.collection.clone()) {
                next.push(waiting);
            } else {
                rest.push_back(waiting);
            }
        }
        self.waiting = rest;
        next
    }
}

/// A command that was added and waits for its result. It is taken back if its caller is gone.
pub(super) struct Queued<'a, C, R> {
    pub(super) groups: &'a Groups<C, R>,
    pub(super) tenant: &'a TenantId,
    pub(super) command: &'a Arc<C>,
}

impl<C, R> Queued<'_, C, R> {
    /// Waits for the result, but not long for the group to begin; see [`Groups::patience`].
    pub(super) async fn done(self, mut result: Receiver<Done<R>>) -> Done<R> {
        let done = match timeout(self.groups.patience(), &mut result).await {
            Err(_) if self.groups.take_back(self.tenant, self.command) => Ok(None),
            Err(_) => result.await,
            Ok(done) => done,
        };
        std::mem::forget(self);
        done.unwrap_or_else(|_| Some(Err(panicked())))
    }
}

impl<C, R> Drop for Queued<'_, C, R> {
    fn drop(&mut self) {
        self.groups.take_back(self.tenant, self.command);
    }
}

/// The error of the commands of a group that panicked.
pub(super) fn panicked() -> Error {
    Error::internal("a group of commands panicked")
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::domain::Caller;

    type Groups = super::Groups<&'static str, ()>;
    type Waiting = super::Waiting<&'static str, ()>;

    /// Groups of up to three commands.
    fn groups() -> Groups {
        Groups {
            tenants: Arc::default(),
            size: 3,
            took: Arc::default(),
        }
    }

    /// A command that waits, and where its result arrives.
    fn command(tenant: &TenantId, id: &'static str) -> (Waiting, Receiver<Done<()>>) {
        let writing = Caller::operator(tenant.clone()).writing().unwrap();
        let (done, result) = oneshot::channel();
        let waiting = Waiting {
            sharer: Sharer::new(&writing, CollectionId::trusted(id)),
            command: Arc::new(id),
            done,
        };
        (waiting, result)
    }

    fn ids(group: &[Waiting]) -> Vec<CollectionId> {
        let ids = group.iter().map(|it| it.sharer.collection.clone());
        ids.collect()
    }

    #[test]
    fn a_group_has_commands_for_different_collections_that_no_other_group_changes() {
        let groups = groups();
        let tenant = TenantId::trusted("a");
        let mut results = Vec::new();
        let mut add = |tenant: &TenantId, id: &'static str| {
            let (waiting, result) = command(tenant, id);
            results.push(result);
            ids(&groups.add(tenant, waiting))
        };
        let named = |names: &[&str]| -> Vec<_> {
            let names = names.iter();
            names.map(|name| CollectionId::trusted(*name)).collect()
        };
        // Two groups begin at once, but not one of a collection that the first one changes.
        assert_eq!(add(&tenant, "a"), named(&["a"]));
        assert_eq!(add(&tenant, "a"), []);
        assert_eq!(add(&tenant, "b"), named(&["b"]));
        for id in ["b", "c", "c", "d", "e", "f"] {
            assert_eq!(add(&tenant, id), []);
        }
        // Another tenant does not wait for them.
        assert_eq!(add(&TenantId::trusted("b"), "a"), named(&["a"]));
        // A command whose caller is gone is left out.
        results[6].close();
        let next = |done: &[&str]| ids(&groups.next(&tenant, &named(done)));
        assert_eq!(next(&["a"]), named(&["a", "c", "e"]));
        assert_eq!(next(&["b"]), named(&["b", "f"]));
        assert_eq!(next(&["b", "f"]), []);
        assert_eq!(next(&["a", "c", "e"]), named(&["c"]));
        assert_eq!(next(&["c"]), []);
        assert!(!groups.tenants().contains_key(&tenant));
    }

    #[test]
    fn only_a_command_that_still_waits_can_be_taken_back() {
        let groups = groups();
        let tenant = TenantId::trusted("a");
        let added: Vec<_> = ["a", "b", "c"]
            .map(|id| {
                let (waiting, result) = command(&tenant, id);
                let taken = Arc::clone(&waiting.command);
                (taken, groups.add(&tenant, waiting), result)
            })
            .into();
        let take_back = |at: usize| groups.take_back(&tenant, &added[at].0);
        // The first two began groups.
        assert_eq!([0, 1, 2].map(take_back), [false, false, true]);
        assert_eq!([0, 1, 2].map(take_back), [false, false, false]);
        assert!(
            groups
                .next(&tenant, &[CollectionId::trusted("a")])
                .is_empty()
        );
    }
}
