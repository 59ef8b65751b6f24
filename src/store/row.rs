//! Between a collection and its row: what has structure is JSON there.

use std::collections::BTreeMap;

use sea_orm::ActiveValue::Set;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::entity::collection as row;
use crate::domain::{
    Active, Collection, CollectionId, Condition, CustomProperties, Error, Field, Handle, Image,
    ImageSource, Json, Kind, Locale, Logic, Operator, Result, Rules, Slug, TenantId, Text,
    TextField, Texts, Timestamp,
};

#[derive(Serialize, Deserialize)]
struct RulesRow {
    logic: String,
    conditions: Vec<ConditionRow>,
}

#[derive(Serialize, Deserialize)]
struct ConditionRow {
    field: String,
    operator: String,
    value: String,
}

#[derive(Default, Serialize, Deserialize)]
struct ImageRow {
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alt_text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    title_text: Option<String>,
}

/// The row of a collection; all columns are set.
pub(super) fn encode(
    tenant: &TenantId,
    collection: &Collection,
    default_locale: &Locale,
) -> Result<row::ActiveModel> {
    let rules = match &collection.kind {
        Kind::Manual => None,
        Kind::Smart { rules } => Some(json(&RulesRow::from(rules))?),
    };
    let texts: BTreeMap<&str, BTreeMap<&str, &str>> = collection
        .texts
        .iter()
        .map(|(locale, text)| {
            let text = text
                .iter()
                .map(|(field, value)| (field.name(), value.as_str()));
            (locale.as_str(), text.collect())
        })
        .collect();
    let images: Vec<_> = collection.images.iter().map(ImageRow::from).collect();
    Ok(row::ActiveModel {
        tenant_id: Set(tenant.to_string()),
        id: Set(collection.id.to_string()),
        name: Set(collection.name.clone()),
        slug: Set(collection.handle.slug.as_str().into()),
        slug_chosen: Set(collection.handle.chosen),
        smart: Set(collection.kind.is_smart()),
        rules: Set(rules),
        rules_hash: Set(collection.rules_hash.clone()),
        rules_version: Set(collection.rules_version),
        texts: Set(json(&texts)?),
        search_name: Set(collection
            .display_name(default_locale, default_locale)
            .to_lowercase()),
        keywords: Set(json(&collection.keywords)?),
        images: Set(json(&images)?),
        active: Set(match collection.active {
            Active::Yes => 1,
            Active::No => 2,
            Active::Inherit => 3,
        }),
        custom_properties: Set(properties_to_row(&collection.custom_properties)?),
        catalog_id: Set(collection.catalog_id.clone()),
        product_count: Set(count_to_row(collection.product_count)),
        collection_count: Set(count_to_row(collection.collection_count)),
        create_time: Set(collection.create_time.micros()),
        update_time: Set(collection.update_time.micros()),
        version: Set(collection.version),
    })
}

/// The collection of a row.
pub(super) fn decode(row: row::Model) -> Result<Collection> {
    let kind = match (row.smart, &row.rules) {
        (true, Some(rules)) => Kind::Smart {
            rules: parse::<RulesRow>(rules)?.decode()?,
        },
        (false, _) => Kind::Manual,
        (true, None) => return Err(corrupt("a smart collection has no rules")),
    };
    Ok(Collection {
        id: CollectionId::trusted(row.id),
        name: row.name,
        handle: Handle {
            slug: Slug::trusted(row.slug),
            chosen: row.slug_chosen,
        },
        kind,
        rules_hash: row.rules_hash,
        rules_version: row.rules_version,
        texts: texts(&row.texts)?,
        keywords: parse(&row.keywords)?,
        images: parse::<Vec<ImageRow>>(&row.images)?
            .into_iter()
            .map(Image::from)
            .collect(),
        active: active(row.active)?,
        custom_properties: properties(&row.custom_properties)?,
        catalog_id: row.catalog_id,
        product_count: count(row.product_count),
        collection_count: count(row.collection_count),
        create_time: Timestamp::from_micros(row.create_time),
        update_time: Timestamp::from_micros(row.update_time),
        version: row.version,
    })
}

