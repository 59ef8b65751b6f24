//! Field paths in the spelling of `endcap.v1`, as `google.rpc.BadRequest` has them, for example
//! `mutations[0].move_range.first_index`. Each REST dialect spells the same [`FieldPath`]
//! differently.

use crate::domain::{
    FieldPath, ImageText,
    children::{MutationField, MutationPart, Operation},
    field::{DetailsField, PriceField, ProductPart, RulePart, VariantField},
    image::ImagePart,
};

/// The path of a field.
pub(super) fn of(field: &FieldPath) -> String {
    match field {
        FieldPath::Own(own) => own.clone(),
        FieldPath::Tenant => "tenant_id".into(),
        FieldPath::Id => "collection.id".into(),
        FieldPath::InternalName => "collection.internal_name".into(),
        FieldPath::Slug => "collection.slug".into(),
        FieldPath::Collection => "collection".into(),
        FieldPath::Rules(parts) => rules(parts),
        FieldPath::Texts => "collection.texts".into(),
        FieldPath::DisplayName => "collection.texts.display_name".into(),
        FieldPath::Text(locale, text) => format!("collection.texts[{locale}].{}", text.name()),
        FieldPath::Keywords(locale, None) => format!("collection.texts[{locale}].keywords"),
        FieldPath::Keywords(locale, Some(at)) => {
            format!("collection.texts[{locale}].keywords[{at}]")
        }
        FieldPath::Images => "collection.images".into(),
        FieldPath::Image(at, part) => format!("collection.images[{at}].{}", image(part)),
        FieldPath::CustomProperties => "collection.custom_properties".into(),
        FieldPath::Sort => "collection.sort".into(),
        FieldPath::Entries(_) => "add".into(),
        FieldPath::Entry(at) => format!("add[{at}]"),
        FieldPath::EntryIndex(at) => format!("add[{at}].index"),
        FieldPath::CatalogId => "collection.catalog_id".into(),
        FieldPath::ParentIds => "collection.parent_ids".into(),
        FieldPath::Mutations | FieldPath::MutationIds => "mutations".into(),
        FieldPath::Mutation(at, part) => format!("mutations[{at}].{}", mutation(*part)),
        FieldPath::Ids => "ids".into(),
        FieldPath::CollectionIds => "collection_ids".into(),
        FieldPath::Products => "products".into(),
        FieldPath::Product(at, ProductPart::Facts) => format!("products[{at}]"),
        FieldPath::Product(at, part) => format!("products[{at}].{}", product(*part)),
        FieldPath::FilterDisplayName => "filter.display_name_contains".into(),
        FieldPath::FilterTitle => "filter.title_contains".into(),
        FieldPath::FilterIds => "filter.ids".into(),
        FieldPath::FilterCollections => "filter.collection_ids".into(),
        FieldPath::FilterExpression => "filter.expression".into(),
        FieldPath::Scanned => "filter".into(),
        FieldPath::Depth => "depth".into(),
        FieldPath::Paths => "paths".into(),
        FieldPath::StartIndex => "start_index".into(),
        FieldPath::Index => "index".into(),
        FieldPath::RequestId => "request_id".into(),
    }
}

/// The path of a field in requests of `RuleService`, which have the rules and the product at the
/// top level.
pub(super) fn of_rule_request(field: &FieldPath) -> String {
    let path = of(field);
    if matches!(field, FieldPath::Rules(_)) {
        path.replacen("collection.", "", 1)
    } else if matches!(field, FieldPath::Product(..)) {
        path.replacen("products[0]", "product", 1)
    } else {
        path
    }
}

fn rules(parts: &[RulePart]) -> String {
    let mut path = "collection.rules.root".to_owned();
    for part in parts {
        match part {
            RulePart::Group(combinator) => path.push_str(&format!(".{}.rules", combinator.name())),
            RulePart::Rule(combinator, at) => {
                path.push_str(&format!(".{}.rules[{at}]", combinator.name()));
            }
            RulePart::Field => path.push_str(".condition.field"),
            RulePart::Operator => path.push_str(".condition.operator"),
            RulePart::Operand => path.push_str(".condition.operands"),
        }
    }
    path
}

