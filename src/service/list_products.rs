//! Lists products: registered ones, and unregistered ones that are in collections. Filters that the
//! database cannot evaluate are left to [`super::scan`].

use std::collections::{BTreeSet, VecDeque};

use super::{PageStart, ProductDetail, Scan, Service, Still, products, scan};
use crate::{
    domain::{
        Caller, ChildType, CollectionId, Constraint, FieldPath, ProductFilter, ProductId, Result,
        Slug, Violation, Violations,
        page::{self, PageBytes},
        search::folded,
    },
    memory,
    store::{
        Tx,
        children::{self, Children},
        collections,
        products::Start,
    },
    telemetry::trace,
};

/// How many of the deferred products are read at a time.
const NEXT: usize = 100;

/// A request for a page of products.
#[derive(Clone, Debug)]
pub struct ListProducts {
    /// The filter.
    pub filter: ProductFilter,
    /// The slug of a further collection whose products to list.
    pub slug: Option<Slug>,
    /// Whether to include the products of descendants of the filter's collections.
    pub include_descendants: bool,
    /// Whether unknown ids in the filter are an error.
    pub all_there: bool,
    /// A filter and a sort order that the database cannot evaluate.
    pub scan: Option<Scan<ProductDetail>>,
    /// The start of the page.
    pub start: PageStart,
    /// The maximum number of items on the page.
    pub size: usize,
    /// The maximum size of the page; `None` if it must contain all items in any case, each with its
    /// collections.
    pub bytes: Option<PageBytes<ProductDetail>>,
    /// Whether to leave out the total.
    pub omit_total: bool,
}

/// A page of products.
#[derive(Debug)]
pub struct ProductPage {
    /// The products, or the first of them.
    pub products: Vec<ProductDetail>,
    /// The page's remaining products, which are to be read later, because all at once would take
    /// too much memory.
    pub rest: Vec<ProductId>,
    /// The conditions that the remaining products must still satisfy then.
    pub still: Option<StillProducts>,
    /// The token of the next page; `None` on the last page.
    pub next: Option<String>,
    /// The number of products that satisfy the filter; 0 if the total is left out.
    pub total: u64,
}

/// The conditions that the products of a page must still satisfy when they are read.
pub type StillProducts = Still<ProductFilter, ProductDetail>;

impl Service {
    /// Lists products ordered by id. The products of a single collection are in the order of the
    /// collection, if the page starts at an offset and there are no other filters.
    ///
    /// # Errors
    /// If the caller is not authorized; if the filter exceeds a limit; if the token is not for this
    /// request; if the store fails.
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
            // Counting reads all matching products, unless the filter names the ids or is just one
            // list.
            let is_part = is_of_one_list(&filter, &start, command.slug.as_ref())
                && !command.include_descendants;
            let is_search = command.scan.is_some() || filter.ids.is_none() && !is_part;
            let turn = self.search_turn(is_search, &reading).await;
            let mut tx = self.store.read(&reading).await?;
            if let Some(slug) = &command.slug {
                let found = collections::get_by_slug(&tx, slug).await?;
                let collections = filter.collections.get_or_insert_default();
                collections.extend(found.map(|collection| collection.id));
            }
            if command.include_descendants {
                let tops = filter.collections.take().unwrap_or_default();
                filter.collections = Some(with_descendants(&tx, tops, limits.expanded).await?);
            }
            if let (Some(ids), true) = (&filter.ids, command.all_there) {
                check_all_there(&tx, ids).await?;
            }
            if let (Some(title), false) =
                (&filter.title, filter.registered_only || filter.unassigned)
            {
                filter.unregistered_matches =
                    unregistered_matches(&tx, &filter, title, limits.scanned).await?;
            }
            let most = command.size + 1;
            let (mut ids, total) = match &command.scan {
                None => list(&tx, &filter, &start, most, !command.omit_total).await?,
                Some(scan) => {
                    let all = self.scan_products(caller, tx, &filter, scan).await?;
                    tx = self.store.read_on(&reading).await?;
                    (scan::page(&all, start.offset(), most), all.len() as u64)
                }
            };
            let found = ids.len();
            ids.truncate(command.size);
            let sizes = products::sizes(&tx, &ids, command.bytes.is_none()).await?;
            let fit = page::fitting(sizes.iter().copied(), limits.page_bytes);
            let bytes = memory::made_of(sizes[..fit].iter().sum());
            // The search is over; the rest are lookups by key.
            drop(turn);
            if self.settings.memory.try_reserve(bytes).is_err() {
                // Release the connection while waiting for memory, so that others can use it.
                drop(tx);
                self.settings.memory.reserve(bytes).await?;
                tx = self.store.read_on(&reading).await?;
            }
            let mut rest = ids.split_off(fit);
            let mut products = match &command.bytes {
                None => products::details(&tx, ids).await?,
                Some(_) => products::known(&tx, ids).await?,
            };
            let still = command.scan.map(|scan| Still { filter, scan });
            keep(&tx, still.as_ref(), &mut products).await?;
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
                still,
                next: self.page_tokens.issue(&scope, next).await?,
                total: if command.omit_total { 0 } else { total },
            })
        })
        .await
    }
}

