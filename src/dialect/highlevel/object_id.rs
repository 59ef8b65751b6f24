//! HighLevel's own ids of collections: twelve bytes as 24 hexadecimal digits, case-insensitive.
//! They are stored in lower case.

use std::collections::{BTreeSet, HashSet};

use crate::{
    domain::{Caller, CollectionFilter, CollectionId},
    service::{Ancestors, ListCollections, PageStart, Service},
};

const DIGITS: usize = 24;

/// Whether it has the form of such an id.
pub(super) fn is_one(id: &str) -> bool {
    id.len() == DIGITS && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The id of the collection that `id` refers to, see [`all()`].
pub(super) async fn one(service: &Service, caller: &Caller, id: CollectionId) -> CollectionId {
    if !has_capitals(&id) {
        return id;
    }
    all(service, caller, vec![id.clone()])
        .await
        .pop()
        .unwrap_or(id)
}

/// Like [`all()`], for a set.
pub(super) async fn set(
    service: &Service,
    caller: &Caller,
    ids: BTreeSet<CollectionId>,
) -> BTreeSet<CollectionId> {
    let ids = ids.into_iter().collect();
    all(service, caller, ids).await.into_iter().collect()
}

/// The ids of the collections that `ids` refer to: an id with capitals refers to the same id in
/// lower case. But a collection with exactly that id takes precedence, because other APIs store
/// capitals, as this one did in the past.
pub(super) async fn all(
    service: &Service,
    caller: &Caller,
    mut ids: Vec<CollectionId>,
) -> Vec<CollectionId> {
    let capitals = ids.iter().filter(|id| has_capitals(id));
    let capitals: Vec<_> = capitals.cloned().collect();
    if capitals.is_empty() {
        return ids;
    }
    let there = there(service, caller, capitals.clone()).await;
    for id in &mut ids {
        if capitals.contains(id) && !there.contains(id) {
            *id = lower(id);
        }
    }
    ids
}

/// Whether it has the form of an id of HighLevel's, but not in lower case.
fn has_capitals(id: &CollectionId) -> bool {
    let id = id.as_str();
    is_one(id) && id.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn lower(id: &CollectionId) -> CollectionId {
    CollectionId::trusted(id.as_str().to_ascii_lowercase())
}

/// The ids among these that exist, as far as the caller may see them.
async fn there(
    service: &Service,
    caller: &Caller,
    ids: Vec<CollectionId>,
) -> HashSet<CollectionId> {
    let command = ListCollections {
        size: ids.len(),
        filter: CollectionFilter {
            ids: Some(ids),
            ..CollectionFilter::default()
        },
        all_there: false,
        order: Vec::new(),
        scan: None,
        descendants: None,
        ancestors: Ancestors::Shown,
        start: PageStart::First,
        bytes: None,
        paths: None,
        omit_total: true,
    };
    // An error, such as a missing scope, means that none exists; the request itself will report it.
    let page = service.list_collections(caller, command).await;
    let page = page.map(|page| (page.collections, page.rest));
    let (found, rest) = page.unwrap_or_default();
    let found = found.into_iter().map(|detail| detail.collection.id);
    found.chain(rest).collect()
}
