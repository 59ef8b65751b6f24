//! The statements of a unit of work: those of a transaction, and those that need none. Writes of
//! which nobody needs the answer wait, and are sent with what is asked next.

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

/// Statements that are seen: of a transaction, or each of its own.
#[derive(Debug)]
pub(super) enum Statements {
    /// Those of a transaction.
    Transaction(Box<Transaction>),
    /// Each looks something up by itself.
    Alone(Box<Connections>),
}

/// A transaction whose statements are seen.
#[derive(Debug)]
pub(super) struct Transaction {
    db: Arc<Connection>,
    seen: Seen,
    /// What is to be written before anything else is asked.
    pending: Mutex<Pending>,
}

/// Writes that were not sent yet.
#[derive(Debug, Default)]
struct Pending {
    statements: Vec<Statement>,
    /// Whether what stands above a collection may be another after them.
    links: bool,
}

/// A write that waits for what is asked next.
#[derive(Debug)]
pub(super) struct Write {
    /// What writes: no row that another one writes which waits.
    pub(super) statement: Statement,
    /// The rows that it changes.
    pub(super) rows: u64,
    /// Whether what stands above a collection may be another afterwards.
    pub(super) links: bool,
}

/// What was seen of a transaction. Its span ends with it.
#[derive(Debug)]
struct Seen {
    observer: Observer,
    trace: Context,
    statements: AtomicU64,
    rows: AtomicU64,
    bytes: AtomicU64,
}

impl Drop for Seen {
    fn drop(&mut self) {
        if trace::is_sampled(&self.trace) {
            self.trace.span().end();
        }
    }
}

impl Statements {
    pub(super) fn of_transaction(db: Arc<Connection>, observer: Observer, trace: Context) -> Self {
        let seen = Seen {
            observer,
            trace,
            statements: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        };
        Self::Transaction(Box::new(Transaction {
            db,
            seen,
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

    /// How many bytes were bound to its writes.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Transaction(tx) => tx.seen.bytes.load(Ordering::Relaxed),
            Self::Alone(_) => 0,
        }
    }

    /// Writes with what is asked next, or before the commit: nobody needs the answer.
    pub(super) fn later(&self, write: Write) {
        self.wrote(write.rows);
        if let Self::Transaction(tx) = self {
            tx.seen.observer.count(&write.statement);
            let written = bytes(&write.statement);
            tx.seen.bytes.fetch_add(written, Ordering::Relaxed);
            let mut pending = tx.pending.lock().unwrap_or_else(PoisonError::into_inner);
            pending.statements.push(write.statement);
            pending.links |= write.links;
        }
    }

    /// Notes rows that were changed, or will be by what waits.
    pub(super) fn wrote(&self, rows: u64) {
        if let Self::Transaction(tx) = self {
            tx.seen.rows.fetch_add(rows, Ordering::Relaxed);
        }
    }

    /// Asks what stands above collections, together with the writes that wait where these change
    /// nothing of that.
    pub(super) async fn query_above(
        &self,
        statement: Statement,
    ) -> Result<Vec<QueryResult>, DbErr> {
        match self {
            Self::Transaction(tx) => tx.query_above(statement).await,
            Self::Alone(_) => self.query_all_raw(statement).await,
        }
    }

    /// Writes all that waits.
    pub(super) async fn flush(&self) -> Result<(), DbErr> {
        match self {
            Self::Transaction(tx) => tx.flush().await,
            Self::Alone(_) => Ok(()),
        }
    }

    /// Runs a statement, and sees it; `rows` counts the rows that it changed.
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

    /// The statements that were executed, and the rows that they changed.
    pub(super) fn counts(&self) -> (u64, u64) {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        match self {
            Self::Transaction(tx) => (of(&tx.seen.statements), of(&tx.seen.rows)),
            Self::Alone(_) => (0, 0),
        }
    }

    /// The context of the transaction's span; none where there is no transaction.
    pub(super) fn trace(&self) -> Option<Context> {
        match self {
            Self::Transaction(tx) => Some(tx.seen.trace.clone()),
            Self::Alone(_) => None,
        }
    }

    /// Marks the transaction's span as failed.
    pub(super) fn fail(&self, why: &str) {
        if let Self::Transaction(tx) = self
            && trace::is_sampled(&tx.seen.trace)
        {
            let span = tx.seen.trace.span();
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
        let seen = &tx.seen;
        let failure = committed.as_ref().err();
        let observer = &seen.observer;
        observer.see(&seen.trace, Summary::COMMIT, start.elapsed(), failure);
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
    /// Runs a statement, after what waits to be written; `rows` counts the rows that it changed.
    async fn run<T>(
        &self,
        statement: Statement,
        run: Run<T>,
        rows: impl FnOnce(&T) -> u64,
    ) -> Result<T, DbErr> {
        self.seen.observer.count(&statement);
        let mut summary = Summary::of(&statement.sql);
        let is_read = summary.is_read();
        if !is_read {
            let written = bytes(&statement);
            self.seen.bytes.fetch_add(written, Ordering::Relaxed);
        }
        // On SQLite it sees what was written before it in the same text; but what that changed
        // would count as its own.
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
            self.seen.rows.fetch_add(rows(&result), Ordering::Relaxed);
        }
        Ok(result)
    }

    async fn query_above(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let mut pending = self.take();
        self.seen.observer.count(&statement);
        // PostgreSQL reads what was there before all parts of a statement.
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

    /// Sends a statement, and sees it.
    async fn send<T>(
        &self,
        summary: Summary,
        statement: Statement,
        run: Run<T>,
    ) -> Result<T, DbErr> {
        let seen = &self.seen;
        let start = Instant::now();
        let result = run(&self.db, statement).await;
        seen.statements.fetch_add(1, Ordering::Relaxed);
        let failure = result.as_ref().err();
        seen.observer
            .see(&seen.trace, summary, start.elapsed(), failure);
        result
    }
}

/// What a statement and those before it are together.
fn summary(before: &[Statement], last: &Statement) -> Summary {
    if before.is_empty() {
        Summary::of(&last.sql)
    } else {
        Summary::BATCH
    }
}

/// How many bytes are bound to a statement, as far as they may be many.
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
