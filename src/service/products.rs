//! Code that several use cases about products share: reading them with their collections, and the
//! checks before they are added to collections.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Settings;
use crate::{
    domain::{
        ChildId, ChildType, CollectionId, Error, Needs, Product, ProductId, Reason, Result,
        TenantId,
        collection::{not_for_smart, root_immutable},
        product::unknown,
    },
    store::{
        Tx, children,
        lock::{LockSet, Locked},
        products,
    },
};

/// A product and the collections that contain it.
#[derive(Clone, Debug)]
pub struct ProductDetail {
    /// The tenant as the request named it.
    pub tenant: TenantId,
    /// The product's id.
    pub id: ProductId,
    /// The registered product; `None` if it is not registered.
    pub product: Option<Product>,
    /// The collections that contain it, in ascending order.
    pub collections: Vec<CollectionId>,
}

impl ProductDetail {
    /// Whether it is registered or in a collection. Its collections must have been read.
    pub(super) fn is_known(&self) -> bool {
        self.product.is_some() || !self.collections.is_empty()
    }
}

/// The products with their collections, in the order of `ids`. Ids that are neither registered nor
/// in a collection are in the result, too, without any data.
pub(super) async fn details(tx: &Tx, ids: Vec<ProductId>) -> Result<Vec<ProductDetail>> {
    let mut collections = collections_of(tx, &ids).await?;
    let mut details = known(tx, ids).await?;
    for detail in &mut details {
        let listed = collections.remove(&detail.id).unwrap_or_default();
        detail.collections = listed.into_iter().collect();
    }
    Ok(details)
}

/// Like [`details`], without the collections.
pub(super) async fn known(tx: &Tx, ids: Vec<ProductId>) -> Result<Vec<ProductDetail>> {
    let known = products::get_many(tx, &ids).await?;
    Ok(in_order(tx, ids, known))
}

/// Like [`known`], also without attributes and details.
pub(super) async fn outlines(tx: &Tx, ids: Vec<ProductId>) -> Result<Vec<ProductDetail>> {
    let known = products::outlines(tx, &ids).await?;
    Ok(in_order(tx, ids, known))
}

fn in_order(
    tx: &Tx,
    ids: Vec<ProductId>,
    mut known: HashMap<ProductId, Product>,
) -> Vec<ProductDetail> {
    let details = ids.into_iter().map(|id| ProductDetail {
        tenant: tx.named.clone(),
        product: known.remove(&id),
        collections: Vec::new(),
        id,
    });
    details.collect()
}

/// The approximate size of each product in bytes, with or without its collections.
pub(super) async fn sizes(
    tx: &Tx,
    ids: &[ProductId],
    with_collections: bool,
) -> Result<Vec<usize>> {
    let known = products::sizes(tx, ids, &Needs::of_columns()).await?;
    let children: Vec<ChildId> = ids.iter().cloned().map(ChildId::from).collect();
    let collections = if with_collections {
        children::parent_counts(tx, ChildType::Product, &children).await?
    } else {
        HashMap::new()
    };
    let sizes = ids.iter().zip(&children).map(|(id, child)| {
        let collections = collections.get(child).copied().unwrap_or_default();
        known.get(id).copied().unwrap_or_default() + collections * CollectionId::MAX
    });
    Ok(sizes.collect())
}

/// Whether the products are in more than `max` lists, summed over the products.
pub(super) async fn are_in_more_lists(tx: &Tx, ids: &[ProductId], max: usize) -> Result<bool> {
    let few = max.saturating_add(1);
    Ok(children::memberships_up_to(tx, ids, few).await? > max)
}

/// The collections that contain each product. Products that are in none are left out.
pub(super) async fn collections_of(
    tx: &Tx,
    ids: &[ProductId],
) -> Result<BTreeMap<ProductId, BTreeSet<CollectionId>>> {
    let mut collections: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (collection, product) in children::memberships(tx, ids).await? {
        collections.entry(product).or_default().insert(collection);
    }
    Ok(collections)
}

/// The products that must be registered to be added to a collection, if the settings require that.
pub(super) fn to_check(
    settings: &Settings,
    ids: impl Iterator<Item = ProductId>,
) -> BTreeSet<ProductId> {
    if settings.check_products {
        ids.collect()
    } else {
        BTreeSet::new()
    }
}

/// Checks that all products that must be registered are registered.
pub(super) fn check_registered(locked: &Locked) -> Result<()> {
    match locked.unregistered() {
        [] => Ok(()),
        ids => Err(unknown(ids)),
    }
}

/// Adds locks to `set` that keep other writers from changing all collections of these products. A
/// product that is not registered has no row to lock, so the tenant's graph is locked instead.
pub(super) async fn lock_whole(tx: &Tx, set: &mut LockSet, ids: &[ProductId]) -> Result<()> {
    let registered = products::registered(tx, ids).await?;
    set.graph |= ids.iter().any(|id| !registered.contains(id));
    set.products.extend(ids.iter().cloned());
    Ok(())
}

/// Checks that no products are added to a root, which cannot have any.
pub(super) fn check_no_root<'a>(mut joined: impl Iterator<Item = &'a CollectionId>) -> Result<()> {
    let root = joined.find(|id| id.is_root());
    root.map_or(Ok(()), |id| Err(root_immutable(id, "has no products")))
}

/// Checks that collections to which products are added exist and are manual.
pub(super) fn check_lists<'a>(
    ids: impl Iterator<Item = &'a CollectionId>,
    locked: &Locked,
) -> Result<()> {
    let mut smart = BTreeSet::new();
    for id in ids {
        let Some(collection) = locked.get(id) else {
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
