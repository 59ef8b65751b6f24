//! Listing products.

use super::{PageStart, ProductDetail, Service, products};
use crate::{
    domain::{Caller, ChildType, FieldPath, ProductFilter, ProductId, Result, Slug, Violations},
    store::{Tx, children::Children, collections, products::Start},
};

/// Asks for a page of products.
#[derive(Clone, Debug)]
pub struct ListProducts {
    /// Which products.
    pub filter: ProductFilter,
    /// The slug of a collection that has them; beside those of the filter.
    pub slug: Option<Slug>,
    /// Where the page starts.
    pub start: PageStart,
    /// How much it holds at most.
    pub size: usize,
}

/// A page of products.
#[derive(Debug)]
pub struct ProductPage {
    /// The products.
    pub products: Vec<ProductDetail>,
    /// For the next page; none after the last.
    pub next: Option<String>,
    /// How many satisfy the filter in all.
    pub total: u64,
}

impl Service {
    /// Lists products by id; but those of one collection in its order, where the page
    /// starts at an offset and nothing else is asked of them.
    ///
    /// # Errors
    /// Where the caller may not; where the filter is over a limit or the token is not
    /// for it; where the store fails.
    pub async fn list_products(
        &self,
        caller: &Caller,
        command: ListProducts,
    ) -> Result<ProductPage> {
        let reading = caller.reading()?;
        let limits = &self.settings.limits;
        let mut filter = command.filter;
        let mut violations = Violations::default();
        let title = filter.title.as_deref().unwrap_or_default();
        violations.length(FieldPath::FilterTitle, title, limits.name_chars);
        let count = |ids: Option<usize>| ids.unwrap_or_default();
        let ids = count(filter.ids.as_ref().map(Vec::len));
        violations.count(FieldPath::FilterIds, ids, limits.ids);
        let ids = count(filter.collections.as_ref().map(Vec::len));
        violations.count(FieldPath::FilterCollections, ids, limits.ids);
        violations.finish()?;

        let scope = format!("products {} {filter:?}", caller.tenant);
        let start = match &command.start {
            PageStart::First => Start::After(None),
            PageStart::Token(token) => {
                let id = self.page_tokens.read(&scope, token).await?;
                Start::After(Some(ProductId::trusted(id)))
            }
            PageStart::Offset(offset) => Start::Offset(*offset),
        };
        let tx = self.store.read(&reading).await?;
        if let Some(slug) = &command.slug {
            let found = collections::get_by_slug(&tx, slug).await?;
            let collections = filter.collections.get_or_insert_default();
            collections.extend(found.map(|collection| collection.id));
        }
        let (mut ids, total) = match in_order(&tx, &filter, &start, command.size).await? {
            Some(page) => page,
            None => crate::store::products::list(&tx, &filter, &start, command.size + 1).await?,
        };
        let more = ids.len() > command.size;
        ids.truncate(command.size);
        let last = ids.last().filter(|_| more);
        let next = last.map(|last| last.as_str().to_owned());
        let products = products::details(&tx, ids).await?;
        drop(tx);
        Ok(ProductPage {
            products,
            next: self.page_tokens.issue(&scope, next).await?,
            total,
        })
    }
}

/// The page in the order of the only collection that is asked for.
async fn in_order(
    tx: &Tx,
    filter: &ProductFilter,
    start: &Start,
    size: usize,
) -> Result<Option<(Vec<ProductId>, u64)>> {
    let (
        ProductFilter {
            title: None,
            ids: None,
            collections: Some(only),
            told: false,
        },
        Start::Offset(offset),
    ) = (filter, start)
    else {
        return Ok(None);
    };
    let [id] = only.as_slice() else {
        return Ok(None);
    };
    let Some(collection) = collections::get(tx, id).await? else {
        return Ok(Some((Vec::new(), 0)));
    };
    let total = collection.product_count;
    let list = Children::of(tx, &collection, ChildType::Product);
    let page = list.page((*offset).min(total), size).await?;
    let ids = page.children.into_iter().map(ProductId::from);
    Ok(Some((ids.collect(), total)))
}
