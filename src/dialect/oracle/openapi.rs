//! The types of requests and responses, for the OpenAPI description only; their doc comments become
//! its texts. The dialect parses and renders JSON without them, so that it can report all problems
//! of a request at once.
#![expect(dead_code, reason = "these types are described, not made")]

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoResponses, ToSchema};

pub(super) use super::parameters::*;

/// The form of a login. `grant_type` is required, either here or in the query.
#[derive(ToSchema)]
pub(super) struct LoginForm {
    #[schema(inline, nullable = false)]
    grant_type: Option<Grant>,
}

/// A short-lived token. Clients send it as the bearer token of other requests.
#[derive(ToSchema)]
pub(super) struct Token {
    access_token: String,
    /// Always `bearer`.
    token_type: String,
    /// The lifetime of the token, in seconds.
    expires_in: u64,
}

#[derive(ToSchema)]
pub(super) struct Success {
    /// Always `true`.
    success: bool,
}

#[derive(ToSchema)]
pub(super) struct LoggedOut {
    /// Whether the login was ended. `false` if the credential is not the token of a login. Always
    /// `true` if authentication is disabled.
    result: bool,
}

/// A new collection. Its texts are in the language of the request.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct NewCollection {
    /// The id of the catalog. Stored, but not returned.
    catalog_id: Option<String>,
    /// The id of the parent. Without any parent the collection becomes a child of `rootCategory`,
    /// unless `orphaned` is `true`.
    parent_category_id: Option<String>,
    /// The ids of several parents, in addition to `parentCategoryId`.
    parent_category_ids: Option<Vec<String>>,
    /// Whether the collection is created without a parent. Must not be `true` together with
    /// `catalogId`, `parentCategoryId` or `parentCategoryIds`.
    orphaned: Option<bool>,
    category_images: Option<Images>,
    properties: NewProperties,
}

/// Changes of a collection. Fields that are absent stay unchanged. The texts are in the language of
/// the request.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct CollectionChanges {
    /// The id of the catalog. Stored, but not returned.
    catalog_id: Option<String>,
    /// The id of the new parent. Replaces all current parents.
    parent_category_id: Option<String>,
    /// The images. A list replaces all images, and `null` removes all. A single object with a
    /// `repositoryId`, or with neither `path` nor `url`, changes one image; without a
    /// `repositoryId`, the first. Any other single object is a list of one.
    category_images: Option<Images>,
    properties: Option<Properties>,
    /// The kind of operation on the child products: `appendProducts` or `updateProducts`. Default:
    /// `updateProducts` if `op` is present; otherwise the products stay unchanged.
    r#type: Option<String>,
    /// The operation of `updateProducts`, which requires it: `remove`, `move` or `reorder`. Not
    /// allowed with `appendProducts`.
    op: Option<String>,
    /// The ids of the products to append or remove. Only with `appendProducts` and `remove`, which
    /// require it. Products that are in the list already are not appended again.
    products: Option<Vec<String>>,
    /// The ranges of products to move, in order. Only with `move`, which requires this field or
    /// `fromStart`, `fromEnd` and `to`.
    moves: Option<Moves>,
    /// The new order of the products. Only with `reorder`, which requires it.
    product_map: Option<ProductMap>,
    /// The first index of the range to move. `fromStart`, `fromEnd` and `to` are an alternative to
    /// `moves` for a single move.
    from_start: Option<Index>,
    /// The last index of the range to move; the range includes it.
    from_end: Option<Index>,
    /// The index of the first product of the range after the move.
    to: Option<Index>,
}

/// The properties of a new collection. Any other property is a custom property, which is stored and
/// returned as it is sent.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct NewProperties {
    /// The id of the new collection. Generated if absent.
    id: Option<String>,
    #[schema(example = "Gift Shop")]
    display_name: String,
    name: Option<String>,
    description: Option<String>,
    long_description: Option<String>,
    /// Whether the collection is active. If absent or `null`, it inherits the value from its
    /// parents.
    active: Option<bool>,
    keywords: Option<Keywords>,
    seo_meta_info: Option<Seo>,
}

