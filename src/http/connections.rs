//! Which connections are open, how many there may be, and which one is closed to make room
//! for another.
//!
//! A connection costs a file and memory from accept on, long before anything is known about
//! its client. So connections on which no request was authenticated may take only a part of
//! all, one address may have only so many that have not sent a complete request head, and
//! where there is no room for a new connection, the oldest of these is closed. One on which a
//! request was authenticated is never closed for another.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use http::Version;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use crate::{auth::Peer, config::ConnectionConfig, telemetry::metrics};

/// The open connections, counted over the listeners that share this, and what each may do.
/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: ConnectionConfig,
    open: Mutex<Open>,
}

/// What the client of a connection has shown so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not one complete request head.
    Pending,
    /// Requests, none of them authenticated, and none in flight now.
    Idle,
    /// The same, with one in flight.
    Busy,
    /// A credential that was accepted.
    Authenticated,
}

#[derive(Debug, Default)]
struct Open {
    entries: HashMap<u64, Entry>,
    /// The connections without authentication that have no request in flight, by when that
    /// began.
    silent: BTreeMap<u64, u64>,
    /// Those that have one, by when it began.
    busy: BTreeMap<u64, u64>,
    /// Those that have not sent a complete request head, of each address that is limited.
    pending: HashMap<Peer, BTreeSet<u64>>,
    /// Counts events: an order in time without two at the same time.
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    place: Place,
    evicted: Arc<Notify>,
}

/// The place of a connection among the others.
#[derive(Clone, Copy, Debug)]
struct Place {
    phase: Phase,
    /// The event by which the phase began.
    since: u64,
    /// Where it comes from, unless from a trusted proxy.
    source: Option<Peer>,
}

impl Connections {
    /// None is open yet.
    pub fn new(config: ConnectionConfig) -> Self {
        let open = Mutex::default();
        Self(Arc::new(Shared { config, open }))
    }

    /// What each connection may do.
    pub(super) fn config(&self) -> &ConnectionConfig {
        &self.0.config
    }

    /// Takes a connection in; another may have to go for it. None if there is no room: each
    /// of the others is authenticated.
    pub(super) fn admit(&self, address: IpAddr) -> Option<Slot> {
        let config = &self.0.config;
        let source = source(address, config);
        let mut open = self.open();
        let waiting = source.and_then(|source| open.pending.get(&source));
        if waiting.is_some_and(|ids| ids.len() >= config.max_pending_per_address) {
            metrics::refused("max_pending_connections_per_address");
            let oldest = waiting.and_then(|ids| ids.first()).copied();
            oldest.into_iter().for_each(|id| open.evict(id));
        }
        if let Some(limit) = open.reached(config) {
            metrics::refused(limit);
            let oldest = open.oldest()?;
            open.evict(oldest);
        }
        let evicted = Arc::new(Notify::new());
        let id = open.insert(source, Arc::clone(&evicted));
        drop(open);
        let state = ConnectionState(Arc::new(State {
            id,
            address: address.to_canonical(),
            connections: self.clone(),
            is_authenticated: AtomicBool::new(false),
            activity: watch::Sender::new(Activity {
                in_flight: 0,
                begun: 0,
                head_since: Some(Instant::now()),
                is_http1: false,
                ends: false,
            }),
        }));
        Some(Slot { state, evicted })
    }

    /// Closes a connection without authentication, if there is one: its file is needed.
    pub(super) fn make_room(&self) {
        let mut open = self.open();
        let oldest = open.oldest();
        oldest.into_iter().for_each(|id| open.evict(id));
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// The setting of the limit that leaves no room for one more.
    fn reached(&self, config: &ConnectionConfig) -> Option<&'static str> {
        if self.entries.len() >= config.max_connections {
            Some(config.setting)
        } else if self.silent.len() + self.busy.len() >= config.max_unauthenticated {
            Some("max_unauthenticated_connections")
        } else {
            None
        }
    }

    /// The connection that goes first: the oldest of those without authentication. It is a
    /// silent one, unless there are more busy ones: a few requests that take long are safe
    /// from many silent connections, and new connections from many requests that never end.
    fn oldest(&self) -> Option<u64> {
        let kind = if self.busy.len() > self.silent.len() {
            &self.busy
        } else {
            &self.silent
        };
        kind.values().next().copied()
    }

    fn insert(&mut self, source: Option<Peer>, evicted: Arc<Notify>) -> u64 {
        self.clock += 1;
        let id = self.clock;
        let place = Place {
            phase: Phase::Pending,
            since: id,
            source,
        };
        self.entries.insert(id, Entry { place, evicted });
        self.silent.insert(id, id);
        if let Some(source) = source {
            self.pending.entry(source).or_default().insert(id);
        }
        id
    }

    fn evict(&mut self, id: u64) {
        if let Some(entry) = self.remove(id) {
            entry.evicted.notify_one();
        }
    }

    /// Takes a connection out, if it was not evicted before.
    fn remove(&mut self, id: u64) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        self.leave(id, entry.place);
        Some(entry)
    }

    /// Does nothing to a connection that was evicted, or authenticated: it stays so.
    fn set_phase(&mut self, id: u64, phase: Phase) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let old = entry.place;
        if [phase, Phase::Authenticated].contains(&old.phase) {
            return;
        }
        self.clock += 1;
        let since = self.clock;
        entry.place = Place {
            phase,
            since,
            ..old
        };
        self.leave(id, old);
        match phase {
            Phase::Pending | Phase::Idle => drop(self.silent.insert(since, id)),
            Phase::Busy => drop(self.busy.insert(since, id)),
            Phase::Authenticated => {}
        }
    }

    /// Takes a connection out of the orders that it has a place in.
    fn leave(&mut self, id: u64, place: Place) {
        self.silent.remove(&place.since);
        self.busy.remove(&place.since);
        if let (Phase::Pending, Some(source)) = (place.phase, place.source)
            && let Some(ids) = self.pending.get_mut(&source)
        {
            ids.remove(&id);
            if ids.is_empty() {
                self.pending.remove(&source);
            }
        }
    }
}

