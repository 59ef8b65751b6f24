//! The two ordered lists of a collection, and the operations on them.
//!
//! The meaning of each operation is defined by a simple model on a `Vec`, which is in the tests.
//! How the store implements them efficiently for lists of a million children is documented in
//! [`crate::store::children`].

use std::{collections::HashSet, fmt};

use super::{
    constraint::Constraint,
    error::{Error, Reason, Violation, Violations},
    field::FieldPath,
    ids::{ChildId, CollectionId, ProductId},
    limits::Limits,
};

pub use super::field::{MutationField, MutationPart, Operation};

/// One of the two lists of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChildType {
    /// The child products.
    Product,
    /// The child collections.
    Collection,
}

impl ChildType {
    /// Parses the id of a child of this type; `field` is the field that contains it.
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
    /// Appends children, except those that are in the list already.
    Append {
        /// The children to add, in order.
        ids: Vec<ChildId>,
        /// What to do about children that are in the list already.
        on_duplicate: OnDuplicate,
    },
    /// Inserts children, except those that are in the list already, at `position`.
    Insert {
        /// The children to add, in order.
        ids: Vec<ChildId>,
        /// An index from 0 to n, or next to a child.
        position: Position,
        /// What to do about children that are in the list already.
        on_duplicate: OnDuplicate,
    },
    /// Removes children.
    Remove {
        /// The children to remove.
        ids: Vec<ChildId>,
        /// What to do about children that are not in the list.
        on_missing: OnMissing,
    },
    /// Moves a range of the list, including both ends.
    MoveRange {
        /// The index of the first child of the range.
        first: u64,
        /// The index of the last child of the range.
        last: u64,
        /// The new position of the first child: an index from 0 to n minus the size of the range,
        /// or next to a child outside the range.
        position: Position,
    },
    /// Moves the given children, in the given order, to one position.
    MoveIds {
        /// The children to move; all must be in the list.
        ids: Vec<ChildId>,
        /// The new position of the first one, as for `MoveRange`.
        position: Position,
    },
    /// Gives each of the given children a place in the resulting list.
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

/// A position to which children are inserted or moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// The index of the first of them in the result.
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

/// What to do about children to add that are in the list already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDuplicate {
    /// They keep their positions and are reported.
    #[default]
    Ignore,
    /// The request fails.
    Error,
    /// The request fails if all of the children are in the list already.
    ErrorIfAll,
}

/// What to do about children to remove that are not in the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnMissing {
    /// They are reported.
    #[default]
    Ignore,
    /// The request fails.
    Error,
}

/// The result of one mutation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The number of children that were added.
    pub added: u64,
    /// The number of children that were removed.
    pub removed: u64,
    /// The number of children that the mutation was to move.
    pub moved: u64,
    /// Children to add that were in the list already.
    pub existing: Vec<ChildId>,
    /// Children to remove that were not in the list.
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
    /// The child next to which the position is, and the name of the field that contains it.
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
    /// An append that ignores children that are in the list already.
    pub fn append(ids: Vec<ChildId>) -> Self {
        let on_duplicate = OnDuplicate::Ignore;
        Self::Append { ids, on_duplicate }
    }

    /// A removal that ignores children that are not in the list.
    pub fn remove(ids: Vec<ChildId>) -> Self {
        let on_missing = OnMissing::Ignore;
        Self::Remove { ids, on_missing }
    }

    /// The path to a field of this mutation; `at` is the mutation's position in the request.
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

    /// The children that the mutation may add to the list.
    pub fn candidates(&self) -> &[ChildId] {
        match self {
            Self::Append { ids, .. } | Self::Insert { ids, .. } | Self::Replace { ids } => ids,
            Self::Remove { .. }
            | Self::MoveRange { .. }
            | Self::MoveIds { .. }
            | Self::Reorder { .. } => &[],
        }
    }

    /// The ids of the mutation; `None` if it has none, or has placements instead.
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

    /// The position to which it inserts or moves children; `None` if it has none.
    pub fn position(&self) -> Option<&Position> {
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

/// Checks everything that does not depend on the list: the numbers of mutations and ids; that no
/// mutation is empty; that `Reorder` uses each place only once; and that no child is to be placed
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
    // With too many of them, the mutations are not examined individually.
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
        let why = "it is one of the children to insert or move";
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

/// The error of an index that the list does not have when its mutation is applied.
pub fn out_of_range(field: FieldPath, index: u64, max: u64, len: u64) -> Error {
    let rule = Constraint::OutOfRange {
        min: 0,
        max: i64::try_from(max).unwrap_or(i64::MAX),
    };
    let message = format!("index {index} must be from 0 to {max}; the list has {len} children");
    Error {
        violations: vec![Violation::new(field, &index.to_string(), rule)],
        ..Error::new(Reason::IndexOutOfRange, message)
            .with("index", index)
            .with("max_index", max)
    }
}

/// The error of a child that is not in the collection's list.
pub fn not_in_list(list: ChildType, id: &ChildId) -> Error {
    let message = format!("{id:?} is not in the collection's list of {list}");
    let error = Error::new(Reason::ChildNotInList, message);
    match list {
        ChildType::Product => error.about_product(id.as_str()),
        ChildType::Collection => error.about(id.as_str()),
    }
}

/// The error of children to add that are in the list already.
pub fn already_in_list(collection: &CollectionId, list: ChildType, ids: &[ChildId]) -> Error {
    let first = ids.first().map_or("", ChildId::as_str);
    Error::new(
        Reason::ChildAlreadyInList,
        format!("{first:?} is already in the list of {list} of collection {collection:?}"),
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
    fn a_reorder_names_each_child_and_each_place_at_most_once() {
        let check = |placements| value_of(&Mutation::Reorder { placements });
        let at = |name: &str, index: u64| (id(name), Place::Index(index));
        let last = |name| (id(name), Place::Last);
        assert_eq!(check(vec![at("a", 0), at("b", 1), last("c")]), Ok(()));
        assert_eq!(check(vec![at("a", 0), at("a", 1)]), Err("a".into()));
        assert_eq!(check(vec![at("a", 1), at("b", 1)]), Err("1".into()));
        assert_eq!(check(vec![last("a"), last("b")]), Err("last".into()));
    }

    #[test]
    fn a_child_cannot_be_placed_next_to_itself() {
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
