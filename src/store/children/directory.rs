//! The directories of lists in memory: which segments a list has, in order, with their
//! ranks and lengths. One is trusted while its collection's version, read in the
//! transaction, is the one that it was kept for.

use std::sync::Arc;

use crate::{
    domain::{ChildType, CollectionId, TenantId},
    telemetry::metrics,
};

/// A segment's name in its list.
pub(super) type SegmentId = i64;
/// A segment's place: segments in the order of their ranks are the list.
pub(super) type Rank = i64;

/// A segment without its ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Entry {
    pub(super) id: SegmentId,
    pub(super) rank: Rank,
    pub(in crate::store) len: usize,
}

/// The segments of a list, in order.
pub(in crate::store) type Directory = Arc<[Entry]>;

/// Which list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::store) struct Name {
    pub(super) tenant: TenantId,
    pub(super) collection: CollectionId,
    pub(super) list: ChildType,
}

/// A directory that holds from a version on.
#[derive(Clone, Debug)]
pub(in crate::store) struct Versioned {
    pub(in crate::store) version: i64,
    pub(in crate::store) directory: Directory,
}

/// Segments that are kept in memory at most, over all lists: 24 bytes each, and enough
/// for hundreds of millions of children.
const MAX_SEGMENTS: u64 = 2_000_000;

/// The directories of the lists that were used last. Cheap to clone.
#[derive(Clone, Debug)]
pub(in crate::store) struct Directories(moka::sync::Cache<Name, Versioned>);

impl Directories {
    pub(in crate::store) fn new() -> Self {
        let weight = |_: &Name, kept: &Versioned| {
            // A name and the bookkeeping weigh about as much as eight segments.
            u32::try_from(kept.directory.len() + 8).unwrap_or(u32::MAX)
        };
        let cache = moka::sync::Cache::builder()
            .max_capacity(MAX_SEGMENTS)
            .weigher(weight);
        Self(cache.build())
    }

    /// The directory of the list at that version, where it is known.
    pub(in crate::store) fn get(&self, name: &Name, version: i64) -> Option<Directory> {
        let kept = self.0.get(name).filter(|kept| kept.version == version);
        metrics::directory_lookup(kept.is_some());
        Some(kept?.directory)
    }

    /// What is kept of the list, which may be of an older version than the list is by now.
    pub(super) fn last(&self, name: &Name) -> Option<Versioned> {
        self.0.get(name)
    }

    /// Keeps what a committed transaction read or wrote.
    pub(in crate::store) fn keep(&self, name: Name, kept: Versioned) {
        self.0.insert(name, kept);
    }
}
