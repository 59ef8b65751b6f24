//! The names of properties that mean something, for reading and for writing.

use super::search::Shown;
use crate::domain::TextField;

/// The names that this dialect gives a meaning; no property of a client's own has one.
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

/// Whether the name of a property is a standard one.
pub fn is_standard(name: &str) -> bool {
    STANDARD.contains(&name)
}

/// Names that make clients take an answer for an error, so no property may have them.
const OF_ERRORS: [&str; 4] = ["errorCode", "error", "status", "message"];

/// Names that mean an operation on products when a response is sent back as an update.
const OF_UPDATES: [&str; 7] = [
    "op",
    "products",
    "moves",
    "productMap",
    "fromStart",
    "fromEnd",
    "to",
];

/// Why no custom property may have that name; none if one may.
pub fn why_forbidden(name: &str) -> Option<&'static str> {
    if OF_ERRORS.contains(&name) {
        Some("is not allowed: clients take an answer with this name for an error")
    } else if OF_UPDATES.contains(&name) {
        Some("is not allowed: an answer with this name would be sent back as an operation")
    } else {
        None
    }
}

/// The same for a product, whose updates have no such operations.
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
    // A search does not read the child collections, only their ids.
    nested: &[("childCategories", &["id", "repositoryId"])],
};

/// The texts of `seoMetaInfo`.
pub const SEO: [(&str, TextField); 4] = [
    ("seoTitle", TextField::SeoTitle),
    ("seoDescription", TextField::SeoDescription),
    ("seoKeywords", TextField::SeoKeywords),
    ("seoUrlSlug", TextField::SeoUrlSlug),
];
