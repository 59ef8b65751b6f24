//! What a response shows of a collection: the language, the paths, expanded children, and the
//! fields that `fields` and `exclude` select.

use axum::extract::Query;
use http::Uri;
use serde_json::Value;

use super::{codes, error::Failure, fields, problem::Problem};
use crate::{
    domain::Locale,
    service::{Ancestors, Include},
};

/// The field with the items of a page.
const ITEMS: &str = "items";
/// The other fields of a page.
pub const PAGE: [&str; 4] = ["totalResults", "offset", "limit", "links"];
const NAVIGATION: [&str; 6] = [
    "id",
    "repositoryId",
    "displayName",
    "active",
    "route",
    "childCategories",
];
/// The maximum number of names in a path. No response is nested as deeply, and names are processed
/// recursively.
const MAX_PARTS: usize = 32;
const MAX_LEVELS: usize = 6;
/// The meaning of `min` in Oracle's older releases.
const MIN_LEVELS: usize = 2;

/// What a response shows.
#[derive(Clone, Debug)]
pub struct View {
    /// The language of the texts.
    pub locale: Locale,
    /// Whether to include the paths from the roots.
    pub paths: bool,
    /// How many levels of child collections are expanded.
    pub levels: usize,
    /// Whether child products are expanded.
    pub products: bool,
    /// The catalog to put in front of additional paths, if these are selected.
    pub catalog: Option<Catalog>,
    fields: Option<Names>,
    exclude: Names,
}

/// The catalog of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalog {
    /// The id.
    pub id: String,
    /// The name.
    pub name: String,
}

/// Sorted field names, with dots for nested fields. The name of a custom property may contain dots,
/// too.
#[derive(Clone, Debug, Default)]
struct Names(Vec<String>);

/// The [`Names`] inside of some field. Their first `skipped` bytes, which are the same in all of
/// them, are ignored.
#[derive(Clone, Copy)]
struct Part<'a> {
    names: &'a [String],
    skipped: usize,
}

/// How a field is selected.
enum Named<'a> {
    Nothing,
    Inside(Part<'a>),
    Whole,
}

impl View {
    /// Parses the query of a request.
    ///
    /// # Errors
    /// If the query is malformed, or a switch is neither `true` nor `false`.
    pub fn parse(uri: &Uri, locale: Locale) -> Result<Self, Failure> {
        Self::read(&pairs(uri)?, locale)
    }

