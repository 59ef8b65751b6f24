//! A segment of a list in memory.

use super::directory::{Entry, Rank, SegmentId};
use crate::domain::ChildId;

/// Of a long list there are thousands, of which an operation loads a few: small, because
/// all are walked.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) id: SegmentId,
    /// None: to be given.
    pub(super) rank: Option<Rank>,
    pub(super) len: usize,
    /// Whether the rank may be other than stored.
    pub(super) reranked: bool,
    /// None: not loaded, so as it is stored.
    pub(super) loaded: Option<Box<Loaded>>,
}

#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) ids: Vec<ChildId>,
    /// Whether the ids are other than stored.
    pub(super) changed: bool,
    /// How many are stored; none for a new segment.
    pub(super) stored_len: Option<usize>,
}

impl Segment {
    pub(super) fn ids(&self) -> Option<&[ChildId]> {
        self.loaded.as_ref().map(|loaded| loaded.ids.as_slice())
    }

    /// Changes the ids, where they are loaded.
    pub(super) fn edit<T>(&mut self, change: impl FnOnce(&mut Vec<ChildId>) -> T) -> Option<T> {
        let loaded = self.loaded.as_mut()?;
        let result = change(&mut loaded.ids);
        loaded.changed = true;
        self.len = loaded.ids.len();
        Some(result)
    }

    pub(super) fn is_stored(&self) -> bool {
        let loaded = self.loaded.as_ref();
        loaded.is_none_or(|loaded| loaded.stored_len.is_some())
    }

    pub(super) fn entry(&self) -> Entry {
        Entry {
            id: self.id,
            rank: self.rank.unwrap_or_default(),
            len: self.len,
        }
    }
}
