//! Collections without their children: reads, row locks and writes. [`super::children`] has the
//! lists, [`super::listing`] the queries with filters.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait as _, ConnectionTrait as _, EntityTrait as _, Iterable as _, QueryFilter as _,
    QueryTrait as _, Select,
    sea_query::{
        DynIden, Expr, ExprTrait as _, Func, LockBehavior, LockType, Query, SelectStatement,
    },
};

use super::{
    entity::collection as row,
    error::broken_constraint,
    row::{count_from_row, count_to_row, decode, encode},
    sql::Sql,
    statements::Write,
    tx::Tx,
    wanted::{self, Wanted},
};
use crate::domain::{
    Collection, CollectionId, Error, Locale, Reason, Result, Rules, Slug, Timestamp,
    collection::version_after,
};

/// The collection with that id.
///
/// # Errors
/// If the database fails.
pub async fn get(tx: &Tx, id: &CollectionId) -> Result<Option<Collection>> {
    let row = by_id(tx, id).one(tx.db()).await?;
    row.map(decode).transpose()
}

/// The collection with that slug.
///
/// # Errors
/// If the database fails.
pub async fn get_by_slug(tx: &Tx, slug: &Slug) -> Result<Option<Collection>> {
    let row = all(tx)
        .filter(row::Column::Slug.eq(slug.as_str()))
        .one(tx.db())
        .await?;
    row.map(decode).transpose()
}

/// The collections with these ids, in no particular order. Missing ones are left out.
///
/// # Errors
/// If the database fails.
pub async fn get_many(tx: &Tx, ids: &[CollectionId]) -> Result<Vec<Collection>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = named(tx, ids, |select| {
        select.columns(columns());
    })?;
    decode_all(wanted::models(tx, &rows).await?)
}

/// The approximate sizes of collections, in bytes. Missing collections are left out.
///
/// # Errors
/// If the database fails.
pub async fn sizes(tx: &Tx, ids: &[CollectionId]) -> Result<HashMap<CollectionId, usize>> {
    let rows = named(tx, ids, |select| {
        select
            .column(row::Column::Id.as_column_ref())
            .expr_as(size(), "bytes");
    })?;
    let rows: Vec<(String, i64)> = wanted::tuples(tx, &rows).await?;
    let size = |(id, size)| (CollectionId::trusted(id), count_from_row(size) as usize);
    Ok(rows.into_iter().map(size).collect())
}

/// The size of a row in bytes, counting only the columns that may be large.
pub(super) fn size() -> Expr {
    let bytes =
        |column: row::Column| Expr::from(Func::cust("octet_length").arg(column.into_expr()));
    let rules = Func::coalesce([bytes(row::Column::Rules), 0.into()]);
    [
        row::Column::Texts,
        row::Column::Images,
        row::Column::CustomProperties,
    ]
    .map(bytes)
    .into_iter()
    .fold(rules.into(), |sum: Expr, part| sum.add(part))
    .cast_as("bigint")
}

/// Those of the ids that belong to existing collections.
///
/// # Errors
/// If the database fails.
pub async fn existing(tx: &Tx, ids: &[CollectionId]) -> Result<HashSet<CollectionId>> {
    those(tx, ids, |_| {}).await
}

/// Those of the ids that belong to existing smart collections.
///
/// # Errors
/// If the database fails.
pub async fn smart(tx: &Tx, ids: &[CollectionId]) -> Result<HashSet<CollectionId>> {
    those(tx, ids, |select| {
        select.and_where(Expr::col(row::Column::Smart.as_column_ref()));
    })
    .await
}

/// Those of the ids that belong to collections to which `narrow` limits the statement.
async fn those(
    tx: &Tx,
    ids: &[CollectionId],
    narrow: impl FnOnce(&mut SelectStatement),
) -> Result<HashSet<CollectionId>> {
    if ids.is_empty() {
        return Ok(HashSet::new());
    }
    let rows = named(tx, ids, |select| {
        select.column(row::Column::Id.as_column_ref());
        narrow(select);
    })?;
    let found: Vec<String> = wanted::tuples(tx, &rows).await?;
    Ok(found.into_iter().map(CollectionId::trusted).collect())
}

/// Locks collections until the transaction ends and returns each with whether rules of others may
/// reference it. Rows are locked in the order of their ids, so that two writers of the same
/// collections wait for each other instead of deadlocking.
pub(super) async fn lock(tx: &Tx, ids: &[CollectionId]) -> Result<Vec<(Collection, bool)>> {
    lock_as(tx, ids, None).await
}