/// What a connection counts for: all but trusted proxies are limited.
fn source(address: IpAddr, config: &ConnectionConfig) -> Option<Peer> {
    let address = address.to_canonical();
    let is_trusted = config
        .trusted_proxies
        .iter()
        .any(|net| net.contains(&address));
    (!is_trusted).then(|| Peer::of(address))
}

/// A connection's place among the others, which is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) state: ConnectionState,
    evicted: Arc<Notify>,
}

impl Slot {
    /// Ends when the place was given to another connection.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let State {
            connections, id, ..
        } = &*self.state.0;
        connections.open().remove(*id);
    }
}

/// What is known about a connection, shared by the task that serves it and by its requests,
/// which have it among their extensions. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct ConnectionState(Arc<State>);

#[derive(Debug)]
struct State {
    id: u64,
    address: IpAddr,
    connections: Connections,
    is_authenticated: AtomicBool,
    activity: watch::Sender<Activity>,
}

/// What happens on a connection now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Activity {
    /// Requests, up to the last byte of their responses.
    pub(super) in_flight: usize,
    /// Requests since accept.
    pub(super) begun: u64,
    /// Since when a request head is awaited: the first since accept, another of HTTP/1 since
    /// its first byte.
    pub(super) head_since: Option<Instant>,
    /// Whether the last request was of HTTP/1.
    pub(super) is_http1: bool,
    /// Whether the next response of HTTP/1 is the last.
    pub(super) ends: bool,
}

impl ConnectionState {
    /// The connection's number, of which those that share the limits have one each.
    pub(super) fn id(&self) -> u64 {
        self.0.id
    }

    /// The other end's address.
    pub(super) fn address(&self) -> IpAddr {
        self.0.address
    }

    /// Tells of every change.
    pub(super) fn watch(&self) -> watch::Receiver<Activity> {
        self.0.activity.subscribe()
    }

    pub(super) fn now(&self) -> Activity {
        *self.0.activity.borrow()
    }

    /// The client sent something.
    pub(super) fn received(&self) {
        self.0.activity.send_if_modified(|activity| {
            // Over HTTP/2 it may be about anything; there, only the first head is awaited.
            let begins = activity.is_http1 && activity.in_flight == 0 && !activity.awaits_head();
            if begins {
                activity.head_since = Some(Instant::now());
            }
            begins
        });
    }

    /// A complete request head came.
    pub(super) fn begin(&self, version: Version) -> InFlight {
        self.0.activity.send_modify(|activity| {
            activity.in_flight += 1;
            activity.begun += 1;
            activity.head_since = None;
            activity.is_http1 = version < Version::HTTP_2;
        });
        self.update();
        InFlight(self.clone())
    }

    /// A request's credential was accepted.
    pub(super) fn authenticated(&self) {
        if !self.0.is_authenticated.swap(true, Ordering::Relaxed) {
            let mut open = self.0.connections.open();
            open.set_phase(self.0.id, Phase::Authenticated);
        }
    }

    pub(super) fn is_authenticated(&self) -> bool {
        self.0.is_authenticated.load(Ordering::Relaxed)
    }

    /// The next response of HTTP/1 is to be the last.
    pub(super) fn end(&self) {
        self.0.activity.send_modify(|activity| activity.ends = true);
    }

    /// A request began or ended.
    fn update(&self) {
        if self.is_authenticated() {
            return;
        }
        let mut open = self.0.connections.open();
        // Read under the lock, so that of two updates at once the last one knows of both.
        let phase = match self.now().in_flight {
            0 => Phase::Idle,
            _ => Phase::Busy,
        };
        open.set_phase(self.0.id, phase);
    }
}

impl Activity {
    fn awaits_head(&self) -> bool {
        self.head_since.is_some()
    }
}

/// A request, up to the last byte of its response.
#[derive(Debug)]
pub(super) struct InFlight(ConnectionState);

impl Drop for InFlight {
    fn drop(&mut self) {
        let state = &self.0;
        state
            .0
            .activity
            .send_modify(|activity| activity.in_flight -= 1);
        state.update();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::connections;

    #[test]
    fn all_but_trusted_proxies_are_limited_by_address() {
        let mut config = connections();
        config.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
        let source = |ip: &str| source(ip.parse().unwrap(), &config);
        assert!(source("192.0.2.1").is_some());
        assert_eq!(source("10.1.2.3"), None);
        assert_eq!(source("::ffff:10.1.2.3"), None);
    }

    #[test]
    fn what_ends_leaves_nothing_behind() {
        let connections = Connections::new(connections());
        let address = IpAddr::from([192, 0, 2, 1]);
        let slots = || (0..3).map(|_| connections.admit(address).unwrap());
        let open: Vec<_> = slots().collect();
        drop(open[0].state.begin(Version::HTTP_11));
        let in_flight = open[1].state.begin(Version::HTTP_2);
        open[2].state.authenticated();
        drop(open);
        drop(in_flight);
        let open = connections.open();
        assert!(open.entries.is_empty());
        assert!(open.silent.is_empty() && open.busy.is_empty() && open.pending.is_empty());
    }
}
