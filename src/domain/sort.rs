//! The automatic sort order of a smart collection's products, as opposed to a manual order.
//! Products are sorted by a key, with ties broken by id.
//!
//! Keys are texts whose bytewise order is the sort order. So the store can keep them in an index
//! and find the position of a product without reading the others.

use super::{
    constraint::Constraint,
    decimal::Decimal,
    details::Details,
    error::Violations,
    facts::{Facts, Needs, Scope, Value},
    field::FieldPath,
    product::Product,
    rules::Field,
    search::folded,
};

/// How the products of a smart collection are sorted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sort {
    /// What to sort by.
    pub by: SortBy,
    /// Whether to sort in descending order.
    pub descending: bool,
    /// Whether products that are out of stock come after all others, in either direction.
    pub out_of_stock_last: bool,
}

/// The values by which products can be sorted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SortBy {
    /// The time of creation in the master system, or else of the registration.
    Created,
    /// The title, in its normalized form.
    Title,
    /// The lowest price in a currency. Prices without a currency are included.
    Price {
        /// The ISO 4217 code in upper case.
        currency: String,
    },
    /// The quantity in stock, see [`stock`].
    Inventory,
    /// The lowest number at a path in the attributes.
    Attribute(String),
}

/// The number of characters of a title that count, because index keys are limited in length.
const TITLE_CHARS: usize = 200;

/// Whether the text has the form of an ISO 4217 code.
pub fn is_currency(code: &str) -> bool {
    code.len() == 3 && code.bytes().all(|letter| letter.is_ascii_uppercase())
}

impl Sort {
    /// Checks the currency or the path.
    pub fn check(&self, violations: &mut Violations) {
        match &self.by {
            SortBy::Price { currency } => {
                if !is_currency(currency) {
                    let form = Constraint::Malformed("an ISO 4217 code such as EUR");
                    violations.add(FieldPath::Sort, currency, form);
                }
            }
            SortBy::Attribute(path) => {
                let field = Field::from_name(&format!("attributes.{path}"));
                if !matches!(field, Some(Field::Attribute(_))) {
                    let form = Constraint::Malformed("the path of an attribute");
                    violations.add(FieldPath::Sort, path, form);
                }
            }
            SortBy::Created | SortBy::Title | SortBy::Inventory => {}
        }
    }

    /// Adds what the sort key depends on.
    pub fn add_needs(&self, needs: &mut Needs) {
        match &self.by {
            SortBy::Created => {
                needs.add(&Field::Created);
                needs.outline = true;
            }
            SortBy::Title => needs.add(&Field::Title),
            SortBy::Price { .. } => {
                needs.add(&Field::Price);
                needs.add(&Field::PriceCurrency);
            }
            SortBy::Inventory => needs.add(&Field::Inventory),
            SortBy::Attribute(path) => needs.add(&Field::Attribute(path.clone())),
        }
        if self.out_of_stock_last {
            needs.add(&Field::Inventory);
        }
    }

    /// The sort key of a product; `None` stands for an unregistered product, which has no values.
    pub fn key(&self, product: Option<&Product>) -> String {
        let is_out = self.out_of_stock_last && product.is_some_and(is_out_of_stock);
        let group = if is_out { '1' } else { '0' };
        match product.and_then(|product| self.compared(product)) {
            Some(key) => format!("{group}0{key}"),
            // Products without a value come last in both directions.
            None => format!("{group}1"),
        }
    }

    fn compared(&self, product: &Product) -> Option<String> {
        let number = match &self.by {
            SortBy::Title if product.title.is_empty() => return None,
            SortBy::Title => return Some(self.title(&product.title)),
            SortBy::Created => {
                let created = product.details.created.unwrap_or(product.create_time);
                Decimal::parse(&created.micros().to_string())
            }
            SortBy::Price { currency } => {
                let prices = product.details.prices.iter();
                let prices =
                    prices.filter(|price| price.currency.is_empty() || price.currency == *currency);
                prices.map(|price| &price.amount).min().cloned()
            }
            SortBy::Inventory => stock(&product.details),
            SortBy::Attribute(path) => {
                let facts = Facts::of(product, product.update_time);
                let field = Field::Attribute(path.clone());
                let values = facts.values(&field, Scope::All);
                let numbers = values.filter_map(|value| match value {
                    Value::Number(number) => Some(number),
                    Value::Text(_) | Value::Boolean(_) | Value::Time(_) | Value::Age(_) => None,
                });
                numbers.min().cloned()
            }
        };
        Some(number?.sort_text(self.descending))
    }

    fn title(&self, title: &str) -> String {
        let title: String = folded(title).chars().take(TITLE_CHARS).collect();
        if !self.descending {
            return title;
        }
        // Each byte is subtracted from 255. The final `~` is greater than all digits, so that a
        // title comes before any prefix of it.
        let bytes = title.bytes().map(|byte| format!("{:02x}", u8::MAX - byte));
        bytes.chain(["~".into()]).collect()
    }
}

