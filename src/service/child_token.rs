//! Page tokens for lists of children: a position that is found again after the list changed.
//!
//! A token contains the *anchors*, the children next to the position that the client has seen. If
//! the list changes, inserts and removals before the position shift most anchors by the same
//! distance. The longest run of these that are still adjacent determines the new position. Anchors
//! that moved elsewhere are skipped if the client would see them again. So as long as most anchors
//! stay in order, no child that stayed is seen twice or missed, whatever else moved.

use crate::{
    domain::{ChildId, Etag, Result, child_ids, page::bad_token},
    store::children::Children,
};

/// The number of anchors in a token. There are many, so that most of them stay even if some are
/// moved.
const ANCHORS: usize = 48;
/// The number of moved children that a token remembers. They are rarely encountered.
const SKIPPED: usize = 64;

/// The direction in which the next page lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// Towards the end of the list.
    Forward,
    /// Towards the start of the list.
    Backward,
}

/// A position between two children.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The version of the collection at which the position was at `index`.
    pub(super) etag: Etag,
    pub(super) direction: Direction,
    /// The number of children before the position.
    pub(super) index: u64,
    /// The children next to the position that the client has seen, in order: those before it if the
    /// client pages forward, else those after it.
    anchors: Vec<ChildId>,
    /// Children that the client has seen but that may now lie ahead, and must be skipped.
    pub(super) skip: Vec<ChildId>,
}

impl Place {
    /// The position before the child at `index`.
    pub(super) fn at(etag: Etag, index: u64) -> Self {
        Self {
            etag,
            direction: Direction::Forward,
            index,
            anchors: Vec::new(),
            skip: Vec::new(),
        }
    }

    /// The position at the end (or start) of a page that was read from this position.
    pub(super) fn beside(&self, page: &[(ChildId, u64)], direction: Direction) -> Self {
        let (near, index) = match direction {
            Direction::Forward => (
                &page[page.len().saturating_sub(ANCHORS)..],
                page.last().map(|(_, index)| index + 1),
            ),
            Direction::Backward => (
                &page[..page.len().min(ANCHORS)],
                page.first().map(|(_, index)| *index),
            ),
        };
        // A client that reverses direction wants to see those children again.
        let skip = if direction == self.direction {
            self.skip.clone()
        } else {
            Vec::new()
        };
        Self {
            etag: self.etag,
            direction,
            index: index.unwrap_or(self.index),
            anchors: near.iter().map(|(id, _)| id.clone()).collect(),
            skip,
        }
    }

    /// The position in the current list.
    pub(super) async fn now(mut self, children: Children<'_>, current: Etag) -> Result<Self> {
        if self.etag == current {
            return Ok(self);
        }
        self.etag = current;
        let found = children.indexes_of(&self.anchors).await?;
        let indexes: Vec<Option<u64>> = self
            .anchors
            .iter()
            .map(|id| found.get(id).copied())
            .collect();
        let first = match self.direction {
            Direction::Forward => self.index.saturating_sub(self.anchors.len() as u64),
            Direction::Backward => self.index,
        };
        if let Some(run) = stayed(first, &indexes) {
            self.index = match self.direction {
                Direction::Forward => run.last + 1,
                Direction::Backward => run.first,
            };
            let moved = self.anchors.iter().zip(&indexes);
            let moved = moved.filter(|(_, index)| {
                index.is_some_and(|index| index < run.first || index > run.last)
            });
            self.skip.extend(moved.map(|(id, _)| id.clone()));
            let forgotten = self.skip.len().saturating_sub(SKIPPED);
            self.skip.drain(..forgotten);
        } else {
            let len = children.page(0, 0).await?.len;
            self.index = self.index.min(len);
        }
        Ok(self)
    }

    /// Encodes the position for a token. [`super::token::MAX_PLACE`] has room for the longest one.
    pub(super) fn encode(&self) -> String {
        let direction = match self.direction {
            Direction::Forward => 'f',
            Direction::Backward => 'b',
        };
        let anchors = self.anchors.len();
        let head = format!("{direction}\n{}\n{}\n{anchors}", self.etag, self.index);
        let ids = self.anchors.iter().chain(&self.skip);
        // Ids contain no line feed, which separates them here.
        head + child_ids::join(ids.map(ChildId::as_str)).as_str()
    }

    /// Decodes what [`Self::encode`] wrote.
    pub(super) fn parse(place: &str) -> Result<Self> {
        let lines: Vec<&str> = place.split('\n').collect();
        let [direction, etag, index, anchors, ids @ ..] = &lines[..] else {
            return Err(bad_token());
        };
        let anchors = anchors.parse().map_err(|_| bad_token())?;
        let (anchors, skip) = ids.split_at_checked(anchors).ok_or_else(bad_token)?;
        let ids = |ids: &[&str]| ids.iter().map(|id| ChildId::trusted(*id)).collect();
        Ok(Self {
            etag: Etag::parse("page_token", etag).map_err(|_| bad_token())?,
            direction: match *direction {
                "f" => Direction::Forward,
                "b" => Direction::Backward,
                _ => return Err(bad_token()),
            },
            index: index.parse().map_err(|_| bad_token())?,
            anchors: ids(anchors),
            skip: ids(skip),
        })
    }
}

