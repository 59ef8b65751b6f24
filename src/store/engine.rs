//! The differences between the two database engines: how to connect, and with which settings.

use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};

use sea_orm::{
    ConnectOptions,
    sqlx::{
        self, Connection as _, Executor as _, PgConnection, Row as _, SqliteConnection, sqlite,
    },
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

/// A database engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Embedded: a file that one process uses.
    Sqlite,
    /// A server, which several processes can use.
    Postgres,
}

impl Engine {
    /// The name of the engine in telemetry.
    pub fn system_name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgresql",
        }
    }
}

/// A database and how to use it.
#[derive(Clone, Debug)]
pub struct Database {
    /// The location of the database.
    pub place: DatabasePlace,
    /// How to connect to it, in addition to its location.
    pub access: Access,
    /// The connection pooler in front of it.
    pub pooler: Pooler,
    /// The maximum number of connections: to PostgreSQL, or for reading SQLite.
    pub max_connections: u32,
    /// The timeout for a connection and its first response.
    pub acquire_timeout: Duration,
    /// PostgreSQL's timeout for statements, and for transactions that are idle: nobody waits for
    /// them any more. `None` for no timeout.
    pub statement_timeout: Option<Duration>,
    /// Statements that take longer than this are logged.
    pub slow_statement: Duration,
    /// Its read replica, if any.
    pub replica: Option<ReadReplica>,
}

/// A hot standby of a PostgreSQL database, for reads that may be stale.
#[derive(Clone)]
pub struct ReadReplica {
    /// The `postgres://` URL of the replica.
    pub url: String,
    /// How to connect to it, in addition to its URL.
    pub access: Access,
    /// The timeout of a read there.
    pub timeout: Duration,
}

/// Leaves out secrets.
impl fmt::Debug for ReadReplica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadReplica")
            .field("place", &DatabasePlace::Url(self.url.clone()))
            .finish_non_exhaustive()
    }
}

impl Database {
    /// The settings for the replica, if there is one.
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

/// The connection pooler in front of a PostgreSQL server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooler {
    /// None, or one that reserves a connection for each client: PgBouncer in session mode.
    None,
    /// One that reserves a connection for each transaction: PgBouncer in transaction mode.
    Transaction,
}

/// The location of a database.
#[derive(Clone)]
pub enum DatabasePlace {
    /// A file, which is created if it is missing.
    File(PathBuf),
    /// A `postgres://` URL.
    Url(String),
}

impl DatabasePlace {
    /// Locks the embedded database's directory for a server. PostgreSQL needs no lock.
    ///
    /// # Errors
    /// If another process has locked it, or if it cannot be used.
    pub fn lock_for_server(&self) -> Result<Option<FolderLock>, Cause> {
        match self {
            Self::File(path) => FolderLock::of_server(path).map(Some),
            Self::Url(_) => Ok(None),
        }
    }

    /// Checks that the embedded database can be used or created, without changing anything.
    /// PostgreSQL can only be checked over a connection.
    ///
    /// # Errors
    /// If the directory cannot be used.
    pub fn check_folder(&self) -> Result<(), Cause> {
        match self {
            Self::File(path) => folder::check_place(path),
            Self::Url(_) => Ok(()),
        }
    }

    /// Locks the embedded database's directory for a migration. Other migrations may lock it at the
    /// same time; they take turns.
    ///
    /// # Errors
    /// If a server has locked it, or if it cannot be used.
    pub fn lock_for_migration(&self) -> Result<Option<FolderLock>, Cause> {
        match self {
            Self::File(path) => FolderLock::of_migration(path).map(Some),
            Self::Url(_) => Ok(None),
        }
    }
}

/// The file, or host, port and database, without secrets.
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

/// The maximum number of bound parameters per statement: SQLite allows 32,766, PostgreSQL 65,535.
pub(super) const MAX_BINDS: usize = 30_000;

