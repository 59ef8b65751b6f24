//! Reading one collection.

use std::collections::HashMap;

use super::{Above, Below, Depth, Detail, Include, Service, Settings, below::below, detail};
use crate::{
    domain::{
        Caller, ChildId, ChildType, Collection, CollectionId, Error, Product, ProductId, Result,
        Slug,
    },
    store::{Tx, children::Children, collections, products},
};

/// What names a collection.
#[derive(Clone, Debug)]
pub enum Key {
    /// Its id.
    Id(CollectionId),
    /// Its slug.
    Slug(Slug),
}

/// The children of one collection as of one moment, read as they are needed. Holds a
/// connection to the database until it is dropped.
#[derive(Debug)]
pub struct ChildReader {
    tx: Tx,
    collection: Collection,
}

impl Service {
    /// Reads one collection, without its lists.
    ///
    /// # Errors
    /// Where the tenant has no such collection; where the store fails.
    pub async fn get_collection(&self, caller: &Caller, key: Key) -> Result<Detail> {
        let (detail, _) = self.open_collection(caller, key, Above::Shown).await?;
        Ok(detail)
    }

    /// Reads one collection, and its lists as of the same moment by the reader.
    ///
    /// # Errors
    /// Where the tenant has no such collection; where the store fails.
    pub async fn open_collection(
        &self,
        caller: &Caller,
        key: Key,
        above: Above,
    ) -> Result<(Detail, ChildReader)> {
        let tx = self.store.read(&caller.reading()?).await?;
        self.open(tx, key, above).await
    }

    /// The same, for who has changed it.
    ///
    /// # Errors
    /// Where the tenant has no such collection any more; where the store fails.
    pub async fn open_changed(
        &self,
        caller: &Caller,
        id: CollectionId,
    ) -> Result<(Detail, ChildReader)> {
        let writing = caller.writing_to(&id)?;
        let tx = self.store.read_back(&writing).await?;
        self.open(tx, Key::Id(id), Above::Named).await
    }

    async fn open(&self, tx: Tx, key: Key, above: Above) -> Result<(Detail, ChildReader)> {
        let collection = match &key {
            Key::Id(id) => find(&tx, id, &self.settings).await?,
            Key::Slug(slug) => collections::get_by_slug(&tx, slug)
                .await?
                .ok_or_else(|| Error::collection_not_found(slug.as_str()))?,
        };
        let include = Include {
            above,
            ..Include::default()
        };
        let detail = detail(&tx, collection.clone(), include).await?;
        Ok((detail, ChildReader { tx, collection }))
    }
}

impl ChildReader {
    /// Gives the collection its list of child collections, and reads what stands below it.
    ///
    /// # Errors
    /// Where that is over the limit; where the store fails.
    pub async fn below(
        &self,
        top: &mut Detail,
        depth: Depth,
        settings: &Settings,
    ) -> Result<Below> {
        below(&self.tx, std::slice::from_mut(top), depth, false, settings).await
    }

    /// What is known of products; those of which nobody told are left out.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn products(&self, ids: &[ProductId]) -> Result<HashMap<ProductId, Product>> {
        products::get_many(&self.tx, ids).await
    }

    /// At most `limit` children from index `start` on, which is not beyond the end.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn read(&self, list: ChildType, start: u64, limit: usize) -> Result<Vec<ChildId>> {
        let children = Children::of(&self.tx, &self.collection, list);
        Ok(children.page(start, limit).await?.children)
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
