//! Due times: when the passage of time next changes the result of an age condition for a product.
//!
//! A product's due time is in the future, or it has passed and the product is not evaluated yet. No
//! condition changes before the due time, so lists still have an overdue product as it was just
//! before it ([`Due::moment`]). Whoever writes the product, or processes it because it is due,
//! evaluates what changed since then. A due time is written by a transaction that has locked the
//! product, or the rules exclusively. A job that evaluates rules writes due times, too, and later
//! looks again at the products that others wrote in the meantime.

use std::collections::{BTreeSet, HashMap};

use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, DbBackend, EntityTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, Statement,
};

use crate::{
    domain::{Error, ProductId, Result, RuleSet, TenantId, Timestamp},
    store::{
        entity::due_evaluation as row,
        pool::Store,
        sql::Sql,
        tx::Tx,
        wanted::{self, Wanted},
    },
};

/// The number of overdue products whose tenants are looked up at a time. Few, so that PostgreSQL takes
/// the index even without statistics.
const EARLIEST: u64 = 100;

/// Rows per INSERT statement.
const CHUNK: usize = 10_000;

/// The database's clock, in microseconds since 1970. `now()` would be the start of the transaction.
const POSTGRES_CLOCK: &str = "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint";

/// A point in time, and the due times of some products.
#[derive(Clone, Debug)]
pub struct Due {
    /// The current time, by the database's clock.
    pub now: Timestamp,
    times: HashMap<ProductId, Timestamp>,
}

impl Due {
    /// The current time, without due times: for rules without age conditions.
    pub(in crate::store) fn never(tx: &Tx) -> Self {
        Self {
            now: tx.now,
            times: HashMap::new(),
        }
    }

    /// The current time and the due times of the given products.
    pub(in crate::store) async fn of_products(tx: &Tx, ids: &[ProductId]) -> Result<Self> {
        let ids = ids.iter().map(ProductId::as_str);
        let found = Wanted::new(tx, row::Column::ProductId, ids)?;
        let found = found.select(row::Entity, |select| {
            let columns = [row::Column::ProductId, row::Column::DueTime];
            select
                .columns(columns.map(|column| column.as_column_ref()))
                .and_where(row::Column::TenantId.eq(tx.tenant()));
        });
        let times = times(wanted::tuples(tx, &found).await?);
        let now = now(tx).await?;
        Ok(Self { now, times })
    }

    /// The current time and the due times of products for which `rules` are evaluated. Without age
    /// conditions in them, nothing is read.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn of_rules(tx: &Tx, rules: &RuleSet, ids: &[ProductId]) -> Result<Self> {
        if rules.has_ages() {
            Self::of_products(tx, ids).await
        } else {
            Ok(Self::never(tx))
        }
    }

    /// When the product is due, if known.
    pub(in crate::store) fn of(&self, id: &ProductId) -> Option<Timestamp> {
        self.times.get(id).copied()
    }

    /// The time as of which lists reflect the product: just before its due time if it is overdue,
    /// else now.
    pub fn moment(&self, id: &ProductId) -> Timestamp {
        match self.of(id) {
            Some(due) if due <= self.now => Timestamp::from_micros(due.micros() - 1),
            _ => self.now,
        }
    }
}

fn times(rows: Vec<(String, i64)>) -> HashMap<ProductId, Timestamp> {
    let rows = rows.into_iter();
    let time = |(id, time)| (ProductId::trusted(id), Timestamp::from_micros(time));
    rows.map(time).collect()
}

/// The current time, by the database's clock. SQLite runs in this process, so it is the local
/// clock.
///
/// # Errors
/// If the database fails.
pub async fn now(tx: &Tx) -> Result<Timestamp> {
    clock(tx.db()).await
}

async fn clock(db: &impl sea_orm::ConnectionTrait) -> Result<Timestamp> {
    let backend = db.get_database_backend();
    if backend != DbBackend::Postgres {
        return Ok(Timestamp::now());
    }
    let ask = Statement::from_string(backend, POSTGRES_CLOCK);
    let row = db.query_one_raw(ask).await?;
    let row = row.ok_or_else(|| Error::internal("the query for the time returned no row"))?;
    Ok(Timestamp::from_micros(row.try_get_by_index(0)?))
}

