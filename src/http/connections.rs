//! The set of open connections: how many there may be, and which one is evicted to make room.
//!
//! A connection takes a file descriptor and memory from accept on, long before anything is known
//! about its client. So connections without an authenticated request may only take a part of the
//! total, each address may have only a few that have not sent a complete request head yet, and when
//! there is no room for a new connection, the oldest of these is evicted. A connection with an
//! authenticated request is never evicted before it closes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use http::Version;
use tokio::{sync::Notify, time::Instant};

use crate::{auth::Peer, config::ConnectionConfig, telemetry::metrics};

/// The open connections of all listeners that share this, and the limits of each connection. Cheap
/// to clone.
#[derive(Clone, Debug)]
pub struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: ConnectionConfig,
    open: Mutex<Open>,
}

/// How far a connection's client has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It has not sent a complete request head.
    Pending,
    /// It has sent requests, none of them authenticated, and none is in flight.
    Idle,
    /// Like `Idle`, with a request in flight.
    Busy,
    /// A request of it was authenticated.
    Authenticated,
    /// The server has sent everything, and waits for the client to close its side.
    Closing,
}

#[derive(Debug, Default)]
struct Open {
    entries: HashMap<u64, Entry>,
    /// The unauthenticated connections without a request in flight, ordered by the event since
    /// which they are, and those that close, as if they were since they were accepted.
    silent: BTreeMap<u64, u64>,
    /// The unauthenticated connections with a request in flight, ordered in the same way.
    busy: BTreeMap<u64, u64>,
    /// The connections without a complete request head yet, by limited address.
    pending: HashMap<Peer, BTreeSet<u64>>,
    /// Numbers the events, so that no two of them compare equal.
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    place: Place,
    evicted: Arc<Notify>,
}

/// A connection's position in the orders of [`Open`].
#[derive(Clone, Copy, Debug)]
struct Place {
    phase: Phase,
    /// The event with which the phase began.
    since: u64,
    /// The address that the connection counts for; `None` for a trusted proxy.
    source: Option<Peer>,
}

impl Connections {
    /// An empty set.
    pub fn new(config: ConnectionConfig) -> Self {
        let open = Mutex::default();
        Self(Arc::new(Shared { config, open }))
    }

    /// The limits of each connection.
    pub(super) fn config(&self) -> &ConnectionConfig {
        &self.0.config
    }

    /// Admits a new connection, evicting another if necessary. `None` if there is no room, as all
    /// other connections are authenticated.
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
        let address = address.to_canonical();
        let state = ConnectionState(Arc::new(State {
            id,
            address,
            peer: address.to_string().into(),
            connections: self.clone(),
            is_authenticated: AtomicBool::new(false),
            activity: Mutex::new(Activity::begin(Instant::now())),
        }));
        Some(Slot { state, evicted })
    }

    /// Evicts an unauthenticated connection, if there is one, to free its file descriptor.
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
    /// The setting of the limit that does not allow one more connection.
    fn reached(&self, config: &ConnectionConfig) -> Option<&'static str> {
        if self.entries.len() >= config.max_connections {
            Some(config.setting)
        } else if self.silent.len() + self.busy.len() >= config.max_unauthenticated {
            Some("max_unauthenticated_connections")
        } else {
            None
        }
    }

    /// The connection to evict first: the oldest unauthenticated one. It is a silent one, unless
    /// more are busy than silent. That way many silent connections can't displace a few with long
    /// requests, and many requests that never end can't keep out new connections.
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

    /// Removes a connection, unless it was evicted before.
    fn remove(&mut self, id: u64) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        self.leave(id, entry.place);
        Some(entry)
    }

    /// Moves a connection to another phase. Has no effect if it was evicted, or the phase it is in
    /// is final.
    fn set_phase(&mut self, id: u64, phase: Phase) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let old = entry.place;
        let is_final = match old.phase {
            Phase::Closing => true,
            Phase::Authenticated => phase != Phase::Closing,
            Phase::Pending | Phase::Idle | Phase::Busy => false,
        };
        if is_final || old.phase == phase {
            return;
        }
        self.clock += 1;
        let since = match phase {
            Phase::Closing => id,
            Phase::Pending | Phase::Idle | Phase::Busy | Phase::Authenticated => self.clock,
        };
        entry.place = Place {
            phase,
            since,
            ..old
        };
        self.leave(id, old);
        match phase {
            Phase::Pending | Phase::Idle | Phase::Closing => drop(self.silent.insert(since, id)),
            Phase::Busy => drop(self.busy.insert(since, id)),
            Phase::Authenticated => {}
        }
    }

    /// Removes a connection from the orders that contain it.
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

/// The address that a connection counts for; `None` for trusted proxies, which have no limit.
fn source(address: IpAddr, config: &ConnectionConfig) -> Option<Peer> {
    let address = address.to_canonical();
    let is_trusted = config
        .trusted_proxies
        .iter()
        .any(|net| net.contains(&address));
    (!is_trusted).then(|| Peer::of(address))
}

/// A connection's admission, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) state: ConnectionState,
    evicted: Arc<Notify>,
}

