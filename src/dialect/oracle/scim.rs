//! SCIM filters (RFC 7644, section 3.4.2.2) and sort keys, evaluated over the JSON of an item.

use std::borrow::Cow;

use jiff::Timestamp;
use scim_v2::filter::{AttrExp, AttrPath, CompValue, CompareOp, Filter, ValFilter};
use serde_json::Value;

use crate::domain::{
    filter::{Comparison, Key, Matching},
    search::folded,
};

/// The maximum length of a text in a sort key, in characters.
const KEY_CHARS: usize = 255;

/// A node of a filter.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// All of these hold.
    All(Vec<Self>),
    /// At least one of these holds.
    Any(Vec<Self>),
    /// This does not hold.
    Not(Box<Self>),
    /// The property is present and not empty.
    Has(Path),
    /// A comparison with a value.
    Is(Path, Matching, Operand),
    /// An element of the property satisfies this.
    Inside(Path, Box<Self>),
}

/// The path of a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// The name of the top-level property.
    pub name: String,
    /// The path of the nested property, if any.
    pub inside: Option<String>,
}

/// A value to compare with.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// Null.
    Null,
    /// True or false.
    Switch(bool),
    /// A number.
    Number(f64),
    /// A text.
    Text(Text),
}

/// A text with its other forms for comparisons.
#[derive(Clone, Debug, PartialEq)]
pub struct Text {
    /// The text as given.
    pub given: String,
    /// The case-folded form.
    folded: String,
    /// The time, if the text is one.
    pub time: Option<Timestamp>,
}

impl Text {
    /// Computes the other forms of a text.
    pub fn new(given: &str) -> Self {
        Self {
            given: given.into(),
            folded: folded(given),
            time: given.parse().ok(),
        }
    }
}

impl Path {
    /// A property that is not nested.
    pub fn of(name: &str) -> Self {
        Self {
            name: name.into(),
            inside: None,
        }
    }

    /// The path as it is written.
    pub fn whole(&self) -> Cow<'_, str> {
        match &self.inside {
            Some(inside) => format!("{}.{inside}", self.name).into(),
            None => self.name.as_str().into(),
        }
    }

    /// The path of a property that is nested in this one.
    fn then(&self, nested: &Self) -> Self {
        let nested = nested.whole();
        let inside = match &self.inside {
            Some(inside) => format!("{inside}.{nested}"),
            None => nested.into_owned(),
        };
        Self {
            name: self.name.clone(),
            inside: Some(inside),
        }
    }

    /// Whether it is an id; ids are compared without folding.
    pub fn is_id(&self) -> bool {
        let inside = self.inside.as_deref();
        let last = inside.and_then(|inside| inside.rsplit('.').next());
        let last = last.unwrap_or(&self.name);
        ["id", "repositoryId"]
            .iter()
            .any(|id| id.eq_ignore_ascii_case(last))
    }

    /// The values of the item at this path, with lists flattened.
    fn values<'a>(&self, item: &'a Value) -> Vec<&'a Value> {
        let mut values = Vec::new();
        reach(item, &self.whole(), &mut values);
        values
    }

    /// The sort key of an item; `None` if it has no value there. Texts are case-folded, except ids,
    /// and unless `is_exact`.
    pub fn key(&self, item: &Value, is_exact: bool) -> Option<Key> {
        let mut values = self.values(item).into_iter();
        values.find_map(|value| match referred(value) {
            (Value::Bool(is_set), _) => Some(Key::Switch(*is_set)),
            (Value::Number(number), _) => number.as_f64().map(Key::Number),
            (Value::String(text), is_id) => {
                let text = if is_exact || is_id || self.is_id() {
                    text.clone()
                } else {
                    folded(text)
                };
                Some(Key::Text(text.chars().take(KEY_CHARS).collect()))
            }
            (Value::Null | Value::Array(_) | Value::Object(_), _) => None,
        })
    }
}

/// Collects the values at a path. The longest name is tried first, because names of custom
/// properties may contain dots.
fn reach<'a>(value: &'a Value, path: &str, to: &mut Vec<&'a Value>) {
    if let Some(found) = field(value, path) {
        return flatten(Some(found), to);
    }
    for (at, dot) in path.rmatch_indices('.') {
        if let Some(found) = field(value, &path[..at]) {
            let mut values = Vec::new();
            flatten(Some(found), &mut values);
            let rest = &path[at + dot.len()..];
            return values.into_iter().for_each(|value| reach(value, rest, to));
        }
    }
}

