//! The ancestors of a collection: parents, paths from the roots, and inherited properties. The
//! store reads them; the derived values are computed here.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{collection::Active, ids::CollectionId, text::Texts};

/// The data of an ancestor that its descendants need.
#[derive(Clone, Debug)]
pub struct Ancestor {
    /// Its parents, ordered by id.
    pub parents: Vec<CollectionId>,
    /// Whether it is active.
    pub active: Active,
    /// Its texts, if they were requested, to build paths of names.
    pub texts: Texts,
    /// Its version, if its texts were requested.
    pub version: Option<i64>,
}

/// The ancestors of a collection. There are no cycles, which is checked whenever collections are
/// linked.
#[derive(Clone, Debug, Default)]
pub struct Lineage {
    /// The direct parents, ordered by id.
    pub parents: Vec<CollectionId>,
    /// All ancestors. They may be shared with other collections and include theirs.
    pub nodes: Arc<HashMap<CollectionId, Ancestor>>,
}

impl Lineage {
    /// All ancestors without duplicates, the nearest first.
    pub fn ancestors(&self) -> Vec<&CollectionId> {
        let mut found: Vec<&CollectionId> = Vec::new();
        let mut seen = HashSet::new();
        let mut level: Vec<&CollectionId> = self.parents.iter().collect();
        while !level.is_empty() {
            level.retain(|id| seen.insert(*id));
            found.extend(&level);
            level = level.iter().flat_map(|id| self.parents_of(id)).collect();
        }
        found
    }

    /// The texts of an ancestor.
    pub fn texts(&self, id: &CollectionId) -> Option<&Texts> {
        Some(&self.nodes.get(id)?.texts)
    }

    /// Up to `max` paths from a root down to the collection, which is not included.
    pub fn paths(&self, max: usize) -> Vec<Vec<&CollectionId>> {
        let mut paths = Vec::new();
        let mut open: Vec<Vec<&CollectionId>> =
            self.parents.iter().rev().map(|id| vec![id]).collect();
        while let Some(path) = open.pop() {
            let top = path[path.len() - 1];
            if top.is_root() {
                paths.push(path.into_iter().rev().collect());
                if paths.len() == max {
                    break;
                }
                continue;
            }
            for parent in self.parents_of(top).iter().rev() {
                let mut longer = path.clone();
                longer.push(parent);
                open.push(longer);
            }
        }
        paths
    }

    /// The number of paths from a root down to the collection. `known` caches the numbers of
    /// ancestors; it may be shared between lineages from the same snapshot.
    pub fn count_paths(&self, known: &mut HashMap<CollectionId, usize>) -> usize {
        self.count_above(&self.parents, known)
    }

    fn count_above(
        &self,
        parents: &[CollectionId],
        known: &mut HashMap<CollectionId, usize>,
    ) -> usize {
        let count = |id: &CollectionId| match known.get(id) {
            Some(count) => *count,
            None if id.is_root() => 1,
            None => {
                let count = self.count_above(self.parents_of(id), known);
                known.insert(id.clone(), count);
                count
            }
        };
        parents.iter().map(count).fold(0, usize::saturating_add)
    }

    /// The number of ancestors on the longest path to the top.
    pub fn depth(&self) -> usize {
        fn above<'a>(
            lineage: &'a Lineage,
            parents: &'a [CollectionId],
            known: &mut HashMap<&'a CollectionId, usize>,
        ) -> usize {
            let way = |id: &'a CollectionId| match known.get(id) {
                Some(depth) => *depth,
                None => {
                    let depth = 1 + above(lineage, lineage.parents_of(id), known);
                    known.insert(id, depth);
                    depth
                }
            };
            parents.iter().map(way).max().unwrap_or(0)
        }
        above(self, &self.parents, &mut HashMap::new())
    }

    /// The effective value of `active`: its own, or if inherited, whether any parent is effectively
    /// active; true without parents.
    pub fn effective_active(&self, active: Active) -> bool {
        self.resolve(active, &self.parents, &mut HashMap::new())
    }

    fn resolve<'a>(
        &'a self,
        active: Active,
        parents: &'a [CollectionId],
        known: &mut HashMap<&'a CollectionId, bool>,
    ) -> bool {
        match active {
            Active::Yes => true,
            Active::No => false,
            Active::Inherit if parents.is_empty() => true,
            Active::Inherit => parents.iter().any(|id| {
                if let Some(known) = known.get(id) {
                    return *known;
                }
                let active = self
                    .nodes
                    .get(id)
                    .is_none_or(|node| self.resolve(node.active, &node.parents, known));
                known.insert(id, active);
                active
            }),
        }
    }

    fn parents_of(&self, id: &CollectionId) -> &[CollectionId] {
        self.nodes.get(id).map_or(&[], |node| &node.parents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> CollectionId {
        CollectionId::trusted(text)
    }

    /// `d` under `b` and `c`, both under `a`; `a` under the root; `c` hidden.
    fn diamond() -> Lineage {
        let node = |parents: &[&str], active| Ancestor {
            parents: parents.iter().map(|p| id(p)).collect(),
            active,
            texts: Texts::default(),
            version: None,
        };
        Lineage {
            parents: vec![id("b"), id("c")],
            nodes: Arc::new(HashMap::from([
                (id("a"), node(&["rootCategory"], Active::Inherit)),
                (id("b"), node(&["a"], Active::Inherit)),
                (id("c"), node(&["a"], Active::No)),
                (id("rootCategory"), node(&[], Active::Yes)),
            ])),
        }
    }

    #[test]
    fn ancestors_are_listed_once_and_nearest_first() {
        let lineage = diamond();
        let ids: Vec<_> = lineage.ancestors().iter().map(|id| id.as_str()).collect();
        assert_eq!(ids, ["b", "c", "a", "rootCategory"]);
    }

    #[test]
    fn there_is_one_path_per_route_from_a_root() {
        let lineage = diamond();
        let paths: Vec<String> = lineage
            .paths(10)
            .iter()
            .map(|path| {
                path.iter()
                    .map(|id| id.as_str())
                    .collect::<Vec<_>>()
                    .join(">")
            })
            .collect();
        assert_eq!(paths, ["rootCategory>a>b", "rootCategory>a>c"]);
        assert_eq!(lineage.paths(1).len(), 1);
        assert!(Lineage::default().paths(10).is_empty());
    }

    #[test]
    fn the_depth_is_the_length_of_the_longest_path() {
        assert_eq!(diamond().depth(), 3);
        assert_eq!(Lineage::default().depth(), 0);
    }

    #[test]
    fn one_active_parent_makes_a_collection_active() {
        let lineage = diamond();
        assert!(lineage.effective_active(Active::Inherit));
        assert!(!lineage.effective_active(Active::No));
        let below_c = Lineage {
            parents: vec![id("c")],
            ..lineage
        };
        assert!(!below_c.effective_active(Active::Inherit));
        assert!(Lineage::default().effective_active(Active::Inherit));
    }
}