impl Service {
    /// All products that satisfy a scan, in its order. `tx` reads the candidates and is then
    /// dropped.
    async fn scan_products(
        &self,
        caller: &Caller,
        tx: Tx,
        filter: &ProductFilter,
        scan: &Scan<ProductDetail>,
    ) -> Result<Vec<ProductId>> {
        let max = self.settings.limits.scanned;
        let (ids, count) = list(&tx, filter, &Start::Offset(0), max, true).await?;
        drop(tx);
        scan::check(count, max)?;
        let next = |rest| self.next_products(caller, rest, true);
        scan.run(ids, |detail| detail.id.clone(), next).await
    }

    /// Reads more of a page's remaining products in their current state, and returns them with the
    /// ids that still remain. Products that no longer exist or no longer satisfy `still` are left
    /// out.
    ///
    /// # Errors
    /// If the caller is not authorized; if the store fails.
    pub async fn next_listed(
        &self,
        caller: &Caller,
        rest: VecDeque<ProductId>,
        still: Option<&StillProducts>,
    ) -> Result<(Vec<ProductDetail>, VecDeque<ProductId>)> {
        trace::use_case("ListProducts", async move {
            let tx = self.store.read_on(&caller.reading()?).await?;
            let (mut products, rest) = self.next_known(&tx, rest, true).await?;
            products.retain(ProductDetail::is_known);
            keep(&tx, still, &mut products).await?;
            Ok((products, rest))
        })
        .await
    }

    /// Reads the first of the given products, with or without their collections, and returns them
    /// with the ids that remain.
    ///
    /// # Errors
    /// If the caller is not authorized; if the store fails.
    pub async fn next_products(
        &self,
        caller: &Caller,
        rest: VecDeque<ProductId>,
        with_collections: bool,
    ) -> Result<(Vec<ProductDetail>, VecDeque<ProductId>)> {
        trace::use_case("ListProducts", async move {
            let tx = self.store.read_on(&caller.reading()?).await?;
            self.next_known(&tx, rest, with_collections).await
        })
        .await
    }

    async fn next_known(
        &self,
        tx: &Tx,
        mut rest: VecDeque<ProductId>,
        with_collections: bool,
    ) -> Result<(Vec<ProductDetail>, VecDeque<ProductId>)> {
        let mut next: Vec<_> = rest.iter().take(NEXT).cloned().collect();
        let sizes = products::sizes(tx, &next, with_collections).await?;
        let fit = page::fitting(sizes, self.settings.limits.page_bytes / 4);
        rest.drain(..fit);
        next.truncate(fit);
        let products = if with_collections {
            products::details(tx, next).await?
        } else {
            products::known(tx, next).await?
        };
        Ok((products, rest))
    }
}