/// The quantity of a product in stock: that of the whole product, or else the sum over its variants
/// and prices. A variant's own quantity only counts if none of its prices has one. `None` if
/// nothing is tracked.
pub fn stock(details: &Details) -> Option<Decimal> {
    if let Some(whole) = &details.inventory {
        return Some(whole.clone());
    }
    let of_prices = || {
        let prices = details.prices.iter();
        prices.filter_map(|price| Some((&price.variant_id, price.inventory.as_ref()?)))
    };
    let has_own = |id: &String| !id.is_empty() && of_prices().any(|(variant, _)| variant == id);
    let variants = details.variants.iter();
    let of_variants = variants
        .filter(|variant| !has_own(&variant.id))
        .filter_map(|variant| variant.inventory.as_ref());
    let mut tracked = of_prices()
        .map(|(_, own)| own)
        .chain(of_variants)
        .peekable();
    tracked.peek()?;
    Some(tracked.sum())
}

fn is_out_of_stock(product: &Product) -> bool {
    let none = Decimal::parse("0");
    stock(&product.details).is_some_and(|stock| Some(stock) <= none)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CustomProperties, Price, ProductId, Timestamp, Variant};

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    fn product(title: &str, amounts: &[(&str, &str)], inventory: Option<&str>) -> Product {
        let prices = amounts.iter().map(|(amount, currency)| Price {
            id: (*amount).into(),
            variant_id: String::new(),
            title: String::new(),
            amount: decimal(amount),
            currency: (*currency).into(),
            compare_at: None,
            inventory: None,
        });
        Product {
            id: ProductId::trusted(title),
            title: title.into(),
            slug: String::new(),
            product_type: String::new(),
            attributes: CustomProperties::new(),
            details: Details {
                prices: prices.collect(),
                inventory: inventory.map(decimal),
                ..Details::default()
            },
            create_time: Timestamp::from_micros(1),
            update_time: Timestamp::from_micros(1),
        }
    }

    fn sorted<'a>(sort: &Sort, products: &'a [Product]) -> Vec<&'a str> {
        let mut keys: Vec<_> = products
            .iter()
            .map(|product| (sort.key(Some(product)), product.title.as_str()))
            .collect();
        keys.sort_unstable();
        keys.into_iter().map(|(_, title)| title).collect()
    }

    #[test]
    fn titles_are_sorted_case_folded_in_both_directions() {
        let products = ["b", "A", "ab", "\u{e4}", "\u{1f600}"].map(|it| product(it, &[], None));
        let mut sort = Sort {
            by: SortBy::Title,
            descending: false,
            out_of_stock_last: false,
        };
        let ascending = ["A", "ab", "b", "\u{e4}", "\u{1f600}"];
        assert_eq!(sorted(&sort, &products), ascending);
        sort.descending = true;
        let descending: Vec<_> = ascending.into_iter().rev().collect();
        assert_eq!(sorted(&sort, &products), descending);
    }

    #[test]
    fn products_without_a_price_come_last_followed_by_out_of_stock_ones() {
        let products = [
            product("none", &[], None),
            product("out", &[("1", "EUR")], Some("0")),
            product("dollars", &[("1", "USD")], Some("1")),
            product("ten", &[("10.00", "EUR"), ("2", "USD")], None),
            product("nine", &[("9", ""), ("11", "EUR")], Some("3")),
        ];
        let mut sort = Sort {
            by: SortBy::Price {
                currency: "EUR".into(),
            },
            descending: false,
            out_of_stock_last: true,
        };
        let ascending = ["nine", "ten", "dollars", "none", "out"];
        assert_eq!(sorted(&sort, &products), ascending);
        sort.descending = true;
        let descending = ["ten", "nine", "dollars", "none", "out"];
        assert_eq!(sorted(&sort, &products), descending);
    }

    #[test]
    fn stock_is_counted_once() {
        let mut details = Details {
            variants: vec![
                Variant {
                    id: "s".into(),
                    title: String::new(),
                    inventory: Some(decimal("3")),
                },
                Variant {
                    id: "m".into(),
                    title: String::new(),
                    inventory: Some(decimal("4")),
                },
            ],
            ..product("p", &[("1", "EUR"), ("2", "EUR")], None).details
        };
        assert_eq!(stock(&details), Some(decimal("7")));
        details.prices[0].variant_id = "s".into();
        details.prices[0].inventory = Some(decimal("1"));
        assert_eq!(stock(&details), Some(decimal("5")));
        details.inventory = Some(decimal("9"));
        assert_eq!(stock(&details), Some(decimal("9")));
        assert_eq!(stock(&Details::default()), None);
    }
}
