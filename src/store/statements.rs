//! The statements of a unit of work, in a transaction or each on its own. Writes whose result
//! nobody needs are buffered and sent together with the next statement.

use std::{
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use opentelemetry::{
    Context,
    trace::{Status, TraceContextExt as _},
};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement, Value};

use super::{
    connection::Connection,
    connections::{Begin, Connections, Run},
    observer::{Observer, Summary},
    together::together,
};
use crate::telemetry::trace;

/// Where statements run. All of them are counted, measured and traced.
#[derive(Debug)]
pub(super) enum Statements {
    /// In a transaction.
    Transaction(Box<Transaction>),
    /// Each on its own, for single lookups.
    Alone(Connections),
}

/// A transaction and the observations of its statements.
#[derive(Debug)]
pub(super) struct Transaction {
    db: Arc<Connection>,
    stats: TransactionStats,
    /// Writes that must be sent before any other statement.
    pending: Mutex<Pending>,
}

/// Writes that are not sent yet.
#[derive(Debug, Default)]
struct Pending {
    statements: Vec<Statement>,
    /// Whether they may change the ancestors of a collection, or whether these are active.
    links: bool,
}

/// A write that is sent together with the next statement.
#[derive(Debug)]
pub(super) struct Write {
    /// The statement. It must not write a row that another buffered write does.
    pub(super) statement: Statement,
    /// The number of rows that it changes.
    pub(super) rows: u64,
    /// Whether it may change the ancestors of a collection, or whether these are active.
    pub(super) links: bool,
}

/// The observations of a transaction. Its trace span ends when this is dropped.
#[derive(Debug)]
struct TransactionStats {
    observer: Observer,
    trace: Context,
    statements: AtomicU64,
    rows: AtomicU64,
    bytes: AtomicU64,
}

impl Drop for TransactionStats {
    fn drop(&mut self) {
        if trace::is_sampled(&self.trace) {
            self.trace.span().end();
        }
    }
}

impl Statements {
    pub(super) fn of_transaction(db: Arc<Connection>, observer: Observer, trace: Context) -> Self {
        let stats = TransactionStats {
            observer,
            trace,
            statements: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        };
        Self::Transaction(Box::new(Transaction {
            db,
            stats,
            pending: Mutex::default(),
        }))
    }

    /// Begins a transaction.
    pub(super) async fn begin(connections: &Connections, how: Begin) -> Result<Self, DbErr> {
        let trace = connections.observer().transaction(how.span());
        let db = Arc::new(connections.begin(how, &trace).await?);
        let observer = connections.observer().clone();
        Ok(Self::of_transaction(db, observer, trace))
    }

    /// The number of bytes that were bound to its writes.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Transaction(tx) => tx.stats.bytes.load(Ordering::Relaxed),
            Self::Alone(_) => 0,
        }
    }

    /// Buffers a write whose result nobody needs. It is sent with the next statement, at the latest
    /// before the commit.
    pub(super) fn later(&self, write: Write) {
        self.wrote(write.rows);
        if let Self::Transaction(tx) = self {
            tx.stats.observer.count(&write.statement);
            let written = bytes(&write.statement);
            tx.stats.bytes.fetch_add(written, Ordering::Relaxed);
            let mut pending = tx.pending.lock().unwrap_or_else(PoisonError::into_inner);
            pending.statements.push(write.statement);
            pending.links |= write.links;
        }
    }

    /// Counts rows that were changed, or will be by buffered writes.
    pub(super) fn wrote(&self, rows: u64) {
        if let Self::Transaction(tx) = self {
            tx.stats.rows.fetch_add(rows, Ordering::Relaxed);
        }
    }

    /// Reads the ancestors of collections. Buffered writes are sent in the same message if they
    /// cannot affect the result.
    pub(super) async fn query_ancestors(
        &self,
        statement: Statement,
    ) -> Result<Vec<QueryResult>, DbErr> {
        match self {
            Self::Transaction(tx) => tx.query_ancestors(statement).await,
            Self::Alone(_) => self.query_all_raw(statement).await,
        }
    }

    /// Sends all buffered writes.
    pub(super) async fn flush(&self) -> Result<(), DbErr> {
        match self {
            Self::Transaction(tx) => tx.flush().await,
            Self::Alone(_) => Ok(()),
        }
    }

    /// Runs and observes a statement; `rows` extracts the number of rows that it changed.
    async fn run<T>(
        &self,
        statement: Statement,
        run: Run<T>,
        rows: impl FnOnce(&T) -> u64,
    ) -> Result<T, DbErr> {
        match self {
            Self::Transaction(tx) => tx.run(statement, run, rows).await,
            Self::Alone(connections) => connections.look_up(statement, run).await,
        }
    }

    /// The numbers of executed statements and of changed rows.
    pub(super) fn counts(&self) -> (u64, u64) {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        match self {
            Self::Transaction(tx) => (of(&tx.stats.statements), of(&tx.stats.rows)),
            Self::Alone(_) => (0, 0),
        }
    }

    /// The context of the transaction's span; `None` outside a transaction.
    pub(super) fn trace(&self) -> Option<Context> {
        match self {
            Self::Transaction(tx) => Some(tx.stats.trace.clone()),
            Self::Alone(_) => None,
        }
    }

    /// Marks the transaction's span as failed.
    pub(super) fn fail(&self, why: &str) {
        if let Self::Transaction(tx) = self
            && trace::is_sampled(&tx.stats.trace)
        {
            let span = tx.stats.trace.span();
            span.set_status(Status::error(why.to_owned()));
        }
    }

    pub(super) async fn commit(&self) -> Result<(), DbErr> {
        let Self::Transaction(tx) = self else {
            return Ok(());
        };
        tx.flush().await?;
        let start = Instant::now();
        let committed = tx.db.commit().await;
        let stats = &tx.stats;
        let failure = committed.as_ref().err();
        let observer = &stats.observer;
        observer.record(&stats.trace, Summary::COMMIT, start.elapsed(), failure);
        committed
    }

    pub(super) async fn rollback(&self) -> Result<(), DbErr> {
        match self {
            Self::Transaction(tx) => tx.db.rollback().await,
            Self::Alone(_) => Ok(()),
        }
    }
}

