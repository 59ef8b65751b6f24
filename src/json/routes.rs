//! Routing: the RPC for an HTTP method and a path, by the option `google.api.http`.

use std::{collections::BTreeSet, sync::LazyLock};

use http::Method;
use prost_reflect::{
    DescriptorPool, DynamicMessage, ExtensionDescriptor, FieldDescriptor, MethodDescriptor,
};

use crate::grpc::DESCRIPTORS;

/// The descriptors of the API and of the error details.
pub(super) static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let mut pool = DescriptorPool::decode(DESCRIPTORS).unwrap_or_default();
    // Cannot fail: these descriptors are compiled in, and the tests call every method.
    let _ = pool.decode_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET);
    pool
});

/// All routes, from the descriptors.
pub(super) static ROUTES: LazyLock<Routes> = LazyLock::new(|| Routes::of(&POOL));

/// An RPC.
#[derive(Clone, Debug)]
pub(super) struct Rpc {
    /// Its gRPC path, such as `/endcap.v1.CollectionService/GetCollection`.
    pub(super) path: String,
    pub(super) method: MethodDescriptor,
}

/// What the request body contains.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// Nothing; it is not read.
    None,
    /// The whole request message.
    Message,
    /// One field of the request message.
    Field(FieldDescriptor),
}

/// An HTTP method and a path template that are bound to an RPC.
#[derive(Clone, Debug)]
pub(super) struct Binding {
    pub(super) rpc: Rpc,
    pub(super) method: Method,
    /// The index of the binding among those of its RPC; 0 is the primary one.
    pub(super) ordinal: usize,
    /// The path with the fields' JSON names, such as `/v1/collections/{collectionId}`.
    pub(super) template: String,
    pub(super) content: Content,
    parts: Vec<Part>,
    verb: String,
}

#[derive(Clone, Debug)]
enum Part {
    Literal(String),
    /// The name of the field.
    Variable(String),
}

/// The route of a request, with the path's values for its fields, still percent-encoded.
#[derive(Debug)]
pub(super) struct Route<'a> {
    pub(super) binding: &'a Binding,
    pub(super) variables: Vec<(&'a str, &'a str)>,
}

/// The result of a look-up.
#[derive(Debug)]
pub(super) enum Found<'a> {
    Route(Route<'a>),
    /// The path has routes, but for these HTTP methods only.
    Methods(Vec<&'a str>),
    Nothing,
}

#[derive(Debug)]
pub(super) struct Routes(pub(super) Vec<Binding>);

impl Routes {
    fn of(pool: &DescriptorPool) -> Self {
        let Some(option) = pool.get_extension_by_name("google.api.http") else {
            return Self(Vec::new());
        };
        let services = pool.services();
        let methods = services.flat_map(|service| service.methods().collect::<Vec<_>>());
        Self(
            methods
                .flat_map(|method| bindings(&method, &option))
                .collect(),
        )
    }

    /// Looks up a path, which must not be decoded yet: that distinguishes a `/` or `:` in an id
    /// from a separator.
    pub(super) fn find<'a>(&'a self, method: &Method, path: &'a str) -> Found<'a> {
        // HEAD responds like GET, without the body.
        let method = if method == Method::HEAD {
            &Method::GET
        } else {
            method
        };
        let mut allowed = BTreeSet::new();
        for binding in &self.0 {
            let Some(variables) = binding.variables(path) else {
                continue;
            };
            if binding.method == *method {
                return Found::Route(Route { binding, variables });
            }
            allowed.insert(binding.method.as_str());
        }
        if allowed.is_empty() {
            Found::Nothing
        } else {
            Found::Methods(allowed.into_iter().collect())
        }
    }
}

impl Binding {
    /// The fields in the path, by their names in the proto.
    pub(super) fn fields(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Literal(_) => None,
            Part::Variable(field) => Some(field.as_str()),
        })
    }

    /// The path's values for the fields of the template; `None` if it does not match the template.
    fn variables<'a>(&'a self, path: &'a str) -> Option<Vec<(&'a str, &'a str)>> {
        let mut segments: Vec<_> = path.strip_prefix('/')?.split('/').collect();
        let last = segments.last_mut()?;
        let (name, verb) = last.rsplit_once(':').unwrap_or((last, ""));
        *last = name;
        if verb != self.verb || segments.len() != self.parts.len() {
            return None;
        }
        let mut variables = Vec::new();
        for (part, segment) in self.parts.iter().zip(segments) {
            match part {
                Part::Literal(literal) if literal == segment => {}
                Part::Variable(field) if !segment.is_empty() => variables.push((&**field, segment)),
                Part::Literal(_) | Part::Variable(_) => return None,
            }
        }
        Some(variables)
    }
}

/// The bindings of a method: the primary one and `additional_bindings`.
fn bindings(method: &MethodDescriptor, option: &ExtensionDescriptor) -> Vec<Binding> {
    let options = method.options();
    if !options.has_extension(option) {
        return Vec::new();
    }
    let rule = options.get_extension(option);
    let Some(rule) = rule.as_message() else {
        return Vec::new();
    };
    let more = rule.get_field_by_name("additional_bindings");
    let more = more.as_ref().and_then(|more| more.as_list());
    let more = more.into_iter().flatten();
    let rules = more.filter_map(|rule| rule.as_message());
    [rule]
        .into_iter()
        .chain(rules)
        .enumerate()
        .filter_map(|(ordinal, rule)| binding(method, ordinal, rule))
        .collect()
}

