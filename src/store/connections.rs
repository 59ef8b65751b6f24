//! The connections to the database: how a statement of its own is run, and how a transaction
//! begins; with a pooler before PostgreSQL, or without.
//!
//! A pooler in transaction mode gives each transaction a connection that others had before, and
//! may give two messages that are in none two connections. The driver prepares each statement
//! under a name: in another message than the one that executes it, and under a name that another
//! client may have used on that connection. So behind a pooler everything runs in a transaction,
//! which first lets go of all statements that are prepared on its connection. What else is said
//! of a connection is said there, too: the pooler forgets it.

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
    connection::{Cancelled, Connection, KEPT, Source},
    error::is_dead,
    observer::{Observer, Summary},
};
use crate::telemetry::metrics::{self, Counted, Pool};

/// Connections to the database. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    source: Source,
    /// The same pool as a migration takes it.
    pool: DatabaseConnection,
    /// What begins a transaction that writes.
    write: Arc<str>,
    /// What begins one that reads a state which does not change.
    snapshot: Arc<str>,
    /// What a transaction says first behind a pooler, where each statement needs one.
    prelude: Option<Arc<str>>,
    /// The pool's name in telemetry.
    name: &'static str,
    /// The most connections.
    max: u32,
    /// The longest wait for a connection and its first answer.
    patience: Duration,
    observer: Observer,
    /// What exchanges the password of later connections; ends when all clones are dropped.
    _current: Option<Arc<JoinSet<()>>>,
}

/// How a transaction begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// To write.
    Write,
    /// To read a state that does not change.
    Snapshot,
}

impl Begin {
    /// The name of the transaction's span.
    pub(super) fn span(self) -> &'static str {
        match self {
            Self::Write => "transaction",
            Self::Snapshot => "snapshot",
        }
    }
}

/// What runs a statement on a connection.
pub(super) type Run<T> = for<'a> fn(&'a Connection, Statement) -> BoxFuture<'a, Result<T, DbErr>>;

impl Connections {
    /// Those of a pool, the most of which are `max`. A connection, and its first answer, is waited
    /// for no longer than `patience`. `cancelled` is what its connections are given back with.
    pub(super) fn new(
        pool: DatabaseConnection,
        name: &'static str,
        max: u32,
        patience: Duration,
        observer: Observer,
        cancelled: Cancelled,
    ) -> Self {
        let (source, write, snapshot) = if pool.get_database_backend() == DbBackend::Postgres {
            (
                Source::postgres(pool.get_postgres_connection_pool(), cancelled),
                "BEGIN",
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            )
        } else {
            // At once: one that began by reading could not take the lock for writing later if
            // another wrote meanwhile.
            let source = Source::sqlite(pool.get_sqlite_connection_pool());
            (source, "BEGIN IMMEDIATE", "BEGIN")
        };
        Self {
            source,
            pool,
            write: write.into(),
            snapshot: snapshot.into(),
            prelude: None,
            name,
            max,
            patience,
            observer,
            _current: None,
        }
    }

    /// The same, kept current by that task.
    pub(super) fn kept_current(self, task: Option<Arc<JoinSet<()>>>) -> Self {
        Self {
            _current: task,
            ..self
        }
    }

