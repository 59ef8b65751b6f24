//! `endcap config`: prints the effective settings, or checks them.

use std::process::ExitCode;

use serde_json::json;

use super::{database::name, outcome::Outcome, output::Output};
use crate::{
    config::{Config, ConfigError, Problem},
    preflight,
    store::DatabasePlace,
};

pub(super) const HELP: &str = "\
The output is a TOML file of settings (--config). Secrets are hidden (***); a secret that was
read from a file is printed as the setting that names the file.

--check checks everything that the settings refer to: certificates and keys, key files, the key set
of the issuer, the database and its directory, the addresses to listen on. It reports all problems at
once, and the exit status is then 1. It creates and changes nothing. If a server is running with the
same settings, it reports that the addresses are in use.

Examples:
  endcap config > endcap.toml
  endcap --config endcap.toml config --check";

/// The settings and their conflicts with each other, or the problems of single settings.
pub(super) type Loaded = Result<(Config, Vec<Problem>), ConfigError>;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Check the settings, and everything that they refer to, instead of printing them
    #[arg(long)]
    pub(super) check: bool,
    #[command(flatten)]
    output: Output,
}

pub(super) fn print(config: &Config, args: &Args) -> Outcome {
    let text = config.raw.to_toml();
    let table: toml::Table = text.parse()?;
    args.output.print(&text, &serde_json::to_value(table)?);
    Ok(ExitCode::SUCCESS)
}

/// Checks settings that were loaded, and everything that they name.
pub(super) async fn check(loaded: Loaded, args: &Args) -> Outcome {
    match checked(loaded).await {
        Ok((place, pending)) => {
            let database = database(&place, pending.as_deref());
            args.output.print(
                &format!("the configuration is valid\n{database}"),
                &json!({
                    "valid": true, "problems": [], "database": name(&place),
                    "database_exists": pending.is_some(),
                    "pending_migrations": pending.unwrap_or_default(),
                }),
            );
            Ok(ExitCode::SUCCESS)
        }
        // The problems are the result, so JSON output has them on standard output.
        Err(ConfigError(problems)) if args.output.is_json() => {
            let json = json!({"valid": false, "problems": problems});
            args.output.print("", &json);
            Ok(ExitCode::FAILURE)
        }
        Err(error) => Err(error.into()),
    }
}

/// The database and its pending migrations; `None` if it does not exist yet.
async fn checked(loaded: Loaded) -> Result<(DatabasePlace, Option<Vec<String>>), ConfigError> {
    let (config, mut problems) = loaded?;
    problems.extend(preflight::local(&config));
    match preflight::remote(&config).await {
        Ok(pending) if problems.is_empty() => Ok((config.database.place, pending)),
        Ok(_) => Err(ConfigError(problems)),
        Err(more) => {
            problems.extend(more);
            Err(ConfigError(problems))
        }
    }
}

/// The state of the database, in words.
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
