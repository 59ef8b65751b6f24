//! Collects the reads that the editors of many lists wait for, and executes them together.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
};

use futures::channel::oneshot;

use super::{directory::SegmentId, lists::Lists, raw};
use crate::{
    domain::{ChildId, CollectionId, Error, Result},
    store::tx::Tx,
};

/// The pending reads of all editors.
#[derive(Debug, Default)]
pub(super) struct Reads<'a>(Mutex<PendingReads<'a>>);

#[derive(Debug, Default)]
struct PendingReads<'a> {
    homes: Vec<PendingRead<'a, ChildId, HashMap<ChildId, SegmentId>>>,
    contents: Vec<PendingRead<'a, SegmentId, BTreeMap<SegmentId, Vec<ChildId>>>>,
    /// Whether it is known that the tenant has no job.
    has_no_job: bool,
}

/// One editor's pending read of its list, and the channel for the result.
#[derive(Debug)]
struct PendingRead<'a, K, V> {
    collection: &'a CollectionId,
    wanted: Vec<K>,
    sender: oneshot::Sender<V>,
}

impl<'a> Reads<'a> {
    /// Finds the segments of children. Those that are not in the list are left out.
    pub(super) async fn homes(
        &self,
        collection: &'a CollectionId,
        wanted: Vec<ChildId>,
    ) -> Result<HashMap<ChildId, SegmentId>> {
        self.ask(collection, wanted, |pending| &mut pending.homes)
            .await
    }

    /// The children in the given segments.
    pub(super) async fn contents(
        &self,
        collection: &'a CollectionId,
        wanted: Vec<SegmentId>,
    ) -> Result<BTreeMap<SegmentId, Vec<ChildId>>> {
        let contents = self.ask(collection, wanted, |pending| &mut pending.contents);
        contents.await
    }

    async fn ask<K, V>(
        &self,
        collection: &'a CollectionId,
        wanted: Vec<K>,
        reads: impl for<'b> FnOnce(&'b mut PendingReads<'a>) -> &'b mut Vec<PendingRead<'a, K, V>>,
    ) -> Result<V> {
        // Not tokio's channel: its cooperative budget would make it return pending after a number
        // of receives in one poll, although the value is there.
        let (sender, received) = oneshot::channel();
        self.with(|pending| {
            reads(pending).push(PendingRead {
                collection,
                wanted,
                sender,
            });
        });
        received.await.map_err(Error::internal)
    }

    /// Executes the pending reads, one statement per kind.
    pub(super) async fn execute(&self, tx: &Tx, list: Lists) -> Result<()> {
        let homes = self.with(|pending| std::mem::take(&mut pending.homes));
        let contents = self.with(|pending| std::mem::take(&mut pending.contents));
        if homes.is_empty() && contents.is_empty() {
            return Err(Error::internal("an editor waits for nothing"));
        }
        if !homes.is_empty() {
            let found = raw::homes_and_job(tx, list, &wanted(&homes)).await?;
            self.with(|pending| pending.has_no_job = !found.1);
            give(homes, found.0);
        }
        if !contents.is_empty() {
            let found = raw::contents(tx, list, &wanted(&contents)).await?;
            give(contents, found);
        }
        Ok(())
    }

    /// Whether it is known that the tenant has no job.
    pub(super) fn has_no_job(&self) -> bool {
        self.with(|pending| pending.has_no_job)
    }

    fn with<T>(&self, act: impl FnOnce(&mut PendingReads<'a>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn wanted<'a, K, V>(reads: &'a [PendingRead<'_, K, V>]) -> raw::Each<'a, &'a [K]> {
    let reads = reads.iter();
    reads
        .map(|read| (read.collection.as_str(), read.wanted.as_slice()))
        .collect()
}

fn give<K, V: Default>(reads: Vec<PendingRead<'_, K, V>>, mut found: HashMap<String, V>) {
    for read in reads {
        let of_list = found.remove(read.collection.as_str()).unwrap_or_default();
        // An editor that failed has dropped its receiver; there is nobody to tell.
        let _ = read.sender.send(of_list);
    }
}
