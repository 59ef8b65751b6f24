//! Products, as far as collections need to know them. Another service is the master system of
//! products, and registers them here.

use super::{
    change::{Change, MapChange},
    constraint::Constraint,
    details::{Details, DetailsChanges},
    error::{Error, Quoted, Reason, Violations},
    field::{FieldPath, ProductPart},
    ids::ProductId,
    json::{CustomProperties, Json, check_levels},
    limits::Limits,
    time::Timestamp,
};

/// A registered product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// The id, by which collections refer to the product.
    pub id: ProductId,
    /// The title for shoppers.
    pub title: String,
    /// The handle; empty for none. It need not be unique.
    pub slug: String,
    /// The product type in the master system; may be empty.
    pub product_type: String,
    /// Attributes that clients define, by name.
    pub attributes: CustomProperties,
    /// The typed properties.
    pub details: Details,
    /// When it was first registered.
    pub create_time: Timestamp,
    /// When it last changed.
    pub update_time: Timestamp,
}

/// The changes of a product in an upsert, which may register it.
#[derive(Clone, Debug)]
pub struct ProductChanges {
    /// The id of the product.
    pub id: ProductId,
    /// The title.
    pub title: Change<String>,
    /// The handle.
    pub slug: Change<String>,
    /// The product type.
    pub product_type: Change<String>,
    /// The attributes.
    pub attributes: MapChange<String, Json>,
    /// The typed properties.
    pub details: DetailsChanges,
    /// The parts whose changes only apply if the product is new.
    pub only_new: Vec<ProductPart>,
}

impl ProductChanges {
    /// Checks everything that does not depend on the current product.
    pub fn check(&self, at: usize, limits: &Limits, violations: &mut Violations) {
        for (part, change) in [
            (ProductPart::Title, &self.title),
            (ProductPart::Slug, &self.slug),
            (ProductPart::Type, &self.product_type),
        ] {
            let text = change.set().map_or("", String::as_str);
            violations.length(FieldPath::Product(at, part), text, limits.name_chars);
        }
        if self
            .title
            .set()
            .is_some_and(|title| title.trim().is_empty())
        {
            let field = FieldPath::Product(at, ProductPart::Title);
            violations.add(field, "", Constraint::Empty);
        }
        if self.attributes.replace {
            let entries = self.attributes.entries.iter();
            let entries = entries.filter_map(|(name, json)| Some((name, json.as_ref()?)));
            check_attributes(entries, at, limits, violations);
        }
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        let texts = [&self.title, &self.slug, &self.product_type];
        let attributes = &self.attributes;
        texts.into_iter().all(|change| *change == Change::Keep)
            && !attributes.replace
            && attributes.entries.is_empty()
            && self.details.is_empty()
    }

    fn keep_what_is_known(&mut self) {
        for part in std::mem::take(&mut self.only_new) {
            match part {
                ProductPart::Details(field) => self.details.keep(field),
                ProductPart::Id
                | ProductPart::Tag(_)
                | ProductPart::Variant(..)
                | ProductPart::Price(..)
                | ProductPart::Facts => {}
                ProductPart::Title => self.title = Change::Keep,
                ProductPart::Slug => self.slug = Change::Keep,
                ProductPart::Type => self.product_type = Change::Keep,
                ProductPart::Attributes => self.attributes = MapChange::default(),
            }
        }
    }
}

impl Product {
    /// The product after the changes. If nothing is different, it keeps its update time. `at` is
    /// its index in the request, for violations.
    pub fn changed(
        known: Option<&Self>,
        mut changes: ProductChanges,
        now: Timestamp,
        at: usize,
        limits: &Limits,
        violations: &mut Violations,
    ) -> Self {
        let mut product = known.cloned().unwrap_or_else(|| Self {
            id: changes.id.clone(),
            title: String::new(),
            slug: String::new(),
            product_type: String::new(),
            attributes: CustomProperties::new(),
            details: Details::default(),
            create_time: now,
            update_time: now,
        });
        if known.is_some() {
            changes.keep_what_is_known();
        }
        changes.title.apply_or_default(&mut product.title);
        changes.slug.apply_or_default(&mut product.slug);
        changes
            .product_type
            .apply_or_default(&mut product.product_type);
        let field = FieldPath::Product(at, ProductPart::Attributes);
        check_levels(&changes.attributes, &product.attributes, &field, violations);
        changes.attributes.apply(&mut product.attributes);
        changes.details.apply(&mut product.details);
        if known != Some(&product) {
            product.update_time = now.max(product.update_time);
        }
        product.check(at, limits, violations);
        product
    }

