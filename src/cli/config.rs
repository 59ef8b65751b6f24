//! `endcap config`: the settings in effect, printed or checked.

use std::process::ExitCode;

use super::{
    database::name,
    outcome::{Outcome, say},
};
use crate::{
    config::{Config, ConfigError, Problem},
    preflight,
    store::DatabasePlace,
};

pub(super) const HELP: &str = "\
The output is a TOML file of settings (--config). Secrets are hidden (***); one that was read from
a file is printed as the setting that names the file.

With --check all that the settings name is opened: certificates and keys, key files, the key set of
the issuer, the database and its directory, the addresses to listen on. All problems are reported at
once, and the status is then 1. Nothing is created or changed, and a server that runs with the same
settings is reported, because its addresses are in use.

Examples:
  endcap config > endcap.toml
  endcap --config endcap.toml config --check";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Check the settings and all that they name instead of printing them
    #[arg(long)]
    pub(super) check: bool,
}

pub(super) fn print(config: &Config) -> Outcome {
    say(&config.raw.to_toml());
    Ok(ExitCode::SUCCESS)
}

/// Opens all that is named. `problems` are those that the settings have among themselves.
pub(super) async fn check(config: &Config, mut problems: Vec<Problem>) -> Outcome {
    problems.extend(preflight::local(config));
    let pending = match preflight::remote(config).await {
        Ok(pending) => pending,
        Err(more) => {
            problems.extend(more);
            return Err(ConfigError(problems).into());
        }
    };
    if !problems.is_empty() {
        return Err(ConfigError(problems).into());
    }
    say("the configuration is valid\n");
    say(&database(&config.database.place, pending.as_deref()));
    Ok(ExitCode::SUCCESS)
}

/// What is to be said of the database.
fn database(place: &DatabasePlace, pending: Option<&[String]>) -> String {
    let when = match place {
        DatabasePlace::File(_) => "applied when the server starts",
        DatabasePlace::Url(_) => "to be applied by `endcap migrate`",
    };
    let place = name(place);
    match pending {
        None => format!("database {place}: does not exist yet, created when the server starts\n"),
        Some([]) => format!("database {place}: its schema is up to date\n"),
        Some(pending) => {
            let count = pending.len();
            let names: String = pending.iter().map(|name| format!("\n  {name}")).collect();
            format!("database {place}: {count} pending migrations, {when}:{names}\n")
        }
    }
}
