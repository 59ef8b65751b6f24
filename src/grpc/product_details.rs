//! The typed facts of a product in `endcap.v1`: variants, prices, decimal numbers and times.

use super::{encode, pb};
use crate::domain::{
    Change, Constraint, Decimal, Details, DetailsChanges, FieldPath, Price, Timestamp, Variant,
    Violations,
    field::{DetailsField, PriceField, ProductPart, VariantField},
};

const DECIMAL: &str = "a decimal number of at most 24 digits such as -12.50";
const TIME: &str = "a time from 0001-01-01T00:00:00Z to 9999-12-31T23:59:59.999999999Z";

/// The range of [`TIME`], in Unix seconds.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Decodes the typed facts of the product at index `at`, as changes that set them. Facts that are
/// not in the message are kept. Takes the decoded lists and texts out of the message.
pub(super) fn decode(at: usize, product: &mut pb::Product, to: &mut Violations) -> DetailsChanges {
    let field = |field| FieldPath::Product(at, ProductPart::Details(field));
    let inventory = decimal(field(DetailsField::Inventory), &product.inventory, to);
    let created = product.product_create_time;
    let updated = product.product_update_time;
    let variants = std::mem::take(&mut product.variants).into_iter();
    let variants = variants.enumerate().map(|(n, one)| variant(at, n, one, to));
    let variants = variants.collect();
    let prices = std::mem::take(&mut product.prices).into_iter();
    let prices = prices.enumerate();
    let prices = prices
        .filter_map(|(n, one)| price(at, n, one, to))
        .collect();
    DetailsChanges {
        vendor: text(std::mem::take(&mut product.vendor)),
        status: text(std::mem::take(&mut product.status)),
        available: set(product.available),
        tags: list(std::mem::take(&mut product.tags)),
        variants: list(variants),
        prices: list(prices),
        inventory: set(inventory),
        created: set(created.and_then(|it| time(field(DetailsField::Created), it, to))),
        updated: set(updated.and_then(|it| time(field(DetailsField::Updated), it, to))),
    }
}

fn set<T>(value: Option<T>) -> Change<T> {
    value.map_or(Change::Keep, Change::Set)
}

fn text(text: String) -> Change<String> {
    set((!text.is_empty()).then_some(text))
}

fn list<T>(items: Vec<T>) -> Change<Vec<T>> {
    set((!items.is_empty()).then_some(items))
}

fn variant(at: usize, index: usize, variant: pb::ProductVariant, to: &mut Violations) -> Variant {
    let part = ProductPart::Variant(index, VariantField::Inventory);
    Variant {
        inventory: decimal(FieldPath::Product(at, part), &variant.inventory, to),
        id: variant.id,
        title: variant.title,
    }
}

fn price(at: usize, index: usize, price: pb::ProductPrice, to: &mut Violations) -> Option<Price> {
    let field = |field| FieldPath::Product(at, ProductPart::Price(index, field));
    let amount = decimal(field(PriceField::Amount), &price.amount, to);
    if price.amount.is_empty() {
        to.add(field(PriceField::Amount), "", Constraint::Required);
    }
    let compare_at = &price.compare_at_price;
    let compare_at = decimal(field(PriceField::CompareAt), compare_at, to);
    let inventory = decimal(field(PriceField::Inventory), &price.inventory, to);
    Some(Price {
        id: price.id,
        variant_id: price.variant_id,
        title: price.title,
        amount: amount?,
        currency: price.currency,
        compare_at,
        inventory,
    })
}

/// The decimal number in a text; `None` if the text is empty, or invalid and reported.
fn decimal(field: FieldPath, text: &str, to: &mut Violations) -> Option<Decimal> {
    if text.is_empty() {
        return None;
    }
    let decimal = Decimal::parse(text);
    if decimal.is_none() {
        to.add(field, text, Constraint::Malformed(DECIMAL));
    }
    decimal
}

fn time(field: FieldPath, time: prost_types::Timestamp, to: &mut Violations) -> Option<Timestamp> {
    let nanos = i64::from(time.nanos);
    if !SECONDS.contains(&time.seconds) || !(0..1_000_000_000).contains(&nanos) {
        let value = format!("{} s, {nanos} ns", time.seconds);
        to.add(field, &value, Constraint::Malformed(TIME));
        return None;
    }
    let micros = time.seconds * 1_000_000 + nanos / 1_000;
    Some(Timestamp::from_micros(micros))
}

/// Copies the typed facts into the message: those for whose field name `has` returns `true`.
pub(super) fn encode(details: &Details, has: impl Fn(&str) -> bool, to: &mut pb::Product) {
    let number = |decimal: &Option<Decimal>| {
        let text = decimal.as_ref().map(ToString::to_string);
        text.unwrap_or_default()
    };
    let when = |name, time: Option<Timestamp>| time.filter(|_| has(name)).map(encode::time);
    if has("vendor") {
        to.vendor.clone_from(&details.vendor);
    }
    if has("status") {
        to.status.clone_from(&details.status);
    }
    if has("available") {
        to.available = details.available;
    }
    if has("tags") {
        to.tags.clone_from(&details.tags);
    }
    if has("variants") {
        let variants = details.variants.iter().map(|variant| pb::ProductVariant {
            id: variant.id.clone(),
            title: variant.title.clone(),
            inventory: number(&variant.inventory),
        });
        to.variants = variants.collect();
    }
    if has("prices") {
        let prices = details.prices.iter().map(|price| pb::ProductPrice {
            id: price.id.clone(),
            variant_id: price.variant_id.clone(),
            title: price.title.clone(),
            amount: price.amount.to_string(),
            currency: price.currency.clone(),
            compare_at_price: number(&price.compare_at),
            inventory: number(&price.inventory),
        });
        to.prices = prices.collect();
    }
    if has("inventory") {
        to.inventory = number(&details.inventory);
    }
    to.product_create_time = when("product_create_time", details.created);
    to.product_update_time = when("product_update_time", details.updated);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_truncated_to_microseconds_and_bounded() {
        let read = |seconds, nanos| {
            let mut violations = Violations::default();
            let when = prost_types::Timestamp { seconds, nanos };
            let time = time("time".into(), when, &mut violations);
            violations.finish().map(|()| time.unwrap().micros())
        };
        assert_eq!(read(1, 2_999).unwrap(), 1_000_002);
        assert_eq!(read(-1, 999_999_999).unwrap(), -1);
        for good in [*SECONDS.start(), *SECONDS.end()] {
            assert_eq!(read(good, 0).unwrap(), good * 1_000_000);
        }
        for (seconds, nanos) in [
            (*SECONDS.start() - 1, 0),
            (*SECONDS.end() + 1, 0),
            (i64::MAX, 0),
            (0, -1),
            (0, 1_000_000_000),
        ] {
            assert!(read(seconds, nanos).is_err(), "{seconds} {nanos}");
        }
    }
}
