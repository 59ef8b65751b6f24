//! A list of children in memory, as far as it is loaded: operations on segments, without the
//! database. [`super::balance`] splits and merges segments, and [`super::ranks`] assigns their
//! ranks.
//!
//! The list knows all its segments and their lengths, but only the ids of the loaded ones. Callers
//! load what an operation touches first (see [`List::missing`] and its siblings).
//!
//! Per child, it tracks only those that were looked up and those that changed segments. The other
//! children of a loaded segment, hundreds for each one looked up, are never visited one by one.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::Range,
};

use super::{
    directory::{Directory, Entry, Rank, SegmentId},
    ranks::give_ranks,
    segment::{Loaded, Segment},
};
use crate::domain::{ChildId, child_ids};

/// Children by the segment that they are in.
pub(super) type Homes<'a> = BTreeMap<SegmentId, Vec<&'a str>>;

/// What must be written to store a list. No row is in two of its fields.
#[derive(Debug, Default)]
pub(super) struct Difference<'a> {
    /// Whether all stored children are deleted, except those in `moved`.
    pub(super) emptied: bool,
    /// The number of stored children to delete.
    pub(super) gone: u64,
    /// Segments that are new or whose length changed.
    pub(super) entries: BTreeMap<SegmentId, (Rank, usize)>,
    /// Segments whose rank changed but not their length.
    pub(super) ranks: BTreeMap<SegmentId, Rank>,
    /// Segments that are new or whose ids changed, each with its ids as one string.
    pub(super) contents: BTreeMap<SegmentId, String>,
    /// Segments to delete.
    pub(super) dropped: Vec<SegmentId>,
    /// New children.
    pub(super) joined: Homes<'a>,
    /// Children that changed segments, or that may have been in the list before it was emptied.
    pub(super) moved: Homes<'a>,
    /// Children to delete, if the list was not emptied.
    pub(super) removed: Vec<&'a str>,
}

impl Difference<'_> {
    /// The number of rows that are written or deleted.
    pub(super) fn rows(&self) -> u64 {
        let members = self.joined.values().chain(self.moved.values());
        let members: usize = members.map(Vec::len).sum();
        let segments = self.entries.len() + self.ranks.len() + self.contents.len();
        // A segment has rows in two tables.
        self.gone + (members + segments + 2 * self.dropped.len()) as u64
    }
}

/// A list, loaded in part.
#[derive(Debug)]
pub(super) struct List {
    pub(super) segments: Vec<Segment>,
    pub(super) target: usize,
    pub(super) next_id: SegmentId,
    /// For each id that was put, moved or taken: its current segment, or `None` if it is not in the
    /// list.
    moved: HashMap<ChildId, Option<SegmentId>>,
    /// For each id that was looked up or moved: the segment that it is stored in.
    stored: HashMap<ChildId, SegmentId>,
    /// Ids that were looked up and are not stored in the list.
    unstored: HashSet<ChildId>,
    dropped: Vec<SegmentId>,
    /// The number of children that are stored.
    stored_len: u64,
    /// Whether the list was emptied: nothing of what was stored is in it unless it was put back.
    emptied: bool,
}

impl List {
    /// A list with the segments of `directory`, in order, none of them loaded.
    pub(super) fn new(directory: &[Entry], target: usize) -> Self {
        let next_id = directory.iter().map(|entry| entry.id).max().unwrap_or(0) + 1;
        let segments = directory.iter().map(|entry| Segment {
            id: entry.id,
            rank: Some(entry.rank),
            len: entry.len,
            reranked: false,
            loaded: None,
        });
        Self {
            segments: segments.collect(),
            target,
            next_id,
            moved: HashMap::new(),
            stored: HashMap::new(),
            unstored: HashSet::new(),
            dropped: Vec::new(),
            stored_len: directory.iter().map(|entry| entry.len as u64).sum(),
            emptied: false,
        }
    }

    /// The segments in order. All of them have ranks once [`Self::difference`] was called.
    pub(super) fn directory(&self) -> Directory {
        self.segments.iter().map(Segment::entry).collect()
    }

    /// The current length of the list.
    pub(super) fn len(&self) -> u64 {
        self.segments.iter().map(|s| s.len as u64).sum()
    }

    /// The number of children per segment to aim at.
    pub(super) fn target(&self) -> usize {
        self.target
    }

    // What must be loaded.

