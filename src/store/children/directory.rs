//! An in-memory cache of list directories: the segments of a list in order, with their ranks and
//! lengths. A cached directory is valid only if the collection's version, read in the current
//! transaction, equals the version that it was cached for.

use std::sync::Arc;

use crate::{
    domain::{ChildType, CollectionId, TenantId},
    telemetry::metrics,
};

/// The id of a segment, unique within its list.
pub(super) type SegmentId = i64;
/// The position of a segment relative to the others: a list is its segments in ascending rank.
pub(super) type Rank = i64;

/// A segment without the ids of its children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Entry {
    pub(super) id: SegmentId,
    pub(super) rank: Rank,
    pub(in crate::store) len: usize,
}

/// The segments of a list, in ascending rank.
pub(in crate::store) type Directory = Arc<[Entry]>;

/// The identity of a list; the key of the cache.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::store) struct Name {
    pub(super) tenant: TenantId,
    pub(super) collection: CollectionId,
    pub(super) list: ChildType,
}

/// A directory, with the collection version at which it was read or written.
#[derive(Clone, Debug)]
pub(in crate::store) struct Versioned {
    pub(in crate::store) version: i64,
    pub(in crate::store) directory: Directory,
}

/// The capacity of the cache, in segments over all lists. A segment takes 24 bytes, and this many
/// are enough for hundreds of millions of children.
const MAX_SEGMENTS: u64 = 2_000_000;

/// The cache of the most recently used directories. Clones share the same cache.
#[derive(Clone, Debug)]
pub(in crate::store) struct Directories(Arc<moka::sync::Cache<Name, Versioned>>);

impl Directories {
    pub(in crate::store) fn new() -> Self {
        let weight = |_: &Name, kept: &Versioned| {
            // The key and the bookkeeping take about as much memory as eight segments.
            u32::try_from(kept.directory.len() + 8).unwrap_or(u32::MAX)
        };
        let cache = moka::sync::Cache::builder()
            .max_capacity(MAX_SEGMENTS)
            .weigher(weight);
        // A clone of the cache itself takes longer.
        Self(Arc::new(cache.build()))
    }

    /// The cached directory of a list, if it was cached for this version.
    pub(in crate::store) fn get(&self, name: &Name, version: i64) -> Option<Directory> {
        let kept = self.0.get(name).filter(|kept| kept.version == version);
        metrics::directory_lookup(kept.is_some());
        Some(kept?.directory)
    }

    /// The cached directory of a list for any version, which may be outdated.
    pub(super) fn last(&self, name: &Name) -> Option<Versioned> {
        self.0.get(name)
    }

    /// Caches what a committed transaction read or wrote.
    pub(in crate::store) fn keep(&self, name: Name, kept: Versioned) {
        self.0.insert(name, kept);
    }
}
