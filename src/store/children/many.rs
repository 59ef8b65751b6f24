//! Changing many lists at once. An editor of each list works as if it were alone; when all of
//! them wait for something that is stored, one statement reads it for all, and at the end one
//! statement for each kind of row writes what is different in all. So what that takes does not
//! grow with the number of lists.

use std::{
    collections::{BTreeMap, HashMap},
    pin::pin,
    sync::{Mutex, PoisonError},
};

use futures::{FutureExt as _, channel::oneshot, future::join_all};

use super::{
    directory::{Directory, SegmentId},
    edit::{Edited, Editor},
    raw, rows,
};
use crate::{
    domain::{ChildId, ChildType, CollectionId, Error, Mutation, Result},
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
        Editor::new(&reads, id, list, &directory, target_len).edit(target.mutations)
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
    raw::write(tx, list, &differences).await?;
    let rows: Vec<_> = differences.iter().map(|(_, it)| it.rows()).collect();
    let has_no_job = reads.has_no_job();
    let edited = edited.into_iter().zip(rows);
    Ok(edited
        .map(|(editor, rows)| editor.finish(rows, has_no_job))
        .collect())
}

/// What editors wait for, until all of them do.
#[derive(Debug, Default)]
pub(super) struct Reads<'a>(Mutex<Asked<'a>>);

#[derive(Debug, Default)]
struct Asked<'a> {
    homes: Vec<Ask<'a, ChildId, HashMap<ChildId, SegmentId>>>,
    contents: Vec<Ask<'a, SegmentId, BTreeMap<SegmentId, Vec<ChildId>>>>,
    /// Whether it is known that the tenant has no job.
    has_no_job: bool,
}

/// What one editor asks for of its list, and where the answer goes.
#[derive(Debug)]
struct Ask<'a, K, V> {
    collection: &'a CollectionId,
    wanted: Vec<K>,
    answer: oneshot::Sender<V>,
}

impl<'a> Reads<'a> {
    /// Which segment has each of the children; those not in the list are left out.
    pub(super) async fn homes(
        &self,
        collection: &'a CollectionId,
        wanted: Vec<ChildId>,
    ) -> Result<HashMap<ChildId, SegmentId>> {
        self.ask(collection, wanted, |asked| &mut asked.homes).await
    }

    /// The ids of the segments named.
    pub(super) async fn contents(
        &self,
        collection: &'a CollectionId,
        wanted: Vec<SegmentId>,
    ) -> Result<BTreeMap<SegmentId, Vec<ChildId>>> {
        let contents = self.ask(collection, wanted, |asked| &mut asked.contents);
        contents.await
    }

    async fn ask<K, V>(
        &self,
        collection: &'a CollectionId,
        wanted: Vec<K>,
        asks: impl for<'b> FnOnce(&'b mut Asked<'a>) -> &'b mut Vec<Ask<'a, K, V>>,
    ) -> Result<V> {
        // Not tokio's: within one poll that answers only so often.
        let (answer, answered) = oneshot::channel();
        self.with(|asked| {
            asks(asked).push(Ask {
                collection,
                wanted,
                answer,
            });
        });
        answered.await.map_err(Error::internal)
    }

    /// Reads what is asked for, each kind for all at once.
    async fn answer(&self, tx: &Tx, list: ChildType) -> Result<()> {
        let homes = self.with(|asked| std::mem::take(&mut asked.homes));
        let contents = self.with(|asked| std::mem::take(&mut asked.contents));
        if homes.is_empty() && contents.is_empty() {
            return Err(Error::internal("an editor waits for nothing"));
        }
        if !homes.is_empty() {
            let found = raw::homes_and_job(tx, list, &wanted(&homes)).await?;
            self.with(|asked| asked.has_no_job = !found.1);
            give(homes, found.0);
        }
        if !contents.is_empty() {
            let found = raw::contents(tx, list, &wanted(&contents)).await?;
            give(contents, found);
        }
        Ok(())
    }

    fn has_no_job(&self) -> bool {
        self.with(|asked| asked.has_no_job)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Asked<'a>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn wanted<'a, K, V>(asks: &'a [Ask<'_, K, V>]) -> raw::Each<'a, &'a [K]> {
    let asks = asks.iter();
    asks.map(|ask| (ask.collection.as_str(), ask.wanted.as_slice()))
        .collect()
}

fn give<K, V: Default>(asks: Vec<Ask<'_, K, V>>, mut found: HashMap<String, V>) {
    for ask in asks {
        let of_list = found.remove(ask.collection.as_str()).unwrap_or_default();
        // Nobody waits any more where another editor failed.
        let _ = ask.answer.send(of_list);
    }
}
