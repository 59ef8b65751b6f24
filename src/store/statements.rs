//! Statements as they are seen from outside: each is measured, has a span where its request is
//! sampled, and is logged where it is slow. Never with what is bound to it.

use std::{
    fmt, mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use opentelemetry::{
    Context, KeyValue,
    trace::{SpanKind, Status, TraceContextExt as _},
};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement, Value};

use super::{
    connection::Connection,
    connections::{Connections, Run},
    error,
    together::together,
    writer::Savepoint,
};
use crate::telemetry::{
    metrics::{self, StatementOutcome},
    request, trace,
};

/// The tables, so that a summary names nothing else.
const TABLES: [&str; 12] = [
    "api_keys",
    "collections",
    "job_lists",
    "jobs",
    "logins",
    "members",
    "products",
    "requests",
    "secrets",
    "segment_contents",
    "segments",
    "tenants",
];

/// Sees the statements of a database. Cheap to clone.
#[derive(Clone)]
pub(super) struct Observer {
    of: Arc<Observed>,
    /// What is called after each statement.
    count: Option<Arc<dyn Fn(&Statement) + Send + Sync>>,
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.of.fmt(f)
    }
}

#[derive(Debug)]
struct Observed {
    system: &'static str,
    /// What spans say of the database: its name, and where it is.
    place: Vec<KeyValue>,
    /// Statements that take longer are logged.
    slow: Duration,
}

impl Observer {
    /// Of a database of that system, with its URL if it has one; statements that take longer
    /// than `slow` are logged.
    pub(super) fn new(system: &'static str, url: Option<&str>, slow: Duration) -> Self {
        let of = Observed {
            system,
            place: url.map(place).unwrap_or_default(),
            slow,
        };
        Self {
            of: Arc::new(of),
            count: None,
        }
    }

    /// Calls `count` for each statement.
    pub(super) fn on_statement(&mut self, count: impl Fn(&Statement) + Send + Sync + 'static) {
        self.count = Some(Arc::new(count));
    }

    /// Counts a statement.
    pub(super) fn count(&self, statement: &Statement) {
        if let Some(count) = &self.count {
            count(statement);
        }
    }

    /// The context of a transaction's span.
    pub(super) fn transaction(&self, name: &'static str) -> Context {
        trace::below(&Context::current(), name, SpanKind::Internal, Vec::new)
    }

    /// Sees a statement that is over.
    pub(super) fn see(
        &self,
        parent: &Context,
        summary: Summary,
        took: Duration,
        failure: Option<&DbErr>,
    ) {
        let code = failure.map(error::code);
        let code = code.as_ref().map(|code| code.as_deref());
        metrics::statement(StatementOutcome {
            system: self.of.system,
            operation: summary.operation,
            table: summary.table,
            duration: took,
            failure: code,
        });
        let failed = code.map(|code| code.unwrap_or("_OTHER"));
        trace::past(parent, summary.text(), took, failed, || {
            self.attributes(summary, code)
        });
        if took >= self.of.slow {
            let duration_ms = (took.as_secs_f64() * 1e6).round() / 1e3;
            let statement = summary.text();
            let operation = request::operation();
            tracing::warn!(statement, operation, duration_ms, "slow statement");
        }
    }

    fn attributes(&self, summary: Summary, failure: Option<Option<&str>>) -> Vec<KeyValue> {
        let mut attributes = Vec::with_capacity(8);
        attributes.push(KeyValue::new("db.system.name", self.of.system));
        attributes.push(KeyValue::new("db.query.summary", summary.text()));
        attributes.push(KeyValue::new("db.operation.name", summary.operation));
        let table = summary.table;
        attributes.extend(table.map(|table| KeyValue::new("db.collection.name", table)));
        attributes.extend(self.of.place.iter().cloned());
        if let Some(code) = failure {
            let error = code.unwrap_or("_OTHER").to_owned();
            attributes.push(KeyValue::new("error.type", error));
            let code = code.map(|code| KeyValue::new("db.response.status_code", code.to_owned()));
            attributes.extend(code);
        }
        attributes
    }
}

/// The host, the port and the database of a URL.
fn place(url: &str) -> Vec<KeyValue> {
    let Ok(url) = reqwest::Url::parse(url) else {
        return Vec::new();
    };
    let mut place = Vec::new();
    let namespace = url.path().trim_start_matches('/');
    if !namespace.is_empty() {
        place.push(KeyValue::new("db.namespace", namespace.to_owned()));
    }
    if let Some(host) = url.host_str().filter(|host| !host.is_empty()) {
        place.push(KeyValue::new("server.address", host.to_owned()));
        let port = i64::from(url.port().unwrap_or(5_432));
        place.push(KeyValue::new("server.port", port));
    }
    place
}

