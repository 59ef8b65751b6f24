//! Responses: the response message of a call, as JSON.

use axum::{
    body::Bytes,
    response::{IntoResponse as _, Response},
};
use futures::FutureExt as _;
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{CONTENT_TYPE, ETAG},
};
use prost_reflect::{DynamicMessage, Kind, MessageDescriptor, ReflectMessage as _};
use serde_json::Value as Json;
use tonic::Status;

use super::{
    call::UnaryResponse,
    error::{Refused, internal},
    names,
    routes::Rpc,
    turn::translated,
};
use crate::{dialect::Context, processor};

/// The response metadata that is copied to the HTTP response.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The response with a message: 200, or 304 if the client's cached copy is current.
///
/// # Errors
/// If the message can't be decoded or serialized, which is an internal error.
pub(super) async fn response(
    context: &Context,
    rpc: &Rpc,
    response: UnaryResponse,
) -> Result<Response, Refused> {
    let UnaryResponse {
        metadata,
        message,
        is_cached,
    } = response;
    // Boxed, as the cache mostly has it.
    let translation = translated(message.len(), || translation(rpc, &message)).boxed();
    // To hash a longer message would delay other requests.
    let is_short = message.len() <= processor::LARGE;
    let translation = if is_cached && is_short {
        let output = rpc.method.output();
        let derived = context
            .service
            .derived(output.full_name(), &message, translation);
        derived.await?
    } else {
        translation.await?
    };
    let (tag, json) = parts(translation);
    let mut response = match json {
        None => StatusCode::NOT_MODIFIED.into_response(),
        Some(json) => ([(CONTENT_TYPE, "application/json")], json).into_response(),
    };
    let tag = tag.and_then(|tag| HeaderValue::try_from(format!("\"{tag}\"")).ok());
    let headers = response.headers_mut();
    tag.and_then(|tag| headers.insert(ETAG, tag));
    if let Some(replayed) = metadata.get(&REPLAYED) {
        headers.insert(REPLAYED, replayed.clone());
    }
    Ok(response)
}

/// The translation of a message: its `ETag`, which may be empty, and after a line break its JSON,
/// unless the client's cached copy is current.
fn translation(rpc: &Rpc, message: &[u8]) -> Result<Bytes, Status> {
    let message = DynamicMessage::decode(rpc.method.output(), message).map_err(internal)?;
    let not_modified = message.get_field_by_name("not_modified");
    let not_modified = not_modified.and_then(|it| it.as_bool()) == Some(true);
    let mut translation = etag(&message).unwrap_or_default().into_bytes();
    if !not_modified {
        translation.push(b'\n');
        translation.extend(written(&message).map_err(internal)?);
    }
    // Without spare capacity, as the read cache keeps the bytes.
    Ok(translation.into_boxed_slice().into())
}

/// The parts of a translation.
fn parts(mut translation: Bytes) -> (Option<String>, Option<Bytes>) {
    let end = translation.iter().position(|byte| *byte == b'\n');
    let json = end.map(|end| translation.split_off(end).slice(1..));
    let tag = String::from_utf8_lossy(&translation).into_owned();
    (Some(tag).filter(|tag| !tag.is_empty()), json)
}

/// The `ETag` of a response: the field `read_etag`, which is for conditional reads, or else `etag`
/// of the response or of the resource in it.
fn etag(message: &DynamicMessage) -> Option<String> {
    let own = names::text(message, "read_etag").or_else(|| names::text(message, "etag"));
    // The `etag` of a page is that of the collection, which the items on it can change without.
    let is_page = message.descriptor().fields().any(|field| field.is_list());
    own.filter(|_| !is_page)
        .or_else(|| names::messages(message).find_map(|inner| names::text(inner, "etag")))
}

pub(super) fn written(message: &DynamicMessage) -> serde_json::Result<Vec<u8>> {
    let mut json = serde_json::to_value(message)?;
    tidy(&mut json, &message.descriptor());
    serde_json::to_vec(&json)
}

/// Sorts the entries of maps, which have no order in memory, so that equal responses have equal
/// bytes.
fn tidy(json: &mut Json, message: &MessageDescriptor) {
    if message.full_name() == "google.protobuf.Struct" {
        return shorten(json);
    }
    let Json::Object(object) = json else {
        return;
    };
    for field in message.fields() {
        let Some(value) = object.get_mut(field.json_name()) else {
            continue;
        };
        let Kind::Message(mut inner) = field.kind() else {
            continue;
        };
        if field.is_map() {
            if let Kind::Message(of_values) = inner.map_entry_value_field().kind() {
                inner = of_values;
            }
            if let Json::Object(entries) = value {
                entries.sort_keys();
                entries.values_mut().for_each(|it| tidy(it, &inner));
            }
        } else if let Json::Array(items) = value {
            items.iter_mut().for_each(|it| tidy(it, &inner));
        } else {
            tidy(value, &inner);
        }
    }
}

/// Writes whole numbers without a fraction. Numbers of a `Struct` are doubles, and some clients
/// don't accept `1.0` as an integer.
fn shorten(json: &mut Json) {
    /// 2^53: up to here a double holds every integer exactly.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match json {
        Json::Number(number) => {
            let whole = number
                .as_f64()
                .filter(|it| it.fract() == 0.0 && it.abs() < EXACT);
            // -0.0 has no form as an integer.
            let whole = whole.filter(|it| *it != 0.0 || it.is_sign_positive());
            if let Some(whole) = whole {
                *json = Json::from(whole as i64);
            }
        }
        Json::Array(items) => items.iter_mut().for_each(shorten),
        Json::Object(fields) => fields.values_mut().for_each(shorten),
        Json::Null | Json::Bool(_) | Json::String(_) => {}
    }
}
