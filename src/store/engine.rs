//! The true differences between the engines: how to connect, and how a write begins.

use std::{path::PathBuf, time::Duration};

use sea_orm::{
    ConnectOptions, DatabaseConnection, DatabaseTransaction, DbErr, SqliteTransactionMode,
    TransactionOptions, TransactionTrait as _, sqlx::sqlite,
};

use crate::domain::{Error, Result};

/// Which database engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The embedded one: a file, one process.
    Sqlite,
    /// A server, for more than one replica.
    Postgres,
}

/// Which database, and how to talk to it.
#[derive(Clone, Debug)]
pub struct Database {
    /// Where it is.
    pub place: DatabasePlace,
    /// The most connections: to PostgreSQL, or for reading SQLite.
    pub max_connections: u32,
    /// The longest wait for a connection.
    pub acquire_timeout: Duration,
}

/// Where a database is.
#[derive(Clone, Debug)]
pub enum DatabasePlace {
    /// A file, made where it is missing.
    File(PathBuf),
    /// A `postgres://` URL.
    Url(String),
}

const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn connect(
    database: &Database,
) -> Result<(Engine, DatabaseConnection, DatabaseConnection)> {
    match &database.place {
        DatabasePlace::File(path) => {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).map_err(Error::internal)?;
            }
            let writer = sea_orm::Database::connect(sqlite_options(database, path, true)).await?;
            let reader = sea_orm::Database::connect(sqlite_options(database, path, false)).await?;
            Ok((Engine::Sqlite, writer, reader))
        }
        DatabasePlace::Url(url) => {
            let mut options = ConnectOptions::new(url);
            common(&mut options, database)
                .max_connections(database.max_connections)
                .set_application_name("endcap");
            let pool = sea_orm::Database::connect(options).await?;
            Ok((Engine::Postgres, pool.clone(), pool))
        }
    }
}

/// Begins a write. On SQLite the transaction takes the write lock at once: one that
/// began by reading could not take it later if another wrote meanwhile.
pub(super) async fn begin_write(
    engine: Engine,
    writer: &DatabaseConnection,
) -> Result<DatabaseTransaction, DbErr> {
    match engine {
        Engine::Sqlite => {
            writer
                .begin_with_options(TransactionOptions {
                    sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
                    ..TransactionOptions::default()
                })
                .await
        }
        Engine::Postgres => writer.begin().await,
    }
}

fn sqlite_options(database: &Database, path: &std::path::Path, writer: bool) -> ConnectOptions {
    let mut options = ConnectOptions::new(format!("sqlite://{}", path.display()));
    let path = path.to_owned();
    common(&mut options, database)
        .max_connections(if writer { 1 } else { database.max_connections })
        .map_sqlx_sqlite_opts(move |sqlite| {
            sqlite
                .filename(&path)
                .create_if_missing(writer)
                .journal_mode(sqlite::SqliteJournalMode::Wal)
                // An acknowledged write survives the loss of power.
                .synchronous(sqlite::SqliteSynchronous::Full)
                .busy_timeout(BUSY_TIMEOUT)
                .foreign_keys(true)
                .pragma("cache_size", "-65536")
                .pragma("mmap_size", "268435456")
                .pragma("query_only", if writer { "OFF" } else { "ON" })
        });
    options
}

fn common<'a>(options: &'a mut ConnectOptions, database: &Database) -> &'a mut ConnectOptions {
    options
        .min_connections(1)
        .acquire_timeout(database.acquire_timeout)
        .connect_timeout(database.acquire_timeout)
        // A ping before each use would cost a third of the reads; one after a quiet
        // time finds connections that died in it.
        .test_before_acquire(false)
        .test_before_acquire_if_idle_for(Duration::from_secs(10))
        .sqlx_logging(false)
}