/// A field by name. Names in SCIM ignore case, but an exact match takes precedence.
fn field<'a>(item: &'a Value, name: &str) -> Option<&'a Value> {
    let fields = item.as_object()?;
    let same = |(field, _): &(&'a String, &'a Value)| field.eq_ignore_ascii_case(name);
    let other = || fields.iter().find(same).map(|(_, value)| value);
    fields.get(name).or_else(other)
}

fn flatten<'a>(value: Option<&'a Value>, to: &mut Vec<&'a Value>) {
    match value {
        Some(Value::Array(values)) => values.iter().for_each(|value| flatten(Some(value), to)),
        value => to.extend(value),
    }
}

/// The value to compare: the id, if it is a reference, or else the value itself. Also whether it is
/// an id.
fn referred(value: &Value) -> (&Value, bool) {
    let id = ["repositoryId", "id"]
        .iter()
        .find_map(|name| value.get(name));
    id.map_or((value, false), |id| (id, true))
}

impl Node {
    /// Parses a filter.
    ///
    /// # Errors
    /// With the reason why it is invalid.
    pub fn parse(filter: &str) -> Result<Self, String> {
        let filter: Filter = filter.parse().map_err(|error| format!("{error}"))?;
        Self::read(&filter)
    }

    fn read(filter: &Filter) -> Result<Self, String> {
        let all = |parts: &[Filter]| parts.iter().map(Self::read).collect::<Result<_, _>>();
        Ok(match filter {
            Filter::And(parts) => Self::All(all(parts.as_slice())?),
            Filter::Or(parts) => Self::Any(all(parts.as_slice())?),
            Filter::Not(part) => Self::Not(Box::new(Self::read(part)?)),
            Filter::Attr(expression) => Self::attribute(expression)?,
            Filter::ValuePath(path) => {
                Self::Inside(named(&path.attr)?, Box::new(Self::inside(&path.filter)?))
            }
        })
    }

    fn inside(filter: &ValFilter) -> Result<Self, String> {
        let all = |parts: &[ValFilter]| parts.iter().map(Self::inside).collect::<Result<_, _>>();
        Ok(match filter {
            ValFilter::And(parts) => Self::All(all(parts.as_slice())?),
            ValFilter::Or(parts) => Self::Any(all(parts.as_slice())?),
            ValFilter::Not(part) => Self::Not(Box::new(Self::inside(part)?)),
            ValFilter::Attr(expression) => Self::attribute(expression)?,
        })
    }

    fn attribute(expression: &AttrExp) -> Result<Self, String> {
        let (path, operator, value) = match expression {
            AttrExp::Present(path) => return Ok(Self::Has(named(path)?)),
            AttrExp::Comparison(path, operator, value) => (path, operator, value),
        };
        let operand = match value {
            CompValue::Null => Operand::Null,
            CompValue::True => Operand::Switch(true),
            CompValue::False => Operand::Switch(false),
            CompValue::Number(number) => Operand::Number(number.as_f64().unwrap_or(f64::NAN)),
            CompValue::Str(text) => Operand::Text(Text::new(text)),
        };
        let matching = matching(operator);
        let fits = match (&operand, matching) {
            (Operand::Text(_), _) | (Operand::Number(_), Matching::Compared(_)) => true,
            (Operand::Null | Operand::Switch(_), Matching::Compared(comparison)) => {
                matches!(comparison, Comparison::Equal | Comparison::NotEqual)
            }
            (_, Matching::Contains | Matching::StartsWith | Matching::EndsWith) => false,
        };
        if !fits {
            let needed = match matching {
                Matching::Compared(_) => "a text or a number",
                Matching::Contains | Matching::StartsWith | Matching::EndsWith => "a text",
            };
            return Err(format!("{operator} needs {needed}, not {value}"));
        }
        Ok(Self::Is(named(path)?, matching, operand))
    }

