//! [`Children`], the handle to one of a collection's lists, and how written directories get into
//! the cache of [`super::directory`].

use super::directory::{Directory, Name, Versioned};
use crate::{
    domain::{ChildType, Collection, CollectionId},
    store::tx::Tx,
};

/// A handle to one of a collection's lists. It reads nothing itself.
#[derive(Clone, Copy, Debug)]
pub struct Children<'a> {
    pub(super) tx: &'a Tx,
    pub(super) collection: &'a CollectionId,
    pub(super) list: ChildType,
    /// The collection's version, under which the directory may be cached.
    pub(super) version: Option<i64>,
}

impl<'a> Children<'a> {
    /// The list of a collection that was read in the same transaction.
    pub fn of(tx: &'a Tx, collection: &'a Collection, list: ChildType) -> Self {
        Self::at(tx, &collection.id, list, collection.version)
    }

    /// The list of a collection that is at `version` in this transaction.
    pub(in crate::store) fn at(
        tx: &'a Tx,
        collection: &'a CollectionId,
        list: ChildType,
        version: i64,
    ) -> Self {
        Self {
            version: Some(version),
            ..Self::uncached(tx, collection, list)
        }
    }

    /// The list of a collection whose version is unknown, so the directory cache is not used.
    pub fn uncached(tx: &'a Tx, collection: &'a CollectionId, list: ChildType) -> Self {
        Self {
            tx,
            collection,
            list,
            version: None,
        }
    }

    pub(super) fn name(self) -> Name {
        Name {
            tenant: self.tx.tenant.clone(),
            collection: self.collection.clone(),
            list: self.list,
        }
    }
}

/// Records the directories that are valid at the collection's new version `after`, to be cached
/// after the commit: those of the mutated lists, and the cached ones of the other lists from
/// version `before`, which did not change.
pub(in crate::store) fn cache_after_commit(
    tx: &Tx,
    id: &CollectionId,
    before: i64,
    after: i64,
    mutated: Vec<(ChildType, Directory)>,
) {
    let version = after;
    for list in [ChildType::Product, ChildType::Collection] {
        if mutated.iter().all(|(other, _)| *other != list)
            && let Some(directory) = Children::at(tx, id, list, before).cached_directory()
        {
            let name = Children::uncached(tx, id, list).name();
            tx.cache_after_commit(name, Versioned { version, directory });
        }
    }
    for (list, directory) in mutated {
        let name = Children::uncached(tx, id, list).name();
        tx.cache_after_commit(name, Versioned { version, directory });
    }
}
