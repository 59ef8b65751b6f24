//! Parses the bodies of create and update requests into commands. Unknown fields are ignored, and
//! so are `ruleHash`, `ruleVersion` and `stats`, which the service sets.

use serde_json::Value;

use super::{
    fields::{self, OBJECT, Object},
    object_id, response, rules,
};
use crate::{
    domain::{
        self, Change, Changes, ChildId, ChildType, CollectionId, Constraint, Draft, Image,
        ImageSource, Kind, MapChange, Mutation, ProductId, Result, Slug, TenantId, TextField,
        Violations, collection::NO_RULES, image,
    },
    service::{ChildMutation, CreateCollection, Include, Parents, Settings, UpdateCollection},
};

const TYPES: &str = "manual, smart";
const OBJECT_ID: &str = "a mongodb id";

/// The collection in the body of a create request; `violations` are those of its query.
///
/// # Errors
/// With all violations.
pub(super) fn create(
    body: &Object,
    violations: Violations,
    settings: &Settings,
) -> Result<(TenantId, CreateCollection)> {
    let mut reader = Reader {
        body,
        settings,
        violations,
    };
    let tenant = reader.tenant();
    let mut changes = reader.changes(true);
    let id = reader.collection_id();
    let smart = match body.get("type") {
        None | Some(Value::Null) => false,
        Some(_) => reader.smart().unwrap_or_default(),
    };
    let products = reader.product_ids();
    if smart && products.is_some() {
        let why = "the products of a smart collection follow from its rules";
        reader
            .violations
            .add("productIds", "", Constraint::Forbidden(why));
    }
    let kind = reader.kind(smart, std::mem::take(&mut changes.rules));
    let command = CreateCollection {
        draft: Draft { id, kind, changes },
        parents: Parents::Root,
        products: products
            .unwrap_or_default()
            .into_iter()
            .map(ProductId::from)
            .collect(),
        include: Include::awaiting_rules(true),
        retry: None,
    };
    Ok((fields::finish(reader.violations, tenant)?, command))
}

/// The changes in the body of an update; fields that are absent stay unchanged.
///
/// # Errors
/// With all violations.
pub(super) fn update(
    id: CollectionId,
    body: &Object,
    violations: Violations,
    settings: &Settings,
) -> Result<(TenantId, UpdateCollection)> {
    let mut reader = Reader {
        body,
        settings,
        violations,
    };
    let tenant = reader.tenant();
    let mut command = UpdateCollection::of(id);
    command.include = Include::awaiting_rules(true);
    command.changes = reader.changes(false);
    command.reader = Some(domain::Reader {
        locale: settings.default_locale.clone(),
        image: None,
        drop_echoed: Some(response::drop_echoed),
    });
    if body.contains_key("type") {
        command.changes.smart = reader.smart();
    }
    let products = match body.get("productIds") {
        Some(Value::Null) => Some(Vec::new()),
        _ => reader.product_ids(),
    };
    command.mutations.extend(products.map(|ids| ChildMutation {
        list: ChildType::Product,
        mutation: Mutation::Replace { ids },
    }));
    Ok((fields::finish(reader.violations, tenant)?, command))
}

struct Reader<'a> {
    body: &'a Object,
    settings: &'a Settings,
    violations: Violations,
}

