//! Where a child stands.

use super::{Service, get_collection::find};
use crate::{
    domain::{Caller, ChildId, ChildType, CollectionId, Error, Etag, Reason, Result},
    store::children::Children,
    telemetry::trace,
};

impl Service {
    /// The index of a child in a list, and at which version of the collection.
    ///
    /// # Errors
    /// Where the caller may not; where the tenant has no such collection, or its
    /// list no such child; where the store fails.
    pub async fn get_child(
        &self,
        caller: &Caller,
        collection: &CollectionId,
        list: ChildType,
        child: &ChildId,
    ) -> Result<(u64, Etag)> {
        trace::use_case("GetChild", async move {
            let tx = self.store.read(&caller.reading()?).await?;
            let found = find(&tx, collection, &self.settings).await?;
            let index = Children::of(&tx, &found, list).index_of(child).await?;
            let index = index.ok_or_else(|| {
                Error::new(
                    Reason::ChildNotInList,
                    format!("{child:?} is not among the {list} of collection {collection:?}"),
                )
                .about(child.as_str())
            })?;
            Ok((index, found.etag()))
        })
        .await
    }
}
