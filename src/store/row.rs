//! Converts collections from and to rows. Structured values, such as rules and texts, are stored as
//! JSON.

use std::{collections::BTreeMap, time::Duration};

use sea_orm::ActiveValue::{NotSet, Set};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{cell::Cell, entity::collection as row};
use crate::domain::{
    Active, Collection, CollectionId, Combinator, Condition, CustomProperties, Error, Field, Group,
    Handle, Image, ImageSource, ImageText, Json, Kind, Locale, Operand, Operator, Result, Rule,
    Rules, RulesState, Slug, Sort, SortBy, TenantId, Text, TextField, Texts, Timestamp,
    search::folded,
};

/// A rule: a group, tagged with its combinator, or a condition.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RuleRow {
    AllOf(GroupRow),
    AnyOf(GroupRow),
    NoneOf(GroupRow),
    Condition(ConditionRow),
}

#[derive(Serialize, Deserialize)]
struct GroupRow {
    same_row: bool,
    rules: Vec<RuleRow>,
}

#[derive(Serialize, Deserialize)]
struct ConditionRow {
    field: String,
    operator: String,
    /// The operand, if there is exactly one. Several are in `operands`, so that the JSON of older
    /// versions stays valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    operand: Option<OperandRow>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    operands: Vec<OperandRow>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OperandRow {
    Text(String),
    Decimal(String),
    Boolean(bool),
    /// Microseconds since 1970.
    Time(i64),
    /// Microseconds.
    Duration(u64),
}

