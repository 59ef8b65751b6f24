//! Splits and merges the segments of a [`List`] in memory, so that each stays near its target size.
//! [`super::list`] has the operations that make this necessary.

use super::{
    directory::SegmentId,
    list::List,
    segment::{Loaded, Segment},
};
use crate::domain::ChildId;

impl List {
    /// Splits a segment so that a segment starts at `index`. The segment there must be loaded.
    pub(super) fn cut(&mut self, index: u64) {
        let mut first = 0;
        let inside = self.segments.iter().position(|segment| {
            let end = first + segment.len as u64;
            let inside = first < index && index < end;
            if !inside {
                first = end;
            }
            inside
        });
        let Some(at) = inside else { return };
        let offset = (index - first) as usize;
        let segment = &mut self.segments[at];
        let home = segment.id;
        // The larger part keeps the segment id, so that fewer member rows change.
        let larger_tail = segment.len - offset > offset;
        let moved = segment.edit(|ids| {
            let tail = ids.split_off(offset);
            if larger_tail {
                std::mem::replace(ids, tail)
            } else {
                tail
            }
        });
        let Some(moved) = moved else { return };
        let new = self.fresh(moved, home);
        if larger_tail {
            self.segments.insert(at, new);
        } else {
            self.segments.insert(at + 1, new);
        }
    }

    /// The segments that must be loaded before [`List::merge`]: small segments that changed, and
    /// the neighbours that they can be merged with.
    pub(super) fn missing_to_merge(&self) -> Vec<SegmentId> {
        let pairs = self.mergeable();
        let both = pairs.into_iter().flat_map(|at| [at, at + 1]);
        let missing = both.filter(|at| self.segments[*at].loaded.is_none());
        missing.map(|at| self.segments[at].id).collect()
    }

    /// Merges small segments that changed with a neighbour if both fit into one segment. Returns
    /// true if there may be more to merge.
    pub(super) fn merge(&mut self) -> bool {
        let pairs = self.mergeable();
        for at in pairs.iter().rev() {
            // The larger segment keeps its id, so that fewer member rows change.
            let (keep, go) = if self.segments[*at].len >= self.segments[at + 1].len {
                (*at, at + 1)
            } else {
                (at + 1, *at)
            };
            let Some(ids) = self.segments[go].edit(std::mem::take) else {
                continue;
            };
            let (kept, left) = (self.segments[keep].id, self.segments[go].id);
            self.rehome(&ids, left, Some(kept));
            self.segments[keep].edit(|own| {
                let place = if keep < go { own.len() } else { 0 };
                own.splice(place..place, ids);
            });
            let gone = self.segments.remove(go);
            self.note_dropped(&gone);
        }
        !pairs.is_empty()
    }

    /// Splits a segment that is too large. At the end of the list, a segment over the target is
    /// split into full ones and a rest, which the next append fills. Elsewhere, a segment over
    /// twice the target is split evenly, which leaves room for inserts.
    pub(super) fn split_large(&mut self, at: usize, at_end: bool) {
        let (target, len) = (self.target, self.segments[at].len);
        let limit = if at_end { target } else { 2 * target };
        if len <= limit {
            return;
        }
        let part = if at_end {
            target
        } else {
            len.div_ceil(len.div_ceil(target))
        };
        let segment = &mut self.segments[at];
        let home = segment.id;
        let rest = segment.edit(|ids| ids.split_off(part)).unwrap_or_default();
        let new: Vec<_> = rest
            .chunks(part)
            .map(|ids| self.fresh(ids.to_vec(), home))
            .collect();
        self.segments.splice(at + 1..at + 1, new);
    }

    /// The left segments (as positions) of pairs to merge. No segment is in two pairs.
    fn mergeable(&self) -> Vec<usize> {
        let small = |s: &Segment| {
            let changed = s.loaded.as_ref().is_some_and(|loaded| loaded.changed);
            changed && s.len < self.target.div_ceil(4)
        };
        let mut pairs = Vec::new();
        let mut at = 0;
        while at + 1 < self.segments.len() {
            let (left, right) = (&self.segments[at], &self.segments[at + 1]);
            if (small(left) || small(right)) && left.len + right.len <= self.target {
                pairs.push(at);
                at += 1;
            }
            at += 1;
        }
        pairs
    }

    /// A new segment with ids that were in the segment `from` before.
    pub(super) fn fresh(&mut self, ids: Vec<ChildId>, from: SegmentId) -> Segment {
        let id = self.next_id;
        self.next_id += 1;
        self.rehome(&ids, from, Some(id));
        Segment {
            id,
            rank: None,
            len: ids.len(),
            reranked: false,
            loaded: Some(Box::new(Loaded {
                ids,
                changed: true,
                stored_len: None,
            })),
        }
    }
}
