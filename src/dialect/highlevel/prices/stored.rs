//! How HighLevel's prices are stored. The facts that rules evaluate are stored as prices of the
//! product, and each whole price, as the client sent it, in an attribute of the product.

use serde_json::{Map, Number, Value, json};

use crate::{
    dialect::highlevel::{fields::Object, response::time},
    domain::{
        Change, Decimal, Error, Json, Price, Product, ProductChanges, Reason, Result, TenantId,
        Timestamp, error::Quoted,
    },
};

/// The attribute with the prices as they were sent: a list of objects with an `_id`. Rules see only
/// the first 1,000 facts of attributes, by name. This name sorts last, so that the prices don't
/// displace the facts of other attributes.
pub(in crate::dialect::highlevel) const ATTRIBUTE: &str = "~highlevelPrices";

/// Fields of a price that the service sets itself, or that identify it.
const OWN: [&str; 5] = ["_id", "product", "locationId", "createdAt", "updatedAt"];

/// The type of a price that was not written by a HighLevel client.
const DEFAULT_TYPE: &str = "one_time";

/// A change of the prices of one product.
#[derive(Clone, Debug)]
pub(in crate::dialect::highlevel) enum Edit {
    /// Adds a price with this id.
    Add(String, Object),
    /// Changes the fields in the object; `null` removes one.
    Change(String, Object),
    /// Removes the price with this id.
    Remove(String),
}

/// The prices of a product: the facts, and the stored objects.
struct Prices {
    prices: Vec<Price>,
    bodies: Vec<Object>,
}

impl Prices {
    fn of(product: Option<&Product>) -> Self {
        let bodies = product.and_then(|product| product.attributes.get(ATTRIBUTE));
        // Ignores other contents, which other APIs may have stored.
        let bodies = bodies.and_then(|json| serde_json::from_str::<Vec<Value>>(&json.0).ok());
        let bodies = bodies.into_iter().flatten();
        let prices = product.map(|product| product.details.prices.clone());
        Self {
            prices: prices.unwrap_or_default(),
            bodies: bodies.filter_map(into_object).collect(),
        }
    }

    fn body(&self, id: &str) -> Option<&Object> {
        self.bodies.iter().find(|body| is_of(body, id))
    }

    /// The price with all stored fields, except those that the service sets.
    fn shown(&self, price: &Price) -> Object {
        let mut shown = self.body(&price.id).cloned().unwrap_or_default();
        shown.retain(|name, _| !OWN.contains(&name.as_str()));
        let said = fact(&price.id, &shown);
        let is_same = said.as_ref().is_some_and(|said| {
            let said = said.clone();
            let variant_id = price.variant_id.clone();
            Price { variant_id, ..said } == *price
        });
        if !is_same {
            overlay(price, said.and_then(|said| said.inventory), &mut shown);
        }
        shown
    }

    fn edit(&mut self, edit: &Edit, now: Timestamp) -> Result<()> {
        match edit {
            Edit::Add(id, body) => {
                self.prices.extend(fact(id, body));
                self.bodies.push(stored(id, body, now, now));
            }
            Edit::Change(id, changes) => self.change(id, changes, now)?,
            Edit::Remove(id) => {
                let at = self.find(id)?;
                self.prices.remove(at);
                self.bodies.retain(|body| !is_of(body, id));
            }
        }
        Ok(())
    }

    /// Changes a price. Sending back a price as it was read changes nothing.
    fn change(&mut self, id: &str, changes: &Object, now: Timestamp) -> Result<()> {
        let at = self.find(id)?;
        let before = self.shown(&self.prices[at]);
        let mut after = before.clone();
        for (name, value) in changes {
            if value.is_null() {
                after.shift_remove(name);
            } else {
                after.insert(name.clone(), value.clone());
            }
        }
        if after == before {
            return Ok(());
        }
        if let Some(said) = fact(id, &after) {
            let variant_id = std::mem::take(&mut self.prices[at].variant_id);
            self.prices[at] = Price { variant_id, ..said };
        }
        let created = self.body(id).and_then(|body| body.get("createdAt"));
        let created = created.cloned();
        let mut body = stored(id, &after, now, now);
        if let Some(created) = created {
            body.insert("createdAt".into(), created);
        }
        match self.bodies.iter_mut().find(|body| is_of(body, id)) {
            Some(known) => *known = body,
            None => self.bodies.push(body),
        }
        Ok(())
    }

    fn find(&self, id: &str) -> Result<usize> {
        let at = self.prices.iter().position(|price| price.id == id);
        at.ok_or_else(|| not_found(id))
    }
}

/// The fields of an object that clients may write.
pub(in crate::dialect::highlevel) fn writable(body: &Object) -> Object {
    let fields = body.iter();
    let fields = fields.filter(|(name, _)| !OWN.contains(&name.as_str()));
    let fields = fields.map(|(name, value)| (name.clone(), value.clone()));
    fields.collect()
}