/// What a statement does, and to which table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    operation: &'static str,
    table: Option<&'static str>,
}

impl Summary {
    pub(super) const BEGIN: Self = Self {
        operation: "BEGIN",
        table: None,
    };
    pub(super) const COMMIT: Self = Self {
        operation: "COMMIT",
        table: None,
    };

    /// That of an SQL text: its first verb that changes data, else `SELECT`, and the first
    /// table that follows.
    pub(super) fn of(sql: &str) -> Self {
        const VERBS: [&str; 3] = ["INSERT", "UPDATE", "DELETE"];
        let is_inside = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut words = sql.split(|c| !is_inside(c)).filter(|word| !word.is_empty());
        let first = words.next().unwrap_or_default();
        let verb = |word: &str| {
            VERBS
                .into_iter()
                .find(|verb| verb.eq_ignore_ascii_case(word))
        };
        let table = |word: &str| TABLES.into_iter().find(|table| *table == word);
        let operation = match verb(first) {
            Some(verb) => verb,
            None if first.eq_ignore_ascii_case("WITH") => {
                // `FOR UPDATE` is none that changes data.
                let mut words = words.clone();
                let mut before = "";
                let found = words.find_map(|word| {
                    let is_lock = before.eq_ignore_ascii_case("FOR");
                    before = word;
                    verb(word).filter(|_| !is_lock)
                });
                found.unwrap_or("SELECT")
            }
            None if first.eq_ignore_ascii_case("SELECT") => "SELECT",
            None => "OTHER",
        };
        // A column may be called like a table: what follows one of these is a table.
        let mut is_next = operation == "UPDATE" && !first.eq_ignore_ascii_case("WITH");
        let found = words.find_map(|word| {
            let found = table(word).filter(|_| is_next);
            is_next = ["FROM", "JOIN", "INTO", "UPDATE"]
                .iter()
                .any(|before| before.eq_ignore_ascii_case(word));
            found
        });
        Self {
            operation,
            table: found,
        }
    }

    fn text(self) -> String {
        match self.table {
            Some(table) => format!("{} {table}", self.operation),
            None => self.operation.to_owned(),
        }
    }
}

/// Statements that are seen: of a transaction, or each of its own.
#[derive(Debug)]
pub(super) enum Statements {
    /// Those of a transaction.
    Transaction(Box<Transaction>),
    /// Each looks something up by itself.
    Alone(Connections),
}

