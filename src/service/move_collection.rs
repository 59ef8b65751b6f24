//! Moves a collection between parents, or within the list of one parent.
//! [`super::update_collection`] can also change the parents of a collection, but always appends it
//! to their lists.

use std::collections::BTreeSet;

use super::{Command, Retry, Settings, links};
use crate::{
    domain::{
        Caller, ChildId, ChildType, Collection, CollectionId, Error, FieldPath, Mutation,
        OnDuplicate, Position, Reason, Result, Writing, collection::root_immutable,
    },
    store::{Tx, children::Children, collections, lineage, lock::LockSet, tenants},
};

/// A request to move a collection.
#[derive(Clone, Debug)]
pub struct MoveCollection {
    /// The collection.
    pub child: CollectionId,
    /// The move.
    pub movement: Movement,
    /// How to recognise and answer a retry; `None` without an idempotency key.
    pub retry: Option<Retry<()>>,
}

/// A position in a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetPosition {
    /// The current position, or the end if it is not in the list.
    #[default]
    Any,
    /// At the end.
    Last,
    /// This index in the resulting list.
    Index(u64),
}

/// The kinds of moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Movement {
    /// From one parent, or from all, to another.
    Move {
        /// The parent to remove it from; `None` for all.
        from: Option<CollectionId>,
        /// The parent to add it to.
        to: CollectionId,
        /// The position in that parent's list.
        at: TargetPosition,
    },
    /// To an additional parent.
    Link {
        /// The parent to add it to.
        to: CollectionId,
        /// The position in that parent's list.
        at: TargetPosition,
    },
    /// Within the list of a parent.
    Reorder {
        /// The parent.
        within: CollectionId,
        /// The position in that parent's list.
        at: TargetPosition,
    },
    /// Out of one parent.
    Unlink {
        /// The parent to remove it from.
        from: CollectionId,
    },
    /// Out of all parents.
    UnlinkAll,
}

/// Moves a collection.
///
/// # Errors
/// If the collection or a parent does not exist; if the collection is a root, is not under the
/// given old parent, is already at the target, or would become its own ancestor; if the index is
/// beyond the end of the list; if a limit is exceeded.
impl Command for MoveCollection {
    const NAME: &str = "MoveCollection";

    type Response = ();

    fn authorize(&self, caller: &Caller) -> Result<Writing> {
        caller.writing()
    }

    fn check(&self, _: &Settings) -> Result<()> {
        if self.child.is_root() {
            return Err(root_immutable(&self.child, "has no parent"));
        }
        Ok(())
    }

    fn retry(&self) -> Option<&Retry<()>> {
        self.retry.as_ref()
    }

    async fn run(&self, tx: &Tx, settings: &Settings) -> Result<()> {
        let child = &self.child;
        tenants::ensure_locked(tx, settings.root_names, &settings.default_locale).await?;
        let (mut locked, old) = tx.lock_links(|| self.plan(tx)).await?;
        let (left, joined, at) = ends(self, &old)?;
        if let Some(joined) = joined {
            links::check_exist([joined].into_iter(), &locked)?;
            if !old.contains(joined) {
                let (parent, child) = (std::slice::from_ref(joined), std::slice::from_ref(child));
                links::check(tx, parent, child, settings).await?;
            }
        }
        let mut changed = !left.is_empty();
        links::change(tx, &mut locked, left, [], child).await?;
        if let Some(joined) = joined
            && let Some(parent) = locked.get(joined)
        {
            let mutation = if old.contains(joined) {
                place(tx, parent, child, at).await?
            } else {
                Some(join(parent, child, at)?)
            };
            if let Some(mutation) = mutation {
                changed = true;
                let list = ChildType::Collection;
                locked.mutate(tx, joined, list, &[&mutation]).await?;
            }
        }
        if !changed {
            let message = match joined {
                Some(parent) => format!("collection {child:?} is already a child of {parent:?}"),
                None => format!("collection {child:?} has no parent"),
            };
            return Err(Error::new(Reason::ChildAlreadyInList, message).about(child.as_str()));
        }
        links::check_parent_counts(tx, &[child.clone().into()], settings).await?;
        locked.save(tx, &settings.default_locale).await?;
        Ok(())
    }
}

impl MoveCollection {
    /// The locks to take, and the current parents.
    async fn plan(&self, tx: &Tx) -> Result<(LockSet, BTreeSet<CollectionId>)> {
        let child = &self.child;
        let there = collections::existing(tx, std::slice::from_ref(child)).await?;
        if there.is_empty() {
            return Err(links::no_child(child));
        }
        let old = lineage::parents(tx, child).await?;
        let (left, joined, _) = ends(self, &old)?;
        let set = LockSet {
            collections: left.into_iter().chain(joined).cloned().collect(),
            linked: BTreeSet::from([child.clone()]),
            ..LockSet::default()
        };
        Ok((set, old))
    }
}

type Ends<'a> = (
    Vec<&'a CollectionId>,
    Option<&'a CollectionId>,
    TargetPosition,
);

/// The parents to remove the child from, the parent to add it to, and the position there.
fn ends<'a>(command: &'a MoveCollection, old: &'a BTreeSet<CollectionId>) -> Result<Ends<'a>> {
    let parent = |id: &'a CollectionId| {
        old.get(id).ok_or_else(|| {
            let child = &command.child;
            Error::new(
                Reason::ChildNotInList,
                format!("collection {child:?} is not a child of {id:?}"),
            )
            .about(id.as_str())
        })
    };
    Ok(match &command.movement {
        Movement::Move { from, to, at } => {
            let left = match from {
                Some(from) => vec![parent(from)?],
                None => old.iter().collect(),
            };
            let left = left.into_iter().filter(|id| *id != to).collect();
            (left, Some(to), *at)
        }
        Movement::Link { to, at } => (Vec::new(), Some(to), *at),
        Movement::Reorder { within, at } => (Vec::new(), Some(parent(within)?), *at),
        Movement::Unlink { from } => (vec![parent(from)?], None, TargetPosition::Any),
        Movement::UnlinkAll => (old.iter().collect(), None, TargetPosition::Any),
    })
}

/// The mutation that adds a new child to the list.
fn join(parent: &Collection, child: &CollectionId, at: TargetPosition) -> Result<Mutation> {
    let ids = vec![ChildId::from(child.clone())];
    Ok(match at {
        TargetPosition::Any | TargetPosition::Last => Mutation::append(ids),
        TargetPosition::Index(index) => {
            in_list(index, parent.collection_count)?;
            Mutation::Insert {
                ids,
                position: Position::Index(index),
                on_duplicate: OnDuplicate::Ignore,
            }
        }
    })
}

/// The mutation that moves an existing child; `None` if it is at the position already.
async fn place(
    tx: &Tx,
    parent: &Collection,
    child: &CollectionId,
    at: TargetPosition,
) -> Result<Option<Mutation>> {
    let last = parent.collection_count.saturating_sub(1);
    let index = match at {
        TargetPosition::Any => return Ok(None),
        TargetPosition::Last => last,
        TargetPosition::Index(index) => index,
    };
    in_list(index, last)?;
    let child = ChildId::from(child.clone());
    let children = Children::of(tx, parent, ChildType::Collection);
    if children.index_of(&child).await? == Some(index) {
        return Ok(None);
    }
    Ok(Some(Mutation::MoveIds {
        ids: vec![child],
        position: Position::Index(index),
    }))
}

fn in_list(index: u64, max: u64) -> Result<()> {
    if index <= max {
        return Ok(());
    }
    Err(crate::domain::children::out_of_range(
        FieldPath::Index,
        index,
        max,
        max,
    ))
}
