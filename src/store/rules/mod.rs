//! The rules of smart collections as they are stored: compiled rule sets, rule entries (includes,
//! excludes and pins), sort keys, running evaluations and due times. [`super::membership`] uses
//! them to keep the product lists of smart collections correct.

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
