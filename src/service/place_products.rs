//! Putting products into several collections at once.

use futures::FutureExt as _;

use super::{Answer, Retry, Service, Settings, links, products};
use crate::{
    domain::{
        Caller, ChildId, ChildList, CollectionId, Mutation, Result, Violations,
        children as domain_children,
    },
    store::{Mode, Tx, collections},
};

/// Asks for products to be in collections.
#[derive(Clone, Debug)]
pub struct PlaceProducts {
    /// Which products.
    pub products: Vec<ChildId>,
    /// In which collections.
    pub collections: Vec<CollectionId>,
    /// Under which a retry is recognised.
    pub retry: Option<Retry<()>>,
}

impl Service {
    /// Puts products at the end of each of the collections, in the order given; those
    /// that are there already stay where they are.
    ///
    /// # Errors
    /// Where the caller may not; where a collection does not exist or is smart; where
    /// a limit does not hold; where the store fails.
    pub async fn place_products(
        &self,
        caller: &Caller,
        command: PlaceProducts,
    ) -> Result<Answer<()>> {
        let writing = caller.writing()?;
        let retry = command.retry.as_ref();
        self.write(
            &writing,
            Mode::Commit,
            &command,
            retry,
            |tx, command, settings| run(tx, command, settings).boxed(),
        )
        .await
    }
}

async fn run(tx: &Tx, command: &PlaceProducts, settings: &Settings) -> Result<()> {
    let append = Mutation::Append {
        ids: command.products.clone(),
    };
    let mut violations = Violations::default();
    let count = command.collections.len();
    violations.count("collection_ids", count, settings.limits.ids);
    violations.finish()?;
    domain_children::check(&[&append], &settings.limits)?;
    let append = [append];
    let locked = collections::lock_many(tx, &command.collections).await?;
    products::check_lists(command.collections.iter(), &locked)?;
    products::check_known(tx, settings, &command.products).await?;
    for collection in locked {
        links::relist(tx, collection, ChildList::Products, &append).await?;
    }
    Ok(())
}
