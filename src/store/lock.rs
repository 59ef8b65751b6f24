//! The only way to change collections and products. A unit of work locks everything that it may
//! change up front, in one fixed order: the tenant's graph, its rules, collections by id, products
//! by id. It then changes what it locked, and saving is the only way to a new version, count, link
//! or member.
//!
//! If what to lock depends on data, that data is read, locked and read again. If the lock set grew,
//! the transaction starts over with the larger set. Locks are never added later, so concurrent
//! writers wait for each other but do not deadlock.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Instant,
};

use super::{
    children::{self, Children, Edited, Target, directory::Directory},
    collections,
    engine::Engine,
    error::{is_retryable, needs_more_locks},
    jobs,
    ledger::{Change, Left},
    lock_entry::{Entry, EvaluationScope, Linked, Lists, Mutated},
    products,
    rules::{
        self,
        entries::{self, Named},
        evaluations,
    },
    same, tenants,
    tx::Tx,
};
use crate::{
    domain::{
        Changes, ChildId, ChildType, Collection, CollectionId, Error, Limits, Locale, Mutation,
        Outcome, Precondition, Product, ProductChanges, ProductId, Reason, Result, Rules,
    },
    telemetry::metrics::{self, EvaluationCause},
};

pub use super::lock_set::{LockSet, RuleLock};

/// How many products that join a list while a job builds the next one are placed again there.
const MAX_JOINED: usize = 5_000;

/// What a unit of work has locked, and thus may change.
#[derive(Debug, Default)]
pub struct Locked {
    /// How the tenant's rules are locked, and their version if they are.
    pub(super) rules: (RuleLock, Option<i64>),
    pub(super) collections: BTreeMap<CollectionId, Entry>,
    pub(super) linked: BTreeMap<CollectionId, Linked>,
    pub(super) products: BTreeMap<ProductId, Product>,
    unregistered: Vec<ProductId>,
    /// Products for which time alone may change membership in lists.
    pub(super) due: Vec<ProductId>,
    /// The old lists of referenced collections whose list was replaced or which were deleted.
    pub(super) replaced: BTreeMap<CollectionId, Vec<ChildId>>,
}

/// For each collection, the mutations of its list, in order. All lists are of one kind.
pub type Edits<'a> = BTreeMap<CollectionId, Vec<&'a Mutation>>;

/// The result of the mutations of one list.
#[derive(Debug)]
pub struct Applied {
    /// The outcome of each mutation, in order.
    pub outcomes: Vec<Outcome>,
    /// The children that are in the list now and were not before.
    pub joined: Vec<ChildId>,
    /// The number of rows that were written or removed.
    pub rows_written: u64,
}

impl Tx {
    /// Locks everything in `set`.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn lock(&self, mut set: LockSet) -> Result<Locked> {
        set.join(self.known_locks.clone());
        if set.graph {
            tenants::lock_graph(self).await?;
        }
        Locked::take(self, &set).await
    }

    /// Locks those of the collections that no other transaction has locked, without waiting.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn lock_free(&self, collections: &[CollectionId]) -> Result<Locked> {
        let mut locked = Locked::default();
        locked.add(collections::lock_free(self, collections).await?);
        Ok(locked)
    }

    /// Locks the tenant's graph, then everything that `plan` returns. Links between collections
    /// cannot change after the graph is locked, so `plan` can rely on them. Also returns the value
    /// that `plan` returned.
    ///
    /// # Errors
    /// That of `plan`; if the database fails.
    pub async fn lock_links<F, T>(&self, plan: impl FnOnce() -> F) -> Result<(Locked, T)>
    where
        F: Future<Output = Result<(LockSet, T)>>,
    {
        tenants::lock_graph(self).await?;
        let (mut set, read) = plan().await?;
        set.join(self.known_locks.clone());
        Ok((Locked::take(self, &set).await?, read))
    }

    /// Locks everything that `plan` returns. `plan` depends on which collections contain products,
    /// which may change until they are locked, so it is run again afterwards. Also returns the
    /// value of the last run. Callers must use that value: if they read the memberships again, they
    /// may find collections that are not locked.
    ///
    /// # Errors
    /// That of `plan`; if the second run needs more locks, so that the transaction must start over;
    /// if the database fails.
    pub async fn lock_memberships<F, T>(&self, plan: impl Fn() -> F) -> Result<(Locked, T)>
    where
        F: Future<Output = Result<(LockSet, T)>>,
    {
        let (mut set, read) = plan().await?;
        set.join(self.known_locks.clone());
        if set.graph {
            tenants::lock_graph(self).await?;
        }
        let locked = Locked::take(self, &set).await?;
        // On SQLite there is no other writer, so nothing can have changed.
        if self.session().engine == Engine::Sqlite {
            return Ok((locked, read));
        }
        let (again, read) = plan().await?;
        if set.covers(&again) {
            Ok((locked, read))
        } else {
            set.join(again);
            Err(needs_more_locks(set))
        }
    }
}

