//! Decoding: from messages of `endcap.v1` to commands and domain types. Everything is parsed here,
//! and all violations of a request are collected, each with the path of its field.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use prost_types::{FieldMask, Struct, Value, value::Kind as ValueKind};

use super::{encode, pb};
use crate::domain::{
    Active, Change, ChildId, ChildType, CollectionFilter, CollectionId, Combinator, Condition,
    Consistency, Constraint, Etag, Field, FieldPath, Group, ImageDraft, ImageSource, ImageText,
    Json, Kind, Limits, Locale, MapChange, Mutation, OnDuplicate, OnMissing, Operand, Operator,
    Place, Position, Precondition, ProductId, ReadEtag, Result, Rule, Rules, Slug, Sort, SortBy,
    TextField, Timestamp, Violation, Violations, collection::NO_RULES, field::RulePart,
    image::ImagePart, rules::condition::MAX_PATH_CHARS,
};

/// The change that sets a text; an empty one clears it.
pub(super) fn text(value: &str) -> Change<String> {
    Change::to((!value.is_empty()).then(|| value.to_owned()))
}

/// The change that sets the slug; an empty one clears it.
pub(super) fn slug(value: &str, limits: &Limits, to: &mut Violations) -> Change<Slug> {
    if value.is_empty() {
        return Change::Clear;
    }
    let slug = to.take(Slug::parse(FieldPath::Slug, value, limits.name_chars));
    slug.map_or(Change::Keep, Change::Set)
}

/// The kind of a new collection, with its rules.
pub(super) fn kind(collection: &pb::Collection, limits: &Limits, to: &mut Violations) -> Kind {
    let root = FieldPath::Rules(Vec::new());
    match (
        is_smart(collection.kind, "collection.kind", to),
        &collection.rules,
    ) {
        (Some(true), Some(rules)) => match self::rules(rules, limits, to) {
            Some(rules) => Kind::Smart { rules },
            None => Kind::Manual,
        },
        (Some(true), None) => {
            to.add(root, "", Constraint::Required);
            Kind::Manual
        }
        (Some(false) | None, Some(_)) => {
            to.add(root, "", Constraint::Forbidden(NO_RULES));
            Kind::Manual
        }
        (Some(false) | None, None) => Kind::Manual,
    }
}

/// Whether the kind is smart; `None` if it is unspecified or unknown.
pub(super) fn is_smart(value: i32, field: &str, to: &mut Violations) -> Option<bool> {
    match pb::CollectionKind::try_from(value) {
        Ok(pb::CollectionKind::Unspecified) => None,
        Ok(pb::CollectionKind::Manual) => Some(false),
        Ok(pb::CollectionKind::Smart) => Some(true),
        Err(_) => {
            let known = "COLLECTION_KIND_MANUAL, COLLECTION_KIND_SMART";
            to.add(field, &value.to_string(), Constraint::Unknown(known));
            None
        }
    }
}

/// The visibility of a collection; unspecified means that it inherits it.
pub(super) fn active(value: i32, to: &mut Violations) -> Active {
    match pb::Active::try_from(value) {
        Ok(pb::Active::Yes) => Active::Yes,
        Ok(pb::Active::No) => Active::No,
        Ok(pb::Active::Inherit | pb::Active::Unspecified) => Active::Inherit,
        Err(_) => {
            let known = "ACTIVE_YES, ACTIVE_NO, ACTIVE_INHERIT";
            to.add(
                "collection.active",
                &value.to_string(),
                Constraint::Unknown(known),
            );
            Active::Inherit
        }
    }
}

/// Fills in the setting `default_currency` where a sort by price names no currency.
pub(super) fn fill_currency(collection: &mut pb::Collection, default: Option<&str>) {
    if let (Some(sort), Some(default)) = (&mut collection.sort, default)
        && sort.key() == pb::ProductSortKey::Price
        && sort.currency.is_empty()
    {
        sort.currency = default.into();
    }
}

