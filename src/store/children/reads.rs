//! Collects the reads that the editors of many lists wait for, and executes them together.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
};

use futures::channel::oneshot;

use super::{directory::SegmentId, raw};
use crate::{
    domain::{ChildId, ChildType, CollectionId, Error, Result},
    store::tx::Tx,
};

/// The pending reads of all editors.
#[derive(Debug, Default)]
pub(super) struct Reads<'a>(Mutex<Asked<'a>>);

#[derive(Debug, Default)]
struct Asked<'a> {
    homes: Vec<Ask<'a, ChildId, HashMap<ChildId, SegmentId>>>,
    contents: Vec<Ask<'a, SegmentId, BTreeMap<SegmentId, Vec<ChildId>>>>,
    /// Whether it is known that the tenant has no job.
    has_no_job: bool,
}

/// One editor's pending read of its list, and the channel for the result.
#[derive(Debug)]
struct Ask<'a, K, V> {
    collection: &'a CollectionId,
    wanted: Vec<K>,
    answer: oneshot::Sender<V>,
}

impl<'a> Reads<'a> {
    /// Finds the segments of children. Those that are not in the list are left out.
    pub(super) async fn homes(
        &self,
        collection: &'a CollectionId,
        wanted: Vec<ChildId>,
    ) -> Result<HashMap<ChildId, SegmentId>> {
        self.ask(collection, wanted, |asked| &mut asked.homes).await
    }

    /// The children in the given segments.
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
        // Not tokio's channel: its cooperative budget would make it return pending after a number
        // of receives in one poll, although the value is there.
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

    /// Executes the pending reads, one statement per kind.
    pub(super) async fn answer(&self, tx: &Tx, list: ChildType) -> Result<()> {
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

    /// Whether it is known that the tenant has no job.
    pub(super) fn has_no_job(&self) -> bool {
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
        // An editor that failed has dropped its receiver; there is nobody to tell.
        let _ = ask.answer.send(of_list);
    }
}
