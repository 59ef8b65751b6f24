//! The two ordered lists of a collection, and the operations on them.
//!
//! The obvious model on a `Vec` defines what each operation means; it stands in the
//! tests. How lists of a million are held so that an operation costs what it touches
//! is the store's affair.

use std::{collections::HashSet, fmt};

use super::{
    error::{Error, Reason, Rule, Violation, Violations},
    ids::ChildId,
    limits::Limits,
};

/// Which of a collection's lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChildList {
    /// Child products.
    Products,
    /// Child collections.
    Collections,
}

/// One operation on a list of n children; indexes are zero-based.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Adds at the end those that are not in the list.
    Append {
        /// What to add, in order.
        ids: Vec<ChildId>,
    },
    /// Adds those that are not in the list so that the first stands at `index`.
    Insert {
        /// 0 to n.
        index: u64,
        /// What to add, in order.
        ids: Vec<ChildId>,
    },
    /// Takes out those that are in the list.
    Remove {
        /// What to take out.
        ids: Vec<ChildId>,
    },
    /// Moves a range, both ends included.
    Move {
        /// The first.
        from_start: u64,
        /// The last.
        from_end: u64,
        /// The first one's index in the result: 0 to n less the number moved.
        to: u64,
    },
    /// Gathers the named, in the given order, at one place.
    MoveIds {
        /// What to move; all must be in the list.
        ids: Vec<ChildId>,
        /// Where to.
        place: Place,
    },
    /// Gives each named child its index in the result.
    Reorder {
        /// Distinct children of the list, distinct indexes below n.
        indexes: Vec<(ChildId, u64)>,
    },
    /// Makes the list exactly this.
    Replace {
        /// The new list.
        ids: Vec<ChildId>,
    },
}

/// Where `MoveIds` gathers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Just before this child, which does not move.
    Before(ChildId),
    /// Just after this child, which does not move.
    After(ChildId),
    /// The first one's index in the result: 0 to n less the number moved.
    Index(u64),
}

/// What one mutation did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How many were added.
    pub added: u64,
    /// How many were taken out.
    pub removed: u64,
    /// How many were named to be moved.
    pub moved: u64,
    /// Named to be added, and in the list already.
    pub already_there: Vec<ChildId>,
    /// Named to be taken out, and not in the list.
    pub absent: Vec<ChildId>,
}

impl fmt::Display for ChildList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Products => "products",
            Self::Collections => "collections",
        })
    }
}

impl Mutation {
    /// The name of the operation.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Append { .. } => "append",
            Self::Insert { .. } => "insert",
            Self::Remove { .. } => "remove",
            Self::Move { .. } => "move",
            Self::MoveIds { .. } => "move_ids",
            Self::Reorder { .. } => "reorder",
            Self::Replace { .. } => "replace",
        }
    }

    /// The ids that the operation may add to the list.
    pub fn candidates(&self) -> &[ChildId] {
        match self {
            Self::Append { ids } | Self::Insert { ids, .. } | Self::Replace { ids } => ids,
            Self::Remove { .. }
            | Self::Move { .. }
            | Self::MoveIds { .. }
            | Self::Reorder { .. } => &[],
        }
    }

    fn id_count(&self) -> usize {
        match self {
            Self::Append { ids }
            | Self::Insert { ids, .. }
            | Self::Remove { ids }
            | Self::MoveIds { ids, .. }
            | Self::Replace { ids } => ids.len(),
            Self::Reorder { indexes } => indexes.len(),
            Self::Move { .. } => 0,
        }
    }
}

/// Checks what can be checked without the list: the numbers of mutations and ids,
/// that each names something, and that `Reorder` names each place once.
///
/// # Errors
/// With every violation; fields are named `mutations.3.append.ids`.
pub fn check(mutations: &[&Mutation], limits: &Limits) -> Result<(), Error> {
    let mut violations = Violations::default();
    violations.count("mutations", mutations.len(), limits.mutations);
    let ids = mutations.iter().map(|mutation| mutation.id_count()).sum();
    if ids > limits.mutation_ids {
        let (count, max) = (ids, limits.mutation_ids);
        violations.add("mutations.ids", "", Rule::TooMany { count, max });
    }
    for (at, mutation) in mutations.iter().enumerate() {
        let field = |name: &str| format!("mutations.{at}.{}.{name}", mutation.name());
        match mutation {
            Mutation::Move { .. } | Mutation::Replace { .. } => {}
            Mutation::Append { ids }
            | Mutation::Insert { ids, .. }
            | Mutation::Remove { ids }
            | Mutation::MoveIds { ids, .. } => {
                if ids.is_empty() {
                    violations.add(field("ids"), "", Rule::Empty);
                }
            }
            Mutation::Reorder { indexes } => {
                if indexes.is_empty() {
                    violations.add(field("indexes"), "", Rule::Empty);
                }
                let (mut ids, mut places) = (HashSet::new(), HashSet::new());
                for (id, index) in indexes {
                    if !ids.insert(id) {
                        violations.add(field("indexes"), id.as_str(), Rule::Repeated);
                    }
                    if !places.insert(index) {
                        violations.add(field("indexes"), &index.to_string(), Rule::Repeated);
                    }
                }
            }
        }
        if let Mutation::MoveIds {
            ids,
            place: Place::Before(anchor) | Place::After(anchor),
        } = mutation
            && ids.contains(anchor)
        {
            let why = "the child to move to is itself moved";
            violations.add(field("place"), anchor.as_str(), Rule::Forbidden(why));
        }
    }
    violations.finish()
}

/// An index that the list, as it is when its mutation comes, does not have.
pub fn out_of_range(field: &str, index: u64, max: u64, len: u64) -> Error {
    let violation = Violation::new(
        field,
        &index.to_string(),
        Rule::OutOfRange {
            min: 0,
            max: i64::try_from(max).unwrap_or(i64::MAX),
        },
    );
    let message = format!("{field}: index {index} must be from 0 to {max}; the list has {len}");
    Error {
        violations: vec![violation],
        ..Error::new(Reason::IndexOutOfRange, message)
    }
}

/// A child that is named and not in the list.
pub fn not_in_list(list: ChildList, id: &ChildId) -> Error {
    Error::new(
        Reason::ChildNotFound,
        format!("{id:?} is not among the collection's {list}"),
    )
    .about(id.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reorder_names_each_child_and_each_place_once() {
        let id = |id: &str| ChildId::trusted(id);
        let check = |indexes| {
            let limits = crate::config::tests::limits();
            let result = check(&[&Mutation::Reorder { indexes }], &limits);
            result.map_err(|error| error.violations[0].value.clone())
        };
        assert_eq!(check(vec![(id("a"), 0), (id("b"), 1)]), Ok(()));
        assert_eq!(check(vec![(id("a"), 0), (id("a"), 1)]), Err("a".into()));
        assert_eq!(check(vec![(id("a"), 1), (id("b"), 1)]), Err("1".into()));
    }
}
