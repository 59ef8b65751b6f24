//! Applies one request's mutations to one list in memory, loading the segments that each mutation
//! touches. [`super::many`] runs editors of many lists at once and writes their differences.

use std::collections::{BTreeMap, HashSet};

use super::{
    directory::{Directory, Entry, SegmentId},
    list::{Difference, List},
    reads::Reads,
};
use crate::domain::{
    ChildId, ChildType, CollectionId, Constraint, Error, FieldPath, Mutation, OnDuplicate,
    OnMissing, Outcome, Position, Result, Violation,
    children::{MutationField, already_in_list, not_in_list, out_of_range},
};
use crate::store::ledger::Left;

/// How many children that move are known one by one.
pub(in crate::store) const MAX_MOVED: usize = 10_000;

/// The result of editing a list.
#[derive(Debug)]
pub(in crate::store) struct Edited {
    /// The outcome of each mutation, in order.
    pub(in crate::store) outcomes: Vec<Outcome>,
    /// The children that are in the list now and were not before.
    pub(in crate::store) joined: Vec<ChildId>,
    /// The children that were in the list before and are not now.
    pub(in crate::store) left: Left,
    /// The new length of the list.
    pub(in crate::store) len: u64,
    /// The children that any mutation added, for jobs that are about to remove them from the list;
    /// empty if the tenant has no job.
    pub(in crate::store) beside_job: Vec<ChildId>,
    /// The children that the mutations moved, for a job that builds the next list; `None` if they
    /// are too many; empty if the tenant has no job.
    pub(in crate::store) moved: Option<Vec<ChildId>>,
    /// Whether any row is written or removed.
    pub(in crate::store) changed: bool,
    /// The number of rows that are written or removed.
    pub(in crate::store) rows_written: u64,
    pub(in crate::store) directory: Directory,
}

/// An editor of one list, possibly one of many that are edited at once.
pub(super) struct Editor<'a> {
    reads: &'a Reads<'a>,
    collection: &'a CollectionId,
    of: ChildType,
    list: List,
    /// The children that any mutation added, including those that an earlier mutation had removed.
    added: Vec<ChildId>,
    /// The children that mutations moved; `None` if they are too many.
    moved: Option<Vec<ChildId>>,
    outcomes: Vec<Outcome>,
}

impl<'a> Editor<'a> {
    /// An editor of the list whose segments are `directory`; `segment_target` is the number of
    /// children per segment to aim at.
    pub(super) fn new(
        reads: &'a Reads<'a>,
        collection: &'a CollectionId,
        of: ChildType,
        directory: &[Entry],
        segment_target: usize,
    ) -> Self {
        Self {
            reads,
            collection,
            of,
            list: List::new(directory, segment_target),
            added: Vec::new(),
            moved: Some(Vec::new()),
            outcomes: Vec::new(),
        }
    }

    /// Applies the mutations in order, each to the result of the one before, then moves pinned
    /// children to their indexes and merges small segments. Writes nothing.
    pub(super) async fn edit(
        mut self,
        mutations: &[&Mutation],
        pins: &[(ChildId, u64)],
    ) -> Result<Self> {
        if mutations.len() > 1 {
            self.read_ahead(mutations).await?;
        }
        for (at, mutation) in mutations.iter().enumerate() {
            let outcome = self.apply(at, mutation).await?;
            self.outcomes.push(outcome);
        }
        self.pin(pins).await?;
        loop {
            self.load(self.list.missing_to_merge()).await?;
            if !self.list.merge() {
                return Ok(self);
            }
        }
    }

    /// The changes to write for this list.
    pub(super) fn difference(&mut self) -> (&'a CollectionId, Difference<'_>) {
        (self.collection, self.list.difference())
    }

    /// The result of the edit; `rows_written` is the number of rows of its difference.
    pub(super) fn finish(self, rows_written: u64, has_no_job: bool) -> Edited {
        let list = self.list;
        let (joined, left) = list.joined_and_left();
        let left = if list.is_emptied() && self.of == ChildType::Product {
            Left::All
        } else {
            Left::These(left)
        };
        Edited {
            outcomes: self.outcomes,
            joined,
            left,
            len: list.len(),
            beside_job: if has_no_job { Vec::new() } else { self.added },
            moved: if has_no_job {
                Some(Vec::new())
            } else {
                self.moved
            },
            changed: rows_written > 0,
            rows_written,
            directory: list.directory(),
        }
    }

