//! Registered products: reads, row locks, writes, and lists with filters. Unregistered products
//! exist only as members of lists.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use sea_orm::{
    ActiveValue::Set,
    ColumnTrait as _, ConnectionTrait as _, DbErr, EntityTrait as _, IdenStatic as _,
    QueryFilter as _, QueryOrder as _, QueryResult, QuerySelect as _,
    sea_query::{
        Expr, ExprTrait as _, Func, LockType, OnConflict, Order, Query, SelectStatement, UnionType,
    },
};
use tokio::task::JoinHandle;

use super::{
    cell::Cell,
    children::{Lists, are_current, is_current, select_members},
    details,
    engine::MAX_BINDS,
    entity::{member, product as row},
    error::needs_more_locks,
    listing::containing,
    lock_set::LockSet,
    packed::{self, BYTES, Packed},
    row::{count_from_row, properties, properties_to_row},
    tx::Tx,
    wanted::{self, Wanted},
};
use crate::domain::{
    ChildType, CollectionId, Error, Needs, Product, ProductId, Result, TenantId, Timestamp,
    filter::ProductFilter, page, search::folded,
};

/// Bound parameters per row.
const ROW_BINDS: usize = 10;

/// The columns of a product.
const COLUMNS: [row::Column; 8] = [
    row::Column::Id,
    row::Column::Title,
    row::Column::Slug,
    row::Column::ProductType,
    row::Column::Attributes,
    row::Column::Details,
    row::Column::CreateTime,
    row::Column::UpdateTime,
];

/// The columns that may be large: JSON objects.
const LARGE: [row::Column; 2] = [row::Column::Attributes, row::Column::Details];

/// The maximum number of products in a page, and (below) the bytes of their large columns. Up to four
/// pages are in memory at once.
const AT_ONCE: usize = 1_000;
const BYTES_AT_ONCE: usize = 4 << 20;
/// So many products of at most this many bytes fit in one page, whatever they are.
const SMALL: usize = BYTES_AT_ONCE / AT_ONCE;

/// Where a page of products, ordered by id, starts.
#[derive(Clone, Debug)]
pub enum Start {
    /// After this product; `None` for the first page.
    After(Option<ProductId>),
    /// After this many products.
    Offset(u64),
}

impl Start {
    /// The offset; 0 if the page starts after a product.
    pub fn offset(&self) -> u64 {
        match self {
            Self::Offset(offset) => *offset,
            Self::After(_) => 0,
        }
    }
}

/// The registered products among `ids`. The others are left out.
///
/// # Errors
/// If the database fails.
pub async fn get_many(tx: &Tx, ids: &[ProductId]) -> Result<HashMap<ProductId, Product>> {
    find(tx, ids, &Needs::of_columns(), |_| {}).await
}

/// Like [`get_many`], but without attributes and details, which may be large and are not read.
///
/// # Errors
/// If the database fails.
pub async fn outlines(tx: &Tx, ids: &[ProductId]) -> Result<HashMap<ProductId, Product>> {
    find(tx, ids, &Needs::of_outline(), |_| {}).await
}

/// The approximate size of each product in bytes, of what is needed. Unregistered products are left
/// out.
///
/// # Errors
/// If the database fails.
pub async fn sizes(tx: &Tx, ids: &[ProductId], needs: &Needs) -> Result<HashMap<ProductId, usize>> {
    let rows = named(tx, ids, |select| with_size(select, needs))?;
    let rows: Vec<(String, i64)> = wanted::tuples(tx, &rows).await?;
    let size = |(id, size)| (ProductId::trusted(id), count_from_row(size) as usize);
    Ok(rows.into_iter().map(size).collect())
}

/// Selects the ids and the approximate sizes of products.
fn with_size(select: &mut SelectStatement, needs: &Needs) {
    select
        .column(row::Column::Id.as_column_ref())
        .expr_as(size(needs), BYTES);
}

/// The approximate size of what is needed of a product.
fn size(needs: &Needs) -> Expr {
    let [attributes, details] = LARGE.map(|column| {
        if !is_needed(column, needs) {
            return Expr::value(0_i64);
        }
        let size = Func::cust("octet_length").arg(column.into_expr());
        Expr::from(size).cast_as("bigint")
    });
    attributes.add(details)
}

