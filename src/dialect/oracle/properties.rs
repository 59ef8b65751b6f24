//! Parses `properties` of a create or update request: standard ones, and the client's own.

use serde_json::Value;

use super::{
    codes,
    fields::{self, Object, Problems},
    names::{SEO, is_standard, why_forbidden},
};
use crate::domain::{
    Active, Change, Changes, Collection, CollectionId, Json, Locale, MapChange, TextField,
};

const TEXTS: [(&str, TextField); 3] = [
    ("displayName", TextField::DisplayName),
    ("description", TextField::Description),
    ("longDescription", TextField::LongDescription),
];

const AT: &str = "properties";

/// Fields that requests have next to `properties`, and responses don't include. Inside of
/// `properties` they would be ignored, so they are rejected there.
const BESIDE: [&str; 5] = [
    "catalogId",
    "orphaned",
    "parentCategoryId",
    "parentCategoryIds",
    "type",
];
/// A field like [`BESIDE`] that responses include. Updates ignore it inside of `properties`, so
/// that a response can be sent back.
const RETURNED_BESIDE: &str = "categoryImages";

/// The texts that a request writes, by locale and field.
type TextChanges = Vec<((Locale, TextField), Option<String>)>;

/// The changes in the properties of the body; texts are in `locale`.
pub fn read(body: &Object, locale: &Locale, problems: &mut Problems) -> Changes {
    let Some(properties) = fields::object(body, "", AT, problems) else {
        return Changes::default();
    };
    check_beside(properties, &BESIDE, problems);
    let mut texts = TextChanges::new();
    texts_of(properties, AT, &TEXTS, locale, &mut texts, problems);
    seo(properties, locale, &mut texts, problems);
    Changes {
        internal_name: fields::text(properties, AT, "name", problems),
        texts: MapChange {
            replace: false,
            entries: texts,
        },
        keywords: keywords(properties, problems)
            .map(|keywords| (locale.clone(), keywords))
            .into_iter()
            .collect(),
        active: active(properties, problems),
        custom_properties: custom(properties, problems),
        ..Changes::default()
    }
}

/// Rejects what would be lost from a new collection.
pub fn check_new(body: &Object, problems: &mut Problems) {
    if let Some(properties) = body.get(AT).and_then(Value::as_object) {
        check_beside(properties, &[RETURNED_BESIDE], problems);
    }
}

fn check_beside(properties: &Object, names: &[&str], problems: &mut Problems) {
    for name in names {
        if fields::has(properties, name) {
            let path = fields::path(AT, name);
            problems.invalid(&path, "must be next to properties, not inside");
        }
    }
}

/// The id that the client chooses for a new collection.
pub fn id(body: &Object, problems: &mut Problems) -> Option<CollectionId> {
    let properties = body.get(AT)?.as_object()?;
    match fields::text(properties, AT, "id", problems) {
        Change::Set(id) => {
            let id = CollectionId::parse("properties.id", &id);
            problems.take(codes::INVALID_INPUT, id)
        }
        Change::Keep | Change::Clear => None,
    }
}

fn texts_of(
    object: &Object,
    at: &str,
    names: &[(&str, TextField)],
    locale: &Locale,
    texts: &mut TextChanges,
    problems: &mut Problems,
) {
    for (name, field) in names {
        let value = match fields::text(object, at, name, problems) {
            Change::Keep => continue,
            Change::Set(text) => Some(text),
            Change::Clear => None,
        };
        texts.push(((locale.clone(), *field), value));
    }
}

/// The SEO texts. A `seoMetaInfo` of null clears all of them.
fn seo(properties: &Object, locale: &Locale, texts: &mut TextChanges, problems: &mut Problems) {
    const NAME: &str = "seoMetaInfo";
    if properties.get(NAME).is_some_and(Value::is_null) {
        texts.extend(SEO.map(|(_, field)| ((locale.clone(), field), None)));
    } else if let Some(seo) = fields::object(properties, AT, NAME, problems) {
        texts_of(seo, &fields::path(AT, NAME), &SEO, locale, texts, problems);
    }
}

