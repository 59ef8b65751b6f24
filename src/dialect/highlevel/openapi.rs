//! The types of requests and responses, for the OpenAPI description only; their doc comments become
//! its texts. The dialect parses and renders JSON without them, so that it can report all problems
//! of a request at once.
#![expect(dead_code, reason = "these types are described, not made")]

use serde::Serialize;
use utoipa::{IntoParams, IntoResponses, ToSchema};

/// The header of every request.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct Version {
    /// The version of the API; all mean the same.
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

/// Which collection.
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

/// Which product.
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

/// Which price.
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

/// The location of a request whose body names it, or whose credential is for one alone.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct OptionalAlt {
    /// The location. Beside a body, the same as there; of a get, the only one of the credential
    /// by default.
    #[param(
        rename = "altId",
        min_length = 1,
        max_length = 64,
        pattern = r"^(\.*[A-Za-z0-9_~:@+/-][A-Za-z0-9_.~:@+/-]*|\.{3,})$",
        example = "3SwdhCsvxI8Au3KsPJt6"
    )]
    alt_id: Option<String>,
    /// What `altId` is.
    #[param(rename = "altType", inline)]
    alt_type: Option<AltType>,
}

/// The location of a list and of a delete.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Alt {
    /// The location.
    #[param(
        rename = "altId",
        min_length = 1,
        max_length = 64,
        pattern = r"^(\.*[A-Za-z0-9_~:@+/-][A-Za-z0-9_.~:@+/-]*|\.{3,})$",
        example = "3SwdhCsvxI8Au3KsPJt6"
    )]
    alt_id: String,
    /// What `altId` is.
    #[param(rename = "altType", inline)]
    alt_type: AltType,
}

/// The location of a request about products.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Location {
    /// The location.
    #[param(
        rename = "locationId",
        min_length = 1,
        max_length = 64,
        pattern = r"^(\.*[A-Za-z0-9_~:@+/-][A-Za-z0-9_.~:@+/-]*|\.{3,})$",
        example = "3SwdhCsvxI8Au3KsPJt6"
    )]
    location_id: String,
}

/// The location of a product that the body names.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct OptionalLocation {
    /// The location, the same as in the body.
    #[param(
        rename = "locationId",
        min_length = 1,
        max_length = 64,
        pattern = r"^(\.*[A-Za-z0-9_~:@+/-][A-Za-z0-9_.~:@+/-]*|\.{3,})$",
        example = "3SwdhCsvxI8Au3KsPJt6"
    )]
    location_id: Option<String>,
}

/// What else a get of a product may have.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wishlist {
    /// Changes nothing: this service has no wishlists.
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

/// Which collections to list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct CollectionQuery {
    /// How many at most.
    #[param(default = 10, minimum = 1, maximum = 100)]
    limit: Option<u64>,
    /// After how many.
    #[param(default = 0, minimum = 0, maximum = 9007199254740991_i64)]
    offset: Option<u64>,
    /// Ids, separated by commas.
    #[param(
        rename = "collectionIds",
        pattern = r"^[A-Za-z0-9_.~:@+/,-]*$",
        example = "65d71377c326ea78e1c47df5,65d71377c326ea78e1c47d34"
    )]
    collection_ids: Option<String>,
    /// A part of the name; case does not matter.
    #[param(max_length = 255, pattern = r"^[^\u0000]*$")]
    name: Option<String>,
}

/// Which products to list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ProductQuery {
    /// How many at most; 0 for as many as a page holds, which is 100.
    #[param(default = 0, minimum = 0, maximum = 100)]
    limit: Option<u64>,
    /// After how many.
    #[param(default = 0, minimum = 0, maximum = 9007199254740991_i64)]
    offset: Option<u64>,
    /// A part of the name; case does not matter.
    #[param(max_length = 255, pattern = r"^[^\u0000]*$")]
    search: Option<String>,
    /// Ids of collections that have them, separated by commas. Products of one
    /// collection come in its order, others by id.
    #[param(rename = "collectionIds", pattern = r"^[A-Za-z0-9_.~:@+/,-]*$")]
    collection_ids: Option<String>,
    /// The slug of a collection that has them.
    #[param(
        rename = "collectionSlug",
        pattern = r"^[A-Za-z0-9]+(-[A-Za-z0-9]+)*$",
        max_length = 255
    )]
    collection_slug: Option<String>,
    /// Ids, separated by commas.
    #[param(rename = "productIds", pattern = r"^[A-Za-z0-9_.~:@+/,-]*$")]
    product_ids: Option<String>,
    /// Changes nothing: products have the ids of such things only.
    expand: Option<String>,
}

