//! What a request wants to see of a collection: the language, the paths, and the
//! fields that `fields` and `exclude` choose.

use std::collections::BTreeMap;

use axum::extract::Query;
use http::Uri;
use serde_json::Value;

use super::{codes, error::Failure, problem::Problem};
use crate::{
    domain::Locale,
    service::{Above, Include},
};

/// The list that a page holds.
const ITEMS: &str = "items";
/// What a page holds beside it.
pub const PAGE: [&str; 4] = ["totalResults", "offset", "limit", "links"];
const NAVIGATION: [&str; 6] = [
    "id",
    "repositoryId",
    "displayName",
    "active",
    "route",
    "childCategories",
];
/// Names in a dotted one. No answer is as deep; and names are worked on level by level.
const MAX_PARTS: usize = 32;
const MAX_LEVELS: usize = 6;
/// What Oracle's older releases mean by `min`.
const MIN_LEVELS: usize = 2;

/// What an answer shows.
#[derive(Clone, Debug)]
pub struct View {
    /// The language of its texts.
    pub locale: Locale,
    /// Whether it has the paths from the roots.
    pub paths: bool,
    /// How many levels of child collections are written out and not only named.
    pub levels: usize,
    /// Whether child products are written out and not only named.
    pub products: bool,
    /// The catalog to put at the front of further paths, if they are selected.
    pub catalog: Option<Catalog>,
    fields: Option<Names>,
    exclude: Names,
}

/// The catalog of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalog {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// Names of fields, dotted where they are inside others.
#[derive(Clone, Debug, Default)]
struct Names {
    whole: bool,
    inside: BTreeMap<String, Names>,
}

impl View {
    /// What the query asks for.
    ///
    /// # Errors
    /// Where the query can't be read or a switch is neither true nor false.
    pub fn parse(uri: &Uri, locale: Locale) -> Result<Self, Failure> {
        Self::read(&pairs(uri)?, locale)
    }

    /// The same of a query that is taken apart already.
    ///
    /// # Errors
    /// Likewise.
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
        let inside = names.into_iter().map(|name| (name, Names::whole()));
        Self {
            locale,
            paths: true,
            levels: 0,
            products: false,
            catalog: None,
            fields: Some(Names {
                whole: false,
                inside: inside.collect(),
            }),
            exclude: Names::default(),
        }
    }

    /// The same, with the parameters that only collections have.
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

    /// The same, with children named alone: what an update answers.
    pub fn flat(self) -> Self {
        Self {
            levels: 0,
            products: false,
            ..self
        }
    }

    /// What a list of collections shows of each, where this is what the request says of the
    /// list: its names may begin with `items.`.
    pub fn of_items(&self) -> Self {
        Self {
            fields: self.fields.as_ref().and_then(Names::of_items),
            exclude: self.exclude.of_items().unwrap_or_default(),
            ..self.clone()
        }
    }

    /// What the tree of a shop's navigation shows of a collection.
    fn for_navigation(self) -> Self {
        let whole = |name: &str| (name.to_owned(), Names::whole());
        let fields = Names {
            whole: false,
            inside: NAVIGATION.map(whole).into(),
        };
        Self {
            fields: Some(fields),
            ..self
        }
    }

    /// The lists that must be read for it.
    pub fn include(&self) -> Include {
        Include {
            products: self.wants("childProducts") || self.wants("fixedChildProducts"),
            collections: self.wants("childCategories") || self.wants("fixedChildCategories"),
            above: Above::Named,
        }
    }

    /// Whether it has the field, or something of it.
    pub fn wants(&self, name: &str) -> bool {
        let named = |fields: &Names| fields.inside.contains_key(name);
        let excluded = self.exclude.inside.get(name).is_some_and(|n| n.whole);
        self.fields.as_ref().is_none_or(named) && !excluded
    }

    /// Whether a page has its items: not if only other fields of it are selected.
    pub fn wants_items(&self) -> bool {
        let of_items = |name: &String| !PAGE.contains(&name.as_str());
        let is_selected = |fields: &Names| fields.inside.keys().any(of_items);
        let is_excluded = self.exclude.inside.get(ITEMS).is_some_and(|n| n.whole);
        self.fields.as_ref().is_none_or(is_selected) && !is_excluded
    }

    /// The selected fields of the object.
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

    /// The field's value, cut to what is wanted of it.
    pub fn cut(&self, name: &str, mut value: Value) -> Value {
        if let Some(names) = self.fields.as_ref().and_then(|f| f.inside.get(name)) {
            names.keep(&mut value);
        }
        if let Some(names) = self.exclude.inside.get(name) {
            names.drop(&mut value);
        }
        value
    }
}

