//! Reading one collection.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Above, Below, Depth, Detail, Include, Service, Settings, detail,
    read_cache::{Encoded, Filled},
};
use crate::{
    domain::{Caller, ChildIds, Collection, CollectionId, Consistency, Error, Lineage, Result},
    memory::Share,
    store::{
        Mark, Tx, Versions, collections,
        lineage::{self, Key},
        rules::evaluations,
    },
    telemetry::trace,
};

/// A collection with the lists that were asked for, as of one moment.
#[derive(Debug)]
pub struct Whole {
    /// The collection.
    pub detail: Detail,
    /// What stands below it, where that was asked for.
    pub below: Option<Below>,
    /// The memory that the lists take.
    pub share: Arc<Share>,
}

impl Service {
    /// Reads one collection, without its lists.
    ///
    /// # Errors
    /// Where the tenant has no such collection; where the store fails.
    pub async fn get_collection(&self, caller: &Caller, key: Key) -> Result<Detail> {
        trace::use_case("GetCollection", async move {
            let tx = self.store.look_up(&caller.reading()?)?;
            Ok(self.one(&tx, &key).await?.0)
        })
        .await
    }

    /// The same as `encode` writes it: now, or before where that is fresh enough. `form` names
    /// what `encode` does.
    ///
    /// # Errors
    /// As for [`Self::get_collection`].
    pub async fn get_encoded(
        &self,
        caller: &Caller,
        key: Key,
        consistency: Consistency,
        form: &str,
        encode: impl FnOnce(&Detail) -> Bytes,
    ) -> Result<Encoded> {
        trace::use_case("GetCollection", async move {
            let tx = self.store.look_up(&caller.reading()?)?;
            let (name, consistency) = match (&key, consistency) {
                (Key::Id(id), _) => (format!("id {id}"), consistency),
                // The slug may have been another collection's, of which the etag says nothing.
                (Key::Slug(slug), Consistency::AtLeast(_)) => {
                    (format!("slug {}", slug.as_str()), Consistency::Full)
                }
                (Key::Slug(slug), _) => (format!("slug {}", slug.as_str()), consistency),
            };
            let name = format!("{} {} get {name} {form}", tx.tenant, tx.named);
            let fill = async || self.fill(&tx, &key, encode).await;
            self.cache
                .get(&self.store, &tx, name, consistency, fill)
                .await
        })
        .await
    }

    async fn fill(
        &self,
        tx: &Tx,
        key: &Key,
        encode: impl FnOnce(&Detail) -> Bytes,
    ) -> Result<Filled> {
        let before = self.before(tx, key).await?;
        let (detail, versions) = self.one(tx, key).await?;
        // Under its slug there may be another collection than the one before.
        let before = before.filter(|(id, _)| *id == detail.collection.id);
        let before = before.map(|(_, mark)| mark);
        let mark = versions.and_then(|versions| self.store.mark(before, versions));
        Ok(Filled {
            encoded: Encoded {
                body: encode(&detail),
                etag: detail.collection.etag(),
                read_etag: Some(detail.read_etag()),
            },
            holds: mark.map(|mark| (detail.collection.id, mark)),
        })
    }

    /// The collection, and its versions where it is stored.
    async fn one(&self, tx: &Tx, key: &Key) -> Result<(Detail, Option<Versions>)> {
        let found = lineage::get(tx, key, Above::default()).await?;
        let (collection, lineage, versions) = match (found, key) {
            (Some(found), _) => (found.collection, found.lineage, Some(found.versions)),
            (None, Key::Id(id)) if id.is_root() => {
                let root = self.settings.unmade_root(id.clone());
                (root, Lineage::default(), None)
            }
            (None, Key::Id(id)) => return Err(Error::collection_not_found(id.as_str())),
            (None, Key::Slug(slug)) => return Err(Error::collection_not_found(slug.as_str())),
        };
        let named = super::counts(tx, std::slice::from_ref(&collection)).await?;
        let progress = evaluations::progress(tx, std::slice::from_ref(&collection)).await?;
        let progress = progress.get(&collection.id).copied();
        // No version says how far a job is.
        let versions = versions.filter(|_| progress.is_none());
        let detail = Detail {
            tenant: tx.named.clone(),
            named: named.get(&collection.id).copied().unwrap_or_default(),
            progress,
            collection,
            lineage,
            products: ChildIds::default(),
            collections: ChildIds::default(),
            named_products: ChildIds::default(),
        };
        Ok((detail, versions))
    }

