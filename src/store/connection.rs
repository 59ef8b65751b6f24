//! A single connection, in a transaction or for standalone statements. Tenants that wait for one
//! take turns.
//!
//! `SeaORM` builds the statements and decodes the rows, but transactions are begun here: BEGIN
//! takes a single round trip only if the same message sets the isolation level.

use std::{
    pin::Pin,
    sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use sea_orm::{
    ConnAcquireErr, ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr,
    Statement, Values,
    sqlx::{
        self, AssertSqlSafe, Database, Executor as _, Pool, Postgres, SqlSafeStr as _, Sqlite,
        pool::PoolConnection,
    },
};
use sea_query_sqlx::SqlxValues;
use sqlx_core::transaction::TransactionManager as _;
use tokio::sync::Mutex;

use super::{
    cause::Cause,
    folder::DatabaseFile,
    permits::{Permit, Permits},
};
use crate::domain::TenantId;

/// How long a connection may stay out of its pool. The pool tests each connection that is returned,
/// which takes as long as a lookup.
pub(super) const MAX_UNPOOLED: Duration = Duration::from_secs(1);

/// A pool, and idle connections that are kept out of it to save the test. Clones share both.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pool: Pools,
    unpooled: Arc<StdMutex<Unpooled>>,
    permits: Permits,
    cancelled: Cancelled,
}

/// When a BEGIN was last cancelled. If nobody waits for its response, the driver does not roll it
/// back: the connection would return to its pool inside a transaction that the driver does not know
/// of, and standalone statements would read an old snapshot. Clones share the value.
#[derive(Clone, Debug, Default)]
pub(super) struct Cancelled(Arc<StdMutex<Option<Instant>>>);

impl Cancelled {
    /// Whether a connection that is returned now may be in such a transaction.
    pub(super) fn is_recent(&self) -> bool {
        /// Longer than it may take to clean up a connection.
        const RECENT: Duration = Duration::from_secs(30);
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last.elapsed() < RECENT)
    }

    fn watch<F: Future>(&self, begin: F) -> Watched<F> {
        Watched {
            begin: Box::pin(begin),
            cancelled: self.clone(),
            is_over: false,
        }
    }
}

/// A BEGIN in progress. If it is dropped before it completes, that is recorded before the
/// connection returns to its pool.
struct Watched<F> {
    begin: Pin<Box<F>>,
    cancelled: Cancelled,
    is_over: bool,
}

impl<F: Future> Future for Watched<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let polled = self.begin.as_mut().poll(cx);
        self.is_over = polled.is_ready();
        polled
    }
}

impl<F> Drop for Watched<F> {
    fn drop(&mut self) {
        if !self.is_over {
            let last = &self.cancelled.0;
            *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }
}

#[derive(Clone, Debug)]
enum Pools {
    Sqlite(Pool<Sqlite>, DatabaseFile),
    Postgres(Pool<Postgres>),
}

/// Idle connections outside their pool.
#[derive(Debug, Default)]
struct Unpooled {
    idle: Vec<(Held, Instant)>,
    /// How many tasks are waiting for a connection, with a permit. While there are any, returned
    /// connections go to the pool, which serves them.
    waiting: usize,
}

/// A connection. If it is dropped inside a transaction, the transaction is rolled back.
#[derive(Debug)]
pub(super) struct Connection {
    source: Source,
    /// When the connection left its pool.
    since: Instant,
    /// `None` once the transaction has ended.
    held: Mutex<Option<Held>>,
    /// Declared last, so that a connection that is kept is there before the next one is served.
    _permit: Permit,
}

#[derive(Debug)]
enum Held {
    Sqlite(Open<Sqlite>),
    Postgres(Open<Postgres>),
}

/// A connection of a pool, which rolls back its transaction on drop. The driver's own transaction
/// type would return the connection to the pool at each commit.
#[derive(Debug)]
struct Open<DB: Database>(PoolConnection<DB>);

impl<DB: Database> Drop for Open<DB> {
    fn drop(&mut self) {
        // Does nothing outside a transaction.
        DB::TransactionManager::start_rollback(&mut self.0);
    }
}

/// Counts a task that waits for a connection, until it is dropped.
struct Waiting<'a>(&'a Source);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.unpooled().waiting -= 1;
    }
}

