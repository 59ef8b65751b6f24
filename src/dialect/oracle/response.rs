//! Renders a collection in Oracle's form.
//!
//! The two lists of children may contain a million ids, so they are serialized directly from the
//! ids, without JSON values in between; a read streams them ([`super::stream`]).

use std::borrow::Cow;

use axum::{
    body::Bytes,
    response::{IntoResponse as _, Response},
};
use http::{
    StatusCode,
    header::{CONTENT_TYPE, ETAG},
};
use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::{Map, Value, json, value::RawValue};

use super::{
    derived::Reading,
    names::{SEO, is_standard, why_forbidden},
    view::View,
};
use crate::{
    dialect::idempotency::Reply,
    domain::{ChildIds, CollectionId, Image, ImageSource, ImageText, TextField, Timestamp},
    service::{Descendants, Detail, EncodedResponse, Settings},
};

pub const CHILD_CATEGORIES: &str = "childCategories";
pub const CHILD_PRODUCTS: &str = "childProducts";
const FIXED_CHILD_PRODUCTS: &str = "fixedChildProducts";

/// The operation of a response, which affects a few fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// createCollection includes the parents.
    Created,
    /// updateCollection.
    Updated,
    /// getCollection includes the creation time.
    Read,
    /// listCollections includes it too, but no products.
    Listed,
}

/// The response with a collection, and its etag.
pub fn reply(detail: &Detail, shape: Shape, view: &View, settings: &Settings) -> Reply {
    let body = Body::new(detail, shape, view, settings);
    Reply::new(StatusCode::OK, Some(detail.collection.etag()), &body)
}

/// The response with a collection that [`written`] has encoded.
pub fn encoded(encoded: EncodedResponse) -> Response {
    let etag = [(ETAG, format!("\"{}\"", encoded.etag))];
    let json = [(CONTENT_TYPE, "application/json")];
    (etag, json, encoded.body).into_response()
}

/// The encoded body of a response with a collection.
pub fn written(detail: &Detail, shape: Shape, view: &View, settings: &Settings) -> Bytes {
    let body = serde_json::to_vec(&Body::new(detail, shape, view, settings));
    // Cannot fail: every response can be serialized. Without spare capacity, as the read cache
    // keeps the bytes.
    body.unwrap_or_default().into_boxed_slice().into()
}

/// The response of an operation that has no result.
pub fn success() -> Reply {
    Reply::new(StatusCode::OK, None, &json!({ "success": true }))
}

/// A collection in a list, with the child collections below it.
pub fn item<'a>(
    detail: &'a Detail,
    descendants: &Descendants,
    view: &View,
    settings: &Settings,
) -> impl Serialize + use<'a> {
    Body::new(detail, Shape::Listed, view, settings).with(detail, descendants, view, settings)
}

/// A collection as a search sees it in a list.
pub fn searched(detail: &Detail, view: &View, settings: &Settings) -> Value {
    let body = Body::new(detail, Shape::Listed, view, settings);
    // Cannot fail: the body is JSON.
    let mut item = serde_json::to_value(body).unwrap_or_default();
    let children = item.get_mut(CHILD_CATEGORIES);
    let children = children.and_then(Value::as_array_mut).into_iter().flatten();
    for child in children {
        child["id"] = child["repositoryId"].clone();
    }
    item
}

/// The object of a collection without its lists of children, as JSON, but with the child
/// collections that are expanded.
pub fn without_lists(
    detail: &Detail,
    descendants: Option<&Descendants>,
    shape: Shape,
    view: &View,
    settings: &Settings,
) -> String {
    let mut body = Body::new(detail, shape, view, settings);
    if let Some(descendants) = descendants {
        body = body.with(detail, descendants, view, settings);
    }
    body.lists.clear();
    // Cannot fail: every response can be serialized.
    serde_json::to_string(&body).unwrap_or_default()
}

/// The body of a response: the fields of a collection, and then its lists of children.
struct Body<'a> {
    fields: Map<String, Value>,
    custom: Vec<(&'a str, Cow<'a, str>)>,
    lists: Vec<(&'static str, Children<'a>)>,
}

/// A list of children.
struct Children<'a> {
    ids: &'a ChildIds,
    /// Whether an empty list is null instead of an empty array.
    null: bool,
}

/// A field with a list of children.
#[derive(Clone, Copy, Debug)]
pub struct ListField {
    pub name: &'static str,
    pub list: Listed,
    /// Whether an empty list is null instead of an empty array.
    pub null: bool,
}

/// The contents of a list field.
#[derive(Clone, Copy, Debug)]
pub enum Listed {
    Products,
    /// All products of a manual collection. For a smart one, the products that it includes or pins,
    /// as its rules select the others.
    FixedProducts,
    Collections,
}

