//! Moving a collection from one parent to another, or within one.

use std::collections::BTreeSet;

use futures::FutureExt as _;

use super::{Answer, Retry, Service, Settings, lineage_of, links};
use crate::{
    domain::{
        Caller, ChildId, ChildType, Collection, CollectionId, Error, FieldPath, Mutation,
        OnDuplicate, Position, Reason, Result, collection::root_immutable,
    },
    store::{Mode, Tx, children::Children, collections, tenants},
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

impl Service {
    /// Moves a collection.
    ///
    /// # Errors
    /// Where the caller may not; where the collection or a parent does not exist, the
    /// collection is a root, is not under the parent that it is to leave or to move in,
    /// stands there already, or would become its own ancestor; where the index is beyond the
    /// list's end or a limit does not hold; where the store fails.
    pub async fn move_collection(
        &self,
        caller: &Caller,
        command: MoveCollection,
    ) -> Result<Answer<()>> {
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

async fn run(tx: &Tx, command: &MoveCollection, settings: &Settings) -> Result<()> {
    let child = &command.child;
    if child.is_root() {
        return Err(root_immutable(child, "has no parent"));
    }
    tenants::ensure(tx, &settings.default_locale).await?;
    tenants::lock_graph(tx).await?;
    // It stays there: a delete waits for the graph too.
    let there = collections::existing(tx, std::slice::from_ref(child)).await?;
    if there.is_empty() {
        return Err(links::no_child(child));
    }
    let old: BTreeSet<_> = lineage_of(tx, child).await?.parents.into_iter().collect();
    let (left, joined, at) = ends(command, &old)?;
    let all: BTreeSet<_> = left.iter().copied().chain(joined).cloned().collect();
    // All at once, and so in order. The child is locked too, for its version may move.
    let with_child: Vec<_> = all.iter().chain([child]).cloned().collect();
    let mut locked = collections::lock_many(tx, &with_child).await?;
    locked.retain(|found| all.contains(&found.id));
    if let Some(joined) = joined {
        let parent = std::slice::from_ref(joined);
        links::check_found(parent, &locked)?;
        if !old.contains(joined) {
            links::check(tx, parent, std::slice::from_ref(child), settings).await?;
        }
    }
    let mut changed = false;
    for parent in locked {
        let is_joined = joined == Some(&parent.id);
        let mutation = if is_joined && old.contains(&parent.id) {
            place(tx, &parent, child, at).await?
        } else if is_joined {
            Some(join(&parent, child, at)?)
        } else {
            Some(Mutation::remove(vec![child.clone().into()]))
        };
        if let Some(mutation) = mutation {
            changed = true;
            links::relist(tx, parent, ChildType::Collection, &[mutation]).await?;
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
    if left.is_empty() && joined.is_none_or(|joined| old.contains(joined)) {
        // It has moved within a list, which is the parent's alone.
        return Ok(());
    }
    collections::touch(tx, std::slice::from_ref(child)).await
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
