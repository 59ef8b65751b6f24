//! Products that are named by a smart collection next to its rules: always in it, never in it, or
//! at a place of their own.

pub use super::field::EntryKind;

use super::ids::ProductId;

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

/// Why a smart collection has a product: the last of these that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChildReason {
    /// It matches the rules.
    Match,
    /// It is included.
    Include,
    /// It is pinned.
    Pin,
}
