//! Converts the typed facts of a product from and to their JSON column. [`super::products`] has the
//! other columns.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::cell::Cell;
use crate::domain::{Decimal, Details, Error, Field, Needs, Price, Result, Timestamp, Variant};

/// The content of the column. Unknown facts are left out. A field that this version does not know
/// is an error, because it would be lost at the next write.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct DetailsRow<'a> {
    #[serde(borrow, skip_serializing_if = "Text::is_empty")]
    vendor: Text<'a>,
    #[serde(borrow, skip_serializing_if = "Text::is_empty")]
    status: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    available: Option<bool>,
    #[serde(borrow, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Text<'a>>,
    #[serde(borrow, skip_serializing_if = "Vec::is_empty")]
    variants: Vec<VariantRow<'a>>,
    #[serde(borrow, skip_serializing_if = "Vec::is_empty")]
    prices: Vec<PriceRow<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    inventory: Option<Text<'a>>,
    /// Microseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<i64>,
    /// Microseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    updated: Option<i64>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct VariantRow<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow, skip_serializing_if = "Text::is_empty")]
    title: Text<'a>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    inventory: Option<Text<'a>>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PriceRow<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow, skip_serializing_if = "Text::is_empty")]
    variant_id: Text<'a>,
    #[serde(borrow, skip_serializing_if = "Text::is_empty")]
    title: Text<'a>,
    #[serde(borrow)]
    amount: Text<'a>,
    #[serde(borrow, skip_serializing_if = "Text::is_empty")]
    currency: Text<'a>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    compare_at: Option<Text<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    inventory: Option<Text<'a>>,
}

/// A text of the column, copied only if it has escapes. Serde borrows no text in a list otherwise.
#[derive(Default, Serialize, Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Text<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> From<&'a String> for Text<'a> {
    fn from(text: &'a String) -> Self {
        Self(text.into())
    }
}

/// Encodes the facts for their column.
pub(super) fn encode(details: &Details) -> Result<String> {
    let text = |decimal: &Option<Decimal>| {
        let decimal = decimal.as_ref().map(ToString::to_string);
        decimal.map(|text| Text(text.into()))
    };
    let variants = details.variants.iter().map(|variant| VariantRow {
        id: (&variant.id).into(),
        title: (&variant.title).into(),
        inventory: text(&variant.inventory),
    });
    let prices = details.prices.iter().map(|price| PriceRow {
        id: (&price.id).into(),
        variant_id: (&price.variant_id).into(),
        title: (&price.title).into(),
        amount: Text(price.amount.to_string().into()),
        currency: (&price.currency).into(),
        compare_at: text(&price.compare_at),
        inventory: text(&price.inventory),
    });
    let row = DetailsRow {
        vendor: (&details.vendor).into(),
        status: (&details.status).into(),
        available: details.available,
        tags: details.tags.iter().map(Into::into).collect(),
        variants: variants.collect(),
        prices: prices.collect(),
        inventory: text(&details.inventory),
        created: details.created.map(Timestamp::micros),
        updated: details.updated.map(Timestamp::micros),
    };
    serde_json::to_string(&row).map_err(Error::internal)
}

