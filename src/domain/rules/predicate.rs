//! Predicates: conditions in the form in which they are evaluated, with typed operands and without
//! negation.

use std::collections::BTreeSet;

use super::{
    super::{
        decimal::Decimal,
        facts::{Facts, Scope, Value},
    },
    condition::{Condition, Field, Operand, Operator},
};

/// A test that holds if any value of the field satisfies it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Predicate {
    pub field: Field,
    pub test: Test,
}

/// A test of a value. Values of another type never satisfy it, except for [`Test::IsSet`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Test {
    OneOf(BTreeSet<Value>),
    Above {
        limit: Value,
        or_equal: bool,
    },
    Below {
        limit: Value,
        or_equal: bool,
    },
    /// Both limits are inclusive.
    Between(Value, Value),
    Contains(String),
    StartsWith(String),
    EndsWith(String),
    IsSet,
}

impl Predicate {
    /// The predicate of a condition, and whether the condition negates it.
    pub fn of(condition: &Condition) -> (Self, bool) {
        let field = condition.field.clone();
        let operands = condition.operands.iter();
        let values = operands.filter_map(|operand| value(&field, operand));
        let test = Test::of(condition.operator, values.collect());
        // A condition without its operands is never stored; it would match nothing.
        let test = test.unwrap_or_else(|| Test::OneOf(BTreeSet::new()));
        (Self { field, test }, condition.operator.is_negative())
    }

    /// Whether any value in the scope satisfies the test.
    pub fn holds(&self, facts: &Facts, scope: Scope) -> bool {
        let mut values = facts.values(&self.field, scope);
        values.any(|value| self.test.holds(value))
    }
}

impl Test {
    fn of(operator: Operator, mut values: Vec<Value>) -> Option<Self> {
        let text = |values: Vec<Value>| match values.into_iter().next()? {
            Value::Text(text) => Some(text),
            Value::Number(_) | Value::Boolean(_) | Value::Time(_) | Value::Age(_) => None,
        };
        let first = |values: Vec<Value>| values.into_iter().next();
        Some(match operator {
            Operator::Equals | Operator::NotEquals | Operator::In | Operator::NotIn => {
                Self::OneOf(values.into_iter().collect())
            }
            Operator::GreaterThan => Self::above(first(values)?, false),
            Operator::GreaterOrEqual => Self::above(first(values)?, true),
            Operator::LessThan => Self::below(first(values)?, false),
            Operator::LessOrEqual => Self::below(first(values)?, true),
            Operator::Between => {
                let (high, low) = (values.pop()?, values.pop()?);
                Self::Between(low, high)
            }
            Operator::Contains | Operator::NotContains => Self::Contains(text(values)?),
            Operator::StartsWith => Self::StartsWith(text(values)?),
            Operator::EndsWith => Self::EndsWith(text(values)?),
            Operator::IsSet | Operator::IsNotSet => Self::IsSet,
            Operator::OlderThan => Self::above(first(values)?, true),
            Operator::NewerThan => Self::below(first(values)?, false),
        })
    }

    fn above(limit: Value, or_equal: bool) -> Self {
        Self::Above { limit, or_equal }
    }

    fn below(limit: Value, or_equal: bool) -> Self {
        Self::Below { limit, or_equal }
    }

    /// The values that satisfy the test, if it lists them.
    pub fn one_of(&self) -> Option<&BTreeSet<Value>> {
        match self {
            Self::OneOf(values) => Some(values),
            Self::Above { .. }
            | Self::Below { .. }
            | Self::Between(..)
            | Self::Contains(_)
            | Self::StartsWith(_)
            | Self::EndsWith(_)
            | Self::IsSet => None,
        }
    }

    /// The age at which the result changes, if it is a test of ages.
    pub fn age(&self) -> Option<i64> {
        match self {
            Self::Above { limit, .. } | Self::Below { limit, .. } => limit.age(),
            Self::OneOf(_)
            | Self::Between(..)
            | Self::Contains(_)
            | Self::StartsWith(_)
            | Self::EndsWith(_)
            | Self::IsSet => None,
        }
    }

    /// Whether a value satisfies the test.
    pub fn holds(&self, value: &Value) -> bool {
        match self {
            Self::OneOf(values) => values.contains(value),
            Self::Above { limit, or_equal } => {
                is_same_type(value, limit) && (value > limit || *or_equal && value == limit)
            }
            Self::Below { limit, or_equal } => {
                is_same_type(value, limit) && (value < limit || *or_equal && value == limit)
            }
            Self::Between(low, high) => is_same_type(value, low) && (low..=high).contains(&value),
            Self::Contains(part) => text(value).is_some_and(|text| text.contains(part)),
            Self::StartsWith(part) => text(value).is_some_and(|text| text.starts_with(part)),
            Self::EndsWith(part) => text(value).is_some_and(|text| text.ends_with(part)),
            Self::IsSet => true,
        }
    }
}

fn is_same_type(a: &Value, b: &Value) -> bool {
    std::mem::discriminant(a) == std::mem::discriminant(b)
}

pub(super) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::Text(text) => Some(text),
        Value::Number(_) | Value::Boolean(_) | Value::Time(_) | Value::Age(_) => None,
    }
}

fn value(field: &Field, operand: &Operand) -> Option<Value> {
    Some(match operand {
        Operand::Text(text) => Value::text(field, text),
        Operand::Decimal(text) => Value::Number(Decimal::parse(text)?),
        Operand::Boolean(boolean) => Value::Boolean(*boolean),
        Operand::Time(time) => Value::Time(*time),
        Operand::Duration(age) => Value::Age(i64::try_from(age.as_micros()).unwrap_or(i64::MAX)),
    })
}