    /// Like [`Self::parse`], for a parsed query string.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn read(query: &[(String, String)], locale: Locale) -> Result<Self, Failure> {
        let mut view = Self {
            locale,
            paths: true,
            levels: 0,
            products: false,
            catalog: None,
            fields: None,
            exclude: Names::default(),
        };
        for (name, value) in query {
            match name.as_str() {
                "showCategoryPaths" => view.paths = switch(name, value)?,
                "depth" => view.levels = levels(value)?,
                "fields" if !value.trim().is_empty() => {
                    view.fields.get_or_insert_default().add(name, value)?;
                }
                "exclude" => view.exclude.add(name, value)?,
                _ => {}
            }
        }
        Ok(view)
    }

    /// A view of these fields only.
    pub fn of(names: impl IntoIterator<Item = String>, locale: Locale) -> Self {
        Self {
            locale,
            paths: true,
            levels: 0,
            products: false,
            catalog: None,
            fields: Some(Names::of(names)),
            exclude: Names::default(),
        }
    }

    /// Adds the parameters that only collections have.
    ///
    /// # Errors
    /// If one of them is invalid.
    pub fn of_collections(
        mut self,
        query: &[(String, String)],
        catalog: impl Fn() -> Catalog,
    ) -> Result<Self, Failure> {
        for (name, value) in query {
            match name.as_str() {
                "expand" => self.expand(value)?,
                "multipleCategoryPaths" => {
                    self.catalog = switch(name, value)?.then(&catalog);
                }
                "minimalFieldsForNavigation" if switch(name, value)? => {
                    self = self.for_navigation();
                }
                _ => {}
            }
        }
        Ok(self)
    }

    fn expand(&mut self, list: &str) -> Result<(), Failure> {
        for what in list
            .split(',')
            .map(str::trim)
            .filter(|what| !what.is_empty())
        {
            match what {
                "childProducts" => self.products = true,
                "childCategories" => self.levels = self.levels.max(1),
                other => {
                    let why = format!("{other:?} must be childCategories or childProducts");
                    return Err(Problem::at(codes::BAD_REQUEST, "expand", why).into());
                }
            }
        }
        Ok(())
    }

    /// The view without expanded children, for the response to an update.
    pub fn flat(self) -> Self {
        Self {
            levels: 0,
            products: false,
            ..self
        }
    }

    /// The view of each item, if this is the view of a list: names may begin with `items.`.
    pub fn of_items(&self) -> Self {
        Self {
            fields: self.fields.as_ref().and_then(Names::of_items),
            exclude: self.exclude.of_items().unwrap_or_default(),
            ..self.clone()
        }
    }

    /// The view of a collection in a navigation menu.
    fn for_navigation(self) -> Self {
        Self {
            fields: Some(Names::of(NAVIGATION.map(Into::into))),
            ..self
        }
    }

    /// The lists that have to be read for this view.
    pub fn include(&self) -> Include {
        Include {
            products: self.wants("childProducts") || self.wants("fixedChildProducts"),
            collections: self.wants("childCategories") || self.wants("fixedChildCategories"),
            ancestors: Ancestors::Named,
            awaits_rules: false,
        }
    }

    /// Whether it includes a field, or a part of it.
    pub fn wants(&self, name: &str) -> bool {
        let is_named = |fields: &Names| !matches!(fields.all().find(name), Named::Nothing);
        let is_excluded = matches!(self.exclude.all().find(name), Named::Whole);
        self.fields.as_ref().is_none_or(is_named) && !is_excluded
    }

    /// Whether it includes the items of a page: not if only other fields of the page are selected.
    pub fn wants_items(&self) -> bool {
        let is_selected = |fields: &Names| fields.0.iter().any(|name| !is_of_page(name));
        let is_excluded = matches!(self.exclude.all().find(ITEMS), Named::Whole);
        self.fields.as_ref().is_none_or(is_selected) && !is_excluded
    }

    /// Reduces an object to the selected fields.
    pub fn cut_object(&self, object: Value) -> Value {
        let Value::Object(fields) = object else {
            return object;
        };
        let wanted = fields.into_iter().filter(|(name, _)| self.wants(name));
        let wanted = wanted.map(|(name, value)| {
            let value = self.cut(&name, value);
            (name, value)
        });
        Value::Object(wanted.collect())
    }

    /// Whether it includes only a part of a field.
    pub fn cuts(&self, name: &str) -> bool {
        let fields = self.fields.iter().chain([&self.exclude]);
        let mut named = fields.map(|names| names.all().find(name));
        named.any(|named| matches!(named, Named::Inside(_)))
    }

    /// Reduces the value of a field to its selected parts.
    pub fn cut(&self, name: &str, mut value: Value) -> Value {
        if let Some(fields) = &self.fields
            && let Named::Inside(part) = fields.all().find(name)
        {
            part.keep(&mut value);
        }
        if let Named::Inside(part) = self.exclude.all().find(name) {
            part.drop(&mut value);
        }
        value
    }
}

impl Names {
    fn of(names: impl IntoIterator<Item = String>) -> Self {
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort_unstable();
        names.dedup();
        Self(names)
    }

    /// The names inside of the items; `None` for all.
    fn of_items(&self) -> Option<Self> {
        if matches!(self.all().find(ITEMS), Named::Whole) {
            return None;
        }
        let names = self.0.iter().filter(|name| !is_of_page(name));
        let inside = names.map(|name| {
            let inside = name.strip_prefix(ITEMS).and_then(|n| n.strip_prefix('.'));
            inside.unwrap_or(name).to_owned()
        });
        Some(Self::of(inside))
    }

    fn add(&mut self, name: &str, list: &str) -> Result<(), Failure> {
        let paths = list.split(',').map(str::trim);
        let paths: Vec<_> = paths.filter(|path| !path.is_empty()).collect();
        let is_long = |path: &&str| path.split('.').nth(MAX_PARTS).is_some();
        if paths.iter().any(is_long) {
            let detail = format!("a name has at most {MAX_PARTS} parts");
            return Err(Problem::at(codes::BAD_REQUEST, name, detail).into());
        }
        let before = std::mem::take(&mut self.0).into_iter();
        *self = Self::of(before.chain(paths.into_iter().map(Into::into)));
        Ok(())
    }

    fn all(&self) -> Part<'_> {
        Part {
            names: &self.0,
            skipped: 0,
        }
    }
}

