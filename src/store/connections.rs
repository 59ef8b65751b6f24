//! The connections to the database: how a statement of its own is run, and how a transaction
//! begins; with a pooler before PostgreSQL, or without.
//!
//! A pooler in transaction mode gives each transaction a connection that others had before, and
//! may give two messages that are in none two connections. The driver prepares each statement
//! under a name: in another message than the one that executes it, and under a name that another
//! client may have used on that connection. So behind a pooler everything runs in a transaction,
//! which first lets go of all statements that are prepared on its connection. What else is said
//! of a connection is said there, too: the pooler forgets it.

use std::{sync::Arc, time::Instant};

use opentelemetry::Context;
use sea_orm::{
    AccessMode, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr,
    ExecResult, IsolationLevel, QueryResult, SqliteTransactionMode, Statement, TransactionOptions,
    TransactionTrait as _,
};
use tokio::task::JoinSet;

use super::statements::{Observer, Summary};
use crate::telemetry::metrics::Pool;

/// Connections to the database. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    pool: DatabaseConnection,
    /// What a transaction begins with behind a pooler; none without one.
    prelude: Option<String>,
    /// The pool's name in telemetry.
    name: &'static str,
    /// The most connections.
    max: u32,
    observer: Observer,
    /// What exchanges the password of later connections; ends when all clones are dropped.
    _current: Option<Arc<JoinSet<()>>>,
}

/// What a transaction behind a pooler says of the one connection that it has: `settings` are
/// names and values.
fn prelude(settings: &[(&'static str, String)]) -> String {
    let settings = settings
        .iter()
        .map(|(name, value)| format!("SET LOCAL {name} = '{value}'; "));
    settings.collect::<String>() + "DEALLOCATE ALL"
}

impl Connections {
    pub(super) fn new(
        pool: DatabaseConnection,
        name: &'static str,
        max: u32,
        observer: Observer,
    ) -> Self {
        Self {
            pool,
            prelude: None,
            name,
            max,
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

    /// The pool's name in telemetry.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// What sees the statements.
    pub(super) fn observer(&self) -> &Observer {
        &self.observer
    }

    /// How many connections there are now.
    pub(super) fn figures(&self) -> Pool {
        let (size, idle) = if self.pool.get_database_backend() == DbBackend::Postgres {
            let pool = self.pool.get_postgres_connection_pool();
            (pool.size(), pool.num_idle())
        } else {
            let pool = self.pool.get_sqlite_connection_pool();
            (pool.size(), pool.num_idle())
        };
        let idle = u32::try_from(idle).unwrap_or(u32::MAX);
        Pool {
            name: self.name,
            used: size.saturating_sub(idle),
            idle,
            max: self.max,
        }
    }

    /// Runs a statement, and sees it.
    async fn seen<T>(
        &self,
        summary: Summary,
        run: impl Future<Output = Result<T, DbErr>>,
    ) -> Result<T, DbErr> {
        let start = Instant::now();
        let result = run.await;
        let failure = result.as_ref().err();
        let took = start.elapsed();
        self.observer
            .see(&Context::current(), summary, took, failure);
        result
    }

    /// The same to a pooler in transaction mode.
    pub(super) fn behind_a_pooler(self, settings: &[(&'static str, String)]) -> Self {
        Self {
            prelude: Some(prelude(settings)),
            ..self
        }
    }

    /// Calls `count` after each statement.
    pub(super) fn on_statement(
        &mut self,
        count: impl Fn(&sea_orm::metric::Info<'_>) + Send + Sync + 'static,
    ) {
        self.pool.set_metric_callback(count);
    }

    pub(super) async fn close(self) -> Result<(), DbErr> {
        self.pool.close().await
    }

    /// Begins a transaction.
    pub(super) async fn begin(&self) -> Result<DatabaseTransaction, DbErr> {
        let tx = self.pool.begin().await?;
        if let Some(prelude) = &self.prelude {
            tx.execute_unprepared(prelude).await?;
        }
        Ok(tx)
    }

    /// Begins one that takes SQLite's write lock at once: one that began by reading could not
    /// take it later if another wrote meanwhile.
    pub(super) async fn begin_immediate(&self) -> Result<DatabaseTransaction, DbErr> {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        self.pool.begin_with_options(options).await
    }

    /// Begins one on PostgreSQL that reads a state which does not change.
    pub(super) async fn begin_snapshot(&self) -> Result<DatabaseTransaction, DbErr> {
        let Some(prelude) = &self.prelude else {
            let isolation = Some(IsolationLevel::RepeatableRead);
            let access = Some(AccessMode::ReadOnly);
            return self.pool.begin_with_config(isolation, access).await;
        };
        let tx = self.pool.begin().await?;
        // Before anything that looks at the data.
        let snapshot = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY";
        tx.execute_unprepared(&format!("{snapshot}; {prelude}"))
            .await?;
        Ok(tx)
    }
}

/// A transaction for one statement.
macro_rules! alone {
    ($self:ident, $db:ident, $run:expr) => {{
        if $self.prelude.is_none() {
            let $db = &$self.pool;
            return $run.await;
        }
        let tx = $self.begin().await?;
        let done = {
            let $db = &tx;
            $run.await
        };
        match done {
            Ok(done) => tx.commit().await.map(|()| done),
            Err(error) => {
                // The connection is clean when it goes back.
                tx.rollback().await?;
                Err(error)
            }
        }
    }};
}

#[async_trait::async_trait]
impl ConnectionTrait for Connections {
    fn get_database_backend(&self) -> DbBackend {
        self.pool.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let summary = Summary::of(&statement.sql);
        let run = async { alone!(self, db, db.execute_raw(statement)) };
        self.seen(summary, run).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let run = async { alone!(self, db, db.execute_unprepared(sql)) };
        self.seen(Summary::of(sql), run).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let summary = Summary::of(&statement.sql);
        let run = async { alone!(self, db, db.query_one_raw(statement)) };
        self.seen(summary, run).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let summary = Summary::of(&statement.sql);
        let run = async { alone!(self, db, db.query_all_raw(statement)) };
        self.seen(summary, run).await
    }
}
