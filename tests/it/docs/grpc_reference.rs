//! docs/reference/grpc.md is generated from the proto and its comments.

use std::{collections::HashMap, fmt::Write as _};

use endcap::grpc::DESCRIPTORS;
use prost_reflect::{
    DescriptorPool, EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor,
    MethodDescriptor, ServiceDescriptor,
};

use super::generated_after;

const PACKAGE: &str = "endcap.v1";

/// The comments of all declarations, by file and position in the descriptor.
pub(super) struct Comments(HashMap<(String, Vec<i32>), String>);

impl Comments {
    pub(super) fn read(pool: &DescriptorPool) -> Self {
        let mut all = HashMap::new();
        for file in pool.files() {
            let source = file.file_descriptor_proto().source_code_info.as_ref();
            for location in source.iter().flat_map(|source| &source.location) {
                let place = (file.name().to_owned(), location.path.clone());
                let comment = location.leading_comments().trim();
                let lines = comment.lines().map(str::trim);
                all.insert(place, lines.collect::<Vec<_>>().join("\n"));
            }
        }
        Self(all)
    }

    /// The comment of a declaration.
    pub(super) fn of(&self, file: &FileDescriptor, place: &[i32]) -> &str {
        let place = (file.name().to_owned(), place.to_vec());
        self.0.get(&place).map_or("", String::as_str)
    }

    /// The comment of a declaration, for a cell of a table.
    fn cell(&self, file: &FileDescriptor, place: &[i32]) -> String {
        let comment = self.of(file, place).replace("\n\n", "<br>");
        comment.replace('\n', " ").replace('|', "\\|")
    }
}

fn short(full_name: &str) -> &str {
    let own = full_name.strip_prefix(PACKAGE);
    own.map_or(full_name, |name| name.trim_start_matches('.'))
}

/// The name of a type, with a link if this API defines it.
fn name_of(kind: &Kind) -> String {
    let message = kind.as_message().map(MessageDescriptor::full_name);
    let name = message.or_else(|| kind.as_enum().map(EnumDescriptor::full_name));
    name.map_or_else(|| format!("{kind:?}"), link)
}

/// The type of a field.
fn type_of(field: &FieldDescriptor) -> String {
    let kind = field.kind();
    let name = name_of(&kind);
    if let Some(entry) = kind.as_message().filter(|_| field.is_map()) {
        let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
        return format!(
            "map of {} to {}",
            name_of(&key.kind()),
            name_of(&value.kind())
        );
    }
    let is_optional = field
        .containing_oneof()
        .is_some_and(|group| group.is_synthetic());
    match (field.is_list(), is_optional) {
        (true, _) => format!("list of {name}"),
        (false, true) => format!("optional {name}"),
        (false, false) => name,
    }
}

fn link(full_name: &str) -> String {
    let name = short(full_name);
    if name == full_name {
        return format!("`{name}`");
    }
    format!("[{name}](#{})", name.to_lowercase().replace('.', ""))
}

fn message(text: &mut String, message: &MessageDescriptor, comments: &Comments) {
    let file = message.parent_file();
    let (name, comment) = (
        short(message.full_name()),
        comments.of(&file, message.path()),
    );
    let _ = write!(text, "\n### {name}\n\n{comment}\n");
    if message.fields().len() == 0 {
        return;
    }
    text.push_str("\n| field | number | type | |\n|---|---|---|---|\n");
    for field in message.fields() {
        let group = field
            .containing_oneof()
            .filter(|group| !group.is_synthetic());
        let group = group.map(|group| format!(" (one of `{}`)", group.name()));
        let _ = writeln!(
            text,
            "| `{}` | {} | {}{} | {} |",
            field.name(),
            field.number(),
            type_of(&field),
            group.unwrap_or_default(),
            comments.cell(&file, field.path())
        );
    }
    for nested in message.child_messages().filter(|it| !it.is_map_entry()) {
        self::message(text, &nested, comments);
    }
}

fn enumeration(text: &mut String, of: &EnumDescriptor, comments: &Comments) {
    let file = of.parent_file();
    let (name, comment) = (short(of.full_name()), comments.of(&file, of.path()));
    let _ = write!(
        text,
        "\n### {name}\n\n{comment}\n\n| value | number | |\n|---|---|---|\n"
    );
    for value in of.values() {
        let comment = comments.cell(&file, value.path());
        let _ = writeln!(
            text,
            "| `{}` | {} | {comment} |",
            value.name(),
            value.number()
        );
    }
}

fn method(text: &mut String, method: &MethodDescriptor, comments: &Comments) {
    let comment = comments.of(&method.parent_file(), method.path());
    let (input, output) = (
        link(method.input().full_name()),
        link(method.output().full_name()),
    );
    let _ = write!(
        text,
        "\n### {}\n\n{comment}\n\nTakes {input}, returns {output}.\n",
        method.name()
    );
}

fn service(text: &mut String, service: &ServiceDescriptor, comments: &Comments) {
    let comment = comments.of(&service.parent_file(), service.path());
    let _ = write!(text, "\n## {}\n\n{comment}\n", service.name());
    for of in service.methods() {
        method(text, &of, comments);
    }
}

fn reference() -> String {
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let comments = Comments::read(&pool);
    let mut text = String::new();
    for of in pool.services().filter(|it| it.package_name() == PACKAGE) {
        service(&mut text, &of, &comments);
    }
    text.push_str("\n## Messages\n");
    let files = pool.files().filter(|file| file.package_name() == PACKAGE);
    let files: Vec<_> = files.collect();
    for of in files.iter().flat_map(FileDescriptor::messages) {
        message(&mut text, &of, &comments);
    }
    text.push_str("\n## Enums\n");
    for of in files.iter().flat_map(FileDescriptor::enums) {
        if of.name() != "ErrorReason" {
            enumeration(&mut text, &of, &comments);
        }
    }
    text
}

#[test]
fn the_grpc_reference_matches_the_proto() {
    generated_after(
        "docs/reference/grpc.md",
        "<!-- Generated from the proto",
        &reference(),
    );
}