/// The tenants of the earliest overdue products, without those in `seen`. An index finds them,
/// whatever else is due later.
///
/// # Errors
/// If the database fails.
pub async fn tenants(store: &Store, seen: &BTreeSet<TenantId>) -> Result<BTreeSet<TenantId>> {
    let now = clock(&store.reader).await?;
    let seen = seen.iter().map(TenantId::as_str);
    let tenants: Vec<String> = row::Entity::find()
        .select_only()
        .column(row::Column::TenantId)
        .filter(row::Column::DueTime.lte(now.micros()))
        .filter(row::Column::TenantId.is_not_in(seen))
        .order_by_asc(row::Column::DueTime)
        .limit(EARLIEST)
        .into_tuple()
        .all(&store.reader)
        .await?;
    Ok(tenants.into_iter().map(TenantId::trusted).collect())
}

/// Up to `limit` overdue products of the tenant, the earliest first.
///
/// # Errors
/// If the database fails.
pub async fn products(tx: &Tx, limit: usize) -> Result<Vec<ProductId>> {
    let now = now(tx).await?;
    let products: Vec<String> = row::Entity::find()
        .select_only()
        .column(row::Column::ProductId)
        .filter(row::Column::TenantId.eq(tx.tenant()))
        .filter(row::Column::DueTime.lte(now.micros()))
        .order_by_asc(row::Column::DueTime)
        .limit(limit as u64)
        .into_tuple()
        .all(tx.db())
        .await?;
    Ok(products.into_iter().map(ProductId::trusted).collect())
}

/// Sets the due times of products; `None` removes one.
pub(in crate::store) async fn put(
    tx: &Tx,
    products: &[(&ProductId, Option<Timestamp>)],
) -> Result<()> {
    let done = products.iter().filter(|(_, due)| due.is_none());
    let done: Vec<_> = done.map(|(id, _)| id.as_str()).collect();
    if !done.is_empty() {
        let done = Wanted::new(tx, row::Column::ProductId, done)?;
        row::Entity::delete_many()
            .filter(done.condition(row::Entity, row::Column::TenantId.eq(tx.tenant())))
            .exec(tx.db())
            .await?;
    }
    let due = products.iter().filter_map(|(id, due)| Some((*id, (*due)?)));
    write(tx, &due.collect::<Vec<_>>(), "").await
}

/// Sets due times, except for products that are already due earlier.
///
/// # Errors
/// If the database fails.
pub async fn put_earlier(tx: &Tx, products: &[(ProductId, Timestamp)]) -> Result<()> {
    let earlier = " WHERE excluded.due_time < due_evaluations.due_time";
    let mut products: Vec<_> = products.iter().map(|(id, due)| (id, *due)).collect();
    // In the order in which all writers lock these rows.
    products.sort_unstable();
    write(tx, &products, earlier).await
}

async fn write(tx: &Tx, products: &[(&ProductId, Timestamp)], condition: &str) -> Result<()> {
    const ROWS: Sql = Sql {
        sqlite: "SELECT $1, one.value ->> 0, one.value ->> 1 FROM json_each($2) AS one WHERE true",
        postgres: "SELECT $1, one.value ->> 0, (one.value ->> 1)::bigint \
            FROM json_array_elements($2::json) AS one(value)",
    };
    let backend = tx.db().get_database_backend();
    let rows = ROWS.text(tx);
    let sql = format!(
        "INSERT INTO due_evaluations (tenant_id, product_id, due_time) {rows} \
        ON CONFLICT (tenant_id, product_id) DO UPDATE SET due_time = excluded.due_time{condition}"
    );
    for products in products.chunks(CHUNK) {
        let products = products.iter();
        let rows: Vec<_> = products
            .map(|(id, due)| (id.as_str(), due.micros()))
            .collect();
        let rows = serde_json::to_string(&rows).map_err(Error::internal)?;
        let values = [tx.tenant().into(), rows.into()];
        let insert = Statement::from_sql_and_values(backend, &sql, values);
        tx.db().execute_raw(insert).await?;
    }
    Ok(())
}
