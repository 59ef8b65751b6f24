//! The rules of smart collections: their structure, their meaning, and an index that finds which of
//! many collections a change of a product affects. Rules are evaluated over [`super::facts`].

pub mod condition;
mod contradictions;
pub mod explain;
mod index;
pub mod matcher;
mod predicate;
pub mod references;
pub mod set;
#[cfg(test)]
mod tests;
pub mod tree;

pub use condition::{Condition, Field, Operand, Operator};
pub use explain::{Explained, Explanation, explain};
pub use matcher::Matcher;
pub use references::References;
pub use set::RuleSet;
pub use tree::{Combinator, Group, Rule, Rules, Warning, hash_of_none};
