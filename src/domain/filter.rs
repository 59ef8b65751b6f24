//! Which collections and products to list, and in which order.

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
    /// This collection is a parent.
    pub parent: Option<CollectionId>,
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
    /// The title contains this, ignoring case.
    pub title: Option<String>,
    /// The id is one of these.
    pub ids: Option<Vec<ProductId>>,
    /// One of these collections has it.
    pub collections: Option<Vec<CollectionId>>,
    /// Whether to leave out those of which nobody told, and that are in a collection.
    pub told: bool,
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
    /// The internal name, likewise.
    InternalName,
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
    /// A text, by its bytes.
    Text(TextAttribute),
    /// The time when they were created.
    CreateTime,
}
