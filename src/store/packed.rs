//! Reads many rows as one, which has the values of each column joined together. The drivers take
//! several times longer for a row than the databases do.

use std::str::Split;

use sea_orm::{
    ConnectionTrait as _, QueryResult, TryGetError, TryGetable,
    sea_query::{Alias, Expr, ExprTrait as _, Func, FunctionCall, Query, SelectStatement},
};

use super::tx::Tx;
use crate::{
    domain::{Error, Result},
    store::row::count_from_row,
};

/// The size of a row in bytes, a column of the rows of [`read_small`].
pub(super) const BYTES: &str = "bytes";

/// Rows, read as one.
#[derive(Debug, Default)]
pub(super) struct Packed(Vec<Column>);

/// Rows of limited size, read as one, and what all rows have together.
#[derive(Debug)]
pub(super) struct Small {
    pub(super) rows: Packed,
    /// The last id.
    pub(super) last: String,
    /// The size of all rows.
    pub(super) bytes: usize,
    /// The size of the largest row.
    pub(super) largest: usize,
}

/// The values of a column as texts, in the order of the rows.
#[derive(Debug)]
struct Column {
    values: String,
    /// The length of each value in bytes, in decimal digits, separated by commas.
    lengths: String,
}

/// The values of rows: those of the first row in the order of the columns, then those of the next.
#[derive(Debug)]
pub(super) struct Values<'a> {
    columns: Vec<Unread<'a>>,
    next: usize,
}

#[derive(Debug)]
struct Unread<'a> {
    values: &'a str,
    lengths: Split<'a, char>,
}

/// Reads the rows of a statement with the given columns, which must be texts and not NULL. The order
/// of the rows is not defined.
pub(super) async fn read(tx: &Tx, rows: SelectStatement, columns: &[&str]) -> Result<Packed> {
    let packed = joined(rows, columns, |joined| joined);
    match tx.db().query_one(&packed).await? {
        Some(row) => Packed::read(&row, columns),
        None => Ok(Packed::default()),
    }
}

/// Like [`read`], for rows with an `id` and their size, without those of more than `max` bytes.
/// `None` if there are no rows at all.
pub(super) async fn read_small(
    tx: &Tx,
    rows: SelectStatement,
    columns: &[&str],
    max: usize,
) -> Result<Option<Small>> {
    let bytes = || Expr::col(Alias::new(BYTES));
    let is_small = bytes().lte(i64::try_from(max).unwrap_or(i64::MAX));
    let mut packed = joined(rows, columns, |joined| joined.filter(is_small.clone()));
    packed
        .expr(Func::max(Expr::col(Alias::new("id"))))
        .expr(Expr::from(Func::sum(bytes())).cast_as("bigint"))
        .expr(Func::max(bytes()));
    let Some(row) = tx.db().query_one(&packed).await? else {
        return Ok(None);
    };
    let at = 2 * columns.len();
    let Some(last) = row.try_get_by_index(at)? else {
        return Ok(None);
    };
    let size = |at| Ok::<_, Error>(count_from_row(row.try_get_by_index(at)?) as usize);
    Ok(Some(Small {
        rows: Packed::read(&row, columns)?,
        last,
        bytes: size(at + 1)?,
        largest: size(at + 2)?,
    }))
}

/// Selects the values of each column, joined together by functions that `which` may change, and
/// their lengths.
fn joined(
    rows: SelectStatement,
    columns: &[&str],
    which: impl Fn(FunctionCall) -> FunctionCall,
) -> SelectStatement {
    let joined = |value: Expr, separator| {
        let joined = Func::cust("string_agg").arg(value);
        which(joined.arg(Expr::cust(separator)))
    };
    let mut packed = Query::select();
    for column in columns {
        let text = || Expr::col(Alias::new(*column));
        let length = Expr::from(Func::cust("octet_length").arg(text()));
        packed
            .expr(joined(text(), "''"))
            .expr(joined(length.cast_as("text"), "','"));
    }
    packed.from_subquery(rows, "packed").to_owned()
}

impl Column {
    /// The column whose values are at that index of the row; `None` if there are no rows.
    fn read(row: &QueryResult, at: usize) -> Result<Option<Self>, TryGetError> {
        let text = |at| Option::<String>::try_get_by_index(row, at);
        let column = text(at)?.zip(text(at + 1)?);
        Ok(column.map(|(values, lengths)| Self { values, lengths }))
    }
}

impl Packed {
    /// The columns, which are the first ones of the row.
    fn read(row: &QueryResult, columns: &[&str]) -> Result<Self> {
        let columns = (0..columns.len()).map(|at| Column::read(row, 2 * at));
        let columns: Result<_, _> = columns.filter_map(Result::transpose).collect();
        Ok(Self(columns.map_err(sea_orm::DbErr::from)?))
    }

    /// The values.
    pub(super) fn values(&self) -> Values<'_> {
        let columns = self.0.iter().map(|column| Unread {
            values: &column.values,
            lengths: column.lengths.split(','),
        });
        Values {
            columns: columns.collect(),
            next: 0,
        }
    }
}

impl<'a> Values<'a> {
    /// Whether there is no row left.
    pub(super) fn is_at_end(&self) -> bool {
        let mut first = self.columns.first().map(|column| column.lengths.clone());
        first.as_mut().and_then(Iterator::next).is_none()
    }

    /// The next value.
    ///
    /// # Errors
    /// If there is none, or if the lengths do not fit the values.
    pub(super) fn next(&mut self) -> Result<&'a str> {
        let at = self.next;
        self.next = (at + 1) % self.columns.len().max(1);
        let value = self.columns.get_mut(at).and_then(Unread::next);
        value.ok_or_else(|| Error::internal("a column has fewer values than rows"))
    }
}

impl<'a> Unread<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let length = self.lengths.next()?.parse().ok()?;
        let (value, rest) = self.values.split_at_checked(length)?;
        self.values = rest;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed<const N: usize>(columns: [(&str, &str); N]) -> Packed {
        let columns = columns.map(|(values, lengths)| Column {
            values: values.into(),
            lengths: lengths.into(),
        });
        Packed(columns.into())
    }

    #[test]
    fn values_are_read_row_by_row() {
        let packed = packed([("ab,ü", "1,2,2"), ("-17", "2,0,1")]);
        let mut values = packed.values();
        let mut texts = Vec::new();
        while !values.is_at_end() {
            texts.push((values.next().unwrap(), values.next().unwrap()));
        }
        assert_eq!(texts, [("a", "-1"), ("b,", ""), ("ü", "7")]);
        assert!(values.next().is_err());
    }

    #[test]
    fn no_rows_have_no_values() {
        assert!(Packed::default().values().is_at_end());
    }

    #[test]
    fn columns_that_do_not_fit_are_errors() {
        for (values, lengths) in [("a", "2"), ("ü", "1"), ("a", "x"), ("", "")] {
            let packed = packed([(values, lengths)]);
            packed.values().next().unwrap_err();
        }
    }
}