/// A sort order of products.
#[derive(Serialize, Deserialize)]
struct SortRow {
    by: SortByRow,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    descending: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    out_of_stock_last: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SortByRow {
    Created,
    Title,
    /// In this currency.
    Price(String),
    Inventory,
    /// The value at this path.
    Attribute(String),
}

/// The content of one locale: texts by field name, and keywords.
#[derive(Serialize, Deserialize)]
struct TextRow {
    #[serde(flatten)]
    fields: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    keywords: Vec<String>,
}

#[derive(Default, Serialize, Deserialize)]
struct ImageRow {
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file_name: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    texts: BTreeMap<String, ImageTextRow>,
}

#[derive(Default, Serialize, Deserialize)]
struct ImageTextRow {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alt_text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    title: Option<String>,
}

/// The value of `rules_state` while a job evaluates the rules.
pub(super) const EVALUATING: i16 = 2;

/// Encodes a collection as a row, with all columns that a collection determines.
pub(super) fn encode(
    tenant: &TenantId,
    collection: &Collection,
    default_locale: &Locale,
) -> Result<row::ActiveModel> {
    let texts = collection.texts.iter();
    let texts: BTreeMap<&str, TextRow> = texts
        .map(|(locale, text)| (locale.as_str(), TextRow::from(text)))
        .collect();
    let images: Vec<_> = collection.images.iter().map(ImageRow::from).collect();
    Ok(row::ActiveModel {
        tenant_id: Set(tenant.to_string()),
        id: Set(collection.id.to_string()),
        internal_name: Set(collection.internal_name.clone()),
        slug: Set(collection.handle.slug.as_str().into()),
        slug_chosen: Set(collection.handle.chosen),
        smart: Set(collection.kind.is_smart()),
        rules: Set(rules_to_row(&collection.kind)?),
        rules_hash: Set(collection.rules_hash.clone()),
        rules_version: Set(collection.rules_version),
        // Written only by `rules::stamp`.
        rules_stamp: NotSet,
        // Written only by `collections::set_named`.
        named: NotSet,
        rules_state: Set(match collection.rules_state {
            RulesState::Current => 1,
            RulesState::Evaluating => EVALUATING,
        }),
        sort: Set(sort_to_row(collection.sort.as_ref())?),
        texts: Set(json(&texts)?),
        search_name: Set(folded(
            collection.display_name(default_locale, default_locale),
        )),
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

/// Decodes a collection from its row.
pub(super) fn decode(row: row::Model) -> Result<Collection> {
    let cell = |column| Cell {
        table: "collections",
        tenant: &row.tenant_id,
        key: &row.id,
        column,
    };
    let kind = kind(cell("rules"), row.smart, row.rules.as_deref())?;
    let sort = sort(cell("sort"), &row.sort)?;
    let images: Vec<ImageRow> = cell("images").json(&row.images)?;
    Ok(Collection {
        id: CollectionId::trusted(&*row.id),
        texts: texts(cell("texts"), &row.texts)?,
        images: images.into_iter().map(Image::from).collect(),
        active: active(cell("active"), row.active)?,
        custom_properties: properties(cell("custom_properties"), &row.custom_properties)?,
        product_count: cell("product_count").count(row.product_count)?,
        collection_count: cell("collection_count").count(row.collection_count)?,
        internal_name: row.internal_name,
        handle: Handle {
            slug: Slug::trusted(row.slug),
            chosen: row.slug_chosen,
        },
        kind,
        sort,
        rules_hash: row.rules_hash,
        rules_version: row.rules_version,
        rules_state: if row.rules_state == EVALUATING {
            RulesState::Evaluating
        } else {
            RulesState::Current
        },
        catalog_id: row.catalog_id,
        create_time: Timestamp::from_micros(row.create_time),
        update_time: Timestamp::from_micros(row.update_time),
        version: row.version,
    })
}

/// Decodes the kind of a collection, with its rules.
pub(super) fn kind(cell: Cell<'_>, smart: bool, column: Option<&str>) -> Result<Kind> {
    match (smart, column) {
        (true, Some(text)) => Ok(Kind::Smart {
            rules: Rules {
                root: cell.json::<RuleRow>(text)?.decode(cell)?,
            },
        }),
        (false, _) => Ok(Kind::Manual),
        (true, None) => Err(cell.corrupt("the rules of a smart collection are missing")),
    }
}

/// Encodes the rules of a kind.
pub(super) fn rules_to_row(kind: &Kind) -> Result<Option<String>> {
    match kind {
        Kind::Manual => Ok(None),
        Kind::Smart { rules } => Ok(Some(json(&RuleRow::from(&rules.root))?)),
    }
}

/// Encodes a sort order; none is an empty string.
pub(super) fn sort_to_row(sort: Option<&Sort>) -> Result<String> {
    sort.map_or(Ok(String::new()), |sort| json(&SortRow::from(sort)))
}

/// Decodes a sort order.
pub(super) fn sort(cell: Cell<'_>, column: &str) -> Result<Option<Sort>> {
    if column.is_empty() {
        return Ok(None);
    }
    Ok(Some(cell.json::<SortRow>(column)?.into()))
}

/// Decodes properties.
pub(super) fn properties(cell: Cell<'_>, column: &str) -> Result<CustomProperties> {
    let properties: BTreeMap<String, Box<RawValue>> = cell.json(column)?;
    let properties = properties.into_iter().map(|(name, value)| {
        cell.check_json(value.get())?;
        Ok((name, Json(value.get().into())))
    });
    properties.collect()
}

/// Encodes properties.
pub(super) fn properties_to_row(properties: &CustomProperties) -> Result<String> {
    let properties = properties
        .iter()
        .map(|(name, value)| Ok((name, serde_json::from_str::<&RawValue>(&value.0)?)))
        .collect::<Result<BTreeMap<_, _>, serde_json::Error>>()
        .map_err(Error::internal)?;
    json(&properties)
}

/// Decodes texts.
pub(super) fn texts(cell: Cell<'_>, column: &str) -> Result<Texts> {
    let locales: BTreeMap<String, TextRow> = cell.json(column)?;
    let locales = locales.into_iter();
    locales
        .map(|(locale, text)| Ok((Locale::trusted(&locale), text.decode(cell)?)))
        .collect()
}

/// Decodes `active`.
pub(super) fn active(cell: Cell<'_>, column: i16) -> Result<Active> {
    match column {
        1 => Ok(Active::Yes),
        2 => Ok(Active::No),
        3 => Ok(Active::Inherit),
        _ => Err(cell.corrupt(format!("{column} is not a valid value of active"))),
    }
}

/// Converts the result of a COUNT.
pub(super) fn count_from_row(number: i64) -> u64 {
    // A count is never negative.
    number.unsigned_abs()
}

/// Encodes a count.
pub(super) fn count_to_row(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(Error::internal)
}

impl From<&Text> for TextRow {
    fn from(text: &Text) -> Self {
        let fields = text.fields.iter();
        Self {
            fields: fields
                .map(|(field, value)| (field.name().into(), value.clone()))
                .collect(),
            keywords: text.keywords.clone(),
        }
    }
}

impl TextRow {
    fn decode(self, cell: Cell<'_>) -> Result<Text> {
        let field = |(name, value): (String, String)| {
            let field = TextField::named(&name);
            let unknown = || cell.corrupt(format!("unknown text field {name:?}"));
            Ok((field.ok_or_else(unknown)?, value))
        };
        Ok(Text {
            fields: self.fields.into_iter().map(field).collect::<Result<_>>()?,
            keywords: self.keywords,
        })
    }
}

impl From<&Sort> for SortRow {
    fn from(sort: &Sort) -> Self {
        Self {
            by: match &sort.by {
                SortBy::Created => SortByRow::Created,
                SortBy::Title => SortByRow::Title,
                SortBy::Price { currency } => SortByRow::Price(currency.clone()),
                SortBy::Inventory => SortByRow::Inventory,
                SortBy::Attribute(path) => SortByRow::Attribute(path.clone()),
            },
            descending: sort.descending,
            out_of_stock_last: sort.out_of_stock_last,
        }
    }
}

impl From<SortRow> for Sort {
    fn from(row: SortRow) -> Self {
        Self {
            by: match row.by {
                SortByRow::Created => SortBy::Created,
                SortByRow::Title => SortBy::Title,
                SortByRow::Price(currency) => SortBy::Price { currency },
                SortByRow::Inventory => SortBy::Inventory,
                SortByRow::Attribute(path) => SortBy::Attribute(path),
            },
            descending: row.descending,
            out_of_stock_last: row.out_of_stock_last,
        }
    }
}

impl From<&Rule> for RuleRow {
    fn from(rule: &Rule) -> Self {
        match rule {
            Rule::Group(group) => {
                let rules = group.rules.iter().map(Self::from).collect();
                let row = GroupRow {
                    same_row: group.same_row,
                    rules,
                };
                match group.combinator {
                    Combinator::All => Self::AllOf(row),
                    Combinator::Any => Self::AnyOf(row),
                    Combinator::None => Self::NoneOf(row),
                }
            }
            Rule::Condition(condition) => Self::Condition(condition.into()),
        }
    }
}

impl From<&Condition> for ConditionRow {
    fn from(condition: &Condition) -> Self {
        let operands = condition.operands.iter().map(OperandRow::from);
        let mut operands: Vec<_> = operands.collect();
        let operand = match operands.len() {
            1 => operands.pop(),
            _ => None,
        };
        Self {
            field: condition.field.name().into_owned(),
            operator: condition.operator.name().into(),
            operand,
            operands,
        }
    }
}

impl From<&Operand> for OperandRow {
    fn from(operand: &Operand) -> Self {
        match operand {
            Operand::Text(text) => Self::Text(text.clone()),
            Operand::Decimal(number) => Self::Decimal(number.clone()),
            Operand::Boolean(boolean) => Self::Boolean(*boolean),
            Operand::Time(time) => Self::Time(time.micros()),
            Operand::Duration(age) => {
                Self::Duration(u64::try_from(age.as_micros()).unwrap_or(u64::MAX))
            }
        }
    }
}

impl From<OperandRow> for Operand {
    fn from(row: OperandRow) -> Self {
        match row {
            OperandRow::Text(text) => Self::Text(text),
            OperandRow::Decimal(number) => Self::Decimal(number),
            OperandRow::Boolean(boolean) => Self::Boolean(boolean),
            OperandRow::Time(micros) => Self::Time(Timestamp::from_micros(micros)),
            OperandRow::Duration(micros) => Self::Duration(Duration::from_micros(micros)),
        }
    }
}

impl RuleRow {
    fn decode(self, cell: Cell<'_>) -> Result<Rule> {
        let (combinator, group) = match self {
            Self::AllOf(group) => (Combinator::All, group),
            Self::AnyOf(group) => (Combinator::Any, group),
            Self::NoneOf(group) => (Combinator::None, group),
            Self::Condition(condition) => {
                return Ok(Rule::Condition(condition.decode(cell)?));
            }
        };
        let rules = group.rules.into_iter().map(|rule| rule.decode(cell));
        Ok(Rule::Group(Group {
            combinator,
            same_row: group.same_row,
            rules: rules.collect::<Result<_>>()?,
        }))
    }
}

impl ConditionRow {
    fn decode(self, cell: Cell<'_>) -> Result<Condition> {
        let unknown = || cell.corrupt("a condition has an unknown field or operator");
        let operands = self.operand.into_iter().chain(self.operands);
        Ok(Condition {
            field: Field::from_name(&self.field).ok_or_else(unknown)?,
            operator: Operator::from_name(&self.operator).ok_or_else(unknown)?,
            operands: operands.map(Operand::from).collect(),
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
        let mut texts: BTreeMap<String, ImageTextRow> = BTreeMap::new();
        for ((locale, text), value) in &image.texts {
            *texts.entry(locale.to_string()).or_default().of(*text) = Some(value.clone());
        }
        Self {
            id: image.id.clone(),
            path,
            url,
            file_name: image.file_name.clone(),
            texts,
        }
    }
}

impl ImageTextRow {
    fn of(&mut self, text: ImageText) -> &mut Option<String> {
        match text {
            ImageText::AltText => &mut self.alt_text,
            ImageText::Title => &mut self.title,
        }
    }
}

impl From<ImageRow> for Image {
    fn from(row: ImageRow) -> Self {
        let texts = row.texts.into_iter().flat_map(|(locale, mut texts)| {
            let locale = Locale::trusted(&locale);
            ImageText::ALL.map(|text| ((locale.clone(), text), texts.of(text).take()))
        });
        Self {
            id: row.id,
            source: row
                .path
                .map(ImageSource::Path)
                .or(row.url.map(ImageSource::Url)),
            file_name: row.file_name,
            texts: texts.filter_map(|(key, text)| Some((key, text?))).collect(),
        }
    }
}
