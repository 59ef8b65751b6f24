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
