//! The names that fields of the domain have in this dialect's requests.

use crate::domain::{
    FieldPath, ImageText, TextField,
    children::{MutationField, MutationPart, Operation},
    field::{ProductPart, RulePart},
    image::ImagePart,
};

/// The path of a field. The SEO title in any locale, for example, is
/// `properties.seoMetaInfo.seoTitle`.
pub fn of(field: &FieldPath) -> String {
    match field {
        FieldPath::Own(own) => own.clone(),
        FieldPath::Id => "properties.id".into(),
        FieldPath::InternalName => "properties.name".into(),
        FieldPath::Texts => "X-CCAsset-Language".into(),
        FieldPath::DisplayName => text(TextField::DisplayName).into(),
        FieldPath::Text(_, field) => text(*field).into(),
        FieldPath::Keywords(_, None) => "properties.keywords".into(),
        FieldPath::Keywords(_, Some(at)) => format!("properties.keywords.{at}"),
        FieldPath::Images => "categoryImages".into(),
        FieldPath::Image(at, part) => format!("categoryImages.{at}{}", image(part)),
        FieldPath::CustomProperties | FieldPath::Collection => "properties".into(),
        FieldPath::Sort => "sort".into(),
        FieldPath::Entries(_) => "entries".into(),
        FieldPath::Entry(at) | FieldPath::EntryIndex(at) => format!("entries.{at}"),
        FieldPath::CatalogId => "catalogId".into(),
        FieldPath::ParentIds => "parentCategoryIds".into(),
        FieldPath::Mutations => "moves".into(),
        FieldPath::MutationIds => "products".into(),
        FieldPath::Mutation(at, part) => mutation(*at, *part),
        FieldPath::Product(_, part) => product(*part).into(),
        FieldPath::CollectionIds => "collections".into(),
        FieldPath::FilterIds => "categoryIds".into(),
        FieldPath::FilterCollections => "categoryId".into(),
        FieldPath::FilterExpression | FieldPath::Scanned => "q".into(),
        FieldPath::RequestId => crate::dialect::idempotency::HEADER.into(),
        FieldPath::Depth => "depth".into(),
        FieldPath::Paths => "showCategoryPaths".into(),
        FieldPath::Index => "index".into(),
        FieldPath::StartIndex => "offset".into(),
        // Requests of this dialect have no such fields.
        FieldPath::Tenant => "tenant".into(),
        FieldPath::Slug => "slug".into(),
        FieldPath::Rules(parts) => rules(parts),
        FieldPath::Ids | FieldPath::Products => "products".into(),
        FieldPath::FilterDisplayName | FieldPath::FilterTitle => "q".into(),
    }
}

fn text(field: TextField) -> &'static str {
    match field {
        TextField::DisplayName => "properties.displayName",
        TextField::Description => "properties.description",
        TextField::LongDescription => "properties.longDescription",
        TextField::SeoTitle => "properties.seoMetaInfo.seoTitle",
        TextField::SeoDescription => "properties.seoMetaInfo.seoDescription",
        TextField::SeoKeywords => "properties.seoMetaInfo.seoKeywords",
        TextField::SeoUrlSlug => "properties.seoMetaInfo.seoUrlSlug",
    }
}

fn image(part: &ImagePart) -> &'static str {
    match part {
        ImagePart::Id => ".repositoryId",
        ImagePart::FileName => ".name",
        ImagePart::Path => ".path",
        ImagePart::Url => ".url",
        ImagePart::Texts => ".metadata",
        ImagePart::Text(_, ImageText::AltText) => ".metadata.altText",
        ImagePart::Text(_, ImageText::Title) => ".metadata.titleText",
    }
}

fn mutation(at: usize, part: MutationPart) -> String {
    match (part.operation, part.field) {
        (Operation::MoveRange, MutationField::First) => format!("moves.{at}.fromStart"),
        (Operation::MoveRange, MutationField::Last) => format!("moves.{at}.fromEnd"),
        (Operation::MoveRange, _) => format!("moves.{at}.to"),
        (Operation::Reorder | Operation::MoveIds, _) => "productMap".into(),
        (Operation::Append | Operation::Insert | Operation::Remove | Operation::Replace, _) => {
            "products".into()
        }
    }
}

fn product(part: ProductPart) -> &'static str {
    match part {
        ProductPart::Id => "properties.id",
        ProductPart::Title => "properties.displayName",
        ProductPart::Slug => "properties.slug",
        ProductPart::Type => "productType",
        ProductPart::Attributes
        | ProductPart::Details(_)
        | ProductPart::Tag(_)
        | ProductPart::Variant(..)
        | ProductPart::Price(..)
        | ProductPart::Facts => "properties",
    }
}

fn rules(parts: &[RulePart]) -> String {
    match parts.last() {
        Some(RulePart::Operator) => "rules.operator".into(),
        Some(RulePart::Operand | RulePart::Field | RulePart::Group(_) | RulePart::Rule(..))
        | None => "rules".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Locale;

    #[test]
    fn field_paths_are_named_as_in_requests() {
        let en = Locale::trusted("en");
        let part = |operation, field| MutationPart { operation, field };
        let pairs = [
            (
                FieldPath::Text(en.clone(), TextField::SeoTitle),
                "properties.seoMetaInfo.seoTitle",
            ),
            (FieldPath::DisplayName, "properties.displayName"),
            (
                FieldPath::Keywords(en.clone(), Some(3)),
                "properties.keywords.3",
            ),
            (
                FieldPath::Image(0, ImagePart::Text(en, ImageText::AltText)),
                "categoryImages.0.metadata.altText",
            ),
            (FieldPath::Images, "categoryImages"),
            (
                FieldPath::Mutation(2, part(Operation::MoveRange, MutationField::Index)),
                "moves.2.to",
            ),
            (
                FieldPath::Mutation(0, part(Operation::Append, MutationField::Ids)),
                "products",
            ),
            (
                FieldPath::Mutation(0, part(Operation::Reorder, MutationField::Placements)),
                "productMap",
            ),
        ];
        for (field, path) in pairs {
            assert_eq!(of(&field), path);
        }
    }
}
