//! Field masks: which fields an answer has, and which an update writes.

use std::collections::BTreeSet;

use prost_types::FieldMask;

use super::{decode, pb};
use crate::domain::{
    Changes, CollectionId, Limits, Locale, MapChange, Rule, TextField, Violation, Violations,
};

const KNOWN: &str = "the fields of endcap.v1.Collection";

/// The fields that an update may write.
const WRITABLE: [&str; 11] = [
    "name",
    "slug",
    "kind",
    "rules",
    "texts",
    "keywords",
    "images",
    "active",
    "parent_ids",
    "custom_properties",
    "catalog_id",
];

/// The fields that only the server writes, and the id, which names the collection:
/// an update that lists them leaves them alone.
const UNWRITABLE: [&str; 9] = [
    "id",
    "tenant_id",
    "rules_hash",
    "rules_version",
    "effective_active",
    "stats",
    "create_time",
    "update_time",
    "etag",
];

/// The fields that answers are to have; none for all.
#[derive(Debug)]
pub(super) struct ReadMask(Option<BTreeSet<String>>);

impl ReadMask {
    /// Parses a mask of top-level fields.
    pub(super) fn parse(mask: Option<FieldMask>) -> Result<Self, Violation> {
        let paths = mask.map(|mask| mask.paths).unwrap_or_default();
        if paths.is_empty() || paths.iter().any(|path| path == "*") {
            return Ok(Self(None));
        }
        let known = |path: &&String| {
            WRITABLE.contains(&path.as_str()) || UNWRITABLE.contains(&path.as_str())
        };
        match paths.iter().find(|path| !known(path)) {
            Some(path) => Err(Violation::new("read_mask", path, Rule::Unknown(KNOWN))),
            None => Ok(Self(Some(paths.into_iter().collect()))),
        }
    }

    /// The collection with the fields of the mask alone.
    pub(super) fn apply(&self, from: pb::Collection) -> pb::Collection {
        let Some(fields) = &self.0 else { return from };
        let mut to = pb::Collection::default();
        for field in fields {
            match field.as_str() {
                "id" => to.id.clone_from(&from.id),
                "tenant_id" => to.tenant_id.clone_from(&from.tenant_id),
                "name" => to.name.clone_from(&from.name),
                "slug" => to.slug.clone_from(&from.slug),
                "kind" => to.kind = from.kind,
                "rules" => to.rules.clone_from(&from.rules),
                "rules_hash" => to.rules_hash.clone_from(&from.rules_hash),
                "rules_version" => to.rules_version = from.rules_version,
                "texts" => to.texts.clone_from(&from.texts),
                "keywords" => to.keywords.clone_from(&from.keywords),
                "images" => to.images.clone_from(&from.images),
                "active" => to.active = from.active,
                "effective_active" => to.effective_active = from.effective_active,
                "parent_ids" => to.parent_ids.clone_from(&from.parent_ids),
                "custom_properties" => to.custom_properties.clone_from(&from.custom_properties),
                "catalog_id" => to.catalog_id.clone_from(&from.catalog_id),
                "stats" => to.stats = from.stats,
                "create_time" => to.create_time = from.create_time,
                "update_time" => to.update_time = from.update_time,
                "etag" => to.etag.clone_from(&from.etag),
                _ => {}
            }
        }
        to
    }
}

/// What an update writes: changes of properties, and parents where they change.
pub(super) type Update = (Changes, Option<BTreeSet<CollectionId>>);

/// What the mask takes from the collection.
pub(super) fn update(
    mask: Option<FieldMask>,
    collection: &pb::Collection,
    limits: &Limits,
    violations: &mut Violations,
) -> Update {
    let mut update = Update::default();
    let paths = mask.map(|mask| mask.paths).unwrap_or_default();
    if paths.is_empty() {
        violations.add("update_mask", "", Rule::Required);
    }
    for path in &paths {
        if path == "*" {
            for field in WRITABLE {
                // A kind never changes; repeating the whole collection may leave it out.
                if field != "kind" || collection.kind != 0 {
                    write(field, collection, limits, &mut update, violations);
                }
            }
        } else {
            write(path, collection, limits, &mut update, violations);
        }
    }
    update
}

/// What a new collection is made of: all that may be written, but for the kind and
/// the rules, which it has from the start.
pub(super) fn create(
    collection: &pb::Collection,
    limits: &Limits,
    violations: &mut Violations,
) -> Update {
    let mut update = Update::default();
    for field in WRITABLE {
        if field != "kind" && field != "rules" {
            write(field, collection, limits, &mut update, violations);
        }
    }
    update
}

