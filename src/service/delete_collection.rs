//! Deletes a collection and its links to parents and children, which are kept. Collections whose
//! rules reference it lose the members that they had because of it.

use std::collections::BTreeSet;

use super::{Command, Retry, Settings, links};
use crate::{
    domain::{
        Caller, CollectionId, Error, Precondition, Reason, Result, Writing,
        collection::root_immutable,
    },
    store::{
        Tx, lineage,
        lock::{LockSet, Locked},
    },
};

/// Deletes a collection and its links. Its children are kept.
#[derive(Clone, Debug)]
pub struct DeleteCollection {
    /// The collection.
    pub id: CollectionId,
    /// Whether to delete it even if it has child collections, which are unlinked, or if other
    /// collections' rules reference it, for which it has no members from then on.
    pub force: bool,
    /// The precondition on the current version, if any.
    pub etag: Option<Precondition>,
    /// How to recognise and answer a retry; `None` without an idempotency key.
    pub retry: Option<Retry<()>>,
}

/// # Errors
/// If the collection does not exist or is a root, if the etag does not match, or, without `force`,
/// if it has child collections or is referenced by rules.
impl Command for DeleteCollection {
    const NAME: &str = "DeleteCollection";

    type Response = ();

    fn authorize(&self, caller: &Caller) -> Result<Writing> {
        caller.writing_to(&self.id)
    }

    fn check(&self, _: &Settings) -> Result<()> {
        if self.id.is_root() {
            return Err(root_immutable(&self.id, "can't be deleted"));
        }
        Ok(())
    }

    fn retry(&self) -> Option<&Retry<()>> {
        self.retry.as_ref()
    }

    async fn run(&self, tx: &Tx, settings: &Settings) -> Result<()> {
        let id = &self.id;
        let (mut locked, (parents, children)) = tx.lock_links(|| self.plan(tx)).await?;
        self.check_state(&locked)?;
        self.check_naming(&locked.naming(tx, id).await?)?;
        links::change(tx, &mut locked, &parents, [], id).await?;
        locked.delete(tx, id, &children).await?;
        locked.save(tx, &settings.default_locale).await?;
        Ok(())
    }
}

/// The parents and the children of a collection.
type Links = (BTreeSet<CollectionId>, Vec<CollectionId>);

impl DeleteCollection {
    /// The locks, and the parents and children. Without `force`, children are not read, because
    /// deletion fails if there are any.
    async fn plan(&self, tx: &Tx) -> Result<(LockSet, Links)> {
        let parents = lineage::parents(tx, &self.id).await?;
        let children = if self.force {
            links::children(tx, &self.id).await?
        } else {
            Vec::new()
        };
        let mut set = LockSet::of(&self.id);
        set.collections.extend(parents.iter().cloned());
        set.linked.extend(children.iter().cloned());
        Ok((set, (parents, children)))
    }

    fn check_naming(&self, naming: &[CollectionId]) -> Result<()> {
        let Some(first) = naming.first().filter(|_| !self.force) else {
            return Ok(());
        };
        let (id, more) = (&self.id, naming.len() - 1);
        let message = match more {
            0 => format!("the rules of collection {first:?} name collection {id:?}"),
            _ => {
                format!("the rules of collection {first:?} and {more} more name collection {id:?}")
            }
        };
        Err(Error::new(Reason::NamedByRules, message).about(id.as_str()))
    }

    fn check_state(&self, locked: &Locked) -> Result<()> {
        let count = locked.expect(&self.id, self.etag)?.collection_count;
        if count > 0 && !self.force {
            let what = if count == 1 {
                "collection"
            } else {
                "collections"
            };
            return Err(Error::new(
                Reason::HasChildren,
                format!("collection {:?} has {count} child {what}", self.id),
            )
            .about(self.id.as_str()));
        }
        Ok(())
    }
}
