//! Finds the position of a child in a list, for clients that do not want to read the list
//! ([`super::list_children`]).

use super::{Service, get_collection::find};
use crate::{
    domain::{
        Caller, ChildId, ChildReason, ChildType, CollectionId, Etag, Result, children::not_in_list,
    },
    store::{children::Children, rules::entries},
    telemetry::trace,
};

impl Service {
    /// The index of a child in a list, the reason why a smart collection contains it (products
    /// only), and the version of the collection.
    ///
    /// # Errors
    /// If the caller is not authorized; if the tenant has no such collection, or its list has no
    /// such child; if the store fails.
    pub async fn get_child(
        &self,
        caller: &Caller,
        collection: &CollectionId,
        list: ChildType,
        child: &ChildId,
    ) -> Result<(u64, Option<ChildReason>, Etag)> {
        trace::use_case("GetChild", async move {
            let tx = self.store.read(&caller.reading()?).await?;
            let found = find(&tx, collection, &self.settings).await?;
            let index = Children::of(&tx, &found, list).index_of(child).await?;
            let index = index.ok_or_else(|| not_in_list(list, child))?;
            let reasons = if found.kind.is_smart() && list == ChildType::Product {
                entries::reasons(&tx, collection, found.version, &[child]).await?
            } else {
                None
            };
            let reason = reasons.and_then(|reasons| reasons.first().copied());
            Ok((index, reason, found.etag()))
        })
        .await
    }
}
