//! Selects rows by a set of values of one column, so that each row is found by an index lookup,
//! whatever the query planner assumes about the table.
//!
//! With `IN`, the planner may choose to read all rows of the tenant and filter them. PostgreSQL
//! does so without statistics, and SQLite if that yields the requested order. Here the values are
//! bound as one JSON array, which is the left side of a join that no planner can reorder. It is
//! also the same statement text for any number of values.

use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait as _, DbBackend, EntityTrait, FromQueryResult,
    QueryResult, TryGetableMany,
    sea_query::{
        Asterisk, Expr, ExprTrait as _, Func, FunctionCall, IntoIden as _, Query, SelectStatement,
        TableRef,
    },
};

use super::{entity::member, tx::Tx};
use crate::domain::{Error, Result};

/// The alias of the values, a table with one column.
const WANTED: &str = "wanted";
const FOUND: &str = "found";
/// The alias of the codes of lists, a table with one column, and of that column.
const CODES: &str = "codes";

/// The wanted value of a row, for conditions that a statement adds.
pub(super) fn value() -> Expr {
    Expr::col((WANTED, "value"))
}

/// A set of values of a column.
#[derive(Debug)]
pub(super) struct Wanted<C> {
    column: C,
    is_postgres: bool,
    /// A JSON array, sorted and without duplicates: rows are found, and locked, in that order.
    json: String,
    /// On PostgreSQL, the codes of the lists that each value is looked up in, one after the other.
    codes: Option<FunctionCall>,
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
            codes: None,
        })
    }

    /// A statement that selects the rows with the wanted values. `what` adds columns and further
    /// conditions; on PostgreSQL, grouping and ordering apply to each value separately. Columns
    /// must be qualified by their table, because SQLite's `json_each` has columns of its own.
    pub(super) fn select<E: EntityTrait>(
        &self,
        table: E,
        what: impl FnOnce(&mut SelectStatement),
    ) -> SelectStatement {
        let mut select = Query::select();
        if self.is_postgres {
            // OFFSET keeps the planner from flattening the subquery into a plain join.
            select.from(table).offset(0);
        } else {
            // SQLite never reorders a CROSS JOIN.
            select
                .from_function(self.values(), WANTED)
                .cross_join(table);
        }
        what(&mut select);
        select.and_where(self.is_wanted());
        if !self.is_postgres {
            return select;
        }
        let mut all = Query::select();
        all.column((FOUND, Asterisk))
            .from_function(self.values(), WANTED);
        if let Some(codes) = &self.codes {
            let codes = TableRef::FunctionCall(codes.clone(), CODES.into_iden());
            all.cross_join(codes);
            select.and_where(member::Column::List.into_expr().equals((CODES, CODES)));
        }
        all.join_lateral(
            sea_orm::JoinType::InnerJoin,
            select,
            FOUND,
            Condition::all().add(Expr::cust("true")),
        )
        .to_owned()
    }

    /// The condition that a row has a wanted value, for statements of another form. `key` is the
    /// condition on the columns before this one in the primary key. PostgreSQL finds the rows by
    /// their addresses (`ctid`), which only key lookups can give; an address changes with each
    /// update, so rows must be locked before they are changed.
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

    /// Restricts a statement that selects whole rows of the table, in its own order, to the wanted
    /// values; `key` as for [`Self::condition`].
    pub(super) fn narrow<E: EntityTrait>(&self, table: E, key: Expr, select: &mut SelectStatement) {
        if self.is_postgres {
            select.and_where(self.condition(table, key));
        } else {
            // To get the order, SQLite might prefer an index that provides it over an `IN` lookup.
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

impl Wanted<member::Column> {
    /// The same in lists with these codes, for [`Self::select`]. Without statistics, PostgreSQL may
    /// not look for a row with one of several codes in the index, but compare those of all members
    /// of the tenant.
    pub(super) fn in_lists(self, codes: &[i16]) -> Self {
        let codes = self.is_postgres.then(|| {
            let codes = Expr::cust(format!("ARRAY{codes:?}::smallint[]"));
            Func::cust("unnest").arg(codes)
        });
        Self { codes, ..self }
    }
}

/// Executes a statement and decodes its rows as tuples, by column position.
pub(super) async fn tuples<T: TryGetableMany>(tx: &Tx, select: &SelectStatement) -> Result<Vec<T>> {
    let rows = tx.db().query_all(select).await?;
    let tuple =
        |row: &QueryResult| Ok(T::try_get_many_by_index(row).map_err(sea_orm::DbErr::from)?);
    rows.iter().map(tuple).collect()
}

/// Executes a statement and decodes its rows as models, by column name.
pub(super) async fn models<M: FromQueryResult>(
    tx: &Tx,
    select: &SelectStatement,
) -> Result<Vec<M>> {
    let rows = tx.db().query_all(select).await?;
    rows.iter()
        .map(|row| Ok(M::from_query_result(row, "")?))
        .collect()
}