/// Changed properties of a collection. Properties that are absent stay unchanged; an empty string
/// or `null` clears a text. Any other property is a custom property, which is stored and returned
/// as it is sent; `null` removes it.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct Properties {
    display_name: Option<String>,
    name: Option<String>,
    description: Option<String>,
    long_description: Option<String>,
    /// Whether the collection is active. `null`: it inherits the value from its parents.
    active: Option<bool>,
    keywords: Option<Keywords>,
    seo_meta_info: Option<Seo>,
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Keywords {
    Several(Vec<String>),
    /// Keywords, separated by commas.
    Text(String),
}

/// Texts for search engines.
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

/// An image. In an update it refers to an existing image by its `repositoryId`, otherwise by its
/// `path` or `url`, otherwise by its index in the list; fields of that image that are absent stay
/// unchanged.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Image {
    /// The id of the image.
    repository_id: Option<String>,
    name: Option<String>,
    /// The path of the file. Starts with a slash, contains no backslash, and ends in `.gif`, `.jpg`
    /// or `.png`.
    path: Option<String>,
    /// An absolute http or https URL. Not allowed together with `path`.
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

/// A move of a range of products. `fromStart` and `fromEnd` are the first and the last index of the
/// range, both inclusive; `to` is the index of its first product after the move.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Move {
    from_start: Index,
    from_end: Index,
    to: Index,
}

/// A zero-based index, as an integer or as a string of digits.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Index {
    Number(u64),
    Digits(String),
}

/// A zero-based index, or -1 for the last one, as an integer or as a string of digits.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Place {
    Number(i64),
    Digits(String),
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum ProductMap {
    /// Product ids and their new indexes. The other products keep their order, at the remaining
    /// indexes.
    Indexes(BTreeMap<String, Place>),
    /// The ids of the products that come first, in this order. The other products follow, in their
    /// previous order.
    First(Vec<String>),
}

/// A move of a collection.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct Movement {
    /// The operation. `move`, the default, moves the child from `fromParent` to `parent`; `link`
    /// adds it to `parent`, in addition to its other parents; `reorder` moves it within `parent`;
    /// `unlink` removes it from `fromParent`; `unlink-all` removes it from all parents.
    operation: Option<String>,
    /// The id of the collection to move.
    child: String,
    /// The id of the parent to which the child is added, or within which it is moved. Required for
    /// `move`, `link` and `reorder`. For `unlink`, used if `fromParent` is absent. Not allowed with
    /// `unlink-all`.
    parent: Option<String>,
    /// The id of the parent from which the child is removed. Default for `move`: all parents. Not
    /// allowed with `link` and `unlink-all`; with `reorder` and `unlink`, only the same as
    /// `parent`, if that is present.
    from_parent: Option<String>,
    /// The zero-based index of the child among the children of `parent` after the operation; -1 is
    /// the end. An integer, or a string of digits. Default: the child keeps its index in that list,
    /// or is added at its end.
    index: Option<Value>,
}

/// An assignment of products to collections.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct AssignmentBody {
    /// The operation. `move`, the default, removes the products from `fromParent` and adds them to
    /// the collections; `link` adds them; `unlink` removes them from the collections.
    operation: Option<String>,
    /// The ids of the products.
    #[schema(min_items = 1)]
    products: Vec<String>,
    /// The ids of the collections. Products are added at the end. The roots are ignored.
    #[schema(min_items = 1)]
    collections: Vec<String>,
    /// The id of the collection from which `move` removes the products; it must contain each of
    /// them. Default: all other collections. Not allowed with `link` and `unlink`.
    from_parent: Option<String>,
}

