//! Backups of the embedded database.

use std::{
    fs::File,
    io,
    path::{self, Path},
    time::Duration,
};

use sea_orm::sqlx::{self, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{cause::Cause, folder};

/// How long it waits for whoever is just opening or recovering the database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a backup was not made.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The name is taken.
    #[error("{0} exists: a backup replaces no file")]
    Exists(String),
    /// SQLite takes names in UTF-8.
    #[error("{0} is not UTF-8")]
    Name(String),
    /// It can't be written.
    #[error("{0}: {1}")]
    File(String, #[source] io::Error),
    /// The database can't be read, or the copy not be written.
    #[error(transparent)]
    Database(#[from] Cause),
}

/// Copies a database to a new file that nobody else may read, as it is at one moment, while others
/// read and write it. The file has its name only once it is whole and on the disk. Returns its size
/// in bytes.
///
/// # Errors
/// Where the file exists or can't be written, or the database can't be read. Then there is no file.
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
    // The name, too.
    opened.sync_all().map_err(named)?;
    Ok(size)
}

/// Into a file that is empty.
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
