//! Filters and sort orders of lists of collections and products. The store evaluates most of them
//! in SQL; [`Key`] and [`Keys`] are for those that are evaluated in memory.

use std::cmp::Ordering;

use super::{
    ids::{CollectionId, ProductId},
    time::Timestamp,
};

/// A filter on collections. Collections must satisfy every part that is set.
#[derive(Clone, Debug, Default)]
pub struct CollectionFilter {
    /// The display name in the default locale must contain this text, ignoring case.
    pub name: Option<String>,
    /// The id must be one of these. Without this, roots are left out.
    pub ids: Option<Vec<CollectionId>>,
    /// Whether roots are included.
    pub roots: bool,
    /// One of these collections must be a parent.
    pub parents: Option<Vec<CollectionId>>,
    /// The collection must not have a parent.
    pub orphaned: bool,
    /// The kind: true for smart.
    pub smart: Option<bool>,
    /// The collection must be effectively active, by itself or through its parents.
    pub active: bool,
    /// An expression that must hold.
    pub expression: Option<Expression>,
}

/// A filter on products. Products must satisfy every part that is set.
#[derive(Clone, Debug, Default)]
pub struct ProductFilter {
    /// The title must contain this text, ignoring case. An unregistered product in a collection has
    /// its id as title.
    pub title: Option<String>,
    /// Unregistered products whose ids match `title`. They are found in advance, because databases
    /// cannot case-fold ids.
    pub unregistered_matches: Vec<ProductId>,
    /// The id must be one of these.
    pub ids: Option<Vec<ProductId>>,
    /// One of these collections must contain the product.
    pub collections: Option<Vec<CollectionId>>,
    /// Whether to leave out products in collections that are not registered.
    pub registered_only: bool,
    /// The product must not be in any collection.
    pub unassigned: bool,
}

impl ProductFilter {
    /// Matches all registered products.
    pub fn registered() -> Self {
        Self {
            registered_only: true,
            ..Self::default()
        }
    }
}

/// A condition on collections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// All of these must hold.
    All(Vec<Self>),
    /// At least one of these must hold.
    Any(Vec<Self>),
    /// This must not hold.
    Not(Box<Self>),
    /// A condition on a text.
    Text(TextAttribute, Matching, String),
    /// A condition on the time of creation.
    Created(Comparison, Timestamp),
}

impl Expression {
    /// The texts in the comparisons; empty texts stand for times.
    pub fn texts(&self) -> Vec<&str> {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::texts).collect(),
            Self::Not(part) => part.texts(),
            Self::Text(_, _, text) => vec![text],
            Self::Created(..) => vec![""],
        }
    }
}

/// A text that can be filtered on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextAttribute {
    /// The id. Comparisons are exact; searches for a part of it ignore case.
    Id,
    /// The display name in the default locale, ignoring case.
    DisplayName,
}

/// A comparison of two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Equal.
    Equal,
    /// Not equal.
    NotEqual,
    /// Greater. Texts are compared bytewise.
    Greater,
    /// Greater or equal.
    GreaterOrEqual,
    /// Less.
    Less,
    /// Less or equal.
    LessOrEqual,
}

impl Comparison {
    /// Whether two values in this order satisfy the comparison.
    pub fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
        }
    }
}

/// A condition on a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matching {
    /// The text compares to another like this.
    Compared(Comparison),
    /// The text contains another.
    Contains,
    /// The text starts with another.
    StartsWith,
    /// The text ends with another.
    EndsWith,
}

/// A sort criterion of collections. Ties are broken by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// The attribute to sort by.
    pub by: OrderBy,
    /// Whether to sort in descending order.
    pub descending: bool,
}

/// The attributes by which collections can be sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderBy {
    /// The id, bytewise.
    Id,
    /// The internal name, bytewise.
    InternalName,
    /// The case-folded display name in the default locale.
    DisplayName,
    /// The time of creation.
    CreateTime,
}

/// A sort key. Keys of different kinds are in the order of the variants.
#[derive(Clone, Debug, PartialEq)]
pub enum Key {
    /// False before true.
    Switch(bool),
    /// Ascending.
    Number(f64),
    /// Bytewise.
    Text(String),
}

/// The sort keys of an item, each with whether it is descending. Missing values sort after all
/// others.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Keys(pub Vec<(Option<Key>, bool)>);

impl Keys {
    /// Compares two items by their keys.
    pub fn compare(&self, other: &Self) -> Ordering {
        let pairs = self.0.iter().zip(&other.0);
        let order = pairs.map(|((a, descending), (b, _))| {
            let order = match (a, b) {
                (Some(a), Some(b)) => a.compare(b),
                (a, b) => b.is_some().cmp(&a.is_some()),
            };
            if *descending { order.reverse() } else { order }
        });
        order.fold(Ordering::Equal, Ordering::then)
    }
}

impl Key {
    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Switch(a), Self::Switch(b)) => a.cmp(b),
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (a, b) => a.rank().cmp(&b.rank()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Switch(_) => 0,
            Self::Number(_) => 1,
            Self::Text(_) => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sort_keys_are_ordered_by_type_and_value() {
        let text = |text: &str| Some(Key::Text(text.into()));
        let sorted = |descending, mut keys: Vec<Option<Key>>| {
            let keys_of = |key: &Option<Key>| Keys(vec![(key.clone(), descending)]);
            keys.sort_by(|a, b| keys_of(a).compare(&keys_of(b)));
            keys
        };
        let ascending = vec![
            Some(Key::Switch(false)),
            Some(Key::Number(-1.5)),
            Some(Key::Number(9.0)),
            text("10"),
            text("9"),
            None,
        ];
        let mut backwards = ascending.clone();
        backwards.reverse();
        assert_eq!(sorted(false, backwards.clone()), ascending);
        assert_eq!(sorted(true, ascending), backwards);

        let two = |a, b| Keys(vec![(text(a), true), (text(b), false)]);
        assert_eq!(two("b", "x").compare(&two("a", "w")), Ordering::Less);
        assert_eq!(two("a", "x").compare(&two("a", "w")), Ordering::Greater);
    }
}