/// Applies the edits to the stored prices in `known`, and adds the result to the changes of the
/// product.
///
/// # Errors
/// If the product has no such price.
pub(in crate::dialect::highlevel) fn edit(
    changes: &mut ProductChanges,
    known: Option<&Product>,
    edits: &[Edit],
    now: Timestamp,
) -> Result<()> {
    let before = Prices::of(known);
    let mut after = Prices::of(known);
    for one in edits {
        after.edit(one, now)?;
    }
    if after.prices != before.prices {
        changes.details.prices = Change::Set(after.prices);
    }
    if after.bodies != before.bodies {
        let bodies =
            (!after.bodies.is_empty()).then(|| Json(Value::from(after.bodies).to_string()));
        changes.attributes.entries.push((ATTRIBUTE.into(), bodies));
    }
    if known.is_none() && changes.title == Change::Keep && !changes.is_empty() {
        changes.title = Change::Set(changes.id.to_string());
    }
    Ok(())
}

/// The prices of a product in HighLevel's form.
pub(in crate::dialect::highlevel) fn all(tenant: &TenantId, product: &Product) -> Vec<Object> {
    let prices = Prices::of(Some(product));
    let shown = prices.prices.iter().map(|price| {
        let fields = prices.shown(price);
        let kept = prices.body(&price.id);
        let when = |name, default| {
            let kept = kept.and_then(|body| body.get(name)).cloned();
            kept.unwrap_or_else(|| time(default).into())
        };
        let mut shown = Map::from_iter([
            ("_id".to_owned(), json!(price.id)),
            ("product".to_owned(), json!(product.id.as_str())),
            ("locationId".to_owned(), json!(tenant.as_str())),
        ]);
        shown.extend(fields);
        shown.insert("createdAt".into(), when("createdAt", product.create_time));
        shown.insert("updatedAt".into(), when("updatedAt", product.update_time));
        shown
    });
    shown.collect()
}

/// The price with this id in HighLevel's form.
///
/// # Errors
/// If there is none.
pub(in crate::dialect::highlevel) fn one(
    tenant: &TenantId,
    product: Option<&Product>,
    id: &str,
) -> Result<Object> {
    let prices = product.map(|product| all(tenant, product));
    let mut prices = prices.unwrap_or_default().into_iter();
    prices
        .find(|price| is_of(price, id))
        .ok_or_else(|| not_found(id))
}

/// The facts in a price of HighLevel's form; `None` without an amount.
fn fact(id: &str, body: &Object) -> Option<Price> {
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    let number = |name: &str| match body.get(name) {
        Some(Value::Number(number)) => Decimal::of_json_number(&number.to_string()),
        _ => None,
    };
    let is_tracked = body.get("trackInventory") != Some(&Value::Bool(false));
    Some(Price {
        id: id.into(),
        // HighLevel's price options belong to several variants, so none can be set.
        variant_id: String::new(),
        title: text("name").into(),
        amount: number("amount")?,
        currency: text("currency").to_ascii_uppercase(),
        compare_at: number("compareAtPrice"),
        inventory: number("availableQuantity").filter(|_| is_tracked),
    })
}

/// Updates the fields from the facts, which another API may have changed. `said` is the stock that
/// the fields contain.
fn overlay(price: &Price, said: Option<Decimal>, fields: &mut Object) {
    let mut set = |name: &str, value: Option<Value>| match value {
        Some(value) => drop(fields.insert(name.into(), value)),
        None => drop(fields.shift_remove(name)),
    };
    set("name", Some(price.title.as_str().into()));
    set("currency", Some(price.currency.as_str().into()));
    set("amount", number(&price.amount));
    set("compareAtPrice", price.compare_at.as_ref().and_then(number));
    if let Some(stock) = &price.inventory {
        set("trackInventory", Some(true.into()));
        set("availableQuantity", number(stock));
    } else if said.is_some() {
        set("trackInventory", Some(false.into()));
    }
    if !fields.contains_key("type") {
        fields.insert("type".into(), DEFAULT_TYPE.into());
    }
    if !price.variant_id.is_empty() && !fields.contains_key("variantOptionIds") {
        let ids = json!([price.variant_id]);
        fields.insert("variantOptionIds".into(), ids);
    }
}

fn number(decimal: &Decimal) -> Option<Value> {
    let number = decimal.to_string().parse::<Number>();
    number.ok().map(Value::Number)
}

/// The object to store for a price.
fn stored(id: &str, body: &Object, created: Timestamp, updated: Timestamp) -> Object {
    let mut stored = Map::from_iter([("_id".to_owned(), id.into())]);
    let fields = writable(body).into_iter();
    stored.extend(fields.filter(|(_, value)| !value.is_null()));
    stored.insert("createdAt".into(), time(created).into());
    stored.insert("updatedAt".into(), time(updated).into());
    stored
}

fn is_of(body: &Object, id: &str) -> bool {
    body.get("_id").and_then(Value::as_str) == Some(id)
}

fn into_object(value: Value) -> Option<Object> {
    match value {
        Value::Object(object) => Some(object),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            None
        }
    }
}

/// The error that the product has no such price.
pub(in crate::dialect::highlevel) fn not_found(id: &str) -> Error {
    let message = format!("price {} does not exist", Quoted(id));
    Error::new(Reason::ProductNotFound, message)
}