impl Locked {
    async fn take(tx: &Tx, set: &LockSet) -> Result<Self> {
        let linked: BTreeSet<_> = set.linked.difference(&set.collections).collect();
        let mut locked = Self {
            rules: (set.rules, rules::lock(tx, set.rules).await?),
            ..Self::default()
        };
        let collections: Vec<_> = set.collections.iter().cloned().collect();
        let found = if linked.is_empty() {
            collections::lock(tx, &collections).await?
        } else {
            // Collections must be locked in the order of their ids, so the heads of both sets are
            // locked by one statement. The other columns are read afterwards.
            let all: BTreeSet<_> = set
                .collections
                .iter()
                .chain(linked.iter().copied())
                .collect();
            let all: Vec<_> = all.into_iter().cloned().collect();
            let mut named = BTreeSet::new();
            for head in collections::lock_heads(tx, &all).await? {
                if head.named {
                    named.insert(head.id.clone());
                }
                if linked.contains(&head.id) {
                    let lists = Lists::default();
                    let linked = Linked { head, lists };
                    locked.linked.insert(linked.head.id.clone(), linked);
                }
            }
            let found = collections::get_many(tx, &collections).await?.into_iter();
            let found = found.map(|it| {
                let named = named.contains(&it.id);
                (it, named)
            });
            found.collect()
        };
        locked.add(found);
        let products: Vec<_> = set.products.iter().cloned().collect();
        if !products.is_empty() {
            locked.products = products::lock(tx, &products).await?;
        }
        let registered: Vec<_> = set.registered.iter().cloned().collect();
        if !registered.is_empty() {
            locked.unregistered = products::unregistered(tx, &registered).await?;
        }
        tx.with_ledger(|ledger| ledger.locked = Some(Instant::now()));
        Ok(locked)
    }

    /// Adds collections that were locked, each with whether rules of others may reference it.
    fn add(&mut self, found: Vec<(Collection, bool)>) {
        for (collection, named) in found {
            let entry = Entry::new(Some(collection.version), collection, named);
            self.collections.insert(entry.now.id.clone(), entry);
        }
    }

    /// The collection in its current state, if it exists and is locked.
    pub fn get(&self, id: &CollectionId) -> Option<&Collection> {
        Some(&self.collections.get(id)?.now)
    }

    /// The collection in its current state, which must exist.
    ///
    /// # Errors
    /// [`Reason::CollectionNotFound`]; if it does not match `etag`.
    pub fn expect(&self, id: &CollectionId, etag: Option<Precondition>) -> Result<&Collection> {
        let found = self.get(id);
        let found = found.ok_or_else(|| Error::collection_not_found(id.as_str()))?;
        if let Some(etag) = etag {
            found.expect(etag)?;
        }
        Ok(found)
    }

    /// Whether the collection exists and is locked, whether for all changes or only for its lists
    /// and version.
    pub fn exists(&self, id: &CollectionId) -> bool {
        self.collections.contains_key(id) || self.linked.contains_key(id)
    }