    /// Whether an item satisfies the filter.
    pub fn holds(&self, item: &Value) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(item)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(item)),
            Self::Not(part) => !part.holds(item),
            Self::Has(path) => path.values(item).into_iter().any(is_something),
            Self::Is(path, matching, operand) => {
                operand.holds(*matching, &path.values(item), path.is_id())
            }
            Self::Inside(path, part) => path.values(item).into_iter().any(|one| part.holds(one)),
        }
    }

    /// The properties that the filter uses.
    pub fn paths(&self) -> Vec<Path> {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::paths).collect(),
            Self::Not(part) => part.paths(),
            Self::Has(path) | Self::Is(path, ..) => vec![path.clone()],
            Self::Inside(path, part) => {
                let nested = part.paths().into_iter().map(|nested| path.then(&nested));
                nested.chain([path.clone()]).collect()
            }
        }
    }

    /// The comparisons in the filter.
    pub fn comparisons(&self) -> Vec<&Self> {
        match self {
            Self::All(parts) | Self::Any(parts) => {
                parts.iter().flat_map(Self::comparisons).collect()
            }
            Self::Not(part) | Self::Inside(_, part) => part.comparisons(),
            Self::Has(_) | Self::Is(..) => vec![self],
        }
    }

    /// The ids to which the filter restricts items, if it restricts them.
    pub fn ids(&self) -> Option<Vec<&str>> {
        match self {
            Self::Is(path, Matching::Compared(Comparison::Equal), Operand::Text(text))
                if path.inside.is_none() && path.is_id() =>
            {
                Some(vec![&text.given])
            }
            Self::All(parts) => parts.iter().find_map(Self::ids),
            Self::Any(parts) => {
                let ids: Option<Vec<_>> = parts.iter().map(Self::ids).collect();
                ids.map(|ids| ids.concat())
            }
            Self::Not(_) | Self::Has(_) | Self::Is(..) | Self::Inside(..) => None,
        }
    }
}

fn named(path: &AttrPath) -> Result<Path, String> {
    if path.uri.is_some() {
        return Err(format!("{path} is not a property"));
    }
    Ok(Path {
        name: path.name.clone(),
        inside: path.sub_attr.clone(),
    })
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

fn is_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) => true,
    }
}

impl Operand {
    /// Whether the comparison holds for one of the values; `ne` must hold for all.
    fn holds(&self, matching: Matching, values: &[&Value], is_id: bool) -> bool {
        if matching == Matching::Compared(Comparison::NotEqual) {
            return !self.holds(Matching::Compared(Comparison::Equal), values, is_id);
        }
        if *self == Self::Null {
            return !values.iter().any(|value| is_something(value));
        }
        values.iter().any(|value| {
            let (value, is_reference) = referred(value);
            self.fits(matching, value, is_id || is_reference)
        })
    }

    /// Whether the comparison holds for a value. Numbers and booleans may be strings on both sides,
    /// because clients write `"20"` for 20.
    fn fits(&self, matching: Matching, value: &Value, is_id: bool) -> bool {
        let order = match (self, value) {
            (Self::Text(text), Value::String(value)) => return text.fits(matching, value, is_id),
            (Self::Switch(is_set), Value::Bool(value)) => Some(value.cmp(is_set)),
            (Self::Switch(is_set), Value::String(value)) => {
                let value = value.to_ascii_lowercase().parse::<bool>();
                value.ok().map(|value| value.cmp(is_set))
            }
            (Self::Text(text), Value::Bool(value)) => {
                let is_set = text.folded.parse::<bool>();
                is_set.ok().map(|is_set| value.cmp(&is_set))
            }
            (Self::Number(number), Value::Number(value)) => {
                value.as_f64().and_then(|value| value.partial_cmp(number))
            }
            (Self::Number(number), Value::String(value)) => {
                let value = value.trim().parse::<f64>().ok();
                value.and_then(|value| value.partial_cmp(number))
            }
            (Self::Text(text), Value::Number(value)) => {
                let number = text.given.trim().parse::<f64>().ok();
                number.and_then(|number| value.as_f64()?.partial_cmp(&number))
            }
            _ => None,
        };
        match (matching, order) {
            (Matching::Compared(comparison), Some(order)) => comparison.holds(order),
            _ => false,
        }
    }
}

impl Text {
    fn fits(&self, matching: Matching, value: &str, is_id: bool) -> bool {
        match matching {
            Matching::Contains => folded(value).contains(&self.folded),
            Matching::StartsWith => folded(value).starts_with(&self.folded),
            Matching::EndsWith => folded(value).ends_with(&self.folded),
            Matching::Compared(comparison) => comparison.holds(self.order(value, is_id)),
        }
    }

