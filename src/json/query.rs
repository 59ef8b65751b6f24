//! Sets message fields from strings: path variables, query parameters and headers.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage as _, Value};
use serde_json::{Map, Value as Json};

use super::{
    error::{Refused, invalid, problem},
    names,
};

const FIELD_MASK: &str = "google.protobuf.FieldMask";

/// Sets the field at a path (`filter.ids`, `textMasks[pt-BR]`) to the given values. Several values
/// need a repeated field.
///
/// # Errors
/// If there is no such field, if it is already set to another value, or if a value has the wrong
/// type.
pub(super) fn set(
    message: &mut DynamicMessage,
    path: &str,
    texts: &[String],
) -> Result<(), Refused> {
    set_below(message, path, path, texts)
}

fn set_below(
    message: &mut DynamicMessage,
    whole: &str,
    path: &str,
    texts: &[String],
) -> Result<(), Refused> {
    let descriptor = message.descriptor();
    let unknown = || {
        let names = names::all(&descriptor);
        invalid(whole, &format!("unknown parameter; known here are {names}"))
    };
    let end = path.find(['.', '[']).unwrap_or(path.len());
    let (name, rest) = path.split_at(end);
    let field = names::field(&descriptor, name).ok_or_else(unknown)?;
    check_alone(message, &field, whole)?;
    if rest.is_empty() && !field.is_map() {
        let Some(value) = parse(&field, None, whole, texts)? else {
            return Ok(());
        };
        if message.has_field(&field) && *message.get_field(&field) != value {
            return Err(invalid(whole, "is given twice, with different values"));
        }
        message.set_field(&field, value);
        return Ok(());
    }
    if let Some(rest) = rest.strip_prefix('.')
        && names::message(&field).is_some()
        && let Value::Message(inner) = message.get_field_mut(&field)
    {
        return set_below(inner, whole, rest, texts);
    }
    let key = rest.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let key = key.filter(|_| field.is_map()).ok_or_else(unknown)?;
    let parsed = parse(&field, Some(key), whole, texts)?;
    if let Some(Value::Map(entries)) = parsed
        && let Value::Map(all) = message.get_field_mut(&field)
    {
        for (key, value) in entries {
            insert(all, key, value, whole)?;
        }
    }
    Ok(())
}

fn insert(
    all: &mut std::collections::HashMap<MapKey, Value>,
    key: MapKey,
    value: Value,
    whole: &str,
) -> Result<(), Refused> {
    match all.insert(key, value) {
        None => Ok(()),
        Some(_) => Err(invalid(whole, "is given twice")),
    }
}

/// Fails if another field of the same oneof is set.
fn check_alone(
    message: &DynamicMessage,
    field: &FieldDescriptor,
    whole: &str,
) -> Result<(), Refused> {
    let group = field.containing_oneof();
    let mut others = group.iter().flat_map(|group| group.fields());
    match others.find(|other| other != field && message.has_field(other)) {
        None => Ok(()),
        Some(other) => {
            let problem = format!("is not allowed together with {}", other.name());
            Err(invalid(whole, &problem))
        }
    }
}

/// Parses the values by the rules of Protobuf's JSON, which accepts numbers as strings. `None` if
/// the result is the field's default.
fn parse(
    field: &FieldDescriptor,
    key: Option<&str>,
    whole: &str,
    texts: &[String],
) -> Result<Option<Value>, Refused> {
    let kind = match (field.kind(), key) {
        (Kind::Message(entry), Some(_)) => entry.map_entry_value_field().kind(),
        (kind, _) => kind,
    };
    let mut values = texts.iter().map(|text| json(&kind, text));
    let value = if field.is_list() {
        Json::Array(values.collect())
    } else {
        let first = values.next().unwrap_or_default();
        if values.next().is_some() {
            return Err(invalid(whole, "is given twice"));
        }
        first
    };
    let value = match key {
        None => value,
        Some(key) => Json::Object(Map::from_iter([(key.to_owned(), value)])),
    };
    let object = Json::Object(Map::from_iter([(field.json_name().to_owned(), value)]));
    let parsed = DynamicMessage::deserialize(field.parent_message().clone(), object);
    let mut parsed = parsed.map_err(|error| invalid(whole, &problem(&error, Some(&kind))))?;
    Ok(parsed.take_field(field))
}

/// The string as the JSON value that it stands for.
fn json(kind: &Kind, text: &str) -> Json {
    let value = if matches!(kind, Kind::Bool) {
        text.parse().ok().map(Json::Bool)
    } else if kind.as_enum().is_some() {
        text.parse::<i32>().ok().map(Json::from)
    } else if kind
        .as_message()
        .is_some_and(|it| it.full_name() == FIELD_MASK)
    {
        Some(names::in_json(text).into())
    } else {
        None
    };
    value.unwrap_or_else(|| text.into())
}
