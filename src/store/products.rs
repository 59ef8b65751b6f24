//! What is known of products, and which products there are.

use std::collections::{BTreeSet, HashMap};

use sea_orm::{
    ActiveValue::Set,
    ColumnTrait as _, ConnectionTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, Select,
    sea_query::{
        Expr, ExprTrait as _, LockType, OnConflict, Order, Query, SelectStatement, UnionType,
    },
};

use super::{
    MAX_BINDS, Tx,
    children::list_code,
    entity::{member, product as row},
    error::broken_constraint,
    listing::containing,
    row::{count, properties, properties_to_row},
};
use crate::domain::{ChildId, ChildType, CollectionId, Product, Result, Timestamp, product::taken};

/// Binds of a row.
const ROW_BINDS: usize = 9;
/// Values of one `IN` beside the tenant.
const IN_BINDS: usize = MAX_BINDS - 10;

/// Which products to list: those that satisfy all that is set.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The title contains this, ignoring case.
    pub title: Option<String>,
    /// The id is one of these.
    pub ids: Option<Vec<ChildId>>,
    /// One of these collections has it.
    pub collections: Option<Vec<CollectionId>>,
    /// Whether to leave out those of which nobody told, and that are in a collection.
    pub told: bool,
}

/// Where a page of products, ordered by id, starts.
#[derive(Clone, Debug)]
pub enum Start {
    /// After this one; none for the first page.
    After(Option<ChildId>),
    /// After so many.
    Offset(u64),
}

/// What is known of the products; those of which nobody told are left out.
///
/// # Errors
/// Where the database fails.
pub async fn get_many(tx: &Tx, ids: &[ChildId]) -> Result<HashMap<ChildId, Product>> {
    find(tx, ids, |rows| rows).await
}

/// The same, locked against other writers until the transaction ends.
///
/// # Errors
/// Where the database fails.
pub async fn lock(tx: &Tx, ids: &[ChildId]) -> Result<HashMap<ChildId, Product>> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    find(tx, &ids, |rows| {
        rows.order_by(row::Column::Id, Order::Asc).lock_exclusive()
    })
    .await
}

/// Those of which nobody told, in order. The others are locked so that they stay known
/// until the transaction ends.
///
/// # Errors
/// Where the database fails.
pub async fn unknown(tx: &Tx, ids: &[ChildId]) -> Result<Vec<ChildId>> {
    let mut unknown: BTreeSet<ChildId> = ids.iter().cloned().collect();
    let ids: Vec<ChildId> = unknown.iter().cloned().collect();
    for ids in ids.chunks(IN_BINDS) {
        let known: Vec<String> = named(tx, ids)
            .select_only()
            .column(row::Column::Id)
            .order_by(row::Column::Id, Order::Asc)
            .lock(LockType::KeyShare)
            .into_tuple()
            .all(&tx.db)
            .await?;
        for id in known {
            unknown.remove(&ChildId::trusted(id));
        }
    }
    Ok(unknown.into_iter().collect())
}

/// Adds new products.
///
/// # Errors
/// Where one is there, told of by another transaction meanwhile; where the database fails.
pub async fn insert(tx: &Tx, products: &[Product]) -> Result<()> {
    for products in products.chunks(MAX_BINDS / ROW_BINDS) {
        let inserted = row::Entity::insert_many(models(tx, products)?);
        let inserted = inserted.exec_without_returning(&tx.db).await;
        inserted.map_err(|error| match (broken_constraint(&error), products) {
            (Some(_), [product]) => taken(&product.id),
            (Some(_) | None, _) => error.into(),
        })?;
    }
    Ok(())
}

/// Writes products, new or known.
///
/// # Errors
/// Where the database fails.
pub async fn put(tx: &Tx, products: &[Product]) -> Result<()> {
    for products in products.chunks(MAX_BINDS / ROW_BINDS) {
        let models = models(tx, products)?;
        let conflict = OnConflict::columns([row::Column::TenantId, row::Column::Id])
            .update_columns([
                row::Column::Title,
                row::Column::SearchTitle,
                row::Column::Slug,
                row::Column::ProductType,
                row::Column::Attributes,
                row::Column::UpdateTime,
            ])
            .to_owned();
        row::Entity::insert_many(models)
            .on_conflict(conflict)
            .exec_without_returning(&tx.db)
            .await?;
    }
    Ok(())
}

/// Forgets products.
///
/// # Errors
/// Where the database fails.
pub async fn delete(tx: &Tx, ids: &[ChildId]) -> Result<()> {
    for ids in ids.chunks(IN_BINDS) {
        row::Entity::delete_many()
            .filter(row::Column::TenantId.eq(tx.tenant()))
            .filter(row::Column::Id.is_in(ids.iter().map(ChildId::as_str)))
            .exec(&tx.db)
            .await?;
    }
    Ok(())
}

