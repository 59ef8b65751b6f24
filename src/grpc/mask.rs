//! Field masks: the fields that a response includes (`read_mask`), and those that an update writes
//! (`update_mask`, `text_masks`, `custom_property_names`).

use std::{collections::BTreeSet, sync::LazyLock};

use prost_types::FieldMask;

use super::{decode, pb};
use crate::domain::{
    Change, Changes, CollectionId, Constraint, FieldPath, Limits, MapChange, TextField, Violation,
    Violations,
};

/// The names that a read mask may have, for error messages.
static KNOWN: LazyLock<String> =
    LazyLock::new(|| format!("{}, {}, *", WRITABLE.join(", "), UNWRITABLE.join(", ")));
/// The names that an update mask may have.
static UPDATABLE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{}, *; a single locale is named in text_masks, a single custom property in \
         custom_property_names",
        WRITABLE.join(", ")
    )
});
/// The names that a mask of texts may have.
static TEXT_FIELDS: LazyLock<String> = LazyLock::new(|| {
    let names = TextField::ALL.map(TextField::name).join(", ");
    format!("{names}, keywords, *")
});
const WHOLE: &str = "update_mask already names the whole field";

/// The fields that clients may write.
const WRITABLE: [&str; 11] = [
    "internal_name",
    "slug",
    "kind",
    "rules",
    "sort",
    "texts",
    "images",
    "active",
    "parent_ids",
    "custom_properties",
    "catalog_id",
];

/// The fields that only the server writes, and the id, which identifies the collection. They are
/// accepted in an update mask and ignored, so that clients can send back what they read.
const UNWRITABLE: [&str; 10] = [
    "id",
    "tenant_id",
    "rules_status",
    "rule_entry_counts",
    "effective_active",
    "stats",
    "create_time",
    "update_time",
    "etag",
    "properties_etag",
];

/// The fields that a response includes; `None` for all of them.
#[derive(Clone, Debug, Default)]
pub(super) struct ReadMask(Option<BTreeSet<String>>);

impl ReadMask {
    /// Parses a mask, whose paths name top-level fields only. Missing, empty or `*` means all
    /// fields.
    pub(super) fn parse(mask: Option<FieldMask>) -> Result<Self, Violation> {
        let paths = mask.map(|mask| mask.paths).unwrap_or_default();
        if paths.is_empty() || paths.iter().any(|path| path == "*") {
            return Ok(Self(None));
        }
        let known = |path: &&String| {
            WRITABLE.contains(&path.as_str()) || UNWRITABLE.contains(&path.as_str())
        };
        match paths.iter().find(|path| !known(path)) {
            Some(path) => Err(Violation::new(
                "read_mask",
                path,
                Constraint::Unknown(&KNOWN),
            )),
            None => Ok(Self(Some(paths.into_iter().collect()))),
        }
    }

    /// A key for the encoded form of a response, which does not depend on the order of the paths.
    pub(super) fn name(&self) -> String {
        match &self.0 {
            None => "grpc".into(),
            Some(fields) => format!("grpc {fields:?}"),
        }
    }

    /// Returns the collection with only the fields of the mask.
    pub(super) fn apply(&self, from: pb::Collection) -> pb::Collection {
        let Some(fields) = &self.0 else { return from };
        let mut to = pb::Collection::default();
        for field in fields {
            match field.as_str() {
                "id" => to.id.clone_from(&from.id),
                "tenant_id" => to.tenant_id.clone_from(&from.tenant_id),
                "internal_name" => to.internal_name.clone_from(&from.internal_name),
                "slug" => to.slug.clone_from(&from.slug),
                "kind" => to.kind = from.kind,
                "rules" => to.rules.clone_from(&from.rules),
                "rules_status" => to.rules_status.clone_from(&from.rules_status),
                "sort" => to.sort.clone_from(&from.sort),
                "rule_entry_counts" => to.rule_entry_counts = from.rule_entry_counts,
                "texts" => to.texts.clone_from(&from.texts),
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
                "properties_etag" => to.properties_etag.clone_from(&from.properties_etag),
                _ => {}
            }
        }
        to
    }
}

/// What an update writes: the changed properties, and the new parents if they are written.
pub(super) type Update = (Changes, Option<BTreeSet<CollectionId>>);

