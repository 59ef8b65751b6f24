//! Collections without their children: reading, listing, writing.

use sea_orm::{
    ActiveValue::Set,
    ColumnTrait as _, Condition, EntityTrait as _, Order, PaginatorTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, Select,
    sea_query::{Expr, ExprTrait as _, LikeExpr, Query},
};

use super::{
    MAX_BINDS, Tx,
    children::list_code,
    entity::{collection as row, member},
    error::broken_constraint,
    row::{count_to_row, decode, encode},
};
use crate::domain::{
    ChildList, Collection, CollectionId, Error, Locale, Reason, Result, Slug, page::Start,
};

/// Which collections to list: those that satisfy all that is set.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The default locale's display name contains this, ignoring case.
    pub name: Option<String>,
    /// The id is one of these. Without this, roots are left out.
    pub ids: Option<Vec<CollectionId>>,
    /// This collection is a parent.
    pub parent: Option<CollectionId>,
    /// The kind; true is smart.
    pub smart: Option<bool>,
}

/// The collection with that id.
///
/// # Errors
/// Where the database fails.
pub async fn get(tx: &Tx, id: &CollectionId) -> Result<Option<Collection>> {
    let row = by_id(tx, id).one(&tx.db).await?;
    row.map(decode).transpose()
}

/// The collection with that slug.
///
/// # Errors
/// Where the database fails.
pub async fn get_by_slug(tx: &Tx, slug: &Slug) -> Result<Option<Collection>> {
    let row = all(tx)
        .filter(row::Column::Slug.eq(slug.as_str()))
        .one(&tx.db)
        .await?;
    row.map(decode).transpose()
}

/// The collections with those ids, in no order.
///
/// # Errors
/// Where the database fails.
pub async fn get_many(tx: &Tx, ids: &[CollectionId]) -> Result<Vec<Collection>> {
    let mut found = Vec::with_capacity(ids.len());
    for ids in ids.chunks(MAX_BINDS) {
        let rows = named(tx, ids).all(&tx.db).await?;
        for row in rows {
            found.push(decode(row)?);
        }
    }
    Ok(found)
}

/// The collection, locked against other writers until the transaction ends.
///
/// # Errors
/// Where the database fails.
pub async fn lock(tx: &Tx, id: &CollectionId) -> Result<Option<Collection>> {
    let row = by_id(tx, id).lock_exclusive().one(&tx.db).await?;
    row.map(decode).transpose()
}

/// The collections, locked in the order of their ids, so that two writers of the
/// same ones wait and don't deadlock.
///
/// # Errors
/// Where the database fails.
pub async fn lock_many(tx: &Tx, ids: &[CollectionId]) -> Result<Vec<Collection>> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    let mut found = Vec::with_capacity(ids.len());
    for ids in ids.chunks(MAX_BINDS) {
        let rows = named(tx, ids)
            .order_by(row::Column::Id, Order::Asc)
            .lock_exclusive()
            .all(&tx.db)
            .await?;
        for row in rows {
            found.push(decode(row)?);
        }
    }
    Ok(found)
}

/// Adds a new collection. Where its slug was not chosen and is taken, it gets
/// another, which the answer has.
///
/// # Errors
/// [`Reason::IdTaken`], [`Reason::SlugTaken`]; where the database fails.
pub async fn insert(
    tx: &Tx,
    mut collection: Collection,
    default_locale: &Locale,
) -> Result<Collection> {
    if get(tx, &collection.id).await?.is_some() {
        return Err(id_taken(&collection.id));
    }
    free_slug(tx, &mut collection).await?;
    let row = encode(&tx.tenant, &collection, default_locale)?;
    row::Entity::insert(row)
        .exec_without_returning(&tx.db)
        .await
        .map_err(|error| taken(error, &collection))?;
    Ok(collection)
}

pub(super) async fn insert_if_absent(
    tx: &Tx,
    collection: &Collection,
    default_locale: &Locale,
) -> Result<()> {
    let row = encode(&tx.tenant, collection, default_locale)?;
    row::Entity::insert(row)
        .on_conflict_do_nothing()
        .exec_without_returning(&tx.db)
        .await?;
    Ok(())
}

/// Writes a locked collection back. A slug that is not chosen and taken is
/// replaced, which the answer shows.
///
/// # Errors
/// [`Reason::SlugTaken`]; where the database fails.
pub async fn update(
    tx: &Tx,
    mut collection: Collection,
    default_locale: &Locale,
) -> Result<Collection> {
    free_slug(tx, &mut collection).await?;
    let row = encode(&tx.tenant, &collection, default_locale)?;
    // By the key and without reading back: what is written is known.
    row::Entity::update_many()
        .set(row)
        .filter(row::Column::TenantId.eq(tx.tenant()))
        .filter(row::Column::Id.eq(collection.id.as_str()))
        .exec(&tx.db)
        .await
        .map_err(|error| taken(error, &collection))?;
    Ok(collection)
}

/// Writes back how many children a locked collection has, and its version.
///
/// # Errors
/// Where the database fails.
pub async fn update_counts(tx: &Tx, collection: &Collection) -> Result<()> {
    row::Entity::update_many()
        .set(row::ActiveModel {
            product_count: Set(count_to_row(collection.product_count)),
            collection_count: Set(count_to_row(collection.collection_count)),
            update_time: Set(collection.update_time.micros()),
            version: Set(collection.version),
            ..row::ActiveModel::default()
        })
        .filter(row::Column::TenantId.eq(tx.tenant()))
        .filter(row::Column::Id.eq(collection.id.as_str()))
        .exec(&tx.db)
        .await?;
    Ok(())
}

