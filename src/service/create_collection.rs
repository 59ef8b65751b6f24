//! Creating a collection.

use std::collections::BTreeSet;

use futures::FutureExt as _;

use super::{Answer, Detail, Include, Retry, Service, Settings, detail, links, products};
use crate::{
    domain::{
        Caller, ChildId, ChildType, Collection, CollectionId, Draft, Mutation, Result,
        children as domain_children, collection::not_for_smart,
    },
    store::{Mode, Tx, children::Children, collections, tenants},
};

/// Asks for a new collection.
#[derive(Clone, Debug)]
pub struct CreateCollection {
    /// Its properties.
    pub draft: Draft,
    /// What it stands under.
    pub parents: Parents,
    /// Its products, in order.
    pub products: Vec<ChildId>,
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

impl Service {
    /// Creates a collection, with its links and products, or nothing.
    ///
    /// # Errors
    /// Where the caller may not; where the draft breaks rules, the id or the slug
    /// is taken, or a parent does not exist; where the store fails.
    pub async fn create_collection(
        &self,
        caller: &Caller,
        command: CreateCollection,
    ) -> Result<Answer<Detail>> {
        let writing = caller.writing()?;
        self.settings.check_locales(&command.draft.changes)?;
        let retry = command.retry.as_ref();
        self.write(
            &writing,
            Mode::Commit,
            &command,
            retry,
            |tx, command, settings| run(tx, command, settings).boxed(),
        )
        .await
    }
}

async fn run(tx: &Tx, command: &CreateCollection, settings: &Settings) -> Result<Detail> {
    let locale = &settings.default_locale;
    let draft = command.draft.clone();
    let collection = Collection::create(draft, tx.now, locale, &settings.limits)?;
    tenants::ensure(tx, locale).await?;
    // Locks the tenant's row, which others lock before collections too.
    tenants::add_collection(tx, settings.limits.collections).await?;

    let parents: Vec<CollectionId> = match &command.parents {
        Parents::Root => vec![CollectionId::root()],
        Parents::None => Vec::new(),
        Parents::Under(parents) => parents.iter().cloned().collect(),
    };
    let locked = links::lock_parents(tx, &parents, settings).await?;
    let mut collection = collections::insert(tx, collection, locale).await?;
    // It has no children, so nothing can be its own ancestor through it.
    links::check(tx, &parents, std::slice::from_ref(&collection.id), settings).await?;
    links::relink(tx, locked, &collection.id, true).await?;

    if !command.products.is_empty() {
        if collection.kind.is_smart() {
            return Err(not_for_smart(&collection.id));
        }
        let append = Mutation::append(command.products.clone());
        domain_children::check(&[&append], &settings.limits)?;
        products::check_known(tx, settings, &command.products).await?;
        let list = Children::of(tx, &collection, ChildType::Product);
        collection.product_count = list.mutate(&[&append]).await?.len;
        collections::update_counts(tx, &collection).await?;
    }
    detail(tx, collection, command.include).await
}
