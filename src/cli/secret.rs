//! `endcap secret`: the secrets that all processes on one database share.

use std::process::ExitCode;

use super::outcome::{Outcome, say};
use crate::{app, config::Config, domain::Caller, store::secrets};

const HELP: &str = "\
The secrets sign the tokens of logins and the page tokens of lists. Servers sign with the new
secrets within a minute, without a restart. What the present ones signed is valid until the next
rotation; so after a leak, rotate twice, a minute apart: logins, and readers of pages, then have
to begin again.

A secret that is kept in a file (token_secret_file) is not changed.";

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Replace the secrets in the database
    #[command(after_help = HELP)]
    Rotate,
}

pub(super) async fn run(config: &Config, command: Command) -> Outcome {
    let caller = Caller::operator(config.auth.default_tenant.clone()).administering()?;
    match command {
        Command::Rotate => {
            let store = app::open(&config.database).await?;
            let count = secrets::rotate(&store, &caller).await?;
            store.close().await;
            say(&format!("rotated {count} secrets\n"));
        }
    }
    Ok(ExitCode::SUCCESS)
}
