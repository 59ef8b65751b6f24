//! The facts of a product that rules evaluate, from the properties in requests. The properties are
//! also stored as they were sent, and invalid ones become no facts.

use serde_json::{Map, Value};

use crate::domain::{
    Change, Decimal, DetailsChanges, Json, MapChange, Price, Product, ProductChanges, Timestamp,
    details::TEXT_CHARS,
};

const BRAND: &str = "brand";
const ACTIVE: &str = "active";
const CREATED: &str = "creationDate";
const UPDATED: &str = "lastModifiedDate";
const LIST_PRICE: &str = "listPrice";
const LIST_PRICES: &str = "listPrices";
const SALE_PRICE: &str = "salePrice";
const SALE_PRICES: &str = "salePrices";
const PRICES: [&str; 4] = [LIST_PRICE, LIST_PRICES, SALE_PRICE, SALE_PRICES];

/// The properties of a product before and after its changes.
struct Properties<'a> {
    changes: &'a [(String, Option<Json>)],
    replace: bool,
    known: Option<&'a Product>,
}

impl Properties<'_> {
    fn before(&self, name: &str) -> Option<&Json> {
        self.known?.attributes.get(name)
    }

    fn change(&self, name: &str) -> Option<&Option<Json>> {
        let mut changes = self.changes.iter().rev();
        let found = changes.find(|(changed, _)| changed == name);
        found.map(|(_, value)| value)
    }

    fn after(&self, name: &str) -> Option<Value> {
        let json = match self.change(name) {
            Some(value) => value.as_ref(),
            None if self.replace => None,
            None => self.before(name),
        };
        json.and_then(|json| serde_json::from_str(&json.0).ok())
    }

    /// Whether the facts of these properties have to be derived again. A property that is sent back
    /// unchanged must not undo what another API has set since.
    fn state(&self, names: &[&str], has_fact: bool) -> bool {
        let named = names.iter().filter(|name| self.change(name).is_some());
        let mut changed = named.map(|name| {
            let after = self.change(name).and_then(Option::as_ref);
            after != self.before(name)
        });
        if has_fact {
            changed.any(|is_changed| is_changed)
        } else {
            changed.next().is_some()
        }
    }
}

/// Adds the facts to the changes of a product; `known` is the registered product.
pub fn add(changes: &mut ProductChanges, known: Option<&Product>) {
    let properties = Properties {
        changes: &changes.attributes.entries,
        replace: changes.attributes.replace,
        known,
    };
    let details = known.map(|product| product.details.clone());
    let stored = details.unwrap_or_default();
    let facts = &mut changes.details;
    if properties.state(&[BRAND], !stored.vendor.is_empty()) {
        facts.vendor = Change::to(properties.after(BRAND).as_ref().and_then(vendor));
    }
    if properties.state(&[ACTIVE], stored.available.is_some()) {
        let active = properties.after(ACTIVE);
        facts.available = Change::to(active.and_then(|active| active.as_bool()));
    }
    if properties.state(&[CREATED], stored.created.is_some()) {
        facts.created = Change::to(properties.after(CREATED).as_ref().and_then(time));
    }
    if properties.state(&[UPDATED], stored.updated.is_some()) {
        facts.updated = Change::to(properties.after(UPDATED).as_ref().and_then(time));
    }
    if properties.state(&PRICES, !stored.prices.is_empty()) {
        let prices = prices(&properties);
        facts.prices = Change::to((!prices.is_empty()).then_some(prices));
    }
}

/// The facts of a product that was stored before facts existed.
pub fn of_stored(product: &Product) -> DetailsChanges {
    let attributes = product.attributes.iter();
    let entries = attributes.map(|(name, value)| (name.clone(), value.clone()));
    let mut changes = ProductChanges {
        id: product.id.clone(),
        title: Change::Keep,
        slug: Change::Keep,
        product_type: Change::Keep,
        attributes: MapChange::to(entries),
        details: DetailsChanges::default(),
        only_new: Vec::new(),
    };
    add(&mut changes, None);
    changes.details
}

/// Shows the facts that are also properties, which another API may have changed.
pub fn show(product: &Product, body: &mut Map<String, Value>) {
    for (name, fact) in shown(product) {
        body.insert(name.into(), fact);
    }
}

/// Removes from the changes the facts that are shown, see [`show`].
pub fn drop_echoed(changes: &mut ProductChanges, known: &Product) {
    for (name, fact) in shown(known) {
        let shown = Some(Json(fact.to_string()));
        let entries = &mut changes.attributes.entries;
        entries.retain(|(changed, new)| changed != name || *new != shown);
    }
}

