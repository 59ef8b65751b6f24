//! Keeping the lists of smart collections right: as products change ([`follow`]), as rules do
//! ([`evaluate`]), and making a damaged one whole ([`rebuild`]). It happens where a unit of work is
//! saved, in its transaction, so what is committed is right.

mod evaluate;
mod follow;
mod rebuild;

pub use evaluate::{Expected, expected};
pub use follow::to_follow;
