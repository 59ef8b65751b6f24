//! Putting products into several collections at once, and taking them out.

use std::collections::BTreeSet;

use futures::FutureExt as _;

use super::{Answer, ProductDetail, Retry, Service, Settings, links, products};
use crate::{
    domain::{
        Caller, ChildId, ChildType, Collection, CollectionId, Error, FieldPath, Mutation, Reason,
        Result, Violations, children as domain_children,
    },
    store::{Mode, Tx, collections},
};

/// Asks for products to be in collections, or not to be.
#[derive(Clone, Debug)]
pub struct AssignProducts {
    /// Which products.
    pub products: Vec<ChildId>,
    /// Which collections.
    pub collections: Vec<CollectionId>,
    /// What to do.
    pub assignment: Assignment,
    /// Whether to answer the products with their collections.
    pub tell: bool,
    /// Under which a retry is recognised.
    pub retry: Option<Retry<Vec<ProductDetail>>>,
}

/// What becomes of products and the collections named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assignment {
    /// They join them.
    Link,
    /// They leave them.
    Unlink,
    /// They join them, and leave another, which must have each of them, or all others.
    Move {
        /// The one to leave; none to leave all.
        from: Option<CollectionId>,
    },
}

impl Service {
    /// Puts products at the end of each of the collections, in the order given, or takes
    /// them out. Those that are there already stay where they are. Answers the products
    /// where that is asked for, else none.
    ///
    /// # Errors
    /// Where the caller may not; where a collection does not exist or is smart, or a product
    /// is not in the one that it is to leave; where a limit does not hold; where the store
    /// fails.
    pub async fn assign_products(
        &self,
        caller: &Caller,
        command: AssignProducts,
    ) -> Result<Answer<Vec<ProductDetail>>> {
        let writing = caller.writing()?;
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

async fn run(tx: &Tx, command: &AssignProducts, settings: &Settings) -> Result<Vec<ProductDetail>> {
    let append = Mutation::append(command.products.clone());
    let mut violations = Violations::default();
    let count = command.collections.len();
    violations.count(FieldPath::CollectionIds, count, settings.limits.ids);
    violations.finish()?;
    domain_children::check(&[&append], &settings.limits)?;
    // What is to be moved nowhere stays.
    if !command.collections.is_empty() {
        let (leaving, joining) = lock(tx, command, settings).await?;
        let remove = Mutation::remove(command.products.clone());
        links::relist_all(tx, leaving, ChildType::Product, &remove).await?;
        links::relist_all(tx, joining, ChildType::Product, &append).await?;
    }
    if command.tell {
        products::details(tx, command.products.clone()).await
    } else {
        Ok(Vec::new())
    }
}

/// The collections that the products leave, and those that they join, locked; all that is
/// named must exist and be manual.
async fn lock(
    tx: &Tx,
    command: &AssignProducts,
    settings: &Settings,
) -> Result<(Vec<Collection>, Vec<Collection>)> {
    let named: BTreeSet<_> = command.collections.iter().cloned().collect();
    let (left, joined) = match &command.assignment {
        Assignment::Link | Assignment::Move { from: None } => (BTreeSet::new(), named),
        Assignment::Unlink => (named, BTreeSet::new()),
        Assignment::Move { from: Some(from) } => (BTreeSet::from([from.clone()]), named),
    };
    let meant: Vec<_> = left.union(&joined).cloned().collect();
    let locked = match command.assignment {
        Assignment::Move { from: None } => lock_with_all(tx, &joined, &command.products).await?,
        Assignment::Link | Assignment::Unlink | Assignment::Move { from: Some(_) } => {
            collections::lock_many(tx, &meant).await?
        }
    };
    products::check_lists(meant.iter(), &locked)?;
    if let Assignment::Move { from: Some(from) } = &command.assignment {
        check_there(tx, from, &command.products).await?;
    }
    if !joined.is_empty() {
        products::check_known(tx, settings, &command.products).await?;
    }
    let is_left = |collection: &Collection| !joined.contains(&collection.id);
    Ok(locked.into_iter().partition(is_left))
}

/// The collections to join and all others that have one of the products, locked. One may
/// have got a product before the others were locked, so they are looked up again.
async fn lock_with_all(
    tx: &Tx,
    joined: &BTreeSet<CollectionId>,
    products: &[ChildId],
) -> Result<Vec<Collection>> {
    let mut locked = Vec::new();
    for _ in 0..2 {
        let now = products::collections_of(tx, products).await?;
        let all = now.into_values().flatten().chain(joined.iter().cloned());
        let all: BTreeSet<_> = all.collect();
        let all: Vec<_> = all.into_iter().collect();
        locked = collections::lock_many(tx, &all).await?;
    }
    Ok(locked)
}

/// Checks that the collection, which is locked, has each of the products.
async fn check_there(tx: &Tx, from: &CollectionId, products: &[ChildId]) -> Result<()> {
    let now = products::collections_of(tx, products).await?;
    let has = |id: &&ChildId| now.get(*id).is_some_and(|has| has.contains(from));
    match products.iter().find(|id| !has(id)) {
        None => Ok(()),
        Some(id) => Err(Error::new(
            Reason::ChildNotInList,
            format!("product {id:?} is not in collection {from:?}"),
        )
        .about(id.as_str())),
    }
}