impl<'a> Part<'a> {
    fn find(self, name: &str) -> Named<'a> {
        let from = |start: &str| {
            let first = self
                .names
                .partition_point(|path| &path[self.skipped..] < start);
            &self.names[first..]
        };
        if from(name)
            .first()
            .is_some_and(|path| path[self.skipped..] == *name)
        {
            return Named::Whole;
        }
        let prefix = format!("{name}.");
        let names = from(&prefix);
        let count = names.partition_point(|path| path[self.skipped..].starts_with(&prefix));
        if count == 0 {
            return Named::Nothing;
        }
        Named::Inside(Self {
            names: &names[..count],
            skipped: self.skipped + prefix.len(),
        })
    }

    fn keep(self, value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.keep(item)),
            Value::Object(object) => object.retain(|name, value| match self.find(name) {
                Named::Nothing => false,
                Named::Inside(part) => {
                    part.keep(value);
                    true
                }
                Named::Whole => true,
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn drop(self, value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.drop(item)),
            Value::Object(object) => object.retain(|name, value| match self.find(name) {
                Named::Nothing => true,
                Named::Inside(part) => {
                    part.drop(value);
                    true
                }
                Named::Whole => false,
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

/// Whether a name is that of a page's field, or nested in one.
fn is_of_page(name: &str) -> bool {
    let first = name.split('.').next();
    first.is_some_and(|first| PAGE.contains(&first))
}

/// Parses a query string into names and values.
pub fn pairs(uri: &Uri) -> Result<Vec<(String, String)>, Failure> {
    let query = Query::<Vec<(String, String)>>::try_from_uri(uri);
    let Query(pairs) =
        query.map_err(|error| Problem::new(codes::BAD_REQUEST, error.body_text()))?;
    Ok(pairs)
}

/// How many levels of child collections to expand.
fn levels(value: &str) -> Result<usize, Failure> {
    match value {
        "min" => return Ok(MIN_LEVELS),
        "max" => return Ok(MAX_LEVELS),
        _ => {}
    }
    let levels = fields::integer(&value.into()).and_then(|levels| levels.try_into().ok());
    levels
        .filter(|levels| *levels <= MAX_LEVELS)
        .ok_or_else(|| {
            let detail = format!("{value:?} must be 0 to {MAX_LEVELS}, min or max");
            Problem::at(codes::BAD_REQUEST, "depth", detail).into()
        })
}

pub(super) fn switch(name: &str, value: &str) -> Result<bool, Failure> {
    value.to_ascii_lowercase().parse().map_err(|_| {
        let detail = format!("{value:?} must be true or false");
        Problem::at(codes::BAD_REQUEST, name, detail).into()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn view(query: &str) -> View {
        View::parse(
            &format!("/?{query}").parse().unwrap(),
            Locale::trusted("en"),
        )
        .unwrap()
    }

    #[test]
    fn fields_selects_properties_and_exclude_omits_them() {
        let chosen = view("fields=id,seoMetaInfo.seoTitle");
        assert!(chosen.wants("id") && chosen.wants("seoMetaInfo") && !chosen.wants("name"));
        let seo = json!({"seoTitle": "T", "seoKeywords": "K"});
        assert_eq!(
            chosen.cut("seoMetaInfo", seo.clone()),
            json!({"seoTitle": "T"})
        );
        assert!(!chosen.include().products);

        let rest = view("exclude=childProducts,fixedChildProducts,seoMetaInfo.seoTitle");
        assert!(!rest.wants("childProducts") && rest.wants("seoMetaInfo"));
        assert_eq!(rest.cut("seoMetaInfo", seo), json!({"seoKeywords": "K"}));
        assert!(!rest.include().products && rest.include().collections);
    }

    #[test]
    fn field_names_apply_to_array_elements() {
        let images = json!([{"path": "/a.png", "metadata": {"altText": "A", "titleText": "T"}}]);
        let cut = view("fields=categoryImages.metadata.altText").cut("categoryImages", images);
        assert_eq!(cut, json!([{"metadata": {"altText": "A"}}]));
    }

    #[test]
    fn a_dotted_name_may_be_a_single_field() {
        let value = json!({"b": 1, "c.d": 2, "c": {"d": 3, "e": 4}, "c-": 5});
        let chosen = view("fields=x_a.b,x_a.c.d");
        assert!(chosen.wants("x_a.b") && chosen.wants("x_a") && !chosen.wants("x_a-"));
        let expected = json!({"b": 1, "c.d": 2, "c": {"d": 3}});
        assert_eq!(chosen.cut("x_a", value.clone()), expected);
        assert_eq!(
            chosen.cut("x_a.c", json!({"d": 1, "e": 2})),
            json!({"d": 1})
        );
        let rest = view("exclude=x_a.b,x_a.c.d");
        assert!(!rest.wants("x_a.b") && rest.wants("x_a"));
        assert_eq!(rest.cut("x_a", value), json!({"c": {"e": 4}, "c-": 5}));
    }

    #[test]
    fn the_depth_of_field_names_is_limited() {
        let parse = |parts: usize| {
            let name = vec!["a"; parts].join(".");
            let uri = format!("/?exclude={name}").parse().unwrap();
            View::parse(&uri, Locale::trusted("en"))
        };
        assert!(parse(MAX_PARTS).is_ok());
        assert!(parse(MAX_PARTS + 1).is_err());
    }

    #[test]
    fn a_flag_must_be_true_or_false() {
        assert!(!view("showCategoryPaths=False").paths);
        let odd = Uri::from_static("/?showCategoryPaths=2");
        assert!(View::parse(&odd, Locale::trusted("en")).is_err());
    }
}
