//! The command line: parses it, loads the settings, and runs a command. Each command has a module
//! of its own.

mod backup;
mod check;
mod children;
mod completions;
mod config;
mod database;
mod demo;
mod help;
mod key;
mod migrate;
mod outcome;
mod output;
mod progress;
mod reindex;
mod secret;
mod stop;

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::OnceLock,
    time::{Duration, Instant},
};

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use outcome::{Failure, Outcome, failed, from_here, say};
use output::Output;
use stop::{MIN_FLUSH, stop_signal};

use crate::{
    app::{self, App},
    config::{Config, ConfigError, Flags},
    crypto,
    store::DatabasePlace,
    telemetry,
};

const EXAMPLES: &str = "\
Examples:
  endcap                                     serve, with the embedded database in ./data
  endcap --data-dir /var/lib/endcap          serve, with another data directory
  endcap --config /etc/endcap.toml           serve, with settings from a file
  endcap --database-url postgres://endcap:secret@db/endcap migrate
                                             migrate a PostgreSQL database
  endcap demo                                try it, with a temporary sample catalogue
  endcap check                               verify the integrity of the data
  endcap check --output json                 verify it and print the result as JSON
  endcap reindex                             rebuild the lists of smart collections
  endcap backup endcap.bak                   copy the embedded database, while it is in use
  endcap import children ids.txt --collection summer
                                             append ids to a list of a running server
  endcap key create --label importer --tenant shop --scope collections.write
                                             create an API key and print it
  endcap config                              print the effective settings as TOML
  endcap config --check                      check the settings and what they refer to
  endcap serve --help                        list all settings

Each setting is also an environment variable (--grpc-addr is ENDCAP_GRPC_ADDR) and a key of the
file (grpc_addr). Flags take precedence over the environment, and the environment over the file.";

/// Product collections over gRPC and the REST APIs of HighLevel and Oracle Commerce
#[derive(Debug, Parser)]
#[command(name = "endcap", version, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// TOML file of settings [env: ENDCAP_CONFIG]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server; the default
    Serve,
    /// Run a server with a sample catalogue in a temporary directory, and show what Endcap can do
    #[command(after_help = demo::HELP)]
    Demo(demo::Args),
    /// Apply pending migrations to the database
    #[command(after_help = migrate::HELP)]
    Migrate(migrate::Args),
    /// Copy the embedded database to a file, while servers use it
    #[command(after_help = backup::HELP)]
    Backup(backup::Args),
    /// Check that a running server is ready; exit status 1 if not
    Healthcheck {
        /// Host and port of the server's admin port [default: --admin-addr on this machine]
        #[arg(value_name = "HOST:PORT")]
        address: Option<String>,
    },
    /// Verify the integrity of the data in the database; exit status 1 if there is a problem
    #[command(after_help = check::HELP)]
    Check(Output),
    /// Rebuild the lists of smart collections that do not match their rules
    #[command(after_help = reindex::HELP)]
    Reindex(reindex::Args),
    /// Import data into a running server
    #[command(subcommand)]
    Import(Import),
    /// Export data from a running server
    #[command(subcommand)]
    Export(Export),
    /// Manage API keys
    #[command(subcommand)]
    Key(key::Command),
    /// Manage the secrets that sign login tokens and page tokens
    #[command(subcommand)]
    Secret(secret::Command),
    /// Print the effective settings, or check them
    #[command(after_help = config::HELP)]
    Config(config::Args),
    /// Print a shell completion script for commands and flags
    #[command(after_help = completions::HELP)]
    Completions(completions::Args),
}

#[derive(Debug, Subcommand)]
enum Import {
    /// Append the ids in a file to the lists of collections
    #[command(after_help = children::import::HELP)]
    Children(children::import::Args),
}

#[derive(Debug, Subcommand)]
enum Export {
    /// Write a list of a collection, one id per line
    #[command(after_help = children::export::HELP)]
    Children(children::export::Args),
}

/// Runs the command that the process was started with.
pub async fn run() -> ExitCode {
    crypto::install();
    let matches = command().try_get_matches();
    let cli = match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let file = cli
        .config
        .or_else(|| std::env::var_os("ENDCAP_CONFIG").map(PathBuf::from))
        .filter(|file| !file.as_os_str().is_empty());
    let command = cli.command.unwrap_or(Command::Serve);
    let checks_migrations = matches!(&command, Command::Migrate(args) if args.checks());
    let loaded = app::config_to_check(&cli.flags, file);
    let result = execute(command, &cli.flags, loaded).await;
    result.unwrap_or_else(|error| match failed(error.as_ref()) {
        // `migrate --check` uses 1 for pending migrations.
        _ if checks_migrations => migrate::UNKNOWN.into(),
        code => code,
    })
}

