//! The `endcap` program; see `endcap --help`.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    endcap::cli::run().await
}
