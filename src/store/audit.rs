//! The audit log: who changed what in each committed write, and the resulting version. It never
//! contains the written data.

use std::sync::Arc;

use super::ledger::{Change, Ledger};
use crate::{
    domain::{CollectionId, Etag, TenantId, Writing},
    telemetry::AUDIT,
};

/// Who changed something, and in which tenant.
#[derive(Debug)]
pub(super) struct Author {
    tenant: TenantId,
    subject: Arc<str>,
}

impl Author {
    pub(super) fn of(writing: &Writing) -> Self {
        Self {
            tenant: writing.tenant().clone(),
            subject: Arc::clone(writing.subject()),
        }
    }

    pub(super) fn tenant(&self) -> &TenantId {
        &self.tenant
    }
}

/// A change, as the log records it.
pub(super) struct Entry {
    action: &'static str,
    resource: &'static str,
    id: String,
    etag: Option<String>,
}

/// The changes of a unit of work; empty if the audit log is disabled.
pub(super) fn entries(ledger: &Ledger) -> Vec<Entry> {
    if tracing::enabled!(target: AUDIT, tracing::Level::INFO) {
        ledger.changes.iter().map(Entry::of).collect()
    } else {
        Vec::new()
    }
}

/// Logs committed changes.
pub(super) fn log<'a>(
    author: &Author,
    operation: &'static str,
    entries: impl IntoIterator<Item = &'a Entry>,
) {
    for entry in entries {
        tracing::info!(
            target: AUDIT,
            tenant = author.tenant.as_str(),
            subject = &*author.subject,
            operation,
            action = entry.action,
            resource = entry.resource,
            id = entry.id,
            etag = entry.etag,
            "committed"
        );
    }
}

impl Entry {
    /// Whether it is about this collection.
    pub(super) fn is_about(&self, id: &CollectionId) -> bool {
        self.resource == "collection" && self.id == id.as_str()
    }

    fn of(change: &Change) -> Self {
        let collection = |action, id: &str, version: i64| Self {
            action,
            resource: "collection",
            id: id.to_owned(),
            etag: Some(Etag::of(version).to_string()),
        };
        let product = |action, id: &str| Self {
            action,
            resource: "product",
            id: id.to_owned(),
            etag: None,
        };
        match change {
            Change::CollectionCreated(it) => collection("create", it.id.as_str(), it.version),
            Change::CollectionUpdated { after, .. } => {
                collection("update", after.id.as_str(), after.version)
            }
            Change::CollectionDeleted(it) => collection("delete", it.id.as_str(), it.version),
            Change::ListMutated {
                collection: id,
                after,
                ..
            } => collection("mutate_children", id.as_str(), *after),
            Change::ProductUpserted { after, .. } => product("upsert", after.id.as_str()),
            Change::ProductDeleted(id) => product("delete", id.as_str()),
        }
    }
}
