//! The ordered lists of children: the one place that knows how they are held.
//!
//! A list is a sequence of *segments*, rows that hold up to a few hundred ids each
//! and stand in the order of their ranks; a *member* row for each child says which
//! segment has it. An operation reads the directory of segments and the segments that
//! it touches, works on them in memory ([`list::List`]), and writes the difference:
//! what it costs depends on what it moves, not on the list.
//!
//! A segment's rank is sparse, so that segments go between others without new ranks
//! for these. A segment has at most twice the target of ids and is never empty; small
//! ones are merged with a neighbour when they are touched.
//!
//! The directory is also kept in memory, under the collection's version: see
//! [`directory`].

mod directory;
mod edit;
mod list;
mod raw;
mod rows;

use std::collections::{HashMap, HashSet};

use crate::domain::{
    ChildId, ChildType, Collection, CollectionId, FieldPath, Mutation, Outcome, Result,
    children::out_of_range,
};

use super::{Tx, ledger::Left};
use edit::Editor;
use list::Entry;

pub(super) use directory::{Directories, Directory, Name, Versioned};
pub(super) use rows::{clear, links, list_code};
pub use rows::{lists, memberships, parent_counts, parents};

/// One of a collection's lists.
#[derive(Clone, Copy, Debug)]
pub struct Children<'a> {
    tx: &'a Tx,
    collection: &'a CollectionId,
    list: ChildType,
    /// The collection's version, under which the directory may be known.
    version: Option<i64>,
}

/// What mutations made of a list.
#[derive(Debug)]
pub(super) struct Edited {
    /// What each did, in order.
    pub(super) outcomes: Vec<Outcome>,
    /// Which children are in the list and were not.
    pub(super) joined: Vec<ChildId>,
    /// Which were in the list and are not.
    pub(super) left: Left,
    /// How many children the list has now.
    pub(super) len: u64,
    /// Whether anything is different.
    pub(super) changed: bool,
    /// How many rows were written or removed.
    pub(super) rows_written: u64,
    pub(super) directory: Directory,
}

/// A part of a list.
#[derive(Debug)]
pub struct Page {
    /// The children, in order.
    pub children: Vec<ChildId>,
    /// The index of the first.
    pub start: u64,
    /// How many the whole list has.
    pub len: u64,
}

impl<'a> Children<'a> {
    /// The list of a collection as it was read in the same transaction.
    pub fn of(tx: &'a Tx, collection: &'a Collection, list: ChildType) -> Self {
        Self {
            version: Some(collection.version),
            ..Self::uncached(tx, &collection.id, list)
        }
    }

    /// The list of a collection of which the version is not known.
    pub fn uncached(tx: &'a Tx, collection: &'a CollectionId, list: ChildType) -> Self {
        Self {
            tx,
            collection,
            list,
            version: None,
        }
    }

    /// Applies the mutations in order, each on the result of the one before. The
    /// collection must be locked: [`super::lock::Locked`] sees to that.
    pub(super) async fn mutate(self, mutations: &[&Mutation]) -> Result<Edited> {
        let mut editor = Editor::open(self).await?;
        let mut outcomes = Vec::with_capacity(mutations.len());
        for (at, mutation) in mutations.iter().enumerate() {
            outcomes.push(editor.apply(at, mutation).await?);
        }
        editor.save(outcomes).await
    }

    /// At most `limit` children from index `start` on.
    ///
    /// # Errors
    /// Where `start` is beyond the list's end; where the database fails.
    pub async fn page(self, start: u64, limit: usize) -> Result<Page> {
        let directory = self.directory().await?;
        let len = directory.iter().map(|segment| segment.len as u64).sum();
        if start > len {
            return Err(out_of_range(FieldPath::StartIndex, start, len, len));
        }
        let end = start.saturating_add(limit as u64).min(len);
        let mut first = 0;
        let mut wanted = Vec::new();
        let mut skip = 0;
        for segment in directory.iter() {
            let next = first + segment.len as u64;
            if next > start && first < end {
                if wanted.is_empty() {
                    skip = (start - first) as usize;
                }
                wanted.push(segment.id);
            }
            first = next;
        }
        let mut segments = self.contents(&wanted).await?;
        let ids = wanted.iter().filter_map(|id| segments.remove(id)).flatten();
        Ok(Page {
            children: ids.skip(skip).take((end - start) as usize).collect(),
            start,
            len,
        })
    }

