//! What stands below collections, so many levels of it.

use std::collections::{HashMap, HashSet};

use super::{Above, Detail, Settings, details};
use crate::{
    domain::{ChildId, ChildType, CollectionId, Constraint, FieldPath, Result, Violation},
    store::{Tx, children, collections, listing},
};

/// How many levels below collections an answer shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// So many, with 0 for none.
    pub levels: usize,
    /// Whether fewer will do where that many would be over the limit.
    pub or_fewer: bool,
}

/// The collections below others, with the ids of their own children.
#[derive(Clone, Debug, Default)]
pub struct Below {
    shown: HashMap<CollectionId, Detail>,
    levels: usize,
}

impl Below {
    /// The child, where it is known.
    pub fn get(&self, child: &ChildId) -> Option<&Detail> {
        self.shown.get(&CollectionId::from(child.clone()))
    }

    /// How many levels are to be shown: a collection that is known may also stand deeper.
    pub fn levels(&self) -> usize {
        self.levels
    }
}

/// Gives each of the collections its list of child collections, and reads what stands
/// below them; only what is shown, itself or by a parent, where it is to be `active`.
pub(super) async fn below(
    tx: &Tx,
    tops: &mut [Detail],
    depth: Depth,
    active: bool,
    settings: &Settings,
) -> Result<Below> {
    let hidden = if active {
        listing::hidden(tx).await?
    } else {
        HashSet::new()
    };
    let ids: Vec<_> = tops.iter().map(|top| top.collection.id.clone()).collect();
    let mut lists = lists_of(tx, &ids, &hidden).await?;
    // How often each collection stands on the level: it is written once for each parent.
    let mut level: HashMap<CollectionId, usize> = HashMap::new();
    for top in tops.iter_mut() {
        top.collections = lists.remove(&top.collection.id).unwrap_or_default();
        add(&mut level, &top.collections, 1);
    }
    let (mut lists, mut shown) = (HashMap::new(), HashSet::new());
    let (mut count, mut levels) = (0_usize, 0);
    while levels < depth.levels && !level.is_empty() {
        count += level.values().sum::<usize>();
        let max = settings.limits.expanded;
        if count > max {
            if depth.or_fewer {
                break;
            }
            let value = depth.levels.to_string();
            return Err(Violation::new(
                FieldPath::Depth,
                &value,
                Constraint::TooMany { count, max },
            )
            .into());
        }
        let new = level.keys().filter(|id| !shown.contains(*id));
        let new: Vec<CollectionId> = new.cloned().collect();
        lists.extend(lists_of(tx, &new, &hidden).await?);
        shown.extend(new);
        let mut next = HashMap::new();
        for (id, times) in level {
            add(&mut next, lists.get(&id).map_or(&[], Vec::as_slice), times);
        }
        level = next;
        levels += 1;
    }
    // Read at once, so that what stands above all of them is looked up once.
    let shown: Vec<_> = shown.into_iter().collect();
    let found = details(tx, collections::get_many(tx, &shown).await?, Above::Named).await?;
    let shown = found.into_iter().map(|mut detail| {
        let id = detail.collection.id.clone();
        detail.collections = lists.remove(&id).unwrap_or_default();
        (id, detail)
    });
    let shown = shown.collect();
    Ok(Below { shown, levels })
}

fn add(level: &mut HashMap<CollectionId, usize>, children: &[ChildId], times: usize) {
    for child in children {
        *level.entry(child.clone().into()).or_default() += times;
    }
}

async fn lists_of(
    tx: &Tx,
    collections: &[CollectionId],
    hidden: &HashSet<ChildId>,
) -> Result<HashMap<CollectionId, Vec<ChildId>>> {
    let mut lists = children::lists(tx, ChildType::Collection, collections).await?;
    for list in lists.values_mut() {
        list.retain(|child| !hidden.contains(child));
    }
    Ok(lists)
}
