//! Which scope a method needs, as its proto says: known before its message is read.

use std::{collections::HashMap, sync::LazyLock};

use prost::Message as _;
use prost_types::{FileDescriptorSet, method_options::IdempotencyLevel};

use super::pb::DESCRIPTORS;
use crate::domain::Scope;

static SCOPES: LazyLock<HashMap<String, Scope>> = LazyLock::new(|| {
    let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap_or_default();
    let mut scopes = HashMap::new();
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                let level = method.options.as_ref().map(|it| it.idempotency_level());
                let scope = match level {
                    Some(IdempotencyLevel::NoSideEffects) => Scope::CollectionsRead,
                    Some(_) | None => Scope::CollectionsWrite,
                };
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                scopes.insert(path, scope);
            }
        }
    }
    scopes
});

/// The scope that the method at a path needs; none where there is no such method.
pub fn scope(path: &str) -> Option<Scope> {
    SCOPES.get(path).copied()
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
    }
}