    fn check(&self, at: usize, limits: &Limits, violations: &mut Violations) {
        let field = |part| FieldPath::Product(at, part);
        if self.title.trim().is_empty() {
            violations.add(field(ProductPart::Title), "", Constraint::Empty);
        }
        for (part, text) in [
            (ProductPart::Title, &self.title),
            (ProductPart::Slug, &self.slug),
            (ProductPart::Type, &self.product_type),
        ] {
            violations.length(field(part), text, limits.name_chars);
        }
        check_attributes(self.attributes.iter(), at, limits, violations);
        self.details.check(at, limits, violations);
    }
}

fn check_attributes<'a>(
    attributes: impl Iterator<Item = (&'a String, &'a Json)>,
    at: usize,
    limits: &Limits,
    violations: &mut Violations,
) {
    let bytes = attributes.map(|(name, json)| name.len() + json.0.len());
    let (bytes, max) = (bytes.sum(), limits.product_bytes);
    if bytes > max {
        let field = FieldPath::Product(at, ProductPart::Attributes);
        violations.add(field, "", Constraint::TooLarge { bytes, max });
    }
}

/// The error of a product that is not registered.
pub fn not_found(id: &ProductId) -> Error {
    Error::new(
        Reason::ProductNotFound,
        format!("product {} does not exist", Quoted(id.as_str())),
    )
    .about_product(id.as_str())
}

/// The error of a new product whose id is taken.
pub fn taken(id: &ProductId) -> Error {
    Error::new(
        Reason::IdTaken,
        format!("product {} already exists", Quoted(id.as_str())),
    )
    .about_product(id.as_str())
}

/// The error of products that cannot be added to a collection because they are not registered.
pub fn unknown(ids: &[ProductId]) -> Error {
    const TOLD: usize = 10;
    let told = ids
        .iter()
        .take(TOLD)
        .map(|id| Quoted(id.as_str()).to_string());
    let mut message = format!(
        "unregistered products: {}",
        told.collect::<Vec<_>>().join(", ")
    );
    if ids.len() > TOLD {
        message.push_str(&format!(" and {} more", ids.len() - TOLD));
    }
    let error = Error::new(Reason::ProductsUnknown, message);
    match ids.first() {
        Some(first) => error.with("product_id", first),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(name: &str) -> ProductChanges {
        ProductChanges {
            id: ProductId::trusted("p"),
            title: Change::Set(name.into()),
            slug: Change::Keep,
            product_type: Change::Set("PHYSICAL".into()),
            attributes: MapChange::default(),
            details: DetailsChanges::default(),
            only_new: Vec::new(),
        }
    }

    fn told(known: Option<&Product>, changes: ProductChanges, now: i64) -> Product {
        let limits = Limits::default();
        let mut violations = Violations::default();
        let now = Timestamp::from_micros(now);
        let product = Product::changed(known, changes, now, 0, &limits, &mut violations);
        violations.finish().unwrap();
        product
    }

    #[test]
    fn an_upsert_merges_into_the_stored_product_or_replaces_it() {
        let json = |text: &str| Json(text.into());
        let mut first = changes("a");
        first.slug = Change::Set("slug".into());
        first.attributes =
            MapChange::to([("x".to_owned(), json("1")), ("y".to_owned(), json("2"))]);
        let first = told(None, first, 5);
        let mut second = changes("b");
        second.attributes.entries = vec![("x".into(), None), ("z".into(), Some(json("3")))];
        let second = told(Some(&first), second, 9);
        assert_eq!((second.title.as_str(), second.slug.as_str()), ("b", "slug"));
        let names: Vec<_> = second.attributes.keys().map(String::as_str).collect();
        assert_eq!(names, ["y", "z"]);
        let times = [second.create_time, second.update_time].map(Timestamp::micros);
        assert_eq!(times, [5, 9]);
        let mut third = changes("b");
        (third.slug, third.attributes) = (Change::Clear, MapChange::to([]));
        let third = told(Some(&second), third, 10);
        assert!(third.attributes.is_empty() && third.slug.is_empty());
    }

    #[test]
    fn an_error_names_the_first_unknown_products_and_counts_the_rest() {
        let ids: Vec<_> = (0..12).map(|n| ProductId::trusted(n.to_string())).collect();
        let message = unknown(&ids).message;
        assert!(message.ends_with("\"8\", \"9\" and 2 more"), "{message}");
    }
}
