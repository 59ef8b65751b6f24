//! Rows that are named by the values of one column: each found by itself, whatever a planner
//! believes of the table.
//!
//! An `IN` of many values leaves it to the planner whether it looks each of them up or reads
//! all rows of the tenant and keeps few. PostgreSQL without statistics does the latter, and so
//! does SQLite where that gives an order that is asked for. Here the values are bound as one
//! JSON array, the left side of a join that no planner can turn round. It is also one statement
//! with one text, however many values there are.

use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait as _, DbBackend, EntityTrait, FromQueryResult,
    QueryResult, TryGetableMany,
    sea_query::{Asterisk, Expr, ExprTrait as _, Func, FunctionCall, Query, SelectStatement},
};

use super::tx::Tx;
use crate::domain::{Error, Result};

/// The values, as a table of one column.
const WANTED: &str = "wanted";
const FOUND: &str = "found";

/// The rows of a table where a column has one of some values.
#[derive(Debug)]
pub(super) struct Wanted<C> {
    column: C,
    is_postgres: bool,
    /// Ascending, each once: rows are found, and locked, in that order.
    json: String,
}

impl<C: ColumnTrait> Wanted<C> {
    pub(super) fn new<'a>(
        tx: &Tx,
        column: C,
        values: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self> {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_unstable();
        values.dedup();
        Ok(Self {
            column,
            is_postgres: tx.db().get_database_backend() == DbBackend::Postgres,
            json: serde_json::to_string(&values).map_err(Error::internal)?,
        })
    }

    /// Reads them. `what` says what of them, and has the conditions next to the column's; what
    /// it groups or orders it does for each value apart on PostgreSQL. Columns need their tables'
    /// names: those of SQLite's function would be ambiguous.
    pub(super) fn select<E: EntityTrait>(
        &self,
        table: E,
        what: impl FnOnce(&mut SelectStatement),
    ) -> SelectStatement {
        let mut select = Query::select();
        if self.is_postgres {
            // The offset keeps the planner from making one join of both.
            select.from(table).offset(0);
        } else {
            // SQLite keeps the order of a cross join.
            select
                .from_function(self.values(), WANTED)
                .cross_join(table);
        }
        what(&mut select);
        select.and_where(self.is_wanted());
        if !self.is_postgres {
            return select;
        }
        Query::select()
            .column((FOUND, Asterisk))
            .from_function(self.values(), WANTED)
            .join_lateral(
                sea_orm::JoinType::InnerJoin,
                select,
                FOUND,
                Condition::all().add(Expr::cust("true")),
            )
            .to_owned()
    }

    /// That a row is one of them, for a statement that has its own form; `key` is what stands
    /// before the column in the table's key. PostgreSQL finds them by their addresses, which
    /// only a look-up by key can give, so rows that are changed must be locked before.
    pub(super) fn condition<E: EntityTrait>(&self, table: E, key: Expr) -> Expr {
        let mut select = Query::select();
        if !self.is_postgres {
            select
                .expr(Expr::col((WANTED, "value")))
                .from_function(self.values(), WANTED);
            return key.and(self.column.in_subquery(select));
        }
        let mut address = Query::select();
        address
            .expr(Expr::cust("ctid"))
            .from(table)
            .and_where(key)
            .and_where(self.is_wanted());
        select
            .expr(Expr::SubQuery(None, Box::new(address.into())))
            .from_function(self.values(), WANTED);
        let addresses = Func::cust("ARRAY").arg(Expr::SubQuery(None, Box::new(select.into())));
        Expr::cust("ctid").eq(Func::cust("ANY").arg(addresses))
    }

    /// Lets a statement that reads the table, whole rows and in an order of its own, read
    /// these alone; `key` as for [`Self::condition`].
    pub(super) fn narrow<E: EntityTrait>(&self, table: E, key: Expr, select: &mut SelectStatement) {
        if self.is_postgres {
            select.and_where(self.condition(table, key));
        } else {
            // For an order SQLite may prefer an index that has it to an `IN`.
            select
                .from_clear()
                .from_function(self.values(), WANTED)
                .cross_join(table)
                .and_where(self.is_wanted());
        }
    }

    fn is_wanted(&self) -> Expr {
        self.column.into_expr().equals((WANTED, "value"))
    }

    fn values(&self) -> FunctionCall {
        let json = Expr::value(self.json.as_str());
        if self.is_postgres {
            Func::cust("json_array_elements_text").arg(json.cast_as("json"))
        } else {
            Func::cust("json_each").arg(json)
        }
    }
}

/// The answer to a statement, its rows by the order of their columns.
pub(super) async fn tuples<T: TryGetableMany>(tx: &Tx, select: &SelectStatement) -> Result<Vec<T>> {
    let rows = tx.db().query_all(select).await?;
    let tuple =
        |row: &QueryResult| Ok(T::try_get_many_by_index(row).map_err(sea_orm::DbErr::from)?);
    rows.iter().map(tuple).collect()
}

/// The same by the names of their columns.
pub(super) async fn models<M: FromQueryResult>(
    tx: &Tx,
    select: &SelectStatement,
) -> Result<Vec<M>> {
    let rows = tx.db().query_all(select).await?;
    rows.iter()
        .map(|row| Ok(M::from_query_result(row, "")?))
        .collect()
}