/// Like [`lock`], but skips collections that another transaction has locked.
pub(super) async fn lock_free(tx: &Tx, ids: &[CollectionId]) -> Result<Vec<(Collection, bool)>> {
    lock_as(tx, ids, Some(LockBehavior::SkipLocked)).await
}

async fn lock_as(
    tx: &Tx,
    ids: &[CollectionId],
    behavior: Option<LockBehavior>,
) -> Result<Vec<(Collection, bool)>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = named(tx, ids, |select| {
        lock_rows(select.columns(columns()), behavior);
    })?;
    let rows: Vec<row::Model> = wanted::models(tx, &rows).await?;
    let decode = |row: row::Model| {
        let named = row.named;
        Ok((decode(row)?, named))
    };
    rows.into_iter().map(decode).collect()
}

/// Locks collections like [`lock`], but reads only what is needed to change lists and versions.
pub(super) async fn lock_heads(tx: &Tx, ids: &[CollectionId]) -> Result<Vec<Head>> {
    heads(tx, ids, None).await
}

/// Like [`lock_heads`], but skips rows that another transaction has locked: for callers that hold
/// later locks and thus must not wait.
pub(super) async fn lock_free_heads(tx: &Tx, ids: &[CollectionId]) -> Result<Vec<Head>> {
    heads(tx, ids, Some(LockBehavior::SkipLocked)).await
}

async fn heads(tx: &Tx, ids: &[CollectionId], behavior: Option<LockBehavior>) -> Result<Vec<Head>> {
    let rows = named(tx, ids, |select| {
        let columns = [
            row::Column::Id,
            row::Column::Version,
            row::Column::UpdateTime,
            row::Column::Smart,
            row::Column::Named,
        ];
        lock_rows(
            select.columns(columns.map(|column| column.as_column_ref())),
            behavior,
        );
    })?;
    let rows: Vec<(String, i64, i64, bool, bool)> = wanted::tuples(tx, &rows).await?;
    let head = |(id, version, update_time, smart, named)| Head {
        id: CollectionId::trusted(id),
        version,
        update_time,
        smart,
        named,
    };
    Ok(rows.into_iter().map(head).collect())
}

fn lock_rows(select: &mut SelectStatement, behavior: Option<LockBehavior>) {
    match behavior {
        None => select.lock_exclusive(),
        Some(behavior) => select.lock_with_behavior(LockType::Update, behavior),
    };
}

/// The part of a collection that is needed to change its lists and its version.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) id: CollectionId,
    pub(super) version: i64,
    update_time: i64,
    pub(super) smart: bool,
    /// Whether rules of other collections may reference it.
    pub(super) named: bool,
}

impl Head {
    /// Moves on to the next version; see [`Collection::touch`].
    pub(super) fn touch(&mut self, now: Timestamp) {
        self.version = version_after(self.version, now);
        self.update_time = Ord::max(self.update_time, now.micros());
    }
}

/// The columns of a collection that a change of its lists or links affects.
#[derive(Debug)]
pub(super) struct CountsUpdate {
    head: Head,
    /// The number of products; `None` if it did not change.
    pub(super) products: Option<u64>,
    /// The number of child collections; `None` if it did not change.
    pub(super) collections: Option<u64>,
}

impl CountsUpdate {
    pub(super) fn of(collection: &Collection) -> Self {
        Self {
            head: Head {
                id: collection.id.clone(),
                version: collection.version,
                update_time: collection.update_time.micros(),
                smart: collection.kind.is_smart(),
                named: false,
            },
            products: Some(collection.product_count),
            collections: Some(collection.collection_count),
        }
    }

    pub(super) fn of_head(head: Head) -> Self {
        Self {
            head,
            products: None,
            collections: None,
        }
    }
}

/// Inserts a new collection and returns it. If its slug is taken and was not chosen by the client,
/// it gets another.
pub(super) async fn insert(
    tx: &Tx,
    mut collection: Collection,
    default_locale: &Locale,
) -> Result<Collection> {
    let (same_id, same_slug) = names_taken(tx, &collection).await?;
    if same_id {
        return Err(id_taken(&collection.id));
    }
    if let Some(holder) = same_slug {
        replace_slug(&mut collection, &holder)?;
    }
    let row = encode(&tx.tenant, &collection, default_locale)?;
    row::Entity::insert(row)
        .exec_without_returning(tx.db())
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
        .exec_without_returning(tx.db())
        .await?;
    Ok(())
}

