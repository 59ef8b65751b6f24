//! Compiled rules, in the form in which they are evaluated over the facts of a product. They also
//! tell the predicates by which `RuleSet` finds them.

use std::sync::Arc;

use super::{
    super::facts::{Facts, Scope},
    condition::Field,
    predicate::{Predicate, Test},
    tree::{Combinator, Rule, Rules},
};

/// Compiled rules.
#[derive(Clone, Debug)]
pub struct Matcher {
    pub(super) root: Node,
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    Condition {
        predicate: Arc<Predicate>,
        negated: bool,
    },
    Group {
        combinator: Combinator,
        same_row: bool,
        nodes: Vec<Node>,
    },
}

/// Access predicates: at least one of them holds for some row of every product that matches. Also
/// the estimated fraction of all products for which one of them holds. `None` if the rules have no
/// such predicates.
pub(super) type Access = Option<(f64, Vec<Arc<Predicate>>)>;

impl Matcher {
    /// Compiles rules.
    pub fn new(rules: &Rules) -> Self {
        let root = Node::new(&rules.root);
        Self { root }
    }

    /// Whether a product with these facts satisfies the rules.
    pub fn matches(&self, facts: &Facts) -> bool {
        self.root.holds(facts, Scope::All)
    }
}

impl Node {
    pub fn new(rule: &Rule) -> Self {
        match rule {
            Rule::Condition(condition) => {
                let (predicate, negated) = Predicate::of(condition);
                Self::Condition {
                    predicate: Arc::new(predicate),
                    negated,
                }
            }
            Rule::Group(group) => Self::Group {
                combinator: group.combinator,
                same_row: group.same_row,
                nodes: group.rules.iter().map(Self::new).collect(),
            },
        }
    }

    pub fn holds(&self, facts: &Facts, scope: Scope) -> bool {
        match self {
            Self::Condition { predicate, negated } => predicate.holds(facts, scope) != *negated,
            Self::Group {
                combinator,
                same_row: true,
                nodes,
            } if scope == Scope::All => {
                let mut rows = (0..facts.row_count()).map(Scope::Row);
                rows.any(|row| combined(*combinator, nodes, facts, row))
            }
            Self::Group {
                combinator, nodes, ..
            } => combined(*combinator, nodes, facts, scope),
        }
    }

    /// Calls `replace` on each predicate.
    pub fn each_predicate(&mut self, replace: &mut impl FnMut(&mut Arc<Predicate>)) {
        match self {
            Self::Condition { predicate, .. } => replace(predicate),
            Self::Group { nodes, .. } => {
                for node in nodes {
                    node.each_predicate(replace);
                }
            }
        }
    }

    /// The access predicates of the node.
    pub fn access(&self) -> Access {
        match self {
            Self::Condition { negated: true, .. }
            | Self::Group {
                combinator: Combinator::None,
                ..
            } => None,
            Self::Condition { predicate, .. } => {
                Some((selectivity(predicate), vec![Arc::clone(predicate)]))
            }
            Self::Group {
                combinator: Combinator::All,
                nodes,
                ..
            } => {
                let accesses = nodes.iter().filter_map(Self::access);
                accesses.min_by(|a, b| a.0.total_cmp(&b.0))
            }
            Self::Group {
                combinator: Combinator::Any,
                nodes,
                ..
            } => nodes.iter().try_fold((0.0, Vec::new()), |sum, node| {
                let (part, predicates) = node.access()?;
                Some((sum.0 + part, [sum.1, predicates].concat()))
            }),
        }
    }
}

fn combined(combinator: Combinator, nodes: &[Node], facts: &Facts, scope: Scope) -> bool {
    let mut verdicts = nodes.iter().map(|node| node.holds(facts, scope));
    match combinator {
        Combinator::All => verdicts.all(|holds| holds),
        Combinator::Any => verdicts.any(|holds| holds),
        Combinator::None => !verdicts.any(|holds| holds),
    }
}

/// A rough estimate of the fraction of a shop's products that satisfy a predicate. Only the
/// relative order matters.
fn selectivity(predicate: &Predicate) -> f64 {
    let of_one = match predicate.field {
        Field::ProductId => 0.000_01,
        Field::Slug => 0.000_1,
        Field::Title => 0.001,
        Field::VariantTitle | Field::Vendor | Field::Tag | Field::Type | Field::Collection => 0.03,
        Field::Attribute(_) | Field::Price | Field::CompareAtPrice => 0.05,
        Field::Inventory | Field::Created | Field::Updated => 0.05,
        // Nearly all products of a shop have the same value.
        Field::Status | Field::Available | Field::PriceCurrency => 0.9,
    };
    match &predicate.test {
        Test::OneOf(values) => of_one * values.len() as f64,
        Test::StartsWith(_) | Test::EndsWith(_) => of_one.max(0.02),
        Test::Contains(_) => of_one.max(0.04),
        Test::Between(..) => 0.3,
        Test::Above { .. } | Test::Below { .. } => 0.5,
        Test::IsSet => 0.95,
    }
}
