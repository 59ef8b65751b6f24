//! Lists the smart collections of which a product would be a member, according to the rules and
//! rule entries. Nothing is stored.

use super::Service;
use crate::{
    domain::{
        Caller, CollectionId, Product, ProductChanges, Result, Timestamp, Violations,
        digest::sha256,
    },
    store::rules::{self, due, entries, names},
    telemetry::trace,
};

/// A request for a page of the smart collections of which a product would be a member.
#[derive(Clone, Debug)]
pub struct ListMatchingCollections {
    /// The product, as it would be registered.
    pub product: ProductChanges,
    /// The token from the previous page; `None` for the first page.
    pub token: Option<String>,
    /// The maximum number of collections on the page.
    pub size: usize,
}

/// A page of the smart collections of which a product would be a member.
#[derive(Debug)]
pub struct MatchingPage {
    /// Their ids, ascending.
    pub collections: Vec<CollectionId>,
    /// The token of the next page; `None` on the last page.
    pub next: Option<String>,
}

impl Service {
    /// Lists the smart collections of which a product would be a member, ordered by id.
    ///
    /// # Errors
    /// If the caller is not authorized; if the product is invalid, reported as the first product of
    /// a request; if the token is not for this request; if the store fails.
    pub async fn list_matching_collections(
        &self,
        caller: &Caller,
        command: ListMatchingCollections,
    ) -> Result<MatchingPage> {
        trace::use_case("ListMatchingCollections", async move {
            let reading = caller.reading()?;
            let limits = &self.settings.limits;
            let scope = format!("{:?}", command.product);
            let scope = format!("matching {} {}", caller.tenant, sha256(scope));
            let (mut violations, never) = (Violations::default(), Timestamp::from_micros(0));
            let product =
                Product::changed(None, command.product, never, 0, limits, &mut violations);
            violations.finish()?;
            let after = match &command.token {
                None => None,
                Some(token) => {
                    let last = self.page_tokens.read(&scope, token).await?;
                    Some(CollectionId::trusted(last))
                }
            };
            let tx = self.store.read(&reading).await?;
            let rules = rules::compiled(&tx).await?;
            let now = if rules.has_ages() {
                due::now(&tx).await?
            } else {
                tx.now
            };
            let only = std::slice::from_ref(&product.id);
            let named = entries::of_products(&tx, only).await?;
            let named = named.into_iter().map(|((id, _), named)| (id, named));
            let named = named.collect();
            let matching = names::matching(&tx, &rules, &product, now, &named).await?;
            drop(tx);
            let mut page = matching.into_iter().filter(|id| Some(id) > after.as_ref());
            let collections: Vec<_> = page.by_ref().take(command.size).collect();
            let last = page.next().and(collections.last());
            let next = last.map(|last| last.as_str().to_owned());
            let next = self.page_tokens.issue(&scope, next).await?;
            Ok(MatchingPage { collections, next })
        })
        .await
    }
}
