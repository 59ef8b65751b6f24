//! Which smart collections a product would be a member of.

use super::Service;
use crate::{
    domain::{
        Caller, CollectionId, Product, ProductChanges, Result, Timestamp, Violations,
        digest::sha256,
    },
    store::rules::{self, due, entries, names},
    telemetry::trace,
};

/// Asks for a page of the smart collections that a product would be a member of.
#[derive(Clone, Debug)]
pub struct ListMatchingCollections {
    /// The product, as it would be registered.
    pub product: ProductChanges,
    /// From the page before.
    pub token: Option<String>,
    /// How many collections it has at most.
    pub size: usize,
}

/// A page of the smart collections that a product would be a member of.
#[derive(Debug)]
pub struct MatchingPage {
    /// Their ids, ascending.
    pub collections: Vec<CollectionId>,
    /// For the next page; none after the last.
    pub next: Option<String>,
}

impl Service {
    /// Lists the smart collections that a product would be a member of, by id.
    ///
    /// # Errors
    /// Where the caller may not; where the product breaks rules, as the first of a request;
    /// where the token is not for this request; where the store fails.
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