/// The sort of a smart collection's products; `None` if it has a violation.
pub(super) fn sort(sort: &pb::ProductSort, to: &mut Violations) -> Option<Sort> {
    const KNOWN: &str = "PRODUCT_SORT_KEY_CREATED, _TITLE, _PRICE, _INVENTORY, _ATTRIBUTE";
    let key = "collection.sort.key";
    let by = match pb::ProductSortKey::try_from(sort.key) {
        Ok(pb::ProductSortKey::Created) => SortBy::Created,
        Ok(pb::ProductSortKey::Title) => SortBy::Title,
        Ok(pb::ProductSortKey::Price) => SortBy::Price {
            currency: sort.currency.clone(),
        },
        Ok(pb::ProductSortKey::Inventory) => SortBy::Inventory,
        Ok(pb::ProductSortKey::Attribute) => SortBy::Attribute(sort.attribute_path.clone()),
        Ok(pb::ProductSortKey::Unspecified) => {
            to.add(key, "", Constraint::Required);
            return None;
        }
        Err(_) => {
            to.add(key, &sort.key.to_string(), Constraint::Unknown(KNOWN));
            return None;
        }
    };
    let (currency, path) = (&sort.currency, &sort.attribute_path);
    let (is_price, is_attribute) = match by {
        SortBy::Price { .. } => (true, false),
        SortBy::Attribute(_) => (false, true),
        SortBy::Created | SortBy::Title | SortBy::Inventory => (false, false),
    };
    for (field, value, is_for_key) in [
        ("collection.sort.currency", currency, is_price),
        ("collection.sort.attribute_path", path, is_attribute),
    ] {
        match (is_for_key, value.is_empty()) {
            (true, true) if is_price => {
                let form =
                    "an ISO 4217 code such as EUR, unless the setting default_currency is set";
                to.add(field, "", Constraint::Malformed(form));
            }
            (true, true) => to.add(field, "", Constraint::Required),
            (false, false) => {
                let why = "the sort key does not use it";
                to.add(field, value, Constraint::Forbidden(why));
            }
            (true, false) | (false, true) => {}
        }
    }
    to.length("collection.sort.attribute_path", path, MAX_PATH_CHARS);
    Some(Sort {
        by,
        descending: sort.descending,
        out_of_stock_last: sort.out_of_stock_last,
    })
}

/// The rules; `None` if they have a violation. A group that exceeds the limit on rules is not
/// decoded.
pub(super) fn rules(rules: &pb::Rules, limits: &Limits, to: &mut Violations) -> Option<Rules> {
    let mut budget = limits.conditions;
    let Some(root) = &rules.root else {
        to.add(FieldPath::Rules(Vec::new()), "", Constraint::Required);
        return None;
    };
    let root = rule(root, &mut Vec::new(), &mut budget, to)?;
    Some(Rules { root })
}

/// One rule, found at `path` below the root. `budget` is how many more rules may be decoded.
fn rule(
    rule: &pb::Rule,
    path: &mut Vec<RulePart>,
    budget: &mut usize,
    to: &mut Violations,
) -> Option<Rule> {
    use pb::rule::Rule as Wire;
    let (combinator, group) = match &rule.rule {
        Some(Wire::AllOf(group)) => (Combinator::All, group),
        Some(Wire::AnyOf(group)) => (Combinator::Any, group),
        Some(Wire::NoneOf(group)) => (Combinator::None, group),
        Some(Wire::Condition(condition)) => {
            return self::condition(condition, path, to).map(Rule::Condition);
        }
        None => {
            let form = Constraint::Malformed("set to one of all_of, any_of, none_of, condition");
            to.add(FieldPath::Rules(path.clone()), "", form);
            return None;
        }
    };
    let (count, max) = (group.rules.len(), *budget);
    if count > max {
        let field = FieldPath::Rules([path, &[RulePart::Group(combinator)][..]].concat());
        to.add(field, "", Constraint::TooMany { count, max });
        return None;
    }
    *budget -= count;
    let mut rules = Some(Vec::with_capacity(count));
    for (index, inner) in group.rules.iter().enumerate() {
        path.push(RulePart::Rule(combinator, index));
        let inner = self::rule(inner, path, budget, to);
        path.pop();
        rules = rules.zip(inner).map(|(mut rules, inner)| {
            rules.push(inner);
            rules
        });
    }
    Some(Rule::Group(Group {
        combinator,
        same_row: group.same_row,
        rules: rules?,
    }))
}

