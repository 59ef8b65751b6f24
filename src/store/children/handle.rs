//! One of a collection's lists, and what stays known of it in memory.

use super::directory::{Directory, Name, Versioned};
use crate::{
    domain::{ChildType, Collection, CollectionId},
    store::tx::Tx,
};

/// One of a collection's lists.
#[derive(Clone, Copy, Debug)]
pub struct Children<'a> {
    pub(super) tx: &'a Tx,
    pub(super) collection: &'a CollectionId,
    pub(super) list: ChildType,
    /// The collection's version, under which the directory may be known.
    pub(super) version: Option<i64>,
}

impl<'a> Children<'a> {
    /// The list of a collection as it was read in the same transaction.
    pub fn of(tx: &'a Tx, collection: &'a Collection, list: ChildType) -> Self {
        Self {
            version: Some(collection.version),
            ..Self::uncached(tx, &collection.id, list)
        }
    }

    /// The list of a collection of which the version is not known.
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

/// Notes, for when the transaction is committed, which directories hold at the version
/// that the collection then has: those of the lists that were mutated, and those of
/// the others, which were known at the version before.
pub(in crate::store) fn remember(
    tx: &Tx,
    before: i64,
    after: &Collection,
    mutated: Vec<(ChildType, Directory)>,
) {
    carry_others(tx, &after.id, before, after.version, &mutated);
    for (list, directory) in mutated {
        let name = Children::uncached(tx, &after.id, list).name();
        let version = after.version;
        tx.learn(name, Versioned { version, directory });
    }
}

/// The same of a collection whose lists are as they were.
pub(in crate::store) fn carry(tx: &Tx, id: &CollectionId, before: i64, after: i64) {
    carry_others(tx, id, before, after, &[]);
}

fn carry_others(
    tx: &Tx,
    id: &CollectionId,
    before: i64,
    version: i64,
    mutated: &[(ChildType, Directory)],
) {
    for list in [ChildType::Product, ChildType::Collection] {
        let name = Children::uncached(tx, id, list).name();
        if mutated.iter().any(|(other, _)| *other == list) {
            continue;
        }
        if let Some(directory) = tx.session().directory(&name, before) {
            tx.learn(name, Versioned { version, directory });
        }
    }
}
