//! A list whose rows may be damaged is written anew.

use crate::{
    domain::{ChildType, CollectionId, Kind, Mutation, Result},
    store::{
        children::{self, Children, directory::Directory},
        collections,
        lock::Locked,
        tx::Tx,
    },
};

impl Locked {
    /// Writes the list of a smart collection anew, in its order as far as that can be read, and
    /// lets its rules be evaluated. The collections that these name know it from now on.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn rebuild(&mut self, tx: &Tx, id: &CollectionId) -> Result<()> {
        let list = ChildType::Product;
        let order = Children::uncached(tx, id, list).all().await?;
        children::clear(tx, id, &[list]).await?;
        if let Some(entry) = self.collections.get_mut(id) {
            // Nothing that is known of the list holds any more.
            entry.lists.now = vec![(list, Directory::default())];
            entry.now.product_count = 0;
            entry.is_touched = true;
            if let Kind::Smart { rules } = &entry.now.kind {
                let named: Vec<_> = rules.named().into_iter().map(|(_, id)| id).collect();
                collections::set_named(tx, &named).await?;
            }
        }
        self.mutate(tx, id, list, &[&Mutation::append(order)])
            .await?;
        self.evaluate(id, usize::MAX);
        Ok(())
    }
}
