//! The names that requests have for the domain's fields.

/// The field as this dialect's requests spell it: `texts.en.seo_title` is
/// `properties.seoMetaInfo.seoTitle`.
pub fn of(field: &str) -> String {
    let parts: Vec<&str> = field.split('.').collect();
    match parts.as_slice() {
        ["texts", _, text] | ["texts", text] => text_path(text),
        ["texts"] => "X-CCAsset-Language".into(),
        ["id"] => "properties.id".into(),
        ["name"] => "properties.name".into(),
        ["keywords", rest @ ..] => join("properties.keywords", rest),
        ["custom_properties", ..] => "properties".into(),
        ["images", index, "id"] => format!("categoryImages.{index}.repositoryId"),
        ["images", index, "alt_text"] => format!("categoryImages.{index}.metadata.altText"),
        ["images", index, "title_text"] => format!("categoryImages.{index}.metadata.titleText"),
        ["images", rest @ ..] => join("categoryImages", rest),
        ["catalog_id"] => "catalogId".into(),
        ["products", _, "name"] => "properties.displayName".into(),
        ["products", _, "type"] => "productType".into(),
        ["products", _, "attributes"] => "properties".into(),
        ["collection_ids"] => "collections".into(),
        ["filter", "ids"] => "categoryIds".into(),
        ["filter", "expression"] => "q".into(),
        ["parent_ids"] => "parentCategoryIds".into(),
        ["mutations", index, "move", "from_start"] => format!("moves.{index}.fromStart"),
        ["mutations", index, "move", "from_end"] => format!("moves.{index}.fromEnd"),
        ["mutations", index, "move", rest @ ..] => join(&format!("moves.{index}"), rest),
        ["mutations", _, "reorder" | "move_ids", ..] => "productMap".into(),
        ["mutations"] => "moves".into(),
        ["mutations", ..] => "products".into(),
        _ => field.into(),
    }
}

fn text_path(text: &str) -> String {
    let name = match text {
        "display_name" => "displayName",
        "description" => "description",
        "long_description" => "longDescription",
        "seo_title" => "seoMetaInfo.seoTitle",
        "seo_description" => "seoMetaInfo.seoDescription",
        "seo_keywords" => "seoMetaInfo.seoKeywords",
        "seo_url_slug" => "seoMetaInfo.seoUrlSlug",
        other => other,
    };
    format!("properties.{name}")
}

fn join(start: &str, rest: &[&str]) -> String {
    let mut path = start.to_owned();
    for part in rest {
        path.push('.');
        path.push_str(part);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_the_names_of_requests() {
        let pairs = [
            ("texts.en.seo_title", "properties.seoMetaInfo.seoTitle"),
            ("texts.display_name", "properties.displayName"),
            ("keywords.3", "properties.keywords.3"),
            ("images.0.alt_text", "categoryImages.0.metadata.altText"),
            ("images", "categoryImages"),
            ("mutations.2.move.to", "moves.2.to"),
            ("mutations.0.append.ids", "products"),
            ("mutations.0.reorder.indexes", "productMap"),
        ];
        for (field, path) in pairs {
            assert_eq!(of(field), path);
        }
    }
}