impl Reader<'_> {
    fn tenant(&mut self) -> Option<TenantId> {
        let tenant = fields::tenant(self.body, &mut self.violations);
        fields::alt_type(self.body, &mut self.violations);
        tenant
    }

    /// The properties that create and update have in common. Create requires name and slug; update
    /// can't clear them.
    fn changes(&mut self, creates: bool) -> Changes {
        let named = |field: &str| creates || self.body.contains_key(field);
        let (names_name, names_slug) = (named("name"), named("slug"));
        let mut changes = Changes::default();
        if names_name && let Some(name) = self.name() {
            let key = (self.settings.default_locale.clone(), TextField::DisplayName);
            changes.texts.entries.push((key, Some(name)));
        }
        if names_slug && let Some(slug) = self.slug() {
            changes.slug = Change::Set(slug);
        }
        changes.cover = self.image();
        self.seo(&mut changes.texts);
        changes.rules = rules::read(self.body, &self.settings.limits, &mut self.violations);
        changes
    }

    fn name(&mut self) -> Option<String> {
        let name = fields::required_text(self.body, "name", &mut self.violations)?;
        let max = self.settings.limits.name_chars;
        self.violations.length("name", name, max);
        Some(name.into())
    }

    fn slug(&mut self) -> Option<Slug> {
        let slug = fields::required_text(self.body, "slug", &mut self.violations)?;
        let max = self.settings.limits.name_chars;
        self.violations.take(Slug::parse("slug", slug, max))
    }

    /// Checks the URL here, because the domain would report it only once everything else is valid.
    fn image(&mut self) -> Change<String> {
        let change = fields::optional_text(self.body, "image", "image", &mut self.violations);
        if let Change::Set(url) = &change {
            let image = Image {
                source: Some(ImageSource::Url(url.clone())),
                ..Image::default()
            };
            image::check(&[image], &self.settings.limits, &mut self.violations);
        }
        change
    }

    fn seo(&mut self, texts: &mut MapChange<(crate::domain::Locale, TextField), String>) {
        let all = [
            ("title", "seo.title", TextField::SeoTitle),
            ("description", "seo.description", TextField::SeoDescription),
        ];
        for (name, path, field) in all {
            let change = match self.body.get("seo") {
                None => Change::Keep,
                Some(Value::Null) => Change::Clear,
                Some(Value::Object(seo)) => {
                    fields::optional_text(seo, name, path, &mut self.violations)
                }
                Some(_) => return self.violations.add("seo", "", OBJECT),
            };
            let max = self.settings.limits.text_chars;
            let text = change.set().map_or("", String::as_str);
            self.violations.length(path, text, max);
            let key = (self.settings.default_locale.clone(), field);
            match change {
                Change::Keep => {}
                Change::Set(text) => texts.entries.push((key, Some(text))),
                Change::Clear => texts.entries.push((key, None)),
            }
        }
    }

    /// Whether `type` is smart; `None` if it is invalid.
    fn smart(&mut self) -> Option<bool> {
        let smart = |smart: bool| if smart { "smart" } else { "manual" };
        let name = ("type", "type".to_owned());
        let all = [false, true];
        fields::choice(self.body, name, &all, smart, TYPES, &mut self.violations)
    }

    fn kind(&mut self, smart: bool, rules: Change<crate::domain::Rules>) -> Kind {
        match (smart, rules) {
            (true, Change::Set(rules)) => return Kind::Smart { rules },
            // Invalid, which is reported already.
            (true, Change::Keep) if self.body.contains_key("rules") => {}
            (true, Change::Keep | Change::Clear) => {
                self.violations.add("rules", "", Constraint::Required);
            }
            (false, Change::Set(_)) => {
                self.violations
                    .add("rules", "", Constraint::Forbidden(NO_RULES));
            }
            (false, Change::Keep | Change::Clear) => {}
        }
        Kind::Manual
    }

    fn collection_id(&mut self) -> Option<CollectionId> {
        let id = match self.body.get("collectionId") {
            None | Some(Value::Null) => return None,
            Some(id) => id.as_str().unwrap_or_default(),
        };
        if object_id::is_one(id) {
            return self
                .violations
                .take(CollectionId::parse("collectionId", id));
        }
        self.violations
            .add("collectionId", id, Constraint::Malformed(OBJECT_ID));
        None
    }

    fn product_ids(&mut self) -> Option<Vec<ChildId>> {
        let max = self.settings.limits.mutation_ids;
        fields::ids(
            self.body,
            "productIds",
            max,
            |field, id| ChildId::parse(field, id),
            &mut self.violations,
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::{Error, Locale};

    fn settings() -> Settings {
        Settings {
            limits: crate::domain::Limits::default(),
            default_locale: Locale::trusted("en"),
            locales: Vec::new(),
            check_products: false,
            default_currency: None,
            facts_of_stored: Vec::new(),
            root_names: crate::domain::RootNames::default(),
            memory: crate::memory::Memory::new(crate::memory::MemoryLimits::default()),
            read_cache_size: 0,
        }
    }

    fn with(base: Value, more: Value) -> Object {
        let (Value::Object(mut body), Value::Object(more)) = (base, more) else {
            panic!("bodies are objects");
        };
        body.extend(more);
        body
    }

    fn creating(more: Value) -> Result<CreateCollection> {
        let least = json!({"altId": "loc", "altType": "location", "name": "A", "slug": "a"});
        create(&with(least, more), Violations::default(), &settings()).map(|(_, command)| command)
    }

    fn updating(more: Value) -> Result<UpdateCollection> {
        let least = json!({"altId": "loc", "altType": "LOCATION"});
        let id = CollectionId::trusted("c");
        update(id, &with(least, more), Violations::default(), &settings())
            .map(|(_, command)| command)
    }

    fn fields<T: std::fmt::Debug>(result: Result<T, Error>) -> Vec<String> {
        let violations = result.unwrap_err().violations;
        violations.iter().map(|v| v.field.to_string()).collect()
    }

    #[test]
    fn a_create_defaults_to_a_manual_collection_under_the_root() {
        let command = creating(json!({"ruleHash": 1, "stats": [], "unknown": {}})).unwrap();
        assert_eq!(command.draft.kind, Kind::Manual);
        assert!(matches!(command.parents, Parents::Root));
        assert!(command.draft.id.is_none() && command.products.is_empty());
        let slug = command.draft.changes.slug;
        assert_eq!(slug.set().map(Slug::as_str), Some("a"));
    }

    #[test]
    fn a_create_accepts_null_for_optional_fields() {
        let nulls = json!({
            "collectionId": null, "image": null, "type": null, "rules": null,
            "productIds": null, "seo": null,
        });
        assert!(creating(nulls).is_ok());
    }

    #[test]
    fn rules_require_a_smart_collection_and_product_ids_a_manual_one() {
        let condition = json!({"field": "title", "operator": "equals", "value": "x"});
        let rules = json!({"conditions": [condition]});
        let smart = creating(json!({"type": "smart", "rules": rules})).unwrap();
        assert!(smart.draft.kind.is_smart());
        assert_eq!(
            fields(creating(json!({"type": "manual", "rules": rules}))),
            ["rules"]
        );
        let both = json!({"type": "smart", "rules": rules, "productIds": []});
        assert_eq!(fields(creating(both)), ["productIds"]);
        for none in [
            json!({"type": "smart"}),
            json!({"type": "smart", "rules": {}}),
        ] {
            assert_eq!(fields(creating(none)), ["rules"]);
        }
        let odd = json!({"field": "odd", "operator": "equals", "value": "x"});
        let odd = json!({"type": "smart", "rules": {"conditions": [odd]}});
        assert_eq!(fields(creating(odd)), ["rules.conditions.0.field"]);
    }

    #[test]
    fn all_violations_in_a_create_are_reported_at_once() {
        let odd = json!({
            "altId": "a b", "altType": 1, "name": 2, "slug": "a b", "image": "x",
            "seo": {"title": 1, "description": "d".repeat(70_000)}, "type": "clever",
            "rules": [], "productIds": ["p", 1, "a\tb"], "collectionId": "xyz",
        });
        let expected = [
            "altId",
            "altType",
            "name",
            "slug",
            "Image(0, Url)",
            "seo.title",
            "seo.description",
            "rules",
            "collectionId",
            "type",
            "productIds.1",
            "productIds.2",
        ];
        assert_eq!(fields(creating(odd)), expected);
    }

    #[test]
    fn an_update_changes_only_the_fields_it_names() {
        let nothing = updating(json!({})).unwrap();
        assert!(nothing.mutations.is_empty() && nothing.changes.texts.is_empty());
        assert_eq!(nothing.changes.cover, Change::Keep);
        assert_eq!(nothing.changes.smart, None);

        let cleared = json!({"image": null, "seo": null, "productIds": null, "rules": null});
        let cleared = updating(cleared).unwrap();
        assert_eq!(cleared.changes.cover, Change::Clear);
        assert_eq!(cleared.changes.rules, Change::Clear);
        assert_eq!(cleared.changes.texts.entries.len(), 2);
        assert!(
            cleared
                .changes
                .texts
                .entries
                .iter()
                .all(|(_, text)| text.is_none())
        );
        assert_eq!(
            cleared.mutations[0].mutation,
            Mutation::Replace { ids: Vec::new() }
        );

        let title = updating(json!({"seo": {"title": ""}, "type": "smart"})).unwrap();
        assert_eq!(title.changes.texts.entries.len(), 1);
        assert_eq!(title.changes.smart, Some(true));
    }

    #[test]
    fn an_update_cannot_clear_required_fields() {
        let nulls = json!({"name": null, "slug": "", "type": null});
        assert_eq!(fields(updating(nulls)), ["name", "name", "slug", "type"]);
    }
}
