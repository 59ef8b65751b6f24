//! The schema: which migrations a database has, whether this program may use it, and how it is
//! migrated.
//!
//! A program may use a schema that has all of its own migrations. The schema may also have
//! migrations of newer releases, as long as the compatibility floor, which is stored with the
//! schema, is not above the program's newest migration: see `migrations/src/floor.rs`.

use std::{collections::BTreeSet, time::Duration};

use endcap_migrations::Migrator;
use sea_orm::{ConnectionTrait as _, DatabaseTransaction, DbErr};
use sea_orm_migration::MigratorTrait as _;

use super::{
    cause::{Cause, Kind},
    engine::Engine,
    error::{retry_code, timed_out_on_a_lock},
    pool::Store,
};

/// The key of the PostgreSQL advisory lock that migrations take. Nothing else uses this number.
const MIGRATION_LOCK: i64 = 0x656e_6463_6170;

/// How long a migration waits for a table lock, as a PostgreSQL setting. Requests that need the
/// table queue up behind the migration, so it gives up soon and tries again. Otherwise a long
/// transaction, such as a backup, would block the migration, and the migration all requests.
const LOCK_TIMEOUT: &str = "2s";

/// The migrations of a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    applied: BTreeSet<String>,
    /// `None` in a database from before floors existed.
    floor: Option<String>,
}

impl Schema {
    pub(super) fn new(applied: impl IntoIterator<Item = String>, floor: Option<String>) -> Self {
        let applied = applied.into_iter().collect();
        Self { applied, floor }
    }

    /// The migrations of this program that are not applied yet, in order.
    pub fn pending(&self) -> Vec<String> {
        let mut all = known();
        all.retain(|name| !self.applied.contains(name));
        all
    }

    /// The applied migrations, in order, each with whether this program knows it.
    pub fn applied(&self) -> Vec<(&str, bool)> {
        let known = known();
        let applied = self.applied.iter();
        let applied = applied.map(|name| (name.as_str(), known.contains(name)));
        applied.collect()
    }

    /// The newest applied migration that this program does not know.
    pub fn newer(&self) -> Option<&str> {
        let applied = self.applied().into_iter().rev();
        let mut unknown = applied.filter_map(|(name, is_known)| (!is_known).then_some(name));
        unknown.next()
    }

    /// The oldest schema version that a program needs to have to use this schema. A program's
    /// schema version is the name of its newest migration.
    pub fn floor(&self) -> Option<&str> {
        self.floor.as_deref()
    }

    /// Whether this program may use the schema, ignoring pending migrations.
    ///
    /// # Errors
    /// If the floor is above this program's version.
    pub fn check_floor(&self) -> Result<(), Cause> {
        let own = own_version();
        match &self.floor {
            Some(floor) if *floor > own => {
                let version = env!("CARGO_PKG_VERSION");
                let detail = format!(
                    "it requires the migration {floor}; the newest migration of Endcap {version} \
                     is {own}"
                );
                Err(Cause::new(Kind::TooNew, detail))
            }
            _ => Ok(()),
        }
    }

    /// Whether this program may use the schema as it is.
    ///
    /// # Errors
    /// If migrations are pending, or as for [`Self::check_floor`].
    pub fn check(&self) -> Result<(), Cause> {
        self.check_floor()?;
        let pending = self.pending();
        if pending.is_empty() {
            Ok(())
        } else {
            Err(Cause::new(Kind::Pending, pending.join(", ")))
        }
    }
}

/// This program's migrations, in order.
fn known() -> Vec<String> {
    let files = Migrator::get_migration_files();
    files.iter().map(|file| file.name().to_owned()).collect()
}

/// The schema version of this program: the name of its newest migration.
pub fn own_version() -> String {
    known().pop().unwrap_or_default()
}

impl Store {
    /// Applies all pending migrations in one transaction, one process at a time. Returns the names
    /// of the applied migrations: none if another process was faster.
    ///
    /// # Errors
    /// If a migration fails; then all of them are rolled back.
    pub async fn migrate(&self) -> Result<Vec<String>, Cause> {
        const ATTEMPTS: u32 = 10;
        let mut attempt = 1;
        loop {
            match self.migrate_once().await {
                // Transactions of other clients were in the way.
                Err(error) if is_in_the_way(&error) && attempt < ATTEMPTS => {
                    tokio::time::sleep(Duration::from_millis(50) * attempt).await;
                    attempt += 1;
                }
                result => return Ok(result?),
            }
        }
    }

    async fn migrate_once(&self) -> Result<Vec<String>, DbErr> {
        let tx = self.begin_migration().await?;
        let pending = Migrator::get_pending_migrations(&tx).await?;
        Migrator::up(&tx, None).await?;
        tx.commit().await?;
        let names = pending.iter().map(|migration| migration.name().to_owned());
        Ok(names.collect())
    }

    /// Begins a transaction in which no other process migrates.
    async fn begin_migration(&self) -> Result<DatabaseTransaction, DbErr> {
        let tx = self.writer.begin_migration().await?;
        if self.engine() == Engine::Postgres {
            // A lock of the transaction, not of the session: a pooler may give the next transaction
            // another connection.
            let lock = format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})");
            tx.execute_unprepared(&lock).await?;
            // Set after the advisory lock was taken, because that wait must not time out.
            let set_timeout = format!("SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'");
            tx.execute_unprepared(&set_timeout).await?;
        }
        Ok(tx)
    }
}

fn is_in_the_way(error: &DbErr) -> bool {
    retry_code(error) || timed_out_on_a_lock(error)
}
