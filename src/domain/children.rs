//! The two ordered lists of a collection, and the operations on them.
//!
//! The obvious model on a `Vec` defines what each operation means; it is in the tests.
//! How lists of a million are stored so that an operation costs what it touches is the
//! store's concern.

use std::{collections::HashSet, fmt};

use super::{
    constraint::Constraint,
    error::{Error, Reason, Violation, Violations},
    field::FieldPath,
    ids::{ChildId, CollectionId, ProductId},
    limits::Limits,
};

pub use super::field::{MutationField, MutationPart, Operation};

/// Which of a collection's lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChildType {
    /// Child products.
    Product,
    /// Child collections.
    Collection,
}

impl ChildType {
    /// Parses the id of such a child, which is the value of `field`.
    ///
    /// # Errors
    /// As [`ProductId::parse`] or [`CollectionId::parse`].
    pub fn parse_id(self, field: impl Into<FieldPath>, id: &str) -> Result<ChildId, Violation> {
        match self {
            Self::Product => ProductId::parse(field, id).map(ChildId::from),
            Self::Collection => CollectionId::parse(field, id).map(ChildId::from),
        }
    }
}

/// One operation on a list of n children; indexes are zero-based.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Adds at the end those that are not in the list.
    Append {
        /// What to add, in order.
        ids: Vec<ChildId>,
        /// What happens to those that are.
        on_duplicate: OnDuplicate,
    },
    /// Adds those that are not in the list, the first at `position`.
    Insert {
        /// What to add, in order.
        ids: Vec<ChildId>,
        /// An index from 0 to n, or next to a child.
        position: Position,
        /// What happens to those that are in the list.
        on_duplicate: OnDuplicate,
    },
    /// Removes those that are in the list.
    Remove {
        /// What to remove.
        ids: Vec<ChildId>,
        /// What happens to those that are not.
        on_missing: OnMissing,
    },
    /// Moves a range, both ends included.
    MoveRange {
        /// The first.
        first: u64,
        /// The last.
        last: u64,
        /// Where the first goes: 0 to n less the number moved, or next to a child outside
        /// the range.
        position: Position,
    },
    /// Moves the named children, in the given order, to one position.
    MoveIds {
        /// What to move; all must be in the list.
        ids: Vec<ChildId>,
        /// Where the first goes, as for `MoveRange`.
        position: Position,
    },
    /// Gives each named child a place in the resulting list.
    Reorder {
        /// Distinct children with distinct places.
        placements: Vec<(ChildId, Place)>,
    },
    /// Replaces the list.
    Replace {
        /// The new list.
        ids: Vec<ChildId>,
    },
}

/// Where children are inserted or moved to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// The first one's index in the result.
    Index(u64),
    /// Immediately before this child, which does not move.
    Before(ChildId),
    /// Immediately after this child, which does not move.
    After(ChildId),
}

/// A place in a list of n children.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// An index, below n.
    Index(u64),
    /// The last place.
    Last,
}

/// What happens to children that are added and are in the list already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDuplicate {
    /// They keep their position and are reported.
    #[default]
    Ignore,
    /// The request fails.
    Error,
    /// The request fails if all of them are.
    ErrorIfAll,
}

/// What happens to children that are removed and are not in the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnMissing {
    /// They are reported.
    #[default]
    Ignore,
    /// The request fails.
    Error,
}

/// What one mutation did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How many were added.
    pub added: u64,
    /// How many were removed.
    pub removed: u64,
    /// How many were named to be moved.
    pub moved: u64,
    /// Named to be added, and in the list already.
    pub existing: Vec<ChildId>,
    /// Named to be removed, and not in the list.
    pub missing: Vec<ChildId>,
}

impl fmt::Display for ChildType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Product => "products",
            Self::Collection => "collections",
        })
    }
}

impl Position {
    /// The child next to which it is, and in which field that is named.
    pub fn anchor(&self) -> Option<(&ChildId, MutationField)> {
        match self {
            Self::Index(_) => None,
            Self::Before(id) => Some((id, MutationField::Before)),
            Self::After(id) => Some((id, MutationField::After)),
        }
    }
}

