//! What a smart collection names next to its rules, page by page.

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

/// Asks for a page of the products that a smart collection names.
#[derive(Clone, Debug)]
pub struct ListRuleEntries {
    /// Which collection.
    pub collection: CollectionId,
    /// What the products are named for.
    pub kind: EntryKind,
    /// From the page before.
    pub token: Option<String>,
    /// How much the page holds at most.
    pub size: usize,
}

/// A page of the products that a smart collection names.
#[derive(Debug)]
pub struct RuleEntryPage {
    /// Pins by index, others by id.
    pub entries: Vec<RuleEntry>,
    /// For the next page; none after the last.
    pub next: Option<String>,
}

impl Service {
    /// Lists the products that a smart collection names.
    ///
    /// # Errors
    /// Where the caller may not; where the collection does not exist or is manual; where the token
    /// is not for this request; where the store fails.
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

/// What a token has: of a pin its index, else the product.
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
