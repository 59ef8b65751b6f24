//! The commands.

mod check;
mod children;
mod config;
mod key;
mod outcome;
mod progress;
mod secret;

use std::{
    path::PathBuf,
    process::{self, ExitCode},
    thread,
    time::Duration,
};

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use outcome::{Failure, Outcome, failed, from_here, say};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

use crate::{
    app::{self, App},
    config::{Config, ConfigError, Flags, Kind, SETTINGS, Setting},
    store::{Engine, Store},
    telemetry,
};

const EXAMPLES: &str = "\
Examples:
  endcap                                     serve, with the embedded database in ./data
  endcap --data-dir /var/lib/endcap          … in another folder
  endcap --config /etc/endcap.toml           … with settings from a file
  endcap --database-url postgres://endcap:secret@db/endcap migrate
                                             bring a PostgreSQL database up to date
  endcap check                               check all that the database holds
  endcap import children ids.txt --collection summer
                                             add a file's ids to a running server's list
  endcap key create --label importer --tenant shop --scope collections.write
                                             make a key and print it, once
  endcap config                              print the effective settings as TOML

Every setting is also an environment variable (--grpc-addr is ENDCAP_GRPC_ADDR) and a key
of the file (grpc_addr). Flags come first, then the environment, then the file.";

/// Product collections over gRPC, HighLevel's and Oracle Commerce's REST
#[derive(Debug, Parser)]
#[command(name = "endcap", version, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// A file of settings, in TOML [env: ENDCAP_CONFIG]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve; the default
    Serve,
    /// Bring the database's schema up to date
    Migrate,
    /// Ask a running server whether it is ready; exits with 1 where it is not
    Healthcheck,
    /// Check that the lists in the database hold together; exits with 1 where they don't
    #[command(after_help = check::HELP)]
    Check,
    /// Bring what a file has into a running server
    #[command(subcommand)]
    Import(Import),
    /// Get what a running server has into a file
    #[command(subcommand)]
    Export(Export),
    /// Keys by which programs say who they are
    #[command(subcommand)]
    Key(key::Command),
    /// Manage the secrets that sign tokens
    #[command(subcommand)]
    Secret(secret::Command),
    /// Print the effective settings, or check them
    #[command(after_help = config::HELP)]
    Config(config::Args),
}

#[derive(Debug, Subcommand)]
enum Import {
    /// Append a file's ids, one a line, to a collection's list of children
    #[command(after_help = children::import::HELP)]
    Children(children::import::Args),
}

#[derive(Debug, Subcommand)]
enum Export {
    /// Write a collection's list of children, one id a line
    #[command(after_help = children::export::HELP)]
    Children(children::export::Args),
}

