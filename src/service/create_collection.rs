//! Creating a collection.

use std::collections::{BTreeMap, BTreeSet};

use super::{Command, Detail, Include, Retry, Settings, detail, links, products};
use crate::{
    domain::{
        Caller, ChildId, ChildType, Collection, CollectionId, Draft, Mutation, ProductId, Result,
        Timestamp, Writing, children as domain_children, collection::not_for_smart,
    },
    store::{
        Tx,
        lock::{LockSet, RuleLock},
        tenants,
    },
};

/// Asks for a new collection.
#[derive(Clone, Debug)]
pub struct CreateCollection {
    /// Its properties.
    pub draft: Draft,
    /// What it stands under.
    pub parents: Parents,
    /// Its products, in order.
    pub products: Vec<ProductId>,
    /// Which of its lists to answer whole.
    pub include: Include,
    /// Under which a retry is recognised.
    pub retry: Option<Retry<Detail>>,
}

/// What a new collection stands under.
#[derive(Clone, Debug)]
pub enum Parents {
    /// The root of navigable collections.
    Root,
    /// Nothing.
    None,
    /// These.
    Under(BTreeSet<CollectionId>),
}

impl CreateCollection {
    fn parents(&self) -> Vec<CollectionId> {
        match &self.parents {
            Parents::Root => vec![CollectionId::root()],
            Parents::None => Vec::new(),
            Parents::Under(parents) => parents.iter().cloned().collect(),
        }
    }

    /// The products, added to the list of a collection that has none.
    fn append(&self) -> Option<Mutation> {
        let products = self.products.iter().cloned();
        let products: Vec<ChildId> = products.map(ChildId::from).collect();
        (!products.is_empty()).then(|| Mutation::append(products))
    }

    fn collection(&self, now: Timestamp, settings: &Settings) -> Result<Collection> {
        let draft = self.draft.clone();
        Collection::create(draft, now, &settings.default_locale, &settings.limits)
    }
}

/// Creates a collection, with its links and products, or nothing.
///
/// # Errors
/// Where the draft breaks rules, the id or the slug is taken, or a parent does not exist.
impl Command for CreateCollection {
    const NAME: &str = "CreateCollection";

    type Answer = Detail;

    fn authorize(&self, caller: &Caller) -> Result<Writing> {
        caller.writing()
    }

    fn check(&self, settings: &Settings) -> Result<()> {
        settings.check_locales(&self.draft.changes)?;
        let collection = self.collection(Timestamp::now(), settings)?;
        links::check_count(self.parents().len(), settings)?;
        if let Some(append) = self.append() {
            if collection.kind.is_smart() {
                return Err(not_for_smart(&collection.id));
            }
            domain_children::check(&[&append], &settings.limits)?;
        }
        Ok(())
    }

    fn retry(&self) -> Option<&Retry<Detail>> {
        self.retry.as_ref()
    }

    fn awaits_rules<'a>(&self, answer: &'a mut Detail) -> Option<(&'a mut Detail, Include)> {
        Some((answer, self.include))
    }

    async fn run(&self, tx: &Tx, settings: &Settings) -> Result<Detail> {
        let locale = &settings.default_locale;
        let collection = self.collection(tx.now, settings)?;
        let (id, parents) = (collection.id.clone(), self.parents());
        tenants::ensure_locked(tx, settings.root_names, locale).await?;
        let set = LockSet {
            graph: true,
            rules: if collection.kind.is_smart() {
                RuleLock::Exclusive
            } else {
                RuleLock::None
            },
            collections: parents.iter().cloned().collect(),
            registered: products::to_check(settings, self.products.iter().cloned()),
            ..LockSet::default()
        };
        let mut locked = tx.lock(set).await?;
        links::check_exist(parents.iter(), &locked)?;
        locked
            .create(tx, collection, locale, &settings.limits)
            .await?;
        // It has no children, so nothing can be its own ancestor through it.
        links::check(tx, &parents, std::slice::from_ref(&id), settings).await?;
        links::change(tx, &mut locked, [], &parents, &id).await?;
        if let Some(append) = self.append() {
            products::check_registered(&locked)?;
            locked
                .mutate(tx, &id, ChildType::Product, &[&append])
                .await?;
        }
        let mut saved: BTreeMap<_, _> = locked.save(tx, locale).await?;
        let collection = super::taken(&mut saved, &id)?;
        settings.memory.try_reserve(collection.size())?;
        detail(tx, collection, self.include).await
    }
}