impl Slot {
    /// Completes when the connection is evicted.
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

/// The state of a connection. The task that serves the connection and its requests share it;
/// requests have it in their extensions. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct ConnectionState(Arc<State>);

#[derive(Debug)]
struct State {
    id: u64,
    address: IpAddr,
    /// The address as text.
    peer: Box<str>,
    connections: Connections,
    is_authenticated: AtomicBool,
    activity: Mutex<Activity>,
}

/// The current activity on a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Activity {
    /// Requests in flight, each until the last byte of its response is sent.
    pub(super) in_flight: usize,
    /// The time since which no request is in flight; `None` while there are some.
    pub(super) quiet_since: Option<Instant>,
    /// Requests begun since accept.
    pub(super) begun: u64,
    /// The time since which a request head is awaited: since accept for the first one, and for
    /// later ones of HTTP/1 since their first byte.
    pub(super) head_since: Option<Instant>,
    /// Whether the last request used HTTP/1.
    pub(super) is_http1: bool,
    /// Whether the next HTTP/1 response closes the connection.
    pub(super) ends: bool,
}

impl ConnectionState {
    /// A number that is unique among the connections that share the limits.
    pub(super) fn id(&self) -> u64 {
        self.0.id
    }

    /// The peer's address.
    pub(super) fn address(&self) -> IpAddr {
        self.0.address
    }

    /// The peer's address as text.
    pub(super) fn peer(&self) -> &str {
        &self.0.peer
    }

    pub(super) fn now(&self) -> Activity {
        *self.activity()
    }

    fn activity(&self) -> MutexGuard<'_, Activity> {
        let activity = self.0.activity.lock();
        activity.unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the client sent bytes.
    pub(super) fn received(&self) {
        let mut activity = self.activity();
        // Over HTTP/2 the bytes may belong to anything, so only the first head has a timeout there.
        if activity.is_http1 && activity.in_flight == 0 && activity.head_since.is_none() {
            activity.head_since = Some(Instant::now());
        }
    }

    /// Notes that a complete request head arrived.
    pub(super) fn begin(&self, version: Version) -> InFlight {
        let mut activity = self.activity();
        activity.in_flight += 1;
        activity.quiet_since = None;
        activity.begun += 1;
        activity.head_since = None;
        activity.is_http1 = version < Version::HTTP_2;
        drop(activity);
        self.update();
        InFlight(self.clone())
    }

    /// Notes that a request was authenticated.
    pub(super) fn authenticated(&self) {
        if !self.0.is_authenticated.swap(true, Ordering::Relaxed) {
            let mut open = self.0.connections.open();
            open.set_phase(self.0.id, Phase::Authenticated);
        }
    }

    pub(super) fn is_authenticated(&self) -> bool {
        self.0.is_authenticated.load(Ordering::Relaxed)
    }

    /// Notes that the server has sent everything, and waits for the client to close its side. The
    /// connection may be evicted from now on.
    pub(super) fn closing(&self) {
        let mut open = self.0.connections.open();
        open.set_phase(self.0.id, Phase::Closing);
    }

    /// Makes the next HTTP/1 response close the connection.
    pub(super) fn end(&self) {
        self.activity().ends = true;
    }

    /// Updates the phase after a request began or ended.
    fn update(&self) {
        if self.is_authenticated() {
            return;
        }
        let mut open = self.0.connections.open();
        // Read under the lock, so that the later of two concurrent updates sees the latest count.
        let phase = match self.now().in_flight {
            0 => Phase::Idle,
            _ => Phase::Busy,
        };
        open.set_phase(self.0.id, phase);
    }
}

impl Activity {
    /// That of a new connection.
    fn begin(accepted: Instant) -> Self {
        Self {
            in_flight: 0,
            quiet_since: Some(accepted),
            begun: 0,
            head_since: Some(accepted),
            is_http1: false,
            ends: false,
        }
    }
}

/// A request in flight: from its head to the last byte of its response.
#[derive(Debug)]
pub(super) struct InFlight(ConnectionState);

impl Drop for InFlight {
    fn drop(&mut self) {
        let state = &self.0;
        let mut activity = state.activity();
        activity.in_flight -= 1;
        if activity.in_flight == 0 {
            activity.quiet_since = Some(Instant::now());
        }
        drop(activity);
        state.update();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

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
    fn closing_connections_make_room() {
        let mut config = connections();
        config.max_connections = 3;
        let connections = Connections::new(config);
        let address = IpAddr::from([192, 0, 2, 1]);
        let first = connections.admit(address).unwrap();
        let others = [(); 2].map(|()| connections.admit(address).unwrap());
        for slot in others.iter().chain([&first]) {
            slot.state.authenticated();
        }
        assert!(connections.admit(address).is_none());
        first.state.closing();
        first.state.authenticated();
        drop(first.state.begin(Version::HTTP_11));
        let _new = connections.admit(address).unwrap();
        assert!(first.evicted().now_or_never().is_some());
        for slot in &others {
            assert!(slot.evicted().now_or_never().is_none());
        }
    }

    #[test]
    fn closed_connections_leave_no_state_behind() {
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