/// Which prices of a product to list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PriceQuery {
    /// How many at most; 0 for as many as a page holds, which is 100.
    #[param(default = 0, minimum = 0, maximum = 100)]
    limit: Option<u64>,
    /// After how many.
    #[param(default = 0, minimum = 0, maximum = 9007199254740991_i64)]
    offset: Option<u64>,
    /// Ids, separated by commas.
    #[param(pattern = r"^[A-Za-z0-9_.~:@+/,-]*$")]
    ids: Option<String>,
}

/// Which prices to list of those whose stock is tracked.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct InventoryQuery {
    /// How many at most; 0 for as many as a page holds, which is 100.
    #[param(default = 0, minimum = 0, maximum = 100)]
    limit: Option<u64>,
    /// After how many.
    #[param(default = 0, minimum = 0, maximum = 9007199254740991_i64)]
    offset: Option<u64>,
    /// A part of the name of the price or of the product; case does not matter.
    #[param(max_length = 255, pattern = r"^[^\u0000]*$")]
    search: Option<String>,
}

/// A new collection.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct CreateProductCollectionsDto {
    /// The location.
    #[schema(
        min_length = 1,
        max_length = 64,
        pattern = r"^(\.*[A-Za-z0-9_~:@+/-][A-Za-z0-9_.~:@+/-]*|\.{3,})$"
    )]
    alt_id: String,
    #[schema(inline)]
    alt_type: AltType,
    /// The id; given one without it.
    #[schema(nullable = false, pattern = r"^[0-9a-fA-F]{24}$")]
    collection_id: Option<String>,
    #[schema(
        min_length = 1,
        max_length = 255,
        pattern = r"^[^\s\u0000][^\u0000]*$",
        example = "Best Sellers"
    )]
    name: String,
    /// Unique in the location; capitals become lower case.
    #[schema(
        max_length = 255,
        pattern = r"^[A-Za-z0-9]+(-[A-Za-z0-9]+)*$",
        example = "best-sellers"
    )]
    slug: String,
    /// The thumbnail's address.
    #[schema(
        max_length = 2048,
        pattern = r"^https?://[a-z0-9]+(\.[a-z0-9]+)*/[a-z0-9/._-]*$",
        example = "http://example.com/watermark.png"
    )]
    image: Option<String>,
    seo: Option<CollectionSEODto>,
    /// `manual` where nothing is said; never changes.
    #[schema(inline)]
    r#type: Option<CollectionType>,
    /// For a smart collection.
    rules: Option<Rules>,
    /// For a manual collection: its products, in order.
    #[schema(max_items = 100000)]
    product_ids: Option<Vec<ProductId>>,
}

/// Changes of a collection: what is not named stays, and `null` clears.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct UpdateProductCollectionsDto {
    /// The location.
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
    #[schema(
        max_length = 2048,
        pattern = r"^https?://[a-z0-9]+(\.[a-z0-9]+)*/[a-z0-9/._-]*$"
    )]
    image: Option<String>,
    seo: Option<CollectionSEODto>,
    /// What it was created with.
    #[schema(nullable = false, inline)]
    r#type: Option<CollectionType>,
    /// Of a smart collection.
    rules: Option<Rules>,
    /// Of a manual collection: exactly these from now on; `[]` empties it.
    #[schema(max_items = 100000)]
    product_ids: Option<Vec<ProductId>>,
}

#[derive(ToSchema)]
#[schema(
    min_length = 1,
    max_length = 128,
    pattern = r"^(\.*[A-Za-z0-9_~:@+/-][A-Za-z0-9_.~:@+/-]*|\.{3,})$"
)]
struct ProductId(String);

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
enum CollectionType {
    Manual,
    Smart,
}