/// Selects the columns of products that are needed, as texts.
fn with_needed(select: &mut SelectStatement, needs: &Needs) {
    for column in COLUMNS.into_iter().filter(|it| is_needed(*it, needs)) {
        if let row::Column::CreateTime | row::Column::UpdateTime = column {
            select.expr_as(column.into_expr().cast_as("text"), column);
        } else {
            select.column(column.as_column_ref());
        }
    }
}

/// Reads products that [`with_needed`] selected, which must be of limited size, as one row.
async fn read(tx: &Tx, select: SelectStatement, needs: &Needs) -> Result<Packed> {
    packed::read(tx, select, &needed(needs)).await
}

/// The names of the columns that are needed.
fn needed(needs: &Needs) -> Vec<&'static str> {
    let needed = COLUMNS.iter().filter(|it| is_needed(**it, needs));
    needed.map(|column| column.as_str()).collect()
}

fn is_needed(column: row::Column, needs: &Needs) -> bool {
    use row::Column::{
        Attributes, CreateTime, Details, Id, ProductType, SearchTitle, Slug, TenantId, Title,
        UpdateTime,
    };
    match column {
        TenantId | Id | SearchTitle => true,
        Title => needs.title,
        Slug | ProductType | CreateTime | UpdateTime => needs.outline,
        Attributes => needs.attributes,
        Details => needs.details,
    }
}

/// Reads the products of the tenant in order of ids, with what is needed of them, page by page. A
/// page is decoded by another thread while the one before it is used and the next one is read.
#[derive(Debug)]
pub struct Pages<'t> {
    tx: &'t Tx,
    needs: Arc<Needs>,
    /// The last product that was read.
    last: Option<ProductId>,
    /// The page that is being decoded.
    decoding: Option<JoinHandle<Result<Page>>>,
    is_at_end: bool,
}

/// A page of products in order of ids.
#[derive(Debug)]
pub struct Page {
    /// The products.
    pub products: Vec<Product>,
    /// The size of what is needed of them, in bytes.
    pub bytes: usize,
}

impl Page {
    /// The ids of the products.
    pub fn ids(&self) -> Vec<ProductId> {
        self.products.iter().map(|it| it.id.clone()).collect()
    }

    /// The last product.
    pub fn last(&self) -> Option<&ProductId> {
        self.products.last().map(|it| &it.id)
    }
}

impl<'t> Pages<'t> {
    /// The products after `last`.
    pub fn after(tx: &'t Tx, last: Option<ProductId>, needs: &Needs) -> Self {
        Self {
            tx,
            needs: Arc::new(needs.clone()),
            last,
            decoding: None,
            is_at_end: false,
        }
    }

    /// The next page; `None` after the last one.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn next(&mut self) -> Result<Option<Page>> {
        loop {
            let next = self.read().await?;
            if let Some(page) = std::mem::replace(&mut self.decoding, next) {
                return page.await.map_err(Error::internal)?.map(Some);
            }
            if self.is_at_end {
                return Ok(None);
            }
        }
    }

    /// Reads the rows of the next page and begins to decode them; `None` after the last one.
    async fn read(&mut self) -> Result<Option<JoinHandle<Result<Page>>>> {
        if self.is_at_end {
            return Ok(None);
        }
        let Some(rows) = rows_after(self.tx, self.last.as_ref(), &self.needs).await? else {
            self.is_at_end = true;
            return Ok(None);
        };
        self.last = Some(rows.last.clone());
        let (tenant, needs) = (self.tx.tenant.clone(), Arc::clone(&self.needs));
        let bytes = rows.bytes;
        let decode = move || rows.decode(&tenant, &needs);
        Ok(Some(self.tx.spawn_work(bytes, decode).await))
    }
}

/// Work on pages, each by another thread while the next page is read.
#[derive(Debug)]
pub struct Behind<T>(Option<JoinHandle<T>>);

impl<T> Default for Behind<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Send + 'static> Behind<T> {
    /// Begins work on a page. Returns the result for the page before, if there was one.
    ///
    /// # Errors
    /// If the work panicked.
    pub async fn begin(
        &mut self,
        tx: &Tx,
        page: Page,
        work: impl FnOnce(Page) -> T + Send + 'static,
    ) -> Result<Option<T>> {
        let next = tx.spawn_work(page.bytes, move || work(page)).await;
        let before = Self(self.0.replace(next));
        before.end().await
    }

    /// The result for the last page, if there was one.
    ///
    /// # Errors
    /// If the work panicked.
    pub async fn end(self) -> Result<Option<T>> {
        match self.0 {
            Some(work) => work.await.map(Some).map_err(Error::internal),
            None => Ok(None),
        }
    }
}

