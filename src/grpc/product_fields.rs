//! Which fields of products a `ListChildren` response includes, from `product_mask` and
//! `product_attribute_names`.

use std::collections::BTreeSet;

use super::{encode, pb, product_details};
use crate::{
    domain::{ChildType, Constraint, Limits, Violations},
    service::ProductDetail,
};

const KNOWN: &str = "the fields of endcap.v1.Product, or *; a single attribute is named in \
                     product_attribute_names";
const FIELDS: [&str; 17] = [
    "id",
    "tenant_id",
    "title",
    "slug",
    "type",
    "create_time",
    "update_time",
    "attributes",
    "vendor",
    "status",
    "available",
    "tags",
    "variants",
    "prices",
    "inventory",
    "product_create_time",
    "product_update_time",
];

/// How many of [`FIELDS`], from the first, can be read without the attributes and typed facts.
const OUTLINE: usize = 7;

/// The fields that a response includes of each product.
#[derive(Clone, Debug)]
pub(super) struct ProductFields {
    /// The names of the fields; `None` for all.
    fields: Option<BTreeSet<String>>,
    /// Single attributes to include, where the fields don't include all attributes.
    attributes: BTreeSet<String>,
}

impl ProductFields {
    /// All fields.
    pub(super) const ALL: Self = Self {
        fields: None,
        attributes: BTreeSet::new(),
    };

    /// The fields that a request asks for; `None` if it does not ask for products at all.
    pub(super) fn of(
        request: &pb::ListChildrenRequest,
        child_type: Option<ChildType>,
        limits: &Limits,
        to: &mut Violations,
    ) -> Option<Self> {
        let mask = request.product_mask.as_ref();
        let paths = mask.map_or(&[][..], |mask| &mask.paths);
        let names = &request.product_attribute_names;
        let (mask, attributes) = ("product_mask", "product_attribute_names");
        to.count(attributes, names.len(), limits.ids);
        if child_type == Some(ChildType::Collection) {
            for (field, is_given) in [(mask, !paths.is_empty()), (attributes, !names.is_empty())] {
                if is_given {
                    let why = "child_type is not CHILD_TYPE_PRODUCT";
                    to.add(field, "", Constraint::Forbidden(why));
                }
            }
        }
        let mut fields = BTreeSet::new();
        for path in paths.iter().filter(|path| *path != "*") {
            if FIELDS.contains(&path.as_str()) {
                fields.insert(path.clone());
            } else {
                to.add(mask, path, Constraint::Unknown(KNOWN));
            }
        }
        let is_all = paths.iter().any(|path| path == "*");
        if !names.is_empty() && (is_all || fields.contains("attributes")) {
            let why = "product_mask already names all attributes";
            to.add(attributes, "", Constraint::Forbidden(why));
        }
        let is_asked = !(paths.is_empty() && names.is_empty());
        is_asked.then(|| Self {
            fields: (!is_all).then_some(fields),
            attributes: names.iter().take(limits.ids).cloned().collect(),
        })
    }

    /// Whether the attributes or typed facts have to be read.
    pub(super) fn need_whole(&self) -> bool {
        FIELDS[OUTLINE..].iter().any(|field| self.has(field)) || !self.attributes.is_empty()
    }

    fn has(&self, field: &str) -> bool {
        let fields = self.fields.as_ref();
        fields.is_none_or(|fields| fields.contains(field))
    }

