//! Probes a database over a connection of its own: the pool's may all be in use, and a pool keeps
//! retrying when an immediate diagnosis is wanted.

use std::time::Duration;

use sea_orm::sqlx::{
    self, Connection as _, PgConnection, Row as _, SqliteConnection, raw_sql,
    sqlite::SqliteConnectOptions,
};
use tokio::time::timeout;

use super::{
    access::{self, Connector},
    cause::{Cause, Kind},
    engine::{Database, DatabasePlace, connector},
    folder::{self, DatabaseFile},
    schema::Schema,
};

/// Finds which of the tables that describe the schema exist.
const POSTGRES_TABLES: &str = "SELECT relname::text FROM pg_catalog.pg_class WHERE oid IN \
     (to_regclass('seaql_migrations'), to_regclass('schema_compatibility'))";
const SQLITE_TABLES: &str = "SELECT name FROM sqlite_master WHERE type = 'table' AND name IN \
     ('seaql_migrations', 'schema_compatibility')";
const APPLIED: &str = "SELECT version FROM seaql_migrations";
const FLOOR: &str = "SELECT floor FROM schema_compatibility";
/// Returns a row if the role can use no schema of its search path.
const NO_SCHEMA: &str = "SELECT current_user::text WHERE current_schema() IS NULL";

/// Returns a row if the server is not a standby.
const NOT_IN_RECOVERY: &str = "SELECT current_user::text WHERE NOT pg_is_in_recovery()";

/// The privileges that a server needs and the role lacks.
const MISSING_RIGHTS: &str = "\
SELECT wanted || ' on ' || relname FROM pg_catalog.pg_class,
  unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS wanted
WHERE oid IN (
  to_regclass('api_keys'), to_regclass('collections'), to_regclass('due_evaluations'),
  to_regclass('evaluations'), to_regclass('heartbeats'), to_regclass('job_lists'),
  to_regclass('jobs'), to_regclass('logins'), to_regclass('members'),
  to_regclass('products'), to_regclass('requests'), to_regclass('rule_entries'),
  to_regclass('rule_sets'), to_regclass('secrets'), to_regclass('segment_contents'),
  to_regclass('segments'), to_regclass('switched_lists'), to_regclass('tenants'))
  AND NOT has_table_privilege(oid, wanted)
ORDER BY relname, wanted";

/// A probe of a database.
#[derive(Debug)]
pub struct Probe {
    target: Target,
    /// `None` before the first query, and after one that failed.
    live: Option<Live>,
    connect_timeout: Duration,
    answer_timeout: Duration,
}

#[derive(Debug)]
enum Target {
    Postgres(Box<Connector>),
    Sqlite(DatabaseFile),
}

#[derive(Debug)]
enum Live {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

impl Probe {
    /// A probe for the database. It does not connect yet.
    ///
    /// # Errors
    /// If the URL cannot be parsed.
    pub fn new(database: &Database) -> Result<Self, Cause> {
        let target = match &database.place {
            DatabasePlace::File(path) => Target::Sqlite(DatabaseFile::at(path)),
            DatabasePlace::Url(url) => Target::Postgres(Box::new(connector(database, url)?)),
        };
        Ok(Self {
            target,
            live: None,
            connect_timeout: database.acquire_timeout,
            answer_timeout: database.acquire_timeout,
        })
    }

    /// The same with another timeout for responses.
    #[must_use]
    pub fn answered_within(self, answer_timeout: Duration) -> Self {
        Self {
            answer_timeout,
            ..self
        }
    }

    /// Checks that the database file exists, for callers that must not create one. PostgreSQL
    /// reports that itself.
    ///
    /// # Errors
    /// If the file is missing.
    pub fn exists(&self) -> Result<(), Cause> {
        match &self.target {
            Target::Sqlite(file) if !file.path().exists() => {
                let path = file.path().display().to_string();
                Err(Cause::new(Kind::Missing, path))
            }
            Target::Sqlite(_) | Target::Postgres(_) => Ok(()),
        }
    }

    /// The migrations of the database. Needs only the privilege to read, and does not create a
    /// missing database.
    ///
    /// # Errors
    /// If the database cannot be queried; if its file is no longer the one that was found first. A
    /// file that was missing from the start counts as a database without migrations.
    pub async fn schema(&mut self) -> Result<Schema, Cause> {
        if let Target::Sqlite(file) = &mut self.target
            && !file.find()?
        {
            return Ok(Schema::default());
        }
        let tables = match self.target {
            Target::Sqlite(_) => SQLITE_TABLES,
            Target::Postgres(_) => POSTGRES_TABLES,
        };
        let tables = self.ask(tables).await?;
        let has = |name| tables.iter().any(|table| table == name);
        if !has("seaql_migrations") {
            self.check_search_path().await?;
            return Ok(Schema::default());
        }
        let applied = self.ask(APPLIED).await?;
        let floor = if has("schema_compatibility") {
            self.ask(FLOOR).await?.pop()
        } else {
            None
        };
        Ok(Schema::new(applied, floor))
    }

