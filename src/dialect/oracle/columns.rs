//! The properties of collections that the database has columns for, and filters on them.

use super::scim::{Node, Operand, Path};
use crate::domain::{
    Timestamp,
    filter::{Comparison, Expression, Matching, OrderBy, TextAttribute},
};

/// The column to sort collections by for a property, if there is one.
pub fn attribute(path: &Path) -> Option<OrderBy> {
    if path.inside.is_some() {
        return None;
    }
    match path.name.to_ascii_lowercase().as_str() {
        "id" | "repositoryid" => Some(OrderBy::Id),
        "name" => Some(OrderBy::InternalName),
        "displayname" => Some(OrderBy::DisplayName),
        "creationdate" => Some(OrderBy::CreateTime),
        _ => None,
    }
}

/// Checks that the creation time is compared with a time.
///
/// # Errors
/// With the reason.
pub fn check_time(comparison: &Node) -> Result<(), String> {
    let Node::Is(path, matching, operand) = comparison else {
        return Ok(());
    };
    if attribute(path) != Some(OrderBy::CreateTime) {
        return Ok(());
    }
    match (matching, operand) {
        (Matching::Compared(_), Operand::Text(text)) if text.time.is_some() => Ok(()),
        (Matching::Compared(_), Operand::Null) => Ok(()),
        (Matching::Compared(_), _) => {
            let time = r#""2017-07-14T02:40:00Z""#;
            Err(format!(
                "{} must be compared with a time such as {time}",
                path.name
            ))
        }
        _ => Err(format!("{} is a time, which has no parts", path.name)),
    }
}

/// Converts a condition to an expression for the database, if its columns suffice.
pub fn expression(node: &Node, reads_default: bool) -> Option<Expression> {
    let all = |nodes: &[Node]| {
        let nodes = nodes.iter().map(|node| expression(node, reads_default));
        nodes.collect::<Option<Vec<_>>>()
    };
    match node {
        Node::All(nodes) => all(nodes).map(Expression::All),
        Node::Any(nodes) => all(nodes).map(Expression::Any),
        Node::Not(node) => Some(Expression::Not(Box::new(expression(node, reads_default)?))),
        // These columns are never empty, so the condition always holds.
        Node::Has(path) => attribute(path).map(|_| Expression::All(Vec::new())),
        Node::Is(path, matching, Operand::Text(text)) => match attribute(path)? {
            OrderBy::Id => {
                let value = text.given.clone();
                Some(Expression::Text(TextAttribute::Id, *matching, value))
            }
            OrderBy::DisplayName if reads_default => {
                let value = text.given.clone();
                Some(Expression::Text(
                    TextAttribute::DisplayName,
                    *matching,
                    value,
                ))
            }
            OrderBy::CreateTime => match matching {
                Matching::Compared(comparison) => created(*comparison, text.time?),
                Matching::Contains | Matching::StartsWith | Matching::EndsWith => None,
            },
            OrderBy::InternalName | OrderBy::DisplayName => None,
        },
        Node::Is(..) | Node::Inside(..) => None,
    }
}

/// A condition on the creation time. Times are shown in milliseconds and stored in microseconds, so
/// each shown time is a range.
fn created(comparison: Comparison, time: jiff::Timestamp) -> Option<Expression> {
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
    let begin = time.as_millisecond();
    let is_whole = time.as_nanosecond() == i128::from(begin) * 1_000_000;
    let since = |millisecond: i64| {
        let time = Timestamp::from_micros(millisecond.checked_mul(1_000)?);
        Some(Expression::Created(GreaterOrEqual, time))
    };
    let before = |millisecond: i64| Some(Expression::Not(Box::new(since(millisecond)?)));
    // The first millisecond at or after the time, and the first one after it.
    let (from, after) = (if is_whole { begin } else { begin + 1 }, begin + 1);
    match comparison {
        Equal if is_whole => Some(Expression::All(vec![since(begin)?, before(after)?])),
        Equal => Some(Expression::Any(Vec::new())),
        NotEqual => Some(Expression::Not(Box::new(created(Equal, time)?))),
        Greater => since(after),
        GreaterOrEqual => since(from),
        Less => before(from),
        LessOrEqual => before(after),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn creation_times_are_compared_at_displayed_precision() {
        let holds = |comparison: &str, time: &str, micros: i64| {
            let filter = format!("creationDate {comparison} \"{time}\"");
            let node = Node::parse(&filter).unwrap();
            is_true(&expression(&node, true).unwrap(), micros)
        };
        fn is_true(expression: &Expression, micros: i64) -> bool {
            match expression {
                Expression::All(parts) => parts.iter().all(|part| is_true(part, micros)),
                Expression::Any(parts) => parts.iter().any(|part| is_true(part, micros)),
                Expression::Not(part) => !is_true(part, micros),
                Expression::Created(comparison, time) => {
                    comparison.holds(micros.cmp(&time.micros()))
                }
                Expression::Text(..) => unreachable!(),
            }
        }
        // All of these are shown as .005.
        for micros in [5_000, 5_001, 5_999] {
            for (comparison, expected) in [
                ("eq", [false, true, false, false]),
                ("ne", [true, false, true, true]),
                ("gt", [true, false, false, false]),
                ("ge", [true, true, false, false]),
                ("lt", [false, false, true, true]),
                ("le", [false, true, true, true]),
            ] {
                let times = [".004Z", ".005Z", ".0055Z", ".006Z"];
                let found = times.map(|time| {
                    let time = format!("1970-01-01T00:00:00{time}");
                    holds(comparison, &time, micros)
                });
                assert_eq!(found, expected, "{comparison} {micros}");
            }
        }
    }

    #[test]
    fn a_creation_date_is_compared_only_with_a_time() {
        for q in [
            r#"creationDate co "2017""#,
            r#"creationDate eq "yesterday""#,
            "creationDate gt 5",
        ] {
            let why = check_time(&Node::parse(q).unwrap()).unwrap_err();
            assert!(why.contains("creationDate"), "{q}: {why}");
        }
    }
}
