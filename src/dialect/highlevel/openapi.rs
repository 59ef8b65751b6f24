//! The types of requests and responses, for the OpenAPI description only; their doc comments become
//! its texts. The dialect parses and renders JSON without them, so that it can report all problems
//! of a request at once.
#![expect(dead_code, reason = "these types are described, not made")]

use serde::Serialize;
use utoipa::{IntoParams, IntoResponses, ToSchema};

/// The version header, which every request has.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct Version {
    /// The version of the API. All listed versions behave the same. Required, unless the setting
    /// `highlevel_require_version` is `false`.
    #[param(rename = "Version", inline, required = true)]
    version: VersionName,
}

#[derive(ToSchema)]
enum VersionName {
    #[schema(rename = "2021-07-28")]
    July2021,
    #[schema(rename = "2021-04-15")]
    April2021,
    #[schema(rename = "2023-02-21")]
    February2023,
    #[schema(rename = "v3")]
    V3,
}

/// The collection in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct CollectionPath {
    /// The collection's id.
    #[param(
        rename = "collectionId",
        min_length = 1,
        max_length = 128,
        pattern = r"^(\.*[A-Za-z0-9_~:@+/-][A-Za-z0-9_.~:@+/-]*|\.{3,})$",
        example = "65d71377c326ea78e1c47df5"
    )]
    collection_id: String,
}

/// The product in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct ProductPath {
    /// The product's id: 1 to 128 printable Unicode characters.
    #[param(
        rename = "productId",
        min_length = 1,
        max_length = 128,
        pattern = r"^(?!\.{1,2}$)[^\s\u0000-\u001f\u007f-\u009f]([^\u0000-\u001f\u007f-\u009f\u2028\u2029]*[^\s\u0000-\u001f\u007f-\u009f])?$",
        example = "655b33a82209e60b6adb87a5"
    )]
    product_id: String,
}

/// The price in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct PricePath {
    /// The price's id.
    #[param(
        rename = "priceId",
        min_length = 1,
        max_length = 255,
        pattern = r"^(\.*[A-Za-z0-9_~:@+-][A-Za-z0-9_.~:@+-]*|\.{3,})$",
        example = "655b33aa2209e60b6adb87a7"
    )]
    price_id: String,
}

/// The location of a request whose body also contains it, or that may omit it.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct OptionalAlt {
    /// The id of the location, which is the tenant. If the request has a body: optional, and the
    /// same as `altId` in the body. Otherwise: required, unless the credential is valid for exactly
    /// one location, which is then the default, or authentication is disabled; then the default is
    /// the setting `default_tenant`.
    #[param(
        rename = "altId",
        min_length = 1,
        max_length = 64,
        pattern = r"^(\.*[A-Za-z0-9_~:@+/-][A-Za-z0-9_.~:@+/-]*|\.{3,})$",
        example = "3SwdhCsvxI8Au3KsPJt6"
    )]
    alt_id: Option<String>,
    /// The type of `altId`. If the request has a body: the same as `altType` in the body, ignoring
    /// case.
    #[param(rename = "altType", inline)]
    alt_type: Option<AltType>,
}

/// The location of a list or delete request.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Alt {
    /// The id of the location, which is the tenant.
    #[param(
        rename = "altId",
        min_length = 1,
        max_length = 64,
        pattern = r"^(\.*[A-Za-z0-9_~:@+/-][A-Za-z0-9_.~:@+/-]*|\.{3,})$",
        example = "3SwdhCsvxI8Au3KsPJt6"
    )]
    alt_id: String,
    /// The type of `altId`.
    #[param(rename = "altType", inline)]
    alt_type: AltType,
}

/// The location of a request about products.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Location {
    /// The id of the location, which is the tenant.
    #[param(
        rename = "locationId",
        min_length = 1,
        max_length = 64,
        pattern = r"^(\.*[A-Za-z0-9_~:@+/-][A-Za-z0-9_.~:@+/-]*|\.{3,})$",
        example = "3SwdhCsvxI8Au3KsPJt6"
    )]
    location_id: String,
}