/// The rows of a page.
struct Rows {
    rows: Packed,
    last: ProductId,
    bytes: usize,
}

impl Rows {
    fn decode(&self, tenant: &TenantId, needs: &Needs) -> Result<Page> {
        let mut products = decode_packed(tenant, &self.rows, needs)?;
        products.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        Ok(Page {
            products,
            bytes: self.bytes,
        })
    }
}

/// Calls `visit` for each of the given products that is registered. Only a limited number of
/// products is in memory at once.
///
/// # Errors
/// If the database fails.
pub async fn each_of(
    tx: &Tx,
    ids: impl IntoIterator<Item = ProductId>,
    needs: &Needs,
    mut visit: impl FnMut(&Product) + Send,
) -> Result<()> {
    let mut ids = ids.into_iter();
    let mut next: Vec<ProductId> = Vec::new();
    loop {
        next.extend(ids.by_ref().take(AT_ONCE - next.len()));
        if next.is_empty() {
            return Ok(());
        }
        let known = sizes(tx, &next, needs).await?;
        let sizes = next
            .iter()
            .map(|id| known.get(id).copied().unwrap_or_default());
        let fit = page::fitting(sizes.clone(), BYTES_AT_ONCE);
        let bytes = sizes.take(fit).sum();
        let rows = named(tx, &next[..fit], |select| with_needed(select, needs))?;
        let rows = read(tx, rows, needs).await?;
        tx.work(bytes, || {
            let products = decode_packed(&tx.tenant, &rows, needs)?;
            products.iter().for_each(&mut visit);
            Ok::<_, Error>(())
        })?;
        next.drain(..fit);
    }
}

/// Whether the tenant has more than `max` registered products. Reads no more rows than needed.
///
/// # Errors
/// If the database fails.
pub async fn are_more_than(tx: &Tx, max: usize) -> Result<bool> {
    let Ok(max) = i64::try_from(max) else {
        return Ok(false);
    };
    let more = row::Entity::find()
        .select_only()
        .column(row::Column::Id)
        .filter(row::Column::TenantId.eq(tx.tenant()))
        .order_by_asc(row::Column::Id)
        .offset(max.unsigned_abs());
    let more: Option<String> = more.into_tuple().one(tx.db()).await?;
    Ok(more.is_some())
}

/// The next products after `id`, in order of ids, with what is needed of them. Empty at the end.
///
/// # Errors
/// If the database fails.
pub async fn after(tx: &Tx, id: Option<&ProductId>, needs: &Needs) -> Result<Vec<Product>> {
    match rows_after(tx, id, needs).await? {
        Some(rows) => Ok(rows.decode(&tx.tenant, needs)?.products),
        None => Ok(Vec::new()),
    }
}

/// The rows of the next products after `id`; `None` at the end.
async fn rows_after(tx: &Tx, id: Option<&ProductId>, needs: &Needs) -> Result<Option<Rows>> {
    let mut rest = Query::select();
    rest.from(row::Entity)
        .and_where(row::Column::TenantId.eq(tx.tenant()))
        .order_by(row::Column::Id, Order::Asc);
    if let Some(id) = id {
        rest.and_where(row::Column::Id.gt(id.as_str()));
    }
    let mut next = rest.clone();
    next.limit(AT_ONCE as u64);
    let mut whole = next.clone();
    with_needed(&mut whole, needs);
    whole.expr_as(size(needs), BYTES);
    let Some(small) = packed::read_small(tx, whole, &needed(needs), SMALL).await? else {
        return Ok(None);
    };
    let (mut last, mut bytes) = (small.last, small.bytes);
    if small.largest <= SMALL {
        let (last, rows) = (ProductId::trusted(last), small.rows);
        return Ok(Some(Rows { rows, last, bytes }));
    }
    if bytes > BYTES_AT_ONCE {
        with_size(&mut next, needs);
        let next: Vec<(String, i64)> = wanted::tuples(tx, &next).await?;
        let sizes = next.iter().map(|(_, size)| count_from_row(*size) as usize);
        let fit = page::fitting(sizes.clone(), BYTES_AT_ONCE);
        bytes = sizes.take(fit).sum();
        if let Some((fitting, _)) = next.into_iter().take(fit).next_back() {
            last = fitting;
        }
    }
    with_needed(&mut rest, needs);
    rest.and_where(row::Column::Id.lte(last.as_str()));
    Ok(Some(Rows {
        rows: read(tx, rest, needs).await?,
        last: ProductId::trusted(last),
        bytes,
    }))
}

