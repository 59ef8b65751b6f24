//! Ordered lists of children. Nothing outside this module knows how they are stored.
//!
//! A list is a sequence of *segments*, rows with up to a few hundred ids each, ordered by rank. In
//! addition, each child has a *member* row that says which segment contains it. An operation reads
//! the directory of segments and the segments that it touches, changes them in memory
//! ([`list::List`]) and writes the difference. So its cost depends on how much it moves, not on the
//! length of the list.
//!
//! Ranks are sparse, so segments can be inserted without changing the ranks of others. A segment is
//! never empty and never exceeds twice the target size. Small segments are merged with a neighbour
//! when they change.
//!
//! Directories are cached in memory, under the collection's version: see [`directory`].

mod balance;
mod clear;
pub(super) mod directory;
mod edit;
mod handle;
mod list;
mod lists;
mod many;
mod problems;
mod ranks;
mod raw;
mod read;
mod reads;
mod rows;
mod segment;
mod sql;

pub(super) use clear::clear_some;
pub(super) use edit::{Edited, MAX_MOVED};
pub use handle::Children;
pub(super) use handle::cache_after_commit;
pub(super) use lists::{Lists, are_current, is_current, other, select_members, switch, unswitch};
pub(super) use many::{Target, mutate};
pub use read::{CachedList, Page};
pub(super) use rows::{clear, links};
pub use rows::{lists, memberships, memberships_up_to, parent_counts, parents};
