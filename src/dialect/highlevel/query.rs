//! Parses query strings. The official SDKs write numbers as `20` or `20.0`, and lists
//! comma-separated, repeated, or with `[]` after the name.

use std::collections::BTreeSet;

use http::Uri;
use serde_json::Value;

use super::fields::{self, Object};
use crate::{
    dialect::id_list,
    domain::{
        CollectionFilter, CollectionId, Constraint, Limits, Result, TenantId, Violation, Violations,
    },
    service::{Ancestors, ListCollections, PageStart},
};

const DEFAULT_LIMIT: u64 = 10;
pub(super) const MAX_LIMIT: u64 = 100;
/// JavaScript's `Number.MAX_SAFE_INTEGER`.
pub(super) const MAX_OFFSET: u64 = (1 << 53) - 1;

pub(super) const NUMBER: Constraint =
    Constraint::Malformed("a number conforming to the specified constraints");
const INTEGER: Constraint = Constraint::Malformed("an integer number");

/// The violation of a parameter that neither HighLevel nor this dialect has.
pub(super) const UNKNOWN: &str = "no parameter of this operation";

const REPEATED: Constraint = Constraint::Malformed("given only once");
const AS_IN_BODY: Constraint = Constraint::Malformed("the same in the query and in the body");

/// The fields with the location, in requests about collections.
pub(super) const ALT: [&str; 2] = ["altId", "altType"];

/// The query parameters of an operation. Others are rejected, unless their names begin with `_`.
#[derive(Default)]
pub(super) struct Parameters {
    /// Parameters that may be given once.
    pub once: &'static [&'static str],
    /// Parameters that are lists.
    pub lists: &'static [&'static str],
    /// HighLevel's parameters that have no effect here; docs/reference/highlevel.md says why.
    pub harmless: &'static [&'static str],
    /// HighLevel's parameters that are rejected, with the reason.
    pub refused: &'static [(&'static str, &'static str)],
}

/// The parameters of a request about one collection, or of one with a body.
const LOCATED: Parameters = Parameters {
    once: &ALT,
    lists: &[],
    harmless: &[],
    refused: &[],
};

/// A query string without unknown parameters.
pub(super) struct Query {
    /// All parameters, in order.
    pairs: Vec<(String, String)>,
    /// The parameters that may be given once, as an object, so that they can be parsed like a body.
    pub once: Object,
}

impl Query {
    /// Parses the query string of a request.
    pub(super) fn of(uri: &Uri, known: &Parameters, violations: &mut Violations) -> Self {
        let query = uri.query().unwrap_or_default();
        let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        let mut once = Object::new();
        let mut unknown = BTreeSet::new();
        for (name, value) in &pairs {
            let stem = stem(name);
            let refused = known.refused.iter().find(|(refused, _)| *refused == stem);
            if known.once.contains(&name.as_str()) {
                if once.contains_key(name) {
                    violations.add(name, value, REPEATED);
                } else {
                    once.insert(name.clone(), value.as_str().into());
                }
            } else if let Some((name, why)) = refused {
                violations.add(*name, value, Constraint::Forbidden(why));
            } else if !known.lists.contains(&stem)
                && !known.harmless.contains(&stem)
                && !name.starts_with('_')
                && unknown.insert(name)
            {
                violations.add(name, value, Constraint::Forbidden(UNKNOWN));
            }
        }
        Self { pairs, once }
    }

    /// The ids of collections in the query; `None` for all. This dialect does not have the root
    /// collections.
    pub(super) fn collection_ids(
        &self,
        limits: &Limits,
        violations: &mut Violations,
    ) -> Option<Vec<CollectionId>> {
        const NAME: &str = "collectionIds";
        let parse = |field: &str, id: &str| CollectionId::parse(field, id);
        let lists = self.pairs.iter().filter(|(key, _)| stem(key) == NAME);
        let texts = lists.flat_map(|(_, list)| list.split(','));
        let texts = texts.map(|id| id.trim().to_owned());
        let texts = texts.filter(|id| !id.is_empty()).collect();
        let ids = ids(NAME, texts, limits, parse, violations)?;
        Some(ids.into_iter().filter(|id| !id.is_root()).collect())
    }

    /// The ids of products in the query; `None` for all. They may contain commas, see [`id_list`].
    pub(super) fn product_ids<T>(
        &self,
        limits: &Limits,
        parse: impl Fn(&str, &str) -> Result<T, Violation>,
        violations: &mut Violations,
    ) -> Option<Vec<T>> {
        const NAME: &str = "productIds";
        let texts = id_list::of(&self.pairs, NAME);
        ids(NAME, texts, limits, parse, violations)
    }
}

/// The ids in a parameter; `None` if it is empty.
fn ids<T>(
    name: &str,
    texts: Vec<String>,
    limits: &Limits,
    parse: impl Fn(&str, &str) -> Result<T, Violation>,
    violations: &mut Violations,
) -> Option<Vec<T>> {
    if texts.is_empty() {
        return None;
    }
    violations.count(name, texts.len(), limits.ids);
    let ids = texts.iter().enumerate();
    let parsed = ids.map(|(at, id)| parse(&format!("{name}.{at}"), id));
    Some(parsed.filter_map(|id| violations.take(id)).collect())
}

