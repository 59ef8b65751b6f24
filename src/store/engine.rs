//! The true differences between the engines: how to connect, and how a write begins.

use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};

use sea_orm::{
    ConnectOptions,
    sqlx::{self, Connection as _, Executor as _, PgConnection, SqliteConnection, sqlite},
};
use tokio::time::timeout;

use super::{
    access::{self, Access, Connector},
    cause::{Cause, Kind},
    connection::Cancelled,
    connections::Connections,
    folder::{self, FolderLock},
    observer::Observer,
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

impl Engine {
    /// Its name in telemetry.
    pub fn system_name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgresql",
        }
    }
}

/// Which database, and how to talk to it.
#[derive(Clone, Debug)]
pub struct Database {
    /// Where it is.
    pub place: DatabasePlace,
    /// How to reach it beyond that.
    pub access: Access,
    /// What stands before it.
    pub pooler: Pooler,
    /// The most connections: to PostgreSQL, or for reading SQLite.
    pub max_connections: u32,
    /// The longest wait for a connection, and for its first answer.
    pub acquire_timeout: Duration,
    /// When PostgreSQL gives up a statement, or a transaction in which none comes: nobody
    /// waits for it any more. None to wait for ever.
    pub statement_timeout: Option<Duration>,
    /// Statements that take longer are logged.
    pub slow_statement: Duration,
    /// What may be read beside it.
    pub replica: Option<ReadReplica>,
}

/// A hot standby of a PostgreSQL database, for reads that may be behind.
#[derive(Clone)]
pub struct ReadReplica {
    /// Its `postgres://` URL.
    pub url: String,
    /// How to reach it beyond that.
    pub access: Access,
    /// How long a read there may take.
    pub timeout: Duration,
}

/// Nothing that is secret.
impl fmt::Debug for ReadReplica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadReplica")
            .field("place", &DatabasePlace::Url(self.url.clone()))
            .finish_non_exhaustive()
    }
}

impl Database {
    /// How to talk to its replica.
    pub fn of_replica(&self) -> Option<Self> {
        let replica = self.replica.clone()?;
        Some(Self {
            place: DatabasePlace::Url(replica.url),
            access: replica.access,
            statement_timeout: Some(replica.timeout),
            replica: None,
            ..self.clone()
        })
    }
}

/// What stands before a PostgreSQL server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooler {
    /// Nothing, or what leaves a connection to its client: PgBouncer in session mode.
    None,
    /// What gives each transaction a connection of its own: PgBouncer in transaction mode.
    Transaction,
}

/// Where a database is.
#[derive(Clone)]
pub enum DatabasePlace {
    /// A file, made where it is missing.
    File(PathBuf),
    /// A `postgres://` URL.
    Url(String),
}

impl DatabasePlace {
    /// Locks the embedded database's directory for a server; PostgreSQL needs no lock.
    ///
    /// # Errors
    /// Where another process has it, or it can't be used.
    pub fn lock_for_server(&self) -> Result<Option<FolderLock>, Cause> {
        match self {
            Self::File(path) => FolderLock::of_server(path).map(Some),
            Self::Url(_) => Ok(None),
        }
    }

    /// Checks that the embedded database can be used or created, and changes nothing; PostgreSQL
    /// is asked over a connection.
    ///
    /// # Errors
    /// Where its directory can't be used.
    pub fn check_folder(&self) -> Result<(), Cause> {
        match self {
            Self::File(path) => folder::check_place(path),
            Self::Url(_) => Ok(()),
        }
    }

    /// The same for a migration. Others may migrate too: they take turns.
    ///
    /// # Errors
    /// Where a server has it, or it can't be used.
    pub fn lock_for_migration(&self) -> Result<Option<FolderLock>, Cause> {
        match self {
            Self::File(path) => FolderLock::of_migration(path).map(Some),
            Self::Url(_) => Ok(None),
        }
    }
}

/// The file, or host, port and database: nothing that is secret.
impl fmt::Display for DatabasePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Url(url) => match url.parse() {
                Ok(options) => f.write_str(&access::place(&options)),
                Err(_) => f.write_str("PostgreSQL"),
            },
        }
    }
}

impl fmt::Debug for DatabasePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Statements bind no more values than this: SQLite takes 32,766, PostgreSQL 65,535.
pub(super) const MAX_BINDS: usize = 30_000;

/// How long a connection that was left in the middle of something may take to come to its
/// end. Then it is closed: the pool has no place for one that hangs.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// SQLite is opened, and created if it is missing. Connections to PostgreSQL are made when they
/// are needed, so that a server can start before its database.
pub(super) async fn connect(database: &Database) -> Result<(Engine, Connections, Connections)> {
    let (slow, patience) = (database.slow_statement, database.acquire_timeout);
    match &database.place {
        DatabasePlace::File(path) => {
            folder::prepare(path).map_err(Error::internal)?;
            let writer = sea_orm::Database::connect(sqlite_options(database, path, true)).await?;
            let reader = sea_orm::Database::connect(sqlite_options(database, path, false)).await?;
            let max = database.max_connections;
            let cancelled = Cancelled::default();
            let observer = Observer::new(Engine::Sqlite.system_name(), None, slow);
            let reader = Connections::new(
                reader,
                "readers",
                max,
                patience,
                observer.clone(),
                cancelled,
            );
            let writer = Connections::new(
                writer,
                "writer",
                1,
                patience,
                observer,
                Cancelled::default(),
            );
            Ok((Engine::Sqlite, writer, reader))
        }
        DatabasePlace::Url(url) => {
            let pool = postgres(database, url, "postgresql").await?;
            Ok((Engine::Postgres, pool.clone(), pool))
        }
    }
}

