//! The property names with a meaning in this dialect, for parsing and for rendering.

use super::search::Shown;
use crate::domain::TextField;

/// The standard names, which no custom property can have.
const STANDARD: [&str; 36] = [
    "active",
    "ancestorCategories",
    "catalogId",
    "catalogsCount",
    "catalogsInfo",
    "categoryIdPaths",
    "categoryImages",
    "categoryPaths",
    "childCategories",
    "childProducts",
    "creationDate",
    "description",
    "dimensionId",
    "displayName",
    "fixedChildCategories",
    "fixedChildProducts",
    "fixedParentCategories",
    "id",
    "keywords",
    "links",
    "longDescription",
    "multiCatalogCategoryIdPaths",
    "multiCatalogCategoryPaths",
    "name",
    "orphaned",
    "parentCategoryId",
    "parentCategoryIds",
    "properties",
    "repositoryId",
    "route",
    "seoDescriptionDerived",
    "seoKeywordsDerived",
    "seoMetaInfo",
    "seoTitleDerived",
    "seoUrlSlugDerived",
    "type",
];

/// Whether a property is a standard one.
pub fn is_standard(name: &str) -> bool {
    STANDARD.contains(&name)
}

/// Names that make clients take a response for an error, so no property may have them.
const OF_ERRORS: [&str; 4] = ["errorCode", "error", "status", "message"];

/// Names that would be an operation on products if a response were sent back as an update.
const OF_UPDATES: [&str; 7] = [
    "op",
    "products",
    "moves",
    "productMap",
    "fromStart",
    "fromEnd",
    "to",
];

/// Why a custom property may not have this name; `None` if it may.
pub fn why_forbidden(name: &str) -> Option<&'static str> {
    if OF_ERRORS.contains(&name) {
        Some("is not allowed: clients would interpret a response with this property as an error")
    } else if OF_UPDATES.contains(&name) {
        Some("is not allowed: a response with this property would be an operation if sent back")
    } else {
        None
    }
}

/// Like [`why_forbidden`], for products, whose updates have no such operations.
pub fn why_forbidden_of_product(name: &str) -> Option<&'static str> {
    why_forbidden(name).filter(|_| OF_ERRORS.contains(&name))
}

/// The properties of collections in a list.
pub const SHOWN: Shown = Shown {
    known: &[
        "active",
        "ancestorCategories",
        "categoryIdPaths",
        "categoryImages",
        "categoryPaths",
        "childCategories",
        "creationDate",
        "description",
        "displayName",
        "fixedChildCategories",
        "fixedParentCategories",
        "id",
        "keywords",
        "longDescription",
        "name",
        "repositoryId",
        "route",
        "seoDescriptionDerived",
        "seoKeywordsDerived",
        "seoMetaInfo",
        "seoTitleDerived",
        "seoUrlSlugDerived",
    ],
    hidden: &[
        "catalogId",
        "catalogsCount",
        "catalogsInfo",
        "childProducts",
        "dimensionId",
        "fixedChildProducts",
        "links",
        "multiCatalogCategoryIdPaths",
        "multiCatalogCategoryPaths",
    ],
    // A search reads only the ids of child collections.
    nested: &[("childCategories", &["id", "repositoryId"])],
};

/// The texts in `seoMetaInfo`.
pub const SEO: [(&str, TextField); 4] = [
    ("seoTitle", TextField::SeoTitle),
    ("seoDescription", TextField::SeoDescription),
    ("seoKeywords", TextField::SeoKeywords),
    ("seoUrlSlug", TextField::SeoUrlSlug),
];