/// The location of a request about products whose body also contains it.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct OptionalLocation {
    /// The id of the location, which is the tenant. Optional, and the same as `locationId` in the
    /// body.
    #[param(
        rename = "locationId",
        min_length = 1,
        max_length = 64,
        pattern = r"^(\.*[A-Za-z0-9_~:@+/-][A-Za-z0-9_.~:@+/-]*|\.{3,})$",
        example = "3SwdhCsvxI8Au3KsPJt6"
    )]
    location_id: Option<String>,
}

/// Further parameters of a request for one product.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wishlist {
    /// Accepted for compatibility; has no effect, because there are no wishlists.
    #[param(rename = "sendWishlistStatus")]
    send_wishlist_status: Option<bool>,
}

#[derive(ToSchema)]
enum AltType {
    #[schema(rename = "location")]
    Location,
    #[schema(rename = "LOCATION")]
    Capitals,
}

/// Paging and filters of a list of collections.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct CollectionQuery {
    /// Maximum number of collections to return.
    #[param(default = 10, minimum = 1, maximum = 100)]
    limit: Option<u64>,
    /// Number of collections to skip.
    #[param(default = 0, minimum = 0, maximum = 9007199254740991_i64)]
    offset: Option<u64>,
    /// Returns only the collections with these ids. Separated by commas; the parameter may also be
    /// repeated or written as `collectionIds[]`. At most 1,000 ids.
    #[param(
        rename = "collectionIds",
        pattern = r"^[A-Za-z0-9_.~:@+/,-]*$",
        example = "65d71377c326ea78e1c47df5,65d71377c326ea78e1c47d34"
    )]
    collection_ids: Option<String>,
    /// Returns only collections whose name contains this text, ignoring case.
    #[param(max_length = 255, pattern = r"^[^\u0000]*$")]
    name: Option<String>,
}

/// Paging and filters of a list of products.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ProductQuery {
    /// Maximum number of products to return. 0, the default, means 100, the maximum.
    #[param(default = 0, minimum = 0, maximum = 100)]
    limit: Option<u64>,
    /// Number of products to skip.
    #[param(default = 0, minimum = 0, maximum = 9007199254740991_i64)]
    offset: Option<u64>,
    /// Returns only products whose name contains this text, ignoring case. The name of a product
    /// that is not registered is its id; if more than `max_scanned` of these products would have to
    /// be examined, the response is 422.
    #[param(max_length = 255, pattern = r"^[^\u0000]*$")]
    search: Option<String>,
    /// Returns only products that at least one of the collections with these ids contains.
    /// Separated by commas; the parameter may also be repeated or written as `collectionIds[]`. At
    /// most 1,000 ids. If the list is limited to one collection, products are in the order of that
    /// collection; otherwise they are sorted by id.
    #[param(rename = "collectionIds", pattern = r"^[A-Za-z0-9_.~:@+/,-]*$")]
    collection_ids: Option<String>,
    /// The slug of a collection. Returns only products that this collection, or one of
    /// `collectionIds`, contains.
    #[param(
        rename = "collectionSlug",
        pattern = r"^[A-Za-z0-9]+(-[A-Za-z0-9]+)*$",
        max_length = 255
    )]
    collection_slug: Option<String>,
    /// Returns only the products with these ids. Separated by commas; `\,` is a comma in an id, and
    /// `\\` a backslash. If the parameter is repeated or written as `productIds[]`, each value is
    /// one id without escapes. At most 1,000 ids.
    #[param(rename = "productIds", pattern = r"^[A-Za-z0-9_.~:@+/,-]*$")]
    product_ids: Option<String>,
    /// Accepted for compatibility; has no effect, because products contain only the ids of the
    /// objects that it would expand.
    expand: Option<String>,
}

/// Paging and filters of a list of the prices of a product.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PriceQuery {
    /// Maximum number of prices to return. 0, the default, means 100, the maximum.
    #[param(default = 0, minimum = 0, maximum = 100)]
    limit: Option<u64>,
    /// Number of prices to skip.
    #[param(default = 0, minimum = 0, maximum = 9007199254740991_i64)]
    offset: Option<u64>,
    /// Returns only the prices with these ids. Separated by commas. At most 1,000 ids.
    #[param(pattern = r"^[A-Za-z0-9_.~:@+/,-]*$")]
    ids: Option<String>,
}