/// What search engines show.
#[derive(ToSchema)]
struct CollectionSEODto {
    #[schema(nullable = true, max_length = 65536, pattern = r"^[^\u0000]*$")]
    title: Option<String>,
    #[schema(nullable = true, max_length = 65536, pattern = r"^[^\u0000]*$")]
    description: Option<String>,
}

/// What a smart collection's products must satisfy; `{}` if it is manual.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct Rules {
    #[schema(nullable = false, inline)]
    logic: Option<RulesLogic>,
    #[schema(max_items = 500)]
    conditions: Option<Vec<RuleItem>>,
    /// Whether one row (a price with its variant) must satisfy all of it; true by default.
    #[schema(nullable = false)]
    same_row: Option<bool>,
}

/// A condition, or a group of them: an extension of HighLevel's flat rules.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum RuleItem {
    Condition(Condition),
    #[schema(no_recursion)]
    Group(RuleGroup),
}

/// Conditions that are combined.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RuleGroup {
    #[schema(nullable = false, inline)]
    logic: Option<RulesLogic>,
    #[schema(max_items = 500, no_recursion)]
    conditions: Vec<RuleItem>,
    /// Whether one row must satisfy all of it; false by default.
    #[schema(nullable = false)]
    same_row: Option<bool>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
enum RulesLogic {
    And,
    Or,
    None,
}

/// HighLevel publishes no form for a condition; this one is Endcap's.
#[derive(Serialize, ToSchema)]
struct Condition {
    /// A field of the product, or `attributes.` and a path with `.` between names.
    #[schema(
        pattern = r"^(title|variant_title|price|inventory|slug|type|vendor|tag|status|available|price_currency|compare_at_price|created|updated|product_id|collection|attributes\.[^\u0000]{1,255})$"
    )]
    field: String,
    #[schema(inline)]
    operator: ConditionOperator,
    /// An array for `in`, `not_in` and `between`; nothing for `is_set` and `is_not_set`. A number
    /// may be a string; a time is a string in the form of RFC 3339, a duration one of seconds
    /// (`86400s`).
    #[schema(nullable = false)]
    value: Option<ConditionValue>,
    /// The type of a value of the attributes; needed for a time, and for a number that is a
    /// string.
    #[schema(nullable = false, inline)]
    r#type: Option<ConditionType>,
}

/// `equals`, `not_equals`, `is_set` and `is_not_set` go with every field, `in` and `not_in` with all
/// but booleans, `greater_than`, `greater_or_equal`, `less_than`, `less_or_equal` and `between` with
/// numbers and times, `older_than` and `newer_than` with times, the others with texts.
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
    /// Empty where there is none.
    image: String,
    seo: CollectionSEODto,
    rules: Rules,
    /// Starts at 1 and rises when the rules change.
    rule_version: i64,
    /// Of the rules.
    rule_hash: String,
    stats: Stats,
    alt_type: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

/// What the service counts.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct Stats {
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
    /// How many match in all.
    total: u64,
}

/// Success.
#[derive(ToSchema)]
pub(super) struct StatusDto {
    status: bool,
    #[schema(nullable = false)]
    message: Option<String>,
}

/// A new product. Whatever else is in it is kept as it is given.
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
    /// The collections that have it: each must exist and be manual.
    #[schema(max_items = 1000)]
    collection_ids: Option<Vec<ProductId>>,
}

/// Changes of a product: what is not named stays, and `null` takes away. Whatever else is in
/// it is kept as it is given.
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
    /// The collections that have it from now on: each must exist, and be manual or have it
    /// already. It stays in smart collections that are not named.
    #[schema(max_items = 1000)]
    collection_ids: Option<Vec<ProductId>>,
}

/// Changes of several products.
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
    /// Each product once.
    #[schema(min_items = 1, max_items = 30)]
    products: Vec<BulkEditProductDto>,
}

/// Changes of one of several products, as in an update, and of its prices.
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
    /// As in an update.
    #[schema(max_items = 1000)]
    collection_ids: Option<Vec<ProductId>>,
    /// Changes of prices that the product has, each as in an update of a price.
    #[schema(max_items = 29)]
    prices: Option<Vec<BulkEditPriceDto>>,
}

