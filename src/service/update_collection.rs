//! Changing a collection: properties, parents and children, all or nothing.

use std::{collections::BTreeSet, sync::Arc};

use super::{Above, Command, Detail, Include, Retry, Settings, detail, links, products};
use crate::{
    domain::{
        Active, Caller, Change, Changes, ChildId, ChildType, Collection, CollectionId, Error,
        Mutation, Outcome, Precondition, ProductId, Reader, Reason, Result, Writing,
        children as domain_children,
        collection::{not_for_smart, root_immutable},
    },
    memory::Share,
    store::{
        Mode, Tx, lineage,
        lock::{LockSet, Locked, RuleLock},
        rules::entries,
        tenants,
    },
};

/// Asks for changes of a collection.
#[derive(Clone, Debug)]
pub struct UpdateCollection {
    /// Which collection.
    pub id: CollectionId,
    /// What changes of its properties.
    pub changes: Changes,
    /// The language of the client, where all texts in `changes` are of that one; none where
    /// they are of the locales that they name.
    pub reader: Option<Reader>,
    /// What it stands under from now on; none to leave its parents.
    pub parents: Option<BTreeSet<CollectionId>>,
    /// What changes in its lists, in order.
    pub mutations: Vec<ChildMutation>,
    /// The version that must be current.
    pub etag: Option<Precondition>,
    /// Whether to answer what would happen and change nothing.
    pub validate_only: bool,
    /// Which of its lists to answer whole.
    pub include: Include,
    /// Under which a retry is recognised.
    pub retry: Option<Retry<Updated>>,
}

/// A mutation and the list that it is for.
#[derive(Clone, Debug)]
pub struct ChildMutation {
    /// Which list.
    pub list: ChildType,
    /// What to do there.
    pub mutation: Mutation,
}

/// What an update came to.
#[derive(Clone, Debug)]
pub struct Updated {
    /// The collection now.
    pub detail: Detail,
    /// What each mutation did, in the order asked.
    pub outcomes: Vec<Outcome>,
    /// How many rows the mutations wrote or removed, besides the collection's own.
    pub rows_written: u64,
    /// The memory that the lists in `detail` take.
    pub share: Arc<Share>,
}

impl UpdateCollection {
    /// An update of the collection that changes nothing yet.
    pub fn of(id: CollectionId) -> Self {
        Self {
            id,
            changes: Changes::default(),
            reader: None,
            parents: None,
            mutations: Vec::new(),
            etag: None,
            validate_only: false,
            include: Include::default(),
            retry: None,
        }
    }

    /// Whether links between collections may change, or what is shown of those below.
    fn changes_graph(&self) -> bool {
        let mutates = |m: &ChildMutation| m.list == ChildType::Collection;
        self.parents.is_some()
            || self.changes.active.is_some()
            || self.mutations.iter().any(mutates)
    }

    /// Whether what the products of a smart collection are may change, or their order.
    fn changes_rules(&self) -> bool {
        self.changes.rules != Change::Keep || self.changes.sort != Change::Keep
    }

    /// The mutations of one list, each with its place in the request.
    fn of_list(&self, list: ChildType) -> (Vec<usize>, Vec<&Mutation>) {
        let mutations = self.mutations.iter().enumerate();
        mutations
            .filter(|(_, m)| m.list == list)
            .map(|(at, m)| (at, &m.mutation))
            .unzip()
    }

    /// The ids that may come into one list.
    fn candidates(&self, list: ChildType) -> impl Iterator<Item = &crate::domain::ChildId> {
        let mutations = self.mutations.iter().filter(move |m| m.list == list);
        mutations.flat_map(|m| m.mutation.candidates())
    }
}

/// Changes a collection. Its etag moves only where something is different afterwards.
///
/// # Errors
/// Where the tenant has no such collection, the etag is not current, a change breaks rules,
/// an index or an id does not fit the list, or a link would make a cycle.
impl Command for UpdateCollection {
    const NAME: &str = "UpdateCollection";

    type Answer = Updated;

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

    fn awaits_rules<'a>(&self, answer: &'a mut Updated) -> Option<(&'a mut Detail, Include)> {
        Some((&mut answer.detail, self.include))
    }

    async fn run(&self, tx: &Tx, settings: &Settings) -> Result<Updated> {
        let (id, locale) = (&self.id, &settings.default_locale);
        if id.is_root() {
            tenants::ensure(tx, settings.root_names, locale).await?;
        }
        let (mut locked, old_parents) = if self.changes_graph() {
            tx.lock_links(|| self.plan(tx, settings)).await?
        } else {
            let (set, parents) = self.plan(tx, settings).await?;
            (tx.lock(set).await?, parents)
        };
        let collection = locked.expect(id, self.etag)?;
        let changes = self.literal_changes(tx, collection, settings).await?;
        locked.apply(id, changes, locale, &settings.limits)?;
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
        // What is answered is read here, for after the commit nothing may fail any more; and
        // nobody waits for memory here, for others wait for what is locked.
        settings.memory.try_reserve(collection.size())?;
        let share = settings.memory.try_take(self.include.bytes(&collection))?;
        Ok(Updated {
            detail: detail(tx, collection, self.include).await?,
            share: Arc::new(share),
            outcomes,
            rows_written,
        })
    }
}

impl UpdateCollection {
    /// The changes, as they are to be made to the collection.
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
        // What the client was shown matters only where it says the same.
        let may_be_inherited = changes.active.is_some() && collection.active == Active::Inherit;
        let is_shown = may_be_inherited && {
            let lineage = super::lineage_of(tx, &self.id, Above::Shown).await?;
            lineage.effective_active(collection.active)
        };
        reader.literal(changes, collection, is_shown, settings.locales())
    }

    /// What to lock: the collection, the parents that it leaves and joins, and the
    /// collections that may come into its list or go out of it. Answers also the parents,
    /// where they may change.
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

    /// Puts the collection under exactly these parents.
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

    /// Applies the mutations of one list, where there are any; answers how many rows that
    /// wrote.
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

    /// Checks that what is done to the products of a smart collection only moves them, where their
    /// order is given by people, and names none that is pinned.
    async fn check_moves(&self, tx: &Tx, locked: &Locked, mutations: &[&Mutation]) -> Result<()> {
        let id = &self.id;
        if locked.expect(id, None)?.sort.is_some() {
            return Err(sorted(id));
        }
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
        let pins = entries::of_collection(tx, id).await?.pins;
        let is_pinned = |id: &&&ChildId| pins.contains_key(&ProductId::from((**id).clone()));
        match named.iter().find(is_pinned) {
            Some(pinned) => Err(pinned_product(id, pinned)),
            None => Ok(()),
        }
    }

    /// Checks that collections which may become children exist and may.
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
