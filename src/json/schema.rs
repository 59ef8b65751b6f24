//! JSON schemas of the API's messages, with the comments from the proto files.

use std::collections::{BTreeMap, HashMap};

use prost_reflect::{EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value as Json, json};

use super::routes::POOL;

/// The comments of all declarations, by file and position in the descriptor.
#[derive(Debug)]
pub(super) struct Comments(HashMap<(String, Vec<i32>), String>);

impl Comments {
    pub(super) fn read() -> Self {
        let mut all = HashMap::new();
        for file in POOL.files() {
            let source = file.file_descriptor_proto().source_code_info.as_ref();
            for location in source.iter().flat_map(|source| &source.location) {
                if let Some(comment) = &location.leading_comments {
                    let place = (file.name().to_owned(), location.path.clone());
                    all.insert(place, paragraphs(comment));
                }
            }
        }
        Self(all)
    }

    /// The comment of a declaration; empty if it has none.
    pub(super) fn of(&self, file: &FileDescriptor, place: &[i32]) -> &str {
        let place = (file.name().to_owned(), place.to_vec());
        self.0.get(&place).map_or("", String::as_str)
    }
}

/// A comment with the lines of each paragraph joined.
fn paragraphs(comment: &str) -> String {
    let lines: Vec<_> = comment.lines().map(str::trim).collect();
    let paragraphs = lines.split(|line| line.is_empty());
    let paragraphs = paragraphs.filter(|lines| !lines.is_empty());
    let paragraphs: Vec<_> = paragraphs.map(|lines| lines.join(" ")).collect();
    paragraphs.join("\n\n")
}

/// The schemas of messages and enums, by their names within the package.
#[derive(Debug)]
pub(super) struct Schemas<'a> {
    comments: &'a Comments,
    made: BTreeMap<String, Json>,
}

impl<'a> Schemas<'a> {
    pub(super) fn new(comments: &'a Comments) -> Self {
        Self {
            comments,
            made: BTreeMap::new(),
        }
    }

    pub(super) fn into_json(self) -> Map<String, Json> {
        self.made.into_iter().collect()
    }

    /// A reference to a message's schema. Creates the schema, and those it refers to.
    pub(super) fn message(&mut self, message: &MessageDescriptor) -> Json {
        if let Some(schema) = well_known(message.full_name()) {
            return schema;
        }
        let name = name(message.full_name(), message.package_name());
        if !self.made.contains_key(&name) {
            // A placeholder, which ends the recursion of messages that contain themselves.
            self.made.insert(name.clone(), Json::Null);
            let mut properties = Map::new();
            for field in message.fields() {
                properties.insert(field.json_name().to_owned(), self.field(&field));
            }
            let comment = self.comments.of(&message.parent_file(), message.path());
            let schema = json!({
                "type": "object",
                "description": format!("{comment}{}", alternatives(message)),
                "properties": properties,
            });
            self.made.insert(name.clone(), schema);
        }
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }

    /// The schema of a field, with its comment as the description.
    pub(super) fn field(&mut self, field: &FieldDescriptor) -> Json {
        let comment = self.comments.of(&field.parent_file(), field.path());
        let kind = field.kind();
        let mut schema = if let Some(entry) = kind.as_message().filter(|_| field.is_map()) {
            let values = self.kind(&entry.map_entry_value_field().kind());
            json!({ "type": "object", "additionalProperties": values })
        } else if field.is_list() {
            json!({ "type": "array", "items": self.kind(&kind) })
        } else {
            self.kind(&kind)
        };
        if let Json::Object(schema) = &mut schema
            && !comment.is_empty()
        {
            schema.insert("description".into(), comment.into());
        }
        schema
    }

    fn kind(&mut self, kind: &Kind) -> Json {
        match kind {
            Kind::Double | Kind::Float => json!({ "type": "number" }),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
                json!({ "type": "integer", "format": "int32" })
            }
            Kind::Uint32 | Kind::Fixed32 => json!({ "type": "integer", "format": "uint32" }),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
                json!({ "type": "string", "format": "int64" })
            }
            Kind::Uint64 | Kind::Fixed64 => json!({ "type": "string", "format": "uint64" }),
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::String => json!({ "type": "string" }),
            Kind::Bytes => json!({ "type": "string", "format": "byte" }),
            Kind::Message(message) => self.message(message),
            Kind::Enum(of) => self.enumeration(of),
        }
    }

    fn enumeration(&mut self, of: &EnumDescriptor) -> Json {
        let name = name(of.full_name(), of.package_name());
        if !self.made.contains_key(&name) {
            let mut description = self.comments.of(&of.parent_file(), of.path()).to_owned();
            for value in of.values() {
                let comment = self.comments.of(&of.parent_file(), value.path());
                description.push_str(&format!("\n\n- `{}`: {comment}", value.name()));
            }
            let names: Vec<_> = of.values().map(|value| value.name().to_owned()).collect();
            let schema = json!({ "type": "string", "description": description, "enum": names });
            self.made.insert(name.clone(), schema);
        }
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }
}

fn name(full: &str, package: &str) -> String {
    let own = full.strip_prefix(package).unwrap_or(full);
    own.trim_start_matches('.').to_owned()
}

/// The description of a message's oneofs, which JSON schema does not model.
fn alternatives(message: &MessageDescriptor) -> String {
    let groups = message.oneofs().filter(|group| !group.is_synthetic());
    let groups = groups.map(|group| {
        let names: Vec<_> = group.fields().map(|it| it.json_name().to_owned()).collect();
        format!("\n\nAt most one of: `{}`.", names.join("`, `"))
    });
    groups.collect()
}

/// The schemas of types with a special form in Protobuf's JSON.
fn well_known(name: &str) -> Option<Json> {
    Some(match name {
        "google.protobuf.Timestamp" => json!({ "type": "string", "format": "date-time" }),
        "google.protobuf.Duration" => json!({
            "type": "string",
            "description": "Seconds, with up to nine decimals, and an s.",
            "example": "1.5s",
        }),
        "google.protobuf.FieldMask" => json!({
            "type": "string",
            "description": "Names of fields in lowerCamelCase, with commas between them.",
        }),
        "google.protobuf.Struct" => json!({ "type": "object", "additionalProperties": true }),
        _ => return None,
    })
}
