//! What stands below collections, so many levels of it.

use std::collections::{HashMap, HashSet};

use super::{Detail, Settings, details};
use crate::{
    domain::{ChildId, ChildList, CollectionId, Result, Rule, Violation},
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
    let mut shown = HashMap::new();
    let mut lists = lists_of(tx, tops.iter(), &hidden).await?;
    // How often each collection stands on the level: it is written once for each parent.
    let mut level: HashMap<CollectionId, usize> = HashMap::new();
    for top in tops.iter_mut() {
        let id = &top.collection.id;
        top.collections = lists.remove(id).unwrap_or_default();
        add(&mut level, &top.collections, 1);
    }
    let (mut count, mut levels) = (0_usize, 0);
    while levels < depth.levels && !level.is_empty() {
        count += level.values().sum::<usize>();
        let max = settings.limits.expanded;
        if count > max {
            if depth.or_fewer {
                break;
            }
            let value = depth.levels.to_string();
            return Err(Violation::new("depth", &value, Rule::TooMany { count, max }).into());
        }
        let new: Vec<_> = level
            .keys()
            .filter(|id| !shown.contains_key(*id))
            .cloned()
            .collect();
        let mut found = details(tx, collections::get_many(tx, &new).await?).await?;
        let mut lists = lists_of(tx, found.iter(), &hidden).await?;
        for detail in &mut found {
            let id = &detail.collection.id;
            detail.collections = lists.remove(id).unwrap_or_default();
        }
        shown.extend(found.into_iter().map(|d| (d.collection.id.clone(), d)));
        let mut next = HashMap::new();
        for (id, times) in level {
            if let Some(detail) = shown.get(&id) {
                add(&mut next, &detail.collections, times);
            }
        }
        level = next;
        levels += 1;
    }
    Ok(Below { shown, levels })
}

fn add(level: &mut HashMap<CollectionId, usize>, children: &[ChildId], times: usize) {
    for child in children {
        *level.entry(child.clone().into()).or_default() += times;
    }
}

async fn lists_of(
    tx: &Tx,
    details: impl Iterator<Item = &Detail>,
    hidden: &HashSet<String>,
) -> Result<HashMap<CollectionId, Vec<ChildId>>> {
    let parents = details.filter(|detail| detail.collection.collection_count > 0);
    let parents: Vec<_> = parents.map(|detail| detail.collection.id.clone()).collect();
    let mut lists = children::lists(tx, ChildList::Collections, &parents).await?;
    for list in lists.values_mut() {
        list.retain(|child| !hidden.contains(child.as_str()));
    }
    Ok(lists)
}
