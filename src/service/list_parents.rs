//! The reverse look-up: which collections have a product or a collection as a child.

use super::Service;
use crate::{
    domain::{Caller, ChildId, ChildType, CollectionId, Result},
    store::children,
    telemetry::trace,
};

/// Asks for a page of the collections that have a child.
#[derive(Clone, Debug)]
pub struct ListParents {
    /// What kind of child it is.
    pub list: ChildType,
    /// The child.
    pub child: ChildId,
    /// From the page before.
    pub token: Option<String>,
    /// How much the page holds at most.
    pub size: usize,
}

/// A page of collections that have a child.
#[derive(Debug)]
pub struct ParentPage {
    /// Their ids, ascending.
    pub collections: Vec<CollectionId>,
    /// For the next page; none after the last.
    pub next: Option<String>,
}

impl Service {
    /// Lists the collections that have the child, by id. What nothing refers to has
    /// none, whether it exists or not.
    ///
    /// # Errors
    /// Where the caller may not; where the token is not for this request; where the
    /// store fails.
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