/// Removes a collection's row.
///
/// # Errors
/// Where the database fails.
pub async fn delete(tx: &Tx, id: &CollectionId) -> Result<()> {
    row::Entity::delete_by_id((tx.tenant().to_owned(), id.to_string()))
        .exec(&tx.db)
        .await?;
    Ok(())
}

/// Moves the versions of collections, because a link to them came or went.
///
/// # Errors
/// Where the database fails.
pub async fn touch(tx: &Tx, ids: &[CollectionId]) -> Result<()> {
    let now = tx.now.micros();
    for ids in ids.chunks(MAX_BINDS) {
        let later = |column: row::Column, floor: sea_orm::sea_query::Expr| {
            Expr::case(Expr::col(column).lt(now), now).finally(floor)
        };
        row::Entity::update_many()
            .col_expr(
                row::Column::Version,
                later(row::Column::Version, Expr::col(row::Column::Version).add(1)).into(),
            )
            .col_expr(
                row::Column::UpdateTime,
                later(row::Column::UpdateTime, Expr::col(row::Column::UpdateTime)).into(),
            )
            .filter(row::Column::TenantId.eq(tx.tenant()))
            .filter(row::Column::Id.is_in(ids.iter().map(CollectionId::as_str)))
            .exec(&tx.db)
            .await?;
    }
    Ok(())
}

/// A page of collections, newest first, ties by id; and how many there are in all.
///
/// # Errors
/// Where the database fails.
pub async fn list(
    tx: &Tx,
    filter: &Filter,
    start: &Start,
    limit: usize,
) -> Result<(Vec<Collection>, u64)> {
    let matching = all(tx).filter(condition(tx, filter));
    let total = matching.clone().count(&tx.db).await?;
    let mut page = matching
        .order_by(row::Column::CreateTime, Order::Desc)
        .order_by(row::Column::Id, Order::Asc)
        .limit(u64::try_from(limit).unwrap_or(u64::MAX));
    match start {
        Start::After(None) => {}
        Start::After(Some((time, id))) => {
            let same_time = row::Column::CreateTime
                .eq(*time)
                .and(row::Column::Id.gt(id.as_str()));
            page = page.filter(row::Column::CreateTime.lt(*time).or(same_time));
        }
        Start::Offset(offset) => page = page.offset(*offset),
    }
    let rows = page.all(&tx.db).await?;
    let collections = rows.into_iter().map(decode).collect::<Result<_>>()?;
    Ok((collections, total))
}

fn all(tx: &Tx) -> Select<row::Entity> {
    row::Entity::find().filter(row::Column::TenantId.eq(tx.tenant()))
}

fn by_id(tx: &Tx, id: &CollectionId) -> Select<row::Entity> {
    all(tx).filter(row::Column::Id.eq(id.as_str()))
}

fn named(tx: &Tx, ids: &[CollectionId]) -> Select<row::Entity> {
    all(tx).filter(row::Column::Id.is_in(ids.iter().map(CollectionId::as_str)))
}

fn condition(tx: &Tx, filter: &Filter) -> Condition {
    let mut all = Condition::all();
    if let Some(name) = &filter.name {
        all = all.add(Expr::col(row::Column::SearchName).like(containing(&name.to_lowercase())));
    }
    match &filter.ids {
        Some(ids) => all = all.add(row::Column::Id.is_in(ids.iter().map(CollectionId::as_str))),
        None => {
            use crate::domain::ids::{NON_NAVIGABLE_ROOT, ROOT};
            all = all.add(row::Column::Id.is_not_in([ROOT, NON_NAVIGABLE_ROOT]));
        }
    }
    if let Some(parent) = &filter.parent {
        let children = Query::select()
            .column(member::Column::ChildId)
            .from(member::Entity)
            .and_where(member::Column::TenantId.eq(tx.tenant()))
            .and_where(member::Column::CollectionId.eq(parent.as_str()))
            .and_where(member::Column::List.eq(list_code(ChildList::Collections)))
            .to_owned();
        all = all.add(row::Column::Id.in_subquery(children));
    }
    if let Some(smart) = filter.smart {
        all = all.add(row::Column::Smart.eq(smart));
    }
    all
}

/// The pattern of texts that contain `text`.
pub(super) fn containing(text: &str) -> LikeExpr {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for c in text.chars() {
        if matches!(c, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(c);
    }
    pattern.push('%');
    LikeExpr::new(pattern).escape('!')
}

/// Sees to it that no other collection has the slug: replaces one that was made,
/// refuses one that was chosen.
async fn free_slug(tx: &Tx, collection: &mut Collection) -> Result<()> {
    let other = get_by_slug(tx, &collection.handle.slug).await?;
    if other.is_none_or(|other| other.id == collection.id) {
        return Ok(());
    }
    if collection.handle.chosen {
        return Err(slug_taken(collection));
    }
    collection.handle.slug = collection.slug_of_id();
    Ok(())
}

/// The error of an insert or update that another transaction's came before.
fn taken(error: sea_orm::DbErr, collection: &Collection) -> Error {
    match broken_constraint(&error) {
        Some(constraint) if constraint.contains("slug") => slug_taken(collection),
        Some(_) => id_taken(&collection.id),
        None => error.into(),
    }
}

fn slug_taken(collection: &Collection) -> Error {
    let slug = collection.handle.slug.as_str();
    Error::new(
        Reason::SlugTaken,
        format!("slug: {slug:?} is another collection's"),
    )
    .about(slug)
}

fn id_taken(id: &CollectionId) -> Error {
    Error::new(
        Reason::IdTaken,
        format!("id: collection {id:?} exists already"),
    )
    .about(id.as_str())
}
