//! The usual way to store an ordered list: a row per child with its position, where every change
//! renumbers all rows behind it. `endcap demo` compares it with this service. It is a separate file
//! of the same SQLite with the same settings.

use std::path::Path;

use sea_orm::{
    ConnectionTrait as _, DatabaseConnection, DbBackend, DbErr, QueryResult, Statement,
    TransactionTrait as _, Value,
};

use crate::store::{Database, sqlite_options};

type Result<T> = std::result::Result<T, DbErr>;

const COLLECTION: &str = "everything";

/// The two orders that any such table needs: by child and by position. The latter can't be unique,
/// because SQLite checks uniqueness after each row, so renumbering in one statement would fail.
const SCHEMA: &str = "\
CREATE TABLE positions (collection text NOT NULL, child text NOT NULL, position bigint NOT NULL, \
PRIMARY KEY (collection, child)) WITHOUT ROWID; \
CREATE INDEX positions_in_order ON positions (collection, position)";

/// A list in such a table.
#[derive(Debug)]
pub(super) struct Positions {
    db: DatabaseConnection,
    count: u32,
}

impl Positions {
    /// Creates the file, with a list of `count` children.
    pub(super) async fn create(database: &Database, path: &Path, count: u32) -> Result<Self> {
        let db = sea_orm::Database::connect(sqlite_options(database, path, true)).await?;
        db.execute_unprepared(SCHEMA).await?;
        let insert = "WITH RECURSIVE places (place) AS \
                      (SELECT 0 UNION ALL SELECT place + 1 FROM places WHERE place + 1 < ?) \
                      INSERT INTO positions (collection, child, position) \
                      SELECT ?, printf('sku-%07d', place), place FROM places";
        db.execute_raw(statement(insert, [count.into(), COLLECTION.into()]))
            .await?;
        Ok(Self { db, count })
    }

    /// The number of children that the list was created with.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Moves the last child to the front.
    pub(super) async fn move_last_first(&self) -> Result<()> {
        let last = i64::from(self.count) - 1;
        let find = "SELECT child FROM positions WHERE collection = ? AND position = ?";
        let found = self.rows(find, [COLLECTION.into(), last.into()]).await?;
        let child: Option<String> = found
            .first()
            .map(|row| row.try_get_by_index(0))
            .transpose()?;
        let shift =
            "UPDATE positions SET position = position + 1 WHERE collection = ? AND position < ?";
        let put = "UPDATE positions SET position = 0 WHERE collection = ? AND child = ?";
        let tx = self.db.begin().await?;
        tx.execute_raw(statement(shift, [COLLECTION.into(), last.into()]))
            .await?;
        tx.execute_raw(statement(put, [COLLECTION.into(), child.into()]))
            .await?;
        tx.commit().await
    }

    /// Inserts a child at the front.
    pub(super) async fn insert_first(&self, child: &str) -> Result<()> {
        let shift = "UPDATE positions SET position = position + 1 WHERE collection = ?";
        let put = "INSERT INTO positions (collection, child, position) VALUES (?, ?, 0)";
        let tx = self.db.begin().await?;
        tx.execute_raw(statement(shift, [COLLECTION.into()]))
            .await?;
        tx.execute_raw(statement(put, [COLLECTION.into(), child.into()]))
            .await?;
        tx.commit().await
    }

    /// Reads `count` children from the position `start` on.
    pub(super) async fn page(&self, start: u32, count: u32) -> Result<usize> {
        let page = "SELECT child FROM positions WHERE collection = ? AND position >= ? \
                    AND position < ? ORDER BY position";
        let values = [
            COLLECTION.into(),
            start.into(),
            start.saturating_add(count).into(),
        ];
        Ok(self.rows(page, values).await?.len())
    }

    /// Looks up the position of a child.
    pub(super) async fn find(&self, child: &str) -> Result<Option<i64>> {
        let find = "SELECT position FROM positions WHERE collection = ? AND child = ?";
        let found = self.rows(find, [COLLECTION.into(), child.into()]).await?;
        found.first().map(|row| row.try_get_by_index(0)).transpose()
    }

    /// Closes the file.
    pub(super) async fn close(self) {
        // An error does not matter, as the file is removed.
        let _ = self.db.close().await;
    }

    async fn rows<const N: usize>(
        &self,
        sql: &str,
        values: [Value; N],
    ) -> Result<Vec<QueryResult>> {
        self.db.query_all_raw(statement(sql, values)).await
    }
}

fn statement<const N: usize>(sql: &str, values: [Value; N]) -> Statement {
    Statement::from_sql_and_values(DbBackend::Sqlite, sql, values)
}
