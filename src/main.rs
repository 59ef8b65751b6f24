//! The `endcap` program; see `endcap --help`.

use std::process::ExitCode;

/// Gives memory that is free back to the system, which that of the C library keeps for long:
/// it has a part for each thread, and a large response leaves it in holes.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> ExitCode {
    endcap::cli::run().await
}