fn write(
    path: &str,
    from: &pb::Collection,
    limits: &Limits,
    (changes, parents): &mut Update,
    violations: &mut Violations,
) {
    let (field, rest) = match path.split_once('.') {
        Some((field, rest)) => (field, Some(rest)),
        None => (path, None),
    };
    match (field, rest) {
        ("texts", Some(rest)) => return text(rest, path, from, changes, violations),
        ("custom_properties", Some(name)) => {
            return property(name, from, changes, violations);
        }
        (_, Some(_)) => {
            violations.add("update_mask", path, Rule::Unknown(KNOWN));
            return;
        }
        (_, None) => {}
    }
    match field {
        "name" => changes.name = decode::text(&from.name),
        "slug" => changes.slug = decode::slug(&from.slug, limits, violations),
        "kind" => changes.smart = decode::is_smart(from.kind, "kind", violations),
        "rules" => {
            let rules = from.rules.as_ref();
            changes.rules =
                crate::domain::Change::to(rules.and_then(|rules| decode::rules(rules, violations)));
        }
        "texts" => {
            changes.texts = MapChange {
                replace: true,
                entries: decode::texts(&from.texts, violations),
            };
        }
        "keywords" => changes.keywords = Some(from.keywords.clone()),
        "images" => changes.images = Some(decode::images(&from.images, violations)),
        "active" => changes.active = Some(decode::active(from.active, violations)),
        "parent_ids" => *parents = Some(decode::parent_ids(&from.parent_ids, violations)),
        "custom_properties" => {
            let properties = from.custom_properties.as_ref();
            let entries = properties.map(|properties| decode::properties(properties, violations));
            changes.custom_properties = MapChange::to(entries.unwrap_or_default());
        }
        "catalog_id" => changes.catalog_id = decode::text(&from.catalog_id),
        _ if UNWRITABLE.contains(&field) => {}
        _ => violations.add("update_mask", path, Rule::Unknown(KNOWN)),
    }
}

/// `texts.<locale>` or `texts.<locale>.<field>`.
fn text(
    rest: &str,
    path: &str,
    from: &pb::Collection,
    changes: &mut Changes,
    violations: &mut Violations,
) {
    let (name, field) = match rest.split_once('.') {
        Some((name, field)) => (name, Some(field)),
        None => (rest, None),
    };
    let Some(locale) = violations.take(Locale::parse("update_mask", name)) else {
        return;
    };
    let same = |key: &str| Locale::parse("texts", key).is_ok_and(|other| other == locale);
    let text = from.texts.iter().find(|(key, _)| same(key));
    let text = text.map(|(_, text)| text.clone()).unwrap_or_default();
    let entries = &mut changes.texts.entries;
    match field.map(|field| (field, TextField::named(field))) {
        None => entries.extend(decode::locale_texts(&locale, &text)),
        Some((_, Some(field))) => {
            let value = decode::text_field(&text, field);
            let value = (!value.is_empty()).then(|| value.to_owned());
            entries.push(((locale, field), value));
        }
        Some((_, None)) => {
            let known = "the fields of endcap.v1.Text";
            violations.add("update_mask", path, Rule::Unknown(known));
        }
    }
}

fn property(name: &str, from: &pb::Collection, changes: &mut Changes, violations: &mut Violations) {
    let value = from.custom_properties.as_ref();
    let value = value.and_then(|properties| properties.fields.get(name));
    let value = match value.map(|value| decode::property(name, value)).transpose() {
        Ok(value) => value,
        Err(violation) => {
            violations.take::<()>(Err(violation));
            return;
        }
    };
    changes.custom_properties.entries.push((name.into(), value));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Change;

    fn mask(paths: &[&str]) -> Option<FieldMask> {
        Some(FieldMask {
            paths: paths.iter().map(ToString::to_string).collect(),
        })
    }

    fn changes(paths: &[&str], collection: &pb::Collection) -> Result<Update, Vec<String>> {
        let mut violations = Violations::default();
        let limits = crate::config::tests::limits();
        let update = update(mask(paths), collection, &limits, &mut violations);
        match violations.finish() {
            Ok(()) => Ok(update),
            Err(error) => Err(error.violations.iter().map(|v| v.value.clone()).collect()),
        }
    }

    #[test]
    fn only_what_the_mask_names_is_written() {
        let collection = pb::Collection {
            name: "n".into(),
            keywords: vec!["k".into()],
            ..pb::Collection::default()
        };
        let (changes, parents) = changes(&["keywords", "slug", "etag"], &collection).unwrap();
        assert_eq!(changes.keywords, Some(vec!["k".into()]));
        assert_eq!(changes.slug, Change::Clear);
        assert_eq!(changes.name, Change::Keep);
        assert_eq!(parents, None);
    }

    #[test]
    fn one_text_of_one_locale_can_be_named() {
        let text = pb::Text {
            seo_title: "T".into(),
            ..pb::Text::default()
        };
        let collection = pb::Collection {
            texts: [("pt-BR".to_owned(), text)].into(),
            ..pb::Collection::default()
        };
        let (changes, _) = changes(&["texts.pt_br.seo_title"], &collection).unwrap();
        assert!(!changes.texts.replace);
        let locale = Locale::parse("", "pt-BR").unwrap();
        let expected = ((locale, TextField::SeoTitle), Some("T".into()));
        assert_eq!(changes.texts.entries, [expected]);
    }

    #[test]
    fn unknown_paths_are_refused() {
        let collection = pb::Collection::default();
        let odd = ["nme", "name.x", "texts.en.title", "stats.product_count", ""];
        assert_eq!(changes(&odd, &collection).unwrap_err(), odd);
        assert_eq!(changes(&[], &collection).unwrap_err(), [""]);
        assert!(ReadMask::parse(mask(&["nme"])).is_err());
        assert!(ReadMask::parse(mask(&["*"])).is_ok());
    }
}
