//! Online backups of the embedded database, by `VACUUM INTO` a new file.

use std::{
    fs::File,
    io,
    path::{self, Path},
    time::Duration,
};

use sea_orm::sqlx::{self, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{cause::Cause, folder};

/// How long to wait for a process that is opening or recovering the database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a backup failed.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The target exists already.
    #[error("{0} already exists; a backup does not replace files")]
    Exists(String),
    /// The file name is not UTF-8, which SQLite requires.
    #[error("{0} is not UTF-8")]
    Name(String),
    /// The target cannot be written.
    #[error("{0}: {1}")]
    File(String, #[source] io::Error),
    /// The database cannot be read, or the copy cannot be written.
    #[error(transparent)]
    Database(#[from] Cause),
}

/// Copies a database to a new file that only its owner may read. The copy is a consistent snapshot,
/// even if others write to the database. The file appears under its name only once it is complete
/// and synced to disk. Returns its size in bytes.
///
/// # Errors
/// If the file exists or cannot be written, or if the database cannot be read. Then no file is left
/// behind.
pub async fn sqlite(database: &Path, file: &Path) -> Result<u64, BackupError> {
    let named = |error: io::Error| BackupError::File(file.display().to_string(), error);
    if file.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(file.display().to_string()));
    }
    let folder = path::absolute(folder::folder(file)).map_err(named)?;
    let opened = File::open(&folder).map_err(named)?;
    let copy = tempfile::Builder::new()
        .prefix(".endcap-backup-")
        .tempfile_in(&folder)
        .map_err(named)?;
    vacuum_into(database, copy.path()).await?;
    copy.as_file().sync_all().map_err(named)?;
    let size = copy.as_file().metadata().map_err(named)?.len();
    copy.persist_noclobber(file).map_err(|error| {
        if error.error.kind() == io::ErrorKind::AlreadyExists {
            BackupError::Exists(file.display().to_string())
        } else {
            named(error.error)
        }
    })?;
    // Sync the directory as well, so that the new name survives a power failure.
    opened.sync_all().map_err(named)?;
    Ok(size)
}

/// Copies the database into an empty file.
async fn vacuum_into(database: &Path, file: &Path) -> Result<(), BackupError> {
    let name = file
        .to_str()
        .ok_or_else(|| BackupError::Name(file.display().to_string()))?;
    let place = database.display().to_string();
    let failed = |error: sqlx::Error| Cause::of_connecting(&error, &place);
    let options = SqliteConnectOptions::new()
        .filename(database)
        .busy_timeout(BUSY_TIMEOUT);
    let mut connection = SqliteConnection::connect_with(&options)
        .await
        .map_err(failed)?;
    sqlx::query("VACUUM INTO ?")
        .bind(name)
        .execute(&mut connection)
        .await
        .map_err(failed)?;
    connection.close().await.map_err(failed)?;
    Ok(())
}