    /// Those of the ids that must be looked up before it is known whether they are in the list.
    pub(super) fn unknown(&self, ids: &[ChildId]) -> Vec<ChildId> {
        let known = |id| {
            self.emptied
                || self.moved.contains_key(id)
                || self.stored.contains_key(id)
                || self.unstored.contains(id)
        };
        ids.iter().filter(|id| !known(*id)).cloned().collect()
    }

    /// Takes in the result of looking up `asked`; ids that are not in `homes` are not in the list.
    pub(super) fn record_lookup(
        &mut self,
        asked: Vec<ChildId>,
        homes: HashMap<ChildId, SegmentId>,
    ) {
        let absent = asked.into_iter().filter(|id| !homes.contains_key(id));
        self.unstored.extend(absent);
        self.stored.extend(homes);
    }

    /// The segment that an id is in, or `None` if it is not in the list. The id must be known:
    /// looked up or moved.
    pub(super) fn home(&self, id: &ChildId) -> Option<SegmentId> {
        match self.moved.get(id) {
            Some(home) => *home,
            None if self.emptied => None,
            None => self.stored.get(id).copied(),
        }
    }

    /// The segments of the known ids that are not loaded yet.
    pub(super) fn missing_of(&self, ids: &[ChildId]) -> Vec<SegmentId> {
        let homes: BTreeSet<_> = ids.iter().filter_map(|id| self.home(id)).collect();
        let missing = self.segments.iter().filter(|s| s.loaded.is_none());
        let missing = missing.map(|segment| segment.id);
        missing.filter(|id| homes.contains(id)).collect()
    }

    /// The segments at the given indexes that are not loaded yet. `indexes` must be ascending.
    pub(super) fn missing_at(&self, indexes: &[u64]) -> Vec<SegmentId> {
        let mut missing = Vec::new();
        let mut indexes = indexes.iter().peekable();
        let mut end = 0;
        for segment in &self.segments {
            end += segment.len as u64;
            let mut wanted = false;
            while indexes.next_if(|index| **index < end).is_some() {
                wanted = true;
            }
            // An index on a boundary belongs to the segment that ends there.
            while indexes.next_if(|index| **index == end).is_some() {
                wanted = true;
            }
            if wanted && segment.loaded.is_none() {
                missing.push(segment.id);
            }
        }
        missing
    }

    /// The segments that contain a part of the range and are not loaded yet.
    pub(super) fn missing_in(&self, range: Range<u64>) -> Vec<SegmentId> {
        let mut first = 0;
        let mut missing = Vec::new();
        for segment in &self.segments {
            let end = first + segment.len as u64;
            if first < range.end && end > range.start && segment.loaded.is_none() {
                missing.push(segment.id);
            }
            first = end;
        }
        missing
    }

    /// All segments that are not loaded yet.
    pub(super) fn missing(&self) -> Vec<SegmentId> {
        let missing = self.segments.iter().filter(|s| s.loaded.is_none());
        missing.map(|segment| segment.id).collect()
    }

    /// Takes in the stored ids of segments.
    pub(super) fn load(&mut self, mut contents: BTreeMap<SegmentId, Vec<ChildId>>) {
        // Only a few of thousands of segments are loaded, so `contents` is a small tree, which is
        // searched faster than an id is hashed.
        for segment in &mut self.segments {
            if let Some(ids) = contents.remove(&segment.id) {
                segment.len = ids.len();
                segment.loaded = Some(Box::new(Loaded {
                    stored_len: Some(ids.len()),
                    ids,
                    changed: false,
                }));
            }
        }
    }

    /// Whether the list was emptied. Then only a part of its former children is known.
    pub(super) fn is_emptied(&self) -> bool {
        self.emptied
    }

    // Reading what is loaded.

    /// The index of an id, whose segment must be loaded.
    pub(super) fn index_of(&self, id: &ChildId) -> Option<u64> {
        let home = self.home(id)?;
        let mut first = 0;
        for segment in &self.segments {
            if segment.id == home {
                let place = segment.ids()?.iter().position(|other| other == id)?;
                return Some(first + place as u64);
            }
            first += segment.len as u64;
        }
        None
    }

    /// The ids of a range, which must be loaded.
    pub(super) fn range(&self, range: Range<u64>) -> Vec<ChildId> {
        let mut found = Vec::with_capacity((range.end - range.start) as usize);
        let mut first = 0;
        for segment in &self.segments {
            let end = first + segment.len as u64;
            if first < range.end
                && end > range.start
                && let Some(ids) = segment.ids()
            {
                let from = range.start.saturating_sub(first) as usize;
                let to = (range.end.min(end) - first) as usize;
                found.extend_from_slice(&ids[from..to]);
            }
            first = end;
        }
        found
    }