/// A transaction whose statements are seen.
#[derive(Debug)]
pub(super) struct Transaction {
    db: Arc<Connection>,
    seen: Seen,
    /// What is to be written before anything else is asked.
    pending: Mutex<Pending>,
    /// Whether the savepoint, which is in `pending` at first, was sent.
    is_set: Option<Arc<AtomicBool>>,
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
    /// Those of a transaction, which may set a savepoint first.
    pub(super) fn of_transaction(
        db: Arc<Connection>,
        observer: Observer,
        trace: Context,
        savepoint: Option<Savepoint>,
    ) -> Self {
        let seen = Seen {
            observer,
            trace,
            statements: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        };
        let mut pending = Pending::default();
        let is_set = savepoint.map(|savepoint| {
            pending.statements.push(savepoint.set);
            savepoint.is_set
        });
        Self::Transaction(Box::new(Transaction {
            db,
            seen,
            pending: Mutex::new(pending),
            is_set,
        }))
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
        if let Self::Transaction(tx) = self {
            tx.seen.observer.count(&write.statement);
            tx.seen.rows.fetch_add(write.rows, Ordering::Relaxed);
            let mut pending = tx.pending.lock().unwrap_or_else(PoisonError::into_inner);
            pending.statements.push(write.statement);
            pending.links |= write.links;
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

    /// The statements that were executed, and the rows that they changed.
    pub(super) fn counts(&self) -> (u64, u64) {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        match self {
            Self::Transaction(tx) => (of(&tx.seen.statements), of(&tx.seen.rows)),
            Self::Alone(_) => (0, 0),
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
        let is_read = Summary::of(&statement.sql).operation == "SELECT";
        // On SQLite it sees what was written before it in the same text; but what that changed
        // would count as its own.
        let statement = if is_read && statement.db_backend == DbBackend::Sqlite {
            together(self.take().statements, statement)
        } else {
            self.flush().await?;
            statement
        };
        let result = self.send(statement, run).await?;
        if !is_read {
            self.seen.rows.fetch_add(rows(&result), Ordering::Relaxed);
        }
        Ok(result)
    }

    async fn query_above(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let Pending { statements, links } = self.take();
        self.seen.observer.count(&statement);
        // PostgreSQL reads what was there before all parts of a statement.
        let statement = if links && statement.db_backend == DbBackend::Postgres {
            self.write(statements).await?;
            statement
        } else {
            together(statements, statement)
        };
        self.send(statement, |db, statement| db.query_all_raw(statement))
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
        let statement = together(statements, last);
        self.send(statement, |db, statement| db.execute_raw(statement))
            .await
            .map(drop)
    }

    /// Sends a statement, and sees it.
    async fn send<T>(&self, statement: Statement, run: Run<T>) -> Result<T, DbErr> {
        let summary = Summary::of(&statement.sql);
        let seen = &self.seen;
        if summary.operation != "SELECT" {
            seen.bytes.fetch_add(bytes(&statement), Ordering::Relaxed);
        }
        if let Some(is_set) = &self.is_set {
            is_set.store(true, Ordering::Release);
        }
        let start = Instant::now();
        let result = run(&self.db, statement).await;
        seen.statements.fetch_add(1, Ordering::Relaxed);
        let failure = result.as_ref().err();
        seen.observer
            .see(&seen.trace, summary, start.elapsed(), failure);
        result
    }
}

/// How many bytes are bound to a statement, as far as they may be many.
fn bytes(statement: &Statement) -> u64 {
    let bound = |value: &Value| match value {
        Value::String(Some(text)) => text.len() as u64,
        Value::Bytes(Some(bytes)) => bytes.len() as u64,
        _ => 8,
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
        let run: Run<_> = |db, statement| db.execute_raw(statement);
        match self {
            Self::Transaction(tx) => tx.run(statement, run, ExecResult::rows_affected).await,
            Self::Alone(connections) => connections.look_up(statement, run).await,
        }
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let statement = Statement::from_string(self.get_database_backend(), sql);
        let run: Run<_> =
            |db, statement| Box::pin(async move { db.execute_unprepared(&statement.sql).await });
        match self {
            Self::Transaction(tx) => tx.run(statement, run, ExecResult::rows_affected).await,
            Self::Alone(connections) => connections.look_up(statement, run).await,
        }
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let run: Run<_> = |db, statement| db.query_one_raw(statement);
        match self {
            Self::Transaction(tx) => tx.run(statement, run, |row| u64::from(row.is_some())).await,
            Self::Alone(connections) => connections.look_up(statement, run).await,
        }
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let run: Run<_> = |db, statement| db.query_all_raw(statement);
        match self {
            Self::Transaction(tx) => tx.run(statement, run, |rows| rows.len() as u64).await,
            Self::Alone(connections) => connections.look_up(statement, run).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_has_the_verb_and_the_table() {
        for (sql, operation, table) in [
            (
                r#"SELECT "products"."id" FROM "collections" WHERE x"#,
                "SELECT",
                Some("collections"),
            ),
            ("SELECT 1", "SELECT", None),
            (
                "SELECT a FROM json_each($4) AS w CROSS JOIN members",
                "SELECT",
                Some("members"),
            ),
            (
                "insert into members (a) values (1)",
                "INSERT",
                Some("members"),
            ),
            (
                r#"UPDATE "tenants" SET collections = 1"#,
                "UPDATE",
                Some("tenants"),
            ),
            ("DELETE FROM segments WHERE a", "DELETE", Some("segments")),
            (
                "WITH a AS (SELECT 1) INSERT INTO jobs SELECT 2",
                "INSERT",
                Some("jobs"),
            ),
            (
                "WITH a AS (SELECT 1 FROM logins FOR UPDATE) SELECT 1",
                "SELECT",
                Some("logins"),
            ),
            ("PRAGMA wal_checkpoint(TRUNCATE)", "OTHER", None),
            ("SELECT 'a secret' FROM other", "SELECT", None),
            ("", "OTHER", None),
        ] {
            assert_eq!(Summary::of(sql), Summary { operation, table }, "{sql}");
        }
    }

    #[test]
    fn the_tables_are_those_of_the_entities() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/entity");
        let mut tables = Vec::new();
        for file in std::fs::read_dir(folder).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            let found = text.split("table_name = \"").skip(1);
            tables.extend(found.map(|rest| rest.split('"').next().unwrap().to_owned()));
        }
        tables.sort();
        assert_eq!(tables, TABLES);
    }
}
