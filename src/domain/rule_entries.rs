//! Products that are named by a smart collection beside its rules: always in it, never in it, or
//! at a place of their own.

use super::ids::ProductId;

/// What a product is named for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    /// It is in the collection, whether it matches the rules or not.
    Include,
    /// It is not in the collection, whether it matches the rules or not.
    Exclude,
    /// While it is in the collection, it is at its index.
    Pin,
}

impl EntryKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Include, Self::Exclude, Self::Pin];

    /// The word for several of them.
    pub fn name(self) -> &'static str {
        match self {
            Self::Include => "includes",
            Self::Exclude => "excludes",
            Self::Pin => "pins",
        }
    }
}

/// A product that a smart collection names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleEntry {
    /// Which.
    pub product: ProductId,
    /// The index that it is pinned to; none for what is no pin.
    pub index: Option<u64>,
}

/// How many products a smart collection names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryCounts {
    /// Of [`EntryKind::Include`].
    pub includes: u64,
    /// Of [`EntryKind::Exclude`].
    pub excludes: u64,
    /// Of [`EntryKind::Pin`].
    pub pins: u64,
}
