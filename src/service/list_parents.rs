//! The reverse lookup: which collections contain a product or a collection as a direct child.

use super::Service;
use crate::{
    domain::{Caller, ChildId, ChildType, CollectionId, Result},
    store::children,
    telemetry::trace,
};

/// A request for a page of the collections that contain a child.
#[derive(Clone, Debug)]
pub struct ListParents {
    /// The kind of the child.
    pub list: ChildType,
    /// The child.
    pub child: ChildId,
    /// The token from the previous page; `None` for the first page.
    pub token: Option<String>,
    /// The maximum number of collections on the page.
    pub size: usize,
}

/// A page of the collections that contain a child.
#[derive(Debug)]
pub struct ParentPage {
    /// Their ids, ascending.
    pub collections: Vec<CollectionId>,
    /// The token of the next page; `None` on the last page.
    pub next: Option<String>,
}

impl Service {
    /// Lists the collections that contain the child, ordered by id. The list is empty if there are
    /// none, whether the child exists or not.
    ///
    /// # Errors
    /// If the caller is not authorized; if the token is not for this request; if the store fails.
    pub async fn list_parents(&self, caller: &Caller, command: ListParents) -> Result<ParentPage> {
        trace::use_case("ListParents", async move {
            let reading = caller.reading()?;
            let scope = format!(
                "parents {} {} {}",
                caller.tenant, command.list, command.child
            );
            let after = match &command.token {
                None => None,
                Some(token) => {
                    let last = self.page_tokens.read(&scope, token).await?;
                    Some(CollectionId::trusted(last))
                }
            };
            let tx = self.store.read(&reading).await?;
            let limit = command.size + 1;
            let mut collections =
                children::parents(&tx, command.list, &command.child, after.as_ref(), limit).await?;
            drop(tx);
            let more = collections.len() > command.size;
            collections.truncate(command.size);
            let last = collections.last().filter(|_| more);
            let next = last.map(|last| last.as_str().to_owned());
            let next = self.page_tokens.issue(&scope, next).await?;
            Ok(ParentPage { collections, next })
        })
        .await
    }
}
