//! The facts of a product: the typed values that rules evaluate, by field and by row.
//!
//! A row is a price. Without prices, each variant is a row, and without variants there is a single
//! row. A row has the title of the price or else of the variant; the amount, the currency and the
//! compare-at price; and the stock of the price, or else of the variant, or else of the whole
//! product. All other fields belong to the product and are the same in every row.
//!
//! Empty texts are not facts. A value in the attributes is a fact at its path: a text, a number or
//! a boolean; a text in RFC 3339 form is also a time; and each element of a list is a fact. Each
//! time also has an age, relative to the time for which the facts are computed. Membership in
//! collections is also a fact, if rules reference the collection; it is added separately. A product
//! has at most [`MAX_FACTS`] facts from its details and attributes. Attributes beyond that, in the
//! order of their names and then of the JSON, are ignored.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
};

use serde_json::Value as JsonValue;

use super::{
    decimal::Decimal,
    details::{Details, MAX_FACTS, Price, Variant},
    ids::CollectionId,
    product::Product,
    rules::condition::{Field, MAX_PATH_CHARS},
    search::folded,
    time::Timestamp,
};

/// The value of a field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// A text, in the form in which texts are compared.
    Text(String),
    /// A number.
    Number(Decimal),
    /// A boolean.
    Boolean(bool),
    /// A point in time.
    Time(Timestamp),
    /// An age: the number of microseconds since a point in time.
    Age(i64),
}

impl Value {
    /// The value of a text in the field: unchanged for ids, case-folded for all other fields.
    pub fn text(field: &Field, text: &str) -> Self {
        Self::Text(if matches!(field, Field::ProductId | Field::Collection) {
            text.into()
        } else {
            folded(text)
        })
    }

    /// The age in microseconds, if the value is one.
    pub fn age(&self) -> Option<i64> {
        if let Self::Age(micros) = self {
            Some(*micros)
        } else {
            None
        }
    }
}

/// For explanations to users.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => text.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Boolean(boolean) => boolean.fmt(f),
            Self::Time(time) => time.fmt(f),
            Self::Age(micros) => micros.fmt(f),
        }
    }
}

/// The fields that may differ between rows, in the order of [`Row::values`].
pub(super) const ROW_FIELDS: [Field; 5] = [
    Field::VariantTitle,
    Field::Price,
    Field::PriceCurrency,
    Field::CompareAtPrice,
    Field::Inventory,
];

/// The facts of one row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Row {
    /// The values of [`ROW_FIELDS`].
    pub values: [Option<Value>; ROW_FIELDS.len()],
}

/// The facts of a product at one point in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    own: BTreeMap<Field, Vec<Value>>,
    /// The rows; at least one.
    rows: Vec<Row>,
    /// The original texts of values that are compared in another form.
    written: HashMap<Value, String>,
    now: Timestamp,
}

/// What is looked at in products, apart from their ids. The rest need not be read.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// The fields whose facts are compared.
    fields: BTreeSet<Field>,
    /// Whether the title is needed.
    pub title: bool,
    /// Whether attributes are needed.
    pub attributes: bool,
    /// Whether details are needed.
    pub details: bool,
    /// Whether the slug, the type and the times of registration and of the last change are needed.
    pub outline: bool,
}

impl Needs {
    /// All columns of products, and no facts.
    pub fn of_columns() -> Self {
        Self {
            attributes: true,
            details: true,
            ..Self::of_outline()
        }
    }

    /// All columns but those that may be large, and no facts.
    pub fn of_outline() -> Self {
        Self {
            title: true,
            outline: true,
            ..Self::default()
        }
    }

    /// Whether the field is needed, of those whose facts are in the details.
    pub fn has_detail(&self, field: &Field) -> bool {
        // All details count towards the maximum number of facts, after which attributes are ignored.
        self.attributes || self.fields.contains(field)
    }

    /// Whether a field is needed that may differ between rows.
    pub fn has_rows(&self) -> bool {
        ROW_FIELDS.iter().any(|field| self.has_detail(field))
    }

    /// Adds a field.
    pub fn add(&mut self, field: &Field) {
        match field {
            Field::ProductId | Field::Collection => {}
            Field::Title => self.title = true,
            Field::Slug | Field::Type => self.outline = true,
            Field::Attribute(_) => {
                // Details count, too, towards the maximum number of facts.
                (self.attributes, self.details) = (true, true);
            }
            Field::VariantTitle
            | Field::Price
            | Field::Inventory
            | Field::Vendor
            | Field::Tag
            | Field::Status
            | Field::Available
            | Field::PriceCurrency
            | Field::CompareAtPrice
            | Field::Created
            | Field::Updated => self.details = true,
        }
        self.fields.insert(field.clone());
    }
}

