//! Forgetting products.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures::FutureExt as _;

use super::{Answer, Retry, Service, Settings, links};
use crate::{
    domain::{
        Caller, ChildId, ChildType, CollectionId, Constraint, FieldPath, Mutation, Result,
        Violations, product::not_found,
    },
    store::{Mode, Tx, children, collections, products},
};

/// Asks to forget products.
#[derive(Clone, Debug)]
pub struct DeleteProducts {
    /// Which.
    pub ids: Vec<ChildId>,
    /// Whether it is an error where nothing is known of one, and no collection has it.
    pub known_only: bool,
    /// Under which a retry is recognised.
    pub retry: Option<Retry<Vec<ChildId>>>,
}

impl Service {
    /// Forgets products and takes them out of every collection that has them, or does
    /// nothing. Answers those that there were not, ascending.
    ///
    /// # Errors
    /// Where the caller may not; where too many are named, or none; where the store
    /// fails.
    pub async fn delete_products(
        &self,
        caller: &Caller,
        command: DeleteProducts,
    ) -> Result<Answer<Vec<ChildId>>> {
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

async fn run(tx: &Tx, command: &DeleteProducts, settings: &Settings) -> Result<Vec<ChildId>> {
    let mut violations = Violations::default();
    if command.ids.is_empty() {
        violations.add(FieldPath::Ids, "", Constraint::Empty);
    }
    violations.count(FieldPath::Ids, command.ids.len(), settings.limits.ids);
    violations.finish()?;

    let ids: BTreeSet<ChildId> = command.ids.iter().cloned().collect();
    let ids: Vec<ChildId> = ids.into_iter().collect();
    // Collections before products, as every writer locks them; then again, for a
    // collection may have got one before the products were locked.
    let members = children::memberships(tx, &ids).await?;
    collections::lock_many(tx, &unique(&members)).await?;
    let known = products::lock(tx, &ids).await?;
    let members = children::memberships(tx, &ids).await?;
    let locked = collections::lock_many(tx, &unique(&members)).await?;

    let listed: HashSet<_> = members.iter().map(|(_, product)| product).collect();
    let missing = |id: &&ChildId| !known.contains_key(*id) && !listed.contains(*id);
    let missing: Vec<ChildId> = ids.iter().filter(missing).cloned().collect();
    if command.known_only
        && let Some(id) = missing.first()
    {
        return Err(not_found(id));
    }
    let mut leaving: BTreeMap<&CollectionId, Vec<ChildId>> = BTreeMap::new();
    for (collection, product) in &members {
        leaving.entry(collection).or_default().push(product.clone());
    }
    for collection in locked {
        let ids = leaving.remove(&collection.id).unwrap_or_default();
        let remove = Mutation::remove(ids);
        links::relist(tx, collection, ChildType::Product, &[remove]).await?;
    }
    products::delete(tx, &ids).await?;
    Ok(missing)
}

/// The collections, each once.
fn unique(members: &[(CollectionId, ChildId)]) -> Vec<CollectionId> {
    let collections: BTreeSet<_> = members.iter().map(|(collection, _)| collection).collect();
    collections.into_iter().cloned().collect()
}
