//! Which collections to list, and in which order, where more is asked than a name.

use super::time::Timestamp;

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
    /// That about a time.
    Time(TimeAttribute, Comparison, Timestamp),
}

/// A text to ask about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextAttribute {
    /// The id. It is compared as it is; its parts, ignoring case.
    Id,
    /// The name, likewise.
    Name,
    /// The default locale's display name, ignoring case.
    DisplayName,
}

/// A time to ask about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeAttribute {
    /// When it was created.
    Create,
    /// When it was last changed.
    Update,
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
    /// A time.
    Time(TimeAttribute),
}