/// Paging and filters of a list of the prices whose stock is tracked.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct InventoryQuery {
    /// Maximum number of prices to return. 0, the default, means 100, the maximum.
    #[param(default = 0, minimum = 0, maximum = 100)]
    limit: Option<u64>,
    /// Number of prices to skip.
    #[param(default = 0, minimum = 0, maximum = 9007199254740991_i64)]
    offset: Option<u64>,
    /// Returns only prices whose name, or whose product's name, contains this text, ignoring case.
    #[param(max_length = 255, pattern = r"^[^\u0000]*$")]
    search: Option<String>,
}

/// A new collection.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct CreateProductCollectionsDto {
    /// The id of the location, which is the tenant.
    #[schema(
        min_length = 1,
        max_length = 64,
        pattern = r"^(\.*[A-Za-z0-9_~:@+/-][A-Za-z0-9_.~:@+/-]*|\.{3,})$"
    )]
    alt_id: String,
    #[schema(inline)]
    alt_type: AltType,
    /// The id of the new collection: 24 hexadecimal digits, ignoring case, not in use. Generated if
    /// absent or `null`.
    #[schema(nullable = false, pattern = r"^[0-9a-fA-F]{24}$")]
    collection_id: Option<String>,
    #[schema(
        min_length = 1,
        max_length = 255,
        pattern = r"^[^\s\u0000][^\u0000]*$",
        example = "Best Sellers"
    )]
    name: String,
    /// The slug: letters, digits and single hyphens. Must be unique in the location. Upper-case
    /// letters are converted to lower case.
    #[schema(
        max_length = 255,
        pattern = r"^[A-Za-z0-9]+(-[A-Za-z0-9]+)*$",
        example = "best-sellers"
    )]
    slug: String,
    /// The http or https URL of the thumbnail. No thumbnail if absent, empty or `null`.
    #[schema(
        max_length = 2048,
        pattern = r"^https?://[a-z0-9]+(\.[a-z0-9]+)*/[a-z0-9/._-]*$",
        example = "http://example.com/watermark.png"
    )]
    image: Option<String>,
    seo: Option<CollectionSEODto>,
    /// The kind of the collection. Default: `manual`. Can't be changed by an update.
    #[schema(inline)]
    r#type: Option<CollectionType>,
    /// The rules of a smart collection, with at least one condition. Required if `type` is `smart`;
    /// otherwise absent or without conditions.
    rules: Option<Rules>,
    /// The ids of the products of a manual collection, in order. Not allowed for a smart
    /// collection.
    #[schema(max_items = 100000)]
    product_ids: Option<Vec<ProductId>>,
}

/// Changes of a collection. Fields that are absent stay unchanged. `null` clears `image`, `seo` and
/// `productIds`.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct UpdateProductCollectionsDto {
    /// The id of the location, which is the tenant.
    #[schema(
        min_length = 1,
        max_length = 64,
        pattern = r"^(\.*[A-Za-z0-9_~:@+/-][A-Za-z0-9_.~:@+/-]*|\.{3,})$"
    )]
    alt_id: String,
    #[schema(inline)]
    alt_type: AltType,
    #[schema(
        nullable = false,
        min_length = 1,
        max_length = 255,
        pattern = r"^[^\s\u0000][^\u0000]*$"
    )]
    name: Option<String>,
    #[schema(
        nullable = false,
        max_length = 255,
        pattern = r"^[A-Za-z0-9]+(-[A-Za-z0-9]+)*$"
    )]
    slug: Option<String>,
    /// The http or https URL of the thumbnail. An empty string or `null` removes it.
    #[schema(
        max_length = 2048,
        pattern = r"^https?://[a-z0-9]+(\.[a-z0-9]+)*/[a-z0-9/._-]*$"
    )]
    image: Option<String>,
    seo: Option<CollectionSEODto>,
    /// The kind of the collection. Must be its current kind; can't be changed.
    #[schema(nullable = false, inline)]
    r#type: Option<CollectionType>,
    /// The new rules of a smart collection, with at least one condition. For a manual collection:
    /// absent or without conditions.
    rules: Option<Rules>,
    /// The ids of the products of a manual collection. Replaces all its products, in this order;
    /// `[]` or `null` removes all. Not allowed for a smart collection.
    #[schema(max_items = 100000)]
    product_ids: Option<Vec<ProductId>>,
}

