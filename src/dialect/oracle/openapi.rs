//! The types of requests and responses, for the OpenAPI description only; their doc comments become
//! its texts. The dialect parses and renders JSON without them, so that it can report all problems
//! of a request at once.
#![expect(dead_code, reason = "these types are described, not made")]

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoResponses, ToSchema};

pub(super) use super::parameters::*;

/// `grant_type`, here or in the query.
#[derive(ToSchema)]
pub(super) struct LoginForm {
    #[schema(inline, nullable = false)]
    grant_type: Option<Grant>,
}

/// A token, to be sent as the bearer of other requests.
#[derive(ToSchema)]
pub(super) struct Token {
    access_token: String,
    token_type: String,
    /// Seconds.
    expires_in: u64,
}

#[derive(ToSchema)]
pub(super) struct Success {
    success: bool,
}

#[derive(ToSchema)]
pub(super) struct LoggedOut {
    result: bool,
}

/// A new collection.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct NewCollection {
    catalog_id: Option<String>,
    /// The parent.
    parent_category_id: Option<String>,
    /// Several parents.
    parent_category_ids: Option<Vec<String>>,
    /// Whether it stands under nothing; not next to a catalog or a parent.
    orphaned: Option<bool>,
    category_images: Option<Images>,
    properties: NewProperties,
}

/// Changes of a collection: what is not named stays. The texts are in the request's language.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct CollectionChanges {
    catalog_id: Option<String>,
    /// The only parent from now on.
    parent_category_id: Option<String>,
    /// A list replaces all images. An object with an id, or with neither `path` nor `url`,
    /// changes one image.
    category_images: Option<Images>,
    properties: Option<Properties>,
    /// `appendProducts` or `updateProducts`.
    r#type: Option<String>,
    /// Of `updateProducts`: `remove`, `move` or `reorder`.
    op: Option<String>,
    /// To append or to remove.
    products: Option<Vec<String>>,
    /// To move.
    moves: Option<Moves>,
    /// To reorder.
    product_map: Option<ProductMap>,
    /// Of the one move, in place of `moves`.
    from_start: Option<Index>,
    from_end: Option<Index>,
    to: Option<Index>,
}

/// The properties of a new collection; others than these are the client's own.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct NewProperties {
    /// The id; one is made without it.
    id: Option<String>,
    #[schema(example = "Gift Shop")]
    display_name: String,
    name: Option<String>,
    description: Option<String>,
    long_description: Option<String>,
    /// None where it is shown as its parents are.
    active: Option<bool>,
    keywords: Option<Keywords>,
    seo_meta_info: Option<Seo>,
}

/// Properties of a collection; others than these are the client's own.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct Properties {
    display_name: Option<String>,
    name: Option<String>,
    description: Option<String>,
    long_description: Option<String>,
    /// None where it is shown as its parents are.
    active: Option<bool>,
    keywords: Option<Keywords>,
    seo_meta_info: Option<Seo>,
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Keywords {
    Several(Vec<String>),
    /// Separated by commas.
    Text(String),
}

/// What search engines show.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct Seo {
    seo_title: Option<String>,
    seo_description: Option<String>,
    seo_keywords: Option<String>,
    seo_url_slug: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Images {
    Several(Vec<Image>),
    One(Image),
}

/// An image. Of one that is named by its id, what is not said stays.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Image {
    repository_id: Option<String>,
    name: Option<String>,
    /// Starts with a slash, and ends in `.gif`, `.jpg` or `.png`.
    path: Option<String>,
    /// An absolute http or https URL, instead of a path.
    url: Option<String>,
    metadata: Option<ImageTexts>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ImageTexts {
    alt_text: Option<String>,
    title_text: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Moves {
    Several(Vec<Move>),
    One(Move),
}

/// A range of products, both ends included, and where its first stands afterwards.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Move {
    from_start: Index,
    from_end: Index,
    to: Index,
}

