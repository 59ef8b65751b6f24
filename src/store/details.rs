//! Converts the typed facts of a product from and to their JSON column. [`super::products`] has the
//! other columns.

use serde::{Deserialize, Serialize};

use super::cell::Cell;
use crate::domain::{Decimal, Details, Error, Price, Result, Timestamp, Variant};

/// The content of the column. Unknown facts are left out. A field that this version does not know
/// is an error, because it would be lost at the next write.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct DetailsRow {
    #[serde(skip_serializing_if = "String::is_empty")]
    vendor: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    available: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    variants: Vec<VariantRow>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    prices: Vec<PriceRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inventory: Option<String>,
    /// Microseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<i64>,
    /// Microseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    updated: Option<i64>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct VariantRow {
    id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    inventory: Option<String>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PriceRow {
    id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    variant_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    title: String,
    amount: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    currency: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    compare_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inventory: Option<String>,
}

/// Encodes the facts for their column.
pub(super) fn encode(details: &Details) -> Result<String> {
    let text = |decimal: &Option<Decimal>| decimal.as_ref().map(ToString::to_string);
    let variants = details.variants.iter().map(|variant| VariantRow {
        id: variant.id.clone(),
        title: variant.title.clone(),
        inventory: text(&variant.inventory),
    });
    let prices = details.prices.iter().map(|price| PriceRow {
        id: price.id.clone(),
        variant_id: price.variant_id.clone(),
        title: price.title.clone(),
        amount: price.amount.to_string(),
        currency: price.currency.clone(),
        compare_at: text(&price.compare_at),
        inventory: text(&price.inventory),
    });
    let row = DetailsRow {
        vendor: details.vendor.clone(),
        status: details.status.clone(),
        available: details.available,
        tags: details.tags.clone(),
        variants: variants.collect(),
        prices: prices.collect(),
        inventory: text(&details.inventory),
        created: details.created.map(Timestamp::micros),
        updated: details.updated.map(Timestamp::micros),
    };
    serde_json::to_string(&row).map_err(Error::internal)
}

/// Decodes the facts from their column.
pub(super) fn decode(cell: Cell<'_>, column: &str) -> Result<Details> {
    let row: DetailsRow = cell.json(column)?;
    let optional = |text: Option<String>| text.map(|text| decimal(cell, &text)).transpose();
    let variants = row.variants.into_iter().map(|variant| {
        Ok(Variant {
            id: variant.id,
            title: variant.title,
            inventory: optional(variant.inventory)?,
        })
    });
    let prices = row.prices.into_iter().map(|price| {
        Ok(Price {
            id: price.id,
            variant_id: price.variant_id,
            title: price.title,
            amount: decimal(cell, &price.amount)?,
            currency: price.currency,
            compare_at: optional(price.compare_at)?,
            inventory: optional(price.inventory)?,
        })
    });
    Ok(Details {
        vendor: row.vendor,
        status: row.status,
        available: row.available,
        tags: row.tags,
        variants: variants.collect::<Result<_>>()?,
        prices: prices.collect::<Result<_>>()?,
        inventory: optional(row.inventory)?,
        created: row.created.map(Timestamp::from_micros),
        updated: row.updated.map(Timestamp::from_micros),
    })
}

fn decimal(cell: Cell<'_>, text: &str) -> Result<Decimal> {
    let decimal = Decimal::parse(text);
    decimal.ok_or_else(|| cell.corrupt(format!("{text:?} is not a decimal number")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CELL: Cell<'_> = Cell {
        table: "products",
        tenant: "t",
        key: "p1",
        column: "details",
    };

    #[test]
    fn product_details_round_trip_through_their_column() {
        let decimal = |text| Decimal::parse(text).unwrap();
        let whole = Details {
            vendor: "Acme".into(),
            status: "active".into(),
            available: Some(false),
            tags: vec!["a".into(), "b".into()],
            variants: vec![Variant {
                id: "v".into(),
                title: "Red".into(),
                inventory: Some(decimal("-1.5")),
            }],
            prices: vec![Price {
                id: "x".into(),
                variant_id: "v".into(),
                title: "Sale".into(),
                amount: decimal("19.99"),
                currency: "EUR".into(),
                compare_at: Some(decimal("25")),
                inventory: Some(decimal("0")),
            }],
            inventory: Some(decimal("7")),
            created: Some(Timestamp::from_micros(-1)),
            updated: Some(Timestamp::from_micros(2)),
        };
        for details in [Details::default(), whole] {
            let column = encode(&details).unwrap();
            assert_eq!(decode(CELL, &column).unwrap(), details);
        }
        assert_eq!(encode(&Details::default()).unwrap(), "{}");
    }

    #[test]
    fn an_invalid_column_is_reported_with_its_location() {
        for odd in [
            "",
            "null",
            r#"{"later":1}"#,
            r#"{"inventory":"1e5"}"#,
            r#"{"prices":[{"id":"x"}]}"#,
            r#"{"variants":[{"size":1}]}"#,
        ] {
            let error = decode(CELL, odd).unwrap_err();
            assert_eq!(error.message, "internal error");
            let told = error.source.unwrap().to_string();
            let place = "products.details of \"p1\" in tenant \"t\": ";
            assert!(told.starts_with(place), "{told}");
        }
    }
}
