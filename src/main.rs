//! The `endcap` program; see `endcap --help`.

use std::process::ExitCode;

use endcap::{cli, telemetry};

/// jemalloc returns freed memory to the operating system. The allocator of the C library has an
/// arena per thread, which large responses fragment, so it keeps freed memory for long.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("can't start threads");
    let code = runtime.block_on(cli::run());
    // Requests that are cut off by this still log their lines.
    drop(runtime);
    telemetry::end_log();
    code
}
