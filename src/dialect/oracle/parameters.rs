//! The parameters of each operation, for the OpenAPI description. Query parameters that are not
//! listed here are refused ([`super::query`]).
#![expect(dead_code, reason = "these types are described, not made")]

use utoipa::{IntoParams, ToSchema};

/// The language of the texts that are read.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct Language {
    /// The language of the texts in the response: a locale. `pt_BR` and `pt-BR` are the same.
    /// Default: the default locale.
    #[param(rename = "X-CCAsset-Language", example = "en")]
    language: Option<String>,
}

/// The language of the texts that are written.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct WrittenLanguage {
    /// The language of the texts in the request and in the response: a locale. `pt_BR` and `pt-BR`
    /// are the same. Required.
    #[param(
        rename = "X-CCAsset-Language",
        pattern = r"^[A-Za-z]{2,3}([_-][A-Za-z]{2})?$",
        example = "en"
    )]
    language: String,
}

/// The collection in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct CollectionPath {
    /// The collection's id.
    #[param(
        min_length = 1,
        max_length = 128,
        pattern = r"^(\.*[A-Za-z0-9_~:@+/-][A-Za-z0-9_.~:@+/-]*|\.{3,})$",
        example = "cat50056"
    )]
    id: String,
}

/// The product in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct ProductPath {
    /// The product's id: 1 to 128 printable Unicode characters.
    #[param(
        min_length = 1,
        max_length = 128,
        pattern = r"^(?!\.{1,2}$)[^\s\u0000-\u001f\u007f-\u009f]([^\u0000-\u001f\u007f-\u009f\u2028\u2029]*[^\s\u0000-\u001f\u007f-\u009f])?$",
        example = "xprod1042"
    )]
    id: String,
}

/// Which fields of collections are returned.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[into_params(rename_all = "camelCase")]
pub(super) struct Shown {
    /// Whether to return `categoryPaths` and `categoryIdPaths`, the paths from the roots.
    #[param(default = true)]
    show_category_paths: Option<bool>,
    /// The fields to return, separated by commas. A dot selects a nested field, such as
    /// `seoMetaInfo.seoTitle`. Default: all fields.
    fields: Option<String>,
    /// The fields to leave out, in the same format as `fields`.
    exclude: Option<String>,
}

/// Expansion of children.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[into_params(rename_all = "camelCase")]
pub(super) struct Expanded {
    /// The number of levels of child collections to expand: 0 to 6, `min` (2) or `max` (6).
    /// Default: 0.
    #[param(pattern = "^([0-6]|min|max)$")]
    depth: Option<String>,
    /// The children to expand: `childCategories` (at least one level), `childProducts`, or both,
    /// separated by commas.
    expand: Option<String>,
}

/// Paging.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// Maximum number of items to return. A value above 250, the default, means 250.
    #[param(default = 250, minimum = 0)]
    limit: Option<u64>,
    /// Number of items to skip.
    #[param(default = 0, minimum = 0, maximum = 9223372036854775807_i64)]
    offset: Option<u64>,
}

/// Which fields are returned.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Fields {
    /// The fields to return, separated by commas. A dot selects a nested field, such as
    /// `seoMetaInfo.seoTitle`. Default: all fields.
    fields: Option<String>,
    /// The fields to leave out, in the same format as `fields`.
    exclude: Option<String>,
}

/// Further fields of collections.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[into_params(rename_all = "camelCase")]
pub(super) struct CatalogPaths {
    /// Whether to also return `multiCatalogCategoryPaths` and `multiCatalogCategoryIdPaths`, the
    /// paths with the catalog at the front.
    #[param(default = false)]
    multiple_category_paths: Option<bool>,
    /// Whether to return only the fields that a navigation menu needs: `id`, `repositoryId`,
    /// `displayName`, `active`, `route` and `childCategories`.
    #[param(default = false)]
    minimal_fields_for_navigation: Option<bool>,
    /// Ignored: a tenant has exactly one catalog.
    catalog_id: Option<String>,
    /// Not supported; can only be false.
    #[param(inline)]
    show_access_control_info: Option<OnlyFalse>,
    /// Not supported; can only be false.
    #[param(inline)]
    show_catalogs_count: Option<OnlyFalse>,
}

/// Parameters of getCollection.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[into_params(rename_all = "camelCase")]
pub(super) struct OneCollection {
    /// Ignored: no catalog is a view of another catalog.
    include_base_catalog_products: Option<bool>,
    /// Not supported; can only be false.
    #[param(inline)]
    show_catalogs_info: Option<OnlyFalse>,
}

/// The catalog in the query.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[into_params(rename_all = "camelCase")]
pub(super) struct CatalogId {
    /// Ignored: a tenant has exactly one catalog.
    catalog_id: Option<String>,
}

/// The only value of a switch that is not supported.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
enum OnlyFalse {
    False,
}