    // Changing what is loaded.

    /// Removes ids from the list. They must be known, and their segments loaded.
    pub(super) fn take(&mut self, ids: &[ChildId]) {
        let mut gone: BTreeMap<SegmentId, HashSet<&ChildId>> = BTreeMap::new();
        for id in ids {
            if let Some(home) = self.home(id) {
                gone.entry(home).or_default().insert(id);
                self.moved.insert(id.clone(), None);
            }
        }
        for segment in &mut self.segments {
            if let Some(gone) = gone.get(&segment.id) {
                segment.edit(|ids| ids.retain(|id| !gone.contains(id)));
            }
        }
        self.drop_empty();
    }

    /// Removes a range, which must be loaded, and returns its ids.
    pub(super) fn take_range(&mut self, range: Range<u64>) -> Vec<ChildId> {
        let mut taken = Vec::with_capacity((range.end - range.start) as usize);
        let mut first = 0;
        for at in 0..self.segments.len() {
            let segment = &mut self.segments[at];
            let end = first + segment.len as u64;
            if first < range.end && end > range.start {
                let from = range.start.saturating_sub(first) as usize;
                let to = (range.end.min(end) - first) as usize;
                let gone: Option<Vec<_>> = segment.edit(|ids| ids.drain(from..to).collect());
                let (gone, home) = (gone.unwrap_or_default(), segment.id);
                self.rehome(&gone, home, None);
                taken.extend(gone);
            }
            first = end;
        }
        self.drop_empty();
        taken
    }

    /// Inserts ids that are not in the list at `index`, whose segment must be loaded.
    pub(super) fn put(&mut self, index: u64, ids: Vec<ChildId>) {
        self.ensure_segment();
        let (at, offset) = self.segment_at(index);
        let at_end = index == self.len();
        let segment = &mut self.segments[at];
        let home = segment.id;
        let count = ids.len();
        segment.edit(|own| drop(own.splice(offset..offset, ids)));
        self.split_large(at, at_end);
        // `split_large` has already recorded the ids that went to other segments.
        let put = self.segments[at].ids().unwrap_or_default().iter();
        for id in put.skip(offset).take(count) {
            self.moved.insert(id.clone(), Some(home));
        }
    }

    /// Inserts ids that are not in the list so that each ends up at its index. `places` must be
    /// ascending, and the segments must be loaded.
    pub(super) fn put_each(&mut self, places: Vec<(u64, ChildId)>) {
        self.ensure_segment();
        let (mut at, mut first) = (0, 0);
        let mut grown = BTreeSet::new();
        for (index, id) in places {
            while index > first + self.segments[at].len as u64 && at + 1 < self.segments.len() {
                first += self.segments[at].len as u64;
                at += 1;
            }
            let segment = &mut self.segments[at];
            self.moved.insert(id.clone(), Some(segment.id));
            segment.edit(|own| own.insert((index - first) as usize, id));
            grown.insert(at);
        }
        // From the end, so that a split does not shift the segments that are still to be split.
        for at in grown.into_iter().rev() {
            self.split_large(at, false);
        }
    }

    /// Moves the segments that make up `range` so that the range starts at index `to` afterwards.
    /// Both ends of the range and the target must be segment boundaries (see [`List::cut`]).
    pub(super) fn rotate(&mut self, range: Range<u64>, to: u64) {
        let start = self.boundary(range.start);
        let end = self.boundary(range.end);
        let size = range.end - range.start;
        let rotated = if to <= range.start {
            let target = self.boundary(to);
            self.segments[target..end].rotate_left(start - target);
            (target..end, end - start)
        } else {
            let target = self.boundary(to + size);
            self.segments[start..target].rotate_left(end - start);
            (start..target, target - end)
        };
        // Two runs of segments swap places; only the one with fewer segments gets new ranks.
        let (span, first_run) = rotated;
        let middle = span.start + first_run;
        let fewer = if first_run <= span.end - middle {
            span.start..middle
        } else {
            middle..span.end
        };
        for segment in &mut self.segments[fewer] {
            segment.rank = None;
            segment.reranked = true;
        }
    }

    /// Empties the list. Its segments need not be loaded.
    pub(super) fn clear(&mut self) {
        // For segments that are loaded, this records the stored ids, so that it is known which
        // left.
        for segment in std::mem::take(&mut self.segments) {
            let ids = segment.ids().unwrap_or_default();
            self.rehome(ids, segment.id, None);
            self.note_dropped(&segment);
        }
        self.moved.clear();
        self.emptied = true;
    }