    /// What is to be known before a collection is read, where it can be kept.
    async fn before(&self, tx: &Tx, key: &Key) -> Result<Option<(CollectionId, Mark)>> {
        let id = match key {
            _ if !self.cache.is_on() || !self.store.has_stamps() => return Ok(None),
            Key::Id(id) => id.clone(),
            // Its stamp is found by its id, and must be known before it is read.
            Key::Slug(_) => match lineage::get(tx, key, Above::default()).await? {
                Some(found) => found.collection.id,
                None => return Ok(None),
            },
        };
        let mark = self.store.before(tx, &id);
        Ok(mark.map(|mark| (id, mark)))
    }

    /// Reads one collection with those of its lists that are asked for, and what stands so
    /// many levels below it.
    ///
    /// # Errors
    /// Where the tenant has no such collection; where there is no memory for its lists, or what
    /// stands below is over a limit; where the store fails.
    pub async fn get_whole(
        &self,
        caller: &Caller,
        key: Key,
        include: Include,
        below: Option<Depth>,
    ) -> Result<Whole> {
        trace::use_case("GetCollection", async move {
            let reading = caller.reading()?;
            let settings = &self.settings;
            let mut tx = self.store.read(&reading).await?;
            let mut collection = self.named(&tx, &key).await?;
            let bytes = include.bytes(&collection);
            let share = match settings.memory.try_take(bytes) {
                Ok(share) => share,
                Err(_) => {
                    // Who waits keeps no connection from others.
                    drop(tx);
                    let share = settings.memory.take(bytes).await?;
                    tx = self.store.read_on(&reading).await?;
                    collection = self.named(&tx, &key).await?;
                    share
                }
            };
            let detail = detail(&tx, collection, include).await?;
            let below = match below {
                Some(depth) => {
                    let top = std::slice::from_ref(&detail.collection.id);
                    Some(super::below::below(&tx, top, depth, false, settings).await?)
                }
                None => None,
            };
            Ok(Whole {
                detail,
                below,
                share: Arc::new(share),
            })
        })
        .await
    }

    /// Reads a collection that the caller has written, for the answer to a retry.
    ///
    /// # Errors
    /// Where the tenant has no such collection any more; where there is no memory for its
    /// lists; where the store fails.
    pub async fn reread(
        &self,
        caller: &Caller,
        id: &CollectionId,
        include: Include,
    ) -> Result<Whole> {
        let tx = self.store.read_back(&caller.writing_to(id)?).await?;
        let collection = find(&tx, id, &self.settings).await?;
        let share = self.settings.memory.try_take(include.bytes(&collection))?;
        Ok(Whole {
            detail: detail(&tx, collection, include).await?,
            below: None,
            share: Arc::new(share),
        })
    }

    async fn named(&self, tx: &Tx, key: &Key) -> Result<Collection> {
        match key {
            Key::Id(id) => find(tx, id, &self.settings).await,
            Key::Slug(slug) => collections::get_by_slug(tx, slug)
                .await?
                .ok_or_else(|| Error::collection_not_found(slug.as_str())),
        }
    }
}

/// The collection; a root also of a tenant that holds nothing yet.
pub(super) async fn find(tx: &Tx, id: &CollectionId, settings: &Settings) -> Result<Collection> {
    match collections::get(tx, id).await? {
        Some(collection) => Ok(collection),
        None if id.is_root() => Ok(settings.unmade_root(id.clone())),
        None => Err(Error::collection_not_found(id.as_str())),
    }
}