impl From<u64> for Place {
    fn from(index: u64) -> Self {
        Self::Index(index)
    }
}

impl Place {
    /// The index in a list whose last index is `last`.
    pub fn index(self, last: u64) -> u64 {
        match self {
            Self::Index(index) => index,
            Self::Last => last,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => index.fmt(f),
            Self::Last => f.write_str("last"),
        }
    }
}

impl Mutation {
    /// An append that leaves those that are in the list where they are.
    pub fn append(ids: Vec<ChildId>) -> Self {
        let on_duplicate = OnDuplicate::Ignore;
        Self::Append { ids, on_duplicate }
    }

    /// A removal that passes over those that are not in the list.
    pub fn remove(ids: Vec<ChildId>) -> Self {
        let on_missing = OnMissing::Ignore;
        Self::Remove { ids, on_missing }
    }

    /// A field of the request's `at`th mutation, which is this.
    pub fn field(&self, at: usize, field: MutationField) -> FieldPath {
        let operation = match self {
            Self::Append { .. } => Operation::Append,
            Self::Insert { .. } => Operation::Insert,
            Self::Remove { .. } => Operation::Remove,
            Self::MoveRange { .. } => Operation::MoveRange,
            Self::MoveIds { .. } => Operation::MoveIds,
            Self::Reorder { .. } => Operation::Reorder,
            Self::Replace { .. } => Operation::Replace,
        };
        FieldPath::Mutation(at, MutationPart { operation, field })
    }

    /// The ids that the operation may add to the list.
    pub fn candidates(&self) -> &[ChildId] {
        match self {
            Self::Append { ids, .. } | Self::Insert { ids, .. } | Self::Replace { ids } => ids,
            Self::Remove { .. }
            | Self::MoveRange { .. }
            | Self::MoveIds { .. }
            | Self::Reorder { .. } => &[],
        }
    }

    /// The named ids; those of placements are none.
    fn ids(&self) -> Option<&[ChildId]> {
        match self {
            Self::Append { ids, .. }
            | Self::Insert { ids, .. }
            | Self::Remove { ids, .. }
            | Self::MoveIds { ids, .. }
            | Self::Replace { ids } => Some(ids),
            Self::Reorder { .. } | Self::MoveRange { .. } => None,
        }
    }

    fn id_count(&self) -> usize {
        if let Self::Reorder { placements } = self {
            return placements.len();
        }
        self.ids().map_or(0, <[_]>::len)
    }

    fn position(&self) -> Option<&Position> {
        match self {
            Self::Insert { position, .. }
            | Self::MoveIds { position, .. }
            | Self::MoveRange { position, .. } => Some(position),
            Self::Append { .. }
            | Self::Remove { .. }
            | Self::Reorder { .. }
            | Self::Replace { .. } => None,
        }
    }
}

/// Checks what can be checked without the list: the numbers of mutations and ids, that
/// each names something, that `Reorder` names each place once, and that nothing goes
/// next to itself.
///
/// # Errors
/// With every violation.
pub fn check(mutations: &[&Mutation], limits: &Limits) -> Result<(), Error> {
    let mut violations = Violations::default();
    violations.count(FieldPath::Mutations, mutations.len(), limits.mutations);
    let count = mutations.iter().map(|mutation| mutation.id_count()).sum();
    if count > limits.mutation_ids {
        let max = limits.mutation_ids;
        violations.add(
            FieldPath::MutationIds,
            "",
            Constraint::TooMany { count, max },
        );
    }
    // What is too much is not looked at.
    violations.finish()?;
    let mut violations = Violations::default();
    for (at, mutation) in mutations.iter().enumerate() {
        check_one(at, mutation, &mut violations);
    }
    violations.finish()
}

