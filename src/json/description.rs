//! The OpenAPI description of the routes, generated from the Protobuf descriptors and their
//! comments.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value as Json, json};

use super::{
    names, request,
    routes::{Binding, Content, POOL, ROUTES, variable},
    schema::{Comments, Schemas},
};
use crate::dialect::{idempotency, precondition};

const ABOUT: &str = "Collections and their ordered children: every method of the gRPC API \
    `endcap.v1`, in the JSON encoding of protocol buffers. Fields have lowerCamelCase names; the \
    names of the proto are accepted, too, and unknown fields are rejected. Responses omit fields \
    that have their default value. An id in a path is percent-encoded: `:` as `%3A`, `/` as \
    `%2F`.\n\n\
    **Authentication**: `Authorization: Bearer` with an API key, a token of the configured issuer \
    or a token of a login. Servers without authentication need none. The tenant is that of the \
    credential; if it is valid for several, set `tenantId` or `x-endcap-tenant`.\n\n\
    **Examples**: requests that succeed on the sample catalogue of `/docs/`, with the responses of \
    a server.";

/// The OpenAPI description.
pub(super) fn describe() -> Json {
    let comments = Comments::read();
    let mut schemas = Schemas::new(&comments);
    let mut paths: Map<String, Json> = Map::new();
    for binding in &ROUTES.0 {
        let operation = operation(binding, &comments, &mut schemas);
        let item = paths.entry(&binding.template).or_insert_with(|| json!({}));
        item[binding.method.as_str().to_ascii_lowercase()] = operation;
    }
    let mut schemas = schemas.into_json();
    schemas.insert("Status".into(), status());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Endcap",
            "description": ABOUT,
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "tags": tags(&comments),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer" } },
        },
        "security": [{ "bearer": [] }],
    })
}

/// The schema of an error.
fn status() -> Json {
    let detail = json!({
        "type": "object",
        "properties": { "@type": { "type": "string" } },
        "required": ["@type"],
        "additionalProperties": true,
    });
    json!({
        "type": "object",
        "description": "An error: google.rpc.Status.",
        "properties": {
            "code": {
                "type": "integer", "format": "int32", "description": "The code of google.rpc.Code.",
            },
            "message": { "type": "string", "description": "What is wrong, for people." },
            "details": {
                "type": "array",
                "description": "google.rpc.ErrorInfo with the reason, for programs; BadRequest with \
                    the fields that are wrong; RetryInfo, ResourceInfo and RequestInfo.",
                "items": detail,
            },
        },
        "required": ["code", "message"],
    })
}

fn tags(comments: &Comments) -> Vec<Json> {
    let services = POOL
        .services()
        .filter(|it| it.package_name() == "endcap.v1");
    services
        .map(|service| {
            let comment = comments.of(&service.parent_file(), service.path());
            json!({ "name": service.name(), "description": comment })
        })
        .collect()
}

fn operation(binding: &Binding, comments: &Comments, schemas: &mut Schemas<'_>) -> Json {
    let method = &binding.rpc.method;
    let about = comments.of(&method.parent_file(), method.path());
    let (summary, more) = about.split_once(". ").unwrap_or((about, ""));
    // `operationId` must be unique, so additional bindings get a suffix.
    let id = match binding.ordinal {
        0 => method.name().to_owned(),
        more => format!("{}_{}", method.name(), more + 1),
    };
    let mut operation = json!({
        "tags": [method.parent_service().name()],
        "operationId": id,
        "summary": summary.trim_end_matches('.'),
        "description": more,
        "parameters": parameters(binding, comments, schemas),
        "responses": {
            "200": {
                "description": "The response.",
                "content": { "application/json": { "schema": schemas.message(&method.output()) } },
            },
            "default": {
                "description": "The error: google.rpc.Status.",
                "content": {
                    "application/json": { "schema": { "$ref": "#/components/schemas/Status" } },
                },
            },
        },
    });
    let body = match &binding.content {
        Content::None => None,
        Content::Message => Some(schemas.message(&method.input())),
        Content::Field(field) => Some(schemas.field(field)),
    };
    if let Some(schema) = body {
        operation["requestBody"] = json!({
            "required": true,
            "content": { "application/json": { "schema": schema } },
        });
    }
    operation
}

fn parameters(binding: &Binding, comments: &Comments, schemas: &mut Schemas<'_>) -> Vec<Json> {
    let input = binding.rpc.method.input();
    let mut all = Vec::new();
    for name in binding.fields() {
        if let Some(field) = field_at(&input, name) {
            let comment = comments.of(&field.parent_file(), field.path());
            all.push(json!({
                "name": variable(name), "in": "path", "required": true, "description": comment,
                "schema": { "type": "string" },
            }));
        }
    }
    match &binding.content {
        Content::Message => {}
        Content::None => query(binding, &input, "", &mut all, comments, schemas),
        Content::Field(body) => {
            for field in input.fields().filter(|field| field != body) {
                parameter(binding, &field, "", &mut all, comments, schemas);
            }
        }
    }
    all.extend(headers(binding, &input));
    all
}

