//! The ordered lists of children: the one place that knows how they are held.
//!
//! A list is a sequence of *segments*, rows that hold up to a few hundred ids each
//! and stand in the order of their ranks; a *member* row for each child says which
//! segment has it. An operation reads the directory of segments and the segments that
//! it touches, works on them in memory ([`list::List`]), and writes the difference:
//! what it costs depends on what it moves, not on the list.
//!
//! A segment's rank is sparse, so that segments go between others without new ranks
//! for these. A segment has at most twice the target of ids and is never empty; small
//! ones are merged with a neighbour when they are touched.
//!
//! The directory is also kept in memory, under the collection's version: see
//! [`directory`].

mod balance;
pub(super) mod directory;
mod edit;
mod handle;
mod list;
mod many;
mod problems;
mod ranks;
mod raw;
mod read;
mod reads;
mod rows;
mod segment;

pub(super) use edit::Edited;
pub use handle::Children;
pub(super) use handle::remember;
pub(super) use many::{Target, mutate};
pub use read::{Known, Page};
pub(super) use rows::{clear, links, list_code};
pub use rows::{lists, memberships, memberships_up_to, parent_counts, parents};