    /// Reads what several mutations need of the stored list, as far as their children determine
    /// it, so that the number of statements does not grow with the number of mutations.
    async fn read_ahead(&mut self, mutations: &[&Mutation]) -> Result<()> {
        let (mut named, mut loaded) = (Vec::new(), Vec::new());
        for mutation in mutations {
            match mutation {
                Mutation::Append { ids, .. } | Mutation::Insert { ids, .. } => named.extend(ids),
                Mutation::Remove { ids, .. } | Mutation::MoveIds { ids, .. } => loaded.extend(ids),
                Mutation::Reorder { placements } => {
                    loaded.extend(placements.iter().map(|(id, _)| id));
                }
                Mutation::MoveRange { .. } => {}
                // From here on, nothing of what is stored is needed.
                Mutation::Replace { .. } => break,
            }
            let anchor = mutation.position().and_then(Position::anchor);
            loaded.extend(anchor.map(|(id, _)| id));
        }
        named.extend_from_slice(&loaded);
        self.look_up(&unique(named)).await?;
        self.load(self.list.missing_of(&unique(loaded))).await
    }

    /// Applies one mutation; `at` is its position in the request, for error messages.
    async fn apply(&mut self, at: usize, mutation: &Mutation) -> Result<Outcome> {
        let field = |field| mutation.field(at, field);
        match mutation {
            Mutation::Append { ids, on_duplicate } => self.insert(None, ids, *on_duplicate).await,
            Mutation::Insert {
                ids,
                position,
                on_duplicate,
            } => {
                if let Position::Index(index) = position {
                    self.check(field(MutationField::Index), *index, self.list.len())?;
                }
                self.insert(Some(position), ids, *on_duplicate).await
            }
            Mutation::Remove { ids, on_missing } => self.remove(ids, *on_missing).await,
            Mutation::MoveRange {
                first,
                last,
                position,
            } => {
                let len = self.list.len();
                self.check(field(MutationField::Last), *last, len.saturating_sub(1))?;
                if len == 0 {
                    return Err(out_of_range(field(MutationField::Last), *last, 0, 0));
                }
                if first > last {
                    let field = field(MutationField::First);
                    return Err(Error {
                        message: format!(
                            "index {first} must be from 0 to {last}, the last index of the range"
                        ),
                        ..out_of_range(field, *first, *last, len)
                    });
                }
                let size = last - first + 1;
                let to = match position {
                    Position::Index(index) => {
                        self.check(field(MutationField::Index), *index, len - size)?;
                        *index
                    }
                    Position::Before(anchor) | Position::After(anchor) => {
                        let found = self.find(anchor).await?;
                        if (*first..=*last).contains(&found) {
                            let part = position.anchor().map(|(_, part)| part);
                            let part = part.unwrap_or(MutationField::Index);
                            let why = Constraint::Forbidden("it is in the range that is moved");
                            return Err(Violation::new(field(part), anchor.as_str(), why).into());
                        }
                        let found = if found > *last { found - size } else { found };
                        found + u64::from(matches!(position, Position::After(_)))
                    }
                };
                self.move_range(*first, size, to).await
            }
            Mutation::MoveIds { ids, position } => {
                let ids = unique(ids);
                if let Position::Index(index) = position {
                    let most = self.list.len().saturating_sub(ids.len() as u64);
                    self.check(field(MutationField::Index), *index, most)?;
                }
                self.move_ids(ids, position).await
            }
            Mutation::Reorder { placements } => {
                let last = self.list.len().saturating_sub(1);
                let mut places = BTreeMap::new();
                for (n, (id, place)) in placements.iter().enumerate() {
                    let (field, index) =
                        (field(MutationField::PlacementIndex(n)), place.index(last));
                    self.check(field.clone(), index, last)?;
                    // Two placements may mean the same index: one by number, the other as the last
                    // place.
                    if places.insert(index, id.clone()).is_some() {
                        let twice = Constraint::Repeated;
                        return Err(Violation::new(field, &place.to_string(), twice).into());
                    }
                }
                self.note_moved(placements.iter().map(|(id, _)| id));
                self.reorder(places).await
            }
            Mutation::Replace { ids } => self.replace(ids).await,
        }
    }

