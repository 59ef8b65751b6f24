//! The typed properties of a product, which rules can evaluate: prices, variants, tags, stock and
//! more. The master system of the product supplies them.

use std::collections::BTreeSet;

use super::{
    change::Change,
    constraint::Constraint,
    decimal::Decimal,
    error::Violations,
    field::{DetailsField, FieldPath, PriceField, ProductPart, VariantField},
    limits::Limits,
    time::Timestamp,
};

/// The maximum number of facts of a product. It is not a setting, because changing it would change
/// the membership of collections.
pub const MAX_FACTS: usize = 1_000;

/// The maximum number of characters of each text.
pub const TEXT_CHARS: usize = 255;

/// The typed properties of a product; all are optional.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// The vendor or manufacturer; empty for none.
    pub vendor: String,
    /// The status in the master system, such as "active"; empty for none.
    pub status: String,
    /// Whether it can be bought.
    pub available: Option<bool>,
    /// The tags, in the given order, without duplicates.
    pub tags: Vec<String>,
    /// The variants in which it can be bought.
    pub variants: Vec<Variant>,
    /// The prices of the product and of its variants.
    pub prices: Vec<Price>,
    /// The quantity in stock of the whole product; `None` if it is not tracked.
    pub inventory: Option<Decimal>,
    /// When it was created in the master system.
    pub created: Option<Timestamp>,
    /// When it last changed in the master system.
    pub updated: Option<Timestamp>,
}

/// A variant of a product.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variant {
    /// Unique in the product.
    pub id: String,
    /// May be empty.
    pub title: String,
    /// The quantity in stock; `None` if it is not tracked.
    pub inventory: Option<Decimal>,
}

/// A price of a product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    /// Unique in the product.
    pub id: String,
    /// The id of the variant with this price; empty for none.
    pub variant_id: String,
    /// May be empty.
    pub title: String,
    /// The amount, in units of the currency.
    pub amount: Decimal,
    /// The ISO 4217 code in upper case; may be empty.
    pub currency: String,
    /// The price before a reduction, in units of the currency.
    pub compare_at: Option<Decimal>,
    /// The quantity in stock at this price; `None` if it is not tracked.
    pub inventory: Option<Decimal>,
}

/// The changes of a product's details. A new list replaces the old one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DetailsChanges {
    /// [`Details::vendor`].
    pub vendor: Change<String>,
    /// [`Details::status`].
    pub status: Change<String>,
    /// [`Details::available`].
    pub available: Change<bool>,
    /// [`Details::tags`].
    pub tags: Change<Vec<String>>,
    /// [`Details::variants`].
    pub variants: Change<Vec<Variant>>,
    /// [`Details::prices`].
    pub prices: Change<Vec<Price>>,
    /// [`Details::inventory`].
    pub inventory: Change<Decimal>,
    /// [`Details::created`].
    pub created: Change<Timestamp>,
    /// [`Details::updated`].
    pub updated: Change<Timestamp>,
}

impl DetailsChanges {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Removes the change of a field.
    pub fn keep(&mut self, field: DetailsField) {
        match field {
            DetailsField::Vendor => self.vendor = Change::Keep,
            DetailsField::Status => self.status = Change::Keep,
            DetailsField::Available => self.available = Change::Keep,
            DetailsField::Tags => self.tags = Change::Keep,
            DetailsField::Variants => self.variants = Change::Keep,
            DetailsField::Prices => self.prices = Change::Keep,
            DetailsField::Inventory => self.inventory = Change::Keep,
            DetailsField::Created => self.created = Change::Keep,
            DetailsField::Updated => self.updated = Change::Keep,
        }
    }

    /// Applies the changes. Duplicate tags are removed.
    pub fn apply(self, details: &mut Details) {
        self.vendor.apply_or_default(&mut details.vendor);
        self.status.apply_or_default(&mut details.status);
        self.available.apply(&mut details.available);
        self.tags.apply_or_default(&mut details.tags);
        let mut seen = BTreeSet::new();
        details.tags.retain(|tag| seen.insert(tag.clone()));
        self.variants.apply_or_default(&mut details.variants);
        self.prices.apply_or_default(&mut details.prices);
        self.inventory.apply(&mut details.inventory);
        self.created.apply(&mut details.created);
        self.updated.apply(&mut details.updated);
    }
}