impl Listed {
    pub fn ids(self, detail: &Detail) -> &ChildIds {
        match self {
            Self::FixedProducts if detail.collection.kind.is_smart() => &detail.named_products,
            Self::Products | Self::FixedProducts => &detail.products,
            Self::Collections => &detail.collections,
        }
    }
}

/// A reference by id.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reference<'a> {
    repository_id: &'a str,
}

impl<'a> Reference<'a> {
    pub fn to(id: &'a str) -> Self {
        Self { repository_id: id }
    }
}

impl<'a> Body<'a> {
    fn new(detail: &'a Detail, shape: Shape, view: &View, settings: &Settings) -> Self {
        let mut fields = Map::new();
        let mut put = |name: &str, value: &dyn Fn() -> Value| {
            if view.wants(name) {
                fields.insert(name.into(), view.cut(name, value()));
            }
        };
        let read = Reading::new(detail, &view.locale, settings);
        own(detail, &read, &mut put);
        derived(&read, &mut put);
        if view.paths {
            paths(&read, view, &mut put);
        }
        put("ancestorCategories", &|| {
            references(detail.lineage.ancestors())
        });
        put("fixedParentCategories", &|| {
            parents(detail, shape, &read, view)
        });
        if matches!(shape, Shape::Read | Shape::Listed) {
            put("creationDate", &|| date(detail.collection.create_time));
        }
        Self {
            fields,
            custom: custom(detail, view),
            lists: lists(detail, shape, view),
        }
    }

    /// Expands the child collections that were read.
    fn with(
        mut self,
        detail: &Detail,
        descendants: &Descendants,
        view: &View,
        settings: &Settings,
    ) -> Self {
        if view.wants(CHILD_CATEGORIES) {
            let mut branches = Branches {
                descendants,
                view,
                settings,
                paths_left: settings.limits.paths,
            };
            let levels = view.levels.min(descendants.levels());
            let children = branches.of(&detail.collections, levels);
            let children = view.cut(CHILD_CATEGORIES, children);
            self.fields.insert(CHILD_CATEGORIES.into(), children);
            self.lists.retain(|(name, _)| *name != CHILD_CATEGORIES);
        }
        self
    }
}

/// Expands `levels` levels of child collections; below these, children are references.
struct Branches<'a> {
    descendants: &'a Descendants,
    view: &'a View,
    settings: &'a Settings,
    /// How many paths may still be written, in addition to one per collection. With several parents
    /// on each level, there can be far more paths than collections.
    paths_left: usize,
}

impl Branches<'_> {
    fn of(&mut self, ids: &ChildIds, levels: usize) -> Value {
        if ids.is_empty() {
            return Value::Null;
        }
        ids.iter().map(|id| self.branch(id, levels)).collect()
    }

    fn branch(&mut self, id: &str, levels: usize) -> Value {
        let Some(detail) = self.descendants.get(id).filter(|_| levels > 0) else {
            return json!({ "repositoryId": id });
        };
        let read = Reading::new(detail, &self.view.locale, self.settings);
        let mut branch = json!({
            "repositoryId": id,
            "id": id,
            "displayName": read.display_name(),
            "longDescription": read.text(TextField::LongDescription),
            "active": detail.effective_active(),
            "route": read.route(),
            "creationDate": date(detail.collection.create_time),
            CHILD_CATEGORIES: self.of(&detail.collections, levels - 1),
        });
        if self.view.paths {
            let paths = read.paths_up_to(self.paths_left + 1);
            self.paths_left -= paths.len().saturating_sub(1);
            branch["categoryPaths"] = read.name_paths(&paths).into();
        }
        branch
    }
}

/// Takes a field and a function for its value, which is called if the field is selected.
type Put<'a> = dyn FnMut(&str, &dyn Fn() -> Value) + 'a;

/// The fields that are stored with the collection.
fn own(detail: &Detail, read: &Reading<'_>, put: &mut Put<'_>) {
    let collection = &detail.collection;
    put("id", &|| collection.id.as_str().into());
    put("repositoryId", &|| collection.id.as_str().into());
    put("name", &|| collection.internal_name.as_str().into());
    put("displayName", &|| read.display_name().into());
    for (name, field) in [
        ("description", TextField::Description),
        ("longDescription", TextField::LongDescription),
    ] {
        put(name, &|| read.text(field).into());
    }
    put("active", &|| detail.effective_active().into());
    put("keywords", &|| read.keywords().into());
    put("seoMetaInfo", &|| seo(&collection.id, read));
    put("categoryImages", &|| {
        let images = collection.images.iter();
        images.map(|one| image(one, read)).collect()
    });
}

fn derived(read: &Reading<'_>, put: &mut Put<'_>) {
    put("seoTitleDerived", &|| read.display_name().into());
    put("seoDescriptionDerived", &|| read.seo_description().into());
    put("seoKeywordsDerived", &|| read.seo_keywords().into());
    put("seoUrlSlugDerived", &|| read.seo_url_slug().into());
    put("route", &|| read.route().into());
}

