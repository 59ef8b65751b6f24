//! Deletes products and removes them from all lists: in the same transaction, or by a job
//! ([`super::jobs`]) if the lists are too many.

use std::collections::{BTreeMap, BTreeSet};

use super::{Command, Retry, Settings, products};
use crate::{
    domain::{
        Caller, ChildId, ChildType, CollectionId, Constraint, FieldPath, ProductId, Result,
        Violations, Writing, product::not_found,
    },
    store::{
        Tx, children, jobs,
        lock::{LockSet, RuleLock},
    },
};

/// Deletes products and removes them from all collections, all or nothing. Returns the ids that did
/// not exist, in ascending order. If very many lists contain them, a job removes them after the
/// response.
#[derive(Clone, Debug)]
pub struct DeleteProducts {
    /// The products.
    pub ids: Vec<ProductId>,
    /// Whether an id that is neither registered nor in any collection is an error.
    pub known_only: bool,
    /// How to recognise and answer a retry; `None` without an idempotency key.
    pub retry: Option<Retry<Vec<ProductId>>>,
}

impl Command for DeleteProducts {
    const NAME: &str = "DeleteProducts";

    type Response = Vec<ProductId>;

    fn authorize(&self, caller: &Caller) -> Result<Writing> {
        caller.writing()
    }

    fn check(&self, settings: &Settings) -> Result<()> {
        let mut violations = Violations::default();
        if self.ids.is_empty() {
            violations.add(FieldPath::Ids, "", Constraint::Empty);
        }
        violations.count(FieldPath::Ids, self.ids.len(), settings.limits.ids);
        violations.finish()
    }

    fn retry(&self) -> Option<&Retry<Vec<ProductId>>> {
        self.retry.as_ref()
    }

    async fn run(&self, tx: &Tx, settings: &Settings) -> Result<Vec<ProductId>> {
        let ids: BTreeSet<_> = self.ids.iter().cloned().collect();
        let ids: Vec<_> = ids.into_iter().collect();
        if products::are_in_more_lists(tx, &ids, settings.limits.lists).await? {
            return self.leave(tx, ids).await;
        }
        let plan = || async {
            let listed = products::collections_of(tx, &ids).await?;
            let lists: BTreeSet<_> = listed.values().flatten().cloned().collect();
            let set = LockSet {
                linked: lists,
                products: ids.iter().cloned().collect(),
                rules: RuleLock::Shared,
                ..LockSet::default()
            };
            Ok((set, listed))
        };
        let (mut locked, listed) = tx.lock_memberships(plan).await?;
        let missing =
            |id: &&ProductId| !locked.products().contains_key(*id) && !listed.contains_key(*id);
        let missing: Vec<_> = ids.iter().filter(missing).cloned().collect();
        if self.known_only
            && let Some(id) = missing.first()
        {
            return Err(not_found(id));
        }
        let mut leaving: BTreeMap<CollectionId, Vec<ChildId>> = BTreeMap::new();
        for (product, collections) in listed {
            for collection in collections {
                let leaving = leaving.entry(collection).or_default();
                leaving.push(product.clone().into());
            }
        }
        locked.take_out(tx, leaving).await?;
        locked.delete_products(tx, &ids).await?;
        locked.save(tx, &settings.default_locale).await?;
        Ok(missing)
    }
}

impl DeleteProducts {
    /// Deletes the products and leaves their removal from lists to a job.
    async fn leave(&self, tx: &Tx, ids: Vec<ProductId>) -> Result<Vec<ProductId>> {
        let set = LockSet {
            products: ids.iter().cloned().collect(),
            rules: RuleLock::Shared,
            ..LockSet::default()
        };
        let locked = tx.lock(set).await?;
        let children: Vec<ChildId> = ids.iter().cloned().map(ChildId::from).collect();
        let listed = children::parent_counts(tx, ChildType::Product, &children).await?;
        let all = ids.clone();
        let (there, missing): (Vec<_>, Vec<_>) = ids.into_iter().partition(|id| {
            locked.products().contains_key(id) || listed.contains_key(&id.clone().into())
        });
        if self.known_only
            && let Some(id) = missing.first()
        {
            return Err(not_found(id));
        }
        locked.delete_products(tx, &all).await?;
        jobs::leave_lists(tx, &there).await?;
        Ok(missing)
    }
}
