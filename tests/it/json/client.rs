//! A client of the JSON API that knows only the descriptors: it turns any message of any method
//! into a request according to `google.api.http`. The unit tests of `src/json` use it, too.

use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor,
    MethodDescriptor, ReflectMessage as _, Value,
};
use rand::{RngExt as _, rngs::StdRng, seq::IndexedRandom as _};
use serde_json::{Map, Value as Json};

/// A binding of a method to a path.
#[derive(Clone, Debug)]
pub(crate) struct Binding {
    pub(crate) method: MethodDescriptor,
    pub(crate) verb: String,
    pub(crate) template: String,
    pub(crate) body: String,
}

/// An HTTP request.
#[derive(Debug)]
pub(crate) struct HttpRequest {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) body: Option<Json>,
}

/// All bindings of all methods, in the order of the proto.
pub(crate) fn bindings(descriptors: &[u8]) -> Vec<Binding> {
    let pool = DescriptorPool::decode(descriptors).unwrap();
    let option = pool.get_extension_by_name("google.api.http").unwrap();
    let mut all = Vec::new();
    for service in pool.services() {
        for method in service.methods() {
            if service.package_name() != "endcap.v1" {
                continue;
            }
            let options = method.options();
            let rule = options.get_extension(&option);
            let rule = rule.as_message().unwrap();
            all.push(binding(&method, rule));
            let more = rule.get_field_by_name("additional_bindings").unwrap();
            let more = more.as_list().unwrap().iter();
            all.extend(more.map(|rule| binding(&method, rule.as_message().unwrap())));
        }
    }
    all
}

fn binding(method: &MethodDescriptor, rule: &DynamicMessage) -> Binding {
    let text = |name: &str| {
        let value = rule.get_field_by_name(name).unwrap();
        value.as_str().unwrap().to_owned()
    };
    let verbs = ["get", "put", "post", "delete", "patch"];
    let verb = verbs.into_iter().find(|verb| !text(verb).is_empty());
    let verb = verb.unwrap();
    Binding {
        method: method.clone(),
        verb: verb.to_uppercase(),
        template: text(verb),
        body: text("body"),
    }
}

impl Binding {
    /// The fields in the path.
    pub(crate) fn variables(&self) -> impl Iterator<Item = &str> {
        self.template.split(['{', '}']).skip(1).step_by(2)
    }

    /// The request that represents the message.
    pub(crate) fn request(&self, message: &DynamicMessage) -> HttpRequest {
        let mut rest = serde_json::to_value(message).unwrap();
        let mut target = self.template.clone();
        for field in self.variables() {
            let (above, name) = field.rsplit_once('.').unwrap_or(("", field));
            let above = if above.is_empty() {
                ""
            } else {
                &format!("/{above}")
            };
            let object = rest.pointer_mut(above).unwrap().as_object_mut().unwrap();
            let value = object.remove(&camel(name)).unwrap();
            let value = encoded(value.as_str().unwrap());
            target = target.replace(&format!("{{{field}}}"), &value);
        }
        let object = rest.as_object_mut().unwrap();
        let body = match self.body.as_str() {
            "" => None,
            "*" => Some(std::mem::take(object).into()),
            field => Some(object.remove(field).unwrap_or_else(|| Map::new().into())),
        };
        let mut query = Vec::new();
        flatten(object, &message.descriptor(), "", &mut query);
        if !query.is_empty() {
            target = format!("{target}?{}", query.join("&"));
        }
        HttpRequest {
            method: self.verb.clone(),
            target,
            body,
        }
    }

    /// Changes the message to the nearest one that a request can express: a path has no empty
    /// segments, and a query can't express that a message is present but empty.
    pub(crate) fn expressible(&self, message: &mut DynamicMessage, rng: &mut StdRng) {
        let descriptor = message.descriptor();
        if !["", "*"].contains(&self.body.as_str()) && !message.has_field_by_name(&self.body) {
            let field = descriptor.get_field_by_name(&self.body).unwrap();
            message.get_field_mut(&field);
        }
        for path in self.variables() {
            let mut inner = &mut *message;
            let mut names: Vec<_> = path.split('.').collect();
            let last = names.pop().unwrap();
            for name in names {
                let field = inner.get_field_by_name_mut(name).unwrap();
                inner = field.as_message_mut().unwrap();
            }
            let text = format!("{}{}", TEXTS[1..].choose(rng).unwrap(), "x");
            inner.set_field_by_name(last, Value::String(text));
        }
        if self.body != "*" {
            for field in descriptor.fields().filter(|it| it.name() != self.body) {
                let empty = matches!(&*message.get_field(&field), Value::Message(it)
                    if it.descriptor().package_name() != "google.protobuf"
                        && it.fields().next().is_none());
                if empty {
                    message.clear_field(&field);
                }
            }
        }
    }
}

/// A text, encoded as one path segment or one value of a query.
pub(crate) fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap().to_owned();
    words.fold(first, |name, word| {
        let (head, tail) = word.split_at(1);
        format!("{name}{}{tail}", head.to_uppercase())
    })
}

