//! The data directory of the embedded database. It is created, checked, and locked, so that no two
//! servers use it and nothing migrates it under a running server.
//!
//! A server locks the lock file exclusively. Migrations share the lock with each other, because the
//! database serializes them anyway.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Access, access},
    io::Errno,
    process::geteuid,
};

use super::cause::{Cause, Kind};

const LOCK_FILE: &str = "endcap.lock";

/// Creates the directory of a database file if it is missing, and checks that the database can be
/// written there: SQLite would only report that it cannot open the file.
pub(super) fn prepare(database: &Path) -> Result<(), Cause> {
    let folder = folder(database);
    fs::create_dir_all(folder).map_err(|error| unusable(folder, &error))?;
    check(database)
}

/// Checks that existing files can be read and written.
pub(super) fn check(database: &Path) -> Result<(), Cause> {
    let mut paths = vec![folder(database).to_owned()];
    for suffix in ["", "-wal", "-shm"] {
        let mut path = database.as_os_str().to_owned();
        path.push(suffix);
        paths.push(path.into());
    }
    for path in paths.iter().filter(|path| path.exists()) {
        match access(path, Access::READ_OK | Access::WRITE_OK) {
            // SQLite has just removed the file: the last process that used it closed it.
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(unusable(path, &error.into())),
        }
    }
    Ok(())
}

/// A database file, which must stay the one that was found first. Connections to a file that was
/// removed or replaced still work, and lose everything that they write. A connection that is opened
/// to its replacement while others have the old one open makes SQLite truncate the `-shm` file that
/// those have mapped, and the process dies of SIGBUS.
#[derive(Clone, Debug)]
pub(super) struct DatabaseFile {
    path: PathBuf,
    /// Its device and inode; `None` until a file is found.
    first: Option<(u64, u64)>,
}

impl DatabaseFile {
    /// The file that is at this path now, if there is one.
    pub(super) fn at(path: &Path) -> Self {
        let path = path.to_owned();
        let first = identity(&path);
        Self { path, first }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Checks that the file is still there.
    ///
    /// # Errors
    /// If it was removed or replaced.
    pub(super) fn check(&self) -> Result<(), Cause> {
        self.now().map(drop)
    }

    /// Whether there is a file. The first one that is found is the one that must stay.
    ///
    /// # Errors
    /// If that was removed or replaced.
    pub(super) fn find(&mut self) -> Result<bool, Cause> {
        self.first = self.now()?;
        Ok(self.first.is_some())
    }

    /// The identity of the file that is there now, which must be the first one.
    fn now(&self) -> Result<Option<(u64, u64)>, Cause> {
        let now = identity(&self.path);
        if self.first.is_some() && self.first != now {
            return Err(Cause::new(Kind::Replaced, self.path.display().to_string()));
        }
        Ok(now)
    }
}

fn identity(database: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(database).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// The directory of a file; the current one if the path has no directory.
pub(super) fn folder(database: &Path) -> &Path {
    match database.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    }
}

/// Checks that the database can be used or created, without changing anything.
pub(super) fn check_place(database: &Path) -> Result<(), Cause> {
    let folder = folder(database);
    // Missing directories would be created in the nearest existing one.
    if let Some((above, metadata)) = nearest(folder) {
        if !metadata.is_dir() {
            return Err(unusable(folder, &Errno::NOTDIR.into()));
        }
        let may = access(above, Access::WRITE_OK | Access::EXEC_OK);
        may.map_err(|error| unusable(above, &error.into()))?;
    }
    check(database)
}

/// The path or its nearest existing ancestor, with its metadata.
fn nearest(path: &Path) -> Option<(&Path, fs::Metadata)> {
    path.ancestors().find_map(|path| {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        fs::metadata(path).ok().map(|metadata| (path, metadata))
    })
}

fn unusable(path: &Path, error: &io::Error) -> Cause {
    let mut detail = format!("{}: {error}", path.display());
    if error.kind() == io::ErrorKind::PermissionDenied
        // A missing file would be created in the nearest existing directory, so its owner matters.
        && let Some((above, metadata)) = nearest(path)
    {
        detail.push_str(&format!(
            " (this process runs as user {}; {} belongs to user {}, mode {:o})",
            geteuid().as_raw(),
            above.display(),
            metadata.uid(),
            metadata.mode() & 0o7777,
        ));
    }
    Cause::new(Kind::Folder, detail)
}

/// A lock on a data directory. It ends when this is dropped, or with the process.
#[derive(Debug)]
pub struct FolderLock {
    file: File,
    is_server: bool,
}

impl FolderLock {
    /// Locks the directory of a database file for a server.
    ///
    /// # Errors
    /// If another server or a migration has locked it, or if it cannot be used.
    pub(super) fn of_server(database: &Path) -> Result<Self, Cause> {
        Self::take(database, true)
    }

    /// Locks the directory of a database file for a migration.
    ///
    /// # Errors
    /// If a server has locked it, or if it cannot be used.
    pub(super) fn of_migration(database: &Path) -> Result<Self, Cause> {
        Self::take(database, false)
    }

    fn take(database: &Path, is_server: bool) -> Result<Self, Cause> {
        prepare(database)?;
        let path = folder(database).join(LOCK_FILE);
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(false);
        let mut file = file.open(&path).map_err(|error| unusable(&path, &error))?;
        let locked = if is_server {
            file.try_lock()
        } else {
            file.try_lock_shared()
        };
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(&mut file, path)),
            Err(TryLockError::Error(error)) => return Err(unusable(&path, &error)),
        }
        // The file may still contain the process id of a server that was killed.
        let mut written = file.set_len(0);
        if is_server {
            written = written.and_then(|()| write!(file, "{}", std::process::id()));
        }
        written.map_err(|error| unusable(&path, &error))?;
        Ok(Self { file, is_server })
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        if self.is_server
            && let Err(error) = self.file.set_len(0)
        {
            tracing::warn!(%error, "clearing the lock file of the data directory failed");
        }
    }
}

fn in_use(file: &mut File, path: PathBuf) -> Cause {
    let mut holder = String::new();
    // Only a server writes its process id.
    let is_said = file.read_to_string(&mut holder).is_ok() && !holder.is_empty();
    let holder = if is_said {
        format!("a server with process id {holder} has")
    } else {
        "another process has".to_owned()
    };
    Cause::new(Kind::InUse, format!("{holder} locked {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    use super::*;

    #[test]
    fn a_file_that_is_replaced_while_it_is_looked_for_is_not_taken_for_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("first");
        fs::write(&path, "").unwrap();
        let mut file = DatabaseFile::at(&path);
        let first = file.first;
        let (kept, other) = (folder.path().join("kept"), folder.path().join("other"));
        fs::hard_link(&path, &kept).unwrap();
        fs::write(&other, "").unwrap();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let new = folder.path().join("new");
                for from in [&other, &kept].into_iter().cycle() {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    fs::hard_link(from, &new).unwrap();
                    fs::rename(&new, &path).unwrap();
                    let _ = fs::remove_file(&new);
                }
            });
            for _ in 0..20_000 {
                drop(file.find());
                if file.first != first {
                    break;
                }
            }
            is_over.store(true, Ordering::Relaxed);
        });
        assert_eq!(file.first, first);
    }
}
