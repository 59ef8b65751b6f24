//! Query strings. The official SDKs write numbers as `20` and as `20.0`, and lists
//! separated by commas, repeated, or with `[]` after the name.

use axum::extract::Query;
use http::Uri;
use serde_json::Value;

use super::fields::{self, Object};
use crate::{
    domain::{
        CollectionFilter, CollectionId, Constraint, Limits, Result, TenantId, Violation, Violations,
    },
    service::{Above, ListCollections, PageStart},
};

const DEFAULT_LIMIT: u64 = 10;
pub(super) const MAX_LIMIT: u64 = 100;
/// The largest whole number that JavaScript holds exactly.
pub(super) const MAX_OFFSET: u64 = (1 << 53) - 1;

const NUMBER: Constraint =
    Constraint::Malformed("a number conforming to the specified constraints");
const INTEGER: Constraint = Constraint::Malformed("an integer number");

/// The tenant of a get.
///
/// # Errors
/// Where it is not given.
pub(super) fn read_one(uri: &Uri) -> Result<TenantId> {
    let mut violations = Violations::default();
    let tenant = fields::tenant(&first_of_each(&pairs(uri)), &mut violations);
    fields::finish(violations, tenant)
}

/// The tenant of a delete.
///
/// # Errors
/// With every violation.
pub(super) fn delete(uri: &Uri) -> Result<TenantId> {
    let mut violations = Violations::default();
    let query = first_of_each(&pairs(uri));
    let tenant = fields::tenant(&query, &mut violations);
    fields::alt_type(&query, &mut violations);
    fields::finish(violations, tenant)
}

/// What a list asks for.
///
/// # Errors
/// With every violation.
pub(super) fn list(uri: &Uri, limits: &Limits) -> Result<(TenantId, ListCollections)> {
    let mut violations = Violations::default();
    let pairs = pairs(uri);
    let query = first_of_each(&pairs);
    let tenant = fields::tenant(&query, &mut violations);
    fields::alt_type(&query, &mut violations);
    let size = number(&query, "limit", (1, MAX_LIMIT), &mut violations);
    let offset = number(&query, "offset", (0, MAX_OFFSET), &mut violations);
    let name = text(&query, "name").filter(|name| !name.is_empty());
    violations.length("name", name.unwrap_or_default(), limits.name_chars);
    let ids = collection_ids(&pairs, limits, &mut violations);
    let command = ListCollections {
        filter: CollectionFilter {
            name: name.map(Into::into),
            ids,
            ..CollectionFilter::default()
        },
        all_there: false,
        order: Vec::new(),
        below: None,
        above: Above::Shown,
        start: PageStart::Offset(offset.unwrap_or_default()),
        // No more than `MAX_LIMIT`, so it fits.
        size: size.unwrap_or(DEFAULT_LIMIT) as usize,
        bytes: None,
        paths: None,
    };
    Ok((fields::finish(violations, tenant)?, command))
}

pub(super) fn pairs(uri: &Uri) -> Vec<(String, String)> {
    // Any query string is a list of pairs, so this does not fail.
    Query::try_from_uri(uri).map_or_else(|_| Vec::new(), |Query(pairs)| pairs)
}

/// The query as an object, so that its fields are read as those of bodies are.
pub(super) fn first_of_each(pairs: &[(String, String)]) -> Object {
    let mut object = Object::new();
    for (name, value) in pairs {
        let value = || Value::String(value.clone());
        object.entry(name.as_str()).or_insert_with(value);
    }
    object
}

pub(super) fn text<'a>(query: &'a Object, name: &str) -> Option<&'a str> {
    query.get(name).and_then(Value::as_str)
}

/// A whole number, which may be written with a fraction of zeros.
pub(super) fn number(
    query: &Object,
    name: &str,
    (min, max): (u64, u64),
    violations: &mut Violations,
) -> Option<u64> {
    let text = text(query, name)?;
    let number = text.trim().parse::<f64>().ok().filter(|n| n.is_finite());
    let rule = match number {
        None => NUMBER,
        Some(number) if number.fract() != 0.0 => INTEGER,
        Some(number) if number < min as f64 || number > max as f64 => Constraint::OutOfRange {
            min: min as i64,
            max: max as i64,
        },
        // Whole, and in a range that a float holds exactly.
        Some(number) => return Some(number as u64),
    };
    violations.add(name, text, rule);
    None
}