/// The properties of the column.
pub(super) fn properties(column: &str) -> Result<CustomProperties> {
    let properties: BTreeMap<String, Box<RawValue>> = parse(column)?;
    let properties = properties.into_iter();
    Ok(properties
        .map(|(name, value)| (name, Json(value.get().into())))
        .collect())
}

/// Properties for their column.
pub(super) fn properties_to_row(properties: &CustomProperties) -> Result<String> {
    let properties = properties
        .iter()
        .map(|(name, value)| Ok((name, serde_json::from_str::<&RawValue>(&value.0)?)))
        .collect::<Result<BTreeMap<_, _>, serde_json::Error>>()
        .map_err(Error::internal)?;
    json(&properties)
}

/// The texts of the column.
pub(super) fn texts(column: &str) -> Result<Texts> {
    let locales: BTreeMap<String, BTreeMap<String, String>> = parse(column)?;
    locales
        .into_iter()
        .map(|(locale, text)| {
            let text = text
                .into_iter()
                .map(|(name, value)| {
                    let field = TextField::named(&name);
                    Ok((field.ok_or_else(|| corrupt("an unknown text"))?, value))
                })
                .collect::<Result<Text>>()?;
            Ok((Locale::trusted(&locale), text))
        })
        .collect()
}

/// What the column says of being shown.
pub(super) fn active(column: i16) -> Result<Active> {
    match column {
        1 => Ok(Active::Yes),
        2 => Ok(Active::No),
        3 => Ok(Active::Inherit),
        _ => Err(corrupt("an unknown state of being shown")),
    }
}

/// A count from its column, which is never negative.
pub(super) fn count(column: i64) -> u64 {
    u64::try_from(column).unwrap_or_default()
}

/// A count for its column.
pub(super) fn count_to_row(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(Error::internal)
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(Error::internal)
}

fn corrupt(what: &str) -> Error {
    Error::internal(format!("the database holds what it can't: {what}"))
}

impl From<&Rules> for RulesRow {
    fn from(rules: &Rules) -> Self {
        let conditions = rules.conditions.iter().map(|condition| ConditionRow {
            field: condition.field.name().into(),
            operator: condition.operator.name().into(),
            value: condition.value.clone(),
        });
        Self {
            logic: rules.logic.name().into(),
            conditions: conditions.collect(),
        }
    }
}

impl RulesRow {
    fn decode(self) -> Result<Rules> {
        let unknown = || corrupt("a rule with an unknown word");
        let logic = Logic::ALL.into_iter().find(|l| l.name() == self.logic);
        let conditions = self.conditions.into_iter().map(|row| {
            let field = Field::ALL.into_iter().find(|f| f.name() == row.field);
            let operator = Operator::ALL.into_iter().find(|o| o.name() == row.operator);
            Ok(Condition {
                field: field.ok_or_else(unknown)?,
                operator: operator.ok_or_else(unknown)?,
                value: row.value,
            })
        });
        Ok(Rules {
            logic: logic.ok_or_else(unknown)?,
            conditions: conditions.collect::<Result<_>>()?,
        })
    }
}

impl From<&Image> for ImageRow {
    fn from(image: &Image) -> Self {
        let (path, url) = match &image.source {
            None => (None, None),
            Some(ImageSource::Path(path)) => (Some(path.clone()), None),
            Some(ImageSource::Url(url)) => (None, Some(url.clone())),
        };
        Self {
            id: image.id.clone(),
            path,
            url,
            name: image.name.clone(),
            alt_text: image.alt_text.clone(),
            title_text: image.title_text.clone(),
        }
    }
}

impl From<ImageRow> for Image {
    fn from(row: ImageRow) -> Self {
        Self {
            id: row.id,
            source: row
                .path
                .map(ImageSource::Path)
                .or(row.url.map(ImageSource::Url)),
            name: row.name,
            alt_text: row.alt_text,
            title_text: row.title_text,
        }
    }
}