/// The name of a parameter, without `[]`.
fn stem(name: &str) -> &str {
    name.strip_suffix("[]").unwrap_or(name)
}

/// The tenant of a get request; `None` if the query names none.
///
/// # Errors
/// With all violations.
pub(super) fn read_one(uri: &Uri) -> Result<Option<TenantId>> {
    let mut violations = Violations::default();
    let query = Query::of(uri, &LOCATED, &mut violations).once;
    if query.contains_key("altType") {
        fields::alt_type(&query, &mut violations);
    }
    let tenant = query
        .contains_key("altId")
        .then(|| fields::tenant(&query, &mut violations));
    violations.finish()?;
    Ok(tenant.flatten())
}

/// The tenant of a delete request.
///
/// # Errors
/// With all violations.
pub(super) fn delete(uri: &Uri) -> Result<TenantId> {
    let mut violations = Violations::default();
    let query = Query::of(uri, &LOCATED, &mut violations).once;
    let tenant = fields::tenant(&query, &mut violations);
    fields::alt_type(&query, &mut violations);
    fields::finish(violations, tenant)
}

/// Checks the query of a request with a body. The body names the location, and the query may repeat
/// it in the parameters `known`. Returns the violations.
pub(super) fn beside(uri: &Uri, known: &'static [&'static str], body: &Object) -> Violations {
    let mut violations = Violations::default();
    let known = Parameters {
        once: known,
        ..Parameters::default()
    };
    for (name, asked) in Query::of(uri, &known, &mut violations).once {
        let asked = asked.as_str().unwrap_or_default();
        // A body without the field, or with another type, is rejected for that.
        let is_same = body.get(&name).and_then(Value::as_str).is_none_or(|given| {
            given == asked || name == "altType" && given.eq_ignore_ascii_case(asked)
        });
        if !is_same {
            violations.add(name, asked, AS_IN_BODY);
        }
    }
    violations
}

const LISTED: Parameters = Parameters {
    once: &["altId", "altType", "limit", "offset", "name"],
    lists: &["collectionIds"],
    harmless: &[],
    refused: &[],
};

/// A list request.
///
/// # Errors
/// With all violations.
pub(super) fn list(uri: &Uri, limits: &Limits) -> Result<(TenantId, ListCollections)> {
    let mut violations = Violations::default();
    let asked = Query::of(uri, &LISTED, &mut violations);
    let query = &asked.once;
    let tenant = fields::tenant(query, &mut violations);
    fields::alt_type(query, &mut violations);
    let size = number(query, "limit", (1, MAX_LIMIT), &mut violations);
    let offset = number(query, "offset", (0, MAX_OFFSET), &mut violations);
    let name = text(query, "name").filter(|name| !name.is_empty());
    violations.length("name", name.unwrap_or_default(), limits.name_chars);
    let ids = asked.collection_ids(limits, &mut violations);
    let command = ListCollections {
        filter: CollectionFilter {
            name: name.map(Into::into),
            ids,
            ..CollectionFilter::default()
        },
        all_there: false,
        order: Vec::new(),
        scan: None,
        descendants: None,
        ancestors: Ancestors::Shown,
        start: PageStart::Offset(offset.unwrap_or_default()),
        // Cannot overflow, as it is at most `MAX_LIMIT`.
        size: size.unwrap_or(DEFAULT_LIMIT) as usize,
        bytes: None,
        paths: None,
        omit_total: false,
    };
    Ok((fields::finish(violations, tenant)?, command))
}

pub(super) fn text<'a>(query: &'a Object, name: &str) -> Option<&'a str> {
    query.get(name).and_then(Value::as_str)
}

/// A whole number, possibly with zeros after the decimal point.
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
        // Whole, and in the range in which floating point numbers are exact.
        Some(number) => return Some(number as u64),
    };
    violations.add(name, text, rule);
    None
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
    fn a_limit_may_have_a_zero_fraction_and_invalid_numbers_are_rejected() {
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
        let command = listing(&format!("{LOCATION}&_unknown=1&name=&collectionIds=")).unwrap();
        assert_eq!(command.size, 10);
        assert!(matches!(command.start, PageStart::Offset(0)));
        assert!(command.filter.name.is_none() && command.filter.ids.is_none());
    }

    #[test]
    fn unknown_and_repeated_parameters_are_rejected() {
        for (odd, field) in [
            ("unknown=1&unknown=2", "unknown"),
            ("Limit=1", "Limit"),
            ("limit[]=1", "limit[]"),
            ("limit=1&limit=2", "limit"),
            ("=", ""),
        ] {
            let fields = listing(&format!("{LOCATION}&{odd}")).unwrap_err();
            assert_eq!(fields, [field], "{odd}");
        }
    }

    #[test]
    fn id_lists_have_several_forms_and_the_root_is_dropped() {
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
    fn all_invalid_parameters_are_reported_at_once() {
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
