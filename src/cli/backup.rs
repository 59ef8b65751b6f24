//! `endcap backup`: a copy of the embedded database.

use std::{path::PathBuf, process::ExitCode};

use serde_json::json;

use super::{outcome::Outcome, output::Output};
use crate::{
    config::Config,
    store::{DatabasePlace, Probe, backup},
};

pub(super) const HELP: &str = "\
The copy is a consistent snapshot. Servers can read and write the database meanwhile. Only its
owner can read the file, and the file gets its name only when it is complete and on disk; an existing
file is not replaced.

To restore, copy the file to endcap.db in an empty data directory. docs/operate/backup-and-restore.md has
the details, and describes how to back up PostgreSQL.

Example:
  endcap --data-dir /var/lib/endcap backup /backups/endcap-2026-11-26.db";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file to write
    file: PathBuf,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(config: &Config, args: &Args) -> Outcome {
    let DatabasePlace::File(database) = &config.database.place else {
        return Err(
            "PostgreSQL is backed up by pg_dump, not by this command; see \
                    docs/operate/backup-and-restore.md"
                .into(),
        );
    };
    let mut probe = Probe::new(&config.database)?;
    probe.exists()?;
    // The database of an older version can be backed up too, before it is migrated.
    probe.schema().await?.check_floor()?;
    let size = backup::sqlite(database, &args.file).await?;
    let file = args.file.display().to_string();
    args.output.print(
        &format!("{size} bytes written to {file}\n"),
        &json!({"file": file, "size_bytes": size}),
    );
    Ok(ExitCode::SUCCESS)
}
