//! One request's mutations on one list: load what each touches, apply it in memory,
//! write the difference at the end.

use std::collections::HashSet;

use super::{
    Applied, Children, Relinked,
    list::{List, SegmentId},
};
use crate::domain::{
    ChildId, ChildList, Mutation, Outcome, Place, Result,
    children::{not_in_list, out_of_range},
};

pub(super) struct Editor<'a> {
    children: Children<'a>,
    list: List,
}

impl<'a> Editor<'a> {
    pub(super) async fn open(children: Children<'a>) -> Result<Self> {
        let directory = children.directory().await?;
        let list = List::new(&directory, children.tx.segment_target);
        Ok(Self { children, list })
    }

    /// Applies one mutation, the request's `at`th.
    pub(super) async fn apply(&mut self, at: usize, mutation: &Mutation) -> Result<Outcome> {
        let field = |name: &str| format!("mutations.{at}.{}.{name}", mutation.name());
        match mutation {
            Mutation::Append { ids } => self.insert(None, ids).await,
            Mutation::Insert { index, ids } => {
                self.check(&field("index"), *index, self.list.len())?;
                self.insert(Some(*index), ids).await
            }
            Mutation::Remove { ids } => self.remove(ids).await,
            Mutation::Move {
                from_start,
                from_end,
                to,
            } => {
                let len = self.list.len();
                self.check(&field("from_end"), *from_end, len.saturating_sub(1))?;
                if len == 0 {
                    return Err(out_of_range(&field("from_end"), *from_end, 0, 0));
                }
                self.check(&field("from_start"), *from_start, *from_end)?;
                let size = from_end - from_start + 1;
                self.check(&field("to"), *to, len - size)?;
                self.move_range(*from_start, size, *to).await
            }
            Mutation::MoveIds { ids, place } => {
                let ids = unique(ids);
                if let Place::Index(index) = place {
                    let most = self.list.len().saturating_sub(ids.len() as u64);
                    self.check(&field("index"), *index, most)?;
                }
                self.move_ids(ids, place).await
            }
            Mutation::Reorder { indexes } => {
                let last = self.list.len().saturating_sub(1);
                for (_, index) in indexes {
                    self.check(&field("indexes"), *index, last)?;
                }
                self.reorder(indexes).await
            }
            Mutation::Replace { ids } => self.replace(ids).await,
        }
    }

    /// Writes what is different.
    pub(super) async fn save(mut self, outcomes: Vec<Outcome>) -> Result<Applied> {
        loop {
            let missing = self.list.missing_to_merge();
            self.load(missing).await?;
            if !self.list.merge() {
                break;
            }
        }
        let len = self.list.len();
        let children = self.children;
        // Collections are told of their parents; a million products are not copied.
        let relinked = match children.list {
            ChildList::Collections => self.list.relinked(),
            ChildList::Products => Relinked::default(),
        };
        let difference = self.list.difference();
        let changed = !difference.is_empty();
        let gone = if difference.emptied {
            children.drop_all().await?
        } else {
            children.drop_segments(&difference.dropped).await?
                + children.drop_members(&difference.removed).await?
        };
        let rows_written = gone
            + children.put_entries(&difference.entries).await?
            + children.put_ranks(&difference.ranks).await?
            + children.put_contents(&difference.contents).await?
            + children.join_members(&difference.joined).await?
            + children.move_members(&difference.moved).await?;
        Ok(Applied {
            outcomes,
            relinked,
            len,
            changed,
            rows_written,
            directory: self.list.directory(),
        })
    }

    async fn insert(&mut self, index: Option<u64>, ids: &[ChildId]) -> Result<Outcome> {
        let ids = unique(ids);
        self.look_up(&ids).await?;
        let (already_there, new): (Vec<_>, Vec<_>) =
            ids.into_iter().partition(|id| self.list.home(id).is_some());
        let added = new.len() as u64;
        if added > 0 {
            let index = index.unwrap_or_else(|| self.list.len());
            self.put(index, new).await?;
        }
        Ok(Outcome {
            added,
            already_there,
            ..Outcome::default()
        })
    }

