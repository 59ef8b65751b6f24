//! The names of properties that mean something, for reading and for writing.

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
pub const FORBIDDEN: [&str; 4] = ["errorCode", "error", "status", "message"];

/// The texts of `seoMetaInfo`.
pub const SEO: [(&str, TextField); 4] = [
    ("seoTitle", TextField::SeoTitle),
    ("seoDescription", TextField::SeoDescription),
    ("seoKeywords", TextField::SeoKeywords),
    ("seoUrlSlug", TextField::SeoUrlSlug),
];