/// Prepares to connect to PostgreSQL. `name` is the pool's in telemetry.
pub(super) async fn postgres(
    database: &Database,
    url: &str,
    name: &'static str,
) -> Result<Connections> {
    let cancelled = Cancelled::default();
    let of_hook = cancelled.clone();
    let mut options = ConnectOptions::new(url);
    let connector = connector(database, url).map_err(Error::internal)?;
    let first = connector.options();
    common(&mut options, database)
        .max_connections(database.max_connections)
        .connect_lazy(true)
        .map_sqlx_postgres_opts(move |_| (*first).clone())
        .map_sqlx_postgres_pool_opts(move |pool| {
            let cancelled = of_hook.clone();
            pool.after_release(move |connection, _| {
                Box::pin(come_to_end(connection, cancelled.clone()))
            })
        });
    let pool = sea_orm::Database::connect(options).await?;
    let observer = Observer::new(
        Engine::Postgres.system_name(),
        Some(url),
        database.slow_statement,
    );
    let current = connector.keep_current(pool.get_postgres_connection_pool());
    let (max, patience) = (database.max_connections, database.acquire_timeout);
    let mut pool = Connections::new(pool, name, max, patience, observer, cancelled)
        .kept_current(current.map(Arc::new));
    if database.pooler == Pooler::Transaction {
        let settings = settings(database.statement_timeout);
        let of_transactions = settings
            .iter()
            .filter(|(name, _)| !name.starts_with("tcp_"));
        pool = pool.behind_a_pooler(&of_transactions.cloned().collect::<Vec<_>>());
    }
    Ok(pool)
}

/// What connections to PostgreSQL are made with.
pub(super) fn connector(database: &Database, url: &str) -> Result<Connector, Cause> {
    let settings = settings(database.statement_timeout);
    let is_direct = database.pooler == Pooler::None;
    let connector = Connector::open(url, &database.access, move |options| {
        if is_direct {
            options.options(settings.clone())
        } else {
            // It would refuse them, or forget them.
            options.statement_cache_capacity(0)
        }
    });
    connector.map_err(|error| Cause::new(Kind::Other, error.to_string()))
}

/// What is asked of PostgreSQL for each connection, so that it does not go on for a client
/// that is gone.
fn settings(statement_timeout: Option<Duration>) -> Vec<(&'static str, String)> {
    let mut settings = vec![
        // Seconds, and how often: two minutes.
        ("tcp_keepalives_idle", "30".to_owned()),
        ("tcp_keepalives_interval", "10".to_owned()),
        ("tcp_keepalives_count", "9".to_owned()),
        // Compiling a statement takes longer than any of ours, and without statistics it is
        // believed to be worth it.
        ("jit", "off".to_owned()),
        // No plan of ours hangs on what is bound.
        ("plan_cache_mode", "force_generic_plan".to_owned()),
    ];
    if let Some(timeout) = statement_timeout {
        let timeout = timeout.as_millis().to_string();
        settings.push(("statement_timeout", timeout.clone()));
        settings.push(("idle_in_transaction_session_timeout", timeout));
    }
    settings
}

/// Waits for the answers that nobody waited for, where a request was cut off. Costs
/// nothing where there are none. sqlx itself would wait for ever, and the connection's
/// place in the pool would be lost.
///
/// What this can't bound is the round trip by which sqlx tests the connection afterwards:
/// a network that falls silent in the middle of that keeps one place until TCP gives up.
async fn come_to_end(
    connection: &mut PgConnection,
    cancelled: Cancelled,
) -> Result<bool, sqlx::Error> {
    let end = async {
        connection.flush().await?;
        if cancelled.is_recent() {
            connection.execute("ROLLBACK").await?;
        }
        Ok(true)
    };
    match timeout(RELEASE_TIMEOUT, end).await {
        Ok(ended) => ended,
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    }
}

/// Whether the connection is out of its transaction. SQLite ends one by itself where the
/// disk is full, and sqlx does not learn of it.
async fn is_out(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    if connection.is_in_transaction() {
        // What was cut off is undone by another thread: after that it answers.
        connection.ping().await?;
    }
    Ok(!connection.is_in_transaction())
}

/// How a file of SQLite is opened, to write or to read it.
pub fn sqlite_options(database: &Database, path: &std::path::Path, writer: bool) -> ConnectOptions {
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
        })
        .map_sqlx_sqlite_pool_opts(|pool| {
            pool.after_release(|connection, _| Box::pin(is_out(connection)))
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
