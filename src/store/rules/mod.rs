//! The rules of smart collections, what these name beside them, and the keys that their products
//! are sorted by. How lists follow from that is in [`super::membership`].

mod compiled;
pub mod due;
pub mod entries;
pub mod evaluations;
pub(super) mod keys;
pub(super) mod memory;
pub mod names;

pub use compiled::compiled;
pub(super) use compiled::{FIRST_VERSION, at, create, lock, stamp};
pub use memory::{Compiled, RuleLimits};
