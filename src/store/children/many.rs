//! Changing many lists at once. An editor of each list works as if it were alone; when all of
//! them wait for something that is stored, one statement reads it for all, and at the end one
//! statement for each kind of row writes what is different in all. So what that takes does not
//! grow with the number of lists.

use std::pin::pin;

use futures::{FutureExt as _, future::join_all};

use super::{
    directory::Directory,
    edit::{Edited, Editor},
    raw,
    reads::Reads,
    rows,
};
use crate::{
    domain::{ChildId, ChildType, CollectionId, Mutation, Result},
    store::tx::Tx,
};

/// Lists that are in memory at once, with the segments that change; one statement is about no
/// more of them.
const LISTS: usize = 1_000;

/// A list to change.
#[derive(Debug)]
pub(in crate::store) struct Target<'a> {
    /// Whose it is.
    pub(in crate::store) collection: &'a CollectionId,
    /// Its directory, where that is known.
    pub(in crate::store) directory: Option<Directory>,
    /// What is done to it, in order, each on the result of the one before.
    pub(in crate::store) mutations: &'a [&'a Mutation],
    /// Where children that are pinned belong after that, by index.
    pub(in crate::store) pins: &'a [(ChildId, u64)],
}

/// Applies mutations to lists of one kind, each list once. Answers what became of each, in order.
/// The collections must be locked: [`crate::store::lock::Locked`] sees to that.
///
/// # Errors
/// Of the first list that its mutations don't fit; where the database fails.
pub(in crate::store) async fn mutate(
    tx: &Tx,
    list: ChildType,
    targets: &[Target<'_>],
) -> Result<Vec<Edited>> {
    let mut edited = Vec::with_capacity(targets.len());
    for targets in targets.chunks(LISTS) {
        edited.extend(mutate_some(tx, list, targets).await?);
    }
    Ok(edited)
}

async fn mutate_some(tx: &Tx, list: ChildType, targets: &[Target<'_>]) -> Result<Vec<Edited>> {
    let unknown = targets.iter().filter(|target| target.directory.is_none());
    let unknown: Vec<_> = unknown.map(|target| target.collection).collect();
    let mut stored = rows::directories(tx, list, &unknown).await?;
    let reads = Reads::default();
    let editing = targets.iter().map(|target| {
        let id = target.collection;
        let known = target.directory.clone();
        let directory = known.or_else(|| stored.remove(id)).unwrap_or_default();
        let target_len = tx.session().segment_target;
        Editor::new(&reads, id, list, &directory, target_len).edit(target.mutations, target.pins)
    });
    let mut editing = pin!(join_all(editing));
    let edited = loop {
        match editing.as_mut().now_or_never() {
            Some(edited) => break edited,
            None => reads.answer(tx, list).await?,
        }
    };
    let mut edited = edited.into_iter().collect::<Result<Vec<_>>>()?;
    let differences: Vec<_> = edited.iter_mut().map(Editor::difference).collect();
    raw::write(tx, list, &differences)?;
    let rows: Vec<_> = differences.iter().map(|(_, it)| it.rows()).collect();
    tx.db().wrote(rows.iter().sum());
    let has_no_job = reads.has_no_job();
    let edited = edited.into_iter().zip(rows);
    Ok(edited
        .map(|(editor, rows)| editor.finish(rows, has_no_job))
        .collect())
}
