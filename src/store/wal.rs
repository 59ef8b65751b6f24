//! Limits the size of SQLite's write-ahead log (WAL), which has committed data that is not in the
//! database file yet.
//!
//! SQLite moves the data over by itself, but it restarts the log only when no reader needs its
//! content. With many concurrent readers that may never happen, so the file never shrinks.

use std::{path::Path, time::Duration};

use sea_orm::ConnectionTrait as _;
use tokio::{fs, time::sleep};

use super::pool::Store;
use crate::telemetry::metrics;

/// How often the size is checked.
const LOOK: Duration = Duration::from_secs(1);

/// Keeps the log below `max` bytes, forever. Writers wait while it is truncated. Returns at once on
/// PostgreSQL.
pub async fn watch(store: &Store, max: u64) {
    let Some(path) = &store.wal else { return };
    // The database file has the same name with the extension `.db`.
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
        // Waits up to the busy timeout for readers that need the log, and truncates it.
        let emptied = store
            .writer
            .execute_unprepared("PRAGMA wal_checkpoint(TRUNCATE)")
            .await;
        metrics::checkpoint(emptied.is_ok());
        if let Err(error) = emptied {
            tracing::warn!(%error, size, "truncating the write-ahead log failed");
        }
    }
}