/// The paths from the roots, and, if selected, those with the catalog in front.
fn paths(read: &Reading<'_>, view: &View, put: &mut Put<'_>) {
    put("categoryPaths", &|| read.name_paths(&read.paths()).into());
    put("categoryIdPaths", &|| id_paths(&read.paths()).into());
    if let Some(catalog) = &view.catalog {
        let named = |path: String| format!("/{}{path}", catalog.name);
        put("multiCatalogCategoryPaths", &|| {
            let paths = read.name_paths(&read.paths()).into_iter();
            paths.map(named).collect()
        });
        let identified = |path: String| format!("{}>{path}", catalog.id);
        put("multiCatalogCategoryIdPaths", &|| {
            id_paths(&read.paths())
                .into_iter()
                .map(identified)
                .collect()
        });
    }
}

/// The SEO texts; null if there are none.
fn seo(id: &CollectionId, read: &Reading<'_>) -> Value {
    if SEO.iter().all(|(_, field)| read.text(*field).is_none()) {
        return Value::Null;
    }
    let mut seo = Map::new();
    // In Oracle's API this is an item with an id of its own; here it is part of the collection.
    seo.insert("repositoryId".into(), format!("seo-{id}").into());
    for (name, field) in SEO {
        seo.insert(name.into(), read.text(field).into());
    }
    seo.into()
}

fn image(image: &Image, read: &Reading<'_>) -> Value {
    let metadata = json!({
        "altText": read.image_text(image, ImageText::AltText),
        "titleText": read.image_text(image, ImageText::Title),
    });
    let mut value = Map::new();
    value.insert("metadata".into(), metadata);
    value.insert("repositoryId".into(), image.id.as_str().into());
    if let Some(name) = &image.file_name {
        value.insert("name".into(), name.as_str().into());
    }
    // A URL in `path` would be rejected when the image is sent back.
    match &image.source {
        Some(ImageSource::Path(path)) => value.insert("path".into(), path.as_str().into()),
        Some(ImageSource::Url(url)) => value.insert("url".into(), url.as_str().into()),
        None => None,
    };
    value.into()
}

fn id_paths(paths: &[Vec<&CollectionId>]) -> Vec<String> {
    let path = |path: &Vec<&CollectionId>| {
        let ids: Vec<_> = path.iter().map(|id| id.as_str()).collect();
        ids.join(">")
    };
    paths.iter().map(path).collect()
}

fn references<'a>(ids: impl IntoIterator<Item = &'a CollectionId>) -> Value {
    let reference = |id: &CollectionId| json!({"repositoryId": id.as_str()});
    ids.into_iter().map(reference).collect()
}

fn parents(detail: &Detail, shape: Shape, read: &Reading<'_>, view: &View) -> Value {
    let lineage = &detail.lineage;
    if shape != Shape::Created {
        return references(&lineage.parents);
    }
    let parent = |id: &CollectionId| {
        let node = lineage.nodes.get(id)?;
        let mut parent = json!({
            "repositoryId": id.as_str(),
            "id": id.as_str(),
            "displayName": read.name_of(id),
            "description": read.text_of(node, TextField::Description),
            "longDescription": read.text_of(node, TextField::LongDescription),
            "active": read.is_active(node),
            "fixedParentCategories": references(&node.parents),
        });
        if view.paths {
            parent["categoryPaths"] = read.name_paths_of(id, node).into();
        }
        Some(parent)
    };
    lineage.parents.iter().filter_map(parent).collect()
}

/// In UTC, rounded to milliseconds.
fn date(time: Timestamp) -> Value {
    const PRINTER: jiff::fmt::temporal::DateTimePrinter =
        jiff::fmt::temporal::DateTimePrinter::new().precision(Some(3));
    let time = jiff::Timestamp::from_microsecond(time.micros()).ok();
    time.map(|time| PRINTER.timestamp_to_string(&time)).into()
}

/// The custom properties. One whose name has a meaning in this dialect, which another API may have
/// stored, is left out.
fn custom<'a>(detail: &'a Detail, view: &View) -> Vec<(&'a str, Cow<'a, str>)> {
    let shown =
        |name: &str| !is_standard(name) && why_forbidden(name).is_none() && view.wants(name);
    let properties = detail.collection.custom_properties.iter();
    properties
        .filter(|(name, _)| shown(name))
        .map(|(name, value)| (name.as_str(), cut(name, &value.0, view)))
        .collect()
}

/// A property as it was written, reduced to the selected fields.
fn cut<'a>(name: &str, json: &'a str, view: &View) -> Cow<'a, str> {
    if !view.cuts(name) {
        return json.into();
    }
    // Cannot fail: only valid JSON is stored.
    let value = serde_json::from_str(json).unwrap_or_default();
    view.cut(name, value).to_string().into()
}