/// Reads products and locks them against all changes until the transaction ends, in the order of
/// their ids.
pub(super) async fn lock(tx: &Tx, ids: &[ProductId]) -> Result<BTreeMap<ProductId, Product>> {
    let needs = Needs::of_columns();
    let found = find(tx, ids, &needs, |select| {
        select.lock_exclusive();
    });
    Ok(found.await?.into_iter().collect())
}

/// Like [`lock`], but with a weaker lock: nobody can change the products, but other transactions
/// may still require them to stay registered (see [`unregistered`]).
pub(super) async fn lock_facts(tx: &Tx, ids: &[ProductId]) -> Result<BTreeMap<ProductId, Product>> {
    let needs = Needs::of_columns();
    let found = find(tx, ids, &needs, |select| {
        select.lock(LockType::NoKeyUpdate);
    });
    Ok(found.await?.into_iter().collect())
}

/// The products that are not registered, in order. Locks the others so that they stay registered
/// until the transaction ends.
pub(super) async fn unregistered(tx: &Tx, ids: &[ProductId]) -> Result<Vec<ProductId>> {
    let found = named(tx, ids, |select| {
        select
            .column(row::Column::Id.as_column_ref())
            .lock(LockType::KeyShare);
    })?;
    let found: Vec<String> = wanted::tuples(tx, &found).await?;
    let mut missing: BTreeSet<&ProductId> = ids.iter().collect();
    for id in found {
        missing.remove(&ProductId::trusted(id));
    }
    Ok(missing.into_iter().cloned().collect())
}

/// Those of the products that are registered.
///
/// # Errors
/// If the database fails.
pub async fn registered(tx: &Tx, ids: &[ProductId]) -> Result<HashSet<ProductId>> {
    let found = named(tx, ids, |select| {
        select.column(row::Column::Id.as_column_ref());
    })?;
    let found: Vec<String> = wanted::tuples(tx, &found).await?;
    Ok(found.into_iter().map(ProductId::trusted).collect())
}

/// Inserts new products. A row that does not exist cannot be locked, so another transaction may
/// insert one of them first; then this one must start over.
pub(super) async fn insert(tx: &Tx, products: &[&Product]) -> Result<()> {
    for products in products.chunks(MAX_BINDS / ROW_BINDS) {
        let conflict = OnConflict::columns([row::Column::TenantId, row::Column::Id])
            .do_nothing()
            .to_owned();
        let inserted = row::Entity::insert_many(models(tx, products)?)
            .on_conflict(conflict)
            .exec_without_returning(tx.db())
            .await;
        let inserted = match inserted {
            Err(DbErr::RecordNotInserted) => 0,
            inserted => inserted?,
        };
        // Another transaction inserted one of them first.
        if inserted < products.len() as u64 {
            return Err(needs_more_locks(LockSet::default()));
        }
    }
    Ok(())
}

/// Updates registered products, which must be locked.
pub(super) async fn update(tx: &Tx, products: &[&Product]) -> Result<()> {
    for products in products.chunks(MAX_BINDS / ROW_BINDS) {
        // An upsert, because it can set different values in many rows with one statement. All rows
        // exist, so nothing is inserted.
        let models = models(tx, products)?;
        let conflict = OnConflict::columns([row::Column::TenantId, row::Column::Id])
            .update_columns([
                row::Column::Title,
                row::Column::SearchTitle,
                row::Column::Slug,
                row::Column::ProductType,
                row::Column::Attributes,
                row::Column::Details,
                row::Column::UpdateTime,
            ])
            .to_owned();
        row::Entity::insert_many(models)
            .on_conflict(conflict)
            .exec_without_returning(tx.db())
            .await?;
    }
    Ok(())
}

/// Deletes products.
pub(super) async fn delete(tx: &Tx, ids: &[ProductId]) -> Result<()> {
    let named = Wanted::new(tx, row::Column::Id, ids.iter().map(ProductId::as_str))?;
    row::Entity::delete_many()
        .filter(named.condition(row::Entity, row::Column::TenantId.eq(tx.tenant())))
        .exec(tx.db())
        .await?;
    Ok(())
}

