//! Reads the descendants of collections, down to a given depth. Single and listed collections show
//! them ([`super::get_collection`], [`super::list_collections`]).

use std::collections::{HashMap, HashSet};

use super::{Ancestors, Detail, Settings, details};
use crate::{
    domain::{
        ChildId, ChildIds, ChildType, CollectionId, Constraint, FieldPath, Result, Violation,
    },
    store::{Tx, children, collections, listing},
};

/// How many levels below collections a response shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// The number of levels; 0 for none.
    pub levels: usize,
    /// Whether to show fewer levels instead of failing if all of them exceed a limit.
    pub or_fewer: bool,
}

/// The descendants of some collections, with the ids of their own children.
#[derive(Clone, Debug, Default)]
pub struct Descendants {
    /// The child collections of each top collection.
    tops: HashMap<CollectionId, Vec<ChildId>>,
    /// The descendants, each with the number of times that the response shows it.
    shown: HashMap<CollectionId, (Detail, usize)>,
    /// Their approximate size in bytes, each counted once.
    bytes: usize,
    levels: usize,
}

impl Descendants {
    /// A descendant, if it was read.
    pub fn get(&self, child: &str) -> Option<&Detail> {
        let (detail, _) = self.shown.get(&CollectionId::trusted(child))?;
        Some(detail)
    }

    /// The child collections of a top collection.
    pub fn children(&self, top: &CollectionId) -> ChildIds {
        self.tops.get(top).into_iter().flatten().cloned().collect()
    }

    /// The descendants, each with the number of times that the response shows it.
    pub fn shown(&self) -> impl Iterator<Item = (&Detail, usize)> {
        self.shown.values().map(|(detail, times)| (detail, *times))
    }

    /// The approximate size of the descendants in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of levels to show. It must be respected, because a collection that was read may
    /// occur again at a deeper level.
    pub fn levels(&self) -> usize {
        self.levels
    }
}

/// Reads the descendants of `tops`; with `active`, only those that are effectively active.
pub(super) async fn descendants(
    tx: &Tx,
    tops: &[CollectionId],
    depth: Depth,
    active: bool,
    settings: &Settings,
) -> Result<Descendants> {
    let hidden = if active {
        listing::hidden(tx).await?
    } else {
        HashSet::new()
    };
    let tops = lists_of(tx, tops, &hidden).await?;
    // How many times each collection occurs on a level: the response repeats it for each parent.
    let mut level: HashMap<CollectionId, usize> = HashMap::new();
    for children in tops.values() {
        add(&mut level, children, 1);
    }
    let (mut lists, mut sizes) = (HashMap::new(), HashMap::new());
    let mut shown: HashMap<CollectionId, usize> = HashMap::new();
    let (mut count, mut bytes, mut levels) = (0_usize, 0_usize, 0);
    while levels < depth.levels && !level.is_empty() {
        let new = level.keys().filter(|id| !shown.contains_key(*id));
        let new: Vec<CollectionId> = new.cloned().collect();
        count += level.values().sum::<usize>();
        // If there are too many, not even their sizes are read.
        if count <= settings.limits.expanded {
            sizes.extend(collections::sizes(tx, &new).await?);
        }
        for (id, times) in &level {
            let size = sizes.get(id).copied().unwrap_or_default();
            bytes = bytes.saturating_add(size.saturating_mul(*times));
        }
        if let Some(constraint) = beyond(count, bytes, settings) {
            if depth.or_fewer {
                break;
            }
            let value = depth.levels.to_string();
            return Err(Violation::new(FieldPath::Depth, &value, constraint).into());
        }
        lists.extend(lists_of(tx, &new, &hidden).await?);
        let mut next = HashMap::new();
        for (id, times) in level {
            add(&mut next, lists.get(&id).map_or(&[], Vec::as_slice), times);
            *shown.entry(id).or_default() += times;
        }
        level = next;
        levels += 1;
    }
    // Read all at once, so that their ancestors take a single statement.
    let ids: Vec<_> = shown.keys().cloned().collect();
    let bytes = ids.iter().filter_map(|id| sizes.get(id)).sum();
    let found = details(tx, collections::get_many(tx, &ids).await?, Ancestors::Named).await?;
    let shown = found.into_iter().map(|mut detail| {
        let id = detail.collection.id.clone();
        detail.collections = lists.remove(&id).into_iter().flatten().collect();
        let times = shown.get(&id).copied().unwrap_or_default();
        (id, (detail, times))
    });
    let shown = shown.collect();
    Ok(Descendants {
        tops,
        shown,
        bytes,
        levels,
    })
}

fn beyond(count: usize, bytes: usize, settings: &Settings) -> Option<Constraint> {
    let (max, max_bytes) = (settings.limits.expanded, settings.limits.expanded_bytes);
    if count > max {
        Some(Constraint::TooMany { count, max })
    } else if bytes > max_bytes {
        Some(Constraint::TooLarge {
            bytes,
            max: max_bytes,
        })
    } else {
        None
    }
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
