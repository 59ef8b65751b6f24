//! One connection of a pool, in a transaction or for statements of their own.
//!
//! `SeaORM` writes the statements and reads the rows. Beginning is done here, for a transaction
//! begins in one round trip only where its isolation is said by the same message.

use std::sync::Arc;

use sea_orm::{
    ConnAcquireErr, ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr,
    Statement, Values,
    sqlx::{
        self, AssertSqlSafe, Executor as _, Pool, Postgres, Sqlite, Transaction,
        pool::PoolConnection,
    },
};
use sea_query_sqlx::SqlxValues;
use tokio::sync::Mutex;

/// The connections of a database. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) enum Source {
    Sqlite(Pool<Sqlite>),
    Postgres(Pool<Postgres>),
}

/// A connection. A transaction that is open when it is dropped is undone.
#[derive(Debug)]
pub(super) struct Connection {
    backend: DbBackend,
    /// None once its transaction has ended.
    held: Mutex<Option<Held>>,
}

#[derive(Debug)]
enum Held {
    Sqlite(PoolConnection<Sqlite>),
    SqliteTransaction(Transaction<'static, Sqlite>),
    Postgres(PoolConnection<Postgres>),
    PostgresTransaction(Transaction<'static, Postgres>),
}

impl Source {
    /// A connection for statements of their own.
    pub(super) async fn acquire(&self) -> Result<Connection, DbErr> {
        let held = match self {
            Self::Sqlite(pool) => pool.acquire().await.map(Held::Sqlite),
            Self::Postgres(pool) => pool.acquire().await.map(Held::Postgres),
        };
        self.connection(held)
    }

    /// A connection in a transaction that `begin` begins, which may say more than that.
    pub(super) async fn begin(&self, begin: &str) -> Result<Connection, DbErr> {
        let begin = AssertSqlSafe(begin.to_owned());
        let held = match self {
            Self::Sqlite(pool) => pool.begin_with(begin).await.map(Held::SqliteTransaction),
            Self::Postgres(pool) => {
                let begun = pool.begin_with(begin).await;
                begun.map(Held::PostgresTransaction)
            }
        };
        self.connection(held)
    }

    fn connection(&self, held: Result<Held, sqlx::Error>) -> Result<Connection, DbErr> {
        let held = held.map_err(|error| {
            if matches!(error, sqlx::Error::PoolTimedOut) {
                DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)
            } else if matches!(error, sqlx::Error::PoolClosed) {
                DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed)
            } else {
                DbErr::Conn(driver(error))
            }
        })?;
        Ok(Connection {
            backend: self.backend(),
            held: Mutex::new(Some(held)),
        })
    }

    pub(super) fn backend(&self) -> DbBackend {
        match self {
            Self::Sqlite(_) => DbBackend::Sqlite,
            Self::Postgres(_) => DbBackend::Postgres,
        }
    }

    /// How many connections are open, and how many of them are idle.
    pub(super) fn figures(&self) -> (u32, usize) {
        match self {
            Self::Sqlite(pool) => (pool.size(), pool.num_idle()),
            Self::Postgres(pool) => (pool.size(), pool.num_idle()),
        }
    }
}

impl Connection {
    /// Commits the transaction, which ends.
    pub(super) async fn commit(&self) -> Result<(), DbErr> {
        let ended = match self.held.lock().await.take() {
            Some(Held::SqliteTransaction(tx)) => tx.commit().await,
            Some(Held::PostgresTransaction(tx)) => tx.commit().await,
            Some(Held::Sqlite(_) | Held::Postgres(_)) | None => Ok(()),
        };
        ended.map_err(failed)
    }

    /// Undoes the transaction, which ends.
    pub(super) async fn rollback(&self) -> Result<(), DbErr> {
        let ended = match self.held.lock().await.take() {
            Some(Held::SqliteTransaction(tx)) => tx.rollback().await,
            Some(Held::PostgresTransaction(tx)) => tx.rollback().await,
            Some(Held::Sqlite(_) | Held::Postgres(_)) | None => Ok(()),
        };
        ended.map_err(failed)
    }
}

/// Does the same on whichever connection is held.
macro_rules! on {
    ($self:ident, $connection:ident => $run:expr) => {
        match &mut *$self.held.lock().await {
            Some(Held::Sqlite($connection)) => {
                let $connection = &mut **$connection;
                $run
            }
            Some(Held::SqliteTransaction($connection)) => {
                let $connection = &mut **$connection;
                $run
            }
            Some(Held::Postgres($connection)) => {
                let $connection = &mut **$connection;
                $run
            }
            Some(Held::PostgresTransaction($connection)) => {
                let $connection = &mut **$connection;
                $run
            }
            None => Err(DbErr::Custom("the transaction has ended".into())),
        }
    };
}

#[async_trait::async_trait]
impl ConnectionTrait for Connection {
    fn get_database_backend(&self) -> DbBackend {
        self.backend
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let (sql, values) = parts(statement);
        on!(self, connection => {
            let done = sqlx::query_with(sql, values).execute(connection).await;
            done.map(Into::into).map_err(failed)
        })
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let sql = AssertSqlSafe(sql.to_owned());
        on!(self, connection => connection.execute(sql).await.map(Into::into).map_err(failed))
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let (sql, values) = parts(statement);
        on!(self, connection => {
            let row = sqlx::query_with(sql, values).fetch_optional(connection).await;
            row.map(|row| row.map(Into::into)).map_err(failed)
        })
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let (sql, values) = parts(statement);
        on!(self, connection => {
            let rows = sqlx::query_with(sql, values).fetch_all(connection).await;
            let rows = rows.map_err(failed)?.into_iter();
            Ok(rows.map(Into::into).collect())
        })
    }
}

/// What is bound is never part of the text.
fn parts(statement: Statement) -> (AssertSqlSafe<String>, SqlxValues) {
    let values = statement.values.unwrap_or(Values(Vec::new()));
    (AssertSqlSafe(statement.sql), SqlxValues(values))
}

fn failed(error: sqlx::Error) -> DbErr {
    DbErr::Query(driver(error))
}

fn driver(error: sqlx::Error) -> RuntimeErr {
    RuntimeErr::SqlxError(Arc::new(error))
}
