//! What the use cases about products share.

use std::collections::BTreeMap;

use super::Settings;
use crate::{
    domain::{
        ChildId, Collection, CollectionId, Error, Product, Reason, Result, TenantId,
        collection::not_for_smart, product::unknown,
    },
    store::{Tx, children, collections, products},
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
    let mut collections: BTreeMap<ChildId, Vec<CollectionId>> = BTreeMap::new();
    for (collection, product) in children::memberships(tx, &ids).await? {
        collections.entry(product).or_default().push(collection);
    }
    let details = ids.into_iter().map(|id| ProductDetail {
        tenant: tx.named.clone(),
        product: known.remove(&id),
        collections: collections.remove(&id).unwrap_or_default(),
        id,
    });
    Ok(details.collect())
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

/// Collections to put products into, locked: all must exist and be manual.
pub(super) async fn lock_lists(tx: &Tx, ids: &[CollectionId]) -> Result<Vec<Collection>> {
    let found = collections::lock_many(tx, ids).await?;
    if let Some(id) = ids.iter().find(|id| found.iter().all(|c| c.id != **id)) {
        return Err(Error::new(
            Reason::ParentNotFound,
            format!("collection {id:?} does not exist"),
        )
        .about(id.as_str()));
    }
    match found.iter().find(|collection| collection.kind.is_smart()) {
        Some(smart) => Err(not_for_smart(&smart.id)),
        None => Ok(found),
    }
}