impl Details {
    /// The number of facts: each known value is one.
    pub fn facts(&self) -> usize {
        let texts = |texts: &[&String]| texts.iter().filter(|text| !text.is_empty()).count();
        let numbers = |numbers: &[&Option<Decimal>]| numbers.iter().flat_map(|n| n.iter()).count();
        let variants = self.variants.iter();
        let variants = variants.map(|it| texts(&[&it.title]) + numbers(&[&it.inventory]));
        let prices = self.prices.iter().map(|price| {
            let others = [&price.compare_at, &price.inventory];
            1 + texts(&[&price.title, &price.currency]) + numbers(&others)
        });
        texts(&[&self.vendor, &self.status])
            + numbers(&[&self.inventory])
            + usize::from(self.available.is_some())
            + [self.created, self.updated].iter().flatten().count()
            + self.tags.len()
            + variants.sum::<usize>()
            + prices.sum::<usize>()
    }

    /// Checks the details of the product at index `at` of the request.
    pub fn check(&self, at: usize, limits: &Limits, violations: &mut Violations) {
        let mut check = Check { at, violations };
        let field = |field| FieldPath::Product(at, ProductPart::Details(field));
        for (part, text) in [
            (DetailsField::Vendor, &self.vendor),
            (DetailsField::Status, &self.status),
        ] {
            check.text(ProductPart::Details(part), text);
        }
        check.number(
            ProductPart::Details(DetailsField::Inventory),
            self.inventory.as_ref(),
        );
        for (part, count, max) in [
            (DetailsField::Tags, self.tags.len(), limits.product_tags),
            (
                DetailsField::Variants,
                self.variants.len(),
                limits.product_variants,
            ),
            (
                DetailsField::Prices,
                self.prices.len(),
                limits.product_prices,
            ),
        ] {
            check.violations.count(field(part), count, max);
            // With too many items, they are not reported individually.
            if count > max {
                return;
            }
        }
        let facts = FieldPath::Product(at, ProductPart::Facts);
        check.violations.count(facts, self.facts(), MAX_FACTS);
        for (index, tag) in self.tags.iter().enumerate() {
            check.name(ProductPart::Tag(index), tag);
        }
        check.variants(&self.variants);
        check.prices(&self.prices, &self.variants);
    }
}

/// A product, by its index in the request, and its violations.
struct Check<'a> {
    at: usize,
    violations: &'a mut Violations,
}

