//! Encoding: from domain types to messages of `endcap.v1`, the counterpart of `decode`.

use std::{collections::BTreeMap, time::Duration};

use prost_types::{ListValue, Struct, Value, value::Kind as ValueKind};

use super::pb;
use crate::{
    domain::{
        Active, ChildId, ChildReason, Collection, Combinator, Condition, Field, Image, ImageSource,
        ImageText, Json, Kind, Operand, Operator, Outcome, Rule, Rules, RulesState, Sort, SortBy,
        Text, TextField, Timestamp,
    },
    service::{Detail, Updated},
};

/// A collection as responses show it, without a read mask.
pub(super) fn collection(detail: &Detail) -> pb::Collection {
    let Collection {
        id,
        internal_name,
        handle,
        kind,
        rules_hash,
        rules_version,
        rules_state,
        texts,
        images,
        active: shown,
        custom_properties,
        catalog_id,
        product_count,
        collection_count,
        create_time,
        update_time,
        version: _,
        sort,
    } = &detail.collection;
    let (kind, rules) = match kind {
        Kind::Manual => (pb::CollectionKind::Manual, None),
        Kind::Smart { rules } => (pb::CollectionKind::Smart, Some(self::rules(rules))),
    };
    pb::Collection {
        id: id.to_string(),
        tenant_id: detail.tenant.to_string(),
        internal_name: internal_name.clone(),
        slug: handle.slug.as_str().into(),
        kind: kind.into(),
        rules,
        rules_status: Some(pb::RulesStatus {
            hash: rules_hash.clone(),
            version: *rules_version,
            state: match rules_state {
                RulesState::Current => pb::RulesState::Current,
                RulesState::Evaluating => pb::RulesState::Evaluating,
            }
            .into(),
            evaluated_product_count: large_count(detail.progress.map(|it| it.done)),
            total_product_count: large_count(detail.progress.map(|it| it.total)),
        }),
        texts: texts
            .iter()
            .map(|(locale, text)| (locale.to_string(), self::text(text)))
            .collect(),
        images: images.iter().map(image).collect(),
        active: active(*shown).into(),
        effective_active: detail.effective_active(),
        parent_ids: detail
            .lineage
            .parents
            .iter()
            .map(ToString::to_string)
            .collect(),
        custom_properties: (!custom_properties.is_empty()).then(|| properties(custom_properties)),
        catalog_id: catalog_id.clone().unwrap_or_default(),
        stats: Some(pb::CollectionStats {
            product_count: count(*product_count),
            collection_count: count(*collection_count),
        }),
        create_time: Some(time(*create_time)),
        update_time: Some(time(*update_time)),
        etag: detail.collection.etag().to_string(),
        properties_etag: detail.collection.properties_etag().to_string(),
        sort: sort.as_ref().map(self::sort),
        rule_entry_counts: detail
            .collection
            .kind
            .is_smart()
            .then(|| pb::RuleEntryCounts {
                include_count: count(detail.named.includes),
                exclude_count: count(detail.named.excludes),
                pin_count: count(detail.named.pins),
            }),
    }
}

fn large_count(count: Option<u64>) -> i64 {
    i64::try_from(count.unwrap_or_default()).unwrap_or(i64::MAX)
}

fn sort(sort: &Sort) -> pb::ProductSort {
    let (mut currency, mut attribute_path) = (String::new(), String::new());
    let key = match &sort.by {
        SortBy::Created => pb::ProductSortKey::Created,
        SortBy::Title => pb::ProductSortKey::Title,
        SortBy::Price { currency: code } => {
            currency = code.clone();
            pb::ProductSortKey::Price
        }
        SortBy::Inventory => pb::ProductSortKey::Inventory,
        SortBy::Attribute(path) => {
            attribute_path = path.clone();
            pb::ProductSortKey::Attribute
        }
    };
    pb::ProductSort {
        key: key.into(),
        descending: sort.descending,
        currency,
        attribute_path,
        out_of_stock_last: sort.out_of_stock_last,
    }
}

/// The response to `MutateChildren`.
pub(super) fn mutated(updated: &Updated) -> pb::MutateChildrenResponse {
    let mut left = (IDS, IDS);
    let results = updated.outcomes.iter();
    pb::MutateChildrenResponse {
        collection: Some(collection(&updated.detail)),
        results: results.map(|outcome| result(outcome, &mut left)).collect(),
    }
}

