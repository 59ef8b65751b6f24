//! Reading one collection.

use super::{Detail, Include, Service, detail};
use crate::{
    domain::{Caller, Collection, CollectionId, Error, Locale, Result, Slug},
    store::{Tx, collections},
};

/// Asks for one collection.
#[derive(Clone, Debug)]
pub struct GetCollection {
    /// Which.
    pub key: Key,
    /// Which of its lists to answer whole.
    pub include: Include,
}

/// What names a collection.
#[derive(Clone, Debug)]
pub enum Key {
    /// Its id.
    Id(CollectionId),
    /// Its slug.
    Slug(Slug),
}

impl Service {
    /// Reads one collection, as of one moment.
    ///
    /// # Errors
    /// Where the tenant has no such collection; where the store fails.
    pub async fn get_collection(&self, caller: &Caller, command: GetCollection) -> Result<Detail> {
        let tx = self.store.read(caller).await?;
        let collection = match &command.key {
            Key::Id(id) => find(&tx, id, &self.settings.default_locale).await?,
            Key::Slug(slug) => collections::get_by_slug(&tx, slug)
                .await?
                .ok_or_else(|| Error::collection_not_found(slug.as_str()))?,
        };
        detail(&tx, collection, command.include).await
    }
}

/// The collection; a root also of a tenant that holds nothing yet.
pub(super) async fn find(
    tx: &Tx,
    id: &CollectionId,
    default_locale: &Locale,
) -> Result<Collection> {
    match collections::get(tx, id).await? {
        Some(collection) => Ok(collection),
        None if id.is_root() => Ok(Collection::root(id.clone(), tx.now, default_locale)),
        None => Err(Error::collection_not_found(id.as_str())),
    }
}