/// Runs the command that the process was started with.
pub async fn run() -> ExitCode {
    let cli = match parse() {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let file = cli
        .config
        .or_else(|| std::env::var_os("ENDCAP_CONFIG").map(PathBuf::from));
    let command = cli.command.unwrap_or(Command::Serve);
    let (config, problems) = match app::config_to_check(&cli.flags, file) {
        Ok(loaded) => loaded,
        Err(error) => return failed(&error),
    };
    let result = match command {
        Command::Config(config::Args { check: true }) => config::check(&config, problems).await,
        _ if !problems.is_empty() => Err(ConfigError(problems).into()),
        Command::Serve => serve(&config).await,
        Command::Migrate => migrate(&config).await,
        Command::Healthcheck => healthcheck(&config).await,
        Command::Check => check::run(&config).await,
        Command::Import(Import::Children(args)) => children::import::run(&config, &args).await,
        Command::Export(Export::Children(args)) => children::export::run(&config, &args).await,
        Command::Key(command) => key::run(&config, command).await,
        Command::Secret(command) => secret::run(&config, command).await,
        Command::Config(_) => config::print(&config),
    };
    result.unwrap_or_else(|error| failed(error.as_ref()))
}

/// The command line. Each setting's help gets its variable and its default, which one
/// table holds.
fn parse() -> Result<Cli, clap::Error> {
    let command = Cli::command().mut_args(|arg| {
        let name = arg.get_id().to_string();
        let Some(Setting { default, kind, .. }) = SETTINGS.iter().find(|it| it.name == name) else {
            return arg;
        };
        let mut help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        match kind.when_set() {
            Kind::Choice(all) => help.push_str(&format!(" [values: {}]", all.join(", "))),
            Kind::List(Kind::Choice(all)) => {
                let all = all.join(", ");
                help.push_str(&format!(" [values, separated by commas: {all}]"));
            }
            Kind::List(_) => help.push_str(" [separated by commas]"),
            Kind::Boolean
            | Kind::Integer { .. }
            | Kind::Size(_)
            | Kind::Text(_)
            | Kind::Optional(_) => {}
        }
        if !default.is_empty() {
            help.push_str(&format!(" [default: {default}]"));
        }
        arg.help(help)
    });
    Cli::from_arg_matches(&command.try_get_matches()?)
}

async fn serve(config: &Config) -> Outcome {
    telemetry::init(&config.log)?;
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
        crate::store::DatabasePlace::File(path) => {
            tracing::info!(file = %path.display(), "the data is in the embedded database");
        }
        crate::store::DatabasePlace::Url(_) => tracing::info!("the data is in PostgreSQL"),
    }
    if !app.asks() {
        tracing::warn!("nobody is asked who they are: every caller may do everything");
    } else if config.listen.tls.is_none() && !addresses.grpc.ip().is_loopback() {
        tracing::warn!("credentials come without TLS: something before the server must speak it");
    }
    let stop = stop_signal(config.listen.shutdown_delay + config.listen.drain_timeout)?;
    let drained = app.run(stop).await;
    Ok(if drained {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Ends at SIGTERM or SIGINT. After that the process ends in so much time, whatever it does: a
/// thread of its own sees to that, for the others may all be busy.
fn stop_signal(time: Duration) -> std::io::Result<impl Future<Output = ()>> {
    /// For what follows the drain: the database is closed.
    const GRACE: Duration = Duration::from_secs(2);
    let (stop, stopped) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let (mut terminate, mut interrupt) = {
        let _entered = runtime.enter();
        let interrupt = signal(SignalKind::interrupt())?;
        (signal(SignalKind::terminate())?, interrupt)
    };
    thread::Builder::new().name("stop".into()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        });
        let _ = stop.send(());
        thread::sleep(time + GRACE);
        tracing::error!("requests did not end within the drain timeout: the process ends");
        process::exit(1);
    })?;
    Ok(async move {
        // Without a sender there is no signal to wait for.
        drop(stopped.await);
    })
}

async fn migrate(config: &Config) -> Outcome {
    telemetry::init(&config.log)?;
    let store = Store::connect(&config.database).await?;
    let pending = match store.engine() {
        Engine::Sqlite => None,
        Engine::Postgres => Some(store.pending_migrations().await?),
    };
    store.migrate().await?;
    store.close().await;
    match pending {
        Some(0) => say("the schema was up to date\n"),
        Some(pending) => say(&format!("applied {pending} migrations\n")),
        None => say("the schema is up to date\n"),
    }
    Ok(ExitCode::SUCCESS)
}

async fn healthcheck(config: &Config) -> Outcome {
    const TIMEOUT: Duration = Duration::from_secs(5);
    let address = from_here(config.listen.admin);
    let ask = async {
        let stream = tokio::net::TcpStream::connect(address).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = http::Request::get("/readyz")
            .header("host", address.to_string())
            .body(Empty::<bytes::Bytes>::new())?;
        let response = sender.send_request(request).await?;
        Ok::<_, Failure>(response.status())
    };
    let status = tokio::time::timeout(TIMEOUT, ask)
        .await
        .map_err(|_| format!("{address} did not answer in {} s", TIMEOUT.as_secs()))?
        .map_err(|error| format!("{address}: {error}"))?;
    if status.is_success() {
        say("ready\n");
        Ok(ExitCode::SUCCESS)
    } else {
        Err(format!("{address} is not ready: {status}").into())
    }
}