/// The number of products that satisfy the filter.
///
/// # Errors
/// If the database fails.
pub async fn count(tx: &Tx, filter: &ProductFilter) -> Result<u64> {
    let mut parts = matching(tx, filter)?;
    let all = match (parts.len(), &filter.collections) {
        // Registered products, of which each is one row: a DISTINCT would take longer than COUNT.
        (1, None) => parts.remove(0),
        _ => union(parts),
    };
    let total = Query::select()
        .expr(Expr::cust("COUNT(*)"))
        .from_subquery(all, MATCHING)
        .to_owned();
    let total: Option<i64> = wanted::tuples(tx, &total).await?.pop();
    Ok(count_from_row(total.unwrap_or_default()))
}

/// A page of products that satisfy the filter, ordered by id.
///
/// # Errors
/// If the database fails.
pub async fn list(
    tx: &Tx,
    filter: &ProductFilter,
    start: &Start,
    limit: usize,
) -> Result<Vec<ProductId>> {
    // Each part is limited as if the page had no other part: more rows are never needed.
    let parts = matching(tx, filter)?.into_iter().map(|part| {
        let mut select = Query::select();
        select
            .distinct()
            .column(ID)
            .from_subquery(part, MATCHING)
            .order_by(ID, Order::Asc);
        let limit = limit as u64;
        match start {
            Start::After(None) => select.limit(limit),
            Start::After(Some(id)) => select.and_where(Expr::col(ID).gt(id.as_str())).limit(limit),
            Start::Offset(offset) => {
                // Databases use signed 64-bit numbers.
                let end = limit.saturating_add(*offset);
                select.limit(Ord::min(end, i64::MAX.unsigned_abs()))
            }
        };
        // Wrapped in another SELECT, because a part of a UNION cannot have an ORDER BY.
        Query::select()
            .column(ID)
            .from_subquery(select, MATCHING)
            .to_owned()
    });
    let mut page = Query::select();
    page.column(ID)
        .from_subquery(union(parts.collect()), MATCHING)
        .order_by(ID, Order::Asc)
        .limit(limit as u64);
    if let Start::Offset(offset) = start {
        page.offset(*offset);
    }
    let ids: Vec<String> = wanted::tuples(tx, &page).await?;
    Ok(ids.into_iter().map(ProductId::trusted).collect())
}

/// Up to `limit` products that are in the filter's collections but not registered.
///
/// # Errors
/// If the database fails.
pub async fn unregistered_matches(
    tx: &Tx,
    filter: &ProductFilter,
    limit: usize,
) -> Result<Vec<ProductId>> {
    let of_member = |product: row::Column, column: member::Column| {
        product.into_expr().equals(column.as_column_ref())
    };
    let product = Query::select()
        .expr(Expr::value(1))
        .from(row::Entity)
        .and_where(of_member(row::Column::TenantId, member::Column::TenantId))
        .and_where(of_member(row::Column::Id, member::Column::ChildId))
        .to_owned();
    let found = members(tx, filter, |select| {
        select
            .expr_as(member::Column::ChildId.into_expr(), ID)
            .and_where(Expr::exists(product).not());
    })?;
    let found = Query::select()
        .distinct()
        .column(ID)
        .from_subquery(found, MATCHING)
        .limit(limit as u64)
        .to_owned();
    let ids: Vec<String> = wanted::tuples(tx, &found).await?;
    Ok(ids.into_iter().map(ProductId::trusted).collect())
}

const MATCHING: &str = "matching";
const ID: &str = "id";

/// The ids that satisfy the filter, as several statements whose results may overlap: registered
/// products, members of collections, or both.
fn matching(tx: &Tx, filter: &ProductFilter) -> Result<Vec<SelectStatement>> {
    let mut parts = Vec::new();
    if filter.registered_only
        || filter.title.is_some()
        || filter.unassigned
        || filter.collections.is_none()
    {
        parts.push(registered_matches(tx, filter)?);
    }
    if !filter.registered_only && filter.title.is_none() && !filter.unassigned {
        parts.extend(listed(tx, filter)?);
    }
    if !filter.unregistered_matches.is_empty() {
        let unregistered = ProductFilter {
            ids: Some(filter.unregistered_matches.clone()),
            collections: filter.collections.clone(),
            ..ProductFilter::default()
        };
        parts.extend(listed(tx, &unregistered)?);
    }
    Ok(parts)
}