impl Transaction {
    /// Runs a statement after the buffered writes; `rows` extracts the number of rows that it
    /// changed.
    async fn run<T>(
        &self,
        statement: Statement,
        run: Run<T>,
        rows: impl FnOnce(&T) -> u64,
    ) -> Result<T, DbErr> {
        self.stats.observer.count(&statement);
        let mut summary = Summary::of(&statement.sql);
        let is_read = summary.is_read();
        if !is_read {
            let written = bytes(&statement);
            self.stats.bytes.fetch_add(written, Ordering::Relaxed);
        }
        // On SQLite, a read can go into one message with the buffered writes, because it sees their
        // result. A write cannot: the rows that they changed would count as its own.
        let statement = if is_read && statement.db_backend == DbBackend::Sqlite {
            let pending = self.take();
            summary = self::summary(&pending.statements, &statement);
            together(pending.statements, statement)
        } else {
            self.flush().await?;
            statement
        };
        let result = self.send(summary, statement, run).await?;
        if !is_read {
            self.stats.rows.fetch_add(rows(&result), Ordering::Relaxed);
        }
        Ok(result)
    }

    async fn query_ancestors(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let mut pending = self.take();
        self.stats.observer.count(&statement);
        // On PostgreSQL, all parts of one statement see the state from before it, so writes that
        // affect the result must be sent first.
        if pending.links && statement.db_backend == DbBackend::Postgres {
            self.write(mem::take(&mut pending.statements)).await?;
        }
        let summary = summary(&pending.statements, &statement);
        let statement = together(pending.statements, statement);
        self.send(summary, statement, |db, statement| {
            db.query_all_raw(statement)
        })
        .await
    }

    async fn flush(&self) -> Result<(), DbErr> {
        let pending = self.take();
        self.write(pending.statements).await
    }

    fn take(&self) -> Pending {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        mem::take(&mut *pending)
    }

    async fn write(&self, mut statements: Vec<Statement>) -> Result<(), DbErr> {
        let Some(last) = statements.pop() else {
            return Ok(());
        };
        let summary = summary(&statements, &last);
        let statement = together(statements, last);
        self.send(summary, statement, |db, statement| {
            db.execute_raw(statement)
        })
        .await
        .map(drop)
    }

    /// Sends and observes a statement.
    async fn send<T>(
        &self,
        summary: Summary,
        statement: Statement,
        run: Run<T>,
    ) -> Result<T, DbErr> {
        let stats = &self.stats;
        let start = Instant::now();
        let result = run(&self.db, statement).await;
        stats.statements.fetch_add(1, Ordering::Relaxed);
        let failure = result.as_ref().err();
        stats
            .observer
            .record(&stats.trace, summary, start.elapsed(), failure);
        result
    }
}

/// The summary of a statement that is sent together with those in `before`.
fn summary(before: &[Statement], last: &Statement) -> Summary {
    if before.is_empty() {
        Summary::of(&last.sql)
    } else {
        Summary::BATCH
    }
}

/// The approximate number of bytes that are bound to a statement.
fn bytes(statement: &Statement) -> u64 {
    let bound = |value: &Value| {
        if let Value::String(Some(text)) = value {
            text.len() as u64
        } else if let Value::Bytes(Some(bytes)) = value {
            bytes.len() as u64
        } else {
            8
        }
    };
    let values = statement.values.iter().flat_map(|values| &values.0);
    values.map(bound).sum()
}

#[async_trait::async_trait]
impl ConnectionTrait for Statements {
    fn get_database_backend(&self) -> DbBackend {
        match self {
            Self::Transaction(tx) => tx.db.get_database_backend(),
            Self::Alone(connections) => connections.get_database_backend(),
        }
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.run(
            statement,
            |db, statement| db.execute_raw(statement),
            ExecResult::rows_affected,
        )
        .await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let statement = Statement::from_string(self.get_database_backend(), sql);
        self.run(
            statement,
            |db, statement| Box::pin(async move { db.execute_unprepared(&statement.sql).await }),
            ExecResult::rows_affected,
        )
        .await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.run(
            statement,
            |db, statement| db.query_one_raw(statement),
            |row| u64::from(row.is_some()),
        )
        .await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.run(
            statement,
            |db, statement| db.query_all_raw(statement),
            |rows| rows.len() as u64,
        )
        .await
    }
}
