//! A segment of a [`super::list::List`] in memory. The ids of its children are loaded only if an
//! operation needs them.

use super::directory::{Entry, Rank, SegmentId};
use crate::domain::ChildId;

/// A segment, loaded or not. It is kept small because a long list has thousands of them, of which
/// an operation loads a few but walks all.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) id: SegmentId,
    /// `None` until a rank is assigned.
    pub(super) rank: Option<Rank>,
    pub(super) len: usize,
    /// Whether the rank may differ from the stored one.
    pub(super) reranked: bool,
    /// The ids; `None` if they are not loaded, and thus unchanged.
    pub(super) loaded: Option<Box<Loaded>>,
}

#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) ids: Vec<ChildId>,
    /// Whether the ids differ from the stored ones.
    pub(super) changed: bool,
    /// The stored length; `None` for a new segment.
    pub(super) stored_len: Option<usize>,
}

impl Segment {
    pub(super) fn ids(&self) -> Option<&[ChildId]> {
        self.loaded.as_ref().map(|loaded| loaded.ids.as_slice())
    }

    /// Changes the ids and returns the result of `change`; `None` if they are not loaded.
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
