//! What the use cases about products share.

use std::collections::{BTreeMap, BTreeSet};

use super::Settings;
use crate::{
    domain::{
        ChildId, Collection, CollectionId, Error, Product, Reason, Result, TenantId,
        collection::not_for_smart, product::unknown,
    },
    store::{Tx, children, products},
};

/// A product and the collections that have it.
#[derive(Clone, Debug)]
pub struct ProductDetail {
    /// Whose it is.
    pub tenant: TenantId,
    /// The product.
    pub id: ChildId,
    /// What is known of it; none where nobody told.
    pub product: Option<Product>,
    /// The collections that have it, ascending.
    pub collections: Vec<CollectionId>,
}

/// The products with their collections, in the order asked. Ids of which nobody told
/// and that no collection has are among them, with nothing.
pub(super) async fn details(tx: &Tx, ids: Vec<ChildId>) -> Result<Vec<ProductDetail>> {
    let mut known = products::get_many(tx, &ids).await?;
    let mut collections = collections_of(tx, &ids).await?;
    let details = ids.into_iter().map(|id| ProductDetail {
        tenant: tx.named.clone(),
        product: known.remove(&id),
        collections: collections
            .remove(&id)
            .unwrap_or_default()
            .into_iter()
            .collect(),
        id,
    });
    Ok(details.collect())
}

/// Which collections have each product; one that none has is left out.
pub(super) async fn collections_of(
    tx: &Tx,
    ids: &[ChildId],
) -> Result<BTreeMap<ChildId, BTreeSet<CollectionId>>> {
    let mut collections: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (collection, product) in children::memberships(tx, ids).await? {
        collections.entry(product).or_default().insert(collection);
    }
    Ok(collections)
}

/// Checks that products which may come into a collection are known, where that is set.
pub(super) async fn check_known(tx: &Tx, settings: &Settings, ids: &[ChildId]) -> Result<()> {
    if !settings.check_products || ids.is_empty() {
        return Ok(());
    }
    let unknown_ids = products::unknown(tx, ids).await?;
    if unknown_ids.is_empty() {
        Ok(())
    } else {
        Err(unknown(&unknown_ids))
    }
}

/// Checks that collections to put products into exist, so are among those found, and are
/// manual.
pub(super) fn check_lists<'a>(
    ids: impl Iterator<Item = &'a CollectionId>,
    found: &[Collection],
) -> Result<()> {
    let found: BTreeMap<_, _> = found.iter().map(|found| (&found.id, found)).collect();
    let mut smart = BTreeSet::new();
    for id in ids {
        let Some(collection) = found.get(id) else {
            return Err(Error::new(
                Reason::ParentNotFound,
                format!("collection {id:?} does not exist"),
            )
            .about(id.as_str()));
        };
        if collection.kind.is_smart() {
            smart.insert(id);
        }
    }
    smart.first().map_or(Ok(()), |id| Err(not_for_smart(id)))
}
