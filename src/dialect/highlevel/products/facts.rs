//! The facts of a product that rules evaluate, from the body of a request; prices are separate. The
//! fields are also stored as they were sent, and invalid ones become no facts.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    dialect::highlevel::fields::Object,
    domain::{Change, DetailsChanges, Json, Product, ProductChanges, Variant, details::TEXT_CHARS},
};

const AVAILABLE: &str = "availableInStore";
const VARIANTS: &str = "variants";

/// The facts in the fields that are present.
pub(super) fn stated(body: &Object) -> DetailsChanges {
    let available = body.get(AVAILABLE).map(Value::as_bool);
    let variants = body.get(VARIANTS).map(options);
    DetailsChanges {
        available: available.map_or(Change::Keep, Change::to),
        variants: variants.map_or(Change::Keep, |list| {
            Change::to((!list.is_empty()).then_some(list))
        }),
        ..DetailsChanges::default()
    }
}

/// The facts of a product that was stored before facts existed.
pub fn of_stored(product: &Product) -> DetailsChanges {
    let fields = [AVAILABLE, VARIANTS].into_iter();
    let fields = fields.filter_map(|name| {
        let json = product.attributes.get(name)?;
        Some((name.to_owned(), serde_json::from_str(&json.0).ok()?))
    });
    stated(&fields.collect())
}

/// The options of all variants. A variant of HighLevel's (size) corresponds to several variants
/// here, one per option (small).
fn options(variants: &Value) -> Vec<Variant> {
    let text = |option: &Value, name: &str| {
        let text = option.get(name).and_then(Value::as_str).unwrap_or_default();
        let is_short = text.chars().count() <= TEXT_CHARS && !text.contains('\0');
        is_short.then(|| text.to_owned())
    };
    let mut seen = BTreeSet::new();
    let variants = variants.as_array().into_iter().flatten();
    let options = variants.filter_map(|variant| variant.get("options")?.as_array());
    let options = options.flatten().filter_map(|option| {
        let id = text(option, "id").filter(|id| !id.trim().is_empty())?;
        let title = text(option, "name").unwrap_or_default();
        let variant = Variant {
            id,
            title,
            inventory: None,
        };
        seen.insert(variant.id.clone()).then_some(variant)
    });
    options.collect()
}

/// Shows the availability, which another API may have changed.
pub(super) fn show(product: &Product, body: &mut Object) {
    if let Some(available) = product.details.available {
        body.insert(AVAILABLE.into(), available.into());
    }
}

/// Removes from the changes what a get request shows of the product. A client that sends back what
/// it read must not undo what another API has changed.
pub(super) fn drop_echoed(changes: &mut ProductChanges, known: &Product) {
    let ProductChanges {
        attributes,
        details,
        ..
    } = changes;
    if let Some(available) = known.details.available {
        let shown = Some(Json(available.to_string()));
        let count = attributes.entries.len();
        let is_new = |(name, new): &(String, Option<Json>)| name != AVAILABLE || *new != shown;
        attributes.entries.retain(is_new);
        if attributes.entries.len() < count {
            details.available = Change::Keep;
        }
    }
    let stored = known.attributes.get(VARIANTS);
    let mut entries = attributes.entries.iter();
    let is_stored = entries.any(|(name, new)| name == VARIANTS && new.as_ref() == stored);
    if is_stored && !known.details.variants.is_empty() {
        details.variants = Change::Keep;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_valid_option_is_a_variant_and_invalid_ones_are_ignored() {
        let body = json!({
            "availableInStore": "yes",
            "variants": [
                {"id": "size", "name": "Size", "options": [
                    {"id": "s", "name": "Small"}, {"id": "s", "name": "Again"}, {"id": " "},
                    {"name": "no id"}, 1, {"id": "m", "name": "x".repeat(256)},
                ]},
                {"id": "color", "name": "Color", "options": [{"id": "r", "name": "Red"}]},
                {"id": "none"}, "odd",
            ],
        });
        let changes = stated(body.as_object().unwrap());
        assert_eq!(changes.available, Change::Clear);
        let variants = changes.variants.set().unwrap().iter();
        let variants: Vec<_> = variants.map(|it| (&*it.id, &*it.title)).collect();
        assert_eq!(variants, [("s", "Small"), ("m", ""), ("r", "Red")]);
        assert!(stated(&Object::new()).is_empty());
        for odd in [json!(null), json!([]), json!(5)] {
            let body = json!({ "variants": odd });
            let changes = stated(body.as_object().unwrap());
            assert_eq!(changes.variants, Change::Clear);
        }
    }
}
