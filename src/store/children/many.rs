//! Edits many lists at once. Each list has an editor that works as if it were alone. When all
//! editors wait for stored data, one statement reads it for all of them, and in the end one
//! statement per kind of row writes all differences. So the number of statements does not grow with
//! the number of lists.

use std::pin::pin;

use futures::{FutureExt as _, future::join_all};

use super::{
    directory::Directory,
    edit::{Edited, Editor},
    lists::Lists,
    raw,
    reads::Reads,
    rows,
};
use crate::{
    domain::{ChildId, CollectionId, Mutation, Result},
    store::tx::Tx,
};

/// The number of lists that are edited at once: it bounds memory and the size of a statement.
const LISTS: usize = 1_000;

/// A list to edit.
#[derive(Debug)]
pub(in crate::store) struct Target<'a> {
    /// The collection whose list it is.
    pub(in crate::store) collection: &'a CollectionId,
    /// The list's directory, if it is cached.
    pub(in crate::store) directory: Option<Directory>,
    /// The mutations, in order, each applied to the result of the one before.
    pub(in crate::store) mutations: &'a [&'a Mutation],
    /// The pinned children with their indexes, ascending by index.
    pub(in crate::store) pins: &'a [(ChildId, u64)],
}

/// Applies mutations to lists of one kind; each list must occur only once. Returns the results in
/// the order of `targets`. The collections must be locked, as [`crate::store::lock::Locked`] does.
///
/// # Errors
/// If a mutation does not fit its list (the first such error); if the database fails.
pub(in crate::store) async fn mutate(
    tx: &Tx,
    list: Lists,
    targets: &[Target<'_>],
) -> Result<Vec<Edited>> {
    let mut edited = Vec::with_capacity(targets.len());
    for targets in targets.chunks(LISTS) {
        edited.extend(mutate_some(tx, list, targets).await?);
    }
    Ok(edited)
}

async fn mutate_some(tx: &Tx, list: Lists, targets: &[Target<'_>]) -> Result<Vec<Edited>> {
    let unknown = targets.iter().filter(|target| target.directory.is_none());
    let unknown: Vec<_> = unknown.map(|target| target.collection).collect();
    let mut stored = rows::directories(tx, list, &unknown).await?;
    let reads = Reads::default();
    let editing = targets.iter().map(|target| {
        let id = target.collection;
        let known = target.directory.clone();
        let directory = known.or_else(|| stored.remove(id)).unwrap_or_default();
        let target_len = tx.session().segment_target;
        Editor::new(&reads, id, list.kind(), &directory, target_len)
            .edit(target.mutations, target.pins)
    });
    // Editors wait only for `reads`, so one poll runs all of them until each is done or waits. Then
    // their reads are answered together.
    let mut editing = pin!(join_all(editing));
    let edited = loop {
        match editing.as_mut().now_or_never() {
            Some(edited) => break edited,
            None => reads.execute(tx, list).await?,
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