const FIELDS: &str = "PRODUCT_FIELD_TITLE, _VARIANT_TITLE, _PRICE, _INVENTORY, _SLUG, _TYPE, \
                      _VENDOR, _TAG, _STATUS, _AVAILABLE, _PRICE_CURRENCY, _COMPARE_AT_PRICE, \
                      _CREATED, _UPDATED, _PRODUCT_ID, _COLLECTION";
const OPERATORS: &str = "CONDITION_OPERATOR_EQUALS, _NOT_EQUALS, _GREATER_THAN, _LESS_THAN, \
                         _CONTAINS, _NOT_CONTAINS, _STARTS_WITH, _ENDS_WITH, _IN, _NOT_IN, \
                         _GREATER_OR_EQUAL, _LESS_OR_EQUAL, _BETWEEN, _IS_SET, _IS_NOT_SET, \
                         _OLDER_THAN, _NEWER_THAN";

/// A typed operand.
///
/// # Errors
/// If no value is set, or if a time or a duration is out of range.
fn operand(field: FieldPath, operand: &pb::Operand) -> Result<Operand, Violation> {
    use pb::operand::Value as Wire;
    let malformed = |shown: &str, form| Violation::new(field, shown, Constraint::Malformed(form));
    match &operand.value {
        None => Err(malformed("", "a value with one of its fields set")),
        Some(Wire::Text(text)) => Ok(Operand::Text(text.clone())),
        Some(Wire::Decimal(number)) => Ok(Operand::Decimal(number.clone())),
        Some(Wire::Boolean(boolean)) => Ok(Operand::Boolean(*boolean)),
        Some(Wire::Time(time)) => self::time(time).map(Operand::Time).ok_or_else(|| {
            let form = "a time from the year 1 to the year 9999, with 0 to 999999999ns";
            malformed(&parts(time.seconds, time.nanos), form)
        }),
        Some(Wire::Duration(age)) => duration(age)
            .map(|age| Duration::new(age.as_secs(), age.subsec_micros() * 1_000))
            .map(Operand::Duration)
            .ok_or_else(|| {
                let form = "a duration from 0s to 3153600000s, with 0 to 999999999ns";
                malformed(&parts(age.seconds, age.nanos), form)
            }),
    }
}

/// A duration; `None` if it is invalid or negative. The conversion of prost-types is not used, as it
/// accepts some invalid ones, and overflows for others.
fn duration(duration: &prost_types::Duration) -> Option<Duration> {
    let seconds = u64::try_from(duration.seconds).ok()?;
    let nanos = u32::try_from(duration.nanos).ok()?;
    (nanos < 1_000_000_000).then(|| Duration::new(seconds, nanos))
}

/// How errors show a time or a duration that may be invalid.
fn parts(seconds: i64, nanos: i32) -> String {
    match nanos {
        0 => format!("{seconds}s"),
        _ => format!("{seconds}s and {nanos}ns"),
    }
}

/// A time, truncated to microseconds; `None` if it is out of Protobuf's range.
pub(super) fn time(time: &prost_types::Timestamp) -> Option<Timestamp> {
    /// From year 1 to year 9999, in Unix seconds.
    const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
    let is_valid = SECONDS.contains(&time.seconds) && (0..1_000_000_000).contains(&time.nanos);
    is_valid.then(|| {
        let micros = time.seconds * 1_000_000 + i64::from(time.nanos / 1_000);
        Timestamp::from_micros(micros)
    })
}

fn condition(
    condition: &pb::Condition,
    path: &[RulePart],
    to: &mut Violations,
) -> Option<Condition> {
    let at = |part| FieldPath::Rules([path, &[part]].concat());
    let field = match &condition.target {
        None => {
            to.add(at(RulePart::Field), "", Constraint::Required);
            None
        }
        Some(pb::condition::Target::AttributePath(path)) if path.is_empty() => {
            let form = "set: an attribute_path is a path in the attributes, such as color";
            to.add(at(RulePart::Field), "", Constraint::Malformed(form));
            None
        }
        Some(pb::condition::Target::AttributePath(path)) => Some(Field::Attribute(path.clone())),
        Some(pb::condition::Target::Field(number)) => {
            let mut named = Field::NAMED.into_iter();
            let field = named.find(|known| i32::from(encode::field(known)) == *number);
            if field.is_none() {
                let unknown = Constraint::Unknown(FIELDS);
                to.add(at(RulePart::Field), &number.to_string(), unknown);
            }
            field
        }
    };
    let operator = Operator::ALL
        .into_iter()
        .find(|operator| i32::from(encode::operator(*operator)) == condition.operator);
    match condition.operator {
        0 => to.add(at(RulePart::Operator), "", Constraint::Required),
        odd if operator.is_none() => {
            let unknown = Constraint::Unknown(OPERATORS);
            to.add(at(RulePart::Operator), &odd.to_string(), unknown);
        }
        _ => {}
    }
    let operands = condition.operands.iter();
    let operands = operands.map(|one| operand(at(RulePart::Operand), one));
    let operands = to.take(operands.collect::<Result<Vec<_>, _>>());
    Some(Condition {
        field: field?,
        operator: operator?,
        operands: operands?,
    })
}

