//! Changing a collection: properties, parents and children, all or nothing.

use std::collections::BTreeSet;

use futures::FutureExt as _;

use super::{
    Answer, Detail, Include, Retry, Service, Settings, detail, lineage_of, links, products,
};
use crate::{
    domain::{
        Caller, Changes, ChildId, ChildType, Collection, CollectionId, Error, Etag, Mutation,
        Outcome, Result, children as domain_children,
        collection::{not_for_smart, root_immutable},
    },
    store::{
        Mode, Tx,
        children::{self, Applied, Children, Relinked},
        collections, tenants,
    },
};

/// Asks for changes of a collection.
#[derive(Clone, Debug)]
pub struct UpdateCollection {
    /// Which collection.
    pub id: CollectionId,
    /// What changes of its properties.
    pub changes: Changes,
    /// What it stands under from now on; none to leave its parents.
    pub parents: Option<BTreeSet<CollectionId>>,
    /// What changes in its lists, in order.
    pub mutations: Vec<ChildMutation>,
    /// The version that must be current.
    pub etag: Option<Etag>,
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
}

impl UpdateCollection {
    /// An update of the collection that changes nothing yet.
    pub fn of(id: CollectionId) -> Self {
        Self {
            id,
            changes: Changes::default(),
            parents: None,
            mutations: Vec::new(),
            etag: None,
            validate_only: false,
            include: Include::default(),
            retry: None,
        }
    }

    /// Whether a link between collections may come to be.
    fn links(&self) -> bool {
        let mutates = |m: &ChildMutation| m.list == ChildType::Collection;
        self.parents.is_some() || self.mutations.iter().any(mutates)
    }
}

impl Service {
    /// Changes a collection. Its etag moves only where something is different
    /// afterwards.
    ///
    /// # Errors
    /// Where the caller may not; where the tenant has no such collection, the etag
    /// is not current, a change breaks rules, an index or an id does not fit the
    /// list, or a link would make a circle; where the store fails.
    pub async fn update_collection(
        &self,
        caller: &Caller,
        command: UpdateCollection,
    ) -> Result<Answer<Updated>> {
        let writing = caller.writing_to(&command.id)?;
        self.settings.check_locales(&command.changes)?;
        let mode = if command.validate_only {
            Mode::DryRun
        } else {
            Mode::Commit
        };
        let retry = command.retry.as_ref();
        self.write(&writing, mode, &command, retry, |tx, command, settings| {
            run(tx, command, settings).boxed()
        })
        .await
    }
}

async fn run(tx: &Tx, command: &UpdateCollection, settings: &Settings) -> Result<Updated> {
    let mutations: Vec<_> = command.mutations.iter().map(|m| &m.mutation).collect();
    domain_children::check(&mutations, &settings.limits)?;

    let before = lock(tx, command, settings).await?;
    let mut collection = before.clone();
    collection.apply(
        command.changes.clone(),
        &settings.default_locale,
        &settings.limits,
    )?;
    let mut changed = false;
    if let Some(parents) = &command.parents {
        changed |= reparent(tx, &collection, parents, settings).await?;
    }
    let mut outcomes = vec![Outcome::default(); command.mutations.len()];
    let mut mutated = Vec::new();
    for list in [ChildType::Product, ChildType::Collection] {
        let applied = mutate(tx, &mut collection, list, command, settings, &mut outcomes).await?;
        if let Some(applied) = applied {
            changed |= applied.changed;
            mutated.push((list, applied));
        }
    }
    let properties_changed = Collection {
        product_count: before.product_count,
        collection_count: before.collection_count,
        ..collection.clone()
    } != before;
    if changed || properties_changed {
        collection.touch(tx.now);
    }
    if properties_changed {
        collection = collections::update(tx, collection, &settings.default_locale).await?;
    } else if changed {
        collections::update_counts(tx, &collection).await?;
    }
    let rows_written = mutated
        .iter()
        .map(|(_, applied)| applied.rows_written)
        .sum();
    children::remember(tx, before.version, &collection, mutated);
    Ok(Updated {
        detail: detail(tx, collection, command.include).await?,
        outcomes,
        rows_written,
    })
}