/// How long a connection that was interrupted may take to become idle before it is closed, because
/// a hanging connection would occupy a place in the pool.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// Connects to the database and returns the pools for writing and reading. A missing SQLite file is
/// created. Connections to PostgreSQL are made when they are needed, so that a server can start
/// before its database.
pub(super) async fn connect(database: &Database) -> Result<(Engine, Connections, Connections)> {
    let (slow, acquire_timeout) = (database.slow_statement, database.acquire_timeout);
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
                acquire_timeout,
                observer.clone(),
                cancelled,
            );
            let writer = Connections::new(
                writer,
                "writer",
                1,
                acquire_timeout,
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

/// Prepares a pool of connections to PostgreSQL; `name` is its name in telemetry.
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
    let (max, acquire_timeout) = (database.max_connections, database.acquire_timeout);
    let mut pool = Connections::new(pool, name, max, acquire_timeout, observer, cancelled)
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

/// The options for connections to PostgreSQL.
pub(super) fn connector(database: &Database, url: &str) -> Result<Connector, Cause> {
    let settings = settings(database.statement_timeout);
    let is_direct = database.pooler == Pooler::None;
    let connector = Connector::open(url, &database.access, move |options| {
        if is_direct {
            options.options(settings.clone())
        } else {
            // A pooler rejects or forgets settings, and prepared statements do not survive it.
            options.statement_cache_capacity(0)
        }
    });
    connector.map_err(|error| Cause::new(Kind::Other, error.to_string()))
}

/// The PostgreSQL settings of each connection. The timeouts and keepalives keep the server from
/// working for a client that is gone.
fn settings(statement_timeout: Option<Duration>) -> Vec<(&'static str, String)> {
    let mut settings = vec![
        // 30 seconds, then 9 probes 10 seconds apart: two minutes in total.
        ("tcp_keepalives_idle", "30".to_owned()),
        ("tcp_keepalives_interval", "10".to_owned()),
        ("tcp_keepalives_count", "9".to_owned()),
        // JIT compilation takes longer than any of our statements, but without statistics the
        // planner overestimates them and would use it.
        ("jit", "off".to_owned()),
        // None of our plans depends on the bound values, so planning once is enough.
        ("plan_cache_mode", "force_generic_plan".to_owned()),
    ];
    if let Some(timeout) = statement_timeout {
        let timeout = timeout.as_millis().to_string();
        settings.push(("statement_timeout", timeout.clone()));
        settings.push(("idle_in_transaction_session_timeout", timeout));
    }
    settings
}

/// Waits for the outstanding responses of a connection whose request was cancelled. Without any,
/// this costs nothing. sqlx itself would wait forever, and the connection's place in the pool would
/// be lost.
///
/// This does not limit the round trip with which sqlx tests the connection afterwards: if the
/// network fails in the middle of it, one place is lost until TCP gives up.
async fn come_to_end(
    connection: &mut PgConnection,
    cancelled: Cancelled,
) -> Result<bool, sqlx::Error> {
    let end = async {
        connection.flush().await?;
        if cancelled.is_recent() && !is_outside(connection).await {
            connection.execute("ROLLBACK").await?;
        }
        Ok(true)
    };
    match timeout(RELEASE_TIMEOUT, end).await {
        Ok(ended) => ended,
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    }
}

/// Whether the connection is outside any transaction: a statement of its own is a transaction that
/// begins with it. A `ROLLBACK` outside of a transaction would be logged as a warning, by PostgreSQL
/// as well. This is a simple query, as the messages of a prepared one have different times.
async fn is_outside(connection: &mut PgConnection) -> bool {
    let row = connection.fetch_one("SELECT transaction_timestamp() = statement_timestamp()");
    let row = row.await.and_then(|row| row.try_get::<bool, _>(0));
    matches!(row, Ok(true))
}

/// Whether the connection is outside any transaction. SQLite rolls back by itself if the disk is
/// full, and sqlx does not notice.
async fn is_out(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    if connection.is_in_transaction() {
        // A cancelled transaction is rolled back by the connection's worker thread, in the
        // background; a ping returns only after that.
        connection.ping().await?;
    }
    Ok(!connection.is_in_transaction())
}

/// The options for opening an SQLite file, for the writer or for readers.
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
                // An acknowledged write must survive a power failure.
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
        // A ping before each use would cost a third of the throughput of reads. A ping after ten
        // idle seconds still finds connections that broke in the meantime.
        .test_before_acquire(false)
        .test_before_acquire_if_idle_for(Duration::from_secs(10))
        .sqlx_logging(false)
}