/// A page of products, ordered by id, and how many there are in all.
///
/// # Errors
/// Where the database fails.
pub async fn list(
    tx: &Tx,
    filter: &Filter,
    start: &Start,
    limit: usize,
) -> Result<(Vec<ChildId>, u64)> {
    let matching = matching(tx, filter);
    let total = Query::select()
        .expr(Expr::col(ID).count())
        .from_subquery(matching.clone(), MATCHING)
        .to_owned();
    let total = tx.db.query_one(&total).await?;
    let total: i64 = total.map_or(Ok(0), |row| row.try_get_by_index(0))?;

    let mut page = Query::select();
    page.column(ID)
        .from_subquery(matching, MATCHING)
        .order_by(ID, Order::Asc)
        .limit(limit as u64);
    match start {
        Start::After(None) => {}
        Start::After(Some(id)) => {
            page.and_where(Expr::col(ID).gt(id.as_str()));
        }
        Start::Offset(offset) => {
            page.offset(*offset);
        }
    }
    let rows = tx.db.query_all(&page).await?;
    let ids = rows
        .iter()
        .map(|row| Ok(ChildId::trusted(row.try_get_by_index::<String>(0)?)))
        .collect::<Result<_>>()?;
    Ok((ids, count(total)))
}

const MATCHING: &str = "matching";
const ID: &str = "id";

/// The ids that satisfy the filter: of products that were told of, of those that a
/// collection has, or of both.
fn matching(tx: &Tx, filter: &Filter) -> SelectStatement {
    if filter.told || filter.title.is_some() {
        told(tx, filter)
    } else if filter.collections.is_some() {
        listed(tx, filter)
    } else {
        told(tx, filter)
            .union(UnionType::Distinct, listed(tx, filter))
            .to_owned()
    }
}

fn told(tx: &Tx, filter: &Filter) -> SelectStatement {
    let mut select = Query::select();
    select
        .expr_as(Expr::col(row::Column::Id), ID)
        .from(row::Entity)
        .and_where(row::Column::TenantId.eq(tx.tenant()));
    if let Some(ids) = &filter.ids {
        select.and_where(row::Column::Id.is_in(ids.iter().map(ChildId::as_str)));
    }
    if let Some(title) = &filter.title {
        let pattern = containing(&title.to_lowercase());
        select.and_where(Expr::col(row::Column::SearchTitle).like(pattern));
    }
    if filter.collections.is_some() {
        select.and_where(row::Column::Id.in_subquery(listed(tx, filter)));
    }
    select
}

fn listed(tx: &Tx, filter: &Filter) -> SelectStatement {
    let mut select = Query::select();
    select
        .distinct()
        .expr_as(Expr::col(member::Column::ChildId), ID)
        .from(member::Entity)
        .and_where(member::Column::TenantId.eq(tx.tenant()))
        .and_where(member::Column::List.eq(list_code(ChildType::Product)));
    if let Some(ids) = &filter.ids {
        select.and_where(member::Column::ChildId.is_in(ids.iter().map(ChildId::as_str)));
    }
    if let Some(collections) = &filter.collections {
        let collections = collections.iter().map(CollectionId::as_str);
        select.and_where(member::Column::CollectionId.is_in(collections));
    }
    select
}

async fn find(
    tx: &Tx,
    ids: &[ChildId],
    how: impl Fn(Select<row::Entity>) -> Select<row::Entity>,
) -> Result<HashMap<ChildId, Product>> {
    let mut found = HashMap::with_capacity(ids.len());
    for ids in ids.chunks(IN_BINDS) {
        for row in how(named(tx, ids)).all(&tx.db).await? {
            let product = decode(row)?;
            found.insert(product.id.clone(), product);
        }
    }
    Ok(found)
}

fn named(tx: &Tx, ids: &[ChildId]) -> Select<row::Entity> {
    row::Entity::find()
        .filter(row::Column::TenantId.eq(tx.tenant()))
        .filter(row::Column::Id.is_in(ids.iter().map(ChildId::as_str)))
}

fn models(tx: &Tx, products: &[Product]) -> Result<Vec<row::ActiveModel>> {
    products.iter().map(|product| encode(tx, product)).collect()
}

fn encode(tx: &Tx, product: &Product) -> Result<row::ActiveModel> {
    Ok(row::ActiveModel {
        tenant_id: Set(tx.tenant().into()),
        id: Set(product.id.to_string()),
        title: Set(product.title.clone()),
        search_title: Set(product.title.to_lowercase()),
        slug: Set(product.slug.clone()),
        product_type: Set(product.product_type.clone()),
        attributes: Set(properties_to_row(&product.attributes)?),
        create_time: Set(product.create_time.micros()),
        update_time: Set(product.update_time.micros()),
    })
}

fn decode(row: row::Model) -> Result<Product> {
    Ok(Product {
        id: ChildId::trusted(row.id),
        title: row.title,
        slug: row.slug,
        product_type: row.product_type,
        attributes: properties(&row.attributes)?,
        create_time: Timestamp::from_micros(row.create_time),
        update_time: Timestamp::from_micros(row.update_time),
    })
}
