//! What is known of products, and which products there are.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use sea_orm::{
    ActiveValue::Set,
    ColumnTrait as _, ConnectionTrait as _, DbErr, EntityTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, Select,
    sea_query::{
        Expr, ExprTrait as _, LockType, OnConflict, Order, Query, SelectStatement, UnionType,
    },
};

use super::{
    children::list_code,
    engine::MAX_BINDS,
    entity::{member, product as row},
    error::grew,
    listing::containing,
    lock_set::LockSet,
    row::{count, properties, properties_to_row},
    tx::Tx,
};
use crate::domain::{
    ChildType, CollectionId, Product, ProductId, Result, Timestamp, filter::ProductFilter,
};

/// Binds of a row.
const ROW_BINDS: usize = 9;
/// Values of one `IN` beside the tenant.
const IN_BINDS: usize = MAX_BINDS - 10;

/// Where a page of products, ordered by id, starts.
#[derive(Clone, Debug)]
pub enum Start {
    /// After this one; none for the first page.
    After(Option<ProductId>),
    /// After so many.
    Offset(u64),
}

/// What is known of the products; those of which nobody told are left out.
///
/// # Errors
/// Where the database fails.
pub async fn get_many(tx: &Tx, ids: &[ProductId]) -> Result<HashMap<ProductId, Product>> {
    find(tx, ids, |rows| rows).await
}

/// The same, locked against other writers until the transaction ends, in the order of
/// their ids.
pub(super) async fn lock(tx: &Tx, ids: &[ProductId]) -> Result<BTreeMap<ProductId, Product>> {
    let found = find(tx, ids, |rows| {
        rows.order_by(row::Column::Id, Order::Asc).lock_exclusive()
    });
    Ok(found.await?.into_iter().collect())
}

/// Those that are not registered, in order. The others are locked so that they stay
/// registered until the transaction ends.
pub(super) async fn unregistered(tx: &Tx, ids: &[ProductId]) -> Result<Vec<ProductId>> {
    let mut missing: BTreeSet<&ProductId> = ids.iter().collect();
    for ids in ids.chunks(IN_BINDS) {
        let found: Vec<String> = named(tx, ids)
            .select_only()
            .column(row::Column::Id)
            .order_by(row::Column::Id, Order::Asc)
            .lock(LockType::KeyShare)
            .into_tuple()
            .all(tx.db())
            .await?;
        for id in found {
            missing.remove(&ProductId::trusted(id));
        }
    }
    Ok(missing.into_iter().cloned().collect())
}

/// Those that are registered.
///
/// # Errors
/// Where the database fails.
pub async fn registered(tx: &Tx, ids: &[ProductId]) -> Result<HashSet<ProductId>> {
    let mut found = HashSet::with_capacity(ids.len());
    for ids in ids.chunks(IN_BINDS) {
        let ids = named(tx, ids).select_only().column(row::Column::Id);
        let ids: Vec<String> = ids.into_tuple().all(tx.db()).await?;
        found.extend(ids.into_iter().map(ProductId::trusted));
    }
    Ok(found)
}

/// Adds new products. A row that is not there can't be locked, so another transaction may
/// add one of them meanwhile: then all must begin anew.
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
        if inserted < products.len() as u64 {
            return Err(grew(LockSet::default()));
        }
    }
    Ok(())
}

/// Writes registered products, which are locked.
pub(super) async fn update(tx: &Tx, products: &[&Product]) -> Result<()> {
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
            .exec_without_returning(tx.db())
            .await?;
    }
    Ok(())
}

/// Deletes products.
pub(super) async fn delete(tx: &Tx, ids: &[ProductId]) -> Result<()> {
    for ids in ids.chunks(IN_BINDS) {
        row::Entity::delete_many()
            .filter(row::Column::TenantId.eq(tx.tenant()))
            .filter(row::Column::Id.is_in(ids.iter().map(ProductId::as_str)))
            .exec(tx.db())
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
    filter: &ProductFilter,
    start: &Start,
    limit: usize,
) -> Result<(Vec<ProductId>, u64)> {
    let matching = matching(tx, filter);
    let total = Query::select()
        .expr(Expr::col(ID).count())
        .from_subquery(matching.clone(), MATCHING)
        .to_owned();
    let total = tx.db().query_one(&total).await?;
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
    let rows = tx.db().query_all(&page).await?;
    let ids = rows
        .iter()
        .map(|row| Ok(ProductId::trusted(row.try_get_by_index::<String>(0)?)))
        .collect::<Result<_>>()?;
    Ok((ids, count(total)))
}

const MATCHING: &str = "matching";
const ID: &str = "id";

/// The ids that satisfy the filter: of products that were told of, of those that a
/// collection has, or of both.
fn matching(tx: &Tx, filter: &ProductFilter) -> SelectStatement {
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

fn told(tx: &Tx, filter: &ProductFilter) -> SelectStatement {
    let mut select = Query::select();
    select
        .expr_as(Expr::col(row::Column::Id), ID)
        .from(row::Entity)
        .and_where(row::Column::TenantId.eq(tx.tenant()));
    if let Some(ids) = &filter.ids {
        select.and_where(row::Column::Id.is_in(ids.iter().map(ProductId::as_str)));
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

fn listed(tx: &Tx, filter: &ProductFilter) -> SelectStatement {
    let mut select = Query::select();
    select
        .distinct()
        .expr_as(Expr::col(member::Column::ChildId), ID)
        .from(member::Entity)
        .and_where(member::Column::TenantId.eq(tx.tenant()))
        .and_where(member::Column::List.eq(list_code(ChildType::Product)));
    if let Some(ids) = &filter.ids {
        select.and_where(member::Column::ChildId.is_in(ids.iter().map(ProductId::as_str)));
    }
    if let Some(collections) = &filter.collections {
        let collections = collections.iter().map(CollectionId::as_str);
        select.and_where(member::Column::CollectionId.is_in(collections));
    }
    select
}

async fn find(
    tx: &Tx,
    ids: &[ProductId],
    how: impl Fn(Select<row::Entity>) -> Select<row::Entity>,
) -> Result<HashMap<ProductId, Product>> {
    let mut found = HashMap::with_capacity(ids.len());
    for ids in ids.chunks(IN_BINDS) {
        for row in how(named(tx, ids)).all(tx.db()).await? {
            let product = decode(row)?;
            found.insert(product.id.clone(), product);
        }
    }
    Ok(found)
}

fn named(tx: &Tx, ids: &[ProductId]) -> Select<row::Entity> {
    row::Entity::find()
        .filter(row::Column::TenantId.eq(tx.tenant()))
        .filter(row::Column::Id.is_in(ids.iter().map(ProductId::as_str)))
}

fn models(tx: &Tx, products: &[&Product]) -> Result<Vec<row::ActiveModel>> {
    products.iter().map(|one| encode(tx, one)).collect()
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
        id: ProductId::trusted(row.id),
        title: row.title,
        slug: row.slug,
        product_type: row.product_type,
        attributes: properties(&row.attributes)?,
        create_time: Timestamp::from_micros(row.create_time),
        update_time: Timestamp::from_micros(row.update_time),
    })
}
