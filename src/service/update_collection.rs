//! Updates a collection: properties, rules, parents and children, all or nothing. It can also be a
//! dry run.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Ancestors, Command, Detail, Include, Retry, Service, Settings, detail, links, products,
    update::{ChildMutation, UpdateCollection, Updated},
};
use crate::{
    domain::{
        Active, Caller, Change, Changes, ChildId, ChildType, Collection, CollectionId, Error,
        Mutation, Outcome, ProductId, Reason, Result, Writing, children as domain_children,
        collection::{not_for_smart, root_immutable},
    },
    memory::{self, Reservation},
    store::{
        Mode, Tx, lineage,
        lock::{LockSet, Locked, RuleLock},
        rules::entries,
        tenants,
    },
};

impl UpdateCollection {
    /// Whether links between collections or the effective `active` of descendants may change.
    fn changes_graph(&self) -> bool {
        let mutates = |m: &ChildMutation| m.list == ChildType::Collection;
        self.parents.is_some()
            || self.changes.active.is_some()
            || self.mutations.iter().any(mutates)
    }

    /// Whether the rules or the sort order of a smart collection may change.
    fn changes_rules(&self) -> bool {
        self.changes.rules != Change::Keep || self.changes.sort != Change::Keep
    }

    /// The mutations of one list, each with its position in the request.
    fn of_list(&self, list: ChildType) -> (Vec<usize>, Vec<&Mutation>) {
        let mutations = self.mutations.iter().enumerate();
        mutations
            .filter(|(_, m)| m.list == list)
            .map(|(at, m)| (at, &m.mutation))
            .unzip()
    }

    /// The children that the mutations may add to a list.
    fn candidates(&self, list: ChildType) -> impl Iterator<Item = &crate::domain::ChildId> {
        let mutations = self.mutations.iter().filter(move |m| m.list == list);
        mutations.flat_map(|m| m.mutation.candidates())
    }
}

/// Updates a collection. Its etag changes only if anything changed.
///
/// # Errors
/// If the tenant has no such collection, if the etag does not match, if a change is invalid, if an
/// index or an id does not fit the list, or if a link would make a cycle.
impl Command for UpdateCollection {
    const NAME: &str = "UpdateCollection";

    type Response = Updated;

    fn authorize(&self, caller: &Caller) -> Result<Writing> {
        caller.writing_to(&self.id)
    }

    fn check(&self, settings: &Settings) -> Result<()> {
        settings.check_locales(&self.changes)?;
        self.changes.check(&settings.limits)?;
        links::check_count(self.parents.as_ref().map_or(0, BTreeSet::len), settings)?;
        let mutations: Vec<_> = self.mutations.iter().map(|m| &m.mutation).collect();
        domain_children::check(&mutations, &settings.limits)
    }

    fn retry(&self) -> Option<&Retry<Updated>> {
        self.retry.as_ref()
    }

    fn mode(&self) -> Mode {
        if self.validate_only {
            Mode::DryRun
        } else {
            Mode::Commit
        }
    }

    async fn shared(
        self: &Arc<Self>,
        service: &Service,
        writing: &Writing,
    ) -> Option<Result<Updated>> {
        service.update_shared(writing, self).await
    }

    fn awaits_rules<'a>(&self, response: &'a mut Updated) -> Option<(&'a mut Detail, Include)> {
        Some((&mut response.detail, self.include))
    }

    async fn run(&self, tx: &Tx, settings: &Settings) -> Result<Updated> {
        let (id, locale) = (&self.id, &settings.default_locale);
        // The roots are stored only once the tenant has its first write.
        if id.is_root() {
            tenants::ensure(tx, settings.root_names, locale).await?;
        }
        let (mut locked, old_parents) = if self.changes_graph() {
            tx.lock_links(|| self.plan(tx, settings)).await?
        } else {
            let (set, parents) = self.plan(tx, settings).await?;
            (tx.lock(set).await?, parents)
        };
        self.apply(tx, &mut locked, settings).await?;
        if let Some(parents) = &self.parents {
            self.reparent(tx, &mut locked, &old_parents, parents, settings)
                .await?;
        }
        let mut outcomes = vec![Outcome::default(); self.mutations.len()];
        let mut rows_written = 0;
        for list in [ChildType::Product, ChildType::Collection] {
            rows_written += self
                .mutate(tx, &mut locked, list, settings, &mut outcomes)
                .await?;
        }
        let mut saved = locked.save(tx, locale).await?;
        let collection = super::taken(&mut saved, id)?;
        // The response data is read before the commit, because nothing may fail after it. Memory is
        // not waited for, because other writers are waiting for the locks.
        let reservation = self.reserve(&collection, settings)?;
        Ok(Updated {
            detail: detail(tx, collection, self.include).await?,
            reservation: Arc::new(reservation),
            outcomes,
            rows_written,
        })
    }
}

