//! Explains why a product matches or does not match rules: the result of each rule in the tree,
//! with the values that each condition has evaluated.

use super::{
    super::{
        facts::{Facts, Scope, Value},
        time::Timestamp,
    },
    condition::{Condition, Operand, Type},
    matcher::Node,
    tree::{Combinator, Rule, Rules},
};

/// The maximum number of a field's values in an explanation.
pub const MAX_SHOWN: usize = 10;

/// The maximum number of characters of a value in an explanation.
const SHOWN_CHARS: usize = 255;

/// The result of a rule with its explanation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Whether the rule holds.
    pub holds: bool,
    /// The rule.
    pub rule: Explained,
}

/// The explanation of a rule's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Explained {
    /// A condition.
    Condition {
        /// The condition.
        condition: Condition,
        /// The first values of its field, of any type, in their original form.
        values: Vec<String>,
        /// The number of values of the field.
        count: usize,
        /// The number of values that the condition ignores, because they do not have the type of
        /// its operands.
        mistyped: usize,
    },
    /// A group.
    Group {
        /// The combinator of its rules.
        combinator: Combinator,
        /// If a single row must satisfy the group: the index of the row that is explained, which is
        /// the first that satisfies it, or else the first row.
        row: Option<usize>,
        /// The explanations of its rules.
        rules: Vec<Explanation>,
    },
}

/// Evaluates rules over the facts of a product, with an explanation.
pub fn explain(rules: &Rules, facts: &Facts) -> Explanation {
    of(&rules.root, facts, Scope::All)
}

fn of(rule: &Rule, facts: &Facts, scope: Scope) -> Explanation {
    let node = Node::new(rule);
    let explained = match rule {
        Rule::Condition(condition) => {
            let values = || {
                facts
                    .values(&condition.field, scope)
                    .filter(|it| it.age().is_none())
            };
            let shown = values().take(MAX_SHOWN).map(|value| shown(facts, value));
            Explained::Condition {
                condition: condition.clone(),
                values: shown.collect(),
                count: values().count(),
                mistyped: mistyped(condition, facts, scope),
            }
        }
        Rule::Group(group) => {
            let is_of_one_row = group.same_row && scope == Scope::All;
            let row = is_of_one_row.then(|| deciding_row(&node, facts));
            let scope = row.map_or(scope, Scope::Row);
            let rules = group.rules.iter().map(|rule| of(rule, facts, scope));
            Explained::Group {
                combinator: group.combinator,
                row,
                rules: rules.collect(),
            }
        }
    };
    Explanation {
        holds: node.holds(facts, scope),
        rule: explained,
    }
}

/// The number of values that the condition ignores. A text in the form of a time counts as both a
/// text and a time.
fn mistyped(condition: &Condition, facts: &Facts, scope: Scope) -> usize {
    let Some(expected) = condition.operands.first().map(Operand::value_type) else {
        return 0;
    };
    let is_seen = |value: &Value| match value {
        Value::Text(text) => {
            let is_time = || {
                let written = facts.written(value).unwrap_or(text);
                Timestamp::of_rfc3339(written).is_some()
            };
            let of_time = matches!(expected, Type::Time | Type::Duration);
            expected == Type::Text || of_time && is_time()
        }
        Value::Number(_) => expected == Type::Decimal,
        Value::Boolean(_) => expected == Type::Boolean,
        Value::Time(_) => matches!(expected, Type::Time | Type::Text | Type::Duration),
        // Ages are derived from times, which are counted themselves.
        Value::Age(_) => true,
    };
    let values = facts.values(&condition.field, scope);
    values.filter(|value| !is_seen(value)).count()
}

fn deciding_row(node: &Node, facts: &Facts) -> usize {
    let mut rows = 0..facts.row_count();
    rows.find(|row| node.holds(facts, Scope::Row(*row)))
        .unwrap_or(0)
}

fn shown(facts: &Facts, value: &Value) -> String {
    let written = facts.written(value);
    let text = written.map_or_else(|| value.to_string(), str::to_owned);
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