/// The command line, as it is parsed and documented.
pub fn command() -> clap::Command {
    help::complete(Cli::command())
}

async fn execute(command: Command, flags: &Flags, loaded: config::Loaded) -> Outcome {
    match (command, loaded) {
        // Completions don't use settings, so invalid ones must not break the start of a shell.
        (Command::Completions(args), _) => completions::print(help::visible(Cli::command()), &args),
        // The demo ignores the loaded settings, which may be invalid.
        (Command::Demo(args), _) => demo::run(flags, &args).await,
        (Command::Config(args), loaded) if args.check => config::check(loaded, &args).await,
        (_, Err(error)) => Err(error.into()),
        (_, Ok((_, problems))) if !problems.is_empty() => Err(ConfigError(problems).into()),
        (Command::Serve, Ok((config, _))) => serve(&config).await,
        (Command::Migrate(args), Ok((config, _))) => migrate::run(&config, &args).await,
        (Command::Backup(args), Ok((config, _))) => backup::run(&config, &args).await,
        (Command::Healthcheck { address }, Ok((config, _))) => healthcheck(&config, address).await,
        (Command::Check(output), Ok((config, _))) => check::run(&config, output).await,
        (Command::Reindex(args), Ok((config, _))) => reindex::run(&config, &args).await,
        (Command::Import(Import::Children(args)), Ok((config, _))) => {
            children::import::run(&config, &args).await
        }
        (Command::Export(Export::Children(args)), Ok((config, _))) => {
            children::export::run(&config, &args).await
        }
        (Command::Key(command), Ok((config, _))) => key::run(&config, command).await,
        (Command::Secret(command), Ok((config, _))) => secret::run(&config, command).await,
        (Command::Config(args), Ok((config, _))) => config::print(&config, &args),
    }
}

async fn serve(config: &Config) -> Outcome {
    let otlp = telemetry::start(&config.telemetry)?;
    let (served, end) = match serve_until_stopped(config).await {
        Ok((code, end)) => (Ok(code), end),
        Err(error) => (Err(error), Instant::now()),
    };
    let left = end.saturating_duration_since(Instant::now());
    otlp.shutdown(left.max(MIN_FLUSH)).await;
    served
}

/// Serves until the process is stopped. Returns the exit status, and the time until which telemetry
/// may be exported.
async fn serve_until_stopped(config: &Config) -> Result<(ExitCode, Instant), Failure> {
    let app = App::bind(config).await?;
    let addresses = app.addresses();
    tracing::info!(
        grpc = %addresses.grpc,
        http = %addresses.http,
        admin = %addresses.admin,
        version = env!("CARGO_PKG_VERSION"),
        "serving"
    );
    match &config.database.place {
        place @ DatabasePlace::File(_) => {
            tracing::info!(file = %database::name(place), "using the embedded database");
        }
        place @ DatabasePlace::Url(_) => tracing::info!(database = %place, "using PostgreSQL"),
    }
    if !app.authentication_enabled() {
        tracing::warn!("authentication is disabled: every caller may do everything");
    } else if config.listen.tls.is_none() && !addresses.grpc.ip().is_loopback() {
        tracing::warn!("credentials are sent without TLS: terminate TLS in front of the server");
    }
    let end = OnceLock::new();
    let stop = stop_signal(config.listen.shutdown_delay + config.listen.drain_timeout)?;
    let time = config.listen.shutdown_delay + config.listen.drain_timeout;
    let stop = async {
        stop.await;
        let _ = end.set(Instant::now() + time);
    };
    let drained = app.run(stop).await;
    let code = if drained {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    };
    Ok((code, end.get().copied().unwrap_or_else(Instant::now)))
}

async fn healthcheck(config: &Config, address: Option<String>) -> Outcome {
    const TIMEOUT: Duration = Duration::from_secs(5);
    /// The maximum size of the response, which is a single line.
    const MAX_BODY: usize = 64 << 10;
    let address = address.unwrap_or_else(|| from_here(config.listen.admin).to_string());
    let ask = async {
        let stream = tokio::net::TcpStream::connect(&address).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = http::Request::get("/readyz")
            .header("host", &address)
            .body(Empty::<bytes::Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_BODY);
        let body = body.collect().await?.to_bytes();
        Ok::<_, Failure>((status, String::from_utf8_lossy(&body).trim().to_owned()))
    };
    let (status, body) = tokio::time::timeout(TIMEOUT, ask)
        .await
        .map_err(|_| format!("{address}: no response within {} s", TIMEOUT.as_secs()))?
        .map_err(|error| format!("{address}: {error}"))?;
    if status.is_success() {
        say("ready\n");
        Ok(ExitCode::SUCCESS)
    } else {
        Err(format!("{address} responded with {status}: {body}").into())
    }
}