/// The collections that are named; none for all. The roots are no collections to this
/// dialect.
pub(super) fn collection_ids(
    pairs: &[(String, String)],
    limits: &Limits,
    violations: &mut Violations,
) -> Option<Vec<CollectionId>> {
    const NAME: &str = "collectionIds";
    let lists = pairs
        .iter()
        .filter(|(key, _)| key.strip_suffix("[]").unwrap_or(key) == NAME);
    let texts = lists
        .flat_map(|(_, list)| list.split(','))
        .map(str::trim)
        .filter(|id| !id.is_empty());
    let parse = |field: &str, id: &str| CollectionId::parse(field, id);
    let ids = ids(NAME, texts, limits, parse, violations)?;
    Some(ids.into_iter().filter(|id| !id.is_root()).collect())
}

/// The ids that the parameter of that name has; none where it has none.
pub(super) fn ids<'a, T>(
    name: &str,
    texts: impl Iterator<Item = &'a str>,
    limits: &Limits,
    parse: impl Fn(&str, &str) -> Result<T, Violation>,
    violations: &mut Violations,
) -> Option<Vec<T>> {
    let ids: Vec<&str> = texts.collect();
    if ids.is_empty() {
        return None;
    }
    violations.count(name, ids.len(), limits.ids);
    let ids = ids.into_iter().enumerate();
    let parsed = ids.map(|(at, id)| parse(&format!("{name}.{at}"), id));
    Some(parsed.filter_map(|id| violations.take(id)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCATION: &str = "altId=loc1&altType=location";

    fn listing(query: &str) -> Result<ListCollections, Vec<String>> {
        let uri: Uri = format!("/products/collections?{query}").parse().unwrap();
        let limits = Limits::default();
        match list(&uri, &limits) {
            Ok((tenant, command)) => {
                assert_eq!(tenant.as_str(), "loc1");
                Ok(command)
            }
            Err(error) => Err(error
                .violations
                .iter()
                .map(|v| v.field.to_string())
                .collect()),
        }
    }

    #[test]
    fn numbers_are_taken_with_and_without_a_fraction() {
        for (text, size) in [("20", 20), ("20.0", 20), ("1", 1), ("100.00", 100)] {
            let command = listing(&format!("{LOCATION}&limit={text}")).unwrap();
            assert_eq!(command.size, size);
        }
        for odd in ["0", "101", "-1", "2.5", "ten", "", "NaN", "inf", "1e300"] {
            let fields = listing(&format!("{LOCATION}&limit={odd}")).unwrap_err();
            assert_eq!(fields, ["limit"], "{odd}");
            if !matches!(odd, "0" | "101") {
                let fields = listing(&format!("{LOCATION}&offset={odd}")).unwrap_err();
                assert_eq!(fields, ["offset"], "{odd}");
            }
        }
    }

    #[test]
    fn without_parameters_the_first_ten_are_listed() {
        let command = listing(&format!("{LOCATION}&unknown=1&name=&collectionIds=")).unwrap();
        assert_eq!(command.size, 10);
        assert!(matches!(command.start, PageStart::Offset(0)));
        assert!(command.filter.name.is_none() && command.filter.ids.is_none());
    }

    #[test]
    fn lists_of_ids_come_in_three_forms_and_never_name_a_root() {
        for form in [
            "collectionIds=a,b,rootCategory",
            "collectionIds=a%2C%20b%2C",
            "collectionIds=a&collectionIds=b",
            "collectionIds[]=a&collectionIds%5B%5D=b",
        ] {
            let command = listing(&format!("{LOCATION}&{form}")).unwrap();
            let ids = command.filter.ids.unwrap();
            assert!(
                ids.iter().map(CollectionId::as_str).eq(["a", "b"]),
                "{form}"
            );
        }
        let only_root = listing(&format!("{LOCATION}&collectionIds=rootCategory")).unwrap();
        assert_eq!(only_root.filter.ids, Some(Vec::new()));
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let fields = listing("altType=company&limit=x&offset=y&collectionIds=a%00,b").unwrap_err();
        let expected = [
            "altId",
            "altId",
            "altType",
            "limit",
            "offset",
            "collectionIds.0",
        ];
        assert_eq!(fields, expected);
    }
}