/// Removes products that no longer satisfy the filter and the scan.
async fn keep(
    tx: &Tx,
    still: Option<&StillProducts>,
    products: &mut Vec<ProductDetail>,
) -> Result<()> {
    let Some(Still { filter, scan }) = still else {
        return Ok(());
    };
    let filter = ProductFilter {
        ids: Some(products.iter().map(|detail| detail.id.clone()).collect()),
        ..filter.clone()
    };
    let start = Start::Offset(0);
    let found = crate::store::products::list(tx, &filter, &start, products.len()).await?;
    let found: BTreeSet<_> = found.into_iter().collect();
    products.retain(|detail| found.contains(&detail.id));
    scan.keep(products);
    Ok(())
}

/// Whether the page is a part of a single collection's list.
fn is_of_one_list(filter: &ProductFilter, start: &Start, slug: Option<&Slug>) -> bool {
    let lists = filter.collections.as_ref().map_or(0, Vec::len) + usize::from(slug.is_some());
    let is_plain = filter.title.is_none() && !filter.registered_only && !filter.unassigned;
    lists == 1 && is_plain && matches!(start, Start::Offset(_))
}

/// A page of ids, in the order of the collection if there is exactly one, else ordered by id; and
/// the total, if it is to be counted.
async fn list(
    tx: &Tx,
    filter: &ProductFilter,
    start: &Start,
    size: usize,
    counted: bool,
) -> Result<(Vec<ProductId>, u64)> {
    if let Some(page) = in_order(tx, filter, start, size).await? {
        return Ok(page);
    }
    let total = if counted {
        crate::store::products::count(tx, filter).await?
    } else {
        0
    };
    let ids = crate::store::products::list(tx, filter, start, size).await?;
    Ok((ids, total))
}

/// The collections and all their descendants. Fails if there are more than `max`.
async fn with_descendants(
    tx: &Tx,
    mut level: Vec<CollectionId>,
    max: usize,
) -> Result<Vec<CollectionId>> {
    let mut all: BTreeSet<CollectionId> = level.iter().cloned().collect();
    while !level.is_empty() {
        let count = all.len();
        if count > max {
            let rule = Constraint::TooMany { count, max };
            return Err(Violation::new(FieldPath::Depth, "", rule).into());
        }
        let children = children::lists(tx, ChildType::Collection, &level).await?;
        let children = children.into_values().flatten().map(CollectionId::from);
        level = children.filter(|id| all.insert(id.clone())).collect();
    }
    Ok(all.into_iter().collect())
}

/// The unregistered products in collections whose ids contain the title. Fails if more than `max`
/// would have to be examined.
async fn unregistered_matches(
    tx: &Tx,
    filter: &ProductFilter,
    title: &str,
    max: usize,
) -> Result<Vec<ProductId>> {
    let most = max.saturating_add(1);
    let mut ids = crate::store::products::unregistered_matches(tx, filter, most).await?;
    scan::check(ids.len() as u64, max)?;
    let title = folded(title);
    ids.retain(|id| folded(id.as_str()).contains(&title));
    Ok(ids)
}

/// Checks that each id belongs to a product that is registered or in a collection.
async fn check_all_there(tx: &Tx, ids: &[ProductId]) -> Result<()> {
    let named = ProductFilter {
        ids: Some(ids.to_vec()),
        ..ProductFilter::default()
    };
    let start = Start::Offset(0);
    let found = crate::store::products::list(tx, &named, &start, ids.len()).await?;
    let found: BTreeSet<_> = found.into_iter().collect();
    let mut violations = Violations::default();
    for id in ids.iter().filter(|id| !found.contains(*id)) {
        let known = Constraint::Unknown("the ids of products");
        violations.add(FieldPath::FilterIds, id.as_str(), known);
    }
    violations.finish()
}

/// The page in the order of the collection; `None` if the filter is not just a single collection.
async fn in_order(
    tx: &Tx,
    filter: &ProductFilter,
    start: &Start,
    size: usize,
) -> Result<Option<(Vec<ProductId>, u64)>> {
    let (
        ProductFilter {
            title: None,
            unregistered_matches: _,
            ids: None,
            collections: Some(only),
            registered_only: false,
            unassigned: false,
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