/// The id of a product: printable Unicode, without white space at its ends.
#[derive(ToSchema)]
#[schema(
    min_length = 1,
    max_length = 128,
    pattern = r"^[^\s\u0000-\u001f\u007f-\u009f]([^\u0000-\u001f\u007f-\u009f\u2028\u2029]*[^\s\u0000-\u001f\u007f-\u009f])?$"
)]
struct ProductId(String);

/// The id of a collection: ASCII letters, digits and `- _ . ~ : @ + /`, except `.` and `..`.
#[derive(ToSchema)]
#[schema(
    min_length = 1,
    max_length = 128,
    pattern = r"^(\.*[A-Za-z0-9_~:@+/-][A-Za-z0-9_.~:@+/-]*|\.{3,})$"
)]
struct CollectionId(String);

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
enum CollectionType {
    Manual,
    Smart,
}

/// Title and description for search engines. Contains only the texts that are set. In a request, an
/// empty string or `null` clears a text; `null` in place of the object clears both.
#[derive(ToSchema)]
struct CollectionSEODto {
    #[schema(nullable = true, max_length = 65536, pattern = r"^[^\u0000]*$")]
    title: Option<String>,
    #[schema(nullable = true, max_length = 65536, pattern = r"^[^\u0000]*$")]
    description: Option<String>,
}

/// The rules that the products of a smart collection must satisfy. `{}` for a manual collection.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct Rules {
    #[schema(nullable = false, inline)]
    logic: Option<RulesLogic>,
    #[schema(max_items = 500)]
    conditions: Option<Vec<RuleItem>>,
    /// Whether one row (a price with its variant) must satisfy all the rules. Default: `true`.
    /// Returned only if it is not the default.
    #[schema(nullable = false)]
    same_row: Option<bool>,
}

/// A condition, or a group of conditions and groups. An item with `conditions` is a group. Groups
/// are an Endcap extension of HighLevel's flat rules.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum RuleItem {
    Condition(Condition),
    #[schema(no_recursion)]
    Group(RuleGroup),
}

/// A group of conditions and groups, combined by `logic`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RuleGroup {
    #[schema(nullable = false, inline)]
    logic: Option<RulesLogic>,
    #[schema(max_items = 500, no_recursion)]
    conditions: Vec<RuleItem>,
    /// Whether one row (a price with its variant) must satisfy the whole group. Default: `false`.
    /// Returned only if it is not the default.
    #[schema(nullable = false)]
    same_row: Option<bool>,
}

/// How many of the items must hold: `AND` (the default) all, `OR` at least one, `NONE` none of
/// them.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
enum RulesLogic {
    And,
    Or,
    None,
}

/// A condition on a field of a product. HighLevel publishes no format for conditions; this format
/// is an Endcap extension.
#[derive(Serialize, ToSchema)]
struct Condition {
    /// A field of the product, or `attributes.` followed by the path of an attribute, with `.`
    /// between names.
    #[schema(
        pattern = r"^(title|variant_title|price|inventory|slug|type|vendor|tag|status|available|price_currency|compare_at_price|created|updated|product_id|collection|attributes\.[^\u0000]{1,255})$"
    )]
    field: String,
    #[schema(inline)]
    operator: ConditionOperator,
    /// The value to compare with. For `in` and `not_in` an array of 1 to 250 values, for `between`
    /// an array of two; absent for `is_set` and `is_not_set`. A number may be written as a string,
    /// and is returned as one. A time is a string in RFC 3339 format. A duration, for `older_than`
    /// and `newer_than`, is a string with a number of seconds, such as `86400s`.
    #[schema(nullable = false)]
    value: Option<ConditionValue>,
    /// The type of the value, for a field `attributes.…`. Default: the JSON type of the value, or
    /// `duration` with `older_than` and `newer_than`. Needed for a time, and for a number that is
    /// written as a string.
    #[schema(nullable = false, inline)]
    r#type: Option<ConditionType>,
}

