//! Locked collections and what happens to each of them until it is saved. [`super::lock`] creates
//! and changes them.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    children::{self, directory::Directory},
    collections::{self, CountsUpdate, Head},
    ledger::{Change, Left},
    tx::Tx,
};
use crate::domain::{
    ChildId, ChildType, Collection, CollectionId, Locale, Mutation, ProductId, Result,
};

/// A collection of which only the lists and the version may change.
#[derive(Debug)]
pub(super) struct Linked {
    pub(super) head: Head,
    pub(super) lists: Lists,
}

/// A collection that is locked for all changes.
#[derive(Debug)]
pub(super) struct Entry {
    /// The version that it had; `None` if this unit created it.
    pub(super) version: Option<i64>,
    /// Its state before this unit; `None` as long as nothing was changed.
    pub(super) before: Option<Collection>,
    pub(super) now: Collection,
    /// The products over which the list is to be evaluated again; `None` if that is not needed.
    pub(super) follow: Option<EvaluationScope>,
    /// Whether rules of other collections may reference it.
    pub(super) named: bool,
    /// Whether something changed that is stored outside its row and its lists.
    pub(super) is_touched: bool,
    pub(super) lists: Lists,
}

/// The products over which rules are evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EvaluationScope {
    /// Only these, whose rule entries changed; other members stay.
    Named(BTreeSet<ProductId>),
    /// All products of the tenant; by a job if there are more than this many.
    All(usize),
    /// All products of the tenant, of which there are about this many, by a job.
    Later(u64),
    /// These, which a job has found, and the current members.
    Found(BTreeSet<ProductId>),
    /// None: a job has built the list, which is the current one already. Lists that other rules
    /// require change for these products, which joined it (true) or left it (false).
    Built(BTreeMap<ProductId, bool>),
}

/// The changes of a collection's lists, and of the links to it.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// The current directories of the lists that were mutated.
    pub(super) now: Vec<(ChildType, Directory)>,
    /// The mutations, to be recorded in the ledger once the new version is known.
    pub(super) mutated: Vec<Mutated>,
    /// Whether the collection gained or lost a parent.
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

    /// Whether it was smart before and still is.
    pub(super) fn is_still_smart(&self) -> bool {
        let before = self.before.as_ref().unwrap_or(&self.now);
        self.version.is_some() && before.kind.is_smart() && self.now.kind.is_smart()
    }

    /// Whether its kind or its rules changed.
    pub(super) fn has_other_kind(&self) -> bool {
        match &self.before {
            Some(before) => before.kind != self.now.kind,
            None => self.version.is_none(),
        }
    }

    /// Whether its kind, its rules or its sort order changed.
    pub(super) fn has_other_rules(&self) -> bool {
        let now = &self.now;
        match &self.before {
            Some(before) => before.kind != now.kind || before.sort != now.sort,
            None => self.version.is_none() && now.kind.is_smart(),
        }
    }

    /// Whether anything other than the counts changed.
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

    /// Writes the properties if they changed. If only counts and the version did, adds them to
    /// `counts_updates`, to be written for all collections together.
    pub(super) async fn save(
        mut self,
        tx: &Tx,
        default_locale: &Locale,
        counts_updates: &mut Vec<CountsUpdate>,
    ) -> Result<Collection> {
        let properties = self.has_other_properties();
        // The row of a new collection was inserted with everything but its counts.
        let is_linked = self.lists.is_linked && self.version.is_some();
        let is_changed =
            properties || is_linked || self.is_touched || !self.lists.mutated.is_empty();
        if let Some(version) = self.version
            && is_changed
        {
            self.now.touch(tx.now);
            let (id, after) = (&self.now.id, self.now.version);
            tx.touch(id);
            children::cache_after_commit(tx, id, version, after, self.lists.now);
        }
        if let (true, Some(before)) = (properties, &self.before) {
            self.now = collections::update(tx, before, self.now, default_locale).await?;
        } else if is_changed {
            counts_updates.push(CountsUpdate::of(&self.now));
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
    /// The counts and version to write, if anything changed.
    pub(super) fn save(mut self, tx: &Tx) -> Option<CountsUpdate> {
        if !self.lists.is_linked && self.lists.mutated.is_empty() {
            return None;
        }
        let before = self.head.version;
        self.head.touch(tx.now);
        let (id, after) = (self.head.id.clone(), self.head.version);
        tx.touch(&id);
        let mut update = CountsUpdate::of_head(self.head);
        for (list, directory) in &self.lists.now {
            let len = directory.iter().map(|segment| segment.len as u64).sum();
            match list {
                ChildType::Product => update.products = Some(len),
                ChildType::Collection => update.collections = Some(len),
            }
        }
        children::cache_after_commit(tx, &id, before, after, self.lists.now);
        note_mutated(tx, &id, self.lists.mutated, before, after);
        Some(update)
    }
}

/// Records the mutations of a collection's lists, with its versions before and after.
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