    /// The registered products among those that were locked.
    pub fn products(&self) -> &BTreeMap<ProductId, Product> {
        &self.products
    }

    /// The changes of a product, with stored JSON values in place of equal but differently written
    /// ones.
    pub fn as_stored(&self, changes: ProductChanges) -> ProductChanges {
        match self.products.get(&changes.id) {
            None => changes,
            Some(known) => ProductChanges {
                attributes: same::as_stored(changes.attributes, &known.attributes),
                ..changes
            },
        }
    }

    /// The products in `LockSet::registered` that are not registered, in order.
    pub fn unregistered(&self) -> &[ProductId] {
        &self.unregistered
    }

    /// Creates a collection. If its slug is taken and was not chosen by the client, it gets
    /// another.
    ///
    /// # Errors
    /// [`Reason::IdTaken`], [`Reason::SlugTaken`], [`Reason::TooManyCollections`]; if the graph is
    /// not locked; if the database fails.
    pub async fn create(
        &mut self,
        tx: &Tx,
        mut collection: Collection,
        default_locale: &Locale,
        limits: &Limits,
    ) -> Result<()> {
        let graph = tx.with_ledger(|ledger| ledger.graph);
        let graph = graph.ok_or_else(|| not_locked("the graph"))?;
        let max = limits.collections;
        if graph.collections >= max as u64 {
            return Err(Error::new(
                Reason::TooManyCollections,
                format!("the tenant has reached its limit of {max} collections"),
            )
            .with("limit", max));
        }
        // Above the versions of all deleted collections, one of which may have had the same id:
        // otherwise an old ETag could match the new collection if the clock went back.
        collection.version = collection.version.max(graph.version_floor + 1);
        let collection = collections::insert(tx, collection, default_locale).await?;
        tx.note(Change::CollectionCreated(Box::new(collection.clone())));
        // Existing rules may already reference this id, from before a collection was deleted.
        if graph.names_missing {
            collections::set_named(tx, std::slice::from_ref(&collection.id)).await?;
        }
        let entry = Entry::new(None, collection, graph.names_missing);
        self.collections.insert(entry.now.id.clone(), entry);
        Ok(())
    }

    /// Applies changes to a collection's properties. They are written by [`Self::save`].
    ///
    /// # Errors
    /// With every violation; see [`Collection::apply`].
    pub fn apply(
        &mut self,
        id: &CollectionId,
        changes: Changes,
        default_locale: &Locale,
        limits: &Limits,
    ) -> Result<()> {
        let entry = self.entry(id)?;
        entry.before.get_or_insert_with(|| entry.now.clone());
        let stored = &entry.now.custom_properties;
        let changes = Changes {
            custom_properties: same::as_stored(changes.custom_properties, stored),
            ..changes
        };
        entry.now.apply(changes, default_locale, limits)
    }

    /// Takes back all changes of a collection's properties.
    pub fn revert(&mut self, id: &CollectionId) {
        if let Some(entry) = self.collections.get_mut(id)
            && let Some(before) = entry.before.take()
        {
            entry.now = before;
        }
    }

    /// Makes a collection smart, with the given rules, or manual; see [`Collection::change_kind`].
    ///
    /// # Errors
    /// With every violation.
    pub fn change_kind(
        &mut self,
        id: &CollectionId,
        to_smart: Option<Rules>,
        limits: &Limits,
    ) -> Result<()> {
        let entry = self.entry(id)?;
        entry.before.get_or_insert_with(|| entry.now.clone());
        entry.now.change_kind(to_smart, limits)
    }