/// What an update writes, according to the masks of the request.
pub(super) fn update(
    request: &pb::UpdateCollectionRequest,
    collection: &pb::Collection,
    limits: &Limits,
    violations: &mut Violations,
) -> Update {
    let mut update = Update::default();
    let paths: BTreeSet<&str> = match &request.update_mask {
        Some(mask) => mask.paths.iter().map(String::as_str).collect(),
        None => BTreeSet::new(),
    };
    let (texts, names) = (&request.text_masks, &request.custom_property_names);
    if paths.is_empty() && texts.is_empty() && names.is_empty() {
        violations.add("update_mask", "", Constraint::Required);
    }
    let names_all = |field| paths.contains("*") || paths.contains(field);
    if !texts.is_empty() && names_all("texts") {
        violations.add("text_masks", "", Constraint::Forbidden(WHOLE));
    }
    if !names.is_empty() && names_all("custom_properties") {
        violations.add("custom_property_names", "", Constraint::Forbidden(WHOLE));
    }
    for path in &paths {
        if *path == "*" {
            for field in WRITABLE {
                // The kind is immutable here, so `*` ignores it if the client left it out.
                if field != "kind" || collection.kind != 0 {
                    write(field, collection, limits, &mut update, violations);
                }
            }
        } else {
            write(path, collection, limits, &mut update, violations);
        }
    }
    text(request, collection, limits, &mut update.0, violations);
    properties(names, collection, limits, &mut update.0, violations);
    update
}

/// What a new collection consists of: all writable fields except the kind and the rules, which are
/// part of the create command itself.
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
    match path {
        "internal_name" => changes.internal_name = decode::text(&from.internal_name),
        "slug" => changes.slug = decode::slug(&from.slug, limits, violations),
        "kind" => changes.smart = decode::is_smart(from.kind, "collection.kind", violations),
        "rules" => {
            let rules = from.rules.as_ref();
            changes.rules =
                Change::to(rules.and_then(|rules| decode::rules(rules, limits, violations)));
        }
        "sort" => {
            let sort = from.sort.as_ref();
            changes.sort = Change::to(sort.and_then(|sort| decode::sort(sort, violations)));
        }
        "texts" => {
            let (entries, keywords) = decode::texts(&from.texts, limits, violations);
            changes.texts = MapChange {
                replace: true,
                entries,
            };
            changes.keywords = keywords;
        }
        "images" => changes.images = Some(decode::images(&from.images, limits, violations)),
        "active" => changes.active = Some(decode::active(from.active, violations)),
        "parent_ids" => {
            *parents = Some(decode::parent_ids(&from.parent_ids, limits, violations));
        }
        "custom_properties" => {
            let properties = from.custom_properties.as_ref();
            let field = FieldPath::CustomProperties;
            let entries = properties.map(|all| decode::entries(&field, all, violations));
            changes.custom_properties = MapChange::to(entries.unwrap_or_default());
        }
        "catalog_id" => changes.catalog_id = decode::text(&from.catalog_id),
        _ if UNWRITABLE.contains(&path) => {}
        _ => violations.add("update_mask", path, Constraint::Unknown(&UPDATABLE)),
    }
}

/// Applies `text_masks`: single texts of single locales.
fn text(
    request: &pb::UpdateCollectionRequest,
    from: &pb::Collection,
    limits: &Limits,
    changes: &mut Changes,
    violations: &mut Violations,
) {
    if request.text_masks.is_empty() {
        return;
    }
    let masks = decode::text_masks(&request.text_masks, limits, violations);
    let (texts, keywords) = decode::texts(&from.texts, limits, violations);
    for (locale, mask) in masks {
        if mask.paths.is_empty() {
            let form = Constraint::Malformed("given at least one path");
            violations.add("text_masks", locale.as_str(), form);
        }
        for path in mask.paths.iter().collect::<BTreeSet<_>>() {
            let is_all = path == "*";
            let named = TextField::ALL
                .into_iter()
                .filter(|field| is_all || field.name() == path);
            let named: Vec<_> = named.collect();
            if named.is_empty() && path != "keywords" {
                violations.add("text_masks", path, Constraint::Unknown(&TEXT_FIELDS));
            }
            for field in named {
                let key = (locale.clone(), field);
                let value = texts.iter().find(|(other, _)| *other == key);
                let value = value.and_then(|(_, value)| value.clone());
                changes.texts.entries.push((key, value));
            }
            if is_all || path == "keywords" {
                let words = keywords.iter().find(|(other, _)| *other == locale);
                let words = words.map(|(_, words)| words.clone());
                let words = words.unwrap_or_default();
                changes.keywords.push((locale.clone(), words));
            }
        }
    }
}