fn flatten(
    object: &Map<String, Json>,
    message: &MessageDescriptor,
    prefix: &str,
    query: &mut Vec<String>,
) {
    for (name, value) in object {
        let field = message.get_field_by_json_name(name).unwrap();
        let name = format!("{prefix}{name}");
        match (value, field.kind()) {
            (Json::Object(entries), _) if field.is_map() => {
                for (key, value) in entries {
                    query.push(parameter(&format!("{name}[{key}]"), value));
                }
            }
            (Json::Object(inner), Kind::Message(message)) => {
                flatten(inner, &message, &format!("{name}."), query);
            }
            (Json::Array(items), _) => {
                query.extend(items.iter().map(|item| parameter(&name, item)));
            }
            (value, _) => query.push(parameter(&name, value)),
        }
    }
}

fn parameter(name: &str, value: &Json) -> String {
    let text = value.as_str().map_or(value.to_string(), str::to_owned);
    format!("{}={}", encoded(name), encoded(&text))
}

/// Texts that are difficult to encode in some part of a request.
const TEXTS: [&str; 14] = [
    "",
    "a",
    "a:b",
    "a/b",
    "50% off",
    "a%2Fb",
    "x:mutateChildren",
    "ü 😀",
    "a?b&c=d#e",
    "a+b",
    "\"quoted\\\"",
    "[0].a",
    "line\nbreak\t",
    "*",
];

/// An arbitrary message, with at most `depth` levels of nested messages.
pub(crate) fn any(of: &MessageDescriptor, depth: usize, rng: &mut StdRng) -> DynamicMessage {
    let mut message = DynamicMessage::new(of.clone());
    match of.full_name() {
        "google.protobuf.Timestamp" => {
            let seconds = rng.random_range(-62_135_596_800_i64..=253_402_300_799);
            message.set_field_by_name("seconds", Value::I64(seconds));
            let nanos = rng.random_range(0..1_000_000_000);
            message.set_field_by_name("nanos", Value::I32(nanos));
            return message;
        }
        "google.protobuf.Duration" => {
            let seconds = rng.random_range(0..=315_576_000_000_i64);
            message.set_field_by_name("seconds", Value::I64(seconds));
            let nanos = rng.random_range(0..1_000_000_000);
            message.set_field_by_name("nanos", Value::I32(nanos));
            return message;
        }
        "google.protobuf.FieldMask" => {
            const PATHS: [&str; 4] = ["id", "display_name", "*", "seo_title.x"];
            let count = rng.random_range(0..3);
            let paths = (0..count).map(|_| Value::String((*PATHS.choose(rng).unwrap()).into()));
            let paths = paths.collect();
            message.set_field_by_name("paths", Value::List(paths));
            return message;
        }
        // One member of its oneof must be set.
        "google.protobuf.Value" => {
            let deepest = if depth == 0 { 4 } else { 6 };
            let fields: Vec<_> = of.fields().take(deepest).collect();
            let field = fields.choose(rng).unwrap();
            message.set_field(field, value(field, depth, rng));
            return message;
        }
        _ => {}
    }
    for field in of.fields() {
        let is_message = matches!(field.kind(), Kind::Message(_));
        if rng.random_bool(0.5) && (depth > 0 || !is_message) {
            message.set_field(&field, value(&field, depth, rng));
        }
    }
    message
}

fn value(field: &FieldDescriptor, depth: usize, rng: &mut StdRng) -> Value {
    let count = rng.random_range(0..3);
    if field.is_map() {
        let entry = field.kind();
        let of_value = entry.as_message().unwrap().map_entry_value_field();
        let entries = (0..count).map(|_| {
            let key = (*TEXTS[1..12].choose(rng).unwrap()).to_owned();
            (MapKey::String(key), one(&of_value.kind(), depth, rng))
        });
        return Value::Map(entries.collect());
    }
    if field.is_list() {
        return Value::List((0..count).map(|_| one(&field.kind(), depth, rng)).collect());
    }
    one(&field.kind(), depth, rng)
}

fn one(kind: &Kind, depth: usize, rng: &mut StdRng) -> Value {
    match kind {
        Kind::Bool => Value::Bool(rng.random()),
        Kind::String => Value::String((*TEXTS.choose(rng).unwrap()).into()),
        Kind::Int32 => Value::I32(rng.random()),
        Kind::Int64 => Value::I64(rng.random()),
        Kind::Double => Value::F64(*[0.0, -0.0, 1.0, -1.5, 1e300, 9e15].choose(rng).unwrap()),
        // A known value, or one of a later version; `NullValue` has only one.
        Kind::Enum(of) if of.full_name() == "google.protobuf.NullValue" => Value::EnumNumber(0),
        Kind::Enum(of) => {
            let known = i32::try_from(of.values().len()).unwrap();
            Value::EnumNumber(rng.random_range(0..known + 2))
        }
        Kind::Message(of) => Value::Message(any(of, depth.saturating_sub(1), rng)),
        Kind::Float
        | Kind::Uint32
        | Kind::Uint64
        | Kind::Sint32
        | Kind::Sint64
        | Kind::Fixed32
        | Kind::Fixed64
        | Kind::Sfixed32
        | Kind::Sfixed64
        | Kind::Bytes => panic!("add an arbitrary value of {kind:?} here"),
    }
}