/// The rows of a product to which a condition applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All rows.
    All,
    /// The row at that index.
    Row(usize),
}

impl Facts {
    /// The facts of a product at the time `now`, without memberships.
    pub fn of(product: &Product, now: Timestamp) -> Self {
        Self::read(product, now, None, &mut |_| {})
    }

    /// The same with at least the facts that are needed.
    pub fn needed(product: &Product, now: Timestamp, needs: &Needs) -> Self {
        Self::read(product, now, Some(needs), &mut |_| {})
    }

    /// The paths of non-empty values in the attributes that are ignored, up to `max`, without
    /// duplicates.
    pub fn ignored_paths(product: &Product, max: usize) -> BTreeSet<String> {
        let mut ignored = BTreeSet::new();
        // Ages do not matter here, so any time will do.
        let any = product.update_time;
        Self::read(product, any, None, &mut |path| {
            if ignored.len() < max {
                ignored.insert(path.to_owned());
            }
        });
        ignored
    }

    /// Computes the facts, all of them or at least those that are needed, and calls `ignored` with
    /// the path of each value that is ignored.
    fn read(
        product: &Product,
        now: Timestamp,
        needs: Option<&Needs>,
        ignored: &mut dyn FnMut(&str),
    ) -> Self {
        let is_needed = |field: &Field| needs.is_none_or(|needs| needs.fields.contains(field));
        let details = &product.details;
        let mut facts = Self {
            own: BTreeMap::new(),
            rows: Vec::new(),
            written: HashMap::new(),
            now,
        };
        for (field, text) in [
            (Field::ProductId, product.id.as_str()),
            (Field::Title, &product.title),
            (Field::Slug, &product.slug),
            (Field::Type, &product.product_type),
            (Field::Vendor, &details.vendor),
            (Field::Status, &details.status),
        ] {
            if is_needed(&field) {
                facts.add_text(field, text);
            }
        }
        if is_needed(&Field::Tag) {
            for tag in &details.tags {
                facts.add_text(Field::Tag, tag);
            }
        }
        if let Some(available) = details.available {
            facts.add(Field::Available, Value::Boolean(available));
        }
        for (field, time) in [
            (Field::Created, details.created),
            (Field::Updated, details.updated),
        ] {
            if let Some(time) = time {
                facts.add_time(field, time);
            }
        }
        if ROW_FIELDS.iter().any(is_needed) {
            facts.add_rows(details, &is_needed);
        } else {
            // All other fields are the same in every row.
            facts.rows.push(Row::default());
        }
        let mut left = MAX_FACTS.saturating_sub(details.facts());
        // Empty if they are not needed: then they are not read.
        for (name, json) in &product.attributes {
            // Stored attributes are valid JSON; anything else would have no facts.
            let json = serde_json::from_str(&json.0).unwrap_or(JsonValue::Null);
            facts.add_json(name, &json, &mut left, ignored);
        }
        facts
    }

    /// Adds or removes the product's membership in a collection.
    pub fn set_member(&mut self, id: &CollectionId, is_member: bool) {
        let value = Value::text(&Field::Collection, id.as_str());
        let values = self.own.entry(Field::Collection).or_default();
        match (values.binary_search(&value), is_member) {
            (Err(at), true) => values.insert(at, value),
            (Ok(at), false) => drop(values.remove(at)),
            (Ok(_), true) | (Err(_), false) => {}
        }
        // As for a product that was never in a collection, so that both compare equal.
        if values.is_empty() {
            self.own.remove(&Field::Collection);
        }
    }

    /// The number of rows.
    pub fn row_count(&self) -> usize {
        self.rows.len()
    }

