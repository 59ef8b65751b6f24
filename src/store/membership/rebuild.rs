//! Rewrites the list of a smart collection whose rows may be damaged. [`crate::service`] decides
//! when, after checking the list.

use crate::{
    domain::{ChildType, CollectionId, Kind, Mutation, Result},
    store::{
        children::{self, Children, directory::Directory},
        collections,
        lock::Locked,
        tenants,
        tx::Tx,
    },
};

impl Locked {
    /// Rewrites the list of a smart collection, keeping its order as far as it can be read, and
    /// evaluates its rules again when it is saved. Marks the collections that the rules reference,
    /// and the tenant if some of them do not exist.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn rebuild(&mut self, tx: &Tx, id: &CollectionId) -> Result<()> {
        if let Some(Kind::Smart { rules }) = self.get(id).map(|it| &it.kind) {
            let missing = collections::missing(tx, rules).await?;
            if !missing.is_empty() {
                tenants::note_missing(tx)?;
            }
            let existing = rules.named_ids().filter(|id| !missing.contains(id));
            self.mark_named(tx, existing.collect()).await?;
        }
        let list = ChildType::Product;
        let order = Children::uncached(tx, id, list).all().await?;
        children::clear(tx, id, Some(list)).await?;
        if let Some(entry) = self.collections.get_mut(id) {
            // The rows were just deleted, so the directory and the count from before no longer
            // hold.
            entry.lists.now = vec![(list, Directory::default())];
            entry.now.product_count = 0;
            entry.is_touched = true;
        }
        self.mutate(tx, id, list, &[&Mutation::append(order)])
            .await?;
        self.evaluate(id, usize::MAX);
        Ok(())
    }
}