    /// Orders the value relative to this. Times are compared as instants, ids without case folding.
    fn order(&self, value: &str, is_id: bool) -> std::cmp::Ordering {
        if is_id {
            return value.cmp(&self.given);
        }
        let times = self.time.zip(value.parse::<Timestamp>().ok());
        times.map_or_else(
            || folded(value).cmp(&self.folded),
            |(this, value)| value.cmp(&this),
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn item() -> Value {
        json!({
            "id": "Cat1", "displayName": "Straße", "active": true, "listPrice": 10.5,
            "weight": "20", "x_flag": "TRUE", "x_none": null, "x_empty": "",
            "creationDate": "2017-07-14T02:40:00.000Z",
            "keywords": ["red", "Blue"],
            "parentCategories": [{"repositoryId": "a", "n": 1}, {"repositoryId": "b", "n": 2}],
            "seoMetaInfo": {"seoTitle": "Lamps", "seoUrlSlug": null},
            "x_a.b": 5, "x_a": {"b": 6, "c": 7, "d.e": 8}, "x_c": [{"d": {"e": 9}}],
        })
    }

    #[test]
    fn an_item_matches_filters_that_are_true_of_it() {
        for filter in [
            r#"id eq "Cat1" and id co "CAT" and id ge "A""#,
            r#"displayName eq "STRASSE" and displayname sw "stra" and displayName ew "SSE""#,
            r#"displayName gt "strap" and displayName le "strasse""#,
            "active eq true and active ne false and active eq \"true\"",
            "listPrice gt 10 and listPrice le 10.5 and listPrice eq \"10.50\"",
            // A number in a string.
            "weight gt 9 and weight lt 100 and x_flag eq true",
            r#"creationDate eq "2017-07-14T04:40:00+02:00""#,
            r#"creationDate lt "2017-07-14T02:40:00.001Z""#,
            r#"keywords eq "blue" and keywords ne "green""#,
            r#"parentCategories eq "a" and parentCategories.repositoryId eq "b""#,
            r#"parentCategories[repositoryId eq "b" and n gt 1]"#,
            r#"seoMetaInfo.seoTitle co "amp" and seoMetaInfo pr"#,
            "x_none eq null and x_gone eq null and id ne null and x_gone ne \"x\"",
            "not (x_none pr or x_empty pr or x_gone pr or seoMetaInfo.seoUrlSlug pr)",
        ] {
            let node = Node::parse(filter).unwrap();
            let parts = if let Node::All(parts) = &node {
                parts.clone()
            } else {
                vec![node]
            };
            for part in parts {
                assert!(part.holds(&item()), "{filter}: {part:?}");
            }
        }
    }

    #[test]
    fn an_item_does_not_match_filters_that_are_false_of_it() {
        for filter in [
            // Ids are compared exactly.
            r#"id eq "cat1""#,
            r#"parentCategories eq "A""#,
            "active eq false",
            "listPrice lt 10.5",
            "listPrice gt \"x\"",
            "displayName eq 5",
            "displayName eq true",
            "x_gone gt 1",
            "x_gone eq false",
            r#"parentCategories[repositoryId eq "b" and n eq 1]"#,
            r#"keywords ne "RED""#,
        ] {
            assert!(!Node::parse(filter).unwrap().holds(&item()), "{filter}");
        }
    }

    #[test]
    fn malformed_filters_are_reported() {
        for (filter, says) in [
            ("", ""),
            ("id", ""),
            ("nonsense (((", ""),
            ("active gt true", "gt needs a text or a number, not true"),
            ("listPrice co 5", "co needs a text, not 5"),
            ("a.b.c eq 1", "more than one"),
            (r#"urn:x:y eq "z""#, "not a property"),
        ] {
            let why = Node::parse(filter).unwrap_err();
            assert!(why.contains(says), "{filter}: {why}");
        }
        assert!(Node::parse(&"not (".repeat(10_000)).is_err());
    }

    #[test]
    fn ids_are_extracted_from_a_filter_that_requires_one_of_them() {
        let ids = |filter| {
            let node = Node::parse(filter).unwrap();
            node.ids().map(|ids| ids.join(" "))
        };
        assert_eq!(
            ids(r#"id eq "a" or repositoryId eq "b""#),
            Some("a b".into())
        );
        assert_eq!(
            ids(r#"active eq true and (id eq "a" or id eq "b")"#),
            Some("a b".into())
        );
        for other in [
            r#"id eq "a" or active eq true"#,
            r#"not (id eq "a")"#,
            r#"id ne "a""#,
            r#"parentCategories.id eq "a""#,
        ] {
            assert_eq!(ids(other), None, "{other}");
        }
    }

    #[test]
    fn sort_keys_are_read_from_the_properties_of_an_item() {
        let key = |name: &str| Path::of(name).key(&item(), false);
        assert_eq!(key("id"), Some(Key::Text("Cat1".into())));
        assert_eq!(key("displayName"), Some(Key::Text("strasse".into())));
        assert_eq!(key("listPrice"), Some(Key::Number(10.5)));
        assert_eq!(key("active"), Some(Key::Switch(true)));
        assert_eq!(key("parentCategories"), Some(Key::Text("a".into())));
        assert_eq!((key("x_none"), key("x_gone")), (None, None));
        for (path, number) in [
            ("x_a.b", 5.0),
            ("x_a.c", 7.0),
            ("x_a.d.e", 8.0),
            ("x_c.d.e", 9.0),
        ] {
            assert_eq!(key(path), Some(Key::Number(number)), "{path}");
        }
    }
}