/// How the field is compared with the value. The field `collection` allows only `in` and `not_in`.
/// For the other fields: `equals`, `not_equals`, `is_set` and `is_not_set` apply to all types; `in`
/// and `not_in` to all types except booleans; `greater_than`, `greater_or_equal`, `less_than`,
/// `less_or_equal` and `between` to numbers and times; `older_than` and `newer_than` to times; the
/// others to texts.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ConditionOperator {
    Equals,
    NotEquals,
    GreaterThan,
    LessThan,
    Contains,
    NotContains,
    StartsWith,
    EndsWith,
    In,
    NotIn,
    GreaterOrEqual,
    LessOrEqual,
    Between,
    IsSet,
    IsNotSet,
    OlderThan,
    NewerThan,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ConditionType {
    Text,
    Decimal,
    Boolean,
    Time,
    Duration,
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum ConditionValue {
    Text(String),
    Number(f64),
    Boolean(bool),
    Several(Vec<ConditionScalar>),
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum ConditionScalar {
    Text(String),
    Number(f64),
    Boolean(bool),
}

/// A collection.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct CollectionSchema {
    #[schema(rename = "_id")]
    id: String,
    alt_id: String,
    name: String,
    slug: String,
    #[schema(inline)]
    r#type: CollectionType,
    #[schema(format = DateTime)]
    created_at: String,
    /// The URL of the first image that has a URL. An empty string if there is none.
    image: String,
    seo: CollectionSEODto,
    rules: Rules,
    /// The version of the rules. Starts at 1 and increases when `ruleHash` changes. An Endcap
    /// extension.
    rule_version: i64,
    /// The hash of the rules. An Endcap extension.
    rule_hash: String,
    stats: Stats,
    /// Always `location`. An Endcap extension.
    alt_type: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

/// Counts that the service maintains.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct Stats {
    /// The number of products in the collection.
    product_count: u64,
}

#[derive(ToSchema)]
pub(super) struct CreateCollectionResponseDto {
    data: CollectionSchema,
}

#[derive(ToSchema)]
pub(super) struct DefaultCollectionResponseDto {
    data: CollectionSchema,
    status: bool,
}

#[derive(ToSchema)]
pub(super) struct ListCollectionResponseDto {
    data: Vec<CollectionSchema>,
    /// Total number of matches, regardless of `limit` and `offset`.
    total: u64,
}

/// The request succeeded.
#[derive(ToSchema)]
pub(super) struct StatusDto {
    /// Always `true`.
    status: bool,
    #[schema(nullable = false)]
    message: Option<String>,
}

/// A new product. Any other fields are stored and returned as they are sent.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct ProductDto {
    #[schema(
        min_length = 1,
        max_length = 64,
        pattern = r"^(\.*[A-Za-z0-9_~:@+/-][A-Za-z0-9_.~:@+/-]*|\.{3,})$"
    )]
    location_id: String,
    #[schema(min_length = 1, max_length = 255, pattern = r"^[^\s\u0000][^\u0000]*$")]
    name: String,
    #[schema(inline)]
    product_type: ProductType,
    #[schema(max_length = 255, pattern = r"^[^\u0000]*$")]
    slug: Option<String>,
    /// The ids of the collections that shall contain the product, which is added at their ends.
    /// Each collection must exist and be manual.
    #[schema(max_items = 1000)]
    collection_ids: Option<Vec<CollectionId>>,
}