/// Updates a locked collection, whose state was `before`, and returns it. If its slug is taken and
/// was not chosen by the client, it gets another.
pub(super) async fn update(
    tx: &Tx,
    before: &Collection,
    mut collection: Collection,
    default_locale: &Locale,
) -> Result<Collection> {
    let has_slug = before.handle.slug == collection.handle.slug;
    if !has_slug && let Some(holder) = names_taken(tx, &collection).await?.1 {
        replace_slug(&mut collection, &holder)?;
    }
    let mut row = encode(&tx.tenant, &collection, default_locale)?;
    // SQLite rewrites the entries of an index if any of its columns is set, even to the same value.
    row.tenant_id = NotSet;
    row.id = NotSet;
    row.create_time = NotSet;
    if has_slug {
        row.slug = NotSet;
    }
    if before.active == collection.active {
        row.active = NotSet;
    }
    // Updated by key and without reading back: the result is known.
    let update = row::Entity::update_many()
        .set(row)
        .filter(row::Column::TenantId.eq(tx.tenant()))
        .filter(row::Column::Id.eq(collection.id.as_str()));
    // Without a new slug, no unique constraint can fail, so nobody needs the result now.
    if has_slug {
        tx.db().later(Write {
            statement: update.build(tx.db().get_database_backend()),
            rows: 1,
            links: before.active != collection.active,
        });
    } else {
        let updated = update.exec(tx.db()).await;
        updated.map_err(|error| taken(error, &collection))?;
    }
    Ok(collection)
}

/// Writes the child counts and versions of locked collections, in one buffered statement.
pub(super) fn update_counts(tx: &Tx, changed: &[CountsUpdate]) -> Result<()> {
    // Without MATERIALIZED, SQLite would parse the JSON again for each collection of the tenant.
    // With it, SQLite knows nothing about the rows, so it looks up each collection by key.
    const COUNTS: Sql = Sql {
        sqlite: "WITH new AS MATERIALIZED (SELECT $1 AS tenant_id, key AS id, \
            value ->> 0 AS products, value ->> 1 AS collections, \
            value ->> 2 AS update_time, value ->> 3 AS version FROM json_each($2)) \
            UPDATE collections SET product_count = coalesce(new.products, product_count), \
            collection_count = coalesce(new.collections, collection_count), \
            update_time = new.update_time, version = new.version FROM new \
            WHERE collections.tenant_id = new.tenant_id AND collections.id = new.id",
        // Rows are found by `ctid`, which only key lookups can give. The document is parsed once
        // per column, and each value is then looked up in it by key.
        postgres: "UPDATE collections SET \
            product_count = coalesce(((SELECT $2::jsonb) -> id ->> 0)::bigint, product_count), \
            collection_count = \
            coalesce(((SELECT $2::jsonb) -> id ->> 1)::bigint, collection_count), \
            update_time = ((SELECT $2::jsonb) -> id ->> 2)::bigint, \
            version = ((SELECT $2::jsonb) -> id ->> 3)::bigint \
            WHERE ctid = ANY (ARRAY(SELECT (SELECT ctid FROM collections \
            WHERE tenant_id = $1 AND id = changed.key) \
            FROM json_object_keys($2::json) AS changed(key)))",
    };
    if changed.is_empty() {
        return Ok(());
    }
    let values = changed.iter().map(|it| {
        let (products, collections) = (
            it.products.map(count_to_row),
            it.collections.map(count_to_row),
        );
        let Head {
            id,
            version,
            update_time,
            smart: _,
            named: _,
        } = &it.head;
        (id.as_str(), (products, collections, update_time, version))
    });
    let values: BTreeMap<_, _> = values.collect();
    let values = serde_json::to_string(&values).map_err(Error::internal)?;
    let values = [tx.tenant().into(), values.into()];
    tx.db().later(Write {
        statement: COUNTS.statement(tx, values),
        rows: changed.len() as u64,
        links: false,
    });
    Ok(())
}

/// Marks collections as referenced by rules of others. The mark is never removed.
pub(super) async fn set_named(tx: &Tx, ids: &[CollectionId]) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let ids = Wanted::new(tx, row::Column::Id, ids.iter().map(CollectionId::as_str))?;
    row::Entity::update_many()
        .set(row::ActiveModel {
            named: Set(true),
            ..row::ActiveModel::default()
        })
        .filter(ids.condition(row::Entity, row::Column::TenantId.eq(tx.tenant())))
        .filter(row::Column::Named.eq(false))
        .exec(tx.db())
        .await?;
    Ok(())
}

