//! What is known of a call by its path, before its message is read.

use std::{collections::HashMap, sync::LazyLock};

use prost::Message as _;
use prost_types::{FileDescriptorSet, method_options::IdempotencyLevel};

use super::pb::DESCRIPTORS;
use crate::domain::Scope;

/// The name of a method that is not served: any path would be a name of its own.
const OTHER: &str = "_OTHER";

/// By path.
static METHODS: LazyLock<HashMap<&str, Option<Scope>>> = LazyLock::new(|| {
    let mut methods = HashMap::new();
    let open = [
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    for set in open.into_iter().chain([DESCRIPTORS]) {
        let set = FileDescriptorSet::decode(set).unwrap_or_default();
        for file in &set.file {
            let needs_scope = file.package() == "endcap.v1";
            for service in &file.service {
                for method in &service.method {
                    let level = method.options.as_ref().map(|it| it.idempotency_level());
                    let scope = match level {
                        Some(IdempotencyLevel::NoSideEffects) => Scope::CollectionsRead,
                        Some(_) | None => Scope::CollectionsWrite,
                    };
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    // As long as the process lives, there are these.
                    methods.insert(&*path.leak(), needs_scope.then_some(scope));
                }
            }
        }
    }
    methods
});

/// The scope that the method at a path needs, as its proto says; none where there is no such
/// method, or everybody may call it.
pub fn scope(path: &str) -> Option<Scope> {
    METHODS.get(path).copied().flatten()
}

/// The fully qualified name of the method at a path; `_OTHER` where there is none.
pub fn method(path: &str) -> &'static str {
    let found = METHODS.get_key_value(path);
    found.map_or(OTHER, |(path, _)| path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_need_their_scopes() {
        let of = |path| scope(path);
        let read = of("/endcap.v1.CollectionService/GetCollection");
        assert_eq!(read, Some(Scope::CollectionsRead));
        let write = of("/endcap.v1.ProductService/UpsertProducts");
        assert_eq!(write, Some(Scope::CollectionsWrite));
        assert_eq!(of("/endcap.v1.CollectionService/Nothing"), None);
        assert_eq!(of("/grpc.health.v1.Health/Check"), None);
    }

    #[test]
    fn methods_that_are_not_served_share_a_name() {
        let get = "endcap.v1.CollectionService/GetCollection";
        assert_eq!(method(&format!("/{get}")), get);
        let check = "grpc.health.v1.Health/Check";
        assert_eq!(method(&format!("/{check}")), check);
        for other in ["", "/", get, "/endcap.v1.CollectionService/Nothing"] {
            assert_eq!(method(other), OTHER, "{other}");
        }
    }
}