#[derive(ToSchema)]
pub(super) struct CollectionNames {
    /// The ids of the collections. The roots are ignored.
    #[schema(min_items = 1)]
    collections: Vec<String>,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct Reference {
    repository_id: String,
}

/// A collection. The fields that the parameters `fields` and `exclude` leave out are absent. Custom
/// properties are returned next to these fields.
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
    /// Whether the collection is active: its own value, or the value that it inherits from its
    /// parents.
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
    /// The `categoryPaths`, each with the name of the catalog at the front. Only returned if
    /// `multipleCategoryPaths` is `true`.
    #[schema(nullable = false)]
    multi_catalog_category_paths: Option<Vec<String>>,
    /// The `categoryIdPaths`, each with the id of the catalog at the front. Only returned if
    /// `multipleCategoryPaths` is `true`.
    #[schema(nullable = false)]
    multi_catalog_category_id_paths: Option<Vec<String>>,
    #[schema(nullable = false)]
    ancestor_categories: Option<Vec<Value>>,
    #[schema(nullable = false)]
    fixed_parent_categories: Option<Vec<Value>>,
    /// The time of creation. Only returned by getCollection and listCollections.
    #[schema(nullable = false, format = DateTime)]
    creation_date: Option<String>,
    /// All products, in order: references, each with a `repositoryId`, or expanded products. `null`
    /// if there are none. Absent in the items of a list.
    child_products: Option<Vec<Value>>,
    #[schema(nullable = false)]
    fixed_child_products: Option<Vec<Value>>,
    /// All child collections, in order: references, each with a `repositoryId`, or expanded
    /// collections. `null` if there are none.
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
    /// Ignored: a tenant has exactly one catalog.
    catalog_id: Option<String>,
    /// The id of a collection to which the product is added. A root is ignored.
    category_id: Option<String>,
    product_type: Option<String>,
    properties: ProductProperties,
}

/// The properties of a new product. Any other properties are stored and returned as they are sent.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct ProductProperties {
    /// The id of the new product. Generated if absent.
    id: Option<String>,
    #[schema(example = "Lamp")]
    display_name: String,
}

/// Changes of a product. Fields that are missing stay unchanged.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct ProductChanges {
    /// Ignored: a tenant has exactly one catalog.
    catalog_id: Option<String>,
    /// The id of a collection to which the product is added. A root is ignored.
    category_id: Option<String>,
    product_type: Option<String>,
    properties: Option<ChangedProperties>,
}

/// Changed properties of a product. Properties that are absent stay unchanged; `null` removes a
/// property, except `displayName`. Any other properties are stored and returned as they are sent.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct ChangedProperties {
    #[schema(nullable = false, example = "Lamp")]
    display_name: Option<String>,
}

/// A product, with all its properties. A product that is not registered has only the ids and
/// references to its collections.
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
    /// A reference to the first of `parentCategories`. `null` if the product is in no collection.
    parent_category: Option<Value>,
    /// References to the collections that contain the product, each with a `repositoryId`.
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

/// The catalog. Each tenant has exactly one.
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

/// The default locale, and all configured locales.
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
    /// The locale in Oracle's format, with underscores, such as `pt_BR`.
    #[schema(nullable = false)]
    name: Option<String>,
    #[schema(nullable = false)]
    display_name: Option<String>,
    #[schema(nullable = false)]
    locale_id: Option<String>,
    #[schema(nullable = false)]
    repository_id: Option<String>,
}

/// The body of an error response. If there are several problems, `errors` lists up to 100 of them,
/// and `errorCode` is the code of the first.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", no_recursion)]
pub(super) struct ErrorBody {
    message: String,
    /// The HTTP status of the response, as a string.
    status: String,
    #[schema(nullable = false)]
    error_code: Option<String>,
    /// The path of the invalid field.
    #[schema(nullable = false, rename = "o:errorPath")]
    path: Option<String>,
    #[schema(nullable = false)]
    errors: Option<Vec<ErrorBody>>,
    /// The URL of the definition of the status.
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
