//! The data directory of the embedded database: created and checked.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

use rustix::{
    fs::{Access, access},
    process::geteuid,
};

use super::cause::{Cause, Kind};

/// Creates the directory of a database file if it is missing, and checks that the database can
/// be written there: SQLite would say no more than that it can't.
pub(super) fn prepare(database: &Path) -> Result<(), Cause> {
    let folder = folder(database);
    fs::create_dir_all(folder).map_err(|error| unusable(folder, &error))?;
    check(database)
}

/// Checks that what there is can be read and written.
pub(super) fn check(database: &Path) -> Result<(), Cause> {
    let mut paths = vec![folder(database).to_owned()];
    for suffix in ["", "-wal", "-shm"] {
        let mut path = database.as_os_str().to_owned();
        path.push(suffix);
        paths.push(path.into());
    }
    for path in paths.iter().filter(|path| path.exists()) {
        let checked = access(path, Access::READ_OK | Access::WRITE_OK);
        checked.map_err(|error| unusable(path, &error.into()))?;
    }
    Ok(())
}

/// The file's directory; of a name alone it is the current one.
pub(super) fn folder(database: &Path) -> &Path {
    match database.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    }
}

fn unusable(path: &Path, error: &io::Error) -> Cause {
    // What is missing belongs to whoever has the nearest directory above.
    let above = path.ancestors().find_map(|path| {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        fs::metadata(path).ok().map(|metadata| (path, metadata))
    });
    let mut detail = format!("{}: {error}", path.display());
    if error.kind() == io::ErrorKind::PermissionDenied
        && let Some((above, metadata)) = above
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
