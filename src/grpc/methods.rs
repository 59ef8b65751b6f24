//! What the descriptors say about a gRPC method, by its path, before the request message is read:
//! its name for metrics, and the scope that it requires.

use std::{collections::HashMap, sync::LazyLock};

use prost::Message as _;
use prost_types::{FileDescriptorSet, method_options::IdempotencyLevel};

use super::pb::DESCRIPTORS;
use crate::domain::Scope;

/// The name of every method that is not served. The paths themselves would let clients create any
/// number of metric series.
const OTHER: &str = "_OTHER";

/// The required scope by path, for all methods with descriptors.
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
                    // Built once, so leaking these is bounded.
                    methods.insert(&*path.leak(), needs_scope.then_some(scope));
                }
            }
        }
    }
    methods
});

/// The scope that the method at a path requires, derived from its `idempotency_level`. `None` if
/// the method is unknown or needs no credential.
pub fn scope(path: &str) -> Option<Scope> {
    METHODS.get(path).copied().flatten()
}

/// The fully qualified name of the method at a path; `_OTHER` if the method is unknown.
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
    fn unknown_methods_share_a_name() {
        let get = "endcap.v1.CollectionService/GetCollection";
        assert_eq!(method(&format!("/{get}")), get);
        let check = "grpc.health.v1.Health/Check";
        assert_eq!(method(&format!("/{check}")), check);
        for other in ["", "/", get, "/endcap.v1.CollectionService/Nothing"] {
            assert_eq!(method(other), OTHER, "{other}");
        }
    }
}
