//! Responses that are kept encoded, and sent again for as long as what they show still holds.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use moka::notification::RemovalCause;
use tokio::sync::Mutex;

use crate::{
    domain::{CollectionId, Consistency, Etag, ReadEtag, Result},
    store::{Mark, Store, Tx},
    telemetry::metrics,
};

/// Those that wait for the same response wait at one of so many places.
const PLACES: usize = 1_024;
/// About what an entry takes beside its key, its body and the collections that it shows.
const ENTRY: usize = 160;
/// About what a collection takes there.
const HOLD: usize = 96;
/// The part of the cache that one response may take.
const SHARE: usize = 8;
/// From that size on room is made as a response comes: the cache does that by itself only after so
/// many have come, or so long.
const LARGE: usize = 16 << 10;

/// A response to a read of one collection.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// As it is sent.
    pub body: Bytes,
    /// The collection's version.
    pub etag: Etag,
    /// The version of what it shows; none of a part of a list.
    pub read_etag: Option<ReadEtag>,
}

/// A response that was just made.
#[derive(Debug)]
pub(super) struct Filled {
    pub(super) encoded: Encoded,
    /// The collections that it shows something of, and what that depends on; none where it can't
    /// be kept.
    pub(super) holds: Vec<(CollectionId, Mark)>,
}

/// Responses, by what was asked for. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct ReadCache(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    /// How many bytes it may have.
    max: usize,
    entries: moka::sync::Cache<String, Arc<Entry>>,
    places: Box<[Mutex<()>]>,
    hasher: RandomState,
    /// What ages are counted from.
    start: Instant,
}

#[derive(Debug)]
struct Entry {
    encoded: Encoded,
    holds: Box<[(CollectionId, Mark)]>,
    /// When it was known to hold last, in microseconds from the start.
    known: AtomicU64,
}

impl ReadCache {
    /// One of at most so many bytes; 0 keeps nothing.
    pub(super) fn new(bytes: usize) -> Self {
        let weight = |key: &String, entry: &Arc<Entry>| {
            let bytes = size(key, &entry.encoded, &entry.holds);
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        let cache = || Inner {
            max: bytes,
            entries: moka::sync::Cache::builder()
                .max_capacity(bytes as u64)
                .weigher(weight)
                .eviction_listener(|_, _, cause| {
                    if cause == RemovalCause::Size {
                        metrics::read_cache_evicted();
                    }
                })
                .build(),
            places: (0..PLACES).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            start: Instant::now(),
        };
        Self((bytes > 0).then(|| Arc::new(cache())))
    }

    /// Whether it keeps anything.
    pub(super) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// What is kept under that key, where it is fresh enough; else what `fill` makes, which is
    /// kept. Of several that want the same one makes it. `fill` reads by `tx`, or by what it is
    /// given: of the read replica.
    pub(super) async fn get<F, R>(
        &self,
        store: &Store,
        tx: &Tx,
        key: String,
        consistency: Consistency,
        fill: F,
    ) -> Result<Encoded>
    where
        F: Fn(Option<Tx>) -> R,
        R: Future<Output = Result<Filled>>,
    {
        let Some(cache) = &self.0 else {
            return Ok(made(store, tx, consistency, fill).await?.0.encoded);
        };
        if let Some(encoded) = cache.find(store, tx, &key, consistency).await? {
            metrics::read_cache_lookup("hit");
            return Ok(encoded);
        }
        let place = match cache.place(&key).try_lock() {
            Ok(place) => Some(place),
            Err(_) => {
                drop(cache.place(&key).lock().await);
                if let Some(encoded) = cache.find(store, tx, &key, consistency).await? {
                    metrics::read_cache_lookup("wait");
                    return Ok(encoded);
                }
                // It changes faster than it is read: nobody waits for it twice.
                None
            }
        };
        metrics::read_cache_lookup("miss");
        let (filled, as_of) = made(store, tx, consistency, fill).await?;
        cache.keep(key, &filled, as_of);
        drop(place);
        Ok(filled.encoded)
    }
}

/// What `fill` makes, of the read replica where that is fresh enough; and as of when it is.
async fn made<F, R>(
    store: &Store,
    tx: &Tx,
    consistency: Consistency,
    fill: F,
) -> Result<(Filled, Instant)>
where
    F: Fn(Option<Tx>) -> R,
    R: Future<Output = Result<Filled>>,
{
    let of_replica = |view| fill(Some(view));
    let etag = |filled: &Filled| filled.encoded.etag;
    let there = store.on_replica(tx, consistency, of_replica, etag).await;
    if let Some(made) = there {
        return Ok(made);
    }
    let asked = Instant::now();
    Ok((fill(None).await?, asked))
}

/// About what an entry takes.
fn size(key: &str, encoded: &Encoded, holds: &[(CollectionId, Mark)]) -> usize {
    key.len() + encoded.body.len() + holds.len() * HOLD + ENTRY
}

impl Inner {
    /// Keeps what was made, as of that time.
    fn keep(&self, key: String, filled: &Filled, as_of: Instant) {
        let Filled { encoded, holds } = filled;
        let bytes = size(&key, encoded, holds);
        if holds.is_empty() || bytes > self.max / SHARE {
            return;
        }
        let Some(known) = self.micros(as_of) else {
            return;
        };
        // A replica's may be older than what another request has left here.
        let is_newer = |kept: Arc<Entry>| kept.known.load(Relaxed) > known;
        if self.entries.get(&key).is_some_and(is_newer) {
            return;
        }
        let entry = Entry {
            encoded: encoded.clone(),
            holds: holds.as_slice().into(),
            known: known.into(),
        };
        self.entries.insert(key, Arc::new(entry));
        if bytes >= LARGE {
            self.entries.run_pending_tasks();
        }
        metrics::read_cache_size(self.entries.weighted_size());
    }

    /// What is kept under that key, where it is fresh enough.
    async fn find(
        &self,
        store: &Store,
        tx: &Tx,
        key: &str,
        consistency: Consistency,
    ) -> Result<Option<Encoded>> {
        let Some(entry) = self.entries.get(key) else {
            return Ok(None);
        };
        let asked = self.micros(Instant::now()).unwrap_or_default();
        let is_fresh = match consistency {
            Consistency::Full => false,
            Consistency::AtLeast(etag) => entry.encoded.etag >= etag,
            Consistency::Within(time) => {
                let age = asked.saturating_sub(entry.known.load(Relaxed));
                Duration::from_micros(age) <= time
            }
        };
        if !is_fresh {
            // The replica is to spare the database such questions.
            if store.may_read_replica(consistency) || !store.holds(tx, &entry.holds).await? {
                return Ok(None);
            }
            entry.known.fetch_max(asked, Relaxed);
        }
        Ok(Some(entry.encoded.clone()))
    }

    fn place(&self, key: &str) -> &Mutex<()> {
        &self.places[(self.hasher.hash_one(key) % PLACES as u64) as usize]
    }

    /// Microseconds from the start; none of a time before it.
    fn micros(&self, time: Instant) -> Option<u64> {
        let since = time.checked_duration_since(self.start)?;
        u64::try_from(since.as_micros()).ok()
    }
}