/// Filters and order of collections.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[into_params(rename_all = "camelCase")]
pub(super) struct CollectionQuery {
    /// Returns only collections whose display name or id contains this text, ignoring case.
    name: Option<String>,
    /// Returns only the collections with these ids, separated by commas. An unknown id is an error,
    /// unless `continueOnMissingCategory` is `true`.
    category_ids: Option<String>,
    /// Whether to ignore unknown ids in `categoryIds`.
    continue_on_missing_category: Option<bool>,
    /// A SCIM filter (RFC 7644) on the fields of the items. May be repeated; all filters must hold.
    #[param(example = "displayName co \"lamp\" and active eq true")]
    q: Option<String>,
    /// The properties to sort by, separated by commas, each with `:asc` (default) or `:desc`.
    #[param(default = "displayName:asc")]
    sort: Option<String>,
    /// Whether to return only active collections, by their own value or by the value that they
    /// inherit from their parents. Must not be `true` together with a `q` or `sort` that uses child
    /// collections.
    only_active: Option<bool>,
    /// Whether to return only unassigned collections, which have no parent.
    orphaned: Option<bool>,
    /// Whether to leave out the two roots. Default: `false`. With `asHierarchy`, the roots are left
    /// out unless this parameter is `false`.
    filter_root_categories: Option<bool>,
    /// Whether to return whole trees: the top-level items are the collections in `categoryIds`, or
    /// with `orphaned` the unassigned collections, otherwise the children of the roots; all other
    /// collections are nested in `childCategories`. The default of `limit` is then the setting
    /// `max_expanded`. Must not be `true` together with `pageResults`, `name` or `q`.
    as_hierarchy: Option<bool>,
    /// No effect: a list is always paged. Must not be `true` together with `asHierarchy`.
    page_results: Option<bool>,
    /// The number of levels of child collections to expand: 0 to 6, `min` (2) or `max` (6).
    /// Default: 4 with `categoryIds`, otherwise 1, and fewer if that would be more than
    /// `max_expanded` collections; all levels with `asHierarchy`.
    #[param(pattern = "^([0-6]|min|max)$")]
    depth: Option<String>,
}

/// Filters and order of products.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[into_params(rename_all = "camelCase")]
pub(super) struct ProductQuery {
    /// Returns only products of the collection with this id, in its order. Default: all products,
    /// sorted by id.
    category_id: Option<String>,
    /// Whether to include the products of all collections below `categoryId`. The products are then
    /// sorted by id.
    #[param(default = false)]
    include_children: Option<bool>,
    /// Whether to return only products that are in no collection. `categoryId` is then ignored.
    #[param(default = false)]
    unassigned: Option<bool>,
    /// Returns only the products with these ids, separated by commas. A backslash escapes a comma
    /// or a backslash in an id. May be repeated. An unknown id is an error, unless
    /// `continueOnMissingProduct` is `true`.
    product_ids: Option<String>,
    /// Whether to ignore unknown ids in `productIds`.
    #[param(default = false)]
    continue_on_missing_product: Option<bool>,
    /// Returns only products whose display name or id contains this text, ignoring case.
    name: Option<String>,
    /// A SCIM filter (RFC 7644) on the fields of the items. May be repeated; all filters must hold.
    #[param(example = "displayName co \"lamp\" and listPrice lt 100")]
    q: Option<String>,
    /// The properties to sort by, separated by commas, each with `:asc` (default) or `:desc`.
    /// Default: the order of the collection in `categoryId`, otherwise by id.
    sort: Option<String>,
    /// Whether to include products whose `active` is `false`.
    #[param(default = true)]
    show_inactive_products: Option<bool>,
    /// Ignored: a tenant has exactly one catalog.
    catalog_id: Option<String>,
    /// Ignored: a list is always paged.
    page_results: Option<bool>,
    /// Ignored: products are always returned with all their properties.
    expand: Option<bool>,
    /// Ignored: products have nothing nested to expand.
    depth: Option<String>,
    /// Ignored: prices are returned like other properties.
    include_prices: Option<bool>,
    /// Ignored: it does not change the response.
    front_load_prices: Option<bool>,
    /// Not supported; can only be false.
    #[param(inline)]
    minimal_list: Option<OnlyFalse>,
}

/// Parameters of getProduct.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[into_params(rename_all = "camelCase")]
pub(super) struct OneProduct {
    /// Ignored: a tenant has exactly one catalog.
    catalog_id: Option<String>,
    /// Ignored: products are always returned with all their properties.
    expand: Option<bool>,
    /// Ignored: products have nothing nested to expand.
    depth: Option<String>,
    /// Ignored: prices are returned like other properties.
    include_prices: Option<bool>,
}

/// Filters and order of catalogs.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[into_params(rename_all = "camelCase")]
pub(super) struct CatalogQuery {
    /// Returns only catalogs whose name or id contains this text, ignoring case.
    name: Option<String>,
    /// A SCIM filter (RFC 7644) on the fields of the items. May be repeated; all filters must hold.
    q: Option<String>,
    /// The properties to sort by, separated by commas, each with `:asc` (default) or `:desc`. No
    /// effect: there is only one catalog to sort.
    sort: Option<String>,
    /// Not supported; can only be false.
    #[param(inline)]
    show_access_control_info: Option<OnlyFalse>,
}

/// Parameters of listLocales.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[into_params(rename_all = "camelCase")]
pub(super) struct LocaleQuery {
    /// Ignored: locales have no aliases.
    with_aliases: Option<bool>,
}

/// Parameters of a login.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct GrantQuery {
    /// `client_credentials`. Required, either here or in the form.
    #[param(inline)]
    grant_type: Option<Grant>,
}

/// The supported grant types.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum Grant {
    ClientCredentials,
}