/// The localized content of a collection: its texts, and its keywords by locale.
pub(super) type Content = (
    Vec<((Locale, TextField), Option<String>)>,
    Vec<(Locale, Vec<String>)>,
);

/// Decodes the localized content of all locales; it replaces what was stored.
pub(super) fn texts(
    texts: &BTreeMap<String, pb::LocalizedText>,
    limits: &Limits,
    to: &mut Violations,
) -> Content {
    let (mut entries, mut keywords) = Content::default();
    for (locale, text) in locales(FieldPath::Texts, texts, limits, to) {
        entries.extend(locale_texts(&locale, text));
        keywords.push((locale, text.keywords.clone()));
    }
    (entries, keywords)
}

/// The entries of a map that is keyed by locale. Two spellings of the same locale are a violation.
/// If the map has too many entries, none of them is decoded.
fn locales<'a, T>(
    field: FieldPath,
    map: &'a BTreeMap<String, T>,
    limits: &Limits,
    to: &mut Violations,
) -> Vec<(Locale, &'a T)> {
    to.count(field.clone(), map.len(), limits.locales);
    if map.len() > limits.locales {
        return Vec::new();
    }
    let mut seen = BTreeSet::new();
    let mut found = Vec::with_capacity(map.len());
    for (name, value) in map {
        let locale = match Locale::parse(name) {
            Ok(locale) => locale,
            Err(constraint) => {
                to.add(field.clone(), name, constraint);
                continue;
            }
        };
        if !seen.insert(locale.clone()) {
            to.add(field.clone(), name, Constraint::Repeated);
        }
        found.push((locale, value));
    }
    found
}

/// The texts of one locale; an empty string clears its text.
pub(super) fn locale_texts(
    locale: &Locale,
    text: &pb::LocalizedText,
) -> impl Iterator<Item = ((Locale, TextField), Option<String>)> {
    TextField::ALL.into_iter().map(move |field| {
        let value = text_field(text, field);
        let value = (!value.is_empty()).then(|| value.to_owned());
        ((locale.clone(), field), value)
    })
}

/// The value of one localized text field.
pub(super) fn text_field(text: &pb::LocalizedText, field: TextField) -> &str {
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

/// The field masks of `text_masks`, by locale.
pub(super) fn text_masks<'a>(
    masks: &'a BTreeMap<String, FieldMask>,
    limits: &Limits,
    to: &mut Violations,
) -> Vec<(Locale, &'a FieldMask)> {
    locales("text_masks".into(), masks, limits, to)
}

/// The images of a collection. If there are too many, none of them is decoded.
pub(super) fn images(
    images: &[pb::Image],
    limits: &Limits,
    to: &mut Violations,
) -> Vec<ImageDraft> {
    to.count(FieldPath::Images, images.len(), limits.images);
    if images.len() > limits.images {
        return Vec::new();
    }
    let draft = |(at, image): (usize, &pb::Image)| ImageDraft {
        id: (!image.id.is_empty()).then(|| {
            let field = FieldPath::Image(at, ImagePart::Id);
            to.take(CollectionId::parse(field, &image.id));
            image.id.clone()
        }),
        must_exist: false,
        source: Change::to(image.source.clone().map(|source| match source {
            pb::image::Source::Path(path) => ImageSource::Path(path),
            pb::image::Source::Url(url) => ImageSource::Url(url),
        })),
        file_name: text(&image.file_name),
        texts: {
            let field = FieldPath::Image(at, ImagePart::Texts);
            let texts = locales(field, &image.texts, limits, to).into_iter();
            MapChange::to(texts.flat_map(|(locale, text)| {
                ImageText::ALL.map(|part| {
                    let value = match part {
                        ImageText::AltText => &text.alt_text,
                        ImageText::Title => &text.title,
                    };
                    ((locale.clone(), part), value.clone())
                })
            }))
        },
    };
    images.iter().enumerate().map(draft).collect()
}

