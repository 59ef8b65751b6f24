//! Creates a collection, under its parents and with its products. If the tenant does not exist yet,
//! this creates it with its roots.

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

/// A request to create a collection.
#[derive(Clone, Debug)]
pub struct CreateCollection {
    /// The properties of the collection.
    pub draft: Draft,
    /// Its parents.
    pub parents: Parents,
    /// Its products, in order.
    pub products: Vec<ProductId>,
    /// What to include in the response.
    pub include: Include,
    /// How to recognise and answer a retry; `None` without an idempotency key.
    pub retry: Option<Retry<Detail>>,
}

/// The parents of a new collection.
#[derive(Clone, Debug)]
pub enum Parents {
    /// The root of navigable collections.
    Root,
    /// No parent.
    None,
    /// The given collections.
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

    /// The mutation that adds the products, if there are any.
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

/// Creates a collection with its links and products, all or nothing.
///
/// # Errors
/// If the draft is invalid, if the id or the slug is taken, or if a parent does not exist.
impl Command for CreateCollection {
    const NAME: &str = "CreateCollection";

    type Response = Detail;

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

    fn awaits_rules<'a>(&self, response: &'a mut Detail) -> Option<(&'a mut Detail, Include)> {
        Some((response, self.include))
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
        // Only the depth and the parents matter here: a new collection has no children, so no cycle
        // is possible.
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