/// The collection, locked and at the version that is asked for.
async fn lock(tx: &Tx, command: &UpdateCollection, settings: &Settings) -> Result<Collection> {
    if command.id.is_root() {
        tenants::ensure(tx, &settings.default_locale).await?;
    }
    if command.links() {
        tenants::lock_graph(tx).await?;
    }
    let collection = collections::lock(tx, &command.id)
        .await?
        .ok_or_else(|| Error::collection_not_found(command.id.as_str()))?;
    if let Some(etag) = command.etag {
        etag.expect(collection.etag(), command.id.as_str())?;
    }
    Ok(collection)
}

/// Puts the collection under exactly these parents. Whether that changed anything.
async fn reparent(
    tx: &Tx,
    collection: &Collection,
    parents: &BTreeSet<CollectionId>,
    settings: &Settings,
) -> Result<bool> {
    let id = &collection.id;
    let old: BTreeSet<_> = lineage_of(tx, id).await?.parents.into_iter().collect();
    if old == *parents {
        return Ok(false);
    }
    if id.is_root() {
        return Err(root_immutable(id, "has no parent"));
    }
    let all: Vec<_> = old.union(parents).cloned().collect();
    let new: Vec<_> = parents.iter().cloned().collect();
    links::check(tx, &new, std::slice::from_ref(id), settings).await?;
    // Those left were parents, so they exist; the limit is for those that remain.
    links::lock_parents(tx, &new, settings).await?;
    let locked = collections::lock_many(tx, &all).await?;
    let (joined, left): (Vec<_>, Vec<_>) = locked
        .into_iter()
        .filter(|parent| old.contains(&parent.id) != parents.contains(&parent.id))
        .partition(|parent| parents.contains(&parent.id));
    links::relink(tx, left, id, false).await?;
    links::relink(tx, joined, id, true).await?;
    Ok(true)
}

/// Applies the mutations of one list, where there are any.
async fn mutate(
    tx: &Tx,
    collection: &mut Collection,
    list: ChildType,
    command: &UpdateCollection,
    settings: &Settings,
    outcomes: &mut [Outcome],
) -> Result<Option<Applied>> {
    let (places, mutations): (Vec<usize>, Vec<&Mutation>) = command
        .mutations
        .iter()
        .enumerate()
        .filter(|(_, m)| m.list == list)
        .map(|(at, m)| (at, &m.mutation))
        .unzip();
    if mutations.is_empty() {
        return Ok(None);
    }
    match list {
        ChildType::Product if collection.kind.is_smart() => {
            return Err(not_for_smart(&collection.id));
        }
        ChildType::Product => {
            let added = mutations.iter().flat_map(|mutation| mutation.candidates());
            let added: Vec<_> = added.cloned().collect();
            products::check_known(tx, settings, &added).await?;
        }
        ChildType::Collection => {
            check_candidates(tx, collection, &mutations, settings).await?;
        }
    }
    let applied = Children::of(tx, collection, list)
        .mutate(&mutations)
        .await?;
    for (at, outcome) in places.into_iter().zip(&applied.outcomes) {
        outcomes[at] = outcome.clone();
    }
    match list {
        ChildType::Product => collection.product_count = applied.len,
        ChildType::Collection => {
            let Relinked { added, removed } = &applied.relinked;
            links::check_parent_counts(tx, added, settings).await?;
            let relinked = added.iter().chain(removed).cloned();
            let relinked: Vec<_> = relinked.map(CollectionId::from).collect();
            collections::touch(tx, &relinked).await?;
            collection.collection_count = applied.len;
        }
    }
    Ok(Some(applied))
}

/// Checks that collections which may become children exist and may.
async fn check_candidates(
    tx: &Tx,
    parent: &Collection,
    mutations: &[&Mutation],
    settings: &Settings,
) -> Result<()> {
    let candidates: BTreeSet<ChildId> = mutations
        .iter()
        .flat_map(|mutation| mutation.candidates())
        .cloned()
        .collect();
    if candidates.is_empty() {
        return Ok(());
    }
    let candidates: Vec<_> = candidates.into_iter().map(CollectionId::from).collect();
    let found = collections::get_many(tx, &candidates).await?;
    if found.len() < candidates.len() {
        let found: BTreeSet<_> = found.iter().map(|c| &c.id).collect();
        if let Some(id) = candidates.iter().find(|id| !found.contains(id)) {
            return Err(links::no_child(id));
        }
    }
    links::check(tx, std::slice::from_ref(&parent.id), &candidates, settings).await
}