/// The collections that the rules name and that do not exist.
pub(super) async fn missing(tx: &Tx, rules: &Rules) -> Result<BTreeSet<CollectionId>> {
    let named: Vec<_> = rules.named_ids().collect();
    let existing = existing(tx, &named).await?;
    let missing = named.into_iter().filter(|id| !existing.contains(id));
    Ok(missing.collect())
}

/// Those of these collections that exist and are not marked as referenced by rules of others.
pub(super) async fn unnamed(tx: &Tx, ids: &[CollectionId]) -> Result<BTreeSet<CollectionId>> {
    if ids.is_empty() {
        return Ok(BTreeSet::new());
    }
    let rows = named(tx, ids, |select| {
        select
            .column(row::Column::Id.as_column_ref())
            .and_where(row::Column::Named.eq(false));
    })?;
    let found: Vec<String> = wanted::tuples(tx, &rows).await?;
    Ok(found.into_iter().map(CollectionId::trusted).collect())
}

/// Removes a collection's row.
pub(super) async fn delete(tx: &Tx, id: &CollectionId) -> Result<()> {
    row::Entity::delete_by_id((tx.tenant().to_owned(), id.to_string()))
        .exec(tx.db())
        .await?;
    Ok(())
}

pub(super) fn all(tx: &Tx) -> Select<row::Entity> {
    row::Entity::find().filter(row::Column::TenantId.eq(tx.tenant()))
}

fn by_id(tx: &Tx, id: &CollectionId) -> Select<row::Entity> {
    all(tx).filter(row::Column::Id.eq(id.as_str()))
}

/// A statement on the collections with these ids, in the order in which locks must be taken.
fn named(
    tx: &Tx,
    ids: &[CollectionId],
    what: impl FnOnce(&mut SelectStatement),
) -> Result<SelectStatement> {
    let named = Wanted::new(tx, row::Column::Id, ids.iter().map(CollectionId::as_str))?;
    Ok(named.select(row::Entity, |select| {
        select.and_where(row::Column::TenantId.eq(tx.tenant()));
        what(select);
    }))
}

fn columns() -> impl Iterator<Item = (DynIden, DynIden)> {
    row::Column::iter().map(|column| column.as_column_ref())
}

fn decode_all(rows: Vec<row::Model>) -> Result<Vec<Collection>> {
    rows.into_iter().map(decode).collect()
}

/// Whether a collection with the same id exists, and the id of another one with the same slug.
async fn names_taken(tx: &Tx, collection: &Collection) -> Result<(bool, Option<String>)> {
    let of = |condition: Expr| {
        let mut select = Query::select();
        select
            .column(row::Column::Id)
            .from(row::Entity)
            .and_where(row::Column::TenantId.eq(tx.tenant()))
            .and_where(condition);
        select
    };
    let id = collection.id.as_str();
    let slug = row::Column::Slug.eq(collection.handle.slug.as_str());
    let slug = of(slug.and(row::Column::Id.ne(id)));
    let slug = Expr::SubQuery(None, Box::new(slug.into()));
    let mut select = Query::select();
    select
        .expr_as(Expr::exists(of(row::Column::Id.eq(id))), "same_id")
        .expr_as(slug, "same_slug");
    let found = wanted::tuples(tx, &select).await?;
    Ok(found.into_iter().next().unwrap_or_default())
}

/// Gives a collection another slug than that of `holder`, or fails if the client chose it.
fn replace_slug(collection: &mut Collection, holder: &str) -> Result<()> {
    if collection.handle.chosen {
        let slug = collection.handle.slug.as_str();
        let message = format!("collection {holder:?} has the slug {slug:?}");
        return Err(Error::new(Reason::SlugTaken, message).about(holder));
    }
    collection.handle.slug = collection.slug_of_id();
    Ok(())
}

/// The error for a violated unique constraint: another transaction was faster.
fn taken(error: sea_orm::DbErr, collection: &Collection) -> Error {
    match broken_constraint(&error) {
        Some(constraint) if constraint.contains("slug") => {
            let slug = collection.handle.slug.as_str();
            let message = format!("another collection has the slug {slug:?}");
            Error::new(Reason::SlugTaken, message)
        }
        Some(_) => id_taken(&collection.id),
        None => error.into(),
    }
}

fn id_taken(id: &CollectionId) -> Error {
    Error::new(Reason::IdTaken, format!("collection {id:?} already exists")).about(id.as_str())
}
