//! Collections that are locked, and what becomes of each until it is saved.

use std::collections::BTreeSet;

use super::{
    children::{self, directory::Directory},
    collections::{self, Counted, Head},
    ledger::{Change, Left},
    tx::Tx,
};
use crate::domain::{
    ChildId, ChildType, Collection, CollectionId, Locale, Mutation, ProductId, Result,
};

/// A collection that is locked so far as its lists and its version go.
#[derive(Debug)]
pub(super) struct Linked {
    pub(super) head: Head,
    pub(super) lists: Lists,
}

/// A locked collection, and what became of it.
#[derive(Debug)]
pub(super) struct Entry {
    /// The version that it had; none where this unit created it.
    pub(super) version: Option<i64>,
    /// As it was, where changes were applied to it.
    pub(super) before: Option<Collection>,
    pub(super) now: Collection,
    /// Which products the list is to follow anew; none where it is right.
    pub(super) follow: Option<Over>,
    /// Whether the rules of others may name it.
    pub(super) named: bool,
    /// Whether something changed that is kept apart from it.
    pub(super) is_touched: bool,
    pub(super) lists: Lists,
}

/// The products over which rules are evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// These, which the collection names beside its rules, or did: others are what they were.
    Named(BTreeSet<ProductId>),
    /// All of the tenant, by a job if there are more than so many.
    All(usize),
    /// Those that a job has found, and the members.
    Found,
}

/// What became of a locked collection's lists, and of the links to it.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// Those that were mutated, as they are now.
    pub(super) now: Vec<(ChildType, Directory)>,
    /// What was done to them, to be noted once the version is known.
    pub(super) mutated: Vec<Mutated>,
    /// Whether a link to the collection came or went.
    pub(super) is_linked: bool,
}

#[derive(Debug)]
pub(super) struct Mutated {
    pub(super) list: ChildType,
    pub(super) mutations: Vec<Mutation>,
    pub(super) joined: Vec<ChildId>,
    pub(super) left: Left,
}

impl Entry {
    pub(super) fn new(version: Option<i64>, now: Collection, named: bool) -> Self {
        Self {
            version,
            before: None,
            now,
            follow: None,
            named,
            is_touched: false,
            lists: Lists::default(),
        }
    }

    /// Whether its kind or its rules are others.
    pub(super) fn has_other_kind(&self) -> bool {
        match &self.before {
            Some(before) => before.kind != self.now.kind,
            None => self.version.is_none(),
        }
    }

    /// Whether its kind, its rules or its order are others.
    pub(super) fn has_other_rules(&self) -> bool {
        let now = &self.now;
        match &self.before {
            Some(before) => before.kind != now.kind || before.sort != now.sort,
            None => self.version.is_none() && now.kind.is_smart(),
        }
    }

    /// Whether properties are others: all but the counts.
    fn has_other_properties(&self) -> bool {
        let Some(before) = &self.before else {
            return false;
        };
        let now = &self.now;
        let now = Collection {
            product_count: before.product_count,
            collection_count: before.collection_count,
            ..now.clone()
        };
        now != *before
    }

    /// Writes properties, and adds to `counted` what is to be written of a row otherwise.
    pub(super) async fn save(
        mut self,
        tx: &Tx,
        default_locale: &Locale,
        counted: &mut Vec<Counted>,
    ) -> Result<Collection> {
        let properties = self.has_other_properties();
        // A new row has all but the counts.
        let is_linked = self.lists.is_linked && self.version.is_some();
        let is_changed =
            properties || is_linked || self.is_touched || !self.lists.mutated.is_empty();
        if let Some(version) = self.version
            && is_changed
        {
            self.now.touch(tx.now);
            let (id, after) = (&self.now.id, self.now.version);
            tx.touch(id);
            children::remember(tx, id, version, after, self.lists.now);
        }
        if let (true, Some(before)) = (properties, &self.before) {
            self.now = collections::update(tx, before, self.now, default_locale).await?;
        } else if is_changed {
            counted.push(Counted::of(&self.now));
        }
        if let (true, Some(before)) = (properties, self.before) {
            tx.note(Change::CollectionUpdated {
                before: Box::new(before),
                after: Box::new(self.now.clone()),
            });
        }
        let after = self.now.version;
        let before = self.version.unwrap_or(after);
        note_mutated(tx, &self.now.id, self.lists.mutated, before, after);
        Ok(self.now)
    }
}

impl Linked {
    /// What is to be written of its row, where it changed.
    pub(super) fn save(mut self, tx: &Tx) -> Option<Counted> {
        if !self.lists.is_linked && self.lists.mutated.is_empty() {
            return None;
        }
        let before = self.head.version;
        self.head.touch(tx.now);
        let (id, after) = (self.head.id.clone(), self.head.version);
        tx.touch(&id);
        let mut counted = Counted::of_head(self.head);
        for (list, directory) in &self.lists.now {
            let len = directory.iter().map(|segment| segment.len as u64).sum();
            match list {
                ChildType::Product => counted.products = Some(len),
                ChildType::Collection => counted.collections = Some(len),
            }
        }
        children::remember(tx, &id, before, after, self.lists.now);
        note_mutated(tx, &id, self.lists.mutated, before, after);
        Some(counted)
    }
}

/// Notes what was done to a collection's lists, with its version before and after.
fn note_mutated(
    tx: &Tx,
    collection: &CollectionId,
    mutated: Vec<Mutated>,
    before: i64,
    after: i64,
) {
    for Mutated {
        list,
        mutations,
        joined,
        left,
    } in mutated
    {
        tx.note(Change::ListMutated {
            collection: collection.clone(),
            list,
            mutations,
            before,
            after,
            joined,
            left,
        });
    }
}