    /// Inserts the ids that are not in the list yet, at the position or at the end.
    async fn insert(
        &mut self,
        position: Option<&Position>,
        ids: &[ChildId],
        on_duplicate: OnDuplicate,
    ) -> Result<Outcome> {
        let ids = unique(ids);
        self.look_up(&ids).await?;
        let (existing, new): (Vec<_>, Vec<_>) =
            ids.into_iter().partition(|id| self.list.home(id).is_some());
        let is_refused = match on_duplicate {
            OnDuplicate::Ignore => false,
            OnDuplicate::Error => !existing.is_empty(),
            OnDuplicate::ErrorIfAll => new.is_empty(),
        };
        if is_refused {
            return Err(already_in_list(self.collection, self.of, &existing));
        }
        // Checked even if nothing is added: an unknown anchor is an error in any case.
        let index = match position {
            None => self.list.len(),
            Some(position) => self.index_at(position).await?,
        };
        let added = new.len() as u64;
        if added > 0 {
            self.added.extend_from_slice(&new);
            self.put(index, new).await?;
        }
        Ok(Outcome {
            added,
            existing,
            ..Outcome::default()
        })
    }

    async fn remove(&mut self, ids: &[ChildId], on_missing: OnMissing) -> Result<Outcome> {
        let ids = unique(ids);
        self.look_up(&ids).await?;
        let (found, missing): (Vec<_>, Vec<_>) =
            ids.into_iter().partition(|id| self.list.home(id).is_some());
        if let (OnMissing::Error, Some(id)) = (on_missing, missing.first()) {
            return Err(not_in_list(self.of, id));
        }
        self.load(self.list.missing_of(&found)).await?;
        self.list.take(&found);
        Ok(Outcome {
            removed: found.len() as u64,
            missing,
            ..Outcome::default()
        })
    }

    /// The current index of a position.
    async fn index_at(&mut self, position: &Position) -> Result<u64> {
        Ok(match position {
            Position::Index(index) => *index,
            Position::Before(anchor) => self.find(anchor).await?,
            Position::After(anchor) => self.find(anchor).await? + 1,
        })
    }

    /// The index of a child, which must be in the list.
    async fn find(&mut self, id: &ChildId) -> Result<u64> {
        self.require(std::slice::from_ref(id)).await?;
        Ok(self.list.index_of(id).unwrap_or_default())
    }

    async fn move_range(&mut self, start: u64, size: u64, to: u64) -> Result<Outcome> {
        let end = start + size;
        if start != to {
            let place = if to <= start { to } else { to + size };
            // A few children are taken out and put back; for many, whole segments change places.
            if size <= self.list.target() as u64 {
                // One read for both the range and the place that it moves to.
                let mut missing = self.list.missing_in(start..end);
                missing.extend(self.list.missing_at(&[place]));
                self.load(missing).await?;
                let ids = self.list.take_range(start..end);
                self.note_moved(&ids);
                self.put(to, ids).await?;
            } else {
                let mut cuts = [start, end, place];
                cuts.sort_unstable();
                self.load(self.list.missing_at(&cuts)).await?;
                for cut in cuts {
                    self.list.cut(cut);
                }
                self.list.rotate(start..end, to);
                self.moved = None;
            }
        }
        Ok(moved(size))
    }

    async fn move_ids(&mut self, ids: Vec<ChildId>, position: &Position) -> Result<Outcome> {
        self.require(&ids).await?;
        if let Some((anchor, _)) = position.anchor() {
            self.require(std::slice::from_ref(anchor)).await?;
        }
        self.note_moved(&ids);
        // Removed first, because the position refers to the list without the moved children.
        self.list.take(&ids);
        let index = self.index_at(position).await?;
        let size = ids.len() as u64;
        self.put(index, ids).await?;
        Ok(moved(size))
    }

    async fn reorder(&mut self, places: BTreeMap<u64, ChildId>) -> Result<Outcome> {
        let ids: Vec<_> = places.values().cloned().collect();
        self.require(&ids).await?;
        self.list.take(&ids);
        // Indexes ascend, so everything before a child is in place and its index is final.
        let before = places.keys().zip(0..).map(|(index, put)| index - put);
        let before: Vec<_> = before.collect();
        self.load(self.list.missing_at(&before)).await?;
        self.list.put_each(places.into_iter().collect());
        Ok(moved(ids.len() as u64))
    }