    /// The values of a field in a scope, in order.
    pub fn values<'a>(&'a self, field: &Field, scope: Scope) -> impl Iterator<Item = &'a Value> {
        let of_row = ROW_FIELDS.iter().position(|known| known == field);
        let rows = match scope {
            Scope::All => self.rows.as_slice(),
            Scope::Row(at) => self.rows.get(at..=at).unwrap_or_default(),
        };
        let of_rows = of_row.map(|at| rows.iter().filter_map(move |row| row.values[at].as_ref()));
        let own = of_row.is_none().then(|| self.own.get(field)).flatten();
        of_rows
            .into_iter()
            .flatten()
            .chain(own.into_iter().flatten())
    }

    /// The original text of a value, if it differs.
    pub fn written<'a>(&'a self, value: &'a Value) -> Option<&'a str> {
        self.written.get(value).map(String::as_str)
    }

    pub(super) fn own(&self) -> &BTreeMap<Field, Vec<Value>> {
        &self.own
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    fn add_rows(&mut self, details: &Details, is_needed: &impl Fn(&Field) -> bool) {
        let variants = details.variants.iter();
        let by_id: HashMap<_, _> = variants.map(|it| (it.id.as_str(), it)).collect();
        if !details.prices.is_empty() {
            for price in &details.prices {
                let variant = by_id.get(price.variant_id.as_str()).copied();
                self.add_row(Some(price), variant, details, is_needed);
            }
        } else if !details.variants.is_empty() {
            for variant in &details.variants {
                self.add_row(None, Some(variant), details, is_needed);
            }
        } else {
            self.add_row(None, None, details, is_needed);
        }
    }

    fn add_row(
        &mut self,
        price: Option<&Price>,
        variant: Option<&Variant>,
        details: &Details,
        is_needed: &impl Fn(&Field) -> bool,
    ) {
        let titles = [price.map(|it| &it.title), variant.map(|it| &it.title)];
        let title = titles.into_iter().flatten().find(|title| !title.is_empty());
        let currency = price.map(|price| &price.currency);
        let currency = currency.filter(|currency| !currency.is_empty());
        let stock = price.and_then(|price| price.inventory.as_ref());
        let stock = stock.or_else(|| variant?.inventory.as_ref());
        let stock = stock.or(details.inventory.as_ref());
        let compare_at = price.and_then(|price| price.compare_at.as_ref());
        let number = |number: &Decimal| Value::Number(number.clone());
        let values = [
            title
                .filter(|_| is_needed(&Field::VariantTitle))
                .map(|title| self.text(&Field::VariantTitle, title)),
            price
                .filter(|_| is_needed(&Field::Price))
                .map(|price| number(&price.amount)),
            currency
                .filter(|_| is_needed(&Field::PriceCurrency))
                .map(|currency| self.text(&Field::PriceCurrency, currency)),
            compare_at
                .filter(|_| is_needed(&Field::CompareAtPrice))
                .map(number),
            stock.filter(|_| is_needed(&Field::Inventory)).map(number),
        ];
        self.rows.push(Row { values });
    }

    fn add_json(
        &mut self,
        path: &str,
        json: &JsonValue,
        left: &mut usize,
        ignored: &mut dyn FnMut(&str),
    ) {
        let field = || Field::Attribute(path.into());
        match json {
            JsonValue::Null => return,
            JsonValue::String(text) if text.is_empty() => return,
            _ if *left == 0 || path.chars().count() > MAX_PATH_CHARS => return ignored(path),
            JsonValue::Object(object) => {
                for (name, inner) in object {
                    self.add_json(&format!("{path}.{name}"), inner, left, ignored);
                }
                return;
            }
            JsonValue::Array(elements) => {
                for element in elements {
                    self.add_json(path, element, left, ignored);
                }
                return;
            }
            JsonValue::String(text) => {
                self.add_text(field(), text);
                if let Some(time) = Timestamp::of_rfc3339(text) {
                    self.add_time(field(), time);
                }
            }
            JsonValue::Bool(boolean) => self.add(field(), Value::Boolean(*boolean)),
            JsonValue::Number(number) => {
                let Some(number) = Decimal::of_json_number(&number.to_string()) else {
                    return ignored(path);
                };
                self.add(field(), Value::Number(number));
            }
        }
        *left -= 1;
    }

    fn add_text(&mut self, field: Field, text: &str) {
        if !text.is_empty() {
            let value = self.text(&field, text);
            self.add(field, value);
        }
    }

    fn add_time(&mut self, field: Field, time: Timestamp) {
        let age = self.now.micros().saturating_sub(time.micros());
        self.add(field.clone(), Value::Time(time));
        self.add(field, Value::Age(age));
    }

    fn add(&mut self, field: Field, value: Value) {
        self.own.entry(field).or_default().push(value);
    }

    fn text(&mut self, field: &Field, text: &str) -> Value {
        let value = Value::text(field, text);
        if !matches!(&value, Value::Text(folded) if folded == text) {
            self.written.insert(value.clone(), text.into());
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Json, ProductId};

    const NEVER: Timestamp = Timestamp::from_micros(0);

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    fn product(attributes: &[(&str, &str)], details: Details) -> Product {
        let time = Timestamp::from_micros(0);
        let attributes = attributes.iter();
        Product {
            id: ProductId::trusted("P-1"),
            title: "Stra\u{df}e".into(),
            slug: String::new(),
            product_type: "Shoes".into(),
            attributes: attributes
                .map(|(name, json)| ((*name).to_owned(), Json((*json).to_owned())))
                .collect(),
            details,
            create_time: time,
            update_time: time,
        }
    }

    fn shown(facts: &Facts, field: &Field, scope: Scope) -> Vec<String> {
        facts.values(field, scope).map(Value::to_string).collect()
    }

    #[test]
    fn texts_except_the_id_are_compared_case_folded() {
        let facts = Facts::of(&product(&[], Details::default()), NEVER);
        let all = |field| shown(&facts, &field, Scope::All);
        assert_eq!(all(Field::Title), ["strasse"]);
        assert_eq!(all(Field::ProductId), ["P-1"]);
        assert_eq!(all(Field::Slug), [""; 0]);
        let title = facts.values(&Field::Title, Scope::All).next().unwrap();
        assert_eq!(facts.written(title), Some("Stra\u{df}e"));
        assert_eq!(facts.row_count(), 1);
    }

    #[test]
    fn a_row_is_a_price_with_its_variant() {
        let variant = |id: &str, inventory: Option<&str>| Variant {
            id: id.into(),
            title: format!("Size {id}"),
            inventory: inventory.map(decimal),
        };
        let price = |id: &str, variant: &str, title: &str, inventory: Option<&str>| Price {
            id: id.into(),
            variant_id: variant.into(),
            title: title.into(),
            amount: decimal("9.50"),
            currency: "EUR".into(),
            compare_at: None,
            inventory: inventory.map(decimal),
        };
        let mut details = Details {
            variants: vec![variant("s", Some("3")), variant("m", None)],
            prices: vec![
                price("1", "s", "", Some("1")),
                price("2", "s", "Sale", None),
                price("3", "m", "", None),
            ],
            inventory: Some(decimal("7")),
            ..Details::default()
        };
        let facts = Facts::of(&product(&[], details.clone()), NEVER);
        let all = |field| shown(&facts, &field, Scope::All);
        assert_eq!(all(Field::VariantTitle), ["size s", "sale", "size m"]);
        assert_eq!(all(Field::Inventory), ["1", "3", "7"]);
        assert_eq!(shown(&facts, &Field::Inventory, Scope::Row(1)), ["3"]);
        assert_eq!(shown(&facts, &Field::Type, Scope::Row(1)), ["shoes"]);
        details.prices.clear();
        let facts = Facts::of(&product(&[], details), NEVER);
        assert_eq!(shown(&facts, &Field::Inventory, Scope::All), ["3", "7"]);
        assert_eq!(shown(&facts, &Field::Price, Scope::All), [""; 0]);
    }

    #[test]
    fn attributes_become_facts_at_their_paths_with_their_json_types() {
        let json = r#"{"inner": [1.50, {"deep": "X"}, null, ""], "on": true, "n": 1e308}"#;
        let time = r#""2026-01-02T03:04:05.678+01:00""#;
        let facts = Facts::of(
            &product(&[("a", json), ("t", time)], Details::default()),
            NEVER,
        );
        let all = |path: &str| {
            let field = Field::Attribute(path.into());
            facts
                .values(&field, Scope::All)
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(all("a.inner"), [Value::Number(decimal("1.5"))]);
        assert_eq!(all("a.inner.deep"), [Value::Text("x".into())]);
        assert_eq!(all("a.on"), [Value::Boolean(true)]);
        let huge = Decimal::of_json_number("1e308").unwrap();
        assert_eq!(all("a.n"), [Value::Number(huge)]);
        let time = Timestamp::from_micros(1_767_319_445_678_000);
        let text = Value::Text("2026-01-02t03:04:05.678+01:00".into());
        let age = Value::Age(-time.micros());
        assert_eq!(all("t"), [text, Value::Time(time), age]);
    }

    #[test]
    fn a_product_has_at_most_1000_facts() {
        let list = format!("[{}]", vec!["1"; 1_500].join(","));
        let details = Details {
            tags: vec!["a".into(), "b".into()],
            ..Details::default()
        };
        let facts = Facts::of(&product(&[("a", &list), ("b", "1")], details), NEVER);
        let count = |path: &str| {
            facts
                .values(&Field::Attribute(path.into()), Scope::All)
                .count()
        };
        assert_eq!((count("a"), count("b")), (MAX_FACTS - 2, 0));
    }

    #[test]
    fn ignored_attribute_paths_are_listed() {
        let list = format!("[{}]", vec!["1"; MAX_FACTS - 1].join(","));
        let long = "x".repeat(MAX_PATH_CHARS + 1);
        let attributes = [
            (long.as_str(), "1"),
            ("a", r#"{"empty": "", "none": null}"#),
            ("b", &list),
            ("c", "1"),
            ("d", r#"{"e": "2", "f": []}"#),
        ];
        let mut product = product(&attributes, Details::default());
        let ignored = Facts::ignored_paths(&product, 10);
        let ignored: Vec<_> = ignored.iter().map(String::as_str).collect();
        assert_eq!(ignored, ["d", long.as_str()]);
        product.attributes.remove(long.as_str());
        assert_eq!(Facts::ignored_paths(&product, 1).len(), 1);
    }
}