fn check_one(at: usize, mutation: &Mutation, violations: &mut Violations) {
    if let Mutation::Reorder { placements } = mutation {
        check_placements(at, mutation, placements, violations);
    }
    let Some(ids) = mutation.ids() else { return };
    if ids.is_empty() && !matches!(mutation, Mutation::Replace { .. }) {
        violations.add(
            mutation.field(at, MutationField::Ids),
            "",
            Constraint::Empty,
        );
    }
    if let Some((anchor, field)) = mutation.position().and_then(Position::anchor)
        && ids.contains(anchor)
    {
        let why = "it is one of the children that go there";
        let field = mutation.field(at, field);
        violations.add(field, anchor.as_str(), Constraint::Forbidden(why));
    }
}

fn check_placements(
    at: usize,
    mutation: &Mutation,
    placements: &[(ChildId, Place)],
    violations: &mut Violations,
) {
    let field = |field| mutation.field(at, field);
    if placements.is_empty() {
        violations.add(field(MutationField::Placements), "", Constraint::Empty);
    }
    let (mut ids, mut places) = (HashSet::new(), HashSet::new());
    for (n, (id, place)) in placements.iter().enumerate() {
        if !ids.insert(id) {
            let field = field(MutationField::PlacementId(n));
            violations.add(field, id.as_str(), Constraint::Repeated);
        }
        if !places.insert(place) {
            let field = field(MutationField::PlacementIndex(n));
            violations.add(field, &place.to_string(), Constraint::Repeated);
        }
    }
}

/// An index that the list, as it is when its mutation comes, does not have.
pub fn out_of_range(field: FieldPath, index: u64, max: u64, len: u64) -> Error {
    let rule = Constraint::OutOfRange {
        min: 0,
        max: i64::try_from(max).unwrap_or(i64::MAX),
    };
    let message = format!("index {index} must be from 0 to {max}; the list has {len}");
    Error {
        violations: vec![Violation::new(field, &index.to_string(), rule)],
        ..Error::new(Reason::IndexOutOfRange, message)
            .with("index", index)
            .with("max_index", max)
    }
}

/// A child that is named and not in the list.
pub fn not_in_list(list: ChildType, id: &ChildId) -> Error {
    Error::new(
        Reason::ChildNotInList,
        format!("{id:?} is not among the collection's {list}"),
    )
    .about(id.as_str())
}

/// Children that are added and in the list of the collection already.
pub fn already_in_list(collection: &CollectionId, list: ChildType, ids: &[ChildId]) -> Error {
    let first = ids.first().map_or("", ChildId::as_str);
    Error::new(
        Reason::ChildAlreadyInList,
        format!("{first:?} is among the {list} of collection {collection:?} already"),
    )
    .about(collection.as_str())
    .with("child_id", first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: &str) -> ChildId {
        ChildId::trusted(id)
    }

    fn value_of(mutation: &Mutation) -> Result<(), String> {
        let result = check(&[mutation], &Limits::default());
        result.map_err(|error| error.violations[0].value.clone())
    }

    #[test]
    fn reorder_names_each_child_and_each_place_once() {
        let check = |placements| value_of(&Mutation::Reorder { placements });
        let at = |name: &str, index: u64| (id(name), Place::Index(index));
        let last = |name| (id(name), Place::Last);
        assert_eq!(check(vec![at("a", 0), at("b", 1), last("c")]), Ok(()));
        assert_eq!(check(vec![at("a", 0), at("a", 1)]), Err("a".into()));
        assert_eq!(check(vec![at("a", 1), at("b", 1)]), Err("1".into()));
        assert_eq!(check(vec![last("a"), last("b")]), Err("last".into()));
    }

    #[test]
    fn nothing_goes_beside_itself() {
        for position in [Position::Before(id("a")), Position::After(id("a"))] {
            let ids = vec![id("b"), id("a")];
            let moved = Mutation::MoveIds {
                ids: ids.clone(),
                position: position.clone(),
            };
            assert_eq!(value_of(&moved), Err("a".into()));
            let inserted = Mutation::Insert {
                ids,
                position,
                on_duplicate: OnDuplicate::Ignore,
            };
            assert_eq!(value_of(&inserted), Err("a".into()));
        }
    }
}