/// Changes of a product. Fields that are absent stay unchanged, and `null` removes a field; `name`
/// and `productType` can't be removed. Any other fields are stored and returned as they are sent.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct ProductChangesDto {
    #[schema(
        min_length = 1,
        max_length = 64,
        pattern = r"^(\.*[A-Za-z0-9_~:@+/-][A-Za-z0-9_.~:@+/-]*|\.{3,})$"
    )]
    location_id: String,
    #[schema(
        nullable = false,
        min_length = 1,
        max_length = 255,
        pattern = r"^[^\s\u0000][^\u0000]*$"
    )]
    name: Option<String>,
    #[schema(nullable = false, inline)]
    product_type: Option<ProductType>,
    #[schema(max_length = 255, pattern = r"^[^\u0000]*$")]
    slug: Option<String>,
    /// The ids of all collections that shall contain the product. It is added to the end of
    /// collections that did not contain it, and removed from manual collections that are not
    /// listed; smart collections that are not listed keep it. Each collection must exist, and be
    /// manual or already contain the product. If absent or `null`, the product stays in its
    /// collections.
    #[schema(max_items = 1000)]
    collection_ids: Option<Vec<CollectionId>>,
}

/// Changes of several products, which are applied all or none.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct BulkEditRequestDto {
    #[schema(
        min_length = 1,
        max_length = 64,
        pattern = r"^(\.*[A-Za-z0-9_~:@+/-][A-Za-z0-9_.~:@+/-]*|\.{3,})$"
    )]
    alt_id: String,
    #[schema(inline)]
    alt_type: AltType,
    /// The products, each at most once. Products and prices together are at most 30.
    #[schema(min_items = 1, max_items = 30)]
    products: Vec<BulkEditProductDto>,
}

/// Changes of one product in a bulk edit, and of its prices. Apart from `prices`, the same fields,
/// with the same effect, as in an update of the product.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct BulkEditProductDto {
    #[schema(rename = "_id")]
    id: ProductId,
    #[schema(
        nullable = false,
        min_length = 1,
        max_length = 255,
        pattern = r"^[^\s\u0000][^\u0000]*$"
    )]
    name: Option<String>,
    #[schema(max_length = 255, pattern = r"^[^\u0000]*$")]
    slug: Option<String>,
    /// The ids of all collections that shall contain the product, as in an update.
    #[schema(max_items = 1000)]
    collection_ids: Option<Vec<CollectionId>>,
    /// Changes of existing prices of the product, each as in an update of the price.
    #[schema(max_items = 29)]
    prices: Option<Vec<BulkEditPriceDto>>,
}

/// Changes of one price in a bulk edit, with the same fields and effect as in an update of the
/// price.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct BulkEditPriceDto {
    #[schema(rename = "_id", min_length = 1, pattern = r"^[^\s\u0000][^\u0000]*$")]
    id: String,
    #[schema(
        nullable = false,
        min_length = 1,
        max_length = 255,
        pattern = r"^[^\s\u0000][^\u0000]*$"
    )]
    name: Option<String>,
    #[schema(nullable = false, pattern = r"^[A-Za-z]{3}$")]
    currency: Option<String>,
    #[schema(nullable = false, minimum = 0)]
    amount: Option<f64>,
    available_quantity: Option<f64>,
    track_inventory: Option<bool>,
}

/// The result of a bulk edit.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct BulkEditResponseDto {
    message: String,
    status: bool,
    /// The number of products in the request.
    updated_count: u64,
}

#[derive(ToSchema)]
enum ProductType {
    #[schema(rename = "DIGITAL")]
    Digital,
    #[schema(rename = "PHYSICAL")]
    Physical,
    #[schema(rename = "SERVICE")]
    Service,
    #[schema(rename = "PHYSICAL/DIGITAL")]
    Either,
}

/// A product with all its fields, as they were sent. `productType` is `PHYSICAL` if the stored type
/// is none of these, or if the product is not registered.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct ProductSchema {
    #[schema(rename = "_id")]
    id: String,
    location_id: String,
    /// The ids of the collections that contain the product.
    collection_ids: Vec<String>,
    /// The name. The id if the product is not registered.
    name: String,
    #[schema(inline)]
    product_type: ProductType,
    #[schema(nullable = false)]
    slug: Option<String>,
    /// The time of creation. 1970-01-01T00:00:00.000Z if the product is not registered.
    #[schema(format = DateTime)]
    created_at: String,
    /// The time of the last change. 1970-01-01T00:00:00.000Z if the product is not registered.
    #[schema(format = DateTime)]
    updated_at: String,
}