    /// Returns the product with these fields; `None` if the product is not registered.
    pub(super) fn encode(&self, detail: &ProductDetail) -> Option<pb::Product> {
        let product = detail.product.as_ref()?;
        let text = |field, value: &str| {
            let value = self.has(field).then_some(value);
            value.unwrap_or_default().to_owned()
        };
        let time = |field, time| self.has(field).then(|| encode::time(time));
        let all_attributes = self.has("attributes");
        let attributes = product.attributes.iter();
        let attributes =
            attributes.filter(|(name, _)| all_attributes || self.attributes.contains(*name));
        let attributes = encode::properties(attributes);
        let mut shown = pb::Product {
            id: text("id", product.id.as_str()),
            tenant_id: text("tenant_id", detail.tenant.as_str()),
            title: text("title", &product.title),
            slug: text("slug", &product.slug),
            r#type: text("type", &product.product_type),
            attributes: (!attributes.fields.is_empty()).then_some(attributes),
            create_time: time("create_time", product.create_time),
            update_time: time("update_time", product.update_time),
            ..pb::Product::default()
        };
        product_details::encode(&product.details, |field| self.has(field), &mut shown);
        Some(shown)
    }
}

#[cfg(test)]
mod tests {
    use prost_types::FieldMask;

    use super::*;

    fn parse(
        paths: &[&str],
        names: &[&str],
        child_type: ChildType,
    ) -> Result<Option<ProductFields>, Vec<(String, String)>> {
        let request = pb::ListChildrenRequest {
            product_mask: Some(FieldMask {
                paths: paths.iter().map(ToString::to_string).collect(),
            }),
            product_attribute_names: names.iter().map(ToString::to_string).collect(),
            ..pb::ListChildrenRequest::default()
        };
        let mut violations = Violations::default();
        let limits = Limits::default();
        let fields = ProductFields::of(&request, Some(child_type), &limits, &mut violations);
        match violations.finish() {
            Ok(()) => Ok(fields),
            Err(error) => {
                let violations = error.violations.iter();
                Err(violations
                    .map(|violation| (violation.field.to_string(), violation.value.clone()))
                    .collect())
            }
        }
    }

    #[test]
    fn every_product_field_can_be_in_the_mask() {
        let whole = pb::Product::default();
        // Destructured by name, so that a new field fails to compile until it is in the list too.
        let pb::Product {
            id: _,
            tenant_id: _,
            title: _,
            slug: _,
            r#type: _,
            attributes: _,
            create_time: _,
            update_time: _,
            vendor: _,
            status: _,
            available: _,
            tags: _,
            variants: _,
            prices: _,
            inventory: _,
            product_create_time: _,
            product_update_time: _,
        } = whole;
        assert!(parse(&FIELDS, &[], ChildType::Product).unwrap().is_some());
    }

    #[test]
    fn attributes_and_typed_facts_are_read_only_if_requested() {
        let need = |paths: &[&str], names: &[&str]| {
            let fields = parse(paths, names, ChildType::Product).unwrap();
            fields.map(|fields| fields.need_whole())
        };
        assert_eq!(need(&[], &[]), None);
        assert_eq!(need(&["title", "slug"], &[]), Some(false));
        assert_eq!(need(&["title", "attributes"], &[]), Some(true));
        assert_eq!(need(&["*"], &[]), Some(true));
        assert_eq!(need(&FIELDS[..OUTLINE], &[]), Some(false));
        for field in &FIELDS[OUTLINE..] {
            assert_eq!(need(&[field], &[]), Some(true), "{field}");
        }
        assert_eq!(need(&[], &["color"]), Some(true));
    }

    #[test]
    fn invalid_masks_are_reported() {
        let mask = |path: &str| ("product_mask".to_owned(), path.to_owned());
        let alone = [("product_attribute_names".to_owned(), String::new())];
        let product =
            |paths: &[&str], names: &[&str]| parse(paths, names, ChildType::Product).unwrap_err();
        assert_eq!(
            product(&["name", "attributes.color"], &[]),
            [mask("name"), mask("attributes.color")]
        );
        for whole in ["*", "attributes"] {
            assert_eq!(product(&[whole], &["color"]), alone);
        }
        assert_eq!(product(&[], &["a"; 1_001]), alone);
        let [names] = alone;
        let of_collections = parse(&["title"], &["color"], ChildType::Collection);
        assert_eq!(of_collections.unwrap_err(), [mask(""), names]);
        assert!(parse(&[], &[], ChildType::Collection).unwrap().is_none());
    }
}