    /// Replaces the rule entries of a smart collection.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn name(
        &mut self,
        tx: &Tx,
        id: &CollectionId,
        before: &Named,
        after: &Named,
    ) -> Result<()> {
        let entry = self.entry(id)?;
        entry.is_touched = true;
        let named = before.products().chain(after.products());
        let changed = named.filter(|it| before.product(it) != after.product(it));
        entry.follow = Some(EvaluationScope::Named(changed.collect()));
        // A job that still removes deleted products from lists must not remove these.
        let included = after.includes.difference(&before.includes);
        let included: Vec<_> = included.cloned().map(ChildId::from).collect();
        jobs::keep(tx, &BTreeMap::from([(id, included)])).await?;
        entries::replace(tx, id, before, after).await
    }

    /// Has the rules of a smart collection evaluated over all products when this is saved, or by a
    /// job if there are more than `max` products.
    pub fn evaluate(&mut self, id: &CollectionId, max: usize) {
        if let Some(entry) = self.collections.get_mut(id) {
            entry.follow = Some(EvaluationScope::All(max));
        }
    }

    /// Has the list of a smart collection replaced, when this is saved, by those of its members and
    /// of the given products that belong to it, which a job has found.
    pub(super) fn finish_evaluation(&mut self, id: &CollectionId, found: BTreeSet<ProductId>) {
        if let Some(entry) = self.collections.get_mut(id) {
            entry.follow = Some(EvaluationScope::Found(found));
        }
    }

    /// Has lists updated, when this is saved, for products that are due. The products must be
    /// locked.
    pub fn follow_time(&mut self, due: Vec<ProductId>) {
        self.due = due;
    }

    /// Applies mutations to one list, in order; see [`Self::mutate_many`].
    ///
    /// # Errors
    /// As for [`Self::mutate_many`].
    pub async fn mutate(
        &mut self,
        tx: &Tx,
        id: &CollectionId,
        list: ChildType,
        mutations: &[&Mutation],
    ) -> Result<Applied> {
        let edits = BTreeMap::from([(id.clone(), mutations.to_vec())]);
        let mut applied = self.mutate_many(tx, list, &edits).await?;
        let applied = applied.remove(id);
        applied.ok_or_else(|| not_locked(id.as_str()))
    }

    /// Applies mutations to lists of one kind, in order, in about as many statements as for one
    /// list. Child collections that join or leave a list get a new version.
    ///
    /// # Errors
    /// If an index or an id does not fit the list in its state at that point; if a collection is
    /// not locked, so that the transaction must start over; if the database fails.
    pub async fn mutate_many(
        &mut self,
        tx: &Tx,
        list: ChildType,
        edits: &Edits<'_>,
    ) -> Result<BTreeMap<CollectionId, Applied>> {
        let pins = self.pins(tx, list, edits).await?;
        if list == ChildType::Product {
            self.record_replaced(tx, edits).await?;
        }
        let targets = edits.iter().map(|(collection, mutations)| {
            Ok(Target {
                collection,
                directory: self.directory(tx, collection, list)?,
                mutations,
                pins: pins.get(collection).map_or(&[], Vec::as_slice),
            })
        });
        let targets = targets.collect::<Result<Vec<_>>>()?;
        let edited = children::mutate(tx, list.into(), &targets).await?;
        let mut applied = BTreeMap::new();
        let mut beside_jobs = BTreeMap::new();
        let (mut moved, mut joined) = (BTreeMap::new(), BTreeMap::new());
        for ((id, mutations), mut edited) in edits.iter().zip(edited) {
            let beside_job = std::mem::take(&mut edited.beside_job);
            let is_smart = list == ChildType::Product && self.is_smart(id);
            if is_smart {
                match edited.moved.take() {
                    Some(some) => drop(moved.insert(id, some)),
                    None => evaluations::set_outdated(tx, id, true).await?,
                }
            }
            if is_smart && beside_job.len() <= MAX_JOINED {
                joined.insert(id, beside_job.clone());
            }
            if list == ChildType::Product && !beside_job.is_empty() {
                beside_jobs.insert(id, beside_job);
            }
            applied.insert(id.clone(), self.note(id, list, mutations, edited)?);
        }
        // Jobs that are still removing these products from these lists must not do so any more.
        jobs::keep(tx, &beside_jobs).await?;
        jobs::recheck_places(tx, &moved, u64::MAX).await?;
        jobs::recheck_places(tx, &joined, MAX_JOINED as u64).await?;
        Ok(applied)
    }

    /// Removes products from lists.
    ///
    /// # Errors
    /// As for [`Self::mutate_many`].
    pub async fn take_out(
        &mut self,
        tx: &Tx,
        leaving: BTreeMap<CollectionId, Vec<ChildId>>,
    ) -> Result<()> {
        let leaving = leaving.into_iter();
        let removals = leaving.map(|(id, products)| (id, Mutation::remove(products)));
        let removals: BTreeMap<_, _> = removals.collect();
        let edits = removals
            .iter()
            .map(|(id, remove)| (id.clone(), vec![remove]));
        let edits = edits.collect();
        self.mutate_many(tx, ChildType::Product, &edits).await?;
        Ok(())
    }

    /// Remembers the old lists of referenced collections before they are replaced, to find out
    /// which products joined and left.
    async fn record_replaced(&mut self, tx: &Tx, edits: &Edits<'_>) -> Result<()> {
        for (id, mutations) in edits {
            let replaces = |it: &&Mutation| matches!(it, Mutation::Replace { .. });
            let is_replaced = mutations.iter().any(replaces);
            if is_replaced && self.is_named(id) && !self.replaced.contains_key(id) {
                let old = Children::uncached(tx, id, ChildType::Product).all().await?;
                self.replaced.insert(id.clone(), old);
            }
        }
        Ok(())
    }

    /// Whether rules of other collections may reference a locked collection.
    pub(super) fn is_named(&self, id: &CollectionId) -> bool {
        match self.collections.get(id) {
            Some(entry) => entry.named,
            None => self.linked.get(id).is_some_and(|it| it.head.named),
        }
    }

    /// The collections whose rules reference this one, which must be locked. Both the rules that a
    /// list follows and the new ones that a job is evaluating count.
    ///
    /// # Errors
    /// If the rules are not locked, so that the transaction must start over; if the database fails.
    pub async fn naming(&self, tx: &Tx, id: &CollectionId) -> Result<Vec<CollectionId>> {
        if !self.is_named(id) {
            return Ok(Vec::new());
        }
        let Some(version) = self.rules_version()? else {
            return Ok(Vec::new());
        };
        let compiled = rules::at(tx, version).await?;
        let mut naming = compiled.set.references().naming(id);
        naming.extend(compiled.pending.naming(id));
        let mut naming: Vec<_> = naming.into_iter().collect();
        // Compiled rules may still contain deleted collections.
        let smart = collections::smart(tx, &naming).await?;
        naming.retain(|it| smart.contains(it));
        Ok(naming)
    }

    /// The version of the rules, or `None` if nothing was ever written in the tenant. Fails if the
    /// rules are not locked.
    pub(super) fn rules_version(&self) -> Result<Option<i64>> {
        match self.rules {
            (RuleLock::None, _) => Err(needs_more_locks(LockSet {
                rules: RuleLock::Shared,
                ..LockSet::default()
            })),
            (_, version) => Ok(version),
        }
    }

    /// The pins of the smart collections among the edited ones.
    async fn pins(
        &self,
        tx: &Tx,
        list: ChildType,
        edits: &Edits<'_>,
    ) -> Result<HashMap<CollectionId, Vec<(ChildId, u64)>>> {
        match list {
            ChildType::Product => {
                let smart: Vec<_> = edits.keys().filter(|id| self.is_smart(id)).collect();
                entries::pins(tx, &smart).await
            }
            ChildType::Collection => Ok(HashMap::new()),
        }
    }

    /// Whether a locked collection was smart before this unit and still is, so that compiled rules
    /// may be its rules: otherwise they can only have those of a deleted collection with its id.
    /// `None` if it is not locked.
    pub(super) fn is_still_smart(&self, id: &CollectionId) -> Option<bool> {
        match self.collections.get(id) {
            Some(entry) => Some(entry.is_still_smart()),
            None => self.linked.get(id).map(|it| it.head.smart),
        }
    }

    fn is_smart(&self, id: &CollectionId) -> bool {
        match self.collections.get(id) {
            Some(entry) => entry.now.kind.is_smart(),
            None => self.linked.get(id).is_some_and(|it| it.head.smart),
        }
    }

    /// The current directory of a list, if it is known.
    fn directory(
        &mut self,
        tx: &Tx,
        id: &CollectionId,
        list: ChildType,
    ) -> Result<Option<Directory>> {
        let version = match self.collections.get(id) {
            Some(entry) => entry.version,
            None => self.linked.get(id).map(|linked| linked.head.version),
        };
        let now = self.lists(id)?.now.iter().find(|(of, _)| *of == list);
        Ok(match (now, version) {
            (Some((_, directory)), _) => Some(Directory::clone(directory)),
            (None, Some(version)) => Children::at(tx, id, list, version).cached_directory(),
            // The collection was created in this unit, so its list is empty.
            (None, None) => Some(Directory::default()),
        })
    }

    /// Records the result of editing a list.
    fn note(
        &mut self,
        id: &CollectionId,
        list: ChildType,
        mutations: &[&Mutation],
        edited: Edited,
    ) -> Result<Applied> {
        if list == ChildType::Collection {
            let left = match &edited.left {
                Left::These(left) => left.as_slice(),
                Left::All => &[],
            };
            for child in edited.joined.iter().chain(left) {
                self.link(&child.clone().into())?;
            }
        }
        if edited.changed {
            if let Some(entry) = self.collections.get_mut(id) {
                match list {
                    ChildType::Product => entry.now.product_count = edited.len,
                    ChildType::Collection => entry.now.collection_count = edited.len,
                }
            }
            let lists = self.lists(id)?;
            lists.now.retain(|(other, _)| *other != list);
            lists.now.push((list, edited.directory));
            let mutations = mutations.iter().map(|mutation| (*mutation).clone());
            lists.mutated.push(Mutated {
                list,
                mutations: mutations.collect(),
                joined: edited.joined.clone(),
                left: edited.left,
            });
        }
        Ok(Applied {
            outcomes: edited.outcomes,
            joined: edited.joined,
            rows_written: edited.rows_written,
        })
    }

    /// Records that a collection gained or lost a parent.
    fn link(&mut self, id: &CollectionId) -> Result<()> {
        let lists = self.lists(id).map_err(|_| not_locked(id.as_str()))?;
        lists.is_linked = true;
        Ok(())
    }

    /// Deletes a collection and its lists. It must have been removed from its parents' lists.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn delete(
        &mut self,
        tx: &Tx,
        id: &CollectionId,
        children: &[CollectionId],
    ) -> Result<()> {
        let entry = self.collections.remove(id);
        let entry = entry.ok_or_else(|| not_locked(id.as_str()))?;
        // Read before the rows are deleted: rules that reference the collection must still see
        // which products leave it.
        if entry.named {
            let old = Children::uncached(tx, id, ChildType::Product).all().await?;
            self.replaced.insert(id.clone(), old);
            tx.with_ledger(|ledger| ledger.names_missing = true);
        }
        for child in children {
            self.link(child)?;
        }
        children::clear(tx, id, None).await?;
        children::unswitch(tx, id).await?;
        if entry.now.kind.is_smart() {
            entries::clear(tx, id).await?;
        }
        collections::delete(tx, id).await?;
        tx.note(Change::CollectionDeleted(Box::new(entry.now)));
        Ok(())
    }

    /// Inserts or updates products, except those that did not change.
    ///
    /// # Errors
    /// If another transaction registered one of them in the meantime, so that this one must start
    /// over; if a job is still deleting one of them; if the database fails.
    pub async fn put_products(&self, tx: &Tx, products: &[Product]) -> Result<()> {
        let is_changed = |product: &&Product| self.products.get(&product.id) != Some(product);
        let products = || products.iter().filter(is_changed);
        let (old, new): (Vec<_>, Vec<_>) =
            products().partition(|product| self.products.contains_key(&product.id));
        if !new.is_empty() {
            let ids: Vec<_> = new.iter().map(|product| &product.id).collect();
            if let Some(id) = jobs::deleting(tx, &ids).await? {
                return Err(being_deleted(&id));
            }
        }
        products::insert(tx, &new).await?;
        products::update(tx, &old).await?;
        for product in products() {
            let before = self.products.get(&product.id).cloned();
            tx.note(Change::ProductUpserted {
                before: before.map(Box::new),
                after: Box::new(product.clone()),
            });
        }
        Ok(())
    }

    /// Deletes all products that were locked. Includes of any product in `ids` are suspended until
    /// the product is registered again.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn delete_products(&self, tx: &Tx, ids: &[ProductId]) -> Result<()> {
        // Before any rules are written, there can be no rule entries.
        if self
            .rules
            .1
            .is_some_and(|version| version > rules::FIRST_VERSION)
        {
            entries::suspend(tx, ids).await?;
            jobs::recheck(tx, ids).await?;
        }
        let ids: Vec<_> = self.products.keys().cloned().collect();
        products::delete(tx, &ids).await?;
        for id in ids {
            tx.note(Change::ProductDeleted(id));
        }
        Ok(())
    }

    /// Updates the lists of smart collections for everything that changed, and writes properties,
    /// counts and versions. Returns the collections that were locked for all changes, in their new
    /// state.
    ///
    /// # Errors
    /// [`Reason::SlugTaken`], [`Reason::EvaluationTooLarge`]; if the transaction must start over
    /// and lock more; if the database fails.
    pub async fn save(
        mut self,
        tx: &Tx,
        default_locale: &Locale,
    ) -> Result<BTreeMap<CollectionId, Collection>> {
        let failed = |cause| {
            move |error: &Error| {
                if !is_retryable(error) {
                    metrics::evaluation_failed(cause, error);
                }
            }
        };
        let followed = self.follow_products(tx).await;
        followed.inspect_err(failed(EvaluationCause::Product))?;
        let followed = self.follow_rules(tx).await;
        followed.inspect_err(failed(EvaluationCause::Rules))?;
        let mut saved = BTreeMap::new();
        let mut counts_updates = Vec::new();
        for (id, entry) in self.collections {
            saved.insert(
                id,
                entry.save(tx, default_locale, &mut counts_updates).await?,
            );
        }
        let linked = self.linked.into_values();
        counts_updates.extend(linked.filter_map(|linked| linked.save(tx)));
        collections::update_counts(tx, &counts_updates)?;
        Ok(saved)
    }

    /// The changes of a collection's lists.
    fn lists(&mut self, id: &CollectionId) -> Result<&mut Lists> {
        let lists = match self.collections.get_mut(id) {
            Some(entry) => Some(&mut entry.lists),
            None => self.linked.get_mut(id).map(|linked| &mut linked.lists),
        };
        lists.ok_or_else(|| needs_more_locks(LockSet::of(id)))
    }

    pub(super) fn entry(&mut self, id: &CollectionId) -> Result<&mut Entry> {
        // The collection did not exist when the others were locked, but does now.
        let entry = self.collections.get_mut(id);
        entry.ok_or_else(|| needs_more_locks(LockSet::of(id)))
    }
}

/// The error of registering a product that a job is still removing from lists.
fn being_deleted(id: &ProductId) -> Error {
    let message = format!("product {id:?} is being deleted from very many collections; try again");
    Error::new(Reason::Overloaded, message).about_product(id.as_str())
}

/// An internal error: something is changed that was not locked.
fn not_locked(what: &str) -> Error {
    Error::internal(format!("{what} was changed without a lock"))
}
