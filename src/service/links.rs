//! Links between parent and child collections: the checks before one is created (no cycle, not too
//! deep, not too many parents), and its creation. All use cases that change links share these.

use std::collections::HashSet;

use super::Settings;
use crate::{
    domain::{
        ChildId, ChildType, CollectionId, Constraint, Error, FieldPath, Mutation, Reason, Result,
        Violation,
    },
    store::{
        Tx,
        children::{self, Children},
        lineage::{self, Ancestors},
        lock::Locked,
    },
};

/// Checks the number of parents in a request.
pub(super) fn check_count(parents: usize, settings: &Settings) -> Result<()> {
    let max = settings.limits.parents;
    if parents > max {
        let count = parents;
        return Err(
            Violation::new(FieldPath::ParentIds, "", Constraint::TooMany { count, max }).into(),
        );
    }
    Ok(())
}

/// Checks that all parents exist.
pub(super) fn check_exist<'a>(
    mut parents: impl Iterator<Item = &'a CollectionId>,
    locked: &Locked,
) -> Result<()> {
    match parents.find(|id| !locked.exists(id)) {
        Some(id) => Err(Error::new(
            Reason::ParentNotFound,
            format!("parent collection {id:?} does not exist"),
        )
        .about(id.as_str())),
        None => Ok(()),
    }
}

/// The child collections of a collection, in order.
pub(super) async fn children(tx: &Tx, id: &CollectionId) -> Result<Vec<CollectionId>> {
    let list = Children::uncached(tx, id, ChildType::Collection);
    let children = list.all().await?.into_iter();
    Ok(children.map(CollectionId::from).collect())
}

/// The error of a child collection that does not exist.
pub(super) fn no_child(id: &CollectionId) -> Error {
    Error::new(
        Reason::ChildNotFound,
        format!("collection {id:?} does not exist"),
    )
    .about(id.as_str())
}

/// Checks that linking `children` under `parents` makes no cycle and nests no deeper than allowed.
/// The tenant's graph must be locked, unless no child has children.
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
    for (parent, lineage) in lineage::of(tx, parents, Ancestors::Shown).await? {
        let mut ancestors = lineage.ancestors();
        ancestors.push(&parent);
        if let Some(child) = ancestors.into_iter().find(|id| linked.contains(id)) {
            return Err(Error::new(
                Reason::CycleDetected,
                format!("adding collection {child:?} to {parent:?} would create a cycle"),
            )
            .about(child.as_str())
            .with("parent_id", &parent));
        }
        depth = depth.max(lineage.depth() + 1);
    }
    let max = settings.limits.depth;
    let height = lineage::height(tx, children, max).await?;
    if depth + height > max {
        return Err(Error::new(
            Reason::TooDeep,
            format!("the hierarchy of collections would exceed the limit of {max} levels"),
        )
        .with("limit", max));
    }
    Ok(())
}

/// Checks that no child has more parents than allowed.
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
        .about(child.as_str())
        .with("limit", max)),
        None => Ok(()),
    }
}

/// Removes a collection from the lists of some parents, and appends it to those of others.
pub(super) async fn change<'a>(
    tx: &Tx,
    locked: &mut Locked,
    left: impl IntoIterator<Item = &'a CollectionId>,
    joined: impl IntoIterator<Item = &'a CollectionId>,
    child: &CollectionId,
) -> Result<()> {
    let remove = Mutation::remove(vec![child.clone().into()]);
    let append = Mutation::append(vec![child.clone().into()]);
    let left = left.into_iter().map(|id| (id.clone(), vec![&remove]));
    let joined = joined.into_iter().map(|id| (id.clone(), vec![&append]));
    let edits = left.chain(joined).collect();
    let list = ChildType::Collection;
    locked.mutate_many(tx, list, &edits).await?;
    Ok(())
}
