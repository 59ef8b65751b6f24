//! Rule entries: products that a smart collection includes, excludes or pins, independently of its
//! rules.

pub use super::field::EntryKind;

use super::ids::ProductId;

/// A rule entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleEntry {
    /// The product.
    pub product: ProductId,
    /// The index of a pin; `None` for other entries.
    pub index: Option<u64>,
}

/// The numbers of rule entries of a smart collection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryCounts {
    /// The number of [`EntryKind::Include`] entries.
    pub includes: u64,
    /// The number of [`EntryKind::Exclude`] entries.
    pub excludes: u64,
    /// The number of [`EntryKind::Pin`] entries.
    pub pins: u64,
}

/// Why a smart collection contains a product. If several reasons apply, the last variant counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChildReason {
    /// The product matches the rules.
    Match,
    /// The product is included.
    Include,
    /// The product is pinned.
    Pin,
}
