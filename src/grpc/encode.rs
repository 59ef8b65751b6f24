//! From the domain to `endcap.v1`.

use std::collections::BTreeMap;

use prost_types::{ListValue, Struct, Value, value::Kind as ValueKind};

use super::pb;
use crate::{
    domain::{
        Active, Collection, CustomProperties, Field, Image, ImageSource, Kind, Logic, Operator,
        Outcome, Rules, Text, TextField, Timestamp,
    },
    service::{CollectionPage, Detail, Updated},
};

/// A collection, as answered.
pub(super) fn collection(detail: &Detail) -> pb::Collection {
    let Collection {
        id,
        name,
        handle,
        kind,
        rules_hash,
        rules_version,
        texts,
        keywords,
        images,
        active: shown,
        custom_properties,
        catalog_id,
        product_count,
        collection_count,
        create_time,
        update_time,
        version: _,
    } = &detail.collection;
    let (kind, rules) = match kind {
        Kind::Manual => (pb::CollectionKind::Manual, None),
        Kind::Smart { rules } => (pb::CollectionKind::Smart, Some(self::rules(rules))),
    };
    pb::Collection {
        id: id.to_string(),
        tenant_id: detail.tenant.to_string(),
        name: name.clone(),
        slug: handle.slug.as_str().into(),
        kind: kind.into(),
        rules,
        rules_hash: rules_hash.clone(),
        rules_version: *rules_version,
        texts: texts
            .iter()
            .map(|(locale, text)| (locale.to_string(), self::text(text)))
            .collect(),
        keywords: keywords.clone(),
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
    }
}

/// A page of collections.
pub(super) fn collections(page: CollectionPage) -> pb::ListCollectionsResponse {
    pb::ListCollectionsResponse {
        collections: page.collections.iter().map(collection).collect(),
        next_page_token: page.next.unwrap_or_default(),
        total_size: count(page.total),
    }
}

/// What mutations came to.
pub(super) fn mutated(updated: &Updated) -> pb::MutateChildrenResponse {
    pb::MutateChildrenResponse {
        collection: Some(collection(&updated.detail)),
        results: updated.outcomes.iter().map(outcome).collect(),
    }
}

/// A count, which fits in any list that a database can hold.
pub(super) fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn outcome(outcome: &Outcome) -> pb::MutationResult {
    let ids = |ids: &[crate::domain::ChildId]| ids.iter().map(ToString::to_string).collect();
    pb::MutationResult {
        added_count: count(outcome.added),
        removed_count: count(outcome.removed),
        moved_count: count(outcome.moved),
        already_there_ids: ids(&outcome.already_there),
        absent_ids: ids(&outcome.absent),
    }
}

fn text(text: &Text) -> pb::Text {
    let get = |field| text.get(&field).cloned().unwrap_or_default();
    pb::Text {
        display_name: get(TextField::DisplayName),
        description: get(TextField::Description),
        long_description: get(TextField::LongDescription),
        seo_title: get(TextField::SeoTitle),
        seo_description: get(TextField::SeoDescription),
        seo_keywords: get(TextField::SeoKeywords),
        seo_url_slug: get(TextField::SeoUrlSlug),
    }
}

fn image(image: &Image) -> pb::Image {
    pb::Image {
        id: image.id.clone(),
        source: image.source.as_ref().map(|source| match source {
            ImageSource::Path(path) => pb::image::Source::Path(path.clone()),
            ImageSource::Url(url) => pb::image::Source::Url(url.clone()),
        }),
        name: image.name.clone().unwrap_or_default(),
        alt_text: image.alt_text.clone().unwrap_or_default(),
        title_text: image.title_text.clone().unwrap_or_default(),
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
    let conditions = rules.conditions.iter().map(|condition| pb::Condition {
        field: field(condition.field).into(),
        operator: operator(condition.operator).into(),
        value: condition.value.clone(),
    });
    let logic = match rules.logic {
        Logic::And => pb::RulesLogic::And,
        Logic::Or => pb::RulesLogic::Or,
    };
    pb::Rules {
        logic: logic.into(),
        conditions: conditions.collect(),
    }
}

/// A field of a condition; `decode` inverts it.
pub(super) fn field(field: Field) -> pb::ConditionField {
    match field {
        Field::Title => pb::ConditionField::Title,
        Field::VariantTitle => pb::ConditionField::VariantTitle,
        Field::Price => pb::ConditionField::Price,
        Field::Inventory => pb::ConditionField::Inventory,
    }
}

/// An operator of a condition; `decode` inverts it.
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
    }
}

pub(super) fn properties(properties: &CustomProperties) -> Struct {
    let fields = properties.iter().map(|(name, json)| {
        // The store holds nothing but JSON.
        let value = serde_json::from_str(&json.0).unwrap_or_default();
        (name.clone(), self::value(value))
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