    /// Assigns missing ranks and returns the changes to write.
    pub(super) fn difference(&mut self) -> Difference<'_> {
        give_ranks(&mut self.segments);
        let mut difference = Difference {
            emptied: self.emptied,
            dropped: self.dropped.clone(),
            ..Difference::default()
        };
        for segment in &self.segments {
            let Entry { id, rank, len } = segment.entry();
            let loaded = segment.loaded.as_ref();
            if loaded.is_some_and(|loaded| loaded.stored_len != Some(len)) {
                difference.entries.insert(id, (rank, len));
            } else if segment.reranked {
                difference.ranks.insert(id, rank);
            }
            if let Some(loaded) = loaded.filter(|loaded| loaded.changed) {
                let ids = child_ids::join(loaded.ids.iter().map(ChildId::as_str));
                difference.contents.insert(id, ids);
            }
        }
        for (id, home) in &self.moved {
            let Some(home) = home else { continue };
            let stored = self.stored.get(id);
            // Once the list is emptied, ids are not looked up any more, so any of them may be
            // stored.
            let may_be_stored = self.emptied && !self.unstored.contains(id);
            let members = match stored {
                None if !may_be_stored => &mut difference.joined,
                Some(stored) if stored == home && !self.emptied => continue,
                None | Some(_) => &mut difference.moved,
            };
            members.entry(*home).or_default().push(id.as_str());
        }
        // In the order of the index, so that its entries are written next to each other.
        for members in difference.joined.values_mut() {
            members.sort_unstable();
        }
        if self.emptied {
            let kept: usize = difference.moved.values().map(Vec::len).sum();
            difference.gone = self.stored_len.saturating_sub(kept as u64);
        } else {
            difference.removed = self.removed().map(ChildId::as_str).collect();
            difference.gone = difference.removed.len() as u64;
        }
        difference
    }

    /// The ids that are in the list but not stored, and those that are stored but not in the list.
    pub(super) fn joined_and_left(&self) -> (Vec<ChildId>, Vec<ChildId>) {
        let here = self.moved.iter().filter(|(_, home)| home.is_some());
        let here = here.map(|(id, _)| id);
        let joined = here.filter(|id| !self.stored.contains_key(*id));
        (joined.cloned().collect(), self.removed().cloned().collect())
    }

    // Helpers.

    /// The stored ids that are not in the list any more.
    fn removed(&self) -> impl Iterator<Item = &ChildId> {
        self.stored.keys().filter(|id| self.home(id).is_none())
    }

    /// The segment (as a position) for `index`, and the offset in it. An index on a boundary
    /// belongs to the segment that ends there.
    fn segment_at(&self, index: u64) -> (usize, usize) {
        let mut first = 0;
        for (at, segment) in self.segments.iter().enumerate() {
            let end = first + segment.len as u64;
            if index <= end && (segment.len > 0 || self.segments.len() == 1) {
                return (at, (index - first) as usize);
            }
            first = end;
        }
        let last = self.segments.len() - 1;
        (last, self.segments[last].len)
    }

    /// The position of the segment that starts at `index`.
    fn boundary(&self, index: u64) -> usize {
        let mut first = 0;
        for (at, segment) in self.segments.iter().enumerate() {
            if first >= index {
                return at;
            }
            first += segment.len as u64;
        }
        self.segments.len()
    }

    fn ensure_segment(&mut self) {
        if self.segments.is_empty() {
            let new = self.fresh(Vec::new(), 0);
            self.segments.push(new);
        }
    }

    /// Records that ids moved from one segment to another, or left the list.
    pub(super) fn rehome(&mut self, ids: &[ChildId], from: SegmentId, to: Option<SegmentId>) {
        self.moved.reserve(ids.len());
        for id in ids {
            let before = self.moved.insert(id.clone(), to);
            // An id that had not moved before is stored where it was, unless it is not stored at
            // all.
            if before.is_none() && !self.emptied && !self.unstored.contains(id) {
                self.stored.entry(id.clone()).or_insert(from);
            }
        }
    }

    fn drop_empty(&mut self) {
        if self.segments.iter().all(|segment| segment.len > 0) {
            return;
        }
        let (full, empty): (Vec<_>, Vec<_>) = std::mem::take(&mut self.segments)
            .into_iter()
            .partition(|segment| segment.len > 0);
        self.segments = full;
        for segment in &empty {
            self.note_dropped(segment);
        }
    }

    pub(super) fn note_dropped(&mut self, segment: &Segment) {
        if segment.is_stored() {
            self.dropped.push(segment.id);
        }
    }
}
