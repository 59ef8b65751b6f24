//! Reading one product.

use super::{ProductDetail, Service, products};
use crate::domain::{Caller, ProductId, Result, product::not_found};

impl Service {
    /// Reads a product of which somebody told, or that a collection has.
    ///
    /// # Errors
    /// Where the caller may not; where it is neither; where the store fails.
    pub async fn get_product(&self, caller: &Caller, id: ProductId) -> Result<ProductDetail> {
        let tx = self.store.read(&caller.reading()?).await?;
        let detail = products::details(&tx, vec![id.clone()]).await?.pop();
        detail
            .filter(|detail| detail.product.is_some() || !detail.collections.is_empty())
            .ok_or_else(|| not_found(&id))
    }
}