/// Decodes what is needed of the facts from their column. The rest may be left out.
pub(super) fn decode(cell: Cell<'_>, column: &str, needs: &Needs) -> Result<Details> {
    let row: DetailsRow<'_> = cell.json(column)?;
    let text = |field: Field, text: Text<'_>| {
        let needed = needs.has_detail(&field).then(|| text.0.into_owned());
        needed.unwrap_or_default()
    };
    let optional = |field: Field, text: Option<Text<'_>>| {
        let needed = text.filter(|_| needs.has_detail(&field));
        needed.map(|text| decimal(cell, &text.0)).transpose()
    };
    let rows = needs.has_rows();
    let variants = row.variants.into_iter().filter(|_| rows).map(|variant| {
        Ok(Variant {
            id: variant.id.0.into_owned(),
            title: text(Field::VariantTitle, variant.title),
            inventory: optional(Field::Inventory, variant.inventory)?,
        })
    });
    let prices = row.prices.into_iter().filter(|_| rows).map(|price| {
        Ok(Price {
            id: price.id.0.into_owned(),
            variant_id: price.variant_id.0.into_owned(),
            title: text(Field::VariantTitle, price.title),
            amount: decimal(cell, &price.amount.0)?,
            currency: text(Field::PriceCurrency, price.currency),
            compare_at: optional(Field::CompareAtPrice, price.compare_at)?,
            inventory: optional(Field::Inventory, price.inventory)?,
        })
    });
    let tags = row.tags.into_iter();
    let tags = tags.filter(|_| needs.has_detail(&Field::Tag));
    Ok(Details {
        vendor: text(Field::Vendor, row.vendor),
        status: text(Field::Status, row.status),
        available: row.available,
        tags: tags.map(|tag| tag.0.into_owned()).collect(),
        variants: variants.collect::<Result<_>>()?,
        prices: prices.collect::<Result<_>>()?,
        inventory: optional(Field::Inventory, row.inventory)?,
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
    use crate::domain::{CustomProperties, Facts, Product, ProductId, Sort, SortBy, facts::Scope};

    const CELL: Cell<'_> = Cell {
        table: "products",
        tenant: "t",
        key: "p1",
        column: "details",
    };

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    fn whole() -> Details {
        Details {
            vendor: "Acme".into(),
            status: "active".into(),
            available: Some(false),
            tags: vec!["a".into(), "b\"\n".into()],
            variants: vec![Variant {
                id: "v".into(),
                title: "Red".into(),
                inventory: Some(decimal("-1.5")),
            }],
            prices: vec![
                Price {
                    id: "x".into(),
                    variant_id: "v".into(),
                    title: "Sale".into(),
                    amount: decimal("19.99"),
                    currency: "EUR".into(),
                    compare_at: Some(decimal("25")),
                    inventory: Some(decimal("0")),
                },
                Price {
                    id: "y".into(),
                    variant_id: "v".into(),
                    title: String::new(),
                    amount: decimal("1"),
                    currency: "USD".into(),
                    compare_at: None,
                    inventory: None,
                },
            ],
            inventory: Some(decimal("7")),
            created: Some(Timestamp::from_micros(-1)),
            updated: Some(Timestamp::from_micros(2)),
        }
    }

    fn product(details: Details) -> Product {
        Product {
            id: ProductId::trusted("p1"),
            title: "One".into(),
            slug: "one".into(),
            product_type: "shoes".into(),
            attributes: CustomProperties::new(),
            details,
            create_time: Timestamp::from_micros(5),
            update_time: Timestamp::from_micros(6),
        }
    }

    #[test]
    fn product_details_round_trip_through_their_column() {
        for details in [Details::default(), whole()] {
            let column = encode(&details).unwrap();
            let all = Needs::of_columns();
            assert_eq!(decode(CELL, &column, &all).unwrap(), details);
        }
        assert_eq!(encode(&Details::default()).unwrap(), "{}");
    }

    /// The details with and without what belongs to single rows or to the whole product.
    fn some() -> [Details; 5] {
        let no_prices = Details {
            prices: Vec::new(),
            ..whole()
        };
        let no_rows = Details {
            variants: Vec::new(),
            ..no_prices.clone()
        };
        let untracked = Details {
            inventory: None,
            ..whole()
        };
        [whole(), no_prices, no_rows, untracked, Details::default()]
    }

    #[test]
    fn what_rules_need_is_decoded() {
        let now = Timestamp::from_micros(9);
        let attribute = Field::Attribute("colour".into());
        for (details, field) in some().into_iter().flat_map(|details| {
            let fields = Field::NAMED.into_iter().chain([attribute.clone()]);
            fields.map(move |field| (details.clone(), field))
        }) {
            let mut needs = Needs::default();
            needs.add(&field);
            let part = decode(CELL, &encode(&details).unwrap(), &needs).unwrap();
            let all = Facts::of(&product(details), now);
            let needed = Facts::needed(&product(part), now, &needs);
            let values = |facts: &Facts| {
                let rows = (0..facts.row_count()).map(Scope::Row).chain([Scope::All]);
                let values = rows.map(|row| facts.values(&field, row).cloned().collect());
                values.collect::<Vec<Vec<_>>>()
            };
            let (all, needed) = (values(&all), values(&needed));
            // A field of the whole product is the same in every row.
            assert_eq!(all.last(), needed.last(), "{field:?}");
            assert!(all.iter().all(|row| needed.contains(row)), "{field:?}");
        }
    }

    #[test]
    fn what_a_sort_order_needs_is_decoded() {
        let sorts = [
            SortBy::Created,
            SortBy::Title,
            SortBy::Price {
                currency: "USD".into(),
            },
            SortBy::Inventory,
            SortBy::Attribute("colour".into()),
        ];
        for (details, by, out_of_stock_last) in some().into_iter().flat_map(|details| {
            let sorts = sorts.clone().into_iter();
            sorts.flat_map(move |by| {
                let last = [true, false];
                let details = details.clone();
                last.map(move |last| (details.clone(), by.clone(), last))
            })
        }) {
            let sort = Sort {
                by,
                descending: false,
                out_of_stock_last,
            };
            let mut needs = Needs::default();
            sort.add_needs(&mut needs);
            let mut part = decode(CELL, &encode(&details).unwrap(), &needs).unwrap();
            if !needs.details {
                part = Details::default();
            }
            let keys = [details, part].map(|details| sort.key(Some(&product(details))));
            assert_eq!(keys[0], keys[1], "{sort:?}");
        }
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
            let error = decode(CELL, odd, &Needs::of_columns()).unwrap_err();
            assert_eq!(error.message, "internal error");
            let told = error.source.unwrap().to_string();
            let place = "products.details of \"p1\" in tenant \"t\": ";
            assert!(told.starts_with(place), "{told}");
        }
    }
}
