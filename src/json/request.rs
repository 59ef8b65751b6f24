//! Requests: the request message, assembled from the body, the path, the query and the headers.

use std::collections::BTreeMap;

use axum::body::{Body, Bytes};
use http::{
    HeaderMap, Method,
    header::{IF_MATCH, IF_NONE_MATCH},
    request::Parts,
};
use http_body::Body as _;
use percent_encoding::percent_decode_str;
use prost_reflect::{DynamicMessage, Kind, MessageDescriptor, ReflectMessage as _, Value};
use serde_path_to_error::{Path, Segment};

use super::{
    error::{Refused, invalid, not_current, problem},
    names, query,
    routes::{Content, Route},
};
use crate::{
    dialect::{
        body, header, idempotency,
        precondition::{self, CONSISTENCY},
    },
    domain::{Consistency, Precondition, ReadEtag, error::Quoted, rules::condition::seconds},
};

/// The header that names the tenant.
pub(super) const TENANT: &str = "x-endcap-tenant";

/// The limits on a request body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The size in bytes.
    pub(super) body: usize,
    /// The number of values and names in the JSON.
    pub(super) items: usize,
}

/// Reads the body of a request; empty if its route does not use the body.
///
/// # Errors
/// If the body exceeds a limit, is not received completely, or is not used by the route: to ignore it
/// could drop a precondition.
pub(super) async fn json(
    route: &Route<'_>,
    headers: &HeaderMap,
    body: Body,
    limits: Limits,
) -> Result<Bytes, Refused> {
    match route.binding.content {
        Content::None if body.is_end_stream() => Ok(Bytes::new()),
        Content::None => match body::bytes(headers, body, limits.body).await?.trim_ascii() {
            b"" | b"{}" => Ok(Bytes::new()),
            _ => {
                let problem = "is not allowed: this method has only parameters and headers";
                Err(invalid("body", problem))
            }
        },
        Content::Message | Content::Field(_) => {
            Ok(body::json(headers, body, limits.body, limits.items).await?)
        }
    }
}

/// Assembles the request message. A value that is given in two places must be the same in both.
///
/// # Errors
/// If any part of the request is malformed, or names an unknown field.
pub(super) fn message(
    route: &Route<'_>,
    parts: &Parts,
    json: &Bytes,
) -> Result<DynamicMessage, Refused> {
    let input = route.binding.rpc.method.input();
    let mut message = DynamicMessage::new(input.clone());
    match &route.binding.content {
        Content::None => {}
        Content::Message => message = parse(input, json, "")?,
        Content::Field(field) => {
            if let Some(inner) = names::message(field) {
                let inner = parse(inner, json, field.json_name())?;
                message.set_field(field, Value::Message(inner));
            }
        }
    }
    for (field, text) in &route.variables {
        let text = percent_decode_str(text).decode_utf8();
        let text = text.map_err(|_| invalid(field, "is not UTF-8 in the path"))?;
        query::set(&mut message, field, &[text.into_owned()])?;
    }
    set_query(&mut message, parts.uri.query().unwrap_or_default())?;
    set_headers(&mut message, &parts.method, &parts.headers)?;
    Ok(message)
}

/// Parses a message from JSON; an empty body means an empty message.
fn parse(of: MessageDescriptor, json: &Bytes, place: &str) -> Result<DynamicMessage, Refused> {
    if json.trim_ascii().is_empty() {
        return Ok(DynamicMessage::new(of));
    }
    let mut from = serde_json::Deserializer::from_slice(json);
    let parsed = DynamicMessage::deserialize(of.clone(), &mut from);
    parsed
        .and_then(|message| from.end().map(|()| message))
        .map_err(|error| malformed(of, json, place, &error))
}

/// The error of invalid JSON. The path of the invalid field is only found by parsing again, which
/// is done for failures alone.
fn malformed(
    of: MessageDescriptor,
    json: &[u8],
    place: &str,
    error: &serde_json::Error,
) -> Refused {
    if error.is_syntax() || error.is_eof() {
        return body::BodyError::Malformed(error.to_string()).into();
    }
    let mut track = serde_path_to_error::Track::new();
    let mut from = serde_json::Deserializer::from_slice(json);
    let tracked = serde_path_to_error::Deserializer::new(&mut from, &mut track);
    // This fails again, and leaves the path in `track`.
    let _ = DynamicMessage::deserialize(of.clone(), tracked);
    let path = track.path();
    let kind = kind_at(of, &path);
    let path = path.to_string();
    let path = if path == "." { "" } else { &path };
    let mut field = if place.is_empty() || path.is_empty() || path.starts_with('[') {
        format!("{place}{path}")
    } else {
        format!("{place}.{path}")
    };
    if let Some(unknown) = unknown_name(&error.to_string()) {
        let dot = if field.is_empty() { "" } else { "." };
        field = format!("{field}{dot}{unknown}");
    }
    invalid(&field, &problem(error, kind.as_ref()))
}

/// The name of the field that the message does not have, if that is the problem.
fn unknown_name(error: &str) -> Option<&str> {
    let name = error.strip_prefix("unrecognized field name '")?;
    Some(name.rsplit_once("' at line ")?.0)
}

