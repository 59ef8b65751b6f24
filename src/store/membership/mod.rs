//! Keeps the product lists of smart collections in line with their rules: when products change
//! ([`follow`]) and when rules change ([`evaluate`]). [`rebuild`] repairs a damaged list. All of it
//! happens when a unit of work is saved, in the same transaction, so committed lists are always
//! correct.

mod evaluate;
mod follow;
mod rebuild;

pub use evaluate::{Expected, expected};
pub use follow::to_follow;