fn image(part: &ImagePart) -> String {
    match part {
        ImagePart::Id => "id".into(),
        ImagePart::FileName => "file_name".into(),
        ImagePart::Path => "path".into(),
        ImagePart::Url => "url".into(),
        ImagePart::Texts => "texts".into(),
        ImagePart::Text(locale, ImageText::AltText) => format!("texts[{locale}].alt_text"),
        ImagePart::Text(locale, ImageText::Title) => format!("texts[{locale}].title"),
    }
}

fn mutation(part: MutationPart) -> String {
    let operation = match part.operation {
        Operation::Append => "append",
        Operation::Insert => "insert",
        Operation::Remove => "remove",
        Operation::MoveRange => "move_range",
        Operation::MoveIds => "move_ids",
        Operation::Reorder => "reorder",
        Operation::Replace => "replace",
    };
    let field = match part.field {
        MutationField::Ids => "ids".into(),
        MutationField::Index => "position.index".into(),
        MutationField::Before => "position.before_id".into(),
        MutationField::After => "position.after_id".into(),
        MutationField::First => "first_index".into(),
        MutationField::Last => "last_index".into(),
        MutationField::Placements => "placements".into(),
        MutationField::PlacementId(at) => format!("placements[{at}].id"),
        MutationField::PlacementIndex(at) => format!("placements[{at}].index"),
    };
    format!("{operation}.{field}")
}

fn product(part: ProductPart) -> String {
    match part {
        ProductPart::Id => "id".into(),
        ProductPart::Title => "title".into(),
        ProductPart::Slug => "slug".into(),
        ProductPart::Type => "type".into(),
        ProductPart::Attributes => "attributes".into(),
        ProductPart::Details(field) => details(field).into(),
        ProductPart::Tag(at) => format!("tags[{at}]"),
        ProductPart::Variant(at, field) => format!("variants[{at}].{}", variant(field)),
        ProductPart::Price(at, field) => format!("prices[{at}].{}", price(field)),
        ProductPart::Facts => String::new(),
    }
}

fn details(field: DetailsField) -> &'static str {
    match field {
        DetailsField::Vendor => "vendor",
        DetailsField::Status => "status",
        DetailsField::Available => "available",
        DetailsField::Tags => "tags",
        DetailsField::Variants => "variants",
        DetailsField::Prices => "prices",
        DetailsField::Inventory => "inventory",
        DetailsField::Created => "product_create_time",
        DetailsField::Updated => "product_update_time",
    }
}

fn variant(field: VariantField) -> &'static str {
    match field {
        VariantField::Id => "id",
        VariantField::Title => "title",
        VariantField::Inventory => "inventory",
    }
}

fn price(field: PriceField) -> &'static str {
    match field {
        PriceField::Id => "id",
        PriceField::VariantId => "variant_id",
        PriceField::Title => "title",
        PriceField::Amount => "amount",
        PriceField::Currency => "currency",
        PriceField::CompareAt => "compare_at_price",
        PriceField::Inventory => "inventory",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Combinator, Locale, TextField};

    #[test]
    fn field_paths_are_named_as_in_requests() {
        let locale = Locale::trusted("pt-BR");
        let first = MutationPart {
            operation: Operation::MoveRange,
            field: MutationField::First,
        };
        let rule = vec![
            RulePart::Rule(Combinator::All, 0),
            RulePart::Rule(Combinator::Any, 2),
            RulePart::Operator,
        ];
        for (field, path) in [
            (
                FieldPath::Mutation(0, first),
                "mutations[0].move_range.first_index",
            ),
            (
                FieldPath::Text(locale.clone(), TextField::SeoTitle),
                "collection.texts[pt-BR].seo_title",
            ),
            (
                FieldPath::Image(3, ImagePart::Text(locale, ImageText::AltText)),
                "collection.images[3].texts[pt-BR].alt_text",
            ),
            (
                FieldPath::Rules(rule),
                "collection.rules.root.all_of.rules[0].any_of.rules[2].condition.operator",
            ),
            (FieldPath::Product(7, ProductPart::Type), "products[7].type"),
            (FieldPath::Product(7, ProductPart::Facts), "products[7]"),
            (
                FieldPath::Product(7, ProductPart::Price(2, PriceField::CompareAt)),
                "products[7].prices[2].compare_at_price",
            ),
        ] {
            assert_eq!(of(&field), path);
        }
    }
}