/// Adjacent children: the indexes of the first and the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    first: u64,
    last: u64,
}

/// Children whose shifts differ by no more than this are considered to have moved together: a few
/// others were inserted or removed between them.
const ALIKE: i64 = 64;

/// The longest run of still adjacent anchors among those that were shifted by about the most common
/// distance. `first` is the former index of the first anchor, and `indexes` has the current index
/// of each.
fn stayed(first: u64, indexes: &[Option<u64>]) -> Option<Run> {
    let shift =
        |(at, index): (u64, &Option<u64>)| Some(index.as_ref()?.cast_signed() - at.cast_signed());
    let mut shifts: Vec<i64> = (first..).zip(indexes).filter_map(shift).collect();
    shifts.sort_unstable();
    let alike = |low: i64| {
        shifts
            .iter()
            .filter(|s| (low..=low + ALIKE).contains(*s))
            .count()
    };
    let low = shifts.iter().copied().max_by_key(|low| alike(*low))?;
    let with_most = (first..).zip(indexes).filter(|(at, index)| {
        shift((*at, *index)).is_some_and(|shift| (low..=low + ALIKE).contains(&shift))
    });
    longest_run(with_most.filter_map(|(_, index)| *index))
}

/// The longest run of consecutive indexes; the last one if several are equally long.
fn longest_run(indexes: impl Iterator<Item = u64>) -> Option<Run> {
    let mut longest: Option<Run> = None;
    let mut run: Option<Run> = None;
    for index in indexes {
        let now = match run {
            Some(Run { first, last }) if last + 1 == index => Run { first, last: index },
            _ => Run {
                first: index,
                last: index,
            },
        };
        run = Some(now);
        if longest.is_none_or(|longest| now.last - now.first >= longest.last - longest.first) {
            longest = Some(now);
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::token;

    #[test]
    fn the_position_is_found_by_the_anchors_that_did_not_move() {
        let run = |indexes: &[Option<u64>]| stayed(4, indexes).map(|run| (run.first, run.last));
        assert_eq!(run(&[]), None);
        assert_eq!(run(&[None, None]), None);
        assert_eq!(run(&[Some(4), Some(5), Some(6)]), Some((4, 6)));
        // The last one moved to the front, or further back.
        assert_eq!(run(&[Some(5), Some(6), Some(0)]), Some((5, 6)));
        assert_eq!(run(&[Some(4), Some(5), Some(16)]), Some((4, 5)));
        // One was removed, or another was inserted in between.
        assert_eq!(run(&[Some(4), None, Some(5), Some(6)]), Some((4, 6)));
        assert_eq!(run(&[Some(4), Some(6)]), Some((6, 6)));
        // Some moved together; the others did not move, but new ones were inserted between them.
        let moved = [
            Some(4),
            Some(6),
            Some(900),
            Some(901),
            Some(7),
            Some(8),
            Some(10),
        ];
        assert_eq!(run(&moved), Some((6, 8)));
    }

    #[test]
    fn a_place_round_trips_and_malformed_ones_are_rejected() {
        let page: Vec<_> = (0..60)
            .map(|n| (ChildId::trusted(format!("p,;{n}")), n + 10))
            .collect();
        let mut place = Place::at(Etag::of(7), 10);
        place.skip = vec![ChildId::trusted("s")];
        for (direction, index, first) in [
            (Direction::Forward, 70, "p,;12"),
            (Direction::Backward, 10, "p,;0"),
        ] {
            let written = place.beside(&page, direction).encode();
            let back = Place::parse(&written).unwrap();
            assert_eq!(
                (back.etag, back.direction, back.index),
                (Etag::of(7), direction, index)
            );
            assert_eq!(
                (back.anchors.len(), back.anchors[0].as_str()),
                (ANCHORS, first)
            );
            assert_eq!(
                back.skip.len(),
                usize::from(direction == Direction::Forward)
            );
        }
        let empty = Place::parse(&Place::at(Etag::of(7), 3).encode()).unwrap();
        assert_eq!((empty.anchors.len(), empty.skip.len()), (0, 0));
        for odd in ["x", "f\n7\n3\n2\na", "f\n7\n3\n-1", "f;7;3;a;"] {
            assert!(Place::parse(odd).is_err(), "{odd:?}");
        }
    }

    #[test]
    fn the_longest_place_fits_a_token() {
        let ids = |count| vec![ChildId::trusted("\u{1f9e6}".repeat(ChildId::MAX)); count];
        let longest = Place {
            etag: Etag::of(i64::MAX),
            direction: Direction::Forward,
            index: u64::MAX,
            anchors: ids(ANCHORS),
            skip: ids(SKIPPED),
        };
        let length = longest.encode().len();
        assert!(length <= token::MAX_PLACE, "{length}");
    }
}
