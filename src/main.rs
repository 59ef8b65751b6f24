//! The `endcap` program; see `endcap --help`.

use std::process::ExitCode;

/// jemalloc returns freed memory to the operating system. The allocator of the C library has an
/// arena per thread, which large responses fragment, so it keeps freed memory for long.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> ExitCode {
    endcap::cli::run().await
}