impl UpdateCollection {
    /// Checks the precondition and applies the changes of properties.
    async fn apply(&self, tx: &Tx, locked: &mut Locked, settings: &Settings) -> Result<()> {
        let collection = locked.expect(&self.id, self.etag)?;
        let changes = self.literal_changes(tx, collection, settings).await?;
        locked.apply(
            &self.id,
            changes,
            &settings.default_locale,
            &settings.limits,
        )
    }

    /// Reserves memory for the response.
    fn reserve(&self, collection: &Collection, settings: &Settings) -> Result<Reservation> {
        settings.memory.try_reserve(collection.size())?;
        settings.memory.try_take(self.include.bytes(collection))
    }

    /// Does the same as [`Self::apply`] in a transaction that others share. `None` if it must be
    /// done in a transaction of its own: because the collection does not exist or is locked, or
    /// because it is large, so that its memory must be accounted to the connection of its client.
    pub(super) async fn apply_shared(
        &self,
        tx: &Tx,
        locked: &mut Locked,
        settings: &Settings,
    ) -> Option<Result<Reservation>> {
        locked.get(&self.id)?;
        if let Err(error) = self.apply(tx, locked, settings).await {
            return Some(Err(error));
        }
        let collection = locked.get(&self.id)?;
        let is_small = collection.size() <= memory::SMALL;
        is_small.then(|| self.reserve(collection, settings))
    }

    /// The changes to apply to the stored collection.
    async fn literal_changes(
        &self,
        tx: &Tx,
        collection: &Collection,
        settings: &Settings,
    ) -> Result<Changes> {
        let changes = self.changes.clone();
        let Some(reader) = &self.reader else {
            return Ok(changes);
        };
        // Ancestors are only read if the client may have sent back an inherited value.
        let may_be_inherited = changes.active.is_some() && collection.active == Active::Inherit;
        let is_shown = may_be_inherited && {
            let lineage = super::lineage_of(tx, &self.id, Ancestors::Shown).await?;
            lineage.effective_active(collection.active)
        };
        reader.literal(changes, collection, is_shown, settings.locales())
    }

    /// The locks: the collection, the parents that change, and the child collections that may join
    /// or leave its list. Also returns the current parents, if they may change.
    async fn plan(
        &self,
        tx: &Tx,
        settings: &Settings,
    ) -> Result<(LockSet, BTreeSet<CollectionId>)> {
        let mut set = LockSet::of(&self.id);
        if self.changes_rules() {
            set.rules = RuleLock::Exclusive;
        }
        let mut old = BTreeSet::new();
        if let Some(parents) = &self.parents {
            old = lineage::parents(tx, &self.id).await?;
            set.collections
                .extend(old.symmetric_difference(parents).cloned());
        }
        let candidates = self.candidates(ChildType::Collection);
        set.linked.extend(candidates.map(|id| id.clone().into()));
        for mutation in self.of_list(ChildType::Collection).1 {
            match mutation {
                Mutation::Remove { ids, .. } => {
                    set.linked.extend(ids.iter().map(|id| id.clone().into()));
                }
                Mutation::Replace { .. } => {
                    set.linked.extend(links::children(tx, &self.id).await?);
                }
                Mutation::Append { .. }
                | Mutation::Insert { .. }
                | Mutation::MoveRange { .. }
                | Mutation::MoveIds { .. }
                | Mutation::Reorder { .. } => {}
            }
        }
        let products = self.candidates(ChildType::Product);
        let products = products.map(|id| ProductId::from(id.clone()));
        set.registered = products::to_check(settings, products);
        Ok((set, old))
    }

