//! From `endcap.v1` to commands: everything is parsed here, and every violation told.

use std::collections::{BTreeMap, BTreeSet};

use prost_types::{Struct, Value, value::Kind as ValueKind};

use super::{encode, pb};
use crate::domain::{
    Active, Change, ChildId, ChildList, CollectionId, Condition, Field, ImageDraft, ImageSource,
    Json, Kind, Limits, Locale, Logic, Mutation, Operator, Place, Result, Rule, Rules, Slug,
    TextField, Violation, Violations,
};

/// A text, or its clearing where it is empty.
pub(super) fn text(value: &str) -> Change<String> {
    Change::to((!value.is_empty()).then(|| value.to_owned()))
}

/// The slug, or its clearing where it is empty.
pub(super) fn slug(value: &str, limits: &Limits, to: &mut Violations) -> Change<Slug> {
    if value.is_empty() {
        return Change::Clear;
    }
    let slug = to.take(Slug::parse("slug", value, limits.name_chars));
    slug.map_or(Change::Keep, Change::Set)
}

/// The kind of a new collection, with its rules.
pub(super) fn kind(collection: &pb::Collection, to: &mut Violations) -> Kind {
    match is_smart(collection.kind, "kind", to) {
        Some(true) => {
            let rules = match &collection.rules {
                Some(rules) => self::rules(rules, to),
                None => {
                    to.add("rules", "", Rule::Required);
                    None
                }
            };
            rules.map_or(Kind::Manual, |rules| Kind::Smart { rules })
        }
        Some(false) | None => {
            if collection.rules.is_some() {
                let why = "a manual collection has no rules";
                to.add("rules", "", Rule::Forbidden(why));
            }
            Kind::Manual
        }
    }
}

/// Whether the kind is smart; none where it is not said.
pub(super) fn is_smart(value: i32, field: &str, to: &mut Violations) -> Option<bool> {
    match pb::CollectionKind::try_from(value) {
        Ok(pb::CollectionKind::Unspecified) => None,
        Ok(pb::CollectionKind::Manual) => Some(false),
        Ok(pb::CollectionKind::Smart) => Some(true),
        Err(_) => {
            let known = "COLLECTION_KIND_MANUAL, COLLECTION_KIND_SMART";
            to.add(field, &value.to_string(), Rule::Unknown(known));
            None
        }
    }
}

/// Whether it is shown.
pub(super) fn active(value: i32, to: &mut Violations) -> Active {
    match pb::Active::try_from(value) {
        Ok(pb::Active::Yes) => Active::Yes,
        Ok(pb::Active::No) => Active::No,
        Ok(pb::Active::Inherit | pb::Active::Unspecified) => Active::Inherit,
        Err(_) => {
            let known = "ACTIVE_YES, ACTIVE_NO, ACTIVE_INHERIT";
            to.add("active", &value.to_string(), Rule::Unknown(known));
            Active::Inherit
        }
    }
}

/// The rules; none where they have a violation.
pub(super) fn rules(rules: &pb::Rules, to: &mut Violations) -> Option<Rules> {
    let logic = match pb::RulesLogic::try_from(rules.logic) {
        Ok(pb::RulesLogic::And) => Some(Logic::And),
        Ok(pb::RulesLogic::Or) => Some(Logic::Or),
        Ok(pb::RulesLogic::Unspecified) | Err(_) => {
            let known = "RULES_LOGIC_AND, RULES_LOGIC_OR";
            to.add(
                "rules.logic",
                &rules.logic.to_string(),
                Rule::Unknown(known),
            );
            None
        }
    };
    let conditions = rules.conditions.iter().enumerate();
    let conditions: Vec<_> = conditions
        .map(|(at, condition)| self::condition(at, condition, to))
        .collect();
    Some(Rules {
        logic: logic?,
        conditions: conditions.into_iter().collect::<Option<_>>()?,
    })
}

fn condition(at: usize, condition: &pb::Condition, to: &mut Violations) -> Option<Condition> {
    let field = Field::ALL
        .into_iter()
        .find(|field| i32::from(encode::field(*field)) == condition.field);
    let operator = Operator::ALL
        .into_iter()
        .find(|operator| i32::from(encode::operator(*operator)) == condition.operator);
    if field.is_none() {
        let known = "CONDITION_FIELD_TITLE, _VARIANT_TITLE, _PRICE, _INVENTORY";
        let value = condition.field.to_string();
        let field = format!("rules.conditions.{at}.field");
        to.add(field, &value, Rule::Unknown(known));
    }
    if operator.is_none() {
        let known = "CONDITION_OPERATOR_EQUALS, _NOT_EQUALS, _GREATER_THAN, _LESS_THAN, \
                     _CONTAINS, _NOT_CONTAINS, _STARTS_WITH, _ENDS_WITH";
        let value = condition.operator.to_string();
        let field = format!("rules.conditions.{at}.operator");
        to.add(field, &value, Rule::Unknown(known));
    }
    Some(Condition {
        field: field?,
        operator: operator?,
        value: condition.value.clone(),
    })
}