#[derive(ToSchema)]
pub(super) struct ListProductsResponseDto {
    products: Vec<ProductSchema>,
    /// An array with exactly one element.
    #[schema(min_items = 1, max_items = 1)]
    total: Vec<Total>,
}

/// The total number of matches, regardless of `limit` and `offset`.
#[derive(ToSchema)]
struct Total {
    total: u64,
}

/// Adds products to the end of collections. Products that a collection already contains keep their
/// positions in it.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct BulkUpdateDto {
    #[schema(
        min_length = 1,
        max_length = 64,
        pattern = r"^(\.*[A-Za-z0-9_~:@+/-][A-Za-z0-9_.~:@+/-]*|\.{3,})$"
    )]
    alt_id: String,
    #[schema(inline)]
    alt_type: AltType,
    #[schema(inline)]
    r#type: BulkUpdateType,
    #[schema(min_items = 1, max_items = 100000)]
    product_ids: Vec<ProductId>,
    #[schema(min_items = 1, max_items = 1000)]
    collection_ids: Vec<CollectionId>,
    /// `true` is refused with 422: the products must be listed in `productIds`.
    #[schema(nullable = true)]
    select_all: Option<bool>,
    /// Refused with 422 if it contains a filter, unless `selectAll` is `false`; then it is ignored.
    filters: Option<BulkUpdateFilters>,
}

/// Filters of products. Not supported.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct BulkUpdateFilters {
    collection_ids: Option<Vec<String>>,
    product_type: Option<String>,
    available_in_store: Option<bool>,
    search: Option<String>,
}

#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
enum BulkUpdateType {
    BulkUpdateProductCollection,
}

/// A new price. Any other fields are stored and returned as they are sent.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct PriceDto {
    #[schema(
        min_length = 1,
        max_length = 64,
        pattern = r"^(\.*[A-Za-z0-9_~:@+/-][A-Za-z0-9_.~:@+/-]*|\.{3,})$"
    )]
    location_id: String,
    #[schema(
        min_length = 1,
        max_length = 255,
        pattern = r"^[^\s\u0000][^\u0000]*$",
        example = "Red / S"
    )]
    name: String,
    #[schema(inline)]
    r#type: PriceType,
    #[schema(pattern = r"^[A-Za-z]{3}$", example = "USD")]
    currency: String,
    /// The amount, in units of the currency. Like all numbers of a price, it has at most 24 digits.
    #[schema(minimum = 0, example = 99.99)]
    amount: f64,
    /// The amount before a reduction, in units of the currency.
    compare_at_price: Option<f64>,
    /// Whether the stock is tracked. If `false`, rules and the inventory do not see the stock.
    track_inventory: Option<bool>,
    available_quantity: Option<f64>,
    allow_out_of_stock_purchases: Option<bool>,
}

/// Changes of a price. Fields that are absent stay unchanged, and `null` removes a field; `name`,
/// `type`, `currency` and `amount` can't be removed. Any other fields are stored and returned as
/// they are sent.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct PriceChangesDto {
    #[schema(
        min_length = 1,
        max_length = 64,
        pattern = r"^(\.*[A-Za-z0-9_~:@+/-][A-Za-z0-9_.~:@+/-]*|\.{3,})$"
    )]
    location_id: String,
    #[schema(
        nullable = false,
        min_length = 1,
        max_length = 255,
        pattern = r"^[^\s\u0000][^\u0000]*$"
    )]
    name: Option<String>,
    #[schema(nullable = false, inline)]
    r#type: Option<PriceType>,
    #[schema(nullable = false, pattern = r"^[A-Za-z]{3}$")]
    currency: Option<String>,
    #[schema(nullable = false, minimum = 0)]
    amount: Option<f64>,
    compare_at_price: Option<f64>,
    track_inventory: Option<bool>,
    available_quantity: Option<f64>,
    allow_out_of_stock_purchases: Option<bool>,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