/// Applies `custom_property_names`: single custom properties.
fn properties(
    names: &[String],
    from: &pb::Collection,
    limits: &Limits,
    changes: &mut Changes,
    violations: &mut Violations,
) {
    let max = limits.custom_properties;
    violations.count("custom_property_names", names.len(), max);
    if names.len() > max {
        return;
    }
    let given = from.custom_properties.as_ref();
    for name in names {
        let value = given.and_then(|properties| properties.fields.get(name));
        let field = FieldPath::CustomProperties;
        let value = value.map(|value| decode::entry(&field, name, value));
        match value.transpose() {
            Ok(value) => changes
                .custom_properties
                .entries
                .push((name.clone(), value)),
            Err(violation) => {
                violations.take::<()>(Err(violation));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Locale;

    fn mask(paths: &[&str]) -> Option<FieldMask> {
        Some(FieldMask {
            paths: paths.iter().map(ToString::to_string).collect(),
        })
    }

    fn updated(
        request: &pb::UpdateCollectionRequest,
        collection: &pb::Collection,
    ) -> Result<Update, Vec<String>> {
        let mut violations = Violations::default();
        let update = update(request, collection, &Limits::default(), &mut violations);
        match violations.finish() {
            Ok(()) => Ok(update),
            Err(error) => Err(error.violations.iter().map(|v| v.value.clone()).collect()),
        }
    }

    fn changes(paths: &[&str], collection: &pb::Collection) -> Result<Update, Vec<String>> {
        let request = pb::UpdateCollectionRequest {
            update_mask: mask(paths),
            ..pb::UpdateCollectionRequest::default()
        };
        updated(&request, collection)
    }

    #[test]
    fn only_fields_in_the_mask_are_written() {
        let collection = pb::Collection {
            internal_name: "n".into(),
            catalog_id: "c".into(),
            ..pb::Collection::default()
        };
        let (changes, parents) = changes(&["catalog_id", "slug", "etag"], &collection).unwrap();
        assert_eq!(changes.catalog_id, Change::Set("c".into()));
        assert_eq!(changes.slug, Change::Clear);
        assert_eq!(changes.internal_name, Change::Keep);
        assert_eq!(parents, None);
    }

    #[test]
    fn a_text_mask_selects_fields_of_one_locale() {
        let text = pb::LocalizedText {
            seo_title: "T".into(),
            keywords: vec!["k".into()],
            ..pb::LocalizedText::default()
        };
        let collection = pb::Collection {
            texts: [("pt-BR".to_owned(), text)].into(),
            ..pb::Collection::default()
        };
        let request = |paths: &[&str]| pb::UpdateCollectionRequest {
            text_masks: [("pt_br".to_owned(), mask(paths).unwrap())].into(),
            ..pb::UpdateCollectionRequest::default()
        };
        let (changes, _) = updated(&request(&["seo_title"]), &collection).unwrap();
        assert!(!changes.texts.replace);
        let locale = Locale::parse("pt-BR").unwrap();
        let expected = ((locale.clone(), TextField::SeoTitle), Some("T".into()));
        assert_eq!(changes.texts.entries, [expected]);
        assert!(changes.keywords.is_empty());
        let (changes, _) = updated(&request(&["*"]), &collection).unwrap();
        assert_eq!(changes.texts.entries.len(), TextField::ALL.len());
        assert_eq!(changes.keywords, [(locale, vec!["k".to_owned()])]);
        assert_eq!(
            updated(&request(&["title"]), &collection).unwrap_err(),
            ["title"]
        );
        assert_eq!(updated(&request(&[]), &collection).unwrap_err(), ["pt-BR"]);
    }

    #[test]
    fn custom_properties_are_named_literally() {
        let string = |text: &str| prost_types::Value {
            kind: Some(prost_types::value::Kind::StringValue(text.into())),
        };
        let fields = [("seasonName".to_owned(), string("winter"))];
        let collection = pb::Collection {
            custom_properties: Some(prost_types::Struct {
                fields: fields.into(),
            }),
            ..pb::Collection::default()
        };
        let mut request = pb::UpdateCollectionRequest {
            custom_property_names: vec!["seasonName".into(), "gone".into()],
            ..pb::UpdateCollectionRequest::default()
        };
        let (changes, _) = updated(&request, &collection).unwrap();
        let entries = changes.custom_properties.entries;
        let names: Vec<_> = entries
            .iter()
            .map(|(name, v)| (&**name, v.is_some()))
            .collect();
        assert_eq!(names, [("seasonName", true), ("gone", false)]);
        for both in ["*", "custom_properties"] {
            request.update_mask = mask(&[both]);
            assert!(updated(&request, &collection).is_err());
        }
    }

    #[test]
    fn unknown_and_dotted_paths_are_refused() {
        let collection = pb::Collection::default();
        let odd = [
            "",
            "custom_properties.season_name",
            "internal_name.x",
            "nme",
            "stats.product_count",
            "texts.en.seo_title",
        ];
        assert_eq!(changes(&odd, &collection).unwrap_err(), odd);
        assert_eq!(changes(&[], &collection).unwrap_err(), [""]);
        assert!(ReadMask::parse(mask(&["nme"])).is_err());
        assert!(ReadMask::parse(mask(&["*"])).is_ok());
    }
}
