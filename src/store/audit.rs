//! The audit log: what each committed write changed, by whom, and which version came of it. Never
//! what was written.

use std::sync::Arc;

use super::ledger::{Change, Ledger};
use crate::domain::{Etag, TenantId, Writing};

/// The target of the audit log, by which a filter takes it or leaves it out.
const TARGET: &str = "audit";

/// Who changed something, and in which tenant.
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
}

/// A change, as the log has it.
pub(super) struct Entry {
    action: &'static str,
    resource: &'static str,
    id: String,
    etag: Option<String>,
}

/// What a transaction changed; nothing where the log leaves it out.
pub(super) fn entries(ledger: &Ledger) -> Vec<Entry> {
    if tracing::enabled!(target: TARGET, tracing::Level::INFO) {
        ledger.changes.iter().map(Entry::of).collect()
    } else {
        Vec::new()
    }
}

/// Logs what was committed.
pub(super) fn log(author: &Author, operation: &'static str, entries: &[Entry]) {
    for entry in entries {
        tracing::info!(
            target: TARGET,
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
