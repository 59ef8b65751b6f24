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

mod edit;
mod list;
mod rows;

use std::collections::HashMap;

use crate::domain::{
    ChildId, ChildList, CollectionId, Mutation, Outcome, Result, children::out_of_range,
};

use super::Tx;
use edit::Editor;
use rows::Key;

pub(super) use rows::list_code;

/// What a request's mutations came to.
#[derive(Debug)]
pub struct Applied {
    /// What each did, in order.
    pub outcomes: Vec<Outcome>,
    /// What is in the list now and was not.
    pub added: Vec<ChildId>,
    /// What was in the list and is not now.
    pub removed: Vec<ChildId>,
    /// How many children the list has now.
    pub len: u64,
    /// Whether anything is different.
    pub changed: bool,
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

/// Applies the mutations in order, each on the result of the one before. The
/// collection must be locked.
///
/// # Errors
/// Where an index or an id does not fit the list as it then is; where the database
/// fails. The transaction must then be undone.
pub async fn mutate(
    tx: &Tx,
    collection: &CollectionId,
    list: ChildList,
    mutations: &[&Mutation],
) -> Result<Applied> {
    let key = Key {
        tx,
        collection,
        list,
    };
    let mut editor = Editor::open(key).await?;
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
pub async fn page(
    tx: &Tx,
    collection: &CollectionId,
    list: ChildList,
    start: u64,
    limit: usize,
) -> Result<Page> {
    let key = Key {
        tx,
        collection,
        list,
    };
    let directory = key.directory().await?;
    let len = directory.iter().map(|segment| segment.len as u64).sum();
    if start > len {
        return Err(out_of_range("start_index", start, len, len));
    }
    let end = start.saturating_add(limit as u64).min(len);
    let mut first = 0;
    let mut wanted = Vec::new();
    let mut skip = 0;
    for segment in &directory {
        let next = first + segment.len as u64;
        if next > start && first < end {
            if wanted.is_empty() {
                skip = (start - first) as usize;
            }
            wanted.push(segment.id);
        }
        first = next;
    }
    let mut segments = key.contents(&wanted).await?;
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
pub async fn all(tx: &Tx, collection: &CollectionId, list: ChildList) -> Result<Vec<ChildId>> {
    let key = Key {
        tx,
        collection,
        list,
    };
    key.all().await
}

/// The index of a child; none where it is not in the list.
///
/// # Errors
/// Where the database fails.
pub async fn index_of(
    tx: &Tx,
    collection: &CollectionId,
    list: ChildList,
    child: &ChildId,
) -> Result<Option<u64>> {
    let key = Key {
        tx,
        collection,
        list,
    };
    let homes = key.homes(std::slice::from_ref(child)).await?;
    let Some(home) = homes.get(child).copied() else {
        return Ok(None);
    };
    let directory = key.directory().await?;
    let before: u64 = directory
        .iter()
        .take_while(|segment| segment.id != home)
        .map(|segment| segment.len as u64)
        .sum();
    let segments = key.contents(&[home]).await?;
    let place = segments
        .get(&home)
        .and_then(|ids| ids.iter().position(|id| id == child));
    Ok(place.map(|place| before + place as u64))
}

/// At most `limit` collections that have the child, ordered by id, after `after`.
///
/// # Errors
/// Where the database fails.
pub async fn parents(
    tx: &Tx,
    list: ChildList,
    child: &ChildId,
    after: Option<&CollectionId>,
    limit: usize,
) -> Result<Vec<CollectionId>> {
    rows::parents(tx, list, child, after, limit).await
}

/// How many parents each of the children has; those without are left out.
///
/// # Errors
/// Where the database fails.
pub async fn parent_counts(
    tx: &Tx,
    list: ChildList,
    children: &[ChildId],
) -> Result<HashMap<ChildId, usize>> {
    rows::parent_counts(tx, list, children).await
}

/// Removes both lists of a collection.
///
/// # Errors
/// Where the database fails.
pub async fn clear(tx: &Tx, collection: &CollectionId) -> Result<()> {
    rows::clear(tx, collection).await
}

/// What does not hold of a list that must: each child in exactly one segment and with
/// one member row that says so, lengths true, ranks ascending, no segment empty or
/// over twice the target. Empty where all holds.
///
/// # Errors
/// Where the database fails.
pub async fn problems(tx: &Tx, collection: &CollectionId, list: ChildList) -> Result<Vec<String>> {
    let key = Key {
        tx,
        collection,
        list,
    };
    let directory = key.directory().await?;
    let wanted: Vec<_> = directory.iter().map(|segment| segment.id).collect();
    let contents = key.contents(&wanted).await?;
    let mut members = key.all_homes().await?;
    let mut problems = Vec::new();
    let mut last = None;
    for segment in directory {
        let ids = contents.get(&segment.id).map_or(&[][..], Vec::as_slice);
        if ids.len() != segment.len || ids.is_empty() || ids.len() > 2 * tx.segment_target {
            problems.push(format!("{segment:?} has {} ids", ids.len()));
        }
        if last.is_some_and(|last| last >= segment.rank) {
            problems.push(format!("{segment:?} does not stand after {last:?}"));
        }
        last = Some(segment.rank);
        for id in ids {
            let home = members.remove(id);
            if home != Some(segment.id) {
                problems.push(format!(
                    "{id:?} in {segment:?} has its member row at {home:?}"
                ));
            }
        }
    }
    for (id, home) in members {
        problems.push(format!(
            "{id:?} has a member row at {home} and is in no segment"
        ));
    }
    Ok(problems)
}