/// The field at a dotted path.
fn field_at(message: &MessageDescriptor, path: &str) -> Option<FieldDescriptor> {
    match path.split_once('.') {
        None => names::field(message, path),
        Some((name, rest)) => field_at(&names::message(&names::field(message, name)?)?, rest),
    }
}

fn query(
    binding: &Binding,
    message: &MessageDescriptor,
    prefix: &str,
    all: &mut Vec<Json>,
    comments: &Comments,
    schemas: &mut Schemas<'_>,
) {
    for field in message.fields() {
        parameter(binding, &field, prefix, all, comments, schemas);
    }
}

fn parameter(
    binding: &Binding,
    field: &FieldDescriptor,
    prefix: &str,
    all: &mut Vec<Json>,
    comments: &Comments,
    schemas: &mut Schemas<'_>,
) {
    if binding.fields().any(|name| name == field.name()) || is_other_key(binding, field) {
        return;
    }
    let name = format!("{prefix}{}", field.json_name());
    if let Some(message) = names::message(field)
        && message.package_name() != "google.protobuf"
    {
        return query(
            binding,
            &message,
            &format!("{name}."),
            all,
            comments,
            schemas,
        );
    }
    let mut schema = schemas.field(field);
    let comment = comments.of(&field.parent_file(), field.path());
    if let Json::Object(schema) = &mut schema {
        schema.remove("description");
    }
    let mut parameter = json!({
        "name": name, "in": "query", "required": false, "description": comment, "schema": schema,
    });
    if field.is_map() {
        // Written as `textMasks[pt-BR]=displayName`.
        parameter["style"] = "deepObject".into();
        parameter["explode"] = true.into();
    }
    all.push(parameter);
}

/// Whether the path already has another field of the same oneof.
fn is_other_key(binding: &Binding, field: &FieldDescriptor) -> bool {
    let Some(group) = field.containing_oneof() else {
        return false;
    };
    binding
        .fields()
        .any(|name| group.fields().any(|other| other.name() == name))
}

/// The headers that set fields of the request.
fn headers(binding: &Binding, input: &MessageDescriptor) -> Vec<Json> {
    let has = |name: &str| input.get_field_by_name(name).is_some();
    let is_update = binding.method == http::Method::PATCH
        && input.fields().any(|field| {
            matches!(field.kind(), Kind::Message(it) if it.get_field_by_name("etag").is_some())
        });
    let known = [
        (
            has("tenant_id"),
            request::TENANT,
            "The tenant; the same as tenantId.",
        ),
        (
            has("request_id"),
            idempotency::HEADER,
            "The idempotency key; the same as requestId.",
        ),
        (
            has("etag") || is_update,
            "If-Match",
            "The etag that must be current, in quotes; the same as the field etag.",
        ),
        (
            has("if_none_match"),
            "If-None-Match",
            "The ETag of an earlier response; the same as ifNoneMatch. 304 if it is current.",
        ),
        (
            has("consistency"),
            precondition::CONSISTENCY,
            "How fresh the response must be: full (the default), at-least=ETAG or within=500ms; \
             the same as consistency.",
        ),
    ];
    let known = known.into_iter().filter(|(is_known, ..)| *is_known);
    known
        .map(|(_, name, about)| {
            json!({
                "name": name, "in": "header", "required": false, "description": about,
                "schema": { "type": "string" },
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use utoipa::openapi::OpenApi;

    use super::*;

    #[test]
    fn the_description_has_all_routes_and_only_documented_schemas() {
        let made = describe();
        let known: OpenApi = serde_json::from_value(made.clone()).unwrap();
        let described = serde_json::to_value(known).unwrap();
        let (paths, known) = (&made["paths"], &described["paths"]);
        assert_eq!(
            paths.as_object().unwrap().len(),
            known.as_object().unwrap().len()
        );
        let operations = |paths: &Json| -> usize {
            let items = paths.as_object().unwrap().values();
            items.map(|item| item.as_object().unwrap().len()).sum()
        };
        assert_eq!(operations(paths), ROUTES.0.len());
        assert_eq!(operations(known), ROUTES.0.len());
        let schemas = described["components"]["schemas"].as_object().unwrap();
        assert_eq!(
            schemas.len(),
            made["components"]["schemas"].as_object().unwrap().len()
        );
        for (name, schema) in schemas {
            let comment = schema["description"].as_str().unwrap_or_default();
            assert!(!comment.is_empty(), "{name}: {schema}");
        }
    }
}