/// The union of the parts, without duplicates.
fn union(parts: Vec<SelectStatement>) -> SelectStatement {
    let mut parts = parts.into_iter();
    // There is no UNION to remove the duplicates of a single part.
    let mut all = parts.next().unwrap_or_default();
    match parts.next() {
        Some(part) => all.union(UnionType::Distinct, part),
        None => all.distinct(),
    };
    all
}

fn registered_matches(tx: &Tx, filter: &ProductFilter) -> Result<SelectStatement> {
    let what = |select: &mut SelectStatement| {
        select
            .expr_as(row::Column::Id.into_expr(), ID)
            .and_where(row::Column::TenantId.eq(tx.tenant()));
        if let Some(title) = &filter.title {
            let pattern = containing(&folded(title));
            select.and_where(row::Column::SearchTitle.into_expr().like(pattern));
        }
        if filter.unassigned {
            select.and_where(Expr::exists(list_of_product()).not());
        }
    };
    match (&filter.ids, &filter.collections) {
        (None, None) => {
            let mut select = Query::select();
            what(select.from(row::Entity));
            Ok(select)
        }
        (Some(ids), None) => named(tx, ids, what),
        (_, Some(_)) => {
            // A scalar subquery looks up each product by key; a join could be reordered.
            let mut product = Query::select();
            what(product.from(row::Entity));
            let child = member::Column::ChildId.as_column_ref();
            product.and_where(row::Column::Id.into_expr().equals(child));
            let product = Expr::SubQuery(None, Box::new(product.into()));
            let found = members(tx, filter, |select| {
                select.expr_as(product, ID);
            })?;
            let registered = Query::select()
                .column(ID)
                .from_subquery(found, MATCHING)
                .and_where(Expr::col(ID).is_not_null())
                .to_owned();
            Ok(registered)
        }
    }
}

/// A subquery that finds a collection that contains the product.
fn list_of_product() -> SelectStatement {
    let of_product = |column: member::Column, product: row::Column| {
        column.into_expr().equals(product.as_column_ref())
    };
    Query::select()
        .expr(Expr::value(1))
        .from(member::Entity)
        .and_where(of_product(member::Column::TenantId, row::Column::TenantId))
        .cond_where(is_current(ChildType::Product))
        .and_where(of_product(member::Column::ChildId, row::Column::Id))
        .to_owned()
}

fn listed(tx: &Tx, filter: &ProductFilter) -> Result<Vec<SelectStatement>> {
    let what = |select: &mut SelectStatement| {
        select.expr_as(member::Column::ChildId.into_expr(), ID);
    };
    if filter.ids.is_some() || filter.collections.is_some() {
        return Ok(vec![members(tx, filter, what)?]);
    }
    // An index has the rows of each part in the order of ids, so that a page reads only its own.
    let parts = are_current(tx).map(|current| {
        let mut select = Query::select();
        select
            .from(member::Entity)
            .and_where(member::Column::TenantId.eq(tx.tenant()))
            .cond_where(current);
        what(&mut select);
        select
    });
    Ok(parts.into())
}

/// Selects members with the filter's products, in the filter's collections.
fn members(
    tx: &Tx,
    filter: &ProductFilter,
    what: impl FnOnce(&mut SelectStatement),
) -> Result<SelectStatement> {
    let of_tenant = member::Column::TenantId.eq(tx.tenant());
    let collections = filter.collections.as_ref();
    let collections = collections.map(|ids| ids.iter().map(CollectionId::as_str));
    match (&filter.ids, collections) {
        (Some(ids), collections) => {
            let ids = ids.iter().map(ProductId::as_str);
            select_members(tx, ChildType::Product, ids, |select| {
                what(select);
                if let Some(collections) = collections {
                    select.and_where(member::Column::CollectionId.is_in(collections));
                }
            })
        }
        (None, Some(collections)) => {
            let wanted = Wanted::new(tx, member::Column::CollectionId, collections)?;
            let code = Lists::from(ChildType::Product).code(tx, wanted::value());
            Ok(wanted.select(member::Entity, |select| {
                select
                    .and_where(of_tenant)
                    .and_where(member::Column::List.into_expr().eq(code));
                what(select);
            }))
        }
        (None, None) => {
            let mut select = Query::select();
            select
                .from(member::Entity)
                .and_where(of_tenant)
                .cond_where(is_current(ChildType::Product));
            what(&mut select);
            Ok(select)
        }
    }
}