fn shown(product: &Product) -> impl Iterator<Item = (&'static str, Value)> {
    let details = &product.details;
    let vendor = (!details.vendor.is_empty()).then(|| details.vendor.as_str().into());
    let active = details.available.map(Value::Bool);
    let facts = [(BRAND, vendor), (ACTIVE, active)].into_iter();
    facts.filter_map(|(name, fact)| Some((name, fact?)))
}

fn vendor(brand: &Value) -> Option<String> {
    let brand = brand.as_str()?;
    let is_one = !brand.contains('\0') && brand.chars().count() <= TEXT_CHARS;
    (is_one && !brand.is_empty()).then(|| brand.into())
}

fn time(date: &Value) -> Option<Timestamp> {
    Timestamp::of_rfc3339(date.as_str()?)
}

/// One price per price group, or the price of the default group. If there is a sale price, the list
/// price is what it is compared with.
fn prices(properties: &Properties<'_>) -> Vec<Price> {
    let groups = |name| match properties.after(name) {
        Some(Value::Object(groups)) => groups,
        _ => Map::new(),
    };
    let (list, mut sale) = (groups(LIST_PRICES), groups(SALE_PRICES));
    let mut prices = Vec::new();
    for (group, price) in &list {
        let sale = sale.shift_remove(group);
        prices.extend(price_of(group, Some(price), sale.as_ref()));
    }
    for (group, price) in &sale {
        prices.extend(price_of(group, None, Some(price)));
    }
    if prices.is_empty() {
        let (list, sale) = (properties.after(LIST_PRICE), properties.after(SALE_PRICE));
        prices.extend(price_of(LIST_PRICE, list.as_ref(), sale.as_ref()));
    }
    prices
}

fn price_of(group: &str, list: Option<&Value>, sale: Option<&Value>) -> Option<Price> {
    if group.trim().is_empty() || group.contains('\0') || group.chars().count() > TEXT_CHARS {
        return None;
    }
    let (list, sale) = (list.and_then(amount), sale.and_then(amount));
    let (amount, compare_at) = match sale {
        Some(sale) => (sale, list),
        None => (list?, None),
    };
    Some(Price {
        id: group.into(),
        variant_id: String::new(),
        title: String::new(),
        amount,
        // The price group has a currency, but products don't include it.
        currency: String::new(),
        compare_at,
        inventory: None,
    })
}

fn amount(value: &Value) -> Option<Decimal> {
    let Value::Number(number) = value else {
        return None;
    };
    let amount = Decimal::of_json_number(&number.to_string());
    amount.filter(Decimal::is_short)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The prices in the properties: id, amount, and the compare-at price.
    fn stated(properties: Value) -> Vec<(String, String, String)> {
        let Value::Object(properties) = properties else {
            return Vec::new();
        };
        let changes = properties.into_iter();
        let changes: Vec<_> = changes
            .map(|(name, value)| (name, Some(Json(value.to_string()))))
            .collect();
        let properties = Properties {
            changes: &changes,
            replace: true,
            known: None,
        };
        let prices = prices(&properties).into_iter();
        let text = |price: Option<Decimal>| price.map_or(String::new(), |it| it.to_string());
        prices
            .map(|price| (price.id, price.amount.to_string(), text(price.compare_at)))
            .collect()
    }

    #[test]
    fn prices_are_read_from_list_and_sale_prices_alone_or_by_group() {
        let price = |id: &str, amount: &str, compare: &str| {
            (id.to_owned(), amount.to_owned(), compare.to_owned())
        };
        for (properties, expected) in [
            (json!({"listPrice": 20}), vec![price("listPrice", "20", "")]),
            (
                json!({"listPrice": 20, "salePrice": 15.5}),
                vec![price("listPrice", "15.5", "20")],
            ),
            (
                json!({"salePrice": 15.5, "listPrice": null}),
                vec![price("listPrice", "15.5", "")],
            ),
            (
                json!({
                    "listPrice": 1, "listPrices": {"a": 20, "b": 30, "odd": "x", " ": 1},
                    "salePrices": {"b": 25, "c": 5, "a": null},
                }),
                vec![
                    price("a", "20", ""),
                    price("b", "25", "30"),
                    price("c", "5", ""),
                ],
            ),
            (json!({"listPrice": "20"}), vec![]),
            (json!({"listPrice": 1e300, "listPrices": {}}), vec![]),
        ] {
            assert_eq!(stated(properties.clone()), expected, "{properties}");
        }
    }
}