    /// The same to a pooler in transaction mode: `settings` are names and values.
    pub(super) fn behind_a_pooler(self, settings: &[(&'static str, String)]) -> Self {
        let settings = settings
            .iter()
            .map(|(name, value)| format!("SET LOCAL {name} = '{value}'; "));
        let prelude = settings.collect::<String>() + "DEALLOCATE ALL";
        Self {
            write: format!("{}; {prelude}", self.write).into(),
            snapshot: format!("{}; {prelude}", self.snapshot).into(),
            prelude: Some(prelude.into()),
            ..self
        }
    }

    /// Begins a transaction as a migration takes it.
    pub(super) async fn begin_migration(&self) -> Result<DatabaseTransaction, DbErr> {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        // It takes its connection from the pool itself.
        self.source.release(Duration::ZERO);
        let tx = self.pool.begin_with_options(options).await?;
        if let Some(prelude) = &self.prelude {
            tx.execute_unprepared(prelude).await?;
        }
        Ok(tx)
    }

    /// How many connections there are now. Those that were kept from the pool for long go back.
    pub(super) fn figures(&self) -> Pool {
        self.source.release(KEPT);
        let (size, idle) = self.source.figures();
        let idle = u32::try_from(idle).unwrap_or(u32::MAX);
        Pool {
            name: self.name,
            used: size.saturating_sub(idle),
            idle,
            max: self.max,
        }
    }

    pub(super) async fn close(self) -> Result<(), DbErr> {
        self.source.keep_none();
        self.pool.close().await
    }

    /// The longest wait for a connection and its first answer.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// What sees the statements.
    pub(super) fn observer(&self) -> &Observer {
        &self.observer
    }

    /// The connection of a transaction that has begun, within a bounded time. Connections that
    /// died since they were used last are found here, where nothing was done yet: others are
    /// tried.
    pub(super) async fn begin(&self, how: Begin, trace: &Context) -> Result<Connection, DbErr> {
        let begin = match how {
            Begin::Write => &self.write,
            Begin::Snapshot => &self.snapshot,
        };
        let start = Instant::now();
        let waiting = Counted::waiting(self.name);
        let begun = timeout(self.patience, async {
            for _ in 0..self.max {
                match self.source.begin(begin).await {
                    Err(error) if is_dead(&error) => {}
                    begun => return begun,
                }
            }
            self.source.begin(begin).await
        });
        let begun = begun.await.unwrap_or_else(|_| Err(silent()));
        drop(waiting);
        let took = begun.is_ok().then(|| start.elapsed());
        metrics::pool_waited(self.name, took);
        let failure = begun.as_ref().err();
        self.observer
            .see(trace, Summary::BEGIN, start.elapsed(), failure);
        begun
    }

    /// Looks something up by a statement of its own, within the time in which a connection has to
    /// give its first answer. Connections that died since they were used last are found here:
    /// others are tried.
    pub(super) async fn look_up<T>(&self, statement: Statement, run: Run<T>) -> Result<T, DbErr> {
        let attempts = async {
            for _ in 0..self.max {
                match self.seen(statement.clone(), run).await {
                    Err(error) if is_dead(&error) => {}
                    done => return done,
                }
            }
            self.seen(statement, run).await
        };
        timeout(self.patience, attempts)
            .await
            .unwrap_or_else(|_| Err(silent()))
    }

    /// Runs a statement of its own, and sees it.
    async fn seen<T>(&self, statement: Statement, run: Run<T>) -> Result<T, DbErr> {
        let summary = Summary::of(&statement.sql);
        let connection = self.connection().await?;
        self.observer.count(&statement);
        let start = Instant::now();
        let done = run(&connection, statement).await;
        let took = start.elapsed();
        let failure = done.as_ref().err();
        self.observer
            .see(&Context::current(), summary, took, failure);
        self.end(connection, done).await
    }

    /// A connection for a statement of its own.
    async fn connection(&self) -> Result<Connection, DbErr> {
        let start = Instant::now();
        let waiting = Counted::waiting(self.name);
        let connection = if self.prelude.is_some() {
            self.source.begin(&self.write).await
        } else {
            self.source.acquire().await
        };
        drop(waiting);
        let took = connection.is_ok().then(|| start.elapsed());
        metrics::pool_waited(self.name, took);
        connection
    }

    /// Ends what [`Self::connection`] began.
    async fn end<T>(&self, connection: Connection, done: Result<T, DbErr>) -> Result<T, DbErr> {
        if self.prelude.is_none() {
            if done.is_ok() {
                self.source.give_back(connection);
            }
            return done;
        }
        match done {
            Ok(done) => connection.commit().await.map(|()| done),
            Err(error) => {
                // The connection is clean when it goes back.
                connection.rollback().await?;
                Err(error)
            }
        }
    }
}

/// The error of a database that does not answer in time.
pub(super) fn silent() -> DbErr {
    DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)
}

#[async_trait::async_trait]
impl ConnectionTrait for Connections {
    fn get_database_backend(&self) -> DbBackend {
        self.source.backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.seen(statement, |it, sql| it.execute_raw(sql)).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let statement = Statement::from_string(self.source.backend(), sql);
        self.seen(statement, |it, sql| {
            Box::pin(async move { it.execute_unprepared(&sql.sql).await })
        })
        .await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.seen(statement, |it, sql| it.query_one_raw(sql)).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.seen(statement, |it, sql| it.query_all_raw(sql)).await
    }
}