/// The entries of a `Struct`, as JSON; violations name `field`.
pub(super) fn entries(
    field: &FieldPath,
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

/// One entry of a `Struct`, as JSON; violations name `field`.
pub(super) fn entry(field: &FieldPath, name: &str, value: &Value) -> Result<Json, Violation> {
    match json(value) {
        Some(value) => Ok(Json(value.to_string())),
        None => {
            let form = "a JSON value: its numbers must be finite";
            let constraint = Constraint::Malformed(form);
            Err(Violation::new(field.clone(), name, constraint))
        }
    }
}

fn json(value: &Value) -> Option<serde_json::Value> {
    use serde_json::Value as Json;
    /// 2^53: up to here a double holds every integer exactly.
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

/// Ids of collections. If there are too many, none of them is decoded.
pub(super) fn collection_ids(
    field: &str,
    ids: &[String],
    max: usize,
    to: &mut Violations,
) -> Vec<CollectionId> {
    to.count(field, ids.len(), max);
    if ids.len() > max {
        return Vec::new();
    }
    let ids = ids.iter().enumerate();
    ids.filter_map(|(at, id)| to.take(CollectionId::parse(format!("{field}[{at}]"), id)))
        .collect()
}

/// The ids of a collection's parents.
pub(super) fn parent_ids(
    ids: &[String],
    limits: &Limits,
    to: &mut Violations,
) -> BTreeSet<CollectionId> {
    let ids = collection_ids("collection.parent_ids", ids, limits.parents, to);
    ids.into_iter().collect()
}

/// The type of children, which selects one of a collection's two child lists.
pub(super) fn child_type(value: i32) -> Result<ChildType, Violation> {
    match pb::ChildType::try_from(value) {
        Ok(pb::ChildType::Product) => Ok(ChildType::Product),
        Ok(pb::ChildType::Collection) => Ok(ChildType::Collection),
        Ok(pb::ChildType::Unspecified) => {
            Err(Violation::new("child_type", "", Constraint::Required))
        }
        Err(_) => {
            let known = "CHILD_TYPE_PRODUCT, CHILD_TYPE_COLLECTION";
            let constraint = Constraint::Unknown(known);
            Err(Violation::new("child_type", &value.to_string(), constraint))
        }
    }
}

/// The mutations of a child list. If there are too many, or they name too many ids in total, none
/// of them is decoded.
pub(super) fn mutations(
    mutations: Vec<pb::ChildMutation>,
    list: ChildType,
    limits: &Limits,
    to: &mut Violations,
) -> Vec<Mutation> {
    to.count(FieldPath::Mutations, mutations.len(), limits.mutations);
    let count = mutations.iter().map(id_count).sum();
    to.count(FieldPath::MutationIds, count, limits.mutation_ids);
    if mutations.is_empty() {
        to.add(FieldPath::Mutations, "", Constraint::Empty);
    }
    if mutations.len() > limits.mutations || count > limits.mutation_ids {
        return Vec::new();
    }
    let mutations = mutations.into_iter().enumerate();
    let mutations = mutations.map(|(at, one)| mutation(at, one, list, to));
    // Collected before flattening, so that the violations of all of them are reported.
    let mutations: Vec<_> = mutations.collect();
    mutations.into_iter().flatten().collect()
}

fn id_count(mutation: &pb::ChildMutation) -> usize {
    use pb::child_mutation::Operation;
    match &mutation.operation {
        Some(Operation::Append(append)) => append.ids.len(),
        Some(Operation::Insert(insert)) => insert.ids.len(),
        Some(Operation::Remove(remove)) => remove.ids.len(),
        Some(Operation::MoveIds(moved)) => moved.ids.len(),
        Some(Operation::Reorder(reorder)) => reorder.placements.len(),
        Some(Operation::Replace(replace)) => replace.ids.len(),
        Some(Operation::MoveRange(_)) | None => 0,
    }
}

/// The mutation at index `at` of the request; `None` if it has a violation.
fn mutation(
    at: usize,
    mutation: pb::ChildMutation,
    list: ChildType,
    to: &mut Violations,
) -> Option<Mutation> {
    use pb::child_mutation::Operation;
    let Some(operation) = mutation.operation else {
        let form = "set to one of append, insert, remove, move_range, move_ids, reorder, replace";
        to.add(format!("mutations[{at}]"), "", Constraint::Malformed(form));
        return None;
    };
    let at = |field: &str| format!("mutations[{at}].{field}");
    Some(match operation {
        Operation::Append(append) => {
            let ids = child_ids(&at("append.ids"), &append.ids, list, to);
            let on_duplicate = on_duplicate(&at("append.on_duplicate"), append.on_duplicate, to);
            Mutation::Append {
                ids: ids?,
                on_duplicate: on_duplicate?,
            }
        }
        Operation::Insert(insert) => {
            let ids = child_ids(&at("insert.ids"), &insert.ids, list, to);
            let position = position(&at("insert.position"), insert.position, list, to);
            let on_duplicate = on_duplicate(&at("insert.on_duplicate"), insert.on_duplicate, to);
            Mutation::Insert {
                ids: ids?,
                position: position?,
                on_duplicate: on_duplicate?,
            }
        }
        Operation::Remove(remove) => {
            let ids = child_ids(&at("remove.ids"), &remove.ids, list, to);
            let on_missing = on_missing(&at("remove.on_missing"), remove.on_missing, to);
            Mutation::Remove {
                ids: ids?,
                on_missing: on_missing?,
            }
        }
        Operation::MoveRange(range) => {
            let first = required_index(&at("move_range.first_index"), range.first_index, to);
            let last = required_index(&at("move_range.last_index"), range.last_index, to);
            let position = position(&at("move_range.position"), range.position, list, to);
            Mutation::MoveRange {
                first: first?,
                last: last?,
                position: position?,
            }
        }
        Operation::MoveIds(moved) => {
            let ids = child_ids(&at("move_ids.ids"), &moved.ids, list, to);
            let position = position(&at("move_ids.position"), moved.position, list, to);
            Mutation::MoveIds {
                ids: ids?,
                position: position?,
            }
        }
        Operation::Reorder(reorder) => {
            let placements = reorder.placements.iter().enumerate();
            let placements = placements.map(|(n, placement)| {
                let field = |name| at(&format!("reorder.placements[{n}].{name}"));
                let id = to.take(list.parse_id(field("id"), &placement.id));
                let index = required_index(&field("index"), placement.index, to);
                id.zip(index.map(Place::Index))
            });
            let placements: Vec<_> = placements.collect();
            let placements = placements.into_iter().collect::<Option<_>>()?;
            Mutation::Reorder { placements }
        }
        Operation::Replace(replace) => Mutation::Replace {
            ids: child_ids(&at("replace.ids"), &replace.ids, list, to)?,
        },
    })
}

fn on_duplicate(field: &str, value: i32, to: &mut Violations) -> Option<OnDuplicate> {
    match pb::OnDuplicate::try_from(value) {
        Ok(pb::OnDuplicate::Unspecified | pb::OnDuplicate::Ignore) => Some(OnDuplicate::Ignore),
        Ok(pb::OnDuplicate::Error) => Some(OnDuplicate::Error),
        Err(_) => {
            let known = "ON_DUPLICATE_IGNORE, ON_DUPLICATE_ERROR";
            to.add(field, &value.to_string(), Constraint::Unknown(known));
            None
        }
    }
}

fn on_missing(field: &str, value: i32, to: &mut Violations) -> Option<OnMissing> {
    match pb::OnMissing::try_from(value) {
        Ok(pb::OnMissing::Unspecified | pb::OnMissing::Ignore) => Some(OnMissing::Ignore),
        Ok(pb::OnMissing::Error) => Some(OnMissing::Error),
        Err(_) => {
            let known = "ON_MISSING_IGNORE, ON_MISSING_ERROR";
            to.add(field, &value.to_string(), Constraint::Unknown(known));
            None
        }
    }
}

fn position(
    field: &str,
    value: Option<pb::Position>,
    list: ChildType,
    to: &mut Violations,
) -> Option<Position> {
    use pb::position::Position as Wire;
    let parsed = match value.and_then(|value| value.position) {
        Some(Wire::Index(at)) => index(&format!("{field}.index"), at).map(Position::Index),
        Some(Wire::BeforeId(id)) => {
            let id = list.parse_id(format!("{field}.before_id"), &id);
            id.map(Position::Before)
        }
        Some(Wire::AfterId(id)) => {
            let id = list.parse_id(format!("{field}.after_id"), &id);
            id.map(Position::After)
        }
        None => {
            let form = Constraint::Malformed("set to one of index, before_id, after_id");
            Err(Violation::new(field, "", form))
        }
    };
    to.take(parsed)
}

fn child_ids(
    field: &str,
    ids: &[String],
    list: ChildType,
    to: &mut Violations,
) -> Option<Vec<ChildId>> {
    let ids: Vec<_> = ids
        .iter()
        .enumerate()
        .map(|(at, id)| to.take(list.parse_id(format!("{field}[{at}]"), id)))
        .collect();
    ids.into_iter().collect()
}

fn required_index(field: &str, value: Option<i32>, to: &mut Violations) -> Option<u64> {
    let value = value.ok_or_else(|| Violation::new(field, "", Constraint::Required));
    to.take(value.and_then(|value| index(field, value)))
}

/// Ids of products.
pub(super) fn product_ids(
    field: &str,
    ids: &[String],
    to: &mut Violations,
) -> Option<Vec<ProductId>> {
    let ids = child_ids(field, ids, ChildType::Product, to)?;
    Some(ids.into_iter().map(ProductId::from).collect())
}

/// An index, which must not be negative.
pub(super) fn index(field: &str, value: i32) -> Result<u64, Violation> {
    u64::try_from(value).map_err(|_| {
        let constraint = Constraint::OutOfRange {
            min: 0,
            max: i32::MAX.into(),
        };
        Violation::new(field, &value.to_string(), constraint)
    })
}

/// The filter of `ListCollections`.
pub(super) fn filter(
    filter: pb::list_collections_request::Filter,
    limits: &Limits,
    violations: &mut Violations,
) -> CollectionFilter {
    let ids = collection_ids("filter.ids", &filter.ids, limits.ids, violations);
    let name = filter.display_name_contains;
    violations.length(FieldPath::FilterDisplayName, &name, limits.name_chars);
    CollectionFilter {
        name: (!name.is_empty()).then_some(name),
        ids: (!filter.ids.is_empty()).then_some(ids),
        parents: match filter.parent_id.as_str() {
            "" => None,
            id => violations.take(CollectionId::parse("filter.parent_id", id).map(|id| vec![id])),
        },
        smart: is_smart(filter.kind, "filter.kind", violations),
        ..CollectionFilter::default()
    }
}

/// The etag of a client's cached copy; `None` if the client has no copy.
pub(super) fn read_etag(field: &str, value: &str) -> Result<Option<ReadEtag>, Violation> {
    (!value.is_empty())
        .then(|| ReadEtag::parse(field, value))
        .transpose()
}

/// How fresh a read must be; full consistency by default.
pub(super) fn consistency(message: Option<pb::Consistency>) -> Result<Consistency, Violation> {
    use pb::consistency::Requirement;
    match message.and_then(|message| message.requirement) {
        None => Ok(Consistency::Full),
        Some(Requirement::AtLeast(etag)) => {
            Etag::parse("consistency.at_least", &etag).map(Consistency::AtLeast)
        }
        Some(Requirement::Within(time)) => {
            let within = duration(&time).filter(|time| *time <= Consistency::MAX_WITHIN);
            within.map(Consistency::Within).ok_or_else(|| {
                let value = parts(time.seconds, time.nanos);
                let rule = Constraint::Malformed("a duration from 0 to 1 hour");
                Violation::new("consistency.within", &value, rule)
            })
        }
    }
}

/// The etag that a write requires; `None` if the client sent none.
pub(super) fn etag(field: &str, value: &str) -> Result<Option<Precondition>, Violation> {
    match value {
        "" => Ok(None),
        value => Precondition::parse(field, value).map(Some),
    }
}