/// The type of the value at a path in a message; `None` inside of types that have JSON of their own.
fn kind_at(of: MessageDescriptor, path: &Path) -> Option<Kind> {
    let mut kind = Kind::Message(of);
    for segment in path {
        let Segment::Map { key } = segment else {
            continue;
        };
        let message = kind.as_message()?;
        kind = if message.is_map_entry() {
            message.map_entry_value_field().kind()
        } else {
            names::field(message, key)?.kind()
        };
    }
    Some(kind)
}

fn set_query(message: &mut DynamicMessage, query: &str) -> Result<(), Refused> {
    let mut parameters: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let values = parameters.entry(name).or_default();
        values.push(value.into_owned());
    }
    for (name, values) in parameters {
        query::set(message, &name, &values)?;
    }
    Ok(())
}

fn set_headers(
    message: &mut DynamicMessage,
    method: &Method,
    headers: &HeaderMap,
) -> Result<(), Refused> {
    if let Some(tenant) = one(headers, TENANT)? {
        set(message, "tenant_id", tenant)?;
    }
    let is_read = method == Method::GET || method == Method::HEAD;
    // Reads are safe to repeat without an idempotency key.
    if let Some(key) = one(headers, idempotency::HEADER)?
        && !is_read
    {
        let bare = key.strip_prefix('"').and_then(|key| key.strip_suffix('"'));
        set(message, "request_id", bare.unwrap_or(key))?;
    }
    if let Some(tag) = one(headers, IF_MATCH.as_str())? {
        set_if_match(message, method, tag)?;
    }
    if let Some(tag) = one(headers, IF_NONE_MATCH.as_str())? {
        set_if_none_match(message, is_read, tag)?;
    }
    let consistency = precondition::consistency(headers);
    let consistency =
        consistency.map_err(|violation| invalid(CONSISTENCY, &violation.problem()))?;
    if let Some(consistency) = consistency {
        set_consistency(message, consistency)?;
    }
    Ok(())
}

/// Applies `Endcap-Consistency`. What has no such field is fully consistent.
fn set_consistency(message: &mut DynamicMessage, consistency: Consistency) -> Result<(), Refused> {
    let Some(field) = message.descriptor().get_field_by_name("consistency") else {
        return Ok(());
    };
    if message.has_field(&field) {
        let problem = "is not allowed together with consistency";
        return Err(invalid(CONSISTENCY, problem));
    }
    match consistency {
        Consistency::Full => Ok(()),
        Consistency::AtLeast(etag) => set(message, "consistency.at_least", &etag.to_string()),
        Consistency::Within(time) => set(message, "consistency.within", &seconds(time)),
    }
}

/// Applies `If-Match`: sets `etag` of the request, or, for updates, of the resource in it.
fn set_if_match(message: &mut DynamicMessage, method: &Method, tag: &str) -> Result<(), Refused> {
    let name = IF_MATCH.as_str();
    let descriptor = message.descriptor();
    let of_resource = descriptor.fields().find_map(|field| {
        let resource = names::message(&field)?;
        let etag = resource.get_field_by_name("etag")?;
        (method == Method::PATCH).then(|| format!("{}.{}", field.name(), etag.name()))
    });
    let own = descriptor.get_field_by_name("etag");
    let Some(field) = own.map(|own| own.name().to_owned()).or(of_resource) else {
        return Err(invalid(name, "is not supported by this method"));
    };
    if tag == "*" {
        return Ok(());
    }
    let one = tag.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    let Some(tag) = one.filter(|tag| !tag.contains('"')) else {
        let problem = format!("{} must be one strong etag, in quotes, or *", Quoted(tag));
        return Err(invalid(name, &problem));
    };
    // Of a read etag the version, so that a field may repeat it.
    let Ok(precondition) = Precondition::parse(name, tag) else {
        return Err(not_current(name, tag));
    };
    set(message, &field, &precondition.to_string())
}

/// Applies `If-None-Match`. A read that does not support it, or can't parse the etag, responds in
/// full, as RFC 9110 allows.
fn set_if_none_match(
    message: &mut DynamicMessage,
    is_read: bool,
    tag: &str,
) -> Result<(), Refused> {
    let name = IF_NONE_MATCH.as_str();
    if !is_read {
        return Err(invalid(name, "is not supported by this method"));
    }
    let tag = tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"');
    let has_field = message.descriptor().get_field_by_name("if_none_match");
    if has_field.is_some() && ReadEtag::parse(name, tag).is_ok() {
        set(message, "if_none_match", tag)?;
    }
    Ok(())
}

fn set(message: &mut DynamicMessage, field: &str, text: &str) -> Result<(), Refused> {
    query::set(message, field, &[text.to_owned()])
}

/// The value of a header that may be given at most once.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Refused> {
    let value = header::one_value(headers, name);
    let value = value.map_err(|rule| invalid(name, &rule.to_string()))?;
    let text = value.map(|value| value.to_str().map(str::trim));
    let text = text
        .transpose()
        .map_err(|_| invalid(name, "must be visible ASCII characters"))?;
    match text {
        // To ignore an empty header would drop a precondition or an idempotency key.
        Some("" | "\"\"") => Err(invalid(name, "must not be empty")),
        text => Ok(text),
    }
}
