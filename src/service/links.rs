//! Links between collections: what must hold before one is made, and making it.

use std::collections::HashSet;

use super::Settings;
use crate::{
    domain::{
        ChildId, ChildType, Collection, CollectionId, Constraint, Error, FieldPath, Mutation,
        Reason, Result, Violation,
    },
    store::{
        Tx,
        children::{self, Children},
        collections, lineage,
    },
};

/// The collections to put something under, locked; all must exist.
pub(super) async fn lock_parents(
    tx: &Tx,
    parents: &[CollectionId],
    settings: &Settings,
) -> Result<Vec<Collection>> {
    let max = settings.limits.parents;
    if parents.len() > max {
        let count = parents.len();
        return Err(
            Violation::new(FieldPath::ParentIds, "", Constraint::TooMany { count, max }).into(),
        );
    }
    let found = collections::lock_many(tx, parents).await?;
    check_found(parents, &found)?;
    Ok(found)
}

/// Checks that each of the parents is among the collections found.
pub(super) fn check_found(parents: &[CollectionId], found: &[Collection]) -> Result<()> {
    let known: HashSet<_> = found.iter().map(|parent| &parent.id).collect();
    match parents.iter().find(|id| !known.contains(id)) {
        Some(id) => Err(Error::new(
            Reason::ParentNotFound,
            format!("parent collection {id:?} does not exist"),
        )
        .about(id.as_str())),
        None => Ok(()),
    }
}

/// A collection to be put somewhere does not exist.
pub(super) fn no_child(id: &CollectionId) -> Error {
    Error::new(
        Reason::ChildNotFound,
        format!("collection {id:?} does not exist"),
    )
    .about(id.as_str())
}

/// Checks that `children` may be linked under `parents`: no circle, and no more
/// levels than allowed. The tenant's graph must be locked, unless no child has
/// children.
pub(super) async fn check(
    tx: &Tx,
    parents: &[CollectionId],
    children: &[CollectionId],
    settings: &Settings,
) -> Result<()> {
    if let Some(root) = children.iter().find(|id| id.is_root()) {
        return Err(crate::domain::collection::root_immutable(
            root,
            "has no parent",
        ));
    }
    let linked: HashSet<_> = children.iter().collect();
    let mut depth = 0;
    for (parent, lineage) in lineage::of(tx, parents).await? {
        let mut above = lineage.ancestors();
        above.push(&parent);
        if let Some(child) = above.into_iter().find(|id| linked.contains(id)) {
            return Err(Error::new(
                Reason::CycleDetected,
                format!("collection {child:?} under {parent:?} would be its own ancestor"),
            )
            .about(child.as_str()));
        }
        depth = depth.max(lineage.depth() + 1);
    }
    let max = settings.limits.depth;
    let height = lineage::height(tx, children, max).await?;
    if depth + height > max {
        return Err(Error::new(
            Reason::TooDeep,
            format!("collections would nest more than {max} levels deep, which is the limit"),
        ));
    }
    Ok(())
}

/// Checks that none of the children has more parents than allowed.
pub(super) async fn check_parent_counts(
    tx: &Tx,
    linked: &[ChildId],
    settings: &Settings,
) -> Result<()> {
    let max = settings.limits.parents;
    let counts = children::parent_counts(tx, ChildType::Collection, linked).await?;
    match counts.into_iter().find(|(_, count)| *count > max) {
        Some((child, count)) => Err(Error::new(
            Reason::TooManyParents,
            format!("collection {child:?} would have {count} parents; the limit is {max}"),
        )
        .about(child.as_str())),
        None => Ok(()),
    }
}

/// Puts a collection at the end of each parent's list, or takes it out. The parents
/// are locked.
pub(super) async fn relink(
    tx: &Tx,
    parents: Vec<Collection>,
    child: &CollectionId,
    linked: bool,
) -> Result<()> {
    let ids = vec![ChildId::from(child.clone())];
    let mutation = if linked {
        Mutation::append(ids)
    } else {
        Mutation::remove(ids)
    };
    relist_all(tx, parents, ChildType::Collection, &mutation).await
}

/// Applies a mutation to that list of each of the collections, which are locked.
pub(super) async fn relist_all(
    tx: &Tx,
    parents: Vec<Collection>,
    list: ChildType,
    mutation: &Mutation,
) -> Result<()> {
    for parent in parents {
        relist(tx, parent, list, std::slice::from_ref(mutation)).await?;
    }
    Ok(())
}

/// Applies mutations to a list of a locked collection, and writes what follows for it.
pub(super) async fn relist(
    tx: &Tx,
    mut parent: Collection,
    list: ChildType,
    mutations: &[Mutation],
) -> Result<()> {
    let mutations: Vec<_> = mutations.iter().collect();
    let applied = Children::of(tx, &parent, list).mutate(&mutations).await?;
    if applied.changed {
        let before = parent.version;
        match list {
            ChildType::Product => parent.product_count = applied.len,
            ChildType::Collection => parent.collection_count = applied.len,
        }
        parent.touch(tx.now);
        collections::update_counts(tx, &parent).await?;
        children::remember(tx, before, &parent, vec![(list, applied)]);
    }
    Ok(())
}
