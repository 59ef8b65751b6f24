//! Runs standalone statements and begins transactions on pooled connections, with or without a
//! pooler in front of PostgreSQL.
//!
//! A pooler in transaction mode assigns a server connection to each transaction and may use
//! different ones for two messages outside a transaction. The driver prepares statements by name,
//! in a separate message from their execution, and another client may have used the same name on
//! that connection. So behind a pooler everything runs in a transaction, which first deallocates
//! all prepared statements of its connection. Settings of the connection are also set there,
//! because the pooler does not keep them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use opentelemetry::Context;
use sea_orm::{
    ConnAcquireErr, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr,
    ExecResult, QueryResult, SqliteTransactionMode, Statement, TransactionOptions,
    TransactionTrait as _,
};
use tokio::{task::JoinSet, time::timeout};

use super::{
    connection::{Cancelled, Connection, MAX_UNPOOLED, Source},
    error::is_dead,
    observer::{Observer, Summary},
};
use crate::{
    domain::TenantId,
    telemetry::metrics::{self, GaugeGuard, Pool},
};

/// A pool of connections to the database. Clones share it, and are cheap: each request makes one.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    shared: Arc<Shared>,
    /// The tenant that statements and transactions are for; see [`Self::for_tenant`].
    tenant: Option<TenantId>,
}

#[derive(Clone, Debug)]
struct Shared {
    source: Source,
    /// The same pool in the type that migrations need.
    pool: DatabaseConnection,
    /// The SQL that begins a writing transaction.
    write: Box<str>,
    /// The SQL that begins a read-only snapshot.
    snapshot: Box<str>,
    /// The SQL that each transaction starts with behind a pooler. If it is set, standalone
    /// statements need a transaction, too.
    prelude: Option<Box<str>>,
    /// The name of the pool in telemetry.
    name: &'static str,
    /// The maximum number of connections.
    max: u32,
    /// The timeout for a connection and its first response.
    acquire_timeout: Duration,
    observer: Observer,
    /// The task that updates the password for later connections; it ends when all clones are
    /// dropped.
    _current: Option<Arc<JoinSet<()>>>,
}

/// The kind of transaction to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// A writing transaction.
    Write,
    /// A read-only snapshot.
    Snapshot,
}

impl Begin {
    /// The name of the transaction's trace span.
    pub(super) fn span(self) -> &'static str {
        match self {
            Self::Write => "transaction",
            Self::Snapshot => "snapshot",
        }
    }
}

/// A function that runs a statement on a connection.
pub(super) type Run<T> = for<'a> fn(&'a Connection, Statement) -> BoxFuture<'a, Result<T, DbErr>>;

impl Connections {
    /// Wraps a pool of up to `max` connections. `acquire_timeout` is the timeout for a connection
    /// and its first response. `cancelled` must be the value that the pool's release hook checks.
    pub(super) fn new(
        pool: DatabaseConnection,
        name: &'static str,
        max: u32,
        acquire_timeout: Duration,
        observer: Observer,
        cancelled: Cancelled,
    ) -> Self {
        let (source, write, snapshot) = if pool.get_database_backend() == DbBackend::Postgres {
            (
                Source::postgres(pool.get_postgres_connection_pool(), max, cancelled),
                "BEGIN",
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            )
        } else {
            // IMMEDIATE takes the write lock at once: a transaction that began by reading could not
            // take it later if another one wrote in the meantime.
            let source = Source::sqlite(pool.get_sqlite_connection_pool(), max);
            (source, "BEGIN IMMEDIATE", "BEGIN")
        };
        let shared = Shared {
            source,
            pool,
            write: write.into(),
            snapshot: snapshot.into(),
            prelude: None,
            name,
            max,
            acquire_timeout,
            observer,
            _current: None,
        };
        Self {
            shared: Arc::new(shared),
            tenant: None,
        }
    }

    /// The same, with a task that keeps the connection options up to date.
    pub(super) fn kept_current(mut self, task: Option<Arc<JoinSet<()>>>) -> Self {
        Arc::make_mut(&mut self.shared)._current = task;
        self
    }

