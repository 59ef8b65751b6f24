//! The parameters of each operation, as the description has them. Query parameters that are not
//! listed here are refused ([`super::query`]).
#![expect(dead_code, reason = "these types are described, not made")]

use utoipa::{IntoParams, ToSchema};

/// The language of the texts that are read. The default is the default locale.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct Language {
    /// A locale; `pt_BR` and `pt-BR` are one.
    #[param(rename = "X-CCAsset-Language", example = "en")]
    language: Option<String>,
}

/// The language of the texts that are written.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct WrittenLanguage {
    /// A locale; `pt_BR` and `pt-BR` are one.
    #[param(
        rename = "X-CCAsset-Language",
        pattern = r"^[A-Za-z]{2,3}([_-][A-Za-z]{2})?$",
        example = "en"
    )]
    language: String,
}

/// The collection.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct CollectionPath {
    /// Its id.
    #[param(
        min_length = 1,
        max_length = 128,
        pattern = r"^(\.*[A-Za-z0-9_~:@+/-][A-Za-z0-9_.~:@+/-]*|\.{3,})$",
        example = "cat50056"
    )]
    id: String,
}

/// The product.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct ProductPath {
    /// Its id.
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
    /// Whether to return the paths from the roots.
    #[param(default = true)]
    show_category_paths: Option<bool>,
    /// Fields to return, comma-separated; dotted for nested fields.
    fields: Option<String>,
    /// Fields to leave out, likewise.
    exclude: Option<String>,
}

/// Expansion of children.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[into_params(rename_all = "camelCase")]
pub(super) struct Expanded {
    /// Levels of child collections to expand.
    #[param(pattern = "^([0-6]|min|max)$")]
    depth: Option<String>,
    /// `childCategories` (at least one level), `childProducts`, or both.
    expand: Option<String>,
}

/// Paging.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// Maximum number of items.
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
    /// Fields to return, comma-separated; dotted for nested fields.
    fields: Option<String>,
    /// Fields to leave out, likewise.
    exclude: Option<String>,
}

/// Further fields of collections.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[into_params(rename_all = "camelCase")]
pub(super) struct CatalogPaths {
    /// Whether to return the paths with the catalog at the front, too.
    #[param(default = false)]
    multiple_category_paths: Option<bool>,
    /// Whether to return only the fields that a navigation menu needs.
    #[param(default = false)]
    minimal_fields_for_navigation: Option<bool>,
    /// Ignored: there is one catalog.
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
    /// Ignored: no catalog is a view of another.
    include_base_catalog_products: Option<bool>,
    /// Not supported; can only be false.
    #[param(inline)]
    show_catalogs_info: Option<OnlyFalse>,
}

/// The catalog.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[into_params(rename_all = "camelCase")]
pub(super) struct CatalogId {
    /// Ignored: there is one catalog.
    catalog_id: Option<String>,
}

/// A switch that is not supported.
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
    /// Part of the display name or of the id, ignoring case.
    name: Option<String>,
    /// Ids, comma-separated.
    category_ids: Option<String>,
    /// Whether to ignore unknown ids.
    continue_on_missing_category: Option<bool>,
    /// A SCIM filter (RFC 7644) over the fields of the items.
    #[param(example = "displayName co \"lamp\" and active eq true")]
    q: Option<String>,
    /// Properties to sort by, comma-separated, each with `:asc` or `:desc`.
    #[param(default = "displayName:asc")]
    sort: Option<String>,
    /// Whether to list only active collections, by themselves or through a parent.
    only_active: Option<bool>,
    /// Whether to list only unassigned collections, which have no parent.
    orphaned: Option<bool>,
    /// Whether to leave the two roots out. `asHierarchy` leaves them out unless this is false.
    filter_root_categories: Option<bool>,
    /// Whether to return the whole tree below the collections named, or below the roots.
    as_hierarchy: Option<bool>,
    /// Lists are always paged; can't be true with `asHierarchy`.
    page_results: Option<bool>,
    /// Levels of child collections to expand. The default is 4 for collections that are named
    /// and 1 for others.
    #[param(pattern = "^([0-6]|min|max)$")]
    depth: Option<String>,
}

/// Filters and order of products.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[into_params(rename_all = "camelCase")]
pub(super) struct ProductQuery {
    /// Only products of this collection, in its order. Without it, all products by id.
    category_id: Option<String>,
    /// Whether to include products of collections below that one.
    #[param(default = false)]
    include_children: Option<bool>,
    /// Whether to list only products that are in no collection, whatever `categoryId` is.
    #[param(default = false)]
    unassigned: Option<bool>,
    /// Ids, comma-separated; a backslash escapes a comma or a backslash. May be repeated.
    product_ids: Option<String>,
    /// Whether to ignore unknown ids.
    #[param(default = false)]
    continue_on_missing_product: Option<bool>,
    /// Part of the display name or of the id, ignoring case.
    name: Option<String>,
    /// A SCIM filter (RFC 7644) over the fields of the items.
    #[param(example = "displayName co \"lamp\" and listPrice lt 100")]
    q: Option<String>,
    /// Properties to sort by, comma-separated, each with `:asc` or `:desc`.
    sort: Option<String>,
    /// Whether to include products whose `active` is false.
    #[param(default = true)]
    show_inactive_products: Option<bool>,
    /// Ignored: there is one catalog.
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
    /// Ignored: there is one catalog.
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
    /// Part of the name or of the id, ignoring case.
    name: Option<String>,
    /// A SCIM filter (RFC 7644) over the fields of the items.
    q: Option<String>,
    /// Ignored: there is one catalog.
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
    /// `client_credentials`, here or in the form.
    #[param(inline)]
    grant_type: Option<Grant>,
}

/// Grants that are accepted.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum Grant {
    ClientCredentials,
}