async fn find(
    tx: &Tx,
    ids: &[ProductId],
    needs: &Needs,
    lock: impl FnOnce(&mut SelectStatement),
) -> Result<HashMap<ProductId, Product>> {
    let rows = named(tx, ids, |select| {
        with_needed(select, needs);
        lock(select);
    });
    // Not as one row: the products may be of any size, and that of a value is limited.
    let rows = tx.db().query_all(&rows?).await?;
    let products = rows.iter().map(|row| decode_row(&tx.tenant, row, needs));
    products
        .map(|product| product.map(|product| (product.id.clone(), product)))
        .collect()
}

/// A statement on the products with these ids, in the order in which locks must be taken.
fn named(
    tx: &Tx,
    ids: &[ProductId],
    what: impl FnOnce(&mut SelectStatement),
) -> Result<SelectStatement> {
    let named = Wanted::new(tx, row::Column::Id, ids.iter().map(ProductId::as_str))?;
    Ok(named.select(row::Entity, |select| {
        select.and_where(row::Column::TenantId.eq(tx.tenant()));
        what(select);
    }))
}

fn models(tx: &Tx, products: &[&Product]) -> Result<Vec<row::ActiveModel>> {
    products.iter().map(|one| encode(tx, one)).collect()
}

fn encode(tx: &Tx, product: &Product) -> Result<row::ActiveModel> {
    Ok(row::ActiveModel {
        tenant_id: Set(tx.tenant().into()),
        id: Set(product.id.to_string()),
        title: Set(product.title.clone()),
        search_title: Set(folded(&product.title)),
        slug: Set(product.slug.clone()),
        product_type: Set(product.product_type.clone()),
        attributes: Set(properties_to_row(&product.attributes)?),
        details: Set(details::encode(&product.details)?),
        create_time: Set(product.create_time.micros()),
        update_time: Set(product.update_time.micros()),
    })
}

/// Decodes products that were read as one row. Columns that are not needed are empty.
fn decode_packed(tenant: &TenantId, rows: &Packed, needs: &Needs) -> Result<Vec<Product>> {
    let mut values = rows.values();
    let mut products = Vec::new();
    while !values.is_at_end() {
        products.push(decode(tenant, needs, || values.next().map(Cow::Borrowed))?);
    }
    Ok(products)
}

/// Decodes a product that was read as a row of its own.
fn decode_row(tenant: &TenantId, row: &QueryResult, needs: &Needs) -> Result<Product> {
    let mut columns = 0..;
    decode(tenant, needs, || {
        let text: String = row.try_get_by_index(columns.next().unwrap_or_default())?;
        Ok(Cow::Owned(text))
    })
}

/// Decodes a product from its needed columns, which `next` returns in the order of [`COLUMNS`].
fn decode<'a>(
    tenant: &TenantId,
    needs: &Needs,
    mut next: impl FnMut() -> Result<Cow<'a, str>>,
) -> Result<Product> {
    let mut take = |column| is_needed(column, needs).then(&mut next).transpose();
    let time = |micros: Option<Cow<'_, str>>| {
        let micros = micros.map_or(Ok(0), |micros| micros.parse());
        micros.map(Timestamp::from_micros).map_err(Error::internal)
    };
    let id = take(row::Column::Id)?.unwrap_or_default();
    let title = take(row::Column::Title)?.unwrap_or_default();
    let slug = take(row::Column::Slug)?.unwrap_or_default();
    let product_type = take(row::Column::ProductType)?.unwrap_or_default();
    let attributes = take(row::Column::Attributes)?;
    let details = take(row::Column::Details)?;
    let create_time = time(take(row::Column::CreateTime)?)?;
    let update_time = time(take(row::Column::UpdateTime)?)?;
    let cell = |column| Cell {
        table: "products",
        tenant: tenant.as_str(),
        key: &id,
        column,
    };
    let attributes = attributes.map(|it| properties(cell("attributes"), &it));
    let details = details.map(|it| details::decode(cell("details"), &it, needs));
    Ok(Product {
        id: ProductId::trusted(&*id),
        title: title.into(),
        slug: slug.into(),
        product_type: product_type.into(),
        attributes: attributes.transpose()?.unwrap_or_default(),
        details: details.transpose()?.unwrap_or_default(),
        create_time,
        update_time,
    })
}