impl Check<'_> {
    fn add(&mut self, part: ProductPart, value: &str, constraint: Constraint) {
        let field = FieldPath::Product(self.at, part);
        self.violations.add(field, value, constraint);
    }

    fn text(&mut self, part: ProductPart, text: &str) {
        let field = FieldPath::Product(self.at, part);
        self.violations.length(field, text, TEXT_CHARS);
    }

    fn name(&mut self, part: ProductPart, text: &str) {
        if text.trim().is_empty() {
            self.add(part, text, Constraint::Empty);
        }
        self.text(part, text);
    }

    fn number(&mut self, part: ProductPart, number: Option<&Decimal>) {
        if let Some(long) = number.filter(|number| !number.is_short()) {
            let form = "a decimal number of at most 24 digits";
            self.add(part, &long.to_string(), Constraint::Malformed(form));
        }
    }

    fn variants(&mut self, variants: &[Variant]) {
        let mut seen = BTreeSet::new();
        for (index, variant) in variants.iter().enumerate() {
            let part = |field| ProductPart::Variant(index, field);
            self.name(part(VariantField::Id), &variant.id);
            if !seen.insert(&variant.id) {
                self.add(part(VariantField::Id), &variant.id, Constraint::Repeated);
            }
            self.text(part(VariantField::Title), &variant.title);
            self.number(part(VariantField::Inventory), variant.inventory.as_ref());
        }
    }

    fn prices(&mut self, prices: &[Price], variants: &[Variant]) {
        let variants: BTreeSet<_> = variants.iter().map(|variant| &variant.id).collect();
        let mut seen = BTreeSet::new();
        for (index, price) in prices.iter().enumerate() {
            let part = |field| ProductPart::Price(index, field);
            self.name(part(PriceField::Id), &price.id);
            if !seen.insert(&price.id) {
                self.add(part(PriceField::Id), &price.id, Constraint::Repeated);
            }
            self.text(part(PriceField::Title), &price.title);
            let id = &price.variant_id;
            self.text(part(PriceField::VariantId), id);
            if !id.is_empty() && !variants.is_empty() && !variants.contains(id) {
                let known = "the ids of the product's variants";
                self.add(part(PriceField::VariantId), id, Constraint::Unknown(known));
            }
            let currency = price.currency.as_bytes();
            let is_code = currency.len() == 3 && currency.iter().all(u8::is_ascii_uppercase);
            if !currency.is_empty() && !is_code {
                let form = Constraint::Malformed("an ISO 4217 code of three capitals such as USD");
                self.add(part(PriceField::Currency), &price.currency, form);
            }
            self.number(part(PriceField::Amount), Some(&price.amount));
            self.number(part(PriceField::CompareAt), price.compare_at.as_ref());
            self.number(part(PriceField::Inventory), price.inventory.as_ref());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(details: &Details) -> Vec<ProductPart> {
        let mut violations = Violations::default();
        details.check(0, &Limits::default(), &mut violations);
        let Err(error) = violations.finish() else {
            return Vec::new();
        };
        let fields = error
            .violations
            .into_iter()
            .map(|violation| violation.field);
        fields
            .map(|field| {
                let FieldPath::Product(0, part) = field else {
                    panic!("{field}");
                };
                part
            })
            .collect()
    }

    fn price(id: &str) -> Price {
        Price {
            id: id.into(),
            variant_id: String::new(),
            title: String::new(),
            amount: Decimal::parse("1").unwrap(),
            currency: String::new(),
            compare_at: None,
            inventory: None,
        }
    }

    fn variant(id: &str) -> Variant {
        Variant {
            id: id.into(),
            ..Variant::default()
        }
    }

    #[test]
    fn each_violation_names_its_field() {
        let odd = Price {
            variant_id: "x".into(),
            currency: "usd".into(),
            compare_at: Decimal::of_json_number("1e24"),
            ..price("a")
        };
        let details = Details {
            vendor: "v".repeat(256),
            status: "s".repeat(255),
            tags: vec!["new".into(), " ".into()],
            variants: vec![variant(""), variant("v"), variant("v")],
            prices: vec![price("a"), odd],
            ..Details::default()
        };
        let expected = [
            ProductPart::Details(DetailsField::Vendor),
            ProductPart::Tag(1),
            ProductPart::Variant(0, VariantField::Id),
            ProductPart::Variant(2, VariantField::Id),
            ProductPart::Price(1, PriceField::Id),
            ProductPart::Price(1, PriceField::VariantId),
            ProductPart::Price(1, PriceField::Currency),
            ProductPart::Price(1, PriceField::CompareAt),
        ];
        assert_eq!(faults(&details), expected);
        let unknown_variants = Details {
            prices: vec![Price {
                variant_id: "x".into(),
                currency: "USD".into(),
                ..price("a")
            }],
            ..Details::default()
        };
        assert_eq!(faults(&unknown_variants), []);
    }

    #[test]
    fn lists_and_facts_are_limited() {
        let ids = |count: usize| (0..count).map(|id| id.to_string());
        let with = |tags, variants, prices| Details {
            tags: ids(tags).collect(),
            variants: ids(variants).map(|id| variant(&id)).collect(),
            prices: ids(prices).map(|id| price(&id)).collect(),
            ..Details::default()
        };
        assert_eq!(faults(&with(250, 250, 750)), []);
        assert_eq!(faults(&with(0, 0, 1_000)), []);
        assert_eq!(faults(&with(1, 0, 1_000)), [ProductPart::Facts]);
        let too_many = |field| [ProductPart::Details(field)];
        assert_eq!(faults(&with(251, 0, 0)), too_many(DetailsField::Tags));
        assert_eq!(faults(&with(0, 251, 0)), too_many(DetailsField::Variants));
        assert_eq!(faults(&with(0, 0, 1_001)), too_many(DetailsField::Prices));
    }

    #[test]
    fn changes_apply_field_by_field() {
        let mut details = Details {
            vendor: "v".into(),
            available: Some(true),
            ..Details::default()
        };
        let mut changes = DetailsChanges {
            tags: Change::Set(["b", "a", "b"].map(String::from).into()),
            available: Change::Clear,
            status: Change::Set("active".into()),
            ..DetailsChanges::default()
        };
        changes.keep(DetailsField::Status);
        changes.apply(&mut details);
        let expected = Details {
            vendor: "v".into(),
            tags: ["b", "a"].map(String::from).into(),
            ..Details::default()
        };
        assert_eq!(details, expected);
        assert_eq!(details.facts(), 3);
    }
}
