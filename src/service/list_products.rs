//! Listing products.

use std::collections::VecDeque;

use super::{PageStart, ProductDetail, Service, products};
use crate::{
    domain::{
        Caller, ChildType, FieldPath, ProductFilter, ProductId, Result, Slug, Violations,
        page::{self, PageBytes},
    },
    store::{Tx, children::Children, collections, products::Start},
    telemetry::trace,
};

/// Products that are read at once of those that were left for later.
const NEXT: usize = 100;

/// Asks for a page of products.
#[derive(Clone, Debug)]
pub struct ListProducts {
    /// Which products.
    pub filter: ProductFilter,
    /// The slug of a collection that has them; beside those of the filter.
    pub slug: Option<Slug>,
    /// Where the page starts.
    pub start: PageStart,
    /// How many it holds at most.
    pub size: usize,
    /// How many bytes it may take; none for a page that has all of them in any case, each with
    /// the collections that have it.
    pub bytes: Option<PageBytes<ProductDetail>>,
}

/// A page of products.
#[derive(Debug)]
pub struct ProductPage {
    /// The products, or the first of them.
    pub products: Vec<ProductDetail>,
    /// Those that the page has after them, to be read later: all at once would be too much.
    pub rest: Vec<ProductId>,
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
        trace::use_case("ListProducts", async move {
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
            // All are counted, unless they are the few that are named or those of one list.
            let is_search =
                filter.ids.is_none() && !is_of_one_list(&filter, &start, command.slug.as_ref());
            let turn = self.search_turn(is_search).await;
            let mut tx = self.store.read(&reading).await?;
            if let Some(slug) = &command.slug {
                let found = collections::get_by_slug(&tx, slug).await?;
                let collections = filter.collections.get_or_insert_default();
                collections.extend(found.map(|collection| collection.id));
            }
            let (mut ids, total) = match in_order(&tx, &filter, &start, command.size).await? {
                Some(page) => page,
                None => {
                    crate::store::products::list(&tx, &filter, &start, command.size + 1).await?
                }
            };
            let found = ids.len();
            ids.truncate(command.size);
            let sizes = products::sizes(&tx, &ids, command.bytes.is_none()).await?;
            let fit = page::fitting(sizes.iter().copied(), limits.page_bytes);
            let bytes = page::made_of(sizes[..fit].iter().sum());
            // They are found; what follows looks them up.
            drop(turn);
            if self.settings.memory.try_reserve(bytes).is_err() {
                // Who waits keeps no connection from others.
                drop(tx);
                self.settings.memory.reserve(bytes).await?;
                tx = self.store.read_on(&reading).await?;
            }
            let mut rest = ids.split_off(fit);
            let mut products = match &command.bytes {
                None => products::details(&tx, ids).await?,
                Some(_) => products::known(&tx, ids).await?,
            };
            if let Some(bytes) = &command.bytes {
                rest.clear();
                if bytes.may_exceed(fit, sizes[..fit].iter().sum()) {
                    products.truncate(bytes.fitting(&products));
                }
            }
            drop(tx);
            let last = products
                .last()
                .filter(|_| products.len() + rest.len() < found);
            let next = last.map(|last| last.id.as_str().to_owned());
            Ok(ProductPage {
                products,
                rest,
                next: self.page_tokens.issue(&scope, next).await?,
                total,
            })
        })
        .await
    }
}

impl Service {
    /// The first of the products that were left for later, as they are by now, with the
    /// collections that have them or without; and what is left then.
    ///
    /// # Errors
    /// Where the caller may not; where the store fails.
    pub async fn next_products(
        &self,
        caller: &Caller,
        mut rest: VecDeque<ProductId>,
        with_collections: bool,
    ) -> Result<(Vec<ProductDetail>, VecDeque<ProductId>)> {
        trace::use_case("ListProducts", async move {
            let tx = self.store.read_on(&caller.reading()?).await?;
            let mut next: Vec<_> = rest.iter().take(NEXT).cloned().collect();
            let sizes = products::sizes(&tx, &next, with_collections).await?;
            let fit = page::fitting(sizes, self.settings.limits.page_bytes / 4);
            rest.drain(..fit);
            next.truncate(fit);
            let products = if with_collections {
                products::details(&tx, next).await?
            } else {
                products::known(&tx, next).await?
            };
            Ok((products, rest))
        })
        .await
    }
}

/// Whether the page is a part of one collection's list.
fn is_of_one_list(filter: &ProductFilter, start: &Start, slug: Option<&Slug>) -> bool {
    let lists = filter.collections.as_ref().map_or(0, Vec::len) + usize::from(slug.is_some());
    lists == 1 && filter.title.is_none() && !filter.told && matches!(start, Start::Offset(_))
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