fn binding(method: &MethodDescriptor, ordinal: usize, rule: &DynamicMessage) -> Option<Binding> {
    let text = |name: &str| {
        let value = rule.get_field_by_name(name)?;
        Some(value.as_str()?.to_owned()).filter(|text| !text.is_empty())
    };
    let patterns = [
        ("get", Method::GET),
        ("put", Method::PUT),
        ("post", Method::POST),
        ("delete", Method::DELETE),
        ("patch", Method::PATCH),
    ];
    let mut patterns = patterns.into_iter();
    let (template, http) = patterns.find_map(|(name, http)| Some((text(name)?, http)))?;
    let content = match text("body").as_deref() {
        None => Content::None,
        Some("*") => Content::Message,
        Some(field) => Content::Field(method.input().get_field_by_name(field)?),
    };
    let (path, verb) = template.rsplit_once(':').unwrap_or((&template, ""));
    let parts = path.split('/').skip(1).map(|part| {
        let field = part.strip_prefix('{').and_then(|it| it.strip_suffix('}'));
        field.map_or_else(
            || Part::Literal(part.to_owned()),
            |field| Part::Variable(field.to_owned()),
        )
    });
    Some(Binding {
        parts: parts.collect(),
        verb: verb.to_owned(),
        template: shown(&template),
        rpc: Rpc {
            path: format!("/{}/{}", method.parent_service().full_name(), method.name()),
            method: method.clone(),
        },
        method: http,
        ordinal,
        content,
    })
}

/// The name of a path variable. `collection.id` and `collection_id` get the same one, because
/// OpenAPI considers paths that differ only in names to be identical.
pub(super) fn variable(field: &str) -> String {
    let mut words = field.split(['_', '.']);
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |mut name, word| {
        let mut letters = word.chars();
        name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(letters.as_str());
        name
    })
}

/// The template with such names.
fn shown(template: &str) -> String {
    let parts = template.split(['{', '}']).enumerate();
    let parts = parts.map(|(at, part)| match at % 2 {
        0 => part.to_owned(),
        _ => format!("{{{}}}", variable(part)),
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: Method, path: &str) -> String {
        match ROUTES.find(&method, path) {
            Found::Route(route) => {
                let variables = route.variables.iter();
                let variables: Vec<_> = variables.map(|(k, v)| format!("{k}={v}")).collect();
                format!(
                    "{} {}",
                    route.binding.rpc.method.name(),
                    variables.join(" ")
                )
            }
            Found::Methods(methods) => methods.join(","),
            Found::Nothing => String::new(),
        }
    }

    #[test]
    fn the_verb_follows_the_last_colon_and_an_id_is_one_segment() {
        for (method, path, expected) in [
            (Method::GET, "/v1/collections", "ListCollections "),
            (Method::HEAD, "/v1/collections", "ListCollections "),
            (
                Method::GET,
                "/v1/collections/a%2Fb%3Ac",
                "GetCollection collection_id=a%2Fb%3Ac",
            ),
            (
                Method::POST,
                "/v1/collections/a:b:mutateChildren",
                "MutateChildren collection_id=a:b",
            ),
            (
                Method::GET,
                "/v1/collections/a:b/children/c",
                "GetChild collection_id=a:b child_id=c",
            ),
            (
                Method::PATCH,
                "/v1/collections/a",
                "UpdateCollection collection.id=a",
            ),
            (Method::POST, "/v1/collections/a", "DELETE,GET,PATCH"),
            (
                Method::GET,
                "/v1/collections:batchGet",
                "BatchGetCollections ",
            ),
            (Method::GET, "/v1/collections/a:b", ""),
            (Method::GET, "/v1/collections/", ""),
            (Method::GET, "/v1/collections/a/", ""),
            (Method::GET, "/v1//a", ""),
            (Method::GET, "/v1/Collections", ""),
            (Method::GET, "/v1", ""),
            (Method::GET, "", ""),
        ] {
            assert_eq!(found(method, path), expected, "{path}");
        }
    }

    #[test]
    fn every_method_has_a_route_and_none_streams() {
        let mut routed = 0;
        let services = POOL.services();
        for service in services.filter(|it| it.package_name() == "endcap.v1") {
            for method in service.methods() {
                let name = method.full_name();
                let bound = |binding: &&Binding| binding.rpc.method == method;
                assert!(ROUTES.0.iter().any(|it| bound(&it)), "{name}");
                // `call` takes one message, so streaming methods would need a form of their own.
                let streams = method.is_client_streaming() || method.is_server_streaming();
                assert!(!streams, "{name}");
                routed += 1;
            }
        }
        assert_eq!(routed, 20);
        for binding in &ROUTES.0 {
            assert!(binding.template.starts_with("/v1/"), "{}", binding.template);
        }
    }
}
