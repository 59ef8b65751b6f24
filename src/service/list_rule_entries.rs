//! Lists the rule entries of a smart collection page by page. [`super::change_rule_entries`]
//! changes them.

use super::{Service, change_rule_entries::not_for_manual};
use crate::{
    domain::{
        Caller, CollectionId, EntryKind, Error, ProductId, Result, RuleEntry, page::bad_token,
    },
    store::{
        collections,
        rules::entries::{self, After},
    },
    telemetry::trace,
};

/// A request for a page of rule entries.
#[derive(Clone, Debug)]
pub struct ListRuleEntries {
    /// The collection.
    pub collection: CollectionId,
    /// The kind of entries.
    pub kind: EntryKind,
    /// The token from the previous page; `None` for the first page.
    pub token: Option<String>,
    /// The maximum number of entries on the page.
    pub size: usize,
}

/// A page of rule entries.
#[derive(Debug)]
pub struct RuleEntryPage {
    /// Pins ordered by index, other entries ordered by product id.
    pub entries: Vec<RuleEntry>,
    /// The token of the next page; `None` on the last page.
    pub next: Option<String>,
}

impl Service {
    /// Lists the rule entries of a smart collection.
    ///
    /// # Errors
    /// If the caller is not authorized; if the collection does not exist or is manual; if the token
    /// is not for this request; if the store fails.
    pub async fn list_rule_entries(
        &self,
        caller: &Caller,
        command: ListRuleEntries,
    ) -> Result<RuleEntryPage> {
        trace::use_case("ListRuleEntries", async move {
            let reading = caller.reading()?;
            let (id, kind) = (&command.collection, command.kind);
            let scope = format!("{} of {} {id}", kind.name(), caller.tenant);
            let after = match &command.token {
                None => None,
                Some(token) => Some(after(kind, self.page_tokens.read(&scope, token).await?)?),
            };
            let tx = self.store.read(&reading).await?;
            let found = collections::get(&tx, id).await?;
            let found = found.ok_or_else(|| Error::collection_not_found(id.as_str()))?;
            if !found.kind.is_smart() {
                return Err(not_for_manual(id));
            }
            let limit = command.size + 1;
            let mut entries = entries::page(&tx, id, kind, after.as_ref(), limit).await?;
            drop(tx);
            let more = entries.len() > command.size;
            entries.truncate(command.size);
            let next = entries.last().filter(|_| more).map(place);
            let next = self.page_tokens.issue(&scope, next).await?;
            Ok(RuleEntryPage { entries, next })
        })
        .await
    }
}

/// The position in a token: the index of a pin, the product id of other entries.
fn place(entry: &RuleEntry) -> String {
    match entry.index {
        Some(index) => index.to_string(),
        None => entry.product.to_string(),
    }
}

fn after(kind: EntryKind, place: String) -> Result<After> {
    Ok(match kind {
        EntryKind::Pin => After::Index(place.parse().map_err(|_| bad_token())?),
        EntryKind::Include | EntryKind::Exclude => After::Product(ProductId::trusted(place)),
    })
}