    async fn remove(&mut self, ids: &[ChildId]) -> Result<Outcome> {
        let ids = unique(ids);
        self.look_up(&ids).await?;
        let (there, absent): (Vec<_>, Vec<_>) =
            ids.into_iter().partition(|id| self.list.home(id).is_some());
        self.load(self.list.missing_of(&there)).await?;
        self.list.take(&there);
        Ok(Outcome {
            removed: there.len() as u64,
            absent,
            ..Outcome::default()
        })
    }

    async fn move_range(&mut self, start: u64, size: u64, to: u64) -> Result<Outcome> {
        let end = start + size;
        if start != to {
            let place = if to <= start { to } else { to + size };
            // Few are taken out and put back; of many the segments change places.
            if size <= self.list.target() as u64 {
                // At once: where they are, and the place that they go to.
                let mut missing = self.list.missing_in(start..end);
                missing.extend(self.list.missing_at(&[place]));
                self.load(missing).await?;
                let ids = self.list.take_range(start..end);
                self.put(to, ids).await?;
            } else {
                let mut cuts = [start, end, place];
                cuts.sort_unstable();
                self.load(self.list.missing_at(&cuts)).await?;
                for cut in cuts {
                    self.list.cut(cut);
                }
                self.list.rotate(start..end, to);
            }
        }
        Ok(moved(size))
    }

    async fn move_ids(&mut self, ids: Vec<ChildId>, place: &Place) -> Result<Outcome> {
        self.require(&ids).await?;
        if let Place::Before(anchor) | Place::After(anchor) = place {
            self.require(std::slice::from_ref(anchor)).await?;
        }
        self.list.take(&ids);
        let index = match place {
            Place::Index(index) => *index,
            Place::Before(anchor) => self.list.index_of(anchor).unwrap_or_default(),
            Place::After(anchor) => self.list.index_of(anchor).unwrap_or_default() + 1,
        };
        let size = ids.len() as u64;
        self.put(index, ids).await?;
        Ok(moved(size))
    }

    async fn reorder(&mut self, indexes: &[(ChildId, u64)]) -> Result<Outcome> {
        let ids: Vec<_> = indexes.iter().map(|(id, _)| id.clone()).collect();
        self.require(&ids).await?;
        self.list.take(&ids);
        // Ascending, each index is final when its child comes: all before it is there.
        let mut places: Vec<_> = indexes.iter().collect();
        places.sort_unstable_by_key(|(_, index)| *index);
        let before: Vec<_> = places
            .iter()
            .zip(0..)
            .map(|((_, index), put)| index - put)
            .collect();
        self.load(self.list.missing_at(&before)).await?;
        let places = places.into_iter().map(|(id, index)| (*index, id.clone()));
        self.list.put_each(places.collect());
        Ok(moved(ids.len() as u64))
    }

    async fn replace(&mut self, ids: &[ChildId]) -> Result<Outcome> {
        let ids = unique(ids);
        self.look_up(&ids).await?;
        let stayed = ids.iter().filter(|id| self.list.home(id).is_some()).count() as u64;
        let (old, new) = (self.list.len(), ids.len() as u64);
        // What was there matters where it may be the same, and where each collection
        // that goes must be told. Else a list of any length is not read to be replaced.
        let same = stayed == old && stayed == new;
        if same || self.children.list == ChildList::Collections {
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

    /// Loads the segments of ids that must all be in the list.
    async fn require(&mut self, ids: &[ChildId]) -> Result<()> {
        self.look_up(ids).await?;
        if let Some(absent) = ids.iter().find(|id| self.list.home(id).is_none()) {
            return Err(not_in_list(self.children.list, absent));
        }
        self.load(self.list.missing_of(ids)).await
    }

    async fn look_up(&mut self, ids: &[ChildId]) -> Result<()> {
        let asked = self.list.unknown(ids);
        if !asked.is_empty() {
            let homes = self.children.homes(&asked).await?;
            self.list.learn(asked, homes);
        }
        Ok(())
    }

    async fn load(&mut self, segments: Vec<SegmentId>) -> Result<()> {
        if !segments.is_empty() {
            let contents = self.children.contents(&segments).await?;
            self.list.load(contents);
        }
        Ok(())
    }

    fn check(&self, field: &str, index: u64, max: u64) -> Result<()> {
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

/// Each id once, where it stands first.
fn unique(ids: &[ChildId]) -> Vec<ChildId> {
    let mut seen = HashSet::with_capacity(ids.len());
    ids.iter().filter(|id| seen.insert(*id)).cloned().collect()
}
