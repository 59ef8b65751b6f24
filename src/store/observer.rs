//! Observes statements: each is measured, gets a span if its request is sampled for tracing, and is
//! logged if it is slow. Bound values are never recorded.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use opentelemetry::{Context, KeyValue, trace::SpanKind};
use sea_orm::{DbErr, Statement};

use super::error;
use crate::telemetry::{
    metrics::{self, StatementOutcome},
    request, trace,
};

/// All tables, so that a summary contains no other names.
const TABLES: [&str; 18] = [
    "api_keys",
    "collections",
    "due_evaluations",
    "evaluations",
    "heartbeats",
    "job_lists",
    "jobs",
    "logins",
    "members",
    "products",
    "requests",
    "rule_entries",
    "rule_sets",
    "secrets",
    "segment_contents",
    "segments",
    "switched_lists",
    "tenants",
];

/// The observer of a database's statements. Clones share its state.
#[derive(Clone, Debug)]
pub(super) struct Observer(Arc<ObserverState>);

struct ObserverState {
    system: &'static str,
    /// The name and the address of the database, as span attributes.
    place: Vec<KeyValue>,
    /// Statements that take longer than this are logged.
    slow: Duration,
    /// A callback for each statement.
    count: OnceLock<Count>,
}

type Count = Box<dyn Fn(&Statement) + Send + Sync>;

impl fmt::Debug for ObserverState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Observer");
        debug.field("system", &self.system).finish_non_exhaustive()
    }
}

impl Observer {
    /// An observer for a database; `url` gives its name and address. Statements that take longer
    /// than `slow` are logged.
    pub(super) fn new(system: &'static str, url: Option<&str>, slow: Duration) -> Self {
        Self(Arc::new(ObserverState {
            system,
            place: url.map(place).unwrap_or_default(),
            slow,
            count: OnceLock::new(),
        }))
    }

    /// Calls `count` for each statement from now on. Only the first callback that is set is used.
    pub(super) fn on_statement(&self, count: impl Fn(&Statement) + Send + Sync + 'static) {
        let _ = self.0.count.set(Box::new(count));
    }

    /// Counts a statement that is about to be sent.
    pub(super) fn count(&self, statement: &Statement) {
        if let Some(count) = self.0.count.get() {
            count(statement);
        }
    }

    /// Starts a transaction's span and returns its context.
    pub(super) fn transaction(&self, name: &'static str) -> Context {
        trace::child_span(&Context::current(), name, SpanKind::Internal, Vec::new)
    }

    /// Records a finished statement; `failure` is its error, if it failed.
    pub(super) fn record(
        &self,
        parent: &Context,
        summary: Summary,
        took: Duration,
        failure: Option<&DbErr>,
    ) {
        let code = failure.map(error::code);
        let code = code.as_ref().map(|code| code.as_deref());
        metrics::statement(StatementOutcome {
            system: self.0.system,
            operation: summary.operation,
            table: summary.table,
            duration: took,
            failure: code,
        });
        self.span(parent, summary, took, code);
        if took >= self.0.slow {
            let duration_ms = (took.as_secs_f64() * 1e6).round() / 1e3;
            let statement = summary.text();
            let operation = request::operation();
            tracing::warn!(statement, operation, duration_ms, "slow statement");
        }
    }

    /// Records the span of a finished statement. `code` is `None` if it succeeded, else the
    /// database's error code, if any.
    pub(super) fn span(
        &self,
        parent: &Context,
        summary: Summary,
        took: Duration,
        code: Option<Option<&str>>,
    ) {
        let failed = code.map(|code| code.unwrap_or("_OTHER"));
        trace::past(parent, summary.text(), took, failed, || {
            self.attributes(summary, code)
        });
    }

    fn attributes(&self, summary: Summary, failure: Option<Option<&str>>) -> Vec<KeyValue> {
        let mut attributes = Vec::with_capacity(8);
        attributes.push(KeyValue::new("db.system.name", self.0.system));
        attributes.push(KeyValue::new("db.query.summary", summary.text()));
        attributes.push(KeyValue::new("db.operation.name", summary.operation));
        let table = summary.table;
        attributes.extend(table.map(|table| KeyValue::new("db.collection.name", table)));
        attributes.extend(self.0.place.iter().cloned());
        if let Some(code) = failure {
            let error = code.unwrap_or("_OTHER").to_owned();
            attributes.push(KeyValue::new("error.type", error));
            let code = code.map(|code| KeyValue::new("db.response.status_code", code.to_owned()));
            attributes.extend(code);
        }
        attributes
    }
}

/// The name and the address of the database in a URL, as span attributes.
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
    /// Whether it only reads.
    pub(super) fn is_read(self) -> bool {
        self.operation == "SELECT"
    }

    pub(super) const BEGIN: Self = Self {
        operation: "BEGIN",
        table: None,
    };
    /// Several statements in one message.
    pub(super) const BATCH: Self = Self {
        operation: "BATCH",
        table: None,
    };
    pub(super) const COMMIT: Self = Self {
        operation: "COMMIT",
        table: None,
    };

    /// The summary of an SQL text: the first verb that changes data, else `SELECT`, and the first
    /// table after it. After `WITH`, tables in parentheses count only if there is no other.
    pub(super) fn of(sql: &str) -> Self {
        let all = Self::of_words(sql);
        let with = sql.get(.."WITH ".len());
        if !with.is_some_and(|with| with.eq_ignore_ascii_case("WITH ")) {
            return all;
        }
        let outer = Self::of_words(&outer(sql));
        if outer.table.is_some() && outer.operation == all.operation {
            outer
        } else {
            all
        }
    }

    fn of_words(sql: &str) -> Self {
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
                // The UPDATE in `FOR UPDATE` is a lock, not a change.
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
        // A column may be named like a table, so only what follows one of these words counts.
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

/// The text without what is in parentheses.
fn outer(sql: &str) -> String {
    let mut depth = 0_u32;
    let is_outer = |c: &char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0
    };
    sql.chars().filter(is_outer).collect()
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
            (
                "WITH a AS (SELECT (1) FROM jobs), b AS (SELECT 1) SELECT 1 FROM a, members",
                "SELECT",
                Some("jobs"),
            ),
            (
                "WITH a AS (SELECT (1) FROM jobs), b AS (SELECT 1) SELECT 1 FROM a JOIN members",
                "SELECT",
                Some("members"),
            ),
            (
                "WITH a AS (SELECT 1 FROM jobs) SELECT a.*, (SELECT 1 FROM members) FROM a",
                "SELECT",
                Some("jobs"),
            ),
            (
                "WITH a AS (SELECT 1 FROM jobs) DELETE FROM members",
                "DELETE",
                Some("members"),
            ),
            ("PRAGMA wal_checkpoint(TRUNCATE)", "OTHER", None),
            ("SELECT 'a secret' FROM other", "SELECT", None),
            ("", "OTHER", None),
        ] {
            assert_eq!(Summary::of(sql), Summary { operation, table }, "{sql}");
        }
    }

    #[test]
    fn the_list_of_tables_matches_the_entities() {
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