    /// Makes `parents` the parents of the collection.
    async fn reparent(
        &self,
        tx: &Tx,
        locked: &mut Locked,
        old: &BTreeSet<CollectionId>,
        parents: &BTreeSet<CollectionId>,
        settings: &Settings,
    ) -> Result<()> {
        let id = &self.id;
        if old == parents {
            return Ok(());
        }
        if id.is_root() {
            return Err(root_immutable(id, "has no parent"));
        }
        links::check_exist(parents.difference(old), locked)?;
        let new: Vec<_> = parents.iter().cloned().collect();
        links::check(tx, &new, std::slice::from_ref(id), settings).await?;
        let (left, joined) = (old.difference(parents), parents.difference(old));
        links::change(tx, locked, left, joined, id).await
    }

    /// Applies the mutations of one list, if there are any. Returns the number of rows written.
    async fn mutate(
        &self,
        tx: &Tx,
        locked: &mut Locked,
        list: ChildType,
        settings: &Settings,
        outcomes: &mut [Outcome],
    ) -> Result<u64> {
        let (places, mutations) = self.of_list(list);
        if mutations.is_empty() {
            return Ok(0);
        }
        match list {
            ChildType::Product => {
                if locked.expect(&self.id, None)?.kind.is_smart() {
                    self.check_moves(tx, locked, &mutations).await?;
                }
                if self.candidates(list).next().is_some() {
                    products::check_no_root([&self.id].into_iter())?;
                }
                products::check_registered(locked)?;
            }
            ChildType::Collection => self.check_candidates(tx, locked, settings).await?,
        }
        let applied = locked.mutate(tx, &self.id, list, &mutations).await?;
        for (at, outcome) in places.into_iter().zip(applied.outcomes) {
            outcomes[at] = outcome;
        }
        if list == ChildType::Collection {
            links::check_parent_counts(tx, &applied.joined, settings).await?;
        }
        Ok(applied.rows_written)
    }

    /// Checks that mutations of a smart collection's products only move them, that its order is
    /// manual, and that no pinned product is moved.
    async fn check_moves(&self, tx: &Tx, locked: &Locked, mutations: &[&Mutation]) -> Result<()> {
        let id = &self.id;
        let mut named = Vec::new();
        for mutation in mutations {
            match mutation {
                Mutation::MoveRange { .. } => {}
                Mutation::MoveIds { ids, .. } => named.extend(ids),
                Mutation::Reorder { placements } => {
                    named.extend(placements.iter().map(|(id, _)| id));
                }
                Mutation::Append { .. }
                | Mutation::Insert { .. }
                | Mutation::Remove { .. }
                | Mutation::Replace { .. } => return Err(not_for_smart(id)),
            }
        }
        if locked.expect(id, None)?.sort.is_some() {
            return Err(sorted(id));
        }
        let pins = entries::of_collection(tx, id).await?.pins;
        let is_pinned = |id: &&&ChildId| pins.contains_key(&ProductId::from((**id).clone()));
        match named.iter().find(is_pinned) {
            Some(pinned) => Err(pinned_product(id, pinned)),
            None => Ok(()),
        }
    }

    /// Checks that collections that may become children exist, and that their links are valid.
    async fn check_candidates(&self, tx: &Tx, locked: &Locked, settings: &Settings) -> Result<()> {
        let candidates = self.candidates(ChildType::Collection);
        let candidates: BTreeSet<CollectionId> = candidates.map(|id| id.clone().into()).collect();
        if candidates.is_empty() {
            return Ok(());
        }
        if let Some(id) = candidates.iter().find(|id| !locked.exists(id)) {
            return Err(links::no_child(id));
        }
        let candidates: Vec<_> = candidates.into_iter().collect();
        links::check(tx, std::slice::from_ref(&self.id), &candidates, settings).await
    }
}

fn sorted(id: &CollectionId) -> Error {
    let message = format!("the products of collection {id:?} are sorted: they can't be moved");
    Error::new(Reason::KindMismatch, message).about(id.as_str())
}

fn pinned_product(id: &CollectionId, product: &ChildId) -> Error {
    let message = format!("product {product:?} is pinned in collection {id:?}: change its index");
    Error::new(Reason::KindMismatch, message).about(id.as_str())
}
