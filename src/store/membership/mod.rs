//! Keeps the product lists of smart collections in line with their rules: when products change
//! ([`follow`]) and when rules change ([`evaluate`]). [`rebuild`] repairs a damaged list. All of it
//! happens when a unit of work is saved, in the same transaction, so committed lists are always
//! correct. For rules over very many products, a job builds the list first ([`next_list`]).

mod evaluate;
mod follow;
mod next_list;
mod rebuild;

pub use evaluate::{Expected, expected, too_many_products};
pub use follow::to_follow;
pub use next_list::{CaughtUp, Matches, NextList, begin_next, clear_other, evaluation_of};
