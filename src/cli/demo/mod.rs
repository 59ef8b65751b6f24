//! `endcap demo`: runs a server with a sample catalogue in a temporary directory, which is removed
//! when it stops.

mod catalogue;
mod client;
mod comparison;
mod names;
mod positions;
mod tour;

use std::{future::pending, path::Path, pin::pin, process::ExitCode};

use tokio::sync::oneshot;

use super::{
    outcome::{Failure, Outcome, from_here, note, say},
    stop::{MIN_FLUSH, stop_signal},
};
use crate::{
    app::{self, Addresses, App},
    config::{Config, ConfigError, Flags, Setting},
    telemetry,
};
use client::Client;

pub(super) const HELP: &str = "\
Starts a server on this machine, with its data in a temporary directory, and loads a sample
catalogue with images, a hierarchy, smart collections and one list of a million products. Then it
shows how long moving, inserting, paging and explaining take, compared with a table that has a row
per product with its position; prints commands to try; and serves until Ctrl-C, which removes the
directory.

Of the settings, only these flags are used: environment variables, a file of settings, other flags
and your databases are ignored. The server listens on free ports of the loopback interface, unless
you set the addresses; in a container, --auth none allows other interfaces.

Examples:
  endcap demo
  endcap demo --products 10000 --grpc-addr 127.0.0.1:50051 --http-addr 127.0.0.1:8080";

/// The settings that the demo uses, if they are given as flags.
pub(super) const USED: [&str; 5] = ["grpc_addr", "http_addr", "admin_addr", "auth", "log"];

/// The size of the list.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Number of products in the long list, from 100 to 10,000,000
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 1_000_000,
        value_parser = clap::value_parser!(u32).range(100..=10_000_000),
    )]
    products: u32,
}

pub(super) async fn run(flags: &Flags, args: &Args) -> Outcome {
    for name in flags.clone().given().keys() {
        if !USED.contains(&name.as_str()) {
            note(&format!(
                "endcap demo does not use {}\n",
                Setting::flag(name)
            ));
        }
    }
    let folder = tempfile::Builder::new()
        .prefix("endcap-demo-")
        .tempdir()
        .map_err(|error| format!("can't create a temporary directory: {error}"))?;
    let config = config(flags, folder.path())?;
    let otlp = telemetry::start(&config.telemetry)?;
    // Before any long step, so that the directory is removed whenever the signal comes.
    let stop = pin!(stop_signal(config.listen.drain_timeout)?);
    let app = App::bind(&config).await?;
    let addresses = app.addresses();
    let (stopping, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(app.run(async {
        drop(stopped.await);
    }));
    let shown = async {
        show(&config, addresses, folder.path(), args.products).await?;
        pending().await
    };
    let ended: Result<(), Failure> = tokio::select! {
        failed = shown => failed,
        () = stop => Ok(()),
    };
    drop(stopping);
    server.await?;
    otlp.shutdown(MIN_FLUSH).await;
    folder
        .close()
        .map_err(|error| format!("can't remove the temporary directory: {error}"))?;
    ended.map(|()| ExitCode::SUCCESS)
}

/// The settings of the demo's server. Only flags count, and only those that don't affect whose data
/// is served to whom.
fn config(flags: &Flags, folder: &Path) -> Result<Config, ConfigError> {
    let any = || Some("127.0.0.1:0".to_owned());
    let flags = Flags {
        grpc_addr: flags.grpc_addr.clone().or_else(any),
        http_addr: flags.http_addr.clone().or_else(any),
        admin_addr: flags.admin_addr.clone().or_else(any),
        data_dir: Some(folder.display().to_string()),
        // With `auth = none` the server may listen on all addresses, which it needs in a container.
        auth: flags.auth.clone().filter(|auth| auth == "none"),
        log: flags.log.clone().or_else(|| Some("error".into())),
        drain_timeout: Some("2s".into()),
        ..Flags::default()
    };
    app::config_of_flags(&flags)
}

async fn show(
    config: &Config,
    addresses: Addresses,
    folder: &Path,
    products: u32,
) -> Result<(), Failure> {
    let (grpc, http) = (from_here(addresses.grpc), from_here(addresses.http));
    let client = Client::connect(grpc, http).await?;
    catalogue::load(&client, products).await?;
    comparison::run(&client, &config.database, folder, products).await?;
    say(&tour::text(grpc, http, products));
    say(&format!(
        "\nServing until Ctrl-C, which also removes {}.\n",
        folder.display()
    ));
    Ok(())
}
