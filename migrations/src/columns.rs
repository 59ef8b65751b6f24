//! The columns that all tables are made of.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

/// Text that compares byte by byte: SQLite's always does, PostgreSQL's by the
/// collation "C".
pub(crate) fn text(backend: DbBackend, name: impl IntoIden) -> ColumnDef {
    let mut column = ColumnDef::new(name);
    if backend == DbBackend::Postgres {
        column.custom("text COLLATE \"C\"");
    } else {
        column.text();
    }
    column.not_null();
    column
}

pub(crate) fn integer(name: impl IntoIden) -> ColumnDef {
    let mut column = ColumnDef::new(name);
    column.big_integer().not_null();
    column
}