/// The texts of all locales.
pub(super) fn texts(
    texts: &BTreeMap<String, pb::Text>,
    to: &mut Violations,
) -> Vec<((Locale, TextField), Option<String>)> {
    let mut entries = Vec::new();
    for (locale, text) in texts {
        if let Some(locale) = to.take(Locale::parse("texts", locale)) {
            entries.extend(locale_texts(&locale, text));
        }
    }
    entries
}

/// The texts of one locale; an empty one is cleared.
pub(super) fn locale_texts(
    locale: &Locale,
    text: &pb::Text,
) -> impl Iterator<Item = ((Locale, TextField), Option<String>)> {
    TextField::ALL.into_iter().map(move |field| {
        let value = text_field(text, field);
        let value = (!value.is_empty()).then(|| value.to_owned());
        ((locale.clone(), field), value)
    })
}

/// One text of a locale.
pub(super) fn text_field(text: &pb::Text, field: TextField) -> &str {
    match field {
        TextField::DisplayName => &text.display_name,
        TextField::Description => &text.description,
        TextField::LongDescription => &text.long_description,
        TextField::SeoTitle => &text.seo_title,
        TextField::SeoDescription => &text.seo_description,
        TextField::SeoKeywords => &text.seo_keywords,
        TextField::SeoUrlSlug => &text.seo_url_slug,
    }
}

/// The images, each whole.
pub(super) fn images(images: &[pb::Image], to: &mut Violations) -> Vec<ImageDraft> {
    let draft = |(at, image): (usize, &pb::Image)| ImageDraft {
        id: (!image.id.is_empty()).then(|| {
            to.take(CollectionId::parse(&format!("images.{at}.id"), &image.id));
            image.id.clone()
        }),
        must_exist: false,
        source: Change::to(image.source.clone().map(|source| match source {
            pb::image::Source::Path(path) => ImageSource::Path(path),
            pb::image::Source::Url(url) => ImageSource::Url(url),
        })),
        name: text(&image.name),
        alt_text: text(&image.alt_text),
        title_text: text(&image.title_text),
    };
    images.iter().enumerate().map(draft).collect()
}

/// The custom properties, as JSON.
pub(super) fn properties(properties: &Struct, to: &mut Violations) -> Vec<(String, Json)> {
    entries("custom_properties", properties, to)
}

/// The entries of a struct in `field`, as JSON.
pub(super) fn entries(
    field: &str,
    properties: &Struct,
    to: &mut Violations,
) -> Vec<(String, Json)> {
    let mut entries = Vec::new();
    for (name, value) in &properties.fields {
        if let Some(json) = to.take(entry(field, name, value)) {
            entries.push((name.clone(), json));
        }
    }
    entries
}

/// One custom property, as JSON.
pub(super) fn property(name: &str, value: &Value) -> Result<Json, Violation> {
    entry("custom_properties", name, value)
}

fn entry(field: &str, name: &str, value: &Value) -> Result<Json, Violation> {
    match json(value) {
        Some(value) => Ok(Json(value.to_string())),
        None => Err(Violation::new(
            format!("{field}.{name}"),
            "",
            Rule::Malformed("a JSON value: its numbers must be finite"),
        )),
    }
}

fn json(value: &Value) -> Option<serde_json::Value> {
    use serde_json::Value as Json;
    /// The greatest number up to which doubles hold every integer.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    Some(match value.kind.as_ref()? {
        ValueKind::NullValue(_) => Json::Null,
        ValueKind::BoolValue(switch) => Json::Bool(*switch),
        ValueKind::StringValue(text) => Json::String(text.clone()),
        ValueKind::NumberValue(number) if number.fract() == 0.0 && number.abs() <= EXACT => {
            Json::Number((*number as i64).into())
        }
        ValueKind::NumberValue(number) => Json::Number(serde_json::Number::from_f64(*number)?),
        ValueKind::ListValue(list) => {
            Json::Array(list.values.iter().map(json).collect::<Option<_>>()?)
        }
        ValueKind::StructValue(fields) => {
            let fields = fields.fields.iter();
            let fields = fields.map(|(name, value)| Some((name.clone(), json(value)?)));
            Json::Object(fields.collect::<Option<_>>()?)
        }
    })
}

/// Ids of collections.
pub(super) fn collection_ids(
    field: &str,
    ids: &[String],
    to: &mut Violations,
) -> Vec<CollectionId> {
    let ids = ids.iter().enumerate();
    ids.filter_map(|(at, id)| to.take(CollectionId::parse(&format!("{field}.{at}"), id)))
        .collect()
}