impl Names {
    /// The names of what is inside items. None for all.
    fn of_items(&self) -> Option<Self> {
        let mut names = self.clone();
        let items = names.inside.remove(ITEMS);
        for name in PAGE {
            names.inside.remove(name);
        }
        match items {
            Some(items) if items.whole => None,
            Some(items) => {
                names.inside.extend(items.inside);
                Some(names)
            }
            None => Some(names),
        }
    }

    fn whole() -> Self {
        Self {
            whole: true,
            inside: BTreeMap::new(),
        }
    }

    fn add(&mut self, name: &str, list: &str) -> Result<(), Failure> {
        let paths = list.split(',').map(str::trim);
        for path in paths.filter(|path| !path.is_empty()) {
            if path.split('.').nth(MAX_PARTS).is_some() {
                let detail = format!("a name has at most {MAX_PARTS} parts");
                return Err(Problem::at(codes::BAD_REQUEST, name, detail).into());
            }
            let mut names = &mut *self;
            for part in path.split('.') {
                names = names.inside.entry(part.into()).or_default();
            }
            names.whole = true;
        }
        Ok(())
    }

    fn keep(&self, value: &mut Value) {
        match value {
            _ if self.whole => {}
            Value::Array(items) => items.iter_mut().for_each(|item| self.keep(item)),
            Value::Object(object) => {
                object.retain(|name, _| self.inside.contains_key(name));
                for (name, names) in &self.inside {
                    object.get_mut(name).into_iter().for_each(|v| names.keep(v));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn drop(&self, value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.drop(item)),
            Value::Object(object) => {
                object.retain(|name, _| !self.inside.get(name).is_some_and(|n| n.whole));
                for (name, names) in &self.inside {
                    object.get_mut(name).into_iter().for_each(|v| names.drop(v));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

/// The query, name by name.
pub fn pairs(uri: &Uri) -> Result<Vec<(String, String)>, Failure> {
    let query = Query::<Vec<(String, String)>>::try_from_uri(uri);
    let Query(pairs) =
        query.map_err(|error| Problem::new(codes::BAD_REQUEST, error.body_text()))?;
    Ok(pairs)
}

/// How many levels of child collections to write out.
fn levels(value: &str) -> Result<usize, Failure> {
    match value {
        "min" => return Ok(MIN_LEVELS),
        "max" => return Ok(MAX_LEVELS),
        _ => {}
    }
    let digit = value
        .parse::<char>()
        .ok()
        .and_then(|digit| digit.to_digit(10));
    let levels = digit.map(|digit| digit as usize);
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
    fn fields_choose_and_exclude_leaves_out() {
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
    fn names_reach_into_arrays() {
        let images = json!([{"path": "/a.png", "metadata": {"altText": "A", "titleText": "T"}}]);
        let cut = view("fields=categoryImages.metadata.altText").cut("categoryImages", images);
        assert_eq!(cut, json!([{"metadata": {"altText": "A"}}]));
    }

    #[test]
    fn names_are_only_so_deep() {
        let parse = |parts: usize| {
            let name = vec!["a"; parts].join(".");
            let uri = format!("/?exclude={name}").parse().unwrap();
            View::parse(&uri, Locale::trusted("en"))
        };
        assert!(parse(MAX_PARTS).is_ok());
        assert!(parse(MAX_PARTS + 1).is_err());
    }

    #[test]
    fn a_switch_is_true_or_false() {
        assert!(!view("showCategoryPaths=False").paths);
        let odd = Uri::from_static("/?showCategoryPaths=2");
        assert!(View::parse(&odd, Locale::trusted("en")).is_err());
    }
}