/// The selected fields that list children.
pub fn list_fields(shape: Shape, view: &View) -> Vec<ListField> {
    let field = |name, list, null| ListField { name, list, null };
    let fields = [
        field(CHILD_PRODUCTS, Listed::Products, true),
        field(FIXED_CHILD_PRODUCTS, Listed::FixedProducts, false),
        field(CHILD_CATEGORIES, Listed::Collections, true),
        field("fixedChildCategories", Listed::Collections, false),
    ];
    let is_shown =
        |name| shape != Shape::Listed || ![CHILD_PRODUCTS, FIXED_CHILD_PRODUCTS].contains(&name);
    let wanted = |field: &ListField| view.wants(field.name) && is_shown(field.name);
    fields.into_iter().filter(wanted).collect()
}

fn lists<'a>(detail: &'a Detail, shape: Shape, view: &View) -> Vec<(&'static str, Children<'a>)> {
    let fields = list_fields(shape, view).into_iter();
    let lists = fields.map(|ListField { name, list, null }| {
        let ids = list.ids(detail);
        (name, Children { ids, null })
    });
    lists.collect()
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in &self.fields {
            map.serialize_entry(name, value)?;
        }
        for (name, text) in &self.custom {
            // Verbatim. It can be parsed, because the domain stores only valid JSON.
            let value: Option<&RawValue> = serde_json::from_str(text).ok();
            map.serialize_entry(name, &value)?;
        }
        for (name, list) in &self.lists {
            map.serialize_entry(name, list)?;
        }
        map.end()
    }
}

impl Serialize for Children<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.null && self.ids.is_empty() {
            return serializer.serialize_none();
        }
        serializer.collect_seq(self.ids.iter().map(Reference::to))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::derived::tests::{detail, settings},
        *,
    };
    use crate::domain::{Json, Locale};

    fn body(detail: &Detail, shape: Shape, query: &str) -> Value {
        let uri = format!("/?{query}").parse().unwrap();
        let view = View::parse(&uri, Locale::trusted("en")).unwrap();
        serde_json::to_value(Body::new(detail, shape, &view, &settings())).unwrap()
    }

    #[test]
    fn empty_fields_are_null_or_an_empty_array_as_documented() {
        let detail = detail(&[("en", TextField::DisplayName, "Lamps")]);
        let body = body(&detail, Shape::Updated, "");
        for null in [
            "description",
            "longDescription",
            "childProducts",
            "childCategories",
        ] {
            assert_eq!(body[null], Value::Null, "{null}");
        }
        for empty in [
            "fixedChildProducts",
            "fixedChildCategories",
            "keywords",
            "categoryImages",
        ] {
            assert_eq!(body[empty], json!([]), "{empty}");
        }
        assert_eq!(
            body["categoryIdPaths"],
            json!(["rootCategory>mid>cat50056"])
        );
        assert_eq!(
            body["ancestorCategories"],
            json!([{"repositoryId": "mid"}, {"repositoryId": "rootCategory"}])
        );
        assert_eq!(
            body["fixedParentCategories"],
            json!([{"repositoryId": "mid"}])
        );
        for key in ["errorCode", "error", "status", "message", "creationDate"] {
            assert!(body.get(key).is_none(), "{key}");
        }
    }

    #[test]
    fn a_create_expands_its_parents_and_a_read_has_the_creation_date() {
        let detail = detail(&[("en", TextField::DisplayName, "Lamps")]);
        let parents = json!([{
            "repositoryId": "mid",
            "id": "mid",
            "displayName": "Home",
            "description": null,
            "longDescription": null,
            "active": true,
            "fixedParentCategories": [{"repositoryId": "rootCategory"}],
            "categoryPaths": ["/Commerce Root/Home"],
        }]);
        let created = body(&detail, Shape::Created, "");
        assert_eq!(created["fixedParentCategories"], parents);
        let read = body(&detail, Shape::Read, "showCategoryPaths=false");
        assert_eq!(read["creationDate"], "2017-07-14T02:40:00.000Z");
        assert!(read.get("categoryPaths").is_none() && read.get("categoryIdPaths").is_none());
    }

    #[test]
    fn custom_properties_are_included_and_do_not_override_standard_ones() {
        let mut detail = detail(&[("en", TextField::DisplayName, "Lamps")]);
        let own = &mut detail.collection.custom_properties;
        own.insert("x_season".into(), Json(r#"{"a":[1,2]}"#.into()));
        own.insert("route".into(), Json("1".into()));
        let body = body(&detail, Shape::Read, "");
        assert_eq!(body["x_season"], json!({"a": [1, 2]}));
        assert_eq!(body["route"], "/lamps/category/cat50056");
    }
}
