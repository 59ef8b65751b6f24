//! The `q` of a list, a filter in the form of SCIM (RFC 7644), and its `sort`.

use scim_v2::filter::{AttrExp, AttrPath, CompValue, CompareOp, Filter};

use super::{codes, problem::Problem};
use crate::domain::{
    Timestamp,
    filter::{Comparison, Expression, Matching, Order, OrderBy, TextAttribute},
};

const KNOWN: &str = "id, repositoryId, name, displayName or creationDate";

/// What the filter asks for.
pub fn expression(q: &str) -> Result<Expression, Problem> {
    let filter: Filter = q.parse().map_err(|error| wrong(q, &error))?;
    read(&filter).map_err(|why| wrong(q, &why))
}

/// The order that `sort` asks for: `displayName:desc`, several separated by commas.
pub fn order(sort: &str) -> Result<Vec<Order>, Problem> {
    let parts = sort
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    let mut seen = Vec::new();
    let order = parts.map(|part| {
        let (name, direction) = part.split_once(':').unwrap_or((part, "asc"));
        let descending = match direction.trim().to_ascii_lowercase().as_str() {
            "asc" => false,
            "desc" => true,
            _ => return Err(format!("{direction:?} must be asc or desc")),
        };
        let by = attribute(name.trim()).ok_or_else(|| unknown(name))?;
        if seen.contains(&by) {
            return Err(format!("{name:?} is given twice"));
        }
        seen.push(by);
        Ok(Order { by, descending })
    });
    let order: Result<_, String> = order.collect();
    order.map_err(|why| Problem::at(codes::BAD_REQUEST, "sort", why))
}

fn wrong(q: &str, why: &dyn std::fmt::Display) -> Problem {
    Problem::at(codes::BAD_REQUEST, "q", format!("{q:?}: {why}"))
}

fn unknown(name: &str) -> String {
    format!("{name:?} must be {KNOWN}")
}

fn read(filter: &Filter) -> Result<Expression, String> {
    let all = |parts: &[Filter]| parts.iter().map(read).collect::<Result<_, _>>();
    match filter {
        Filter::And(parts) => Ok(Expression::All(all(parts.as_slice())?)),
        Filter::Or(parts) => Ok(Expression::Any(all(parts.as_slice())?)),
        Filter::Not(part) => Ok(Expression::Not(Box::new(read(part)?))),
        Filter::ValuePath(path) => Err(unknown(&path.attr.to_string())),
        // All have all of these.
        Filter::Attr(AttrExp::Present(path)) => named(path).map(|_| Expression::All(Vec::new())),
        Filter::Attr(AttrExp::Comparison(path, operator, value)) => {
            let CompValue::Str(value) = value else {
                return Err(format!("{value} must be a text in double quotes"));
            };
            match named(path)? {
                OrderBy::Text(attribute) => {
                    let value = value.clone();
                    Ok(Expression::Text(attribute, matching(operator), value))
                }
                OrderBy::CreateTime => {
                    let time: jiff::Timestamp = value
                        .parse()
                        .map_err(|error| format!("{value:?} must be a time: {error}"))?;
                    let time = Timestamp::from_micros(time.as_microsecond());
                    match matching(operator) {
                        Matching::Compared(comparison) => Ok(Expression::Created(comparison, time)),
                        Matching::Contains | Matching::StartsWith | Matching::EndsWith => {
                            Err(format!("{operator} is not for times"))
                        }
                    }
                }
            }
        }
    }
}

fn named(path: &AttrPath) -> Result<OrderBy, String> {
    let found = match (&path.uri, &path.sub_attr) {
        (None, None) => attribute(&path.name),
        _ => None,
    };
    found.ok_or_else(|| unknown(&path.to_string()))
}

/// Names of attributes have no case in SCIM.
fn attribute(name: &str) -> Option<OrderBy> {
    let name = name.strip_prefix("items.").unwrap_or(name);
    match name.to_ascii_lowercase().as_str() {
        "id" | "repositoryid" => Some(OrderBy::Text(TextAttribute::Id)),
        "name" => Some(OrderBy::Text(TextAttribute::InternalName)),
        "displayname" => Some(OrderBy::Text(TextAttribute::DisplayName)),
        "creationdate" => Some(OrderBy::CreateTime),
        _ => None,
    }
}

fn matching(operator: &CompareOp) -> Matching {
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
    match operator {
        CompareOp::Eq => Matching::Compared(Equal),
        CompareOp::Ne => Matching::Compared(NotEqual),
        CompareOp::Co => Matching::Contains,
        CompareOp::Sw => Matching::StartsWith,
        CompareOp::Ew => Matching::EndsWith,
        CompareOp::Gt => Matching::Compared(Greater),
        CompareOp::Lt => Matching::Compared(Less),
        CompareOp::Ge => Matching::Compared(GreaterOrEqual),
        CompareOp::Le => Matching::Compared(LessOrEqual),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(q: &str) -> String {
        match expression(q) {
            Ok(expression) => format!("{expression:?}"),
            Err(problem) => problem.detail,
        }
    }

    #[test]
    fn filters_are_read_as_scim_writes_them() {
        assert_eq!(
            told(r#"id eq "cat1""#),
            r#"Text(Id, Compared(Equal), "cat1")"#
        );
        assert_eq!(
            told(r#"displayName CO "lam" AND not (id sw "x" or repositoryId ew "y")"#),
            concat!(
                r#"All([Text(DisplayName, Contains, "lam"), "#,
                r#"Not(Any([Text(Id, StartsWith, "x"), Text(Id, EndsWith, "y")]))])"#
            )
        );
        assert_eq!(
            told(r#"creationDate ge "2017-07-14T02:40:00Z""#),
            "Created(GreaterOrEqual, Timestamp(1500000000000000))"
        );
    }

    #[test]
    fn what_can_t_be_asked_is_told() {
        for (q, why) in [
            (r#"colour eq "red""#, "must be id, repositoryId"),
            (r#"emails[type eq "work"]"#, "must be id, repositoryId"),
            ("id eq 5", "must be a text"),
            (r#"creationDate co "2017""#, "must be a time"),
            (r#"creationDate sw "2017-07-14T02:40:00Z""#, "not for times"),
            ("id", "q: "),
            ("", "q: "),
        ] {
            assert!(told(q).contains(why), "{q}: {}", told(q));
        }
    }

    #[test]
    fn an_order_has_names_and_directions() {
        let of = |sort| {
            order(sort)
                .map(|order| format!("{order:?}"))
                .map_err(|p| p.detail)
        };
        assert_eq!(
            of("displayName:desc, id").unwrap(),
            "[Order { by: Text(DisplayName), descending: true }, \
             Order { by: Text(Id), descending: false }]"
        );
        assert!(order("").unwrap().is_empty());
        assert!(of("colour").unwrap_err().contains("colour"));
        assert!(of("id,repositoryId").unwrap_err().contains("twice"));
        assert!(of("id:up").unwrap_err().contains("up"));
    }
}
