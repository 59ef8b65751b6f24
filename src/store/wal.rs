//! The write-ahead log of SQLite: what was committed and is not in the database file yet.
//!
//! SQLite moves it there by itself, but begins the log again only when no reader needs what is
//! in it. Under many readers that may never be, and the file never shrinks.

use std::{path::Path, time::Duration};

use sea_orm::ConnectionTrait as _;
use tokio::{fs, time::sleep};

use super::pool::Store;
use crate::telemetry::metrics;

/// How often its size is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Keeps the log under so many bytes, forever; writers wait meanwhile. Does nothing on
/// PostgreSQL.
pub async fn watch(store: &Store, max: u64) {
    let Some(path) = &store.wal else { return };
    // The same name without `-wal`.
    let database = path.with_extension("db");
    let database = database.as_path();
    loop {
        sleep(LOOK).await;
        let size = async |path: &Path| fs::metadata(path).await.map_or(0, |file| file.len());
        let (database, size) = (size(database).await, size(path).await);
        metrics::sqlite_files(database, size);
        if size <= max {
            continue;
        }
        // Waits for readers that need what is in it, up to the busy timeout, and empties it.
        let emptied = store
            .writer
            .execute_unprepared("PRAGMA wal_checkpoint(TRUNCATE)")
            .await;
        metrics::checkpoint(emptied.is_ok());
        if let Err(error) = emptied {
            tracing::warn!(%error, size, "emptying the write-ahead log");
        }
    }
}