    /// Checks that a missing table is not just invisible to the role.
    async fn check_search_path(&mut self) -> Result<(), Cause> {
        if matches!(self.target, Target::Sqlite(_)) {
            return Ok(());
        }
        match self.ask(NO_SCHEMA).await?.pop() {
            Some(role) => Err(Cause::new(
                Kind::Rights,
                format!("role {role:?} has USAGE on no schema of its search_path"),
            )),
            None => Ok(()),
        }
    }

    /// Checks that the server is a hot standby; only such a server is used as a replica.
    ///
    /// # Errors
    /// If it is not; if it cannot be queried.
    pub async fn check_replica(&mut self) -> Result<(), Cause> {
        if self.ask(NOT_IN_RECOVERY).await?.is_empty() {
            return Ok(());
        }
        Err(Cause::new(Kind::NoReplica, "it is not in recovery"))
    }

    /// Checks that the role has all privileges that a server needs. SQLite has no privileges.
    ///
    /// # Errors
    /// With the missing privileges; if the database cannot be queried.
    pub async fn check_rights(&mut self) -> Result<(), Cause> {
        if matches!(self.target, Target::Sqlite(_)) {
            return Ok(());
        }
        let missing = self.ask(MISSING_RIGHTS).await?;
        if missing.is_empty() {
            Ok(())
        } else {
            let missing = missing.join(", ");
            Err(Cause::new(
                Kind::Rights,
                format!("the role lacks {missing}"),
            ))
        }
    }

    /// Runs a query and returns the first column of its rows.
    async fn ask(&mut self, sql: &'static str) -> Result<Vec<String>, Cause> {
        // Taken out, and put back only after a response: an interrupted connection is not clean.
        if let Some(mut live) = self.live.take()
            && let Ok(Ok(rows)) = timeout(self.answer_timeout, live.ask(sql)).await
        {
            self.live = Some(live);
            return Ok(rows);
        }
        // The old connection may have gone stale, so a new one decides.
        let place = self.target.place();
        let connecting = timeout(self.connect_timeout, self.target.connect());
        let connected = connecting.await.map_err(|_| silent(&place))?;
        let mut live = connected.map_err(|error| self.target.cause(&error))?;
        let response = timeout(self.answer_timeout, live.ask(sql)).await;
        let rows = response
            .map_err(|_| silent(&place))?
            .map_err(|error| self.target.cause(&error))?;
        self.live = Some(live);
        Ok(rows)
    }
}

fn silent(place: &str) -> Cause {
    Cause::new(Kind::Silent, place)
}

impl Target {
    /// The location of the database, without a password.
    fn place(&self) -> String {
        match self {
            Self::Sqlite(file) => file.path().display().to_string(),
            Self::Postgres(connector) => access::place(&connector.options()),
        }
    }

    fn cause(&self, error: &sqlx::Error) -> Cause {
        let cause = Cause::of_connecting(error, &self.place());
        match self {
            // SQLite's error says neither which file nor why.
            Self::Sqlite(file) => folder::check(file.path()).err().unwrap_or(cause),
            Self::Postgres(_) => cause,
        }
    }

    async fn connect(&self) -> Result<Live, sqlx::Error> {
        match self {
            Self::Sqlite(file) => {
                // Opened without settings that would change the file, such as the journal mode.
                let options = SqliteConnectOptions::new()
                    .filename(file.path())
                    .pragma("query_only", "ON");
                let connection = SqliteConnection::connect_with(&options).await?;
                Ok(Live::Sqlite(connection))
            }
            Self::Postgres(connector) => {
                let options = connector.current();
                let connection = PgConnection::connect_with(&options).await?;
                Ok(Live::Postgres(connection))
            }
        }
    }
}

impl Live {
    /// Unprepared, because no prepared statement may be left behind on a pooler's connection.
    async fn ask(&mut self, sql: &'static str) -> Result<Vec<String>, sqlx::Error> {
        match self {
            Self::Postgres(connection) => {
                let rows = raw_sql(sql).fetch_all(connection).await?;
                rows.iter().map(|row| row.try_get(0)).collect()
            }
            Self::Sqlite(connection) => {
                let rows = raw_sql(sql).fetch_all(connection).await?;
                rows.iter().map(|row| row.try_get(0)).collect()
            }
        }
    }
}