enum PriceType {
    OneTime,
    Recurring,
}

/// A price with all its fields, as they were sent.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct PriceSchema {
    #[schema(rename = "_id")]
    id: String,
    /// The id of the product.
    product: String,
    location_id: String,
    name: String,
    #[schema(inline)]
    r#type: PriceType,
    currency: String,
    amount: f64,
    #[schema(nullable = false)]
    compare_at_price: Option<f64>,
    #[schema(nullable = false)]
    track_inventory: Option<bool>,
    #[schema(nullable = false)]
    available_quantity: Option<f64>,
    #[schema(nullable = false)]
    allow_out_of_stock_purchases: Option<bool>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

#[derive(ToSchema)]
pub(super) struct ListPricesResponseDto {
    prices: Vec<PriceSchema>,
    /// Total number of matches, regardless of `limit` and `offset`.
    total: u64,
}

/// A price whose stock is tracked.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct InventoryItemDto {
    #[schema(rename = "_id")]
    id: String,
    name: String,
    available_quantity: f64,
    /// The SKU of the price. An empty string if the price has none.
    sku: String,
    allow_out_of_stock_purchases: bool,
    /// The id of the product.
    product: String,
    #[schema(format = DateTime)]
    updated_at: String,
    #[schema(nullable = false)]
    image: Option<String>,
    product_name: String,
}

#[derive(ToSchema)]
pub(super) struct GetInventoryResponseDto {
    inventory: Vec<InventoryItemDto>,
    total: Total,
}

/// Changes of the stock of several prices, which are applied all or none. If a price does not
/// exist, the response is 404.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct UpdateInventoryDto {
    #[schema(
        min_length = 1,
        max_length = 64,
        pattern = r"^(\.*[A-Za-z0-9_~:@+/-][A-Za-z0-9_.~:@+/-]*|\.{3,})$"
    )]
    alt_id: String,
    #[schema(inline)]
    alt_type: AltType,
    #[schema(min_items = 1, max_items = 1000)]
    items: Vec<UpdateInventoryItemDto>,
}

/// Changes of the stock of a price. Fields that are absent or `null` stay unchanged.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct UpdateInventoryItemDto {
    #[schema(min_length = 1, pattern = r"^[^\s\u0000][^\u0000]*$")]
    price_id: String,
    available_quantity: Option<f64>,
    allow_out_of_stock_purchases: Option<bool>,
}

/// The body of an error response.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct ErrorDto {
    status_code: u16,
    message: String,
    error: String,
    /// The trace id of the request's `traceparent` header. Generated if the header is absent.
    trace_id: String,
    /// The request's `X-Request-Id` header, if it has 1 to 128 printable ASCII characters.
    /// Otherwise generated.
    request_id: String,
}

/// The body of a 422 response. `message` lists all violations.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct UnprocessableDTO {
    status_code: u16,
    message: Vec<String>,
    error: String,
    /// The trace id of the request's `traceparent` header. Generated if the header is absent.
    trace_id: String,
    /// The request's `X-Request-Id` header, if it has 1 to 128 printable ASCII characters.
    /// Otherwise generated.
    request_id: String,
}

#[derive(IntoResponses)]
pub(super) enum Failures {
    /// The body is not a JSON object or is nested deeper than 128 levels, or the `Version` header
    /// was sent with different values.
    #[response(status = 400)]
    BadRequest(ErrorDto),
    /// Missing or invalid credentials, or a missing scope or Version header.
    #[response(status = 401)]
    Unauthorized(ErrorDto),
    /// The credential is not valid for the location.
    #[response(status = 403)]
    Forbidden(ErrorDto),
    /// The collection, product or price does not exist in the location.
    #[response(status = 404)]
    NotFound(ErrorDto),
    /// A field or a query parameter is invalid, or the request conflicts with the current state.
    #[response(status = 422)]
    Unprocessable(UnprocessableDTO),
    /// Any other error.
    #[response(status = "default")]
    Other(ErrorDto),
}
