//! Which collections and products to list, and in which order.

use std::cmp::Ordering;

use super::{
    ids::{CollectionId, ProductId},
    time::Timestamp,
};

/// Which collections to list: those that satisfy all that is set.
#[derive(Clone, Debug, Default)]
pub struct CollectionFilter {
    /// The default locale's display name contains this, ignoring case.
    pub name: Option<String>,
    /// The id is one of these. Without this, roots are left out.
    pub ids: Option<Vec<CollectionId>>,
    /// Whether roots are not left out.
    pub roots: bool,
    /// One of these collections is a parent.
    pub parents: Option<Vec<CollectionId>>,
    /// Only collections without a parent.
    pub orphaned: bool,
    /// The kind; true is smart.
    pub smart: Option<bool>,
    /// Whether only those are listed that are shown, themselves or by their parents.
    pub active: bool,
    /// What else must hold.
    pub expression: Option<Expression>,
}

/// Which products to list: those that satisfy all that is set.
#[derive(Clone, Debug, Default)]
pub struct ProductFilter {
    /// The title contains this, ignoring case. Of a product that is only in a collection its id
    /// is the title.
    pub title: Option<String>,
    /// The products with such an id, which no database can fold: found before the others.
    pub untitled: Vec<ProductId>,
    /// The id is one of these.
    pub ids: Option<Vec<ProductId>>,
    /// One of these collections has it.
    pub collections: Option<Vec<CollectionId>>,
    /// Whether to leave out those of which nobody told, and that are in a collection.
    pub told: bool,
    /// Only products that are in no collection.
    pub unassigned: bool,
}

impl ProductFilter {
    /// All registered products.
    pub fn registered() -> Self {
        Self {
            told: true,
            ..Self::default()
        }
    }
}

/// What a collection must satisfy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// All of these.
    All(Vec<Self>),
    /// One of these.
    Any(Vec<Self>),
    /// Not this.
    Not(Box<Self>),
    /// That about a text.
    Text(TextAttribute, Matching, String),
    /// That of the time when it was created.
    Created(Comparison, Timestamp),
}

impl Expression {
    /// The texts that it compares with; for a time, an empty one.
    pub fn texts(&self) -> Vec<&str> {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::texts).collect(),
            Self::Not(part) => part.texts(),
            Self::Text(_, _, text) => vec![text],
            Self::Created(..) => vec![""],
        }
    }
}

/// A text to ask about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextAttribute {
    /// The id. It is compared as it is; its parts, ignoring case.
    Id,
    /// The default locale's display name, ignoring case.
    DisplayName,
}

/// How two values stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// The same.
    Equal,
    /// Not the same.
    NotEqual,
    /// More: a text comes after another by its bytes.
    Greater,
    /// More or the same.
    GreaterOrEqual,
    /// Less.
    Less,
    /// Less or the same.
    LessOrEqual,
}

impl Comparison {
    /// Whether the comparison holds for two values in that order.
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

/// What is asked about a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matching {
    /// How it stands to another.
    Compared(Comparison),
    /// That it has another in it.
    Contains,
    /// That it begins with another.
    StartsWith,
    /// That it ends with another.
    EndsWith,
}

/// By what collections are ordered; ties by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// By that.
    pub by: OrderBy,
    /// Whether the greatest comes first.
    pub descending: bool,
}

/// What collections can be ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderBy {
    /// The id, by its bytes.
    Id,
    /// The internal name, by its bytes.
    InternalName,
    /// The folded display name in the default locale.
    DisplayName,
    /// The time when they were created.
    CreateTime,
}

/// A sort key. Kinds are sorted in the order of the variants.
#[derive(Clone, Debug, PartialEq)]
pub enum Key {
    /// False before true.
    Switch(bool),
    /// Ascending.
    Number(f64),
    /// By its bytes.
    Text(String),
}

/// The sort keys of an item, each with whether it is descending. A missing value sorts after all
/// others.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Keys(pub Vec<(Option<Key>, bool)>);

impl Keys {
    /// Compares two items.
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
    fn items_are_in_the_order_of_their_values() {
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
