//! A cache of encoded responses, which are sent again as long as everything that they show is
//! unchanged. [`crate::store`] validates them by stamps or versions. It also has what is derived from
//! such responses alone, which needs no validation.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc, Mutex as PlainMutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use moka::notification::RemovalCause;
use tokio::sync::Mutex;

use crate::{
    domain::{CollectionId, Consistency, Etag, ReadEtag, Result, digest::sha256},
    store::{Mark, Store, Tx},
    telemetry::metrics,
};

/// The approximate overhead of an entry in bytes, without its key, body and collections.
const ENTRY: usize = 160;
/// The approximate size in bytes of a collection that an entry depends on.
const HOLD: usize = 96;
/// One response may take at most this fraction (one eighth) of the cache.
const SHARE: usize = 8;
/// From this size in bytes on, an insert evicts at once. By itself, the cache evicts only after a
/// number of inserts or some time.
const LARGE: usize = 16 << 10;

/// An encoded response to a read of one collection.
#[derive(Clone, Debug)]
pub struct EncodedResponse {
    /// The response body.
    pub body: Bytes,
    /// The version of the collection.
    pub etag: Etag,
    /// The version of what the response shows; `None` for a part of a list.
    pub read_etag: Option<ReadEtag>,
    /// Whether the read cache has it.
    pub is_cached: bool,
}

/// A response that was just created.
#[derive(Debug)]
pub(super) struct Filled {
    pub(super) encoded: EncodedResponse,
    /// The collections that it depends on, with the marks to validate them; empty if it must not be
    /// cached.
    pub(super) holds: Vec<(CollectionId, Mark)>,
}

/// The cache, by request; `None` if it is disabled. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct ReadCache(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    /// The capacity in bytes.
    max: usize,
    entries: moka::sync::Cache<String, Arc<Entry>>,
    /// The locks on which requests for the same missing response wait for each other, by the hash of
    /// its key.
    filling: PlainMutex<HashMap<u64, Arc<Mutex<()>>>>,
    hasher: RandomState,
    /// The start of time for `known`.
    start: Instant,
}

#[derive(Debug)]
struct Entry {
    encoded: EncodedResponse,
    holds: Box<[(CollectionId, Mark)]>,
    /// When the entry was last known to be valid, in microseconds from `start`.
    known: AtomicU64,
}

impl ReadCache {
    /// A cache of at most `bytes` bytes; 0 disables it.
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
            filling: PlainMutex::default(),
            hasher: RandomState::new(),
            start: Instant::now(),
        };
        Self((bytes > 0).then(|| Arc::new(cache())))
    }

    /// Whether the cache is enabled.
    pub(super) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The cached response for the key, if it is fresh enough; otherwise the result of `fill`,
    /// which is cached. If several requests need the same response, one creates it and the others
    /// wait. `fill` reads from `tx`, or from the unit that it is given, which reads the replica.
    pub(super) async fn get<F, R>(
        &self,
        store: &Store,
        tx: &Tx,
        key: String,
        consistency: Consistency,
        fill: F,
    ) -> Result<EncodedResponse>
    where
        F: Fn(Option<Tx>) -> R,
        R: Future<Output = Result<Filled>>,
    {
        // Boxed, so that the future of a hit is small.
        let make = || Box::pin(made(store, tx, consistency, &fill));
        let Some(cache) = &self.0 else {
            return Ok(make().await?.0.encoded);
        };
        if let Some(encoded) = cache.find(store, tx, &key, consistency).await? {
            metrics::read_cache_lookup("hit");
            return Ok(encoded);
        }
        // If the lock is taken, another request is creating this response, so wait for it instead of
        // creating the same response twice.
        let filling = cache.filling(&key);
        let guard = match filling.lock.try_lock() {
            Ok(guard) => Some(guard),
            Err(_) => {
                drop(filling.lock.lock().await);
                if let Some(encoded) = cache.find(store, tx, &key, consistency).await? {
                    metrics::read_cache_lookup("wait");
                    return Ok(encoded);
                }
                // The data changes faster than it is read, so do not wait a second time.
                None
            }
        };
        metrics::read_cache_lookup("miss");
        let (mut filled, as_of) = make().await?;
        filled.encoded.is_cached = cache.keep(key, &filled, as_of);
        drop(guard);
        Ok(filled.encoded)
    }

    /// The result of `make`, which depends only on `source` and the name of the `form`, so that it
    /// never becomes stale; or the same from the cache.
    pub(super) async fn derived<E>(
        &self,
        form: &str,
        source: &[u8],
        make: impl Future<Output = std::result::Result<Bytes, E>>,
    ) -> std::result::Result<Bytes, E> {
        let Some(cache) = &self.0 else {
            return make.await;
        };
        // The other keys have more words.
        let key = [form, "of", &sha256(source)].join(" ");
        if let Some(entry) = cache.entries.get(&key) {
            return Ok(entry.encoded.body.clone());
        }
        let body = make.await?;
        let entry = Entry {
            encoded: EncodedResponse {
                body: body.clone(),
                etag: Etag::of(0),
                read_etag: None,
                is_cached: true,
            },
            holds: Box::default(),
            known: AtomicU64::new(0),
        };
        cache.insert(key, entry);
        Ok(body)
    }
}