/// A count as Protobuf's `int32`. Limits keep lists far shorter than its maximum.
pub(super) fn count(count: u64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// How many existing and how many missing ids the results of one response list in total.
const IDS: usize = 1_000;

/// Why a product is a child of a smart collection; unspecified for other children.
pub(super) fn child_reason(reason: Option<ChildReason>) -> i32 {
    let reason = match reason {
        None => pb::ChildReason::Unspecified,
        Some(ChildReason::Match) => pb::ChildReason::Match,
        Some(ChildReason::Include) => pb::ChildReason::Include,
        Some(ChildReason::Pin) => pb::ChildReason::Pin,
    };
    reason.into()
}

fn result(outcome: &Outcome, left: &mut (usize, usize)) -> pb::ChildMutationResult {
    let first = |ids: &[ChildId], left: &mut usize| {
        let ids = &ids[..ids.len().min(*left)];
        *left -= ids.len();
        ids.iter().map(ToString::to_string).collect()
    };
    pb::ChildMutationResult {
        added_count: count(outcome.added),
        removed_count: count(outcome.removed),
        moved_count: count(outcome.moved),
        existing_count: count(outcome.existing.len() as u64),
        missing_count: count(outcome.missing.len() as u64),
        existing_ids: first(&outcome.existing, &mut left.0),
        missing_ids: first(&outcome.missing, &mut left.1),
    }
}

fn text(text: &Text) -> pb::LocalizedText {
    let get = |field| text.fields.get(&field).cloned().unwrap_or_default();
    pb::LocalizedText {
        display_name: get(TextField::DisplayName),
        description: get(TextField::Description),
        long_description: get(TextField::LongDescription),
        seo_title: get(TextField::SeoTitle),
        seo_description: get(TextField::SeoDescription),
        seo_keywords: get(TextField::SeoKeywords),
        seo_url_slug: get(TextField::SeoUrlSlug),
        keywords: text.keywords.clone(),
    }
}

fn image(image: &Image) -> pb::Image {
    let mut texts: BTreeMap<String, pb::ImageText> = BTreeMap::new();
    for ((locale, part), value) in &image.texts {
        let text = texts.entry(locale.to_string()).or_default();
        match part {
            ImageText::AltText => text.alt_text.clone_from(value),
            ImageText::Title => text.title.clone_from(value),
        }
    }
    pb::Image {
        id: image.id.clone(),
        source: image.source.as_ref().map(|source| match source {
            ImageSource::Path(path) => pb::image::Source::Path(path.clone()),
            ImageSource::Url(url) => pb::image::Source::Url(url.clone()),
        }),
        file_name: image.file_name.clone().unwrap_or_default(),
        texts,
    }
}

fn active(active: Active) -> pb::Active {
    match active {
        Active::Yes => pb::Active::Yes,
        Active::No => pb::Active::No,
        Active::Inherit => pb::Active::Inherit,
    }
}

fn rules(rules: &Rules) -> pb::Rules {
    pb::Rules {
        root: Some(rule(&rules.root)),
    }
}

fn rule(rule: &Rule) -> pb::Rule {
    use pb::rule::Rule as Wire;
    let rule = match rule {
        Rule::Group(group) => {
            let wire = pb::RuleGroup {
                rules: group.rules.iter().map(self::rule).collect(),
                same_row: group.same_row,
            };
            match group.combinator {
                Combinator::All => Wire::AllOf(wire),
                Combinator::Any => Wire::AnyOf(wire),
                Combinator::None => Wire::NoneOf(wire),
            }
        }
        Rule::Condition(condition) => Wire::Condition(self::condition(condition)),
    };
    pb::Rule { rule: Some(rule) }
}

pub(super) fn condition(condition: &Condition) -> pb::Condition {
    let target = match condition.field.attribute() {
        Some(path) => pb::condition::Target::AttributePath(path.into()),
        None => pb::condition::Target::Field(field(&condition.field).into()),
    };
    pb::Condition {
        target: Some(target),
        operator: operator(condition.operator).into(),
        operands: condition.operands.iter().map(operand).collect(),
    }
}

fn operand(operand: &Operand) -> pb::Operand {
    use pb::operand::Value as Wire;
    let value = match operand {
        Operand::Text(text) => Wire::Text(text.clone()),
        Operand::Decimal(number) => Wire::Decimal(number.clone()),
        Operand::Boolean(boolean) => Wire::Boolean(*boolean),
        Operand::Time(time) => Wire::Time(self::time(*time)),
        Operand::Duration(age) => Wire::Duration(duration(*age)),
    };
    pb::Operand { value: Some(value) }
}

/// The duration of a condition. Conditions only hold durations that Protobuf can represent.
fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: duration.subsec_nanos().cast_signed(),
    }
}

