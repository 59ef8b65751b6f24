//! Deleting a collection.

use futures::FutureExt as _;

use super::{Answer, Retry, Service, lineage_of, links};
use crate::{
    domain::{
        Caller, ChildType, CollectionId, Error, Etag, Reason, Result, collection::root_immutable,
    },
    store::{
        Mode, Tx,
        children::{self, Children},
        collections, tenants,
    },
};

/// Asks for a collection's end.
#[derive(Clone, Debug)]
pub struct DeleteCollection {
    /// Which.
    pub id: CollectionId,
    /// Whether child collections don't stand in the way: they are unlinked and kept.
    pub force: bool,
    /// The version that must be current.
    pub etag: Option<Etag>,
    /// Under which a retry is recognised.
    pub retry: Option<Retry<()>>,
}

impl Service {
    /// Deletes a collection and its links. Its children remain.
    ///
    /// # Errors
    /// Where the caller may not; where the tenant has no such collection, it is a
    /// root, the etag is not current, or child collections stand in the way; where
    /// the store fails.
    pub async fn delete_collection(
        &self,
        caller: &Caller,
        command: DeleteCollection,
    ) -> Result<Answer<()>> {
        let writing = caller.writing_to(&command.id)?;
        let retry = command.retry.as_ref();
        self.write(&writing, Mode::Commit, &command, retry, |tx, command, _| {
            run(tx, command).boxed()
        })
        .await
    }
}

async fn run(tx: &Tx, command: &DeleteCollection) -> Result<()> {
    let id = &command.id;
    if id.is_root() {
        return Err(root_immutable(id, "can't be deleted"));
    }
    tenants::lock_graph(tx).await?;
    let collection = collections::lock(tx, id)
        .await?
        .ok_or_else(|| Error::collection_not_found(id.as_str()))?;
    if let Some(etag) = command.etag {
        etag.expect(collection.etag(), id.as_str())?;
    }
    if collection.collection_count > 0 {
        if !command.force {
            let count = collection.collection_count;
            return Err(Error::new(
                Reason::HasChildren,
                format!("collection {id:?} has {count} child collections"),
            )
            .about(id.as_str()));
        }
        let below = Children::of(tx, &collection, ChildType::Collection)
            .all()
            .await?;
        let below: Vec<_> = below.into_iter().map(CollectionId::from).collect();
        collections::touch(tx, &below).await?;
    }
    let parents = lineage_of(tx, id).await?.parents;
    let parents = collections::lock_many(tx, &parents).await?;
    links::relink(tx, parents, id, false).await?;
    children::clear(tx, id).await?;
    collections::delete(tx, id).await?;
    tenants::remove_collection(tx).await?;
    Ok(())
}