/// Changes of one of several prices, as in an update.
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

/// Success.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct BulkEditResponseDto {
    message: String,
    status: bool,
    /// The products of the request.
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

/// A product, with everything that is known of it. One whose `productType` is another, or none,
/// is shown as `PHYSICAL`.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct ProductSchema {
    #[schema(rename = "_id")]
    id: String,
    location_id: String,
    /// The collections that have it, by id.
    collection_ids: Vec<String>,
    /// The id if it is not registered.
    name: String,
    #[schema(inline)]
    product_type: ProductType,
    #[schema(nullable = false)]
    slug: Option<String>,
    /// 1970-01-01T00:00:00.000Z if it is not registered.
    #[schema(format = DateTime)]
    created_at: String,
    /// 1970-01-01T00:00:00.000Z if it is not registered.
    #[schema(format = DateTime)]
    updated_at: String,
}

#[derive(ToSchema)]
pub(super) struct ListProductsResponseDto {
    products: Vec<ProductSchema>,
    /// One entry.
    #[schema(min_items = 1, max_items = 1)]
    total: Vec<Total>,
}

/// How many match in all.
#[derive(ToSchema)]
struct Total {
    total: u64,
}

/// Puts products at the end of collections; those that are there already stay.
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
    collection_ids: Vec<ProductId>,
    /// The products are those that `productIds` names: `true` is refused.
    #[schema(nullable = true)]
    select_all: Option<bool>,
    /// Refused, unless `selectAll` is false.
    filters: Option<BulkUpdateFilters>,
}

/// Filters of products that this service does not apply.
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

/// A new price. Whatever else is in it is kept as it is given.
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
    /// In units of the currency. As all numbers here, of at most 24 digits.
    #[schema(minimum = 0, example = 99.99)]
    amount: f64,
    /// The price before a reduction.
    compare_at_price: Option<f64>,
    /// `false`: there is no stock for rules to look at.
    track_inventory: Option<bool>,
    available_quantity: Option<f64>,
    allow_out_of_stock_purchases: Option<bool>,
}

/// Changes of a price: what is not named stays, and `null` takes away. Whatever else is in it is
/// kept as it is given.
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

/// A price, with everything that was sent of it.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct PriceSchema {
    #[schema(rename = "_id")]
    id: String,
    /// The product that has it.
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
    /// How many match in all.
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
    /// Empty where there is none.
    sku: String,
    allow_out_of_stock_purchases: bool,
    /// The product that has the price.
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

/// Changes of the stock of several prices.
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

/// Changes of the stock of a price: what is not named stays.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct UpdateInventoryItemDto {
    #[schema(min_length = 1, pattern = r"^[^\s\u0000][^\u0000]*$")]
    price_id: String,
    available_quantity: Option<f64>,
    allow_out_of_stock_purchases: Option<bool>,
}

/// Why a request was not done.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct ErrorDto {
    status_code: u16,
    message: String,
    error: String,
    /// The trace of the request's `traceparent`, or one made here.
    trace_id: String,
    /// The request's `X-Request-Id`, or one made here.
    request_id: String,
}

/// Everything that is wrong with a request.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct UnprocessableDTO {
    status_code: u16,
    message: Vec<String>,
    error: String,
    /// The trace of the request's `traceparent`, or one made here.
    trace_id: String,
    /// The request's `X-Request-Id`, or one made here.
    request_id: String,
}

#[derive(IntoResponses)]
pub(super) enum Failures {
    /// The body is no JSON object.
    #[response(status = 400)]
    BadRequest(ErrorDto),
    /// Missing or invalid credentials, or a missing scope or Version header.
    #[response(status = 401)]
    Unauthorized(ErrorDto),
    /// The location is another's.
    #[response(status = 403)]
    Forbidden(ErrorDto),
    /// Not found.
    #[response(status = 404)]
    NotFound(ErrorDto),
    /// Fields are wrong, or the state of things does not allow it.
    #[response(status = 422)]
    Unprocessable(UnprocessableDTO),
    /// Any other error.
    #[response(status = "default")]
    Other(ErrorDto),
}