/// The field of a condition; `decode` relies on this mapping for the reverse direction. Attributes
/// are identified by a path and have no enum value.
pub(super) fn field(field: &Field) -> pb::ProductField {
    match field {
        Field::Title => pb::ProductField::Title,
        Field::VariantTitle => pb::ProductField::VariantTitle,
        Field::Price => pb::ProductField::Price,
        Field::Inventory => pb::ProductField::Inventory,
        Field::Slug => pb::ProductField::Slug,
        Field::Type => pb::ProductField::Type,
        Field::Vendor => pb::ProductField::Vendor,
        Field::Tag => pb::ProductField::Tag,
        Field::Status => pb::ProductField::Status,
        Field::Available => pb::ProductField::Available,
        Field::PriceCurrency => pb::ProductField::PriceCurrency,
        Field::CompareAtPrice => pb::ProductField::CompareAtPrice,
        Field::Created => pb::ProductField::Created,
        Field::Updated => pb::ProductField::Updated,
        Field::ProductId => pb::ProductField::ProductId,
        Field::Collection => pb::ProductField::Collection,
        Field::Attribute(_) => pb::ProductField::Unspecified,
    }
}

/// The operator of a condition; `decode` relies on this mapping for the reverse direction.
pub(super) fn operator(operator: Operator) -> pb::ConditionOperator {
    match operator {
        Operator::Equals => pb::ConditionOperator::Equals,
        Operator::NotEquals => pb::ConditionOperator::NotEquals,
        Operator::GreaterThan => pb::ConditionOperator::GreaterThan,
        Operator::LessThan => pb::ConditionOperator::LessThan,
        Operator::Contains => pb::ConditionOperator::Contains,
        Operator::NotContains => pb::ConditionOperator::NotContains,
        Operator::StartsWith => pb::ConditionOperator::StartsWith,
        Operator::EndsWith => pb::ConditionOperator::EndsWith,
        Operator::In => pb::ConditionOperator::In,
        Operator::NotIn => pb::ConditionOperator::NotIn,
        Operator::GreaterOrEqual => pb::ConditionOperator::GreaterOrEqual,
        Operator::LessOrEqual => pb::ConditionOperator::LessOrEqual,
        Operator::Between => pb::ConditionOperator::Between,
        Operator::IsSet => pb::ConditionOperator::IsSet,
        Operator::IsNotSet => pb::ConditionOperator::IsNotSet,
        Operator::OlderThan => pb::ConditionOperator::OlderThan,
        Operator::NewerThan => pb::ConditionOperator::NewerThan,
    }
}

pub(super) fn properties<'a>(
    properties: impl IntoIterator<Item = (&'a String, &'a Json)>,
) -> Struct {
    let fields = properties.into_iter().map(|(name, json)| {
        // Values nested deeper than today's limit may have been stored before it existed. They are
        // sent as strings of JSON: most clients could not decode a response with such a `Struct` at
        // all.
        let json = if json.levels() > Json::MAX_LEVELS {
            serde_json::Value::String(json.0.clone())
        } else {
            // Cannot fail: only valid JSON is stored.
            serde_json::from_str(&json.0).unwrap_or_default()
        };
        (name.clone(), value(json))
    });
    Struct {
        fields: fields.collect::<BTreeMap<_, _>>(),
    }
}

fn value(json: serde_json::Value) -> Value {
    use serde_json::Value as Json;
    let kind = match json {
        Json::Null => ValueKind::NullValue(0),
        Json::Bool(switch) => ValueKind::BoolValue(switch),
        Json::Number(number) => ValueKind::NumberValue(number.as_f64().unwrap_or_default()),
        Json::String(text) => ValueKind::StringValue(text),
        Json::Array(items) => ValueKind::ListValue(ListValue {
            values: items.into_iter().map(value).collect(),
        }),
        Json::Object(fields) => ValueKind::StructValue(Struct {
            fields: fields.into_iter().map(|(k, v)| (k, value(v))).collect(),
        }),
    };
    Value { kind: Some(kind) }
}

pub(super) fn time(time: Timestamp) -> prost_types::Timestamp {
    let micros = time.micros();
    prost_types::Timestamp {
        seconds: micros.div_euclid(1_000_000),
        nanos: i32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap_or_default(),
    }
}