/// Ids of parents.
pub(super) fn parent_ids(ids: &[String], to: &mut Violations) -> BTreeSet<CollectionId> {
    collection_ids("parent_ids", ids, to).into_iter().collect()
}

/// Which list of children.
pub(super) fn list(value: i32) -> Result<ChildList, Violation> {
    match pb::ChildList::try_from(value) {
        Ok(pb::ChildList::Products) => Ok(ChildList::Products),
        Ok(pb::ChildList::Collections) => Ok(ChildList::Collections),
        Ok(pb::ChildList::Unspecified) => Err(Violation::new("list", "", Rule::Required)),
        Err(_) => {
            let known = "CHILD_LIST_PRODUCTS, CHILD_LIST_COLLECTIONS";
            Err(Violation::new(
                "list",
                &value.to_string(),
                Rule::Unknown(known),
            ))
        }
    }
}

/// A mutation, the request's `at`th; none where it has a violation.
pub(super) fn mutation(at: usize, mutation: pb::Mutation, to: &mut Violations) -> Option<Mutation> {
    use pb::mutation::Operation;
    let Some(operation) = mutation.operation else {
        to.add(format!("mutations.{at}"), "", Rule::Required);
        return None;
    };
    let at = |field: &str| format!("mutations.{at}.{field}");
    match operation {
        Operation::Append(pb::Append { ids }) => {
            let ids = child_ids(&at("append.ids"), &ids, to)?;
            Some(Mutation::Append { ids })
        }
        Operation::Insert(pb::Insert { index, ids }) => {
            let index = to.take(self::index(&at("insert.index"), index));
            let ids = child_ids(&at("insert.ids"), &ids, to)?;
            Some(Mutation::Insert { index: index?, ids })
        }
        Operation::Remove(pb::Remove { ids }) => {
            let ids = child_ids(&at("remove.ids"), &ids, to)?;
            Some(Mutation::Remove { ids })
        }
        Operation::Move(range) => {
            let from_start = to.take(index(&at("move.from_start"), range.from_start));
            let from_end = to.take(index(&at("move.from_end"), range.from_end));
            let place = to.take(index(&at("move.to"), range.to));
            Some(Mutation::Move {
                from_start: from_start?,
                from_end: from_end?,
                to: place?,
            })
        }
        Operation::MoveIds(pb::MoveIds { ids, place }) => {
            let ids = child_ids(&at("move_ids.ids"), &ids, to);
            let place = to.take(self::place(&at("move_ids"), place));
            Some(Mutation::MoveIds {
                ids: ids?,
                place: place?,
            })
        }
        Operation::Reorder(pb::Reorder { indexes }) => {
            let field = at("reorder.indexes");
            let entry = |(id, place): (String, i64)| {
                let id = to.take(ChildId::parse(&field, &id));
                let place = to.take(index(&format!("{field}.{}", id.as_ref()?), place));
                Some((id?, place?))
            };
            let entries: Vec<_> = indexes.into_iter().map(entry).collect();
            let indexes = entries.into_iter().collect::<Option<_>>()?;
            Some(Mutation::Reorder { indexes })
        }
        Operation::Replace(pb::Replace { ids }) => {
            let ids = child_ids(&at("replace.ids"), &ids, to)?;
            Some(Mutation::Replace { ids })
        }
    }
}

fn place(field: &str, place: Option<pb::move_ids::Place>) -> Result<Place, Violation> {
    use pb::move_ids::Place as Wire;
    match place {
        Some(Wire::Before(id)) => {
            ChildId::parse(&format!("{field}.before"), &id).map(Place::Before)
        }
        Some(Wire::After(id)) => ChildId::parse(&format!("{field}.after"), &id).map(Place::After),
        Some(Wire::Index(at)) => index(&format!("{field}.index"), at).map(Place::Index),
        None => Err(Violation::new(format!("{field}.place"), "", Rule::Required)),
    }
}

pub(super) fn child_ids(field: &str, ids: &[String], to: &mut Violations) -> Option<Vec<ChildId>> {
    let ids: Vec<_> = ids
        .iter()
        .enumerate()
        .map(|(at, id)| to.take(ChildId::parse(&format!("{field}.{at}"), id)))
        .collect();
    ids.into_iter().collect()
}

/// An index, which is never negative.
pub(super) fn index(field: &str, value: i64) -> Result<u64, Violation> {
    u64::try_from(value).map_err(|_| {
        let rule = Rule::OutOfRange {
            min: 0,
            max: i64::MAX,
        };
        Violation::new(field, &value.to_string(), rule)
    })
}