/// The keywords: an array, or a comma-separated string.
fn keywords(properties: &Object, problems: &mut Problems) -> Option<Vec<String>> {
    match properties.get("keywords")? {
        Value::Null => Some(Vec::new()),
        Value::String(list) => {
            let words = list
                .split(',')
                .map(str::trim)
                .filter(|word| !word.is_empty());
            Some(words.map(Into::into).collect())
        }
        Value::Array(words) if words.iter().all(Value::is_string) => {
            let words = words.iter().filter_map(Value::as_str);
            Some(words.map(Into::into).collect())
        }
        Value::Array(_) | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            problems.invalid("properties.keywords", "must be an array of strings");
            None
        }
    }
}

fn active(properties: &Object, problems: &mut Problems) -> Option<Active> {
    match properties.get("active")? {
        Value::Null => Some(Active::Inherit),
        Value::Bool(true) => Some(Active::Yes),
        Value::Bool(false) => Some(Active::No),
        Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            problems.invalid("properties.active", "must be true, false or null");
            None
        }
    }
}

/// The custom properties: all that are not standard. Standard properties that can't be written are
/// ignored, because clients send back what they received.
fn custom(properties: &Object, problems: &mut Problems) -> MapChange<String, Json> {
    let mut entries = Vec::new();
    for (name, value) in properties {
        if let Some(why) = why_forbidden(name) {
            problems.invalid(&fields::path(AT, name), why);
        } else if !is_standard(name) {
            let value = (!value.is_null()).then(|| Json(value.to_string()));
            entries.push((name.clone(), value));
        }
    }
    MapChange {
        replace: false,
        entries,
    }
}

/// Removes from the changes the nulls that a response has shown: sending those back must not remove
/// the properties.
pub fn drop_echoed(changes: &mut Changes, collection: &Collection) {
    let stored = &collection.custom_properties;
    let entries = &mut changes.custom_properties.entries;
    entries.retain(|(name, new)| new.is_some() || !stored.get(name).is_some_and(is_null));
}

/// Whether a stored property is `null`, which other APIs can store.
pub(super) fn is_null(stored: &Json) -> bool {
    stored.0 == "null"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn changes(properties: Value) -> (Changes, Vec<&'static str>) {
        let body = json!({"properties": properties});
        let mut problems = Problems::default();
        let changes = read(
            body.as_object().unwrap(),
            &Locale::trusted("fr"),
            &mut problems,
        );
        (changes, problems.numbers())
    }

    #[test]
    fn texts_are_read_in_the_request_s_language() {
        let (changes, problems) = changes(json!({
            "displayName": "Lampe",
            "description": null,
            "seoMetaInfo": {"repositoryId": "1", "seoTitle": null, "seoUrlSlug": "lampe"},
        }));
        assert_eq!(problems, [""; 0]);
        let fr = Locale::trusted("fr");
        let expected = [
            (TextField::DisplayName, Some("Lampe")),
            (TextField::Description, None),
            (TextField::SeoTitle, None),
            (TextField::SeoUrlSlug, Some("lampe")),
        ];
        let expected = expected.map(|(f, text)| ((fr.clone(), f), text.map(Into::into)));
        assert_eq!(changes.texts.entries, expected);
        assert!(!changes.texts.replace);
    }

    #[test]
    fn non_standard_properties_are_custom_properties() {
        let (changes, problems) = changes(json!({
            "x_season": {"name": "winter", "n": [1, 2.50]},
            "x_gone": null,
            "route": "/a/category/b",
            "childProducts": [],
        }));
        assert_eq!(problems, [""; 0]);
        let json = Json(r#"{"name":"winter","n":[1,2.5]}"#.into());
        let expected = [
            ("x_season".to_owned(), Some(json)),
            ("x_gone".to_owned(), None),
        ];
        assert_eq!(changes.custom_properties.entries, expected);
    }

    #[test]
    fn keywords_are_an_array_or_a_comma_separated_string() {
        let words = |value| changes(json!({"keywords": value})).0.keywords[0].1.clone();
        assert_eq!(
            words(json!(["ideas", "gifts", "ideas"])),
            ["ideas", "gifts", "ideas"]
        );
        assert_eq!(
            words(json!("gift ideas, present,")),
            ["gift ideas", "present"]
        );
        assert_eq!(words(json!(null)), [""; 0]);
    }

    #[test]
    fn all_invalid_properties_are_reported() {
        let (_, problems) = changes(json!({
            "displayName": 5, "active": "yes", "keywords": [1], "seoMetaInfo": "x", "error": 1,
        }));
        assert_eq!(problems, ["25014"; 5]);
    }
}
