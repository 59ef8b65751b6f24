//! The reverse look-up: which collections have a product or a collection as a child.

use super::{Service, token};
use crate::{
    domain::{Caller, ChildId, ChildType, CollectionId, Result},
    store::children,
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
        let reading = caller.reading()?;
        let scope = format!("{} {} {}", caller.tenant, command.list, command.child);
        let after = match &command.token {
            None => None,
            Some(token) => Some(CollectionId::trusted(token::decode(&scope, token)?)),
        };
        let tx = self.store.read(&reading).await?;
        let limit = command.size + 1;
        let mut collections =
            children::parents(&tx, command.list, &command.child, after.as_ref(), limit).await?;
        let more = collections.len() > command.size;
        collections.truncate(command.size);
        let last = collections.last().filter(|_| more);
        let next = last.map(|last| token::encode(&scope, last.as_str()));
        Ok(ParentPage { collections, next })
    }
}