/// From 0 on; also as a string of digits.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Index {
    Number(u64),
    Digits(String),
}

/// From 0 on, or -1 for the end; also as a string of digits.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Place {
    Number(i64),
    Digits(String),
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum ProductMap {
    /// The index of each by its id; the others keep their order.
    Indexes(BTreeMap<String, Place>),
    /// These first, in this order.
    First(Vec<String>),
}

/// A move of a collection.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct Movement {
    /// `move` where nothing is said, `link`, `unlink`, `reorder` or `unlink-all`.
    operation: Option<String>,
    child: String,
    /// The parent to join, or within which to move.
    parent: Option<String>,
    /// The parent to leave; all where nothing is said.
    from_parent: Option<String>,
    /// From 0 on, or -1 for the end; also as a string of digits.
    index: Option<Value>,
}

/// Products into collections, or out of them.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct AssignmentBody {
    /// `move` where nothing is said, `link` or `unlink`.
    operation: Option<String>,
    #[schema(min_items = 1)]
    products: Vec<String>,
    #[schema(min_items = 1)]
    collections: Vec<String>,
    /// The collection that products leave that are moved; all others where nothing is said.
    from_parent: Option<String>,
}

#[derive(ToSchema)]
pub(super) struct CollectionNames {
    #[schema(min_items = 1)]
    collections: Vec<String>,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct Reference {
    repository_id: String,
}

/// A collection. What `fields` and `exclude` leave out is not there; the client's own
/// properties stand next to these.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct CollectionBody {
    #[schema(nullable = false)]
    id: Option<String>,
    #[schema(nullable = false)]
    repository_id: Option<String>,
    #[schema(nullable = false)]
    name: Option<String>,
    #[schema(nullable = false)]
    display_name: Option<String>,
    description: Option<String>,
    long_description: Option<String>,
    /// Whether it is shown, itself or by a parent.
    #[schema(nullable = false)]
    active: Option<bool>,
    #[schema(nullable = false)]
    keywords: Option<Vec<String>>,
    seo_meta_info: Option<Seo>,
    #[schema(nullable = false)]
    category_images: Option<Vec<Image>>,
    #[schema(nullable = false)]
    seo_title_derived: Option<String>,
    #[schema(nullable = false)]
    seo_description_derived: Option<String>,
    #[schema(nullable = false)]
    seo_keywords_derived: Option<String>,
    #[schema(nullable = false)]
    seo_url_slug_derived: Option<String>,
    #[schema(nullable = false)]
    route: Option<String>,
    #[schema(nullable = false)]
    category_paths: Option<Vec<String>>,
    #[schema(nullable = false)]
    category_id_paths: Option<Vec<String>>,
    /// Only with `multipleCategoryPaths`.
    #[schema(nullable = false)]
    multi_catalog_category_paths: Option<Vec<String>>,
    /// Likewise.
    #[schema(nullable = false)]
    multi_catalog_category_id_paths: Option<Vec<String>>,
    #[schema(nullable = false)]
    ancestor_categories: Option<Vec<Value>>,
    #[schema(nullable = false)]
    fixed_parent_categories: Option<Vec<Value>>,
    /// Of reads.
    #[schema(nullable = false, format = DateTime)]
    creation_date: Option<String>,
    /// All products in order, by `repositoryId`.
    child_products: Option<Vec<Value>>,
    #[schema(nullable = false)]
    fixed_child_products: Option<Vec<Value>>,
    /// All child collections in order, by `repositoryId`, or written out.
    child_categories: Option<Vec<Value>>,
    #[schema(nullable = false)]
    fixed_child_categories: Option<Vec<Value>>,
}

/// A page of collections.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct CollectionPage {
    #[schema(nullable = false)]
    total_results: Option<u64>,
    #[schema(nullable = false)]
    offset: Option<u64>,
    #[schema(nullable = false)]
    limit: Option<u64>,
    items: Vec<CollectionBody>,
}

