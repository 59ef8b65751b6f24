//! Reading one product.

use super::{ProductDetail, Service, Upserted, products};
use crate::{
    domain::{Caller, ProductId, Result, product::not_found},
    store::Tx,
    telemetry::trace,
};

impl Service {
    /// Reads a product of which somebody told, or that a collection has.
    ///
    /// # Errors
    /// Where the caller may not; where it is neither; where the store fails.
    pub async fn get_product(&self, caller: &Caller, id: ProductId) -> Result<ProductDetail> {
        trace::use_case("GetProduct", async move {
            let tx = self.store.read(&caller.reading()?).await?;
            find(&tx, id).await
        })
        .await
    }

    /// Reads a product that the caller has written, for the answer to a retry.
    ///
    /// # Errors
    /// Where it is no longer registered and in no collection; where the store fails.
    pub async fn reread_product(&self, caller: &Caller, id: String) -> Result<ProductDetail> {
        let tx = self.store.read_back(&caller.writing()?).await?;
        find(&tx, ProductId::trusted(id)).await
    }

    /// The same, as what an upsert came to.
    ///
    /// # Errors
    /// The same.
    pub async fn reread_upserted(&self, caller: &Caller, id: String) -> Result<Vec<Upserted>> {
        let detail = self.reread_product(caller, id).await?;
        Ok(vec![Upserted {
            detail,
            created: false,
        }])
    }
}

/// The product, which must be registered or in a collection.
async fn find(tx: &Tx, id: ProductId) -> Result<ProductDetail> {
    let detail = products::details(tx, vec![id.clone()]).await?.pop();
    detail
        .filter(ProductDetail::is_known)
        .ok_or_else(|| not_found(&id))
}
