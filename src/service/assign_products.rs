//! Adds products to several collections at once, removes them, or moves them from one collection to
//! others. Only manual collections can be named, because rules determine the rest.

use std::collections::BTreeSet;

use super::{Command, ProductDetail, Retry, Settings, products};
use crate::{
    domain::{
        Caller, ChildId, ChildType, CollectionId, Error, FieldPath, Mutation, ProductId, Reason,
        Result, Violations, Writing, children as domain_children,
    },
    store::{
        Tx,
        lock::{LockSet, Locked},
    },
};

/// Appends products to each of the collections, in the given order, or removes them. Products that
/// are already in a list keep their positions. The result has the products if `return_products` is
/// set, else it is empty.
#[derive(Clone, Debug)]
pub struct AssignProducts {
    /// The products.
    pub products: Vec<ProductId>,
    /// The collections.
    pub collections: Vec<CollectionId>,
    /// What to do.
    pub assignment: Assignment,
    /// Whether to return the products with their collections.
    pub return_products: bool,
    /// How to recognise and answer a retry; `None` without an idempotency key.
    pub retry: Option<Retry<Vec<ProductDetail>>>,
}

/// What happens to the products in the given collections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assignment {
    /// They are added.
    Link,
    /// They are removed.
    Unlink,
    /// They are added, and removed from another collection, which must contain each of them, or
    /// from all others.
    Move {
        /// The collection to remove them from; `None` for all.
        from: Option<CollectionId>,
    },
}

/// # Errors
/// If a collection does not exist or is smart, or a product is not in the collection that it is to
/// be removed from.
impl Command for AssignProducts {
    const NAME: &str = "AssignProducts";

    type Response = Vec<ProductDetail>;

    fn authorize(&self, caller: &Caller) -> Result<Writing> {
        caller.writing()
    }

    fn check(&self, settings: &Settings) -> Result<()> {
        let mut violations = Violations::default();
        let count = self.collections.len();
        violations.count(FieldPath::CollectionIds, count, settings.limits.ids);
        violations.finish()?;
        domain_children::check(&[&Mutation::append(self.children())], &settings.limits)
    }

    fn retry(&self) -> Option<&Retry<Vec<ProductDetail>>> {
        self.retry.as_ref()
    }

    async fn run(&self, tx: &Tx, settings: &Settings) -> Result<Vec<ProductDetail>> {
        // Without a target, products that are to be moved stay where they are.
        if !self.collections.is_empty() {
            let ends = self.ends();
            let (mut locked, left) = self.lock(tx, &ends, settings).await?;
            let remove = Mutation::remove(self.children());
            let append = Mutation::append(self.children());
            let left = left.difference(&ends.joined);
            let left = left.map(|id| (id.clone(), vec![&remove]));
            let joined = ends.joined.iter().map(|id| (id.clone(), vec![&append]));
            let edits = left.chain(joined).collect();
            let list = ChildType::Product;
            locked.mutate_many(tx, list, &edits).await?;
            locked.save(tx, &settings.default_locale).await?;
        }
        if self.return_products {
            products::details(tx, self.products.clone()).await
        } else {
            Ok(Vec::new())
        }
    }
}

/// The given collections, by what happens to them.
struct Ends {
    left: BTreeSet<CollectionId>,
    joined: BTreeSet<CollectionId>,
}

impl AssignProducts {
    fn children(&self) -> Vec<ChildId> {
        self.products.iter().cloned().map(ChildId::from).collect()
    }

    fn ends(&self) -> Ends {
        let named: BTreeSet<_> = self.collections.iter().cloned().collect();
        let (left, joined) = match &self.assignment {
            Assignment::Link | Assignment::Move { from: None } => (BTreeSet::new(), named),
            Assignment::Unlink => (named, BTreeSet::new()),
            Assignment::Move { from: Some(from) } => (BTreeSet::from([from.clone()]), named),
        };
        Ends { left, joined }
    }

    /// Whether the products are removed from all collections that contain them.
    fn leaves_all(&self) -> bool {
        self.assignment == Assignment::Move { from: None }
    }

    /// The collections to remove the products from, including those that the request does not name.
    async fn left(
        &self,
        tx: &Tx,
        mut named: BTreeSet<CollectionId>,
    ) -> Result<BTreeSet<CollectionId>> {
        if self.leaves_all() {
            let listed = products::collections_of(tx, &self.products).await?;
            named.extend(listed.into_values().flatten());
        }
        Ok(named)
    }

    /// Locks everything that changes, and checks that the given collections exist and are manual.
    /// Also returns the collections to remove the products from.
    async fn lock(
        &self,
        tx: &Tx,
        ends: &Ends,
        settings: &Settings,
    ) -> Result<(Locked, BTreeSet<CollectionId>)> {
        let is_joined = !ends.joined.is_empty();
        let plan = || async {
            let left = self.left(tx, ends.left.clone()).await?;
            let mut set = LockSet {
                collections: left.union(&ends.joined).cloned().collect(),
                ..LockSet::default()
            };
            if is_joined {
                set.registered = products::to_check(settings, self.products.iter().cloned());
            }
            if self.leaves_all() {
                products::lock_whole(tx, &mut set, &self.products).await?;
            }
            Ok((set, left))
        };
        let (locked, left) = if self.leaves_all() {
            tx.lock_memberships(plan).await?
        } else {
            let (set, left) = plan().await?;
            (tx.lock(set).await?, left)
        };
        // Membership in a smart collection follows from its rules, so it is not removed there.
        let mut left = left;
        left.retain(|id| {
            ends.left.contains(id) || locked.get(id).is_none_or(|it| !it.kind.is_smart())
        });
        products::check_no_root(ends.joined.iter())?;
        products::check_lists(ends.left.union(&ends.joined), &locked)?;
        if let Assignment::Move { from: Some(from) } = &self.assignment {
            check_there(tx, from, &self.products).await?;
        }
        products::check_registered(&locked)?;
        Ok((locked, left))
    }
}

/// Checks that a locked collection contains each of the products.
async fn check_there(tx: &Tx, from: &CollectionId, products: &[ProductId]) -> Result<()> {
    let now = products::collections_of(tx, products).await?;
    let has = |id: &&ProductId| now.get(*id).is_some_and(|has| has.contains(from));
    match products.iter().find(|id| !has(id)) {
        None => Ok(()),
        Some(id) => Err(Error::new(
            Reason::ChildNotInList,
            format!("product {id:?} is not in collection {from:?}"),
        )
        .about_product(id.as_str())),
    }
}