impl Source {
    /// The pool must have `max` connections.
    pub(super) fn sqlite(pool: &Pool<Sqlite>, max: u32) -> Self {
        // The SQLite driver rolls back cancelled BEGINs itself.
        let cancelled = Cancelled::default();
        let file = DatabaseFile::at(pool.connect_options().get_filename());
        Self::of(Pools::Sqlite(pool.clone(), file), max, cancelled)
    }

    /// The pool must have `max` connections.
    pub(super) fn postgres(pool: &Pool<Postgres>, max: u32, cancelled: Cancelled) -> Self {
        Self::of(Pools::Postgres(pool.clone()), max, cancelled)
    }

    fn of(pool: Pools, max: u32, cancelled: Cancelled) -> Self {
        Self {
            pool,
            unpooled: Arc::default(),
            permits: Permits::new(max as usize),
            cancelled,
        }
    }

    /// A connection for standalone statements of a tenant.
    pub(super) async fn acquire(&self, tenant: Option<&TenantId>) -> Result<Connection, DbErr> {
        let permit = self.permits.acquire(tenant).await;
        let (unpooled, _waiting) = self.take();
        if let Some((held, since)) = unpooled {
            return Ok(self.connection(held, since, permit));
        }
        let held = match &self.pool {
            Pools::Sqlite(pool, file) => {
                // The pool may open a connection.
                file.check().map_err(replaced)?;
                pool.acquire().await.map(Open).map(Held::Sqlite)
            }
            Pools::Postgres(pool) => pool.acquire().await.map(Open).map(Held::Postgres),
        };
        Ok(self.connection(held.map_err(not_connected)?, Instant::now(), permit))
    }

    /// A connection in a transaction of a tenant that the SQL text `begin` begins. The text may also
    /// change settings.
    pub(super) async fn begin(
        &self,
        begin: &str,
        tenant: Option<&TenantId>,
    ) -> Result<Connection, DbErr> {
        let connection = self.acquire(tenant).await?;
        let begin = Some(AssertSqlSafe(begin.to_owned()).into_sql_str());
        let begun = match &mut *connection.held.lock().await {
            Some(Held::Sqlite(Open(open))) => {
                <Sqlite as Database>::TransactionManager::begin(open, begin).await
            }
            Some(Held::Postgres(Open(open))) => {
                let begun = <Postgres as Database>::TransactionManager::begin(open, begin);
                self.cancelled.watch(begun).await
            }
            None => Ok(()),
        };
        begun.map_err(not_connected)?;
        Ok(connection)
    }

    /// Returns a connection without an open transaction. It is kept for reuse, unless somebody is
    /// waiting for one or the pool has not tested it for a while.
    pub(super) fn give_back(&self, connection: Connection) {
        if let Some(held) = connection.held.into_inner() {
            self.keep(held, connection.since);
        }
    }

    fn keep(&self, held: Held, since: Instant) {
        let mut unpooled = self.unpooled();
        if unpooled.waiting == 0 && since.elapsed() < MAX_UNPOOLED {
            unpooled.idle.push((held, since));
        }
    }

    /// Returns connections that were kept for longer than `age` to the pool.
    pub(super) fn release(&self, age: Duration) {
        let mut unpooled = self.unpooled();
        let idle = std::mem::take(&mut unpooled.idle).into_iter();
        unpooled.idle = idle.filter(|(_, since)| since.elapsed() < age).collect();
    }

    /// Stops keeping connections out of the pool, because closing the pool waits for all of them,
    /// including those that are returned later.
    pub(super) fn keep_none(&self) {
        self.unpooled().waiting += 1;
        self.release(Duration::ZERO);
    }

