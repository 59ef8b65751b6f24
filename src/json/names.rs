//! Access to message fields by name, either as in JSON (lowerCamelCase) or as in the proto.

use prost_reflect::{DynamicMessage, FieldDescriptor, MessageDescriptor};

/// The field with this name.
pub(super) fn field(message: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    let by_json = message.get_field_by_json_name(name);
    by_json.or_else(|| message.get_field_by_name(name))
}

/// The names of a message's fields as in JSON, for error messages.
pub(super) fn all(message: &MessageDescriptor) -> String {
    let names: Vec<_> = message
        .fields()
        .map(|field| field.json_name().to_owned())
        .collect();
    names.join(", ")
}

/// The names in the paths of a field mask as in JSON, which may be as in the proto.
pub(super) fn in_json(mask: &str) -> String {
    let mut all = String::with_capacity(mask.len());
    let mut chars = mask.chars().peekable();
    while let Some(char) = chars.next() {
        match chars.peek().filter(|_| char == '_') {
            Some(next) if next.is_ascii_lowercase() => {
                all.extend(chars.next().map(|next| next.to_ascii_uppercase()));
            }
            _ => all.push(char),
        }
    }
    all
}

/// The value of a string field; `None` if it is empty or there is no such field.
pub(super) fn text(message: &DynamicMessage, name: &str) -> Option<String> {
    let value = message.get_field_by_name(name)?;
    let text = value.as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}

/// The message type of a singular message field.
pub(super) fn message(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    let is_one = !field.is_list() && !field.is_map();
    field.kind().as_message().filter(|_| is_one).cloned()
}

/// The messages in the message's own fields.
pub(super) fn messages(message: &DynamicMessage) -> impl Iterator<Item = &DynamicMessage> {
    message.fields().filter_map(|(_, value)| value.as_message())
}
