//! Moving a collection from one parent to another, or within one.

use std::collections::BTreeSet;

use super::{Command, Retry, Settings, links};
use crate::{
    domain::{
        Caller, ChildId, ChildType, Collection, CollectionId, Error, FieldPath, Mutation,
        OnDuplicate, Position, Reason, Result, Writing, collection::root_immutable,
    },
    store::{Tx, children::Children, collections, lineage, lock::LockSet, tenants},
};

/// Asks for a collection to stand elsewhere.
#[derive(Clone, Debug)]
pub struct MoveCollection {
    /// Which collection.
    pub child: CollectionId,
    /// From where to where.
    pub movement: Movement,
    /// Under which a retry is recognised.
    pub retry: Option<Retry<()>>,
}

/// Where in a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spot {
    /// Where it stands, or else at the end.
    #[default]
    Any,
    /// At the end.
    Last,
    /// There in the result.
    Index(u64),
}

/// From where to where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Movement {
    /// Out of one parent, or of all, and under another.
    Move {
        /// The parent to leave; none to leave all.
        from: Option<CollectionId>,
        /// The parent to join.
        to: CollectionId,
        /// Where in its list.
        at: Spot,
    },
    /// Under one parent more.
    Link {
        /// The parent to join.
        to: CollectionId,
        /// Where in its list.
        at: Spot,
    },
    /// Elsewhere in the list of a parent.
    Reorder {
        /// The parent.
        within: CollectionId,
        /// Where in its list.
        at: Spot,
    },
    /// Out of one parent.
    Unlink {
        /// The parent to leave.
        from: CollectionId,
    },
    /// Out of all parents.
    UnlinkAll,
}

/// Moves a collection.
///
/// # Errors
/// Where the collection or a parent does not exist, the collection is a root, is not under
/// the parent that it is to leave or to move in, is there already, or would become its own
/// ancestor; where the index is beyond the list's end or a limit does not hold.
impl Command for MoveCollection {
    const NAME: &str = "MoveCollection";

    type Answer = ();

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
            return Err(Error::new(
                Reason::ChildAlreadyInList,
                format!("collection {child:?} is already a child there"),
            )
            .about(child.as_str()));
        }
        links::check_parent_counts(tx, &[child.clone().into()], settings).await?;
        locked.save(tx, &settings.default_locale).await?;
        Ok(())
    }
}

impl MoveCollection {
    /// What to lock, and the parents.
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

type Ends<'a> = (Vec<&'a CollectionId>, Option<&'a CollectionId>, Spot);

/// The parents to leave, the one to join, and where in its list.
fn ends<'a>(command: &'a MoveCollection, old: &'a BTreeSet<CollectionId>) -> Result<Ends<'a>> {
    let parent = |id: &'a CollectionId| {
        old.get(id).ok_or_else(|| {
            let child = &command.child;
            Error::new(
                Reason::ChildNotInList,
                format!("collection {child:?} is not under {id:?}"),
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
        Movement::Unlink { from } => (vec![parent(from)?], None, Spot::Any),
        Movement::UnlinkAll => (old.iter().collect(), None, Spot::Any),
    })
}

/// Puts a child that is new there into the list.
fn join(parent: &Collection, child: &CollectionId, at: Spot) -> Result<Mutation> {
    let ids = vec![ChildId::from(child.clone())];
    Ok(match at {
        Spot::Any | Spot::Last => Mutation::append(ids),
        Spot::Index(index) => {
            in_list(index, parent.collection_count)?;
            Mutation::Insert {
                ids,
                position: Position::Index(index),
                on_duplicate: OnDuplicate::Ignore,
            }
        }
    })
}

/// Moves a child that is there to its place in the list; none where it has it.
async fn place(
    tx: &Tx,
    parent: &Collection,
    child: &CollectionId,
    at: Spot,
) -> Result<Option<Mutation>> {
    let last = parent.collection_count.saturating_sub(1);
    let index = match at {
        Spot::Any => return Ok(None),
        Spot::Last => last,
        Spot::Index(index) => index,
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