    /// Moves pinned children that are in the list to their indexes. A pin beyond the end goes to
    /// the end.
    async fn pin(&mut self, pins: &[(ChildId, u64)]) -> Result<()> {
        let ids: Vec<_> = pins.iter().map(|(id, _)| id.clone()).collect();
        self.look_up(&ids).await?;
        let here = pins.iter().filter(|(id, _)| self.list.home(id).is_some());
        let here: Vec<_> = here.collect();
        let rest = self.list.len() - here.len() as u64;
        let places = here.into_iter().zip(rest..);
        let places = places.map(|((id, index), end)| (Ord::min(*index, end), id.clone()));
        let places: BTreeMap<_, _> = places.collect();
        if places.is_empty() {
            return Ok(());
        }
        self.load(self.list.missing_of(&ids)).await?;
        let is_there = |(index, id): (&u64, &ChildId)| self.list.index_of(id) == Some(*index);
        if !places.iter().all(is_there) {
            self.reorder(places).await?;
        }
        Ok(())
    }

    async fn replace(&mut self, ids: &[ChildId]) -> Result<Outcome> {
        let ids = unique(ids);
        self.look_up(&ids).await?;
        let added = ids.iter().filter(|id| self.list.home(id).is_none());
        let added: Vec<_> = added.cloned().collect();
        let (old, new) = (self.list.len(), ids.len() as u64);
        let stayed = new - added.len() as u64;
        self.added.extend(added);
        // The old content is needed only to compare it with an equally long new one, and to find
        // the child collections that leave, whose versions change. Otherwise a list of any length
        // is replaced without reading it.
        let same = stayed == old && stayed == new;
        if same || self.of == ChildType::Collection {
            self.load(self.list.missing()).await?;
        }
        if !(same && self.list.range(0..old) == ids) {
            self.list.clear();
            if !ids.is_empty() {
                self.put(0, ids).await?;
            }
        }
        Ok(Outcome {
            added: new - stayed,
            removed: old - stayed,
            moved: stayed,
            ..Outcome::default()
        })
    }

    async fn put(&mut self, index: u64, ids: Vec<ChildId>) -> Result<()> {
        self.load(self.list.missing_at(&[index])).await?;
        self.list.put(index, ids);
        Ok(())
    }

    /// Loads the segments of the given ids, all of which must be in the list.
    async fn require(&mut self, ids: &[ChildId]) -> Result<()> {
        self.look_up(ids).await?;
        if let Some(absent) = ids.iter().find(|id| self.list.home(id).is_none()) {
            return Err(not_in_list(self.of, absent));
        }
        self.load(self.list.missing_of(ids)).await
    }

    fn note_moved<'b>(&mut self, ids: impl IntoIterator<Item = &'b ChildId>) {
        let Some(moved) = &mut self.moved else { return };
        moved.extend(ids.into_iter().take(MAX_MOVED + 1).cloned());
        if moved.len() > MAX_MOVED {
            self.moved = None;
        }
    }

    async fn look_up(&mut self, ids: &[ChildId]) -> Result<()> {
        let asked = self.list.unknown(ids);
        if !asked.is_empty() {
            let homes = self.reads.homes(self.collection, asked.clone()).await?;
            self.list.record_lookup(asked, homes);
        }
        Ok(())
    }

    async fn load(&mut self, segments: Vec<SegmentId>) -> Result<()> {
        if !segments.is_empty() {
            let contents = self.reads.contents(self.collection, segments).await?;
            self.list.load(contents);
        }
        Ok(())
    }

    fn check(&self, field: FieldPath, index: u64, max: u64) -> Result<()> {
        if index <= max {
            Ok(())
        } else {
            Err(out_of_range(field, index, max, self.list.len()))
        }
    }
}

fn moved(count: u64) -> Outcome {
    Outcome {
        moved: count,
        ..Outcome::default()
    }
}

/// Removes duplicates, keeping the first occurrence of each id.
fn unique<'a>(ids: impl IntoIterator<Item = &'a ChildId>) -> Vec<ChildId> {
    let ids = ids.into_iter();
    let mut seen = HashSet::with_capacity(ids.size_hint().0);
    ids.filter(|id| seen.insert(*id)).cloned().collect()
}
