//! What responses show of a collection.

use crate::{
    domain::{ChildIds, Collection, EntryCounts, Lineage, Progress, ReadEtag, TenantId},
    store::lineage::Ancestors,
};

/// A collection with related data.
#[derive(Clone, Debug)]
pub struct Detail {
    /// The tenant as the request named it.
    pub tenant: TenantId,
    /// The collection.
    pub collection: Collection,
    /// Its ancestors.
    pub lineage: Lineage,
    /// Its products, in order, if they were requested.
    pub products: ChildIds,
    /// Its child collections, in order, if they were requested.
    pub collections: ChildIds,
    /// The number of its rule entries, by kind.
    pub named: EntryCounts,
    /// The progress of the job that evaluates its rules, if there is one.
    pub progress: Option<Progress>,
    /// The products that it includes or pins, by id, if its products were requested.
    pub named_products: ChildIds,
}

/// What a response contains in addition to the collection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Include {
    /// The whole list of products.
    pub products: bool,
    /// The whole list of child collections.
    pub collections: bool,
    /// What to read of its ancestors.
    pub ancestors: Ancestors,
    /// Whether to wait, within the caller's deadline, for a job that evaluates the collection's
    /// rules.
    pub awaits_rules: bool,
}

impl Include {
    /// Without lists, and with or without waiting for rules.
    pub fn awaiting_rules(awaits_rules: bool) -> Self {
        Self {
            awaits_rules,
            ..Self::default()
        }
    }

    /// The approximate size of the requested lists, in bytes.
    pub(super) fn bytes(self, collection: &Collection) -> usize {
        /// The size of an id of 36 characters with its overhead.
        const ID: u64 = 40;
        let len = |wanted, len| if wanted { len } else { 0 };
        let len = len(self.products, collection.product_count)
            + len(self.collections, collection.collection_count);
        usize::try_from(len.saturating_mul(ID)).unwrap_or(usize::MAX)
    }
}

impl Detail {
    /// Whether the collection is active, by itself or through its parents.
    pub fn effective_active(&self) -> bool {
        self.lineage.effective_active(self.collection.active)
    }

    /// The version of everything that a response shows of the collection, except its lists.
    pub fn read_etag(&self) -> ReadEtag {
        let Collection { id, .. } = &self.collection;
        ReadEtag::of(id, self.collection.etag(), self.effective_active())
    }
}
