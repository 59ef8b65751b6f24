//! Reads one product with the collections that contain it. A product need not be registered, if it
//! is in a collection.

use super::{ProductDetail, Service, Upserted, products};
use crate::{
    domain::{Caller, ProductId, Result, product::not_found},
    store::Tx,
    telemetry::trace,
};

impl Service {
    /// Reads a product that is registered or in a collection.
    ///
    /// # Errors
    /// If the caller is not authorized; if the product is neither; if the store fails.
    pub async fn get_product(&self, caller: &Caller, id: ProductId) -> Result<ProductDetail> {
        trace::use_case("GetProduct", async move {
            let tx = self.store.read(&caller.reading()?).await?;
            find(&tx, id).await
        })
        .await
    }

    /// Reads a product that the caller has written, to answer a retry.
    ///
    /// # Errors
    /// If the product is no longer registered nor in any collection; if the store fails.
    pub async fn reread_product(&self, caller: &Caller, id: String) -> Result<ProductDetail> {
        let tx = self.store.read_back(&caller.writing()?).await?;
        find(&tx, ProductId::trusted(id)).await
    }

    /// Like [`Self::reread_product`], as the result of an upsert.
    ///
    /// # Errors
    /// As for [`Self::reread_product`].
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