    /// The whole list.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn all(self) -> Result<Vec<ChildId>> {
        let contents = self.all_contents().await?;
        let directory = self.directory().await?;
        let segments = directory
            .iter()
            .filter_map(|segment| contents.get(&segment.id));
        Ok(segments.flat_map(|ids| rows::split(ids)).collect())
    }

    /// The index of a child; none where it is not in the list.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn index_of(self, child: &ChildId) -> Result<Option<u64>> {
        let mut found = self.indexes_of(std::slice::from_ref(child)).await?;
        Ok(found.remove(child))
    }

    /// The indexes of children; those not in the list are left out.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn indexes_of(self, children: &[ChildId]) -> Result<HashMap<ChildId, u64>> {
        let homes = self.homes(children).await?;
        let wanted: HashSet<_> = homes.values().copied().collect();
        let wanted: Vec<_> = wanted.into_iter().collect();
        let contents = self.contents(&wanted).await?;
        let mut found = HashMap::with_capacity(homes.len());
        let mut first = 0;
        for segment in self.directory().await?.iter() {
            let ids = contents.get(&segment.id).map_or(&[][..], Vec::as_slice);
            let indexed = ids.iter().zip(first..);
            found.extend(
                indexed
                    .filter(|(id, _)| homes.contains_key(*id))
                    .map(|(id, index)| (id.clone(), index)),
            );
            first += segment.len as u64;
        }
        Ok(found)
    }

    /// What does not hold of a list that must: each child in exactly one segment and
    /// with one member row that says so, lengths true, ranks ascending, no segment
    /// empty or over twice the target. Empty where all holds.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn problems(self) -> Result<Vec<String>> {
        let directory = self.stored_directory().await?;
        let mut contents = self.all_contents().await?;
        let mut members = self.all_homes().await?;
        let mut problems = out_of_order(&directory);
        for Entry { id, len, .. } in directory {
            let ids = contents.remove(&id);
            let ids: Vec<_> = ids.iter().flat_map(|ids| rows::split(ids)).collect();
            let (has, most) = (ids.len(), 2 * self.tx.session().segment_target);
            if has != len {
                problems.push(format!("segment {id} says {len} ids and has {has}"));
            }
            if has == 0 || has > most {
                problems.push(format!("segment {id} has {has} ids, not 1 to {most}"));
            }
            for child in ids {
                let home = members.remove(&child);
                if home != Some(id) {
                    let home = home.map_or("nowhere".into(), |home| format!("in segment {home}"));
                    problems.push(format!(
                        "{child} is in segment {id}; its member row says {home}"
                    ));
                }
            }
        }
        let lost = contents.keys();
        problems.extend(lost.map(|id| format!("there are ids of segment {id}, which is not")));
        let lost = members.iter();
        problems.extend(lost.map(|(child, home)| {
            format!("{child} is in no segment; its member row says in segment {home}")
        }));
        Ok(problems)
    }

    fn name(self) -> Name {
        Name {
            tenant: self.tx.tenant.clone(),
            collection: self.collection.clone(),
            list: self.list,
        }
    }

    /// The segments in order: from memory, else from the database.
    async fn directory(self) -> Result<Directory> {
        let known = self
            .version
            .and_then(|version| self.tx.session().directories.get(&self.name(), version));
        if let Some(directory) = known {
            return Ok(directory);
        }
        let directory: Directory = self.stored_directory().await?.into();
        // A write may not be committed: what it leaves is learned from `remember`.
        if let Some(version) = self.version
            && self.tx.session().is_snapshot
        {
            let directory = Directory::clone(&directory);
            let kept = Versioned { version, directory };
            self.tx.session().directories.keep(self.name(), kept);
        }
        Ok(directory)
    }
}

/// Notes, for when the transaction is committed, which directories hold at the version
/// that the collection then has: those of the lists that were mutated, and those of
/// the others, which were known at the version before.
pub(super) fn remember(
    tx: &Tx,
    before: i64,
    after: &Collection,
    mutated: Vec<(ChildType, Directory)>,
) {
    carry_others(tx, &after.id, before, after.version, &mutated);
    for (list, directory) in mutated {
        let name = Children::uncached(tx, &after.id, list).name();
        let version = after.version;
        tx.learn(name, Versioned { version, directory });
    }
}

/// The same of a collection whose lists are as they were.
pub(super) fn carry(tx: &Tx, id: &CollectionId, before: i64, after: i64) {
    carry_others(tx, id, before, after, &[]);
}

fn carry_others(
    tx: &Tx,
    id: &CollectionId,
    before: i64,
    version: i64,
    mutated: &[(ChildType, Directory)],
) {
    for list in [ChildType::Product, ChildType::Collection] {
        let name = Children::uncached(tx, id, list).name();
        if mutated.iter().any(|(other, _)| *other == list) {
            continue;
        }
        if let Some(directory) = tx.session().directories.get(&name, before) {
            tx.learn(name, Versioned { version, directory });
        }
    }
}

/// Segments whose rank is not over that of the one before.
fn out_of_order(directory: &[Entry]) -> Vec<String> {
    let pairs = directory
        .windows(2)
        .filter(|pair| pair[0].rank >= pair[1].rank);
    let told = pairs.map(|pair| {
        let (Entry { rank: last, .. }, Entry { id, rank, .. }) = (pair[0], pair[1]);
        format!("segment {id} has rank {rank}, not over {last}")
    });
    told.collect()
}