/// The result of `fill`, from the read replica if it is fresh enough, and the time as of which it
/// is current.
pub(super) async fn made<F, R>(
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

/// A request for a missing response. The last one for the same response removes their lock.
struct Filling<'a> {
    cache: &'a Inner,
    hash: u64,
    lock: Arc<Mutex<()>>,
}

impl Drop for Filling<'_> {
    fn drop(&mut self) {
        let mut all = self.cache.all_filling();
        // The map has one, and this is the other: more are only made while the map is locked.
        if Arc::strong_count(&self.lock) == 2 {
            all.remove(&self.hash);
        }
    }
}

/// The approximate size of an entry in bytes.
fn size(key: &str, encoded: &EncodedResponse, holds: &[(CollectionId, Mark)]) -> usize {
    key.len() + encoded.body.len() + holds.len() * HOLD + ENTRY
}

impl Inner {
    /// Caches a response that is current as of the given time. Returns `false` if it must not be
    /// cached, or is too large.
    fn keep(&self, key: String, filled: &Filled, as_of: Instant) -> bool {
        let Filled { encoded, holds } = filled;
        if holds.is_empty() {
            return false;
        }
        let Some(known) = self.micros(as_of) else {
            return false;
        };
        // A response from a replica may be older than one that another request has cached.
        let is_newer = |kept: Arc<Entry>| kept.known.load(Relaxed) > known;
        if self.entries.get(&key).is_some_and(is_newer) {
            return false;
        }
        let entry = Entry {
            encoded: EncodedResponse {
                is_cached: true,
                ..encoded.clone()
            },
            holds: holds.as_slice().into(),
            known: known.into(),
        };
        self.insert(key, entry)
    }

    /// Caches an entry. Returns `false` if it is too large.
    fn insert(&self, key: String, entry: Entry) -> bool {
        let bytes = size(&key, &entry.encoded, &entry.holds);
        if bytes > self.max / SHARE {
            return false;
        }
        self.entries.insert(key, Arc::new(entry));
        if bytes >= LARGE {
            self.entries.run_pending_tasks();
        }
        metrics::read_cache_size(self.entries.weighted_size());
        true
    }

    /// The cached response for the key, if it is fresh enough.
    async fn find(
        &self,
        store: &Store,
        tx: &Tx,
        key: &str,
        consistency: Consistency,
    ) -> Result<Option<EncodedResponse>> {
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
            // If the replica can serve the read, the database is not bothered with validating the
            // entry.
            if store.may_read_replica(consistency) || !store.holds(tx, &entry.holds).await? {
                return Ok(None);
            }
            entry.known.fetch_max(asked, Relaxed);
        }
        Ok(Some(entry.encoded.clone()))
    }

    fn filling(&self, key: &str) -> Filling<'_> {
        let hash = self.hasher.hash_one(key);
        let lock = Arc::clone(self.all_filling().entry(hash).or_default());
        Filling {
            cache: self,
            hash,
            lock,
        }
    }

    fn all_filling(&self) -> MutexGuard<'_, HashMap<u64, Arc<Mutex<()>>>> {
        self.filling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Microseconds since `start`; `None` for an earlier time.
    fn micros(&self, time: Instant) -> Option<u64> {
        let since = time.checked_duration_since(self.start)?;
        u64::try_from(since.as_micros()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_request_for_a_missing_response_removes_its_lock() {
        let cache = ReadCache::new(1).0.unwrap();
        let (first, second) = (cache.filling("a"), cache.filling("a"));
        assert!(Arc::ptr_eq(&first.lock, &second.lock));
        let other = cache.filling("b");
        assert!(!Arc::ptr_eq(&first.lock, &other.lock));
        drop((first, other));
        assert_eq!(cache.all_filling().len(), 1);
        drop(second);
        assert!(cache.all_filling().is_empty());
    }
}