/// A new product.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct NewProduct {
    catalog_id: Option<String>,
    /// The collection that it joins.
    category_id: Option<String>,
    product_type: Option<String>,
    properties: ProductProperties,
}

/// Its properties; whatever else there is is kept as it is given.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct ProductProperties {
    /// The id; one is made without it.
    id: Option<String>,
    #[schema(example = "Lamp")]
    display_name: String,
}

/// Changes of a product. Fields that are missing stay unchanged.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct ProductChanges {
    catalog_id: Option<String>,
    /// A collection to add it to.
    category_id: Option<String>,
    product_type: Option<String>,
    properties: Option<ChangedProperties>,
}

/// Its properties. Null removes one.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct ChangedProperties {
    #[schema(nullable = false, example = "Lamp")]
    display_name: Option<String>,
}

/// A product. Of one that nobody told of there are only its id and its collections.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct ProductBody {
    #[schema(nullable = false)]
    id: Option<String>,
    #[schema(nullable = false)]
    repository_id: Option<String>,
    #[schema(nullable = false)]
    display_name: Option<String>,
    #[schema(nullable = false)]
    product_type: Option<String>,
    /// The first of these, by `repositoryId`.
    parent_category: Option<Value>,
    #[schema(nullable = false)]
    parent_categories: Option<Vec<Value>>,
}

/// A page of products.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct ProductPage {
    #[schema(nullable = false)]
    total_results: Option<u64>,
    #[schema(nullable = false)]
    offset: Option<u64>,
    #[schema(nullable = false)]
    limit: Option<u64>,
    items: Vec<ProductBody>,
}

/// The catalog.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct CatalogBody {
    #[schema(nullable = false)]
    id: Option<String>,
    #[schema(nullable = false)]
    repository_id: Option<String>,
    #[schema(nullable = false)]
    name: Option<String>,
    #[schema(nullable = false)]
    display_name: Option<String>,
    #[schema(nullable = false)]
    catalog_version: Option<u64>,
    #[schema(nullable = false)]
    root_navigation_category: Option<Value>,
    #[schema(nullable = false)]
    root_categories: Option<Vec<Value>>,
}

/// A page of catalogs.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct CatalogPage {
    #[schema(nullable = false)]
    total_results: Option<u64>,
    #[schema(nullable = false)]
    offset: Option<u64>,
    #[schema(nullable = false)]
    limit: Option<u64>,
    items: Vec<CatalogBody>,
}

/// The locales.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct LocaleList {
    #[schema(nullable = false)]
    default_locale: Option<LocaleBody>,
    #[schema(nullable = false)]
    items: Option<Vec<LocaleBody>>,
}

/// A locale.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct LocaleBody {
    /// In Oracle's form, such as `pt_BR`.
    #[schema(nullable = false)]
    name: Option<String>,
    #[schema(nullable = false)]
    display_name: Option<String>,
    #[schema(nullable = false)]
    locale_id: Option<String>,
    #[schema(nullable = false)]
    repository_id: Option<String>,
}

/// An error. `errors` lists all problems if there are several; the code is that of the first.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", no_recursion)]
pub(super) struct ErrorBody {
    message: String,
    /// The status of the answer.
    status: String,
    #[schema(nullable = false)]
    error_code: Option<String>,
    /// The field that is at fault.
    #[schema(nullable = false, rename = "o:errorPath")]
    path: Option<String>,
    #[schema(nullable = false)]
    errors: Option<Vec<ErrorBody>>,
    /// What the status means.
    #[schema(nullable = false)]
    r#type: Option<String>,
}

#[derive(IntoResponses)]
pub(super) enum Failures {
    /// The request is invalid, or in conflict with the current state.
    #[response(status = 400)]
    BadRequest(ErrorBody),
    /// Missing or invalid credentials.
    #[response(status = 401)]
    Unauthorized(ErrorBody),
    /// Any other error.
    #[response(status = "default")]
    Other(ErrorBody),
}
