//! `endcap secret`: manages the signing secrets that all processes on a database share.

use std::process::ExitCode;

use serde_json::json;

use super::{
    database,
    outcome::{Outcome, note},
    output::Output,
};
use crate::{config::Config, domain::Caller, store::secrets};

const HELP: &str = "\
The secrets sign login tokens and page tokens. Servers use the new secrets within a minute, without
a restart. Tokens that were signed with the previous secrets are valid until the next rotation. So
after a leak, rotate twice, more than a minute apart: clients then have to log in again, and to read
lists again from the start.

A secret in a file (token_secret_file) is not changed.

Example:
  endcap --database-url postgres://endcap:secret@db/endcap secret rotate";

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Replace the secrets in the database
    #[command(after_help = HELP)]
    Rotate(Output),
}

pub(super) async fn run(config: &Config, command: Command) -> Outcome {
    let caller = Caller::operator(config.auth.default_tenant.clone()).administering()?;
    match command {
        Command::Rotate(output) => {
            let store = database::existing(config, "").await?;
            let count = secrets::rotate(&store, &caller).await?;
            store.close().await;
            let place = database::name(&config.database.place);
            output.print(
                &format!("secrets rotated: {count}\n"),
                &json!({"rotated_count": count, "database": place}),
            );
            note(&format!("in the database {place}\n"));
        }
    }
    Ok(ExitCode::SUCCESS)
}