    /// The same for statements and transactions of a tenant: tenants that wait for connections take
    /// turns.
    pub(super) fn for_tenant(&self, tenant: &TenantId) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            tenant: Some(tenant.clone()),
        }
    }

    /// The same for a pooler in transaction mode; `settings` are set in each transaction.
    pub(super) fn behind_a_pooler(mut self, settings: &[(&'static str, String)]) -> Self {
        let settings = settings
            .iter()
            .map(|(name, value)| format!("SET LOCAL {name} = '{value}'; "));
        let prelude = settings.collect::<String>() + "DEALLOCATE ALL";
        let shared = Arc::make_mut(&mut self.shared);
        shared.write = format!("{}; {prelude}", shared.write).into();
        shared.snapshot = format!("{}; {prelude}", shared.snapshot).into();
        shared.prelude = Some(prelude.into());
        self
    }

    /// Begins a transaction of the type that migrations need.
    pub(super) async fn begin_migration(&self) -> Result<DatabaseTransaction, DbErr> {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        // It acquires its connection from the pool itself, so none may be kept out of it.
        self.shared.source.release(Duration::ZERO);
        let tx = self.shared.pool.begin_with_options(options).await?;
        if let Some(prelude) = &self.shared.prelude {
            tx.execute_unprepared(prelude).await?;
        }
        Ok(tx)
    }

    /// The current numbers of connections. Also returns connections that were kept out of the pool
    /// for long.
    pub(super) fn figures(&self) -> Pool {
        self.shared.source.release(MAX_UNPOOLED);
        let (size, idle) = self.shared.source.figures();
        let idle = u32::try_from(idle).unwrap_or(u32::MAX);
        Pool {
            name: self.shared.name,
            used: size.saturating_sub(idle),
            idle,
            max: self.shared.max,
        }
    }

    pub(super) async fn close(self) -> Result<(), DbErr> {
        self.shared.source.keep_none();
        self.shared.pool.close_by_ref().await
    }

    /// The timeout for a connection and its first response.
    pub(super) fn acquire_timeout(&self) -> Duration {
        self.shared.acquire_timeout
    }

    /// The observer of the statements.
    pub(super) fn observer(&self) -> &Observer {
        &self.shared.observer
    }

    /// Begins a transaction, within the timeout. If a connection turns out to be broken, another
    /// one is tried, which is safe because nothing was done yet.
    pub(super) async fn begin(&self, how: Begin, trace: &Context) -> Result<Connection, DbErr> {
        let begin = match how {
            Begin::Write => &self.shared.write,
            Begin::Snapshot => &self.shared.snapshot,
        };
        let tenant = self.tenant.as_ref();
        let start = Instant::now();
        let waiting = GaugeGuard::waiting(self.shared.name);
        let begun = timeout(self.shared.acquire_timeout, async {
            for _ in 0..self.shared.max {
                match self.shared.source.begin(begin, tenant).await {
                    Err(error) if is_dead(&error) => {}
                    begun => return begun,
                }
            }
            self.shared.source.begin(begin, tenant).await
        });
        let begun = begun.await.unwrap_or_else(|_| Err(silent()));
        drop(waiting);
        let took = begun.is_ok().then(|| start.elapsed());
        metrics::pool_waited(self.shared.name, took);
        let failure = begun.as_ref().err();
        self.shared
            .observer
            .record(trace, Summary::BEGIN, start.elapsed(), failure);
        begun
    }

    /// Runs a standalone read, within the timeout for a connection's first response. If a
    /// connection turns out to be broken, another one is tried.
    pub(super) async fn look_up<T>(&self, statement: Statement, run: Run<T>) -> Result<T, DbErr> {
        let attempts = async {
            for _ in 0..self.shared.max {
                match self.observed(statement.clone(), run).await {
                    Err(error) if is_dead(&error) => {}
                    done => return done,
                }
            }
            self.observed(statement, run).await
        };
        timeout(self.shared.acquire_timeout, attempts)
            .await
            .unwrap_or_else(|_| Err(silent()))
    }

    /// Runs and observes a standalone statement.
    async fn observed<T>(&self, statement: Statement, run: Run<T>) -> Result<T, DbErr> {
        let summary = Summary::of(&statement.sql);
        let connection = self.connection().await?;
        self.shared.observer.count(&statement);
        let start = Instant::now();
        let done = run(&connection, statement).await;
        let took = start.elapsed();
        let failure = done.as_ref().err();
        self.shared
            .observer
            .record(&Context::current(), summary, took, failure);
        self.end(connection, done).await
    }

    /// A connection for a standalone statement, within the timeout; in a transaction if there is a
    /// pooler.
    async fn connection(&self) -> Result<Connection, DbErr> {
        let start = Instant::now();
        let waiting = GaugeGuard::waiting(self.shared.name);
        let connection = async {
            if self.shared.prelude.is_some() {
                self.shared
                    .source
                    .begin(&self.shared.write, self.tenant.as_ref())
                    .await
            } else {
                self.shared.source.acquire(self.tenant.as_ref()).await
            }
        };
        let connection = timeout(self.shared.acquire_timeout, connection).await;
        let connection = connection.unwrap_or_else(|_| Err(silent()));
        drop(waiting);
        let took = connection.is_ok().then(|| start.elapsed());
        metrics::pool_waited(self.shared.name, took);
        connection
    }

    /// Ends what [`Self::connection`] began.
    async fn end<T>(&self, connection: Connection, done: Result<T, DbErr>) -> Result<T, DbErr> {
        if self.shared.prelude.is_none() {
            if done.is_ok() {
                self.shared.source.give_back(connection);
            }
            return done;
        }
        match done {
            Ok(done) => connection.commit().await.map(|()| done),
            Err(error) => {
                // Rolled back explicitly, so that the connection is clean when it returns to the
                // pool.
                connection.rollback().await?;
                Err(error)
            }
        }
    }
}

/// The error of a database that does not respond in time.
pub(super) fn silent() -> DbErr {
    DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)
}

#[async_trait::async_trait]
impl ConnectionTrait for Connections {
    fn get_database_backend(&self) -> DbBackend {
        self.shared.source.backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.observed(statement, |it, sql| it.execute_raw(sql))
            .await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let statement = Statement::from_string(self.shared.source.backend(), sql);
        self.observed(statement, |it, sql| {
            Box::pin(async move { it.execute_unprepared(&sql.sql).await })
        })
        .await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.observed(statement, |it, sql| it.query_one_raw(sql))
            .await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.observed(statement, |it, sql| it.query_all_raw(sql))
            .await
    }
}