    /// Takes a kept connection, if there is one, and counts the caller as waiting.
    fn take(&self) -> (Option<(Held, Instant)>, Waiting<'_>) {
        let mut unpooled = self.unpooled();
        unpooled.waiting += 1;
        // Connections that are too old return to the pool when the iterator drops them, and the
        // pool may hand them out again at once.
        let mut idle = std::iter::from_fn(|| unpooled.idle.pop());
        let fresh = idle.find(|(_, since)| since.elapsed() < MAX_UNPOOLED);
        (fresh, Waiting(self))
    }

    fn unpooled(&self) -> MutexGuard<'_, Unpooled> {
        self.unpooled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connection(&self, held: Held, since: Instant, permit: Permit) -> Connection {
        Connection {
            source: self.clone(),
            since,
            held: Mutex::new(Some(held)),
            _permit: permit,
        }
    }

    pub(super) fn backend(&self) -> DbBackend {
        match self.pool {
            Pools::Sqlite(..) => DbBackend::Sqlite,
            Pools::Postgres(_) => DbBackend::Postgres,
        }
    }

    /// The number of open connections, and how many of them are idle.
    pub(super) fn figures(&self) -> (u32, usize) {
        let (size, idle) = match &self.pool {
            Pools::Sqlite(pool, _) => (pool.size(), pool.num_idle()),
            Pools::Postgres(pool) => (pool.size(), pool.num_idle()),
        };
        (size, idle + self.unpooled().idle.len())
    }
}

impl Connection {
    /// Commits and ends the transaction.
    pub(super) async fn commit(&self) -> Result<(), DbErr> {
        let Some(mut held) = self.held.lock().await.take() else {
            return Ok(());
        };
        let ended = match &mut held {
            Held::Sqlite(Open(open)) => {
                <Sqlite as Database>::TransactionManager::commit(open).await
            }
            Held::Postgres(Open(open)) => {
                <Postgres as Database>::TransactionManager::commit(open).await
            }
        };
        self.ended(held, ended)
    }

    /// Rolls back and ends the transaction.
    pub(super) async fn rollback(&self) -> Result<(), DbErr> {
        let Some(mut held) = self.held.lock().await.take() else {
            return Ok(());
        };
        let ended = match &mut held {
            Held::Sqlite(Open(open)) => {
                <Sqlite as Database>::TransactionManager::rollback(open).await
            }
            Held::Postgres(Open(open)) => {
                <Postgres as Database>::TransactionManager::rollback(open).await
            }
        };
        self.ended(held, ended)
    }

    fn ended(&self, held: Held, ended: Result<(), sqlx::Error>) -> Result<(), DbErr> {
        ended.map_err(failed)?;
        self.source.keep(held, self.since);
        Ok(())
    }
}

/// Runs the same code on a connection of either engine.
macro_rules! on {
    ($self:ident, $connection:ident => $run:expr) => {
        match &mut *$self.held.lock().await {
            Some(Held::Sqlite(Open($connection))) => {
                let $connection = &mut **$connection;
                $run
            }
            Some(Held::Postgres(Open($connection))) => {
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
        self.source.backend()
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

/// The text and the values of a statement. The text is safe to execute: values are always bound.
fn parts(statement: Statement) -> (AssertSqlSafe<String>, SqlxValues) {
    let values = statement.values.unwrap_or(Values(Vec::new()));
    (AssertSqlSafe(statement.sql), SqlxValues(values))
}

/// The error of failing to acquire a connection or to begin a transaction.
fn not_connected(error: sqlx::Error) -> DbErr {
    if matches!(error, sqlx::Error::PoolTimedOut) {
        DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)
    } else if matches!(error, sqlx::Error::PoolClosed) {
        DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed)
    } else {
        DbErr::Conn(driver(error))
    }
}

/// The error of a database file that was removed or replaced.
fn replaced(cause: Cause) -> DbErr {
    not_connected(sqlx::Error::Configuration(Box::new(cause)))
}

fn failed(error: sqlx::Error) -> DbErr {
    DbErr::Query(driver(error))
}

fn driver(error: sqlx::Error) -> RuntimeErr {
    RuntimeErr::SqlxError(Arc::new(error))
}
