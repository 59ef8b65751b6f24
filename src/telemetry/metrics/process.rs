//! The metrics of the process: processor time, memory, file descriptors, threads.

use std::time::{Duration, Instant};

use opentelemetry::KeyValue;
use procfs::process::{LimitValue, Process};
use tokio::time::sleep;

use super::instruments;

/// How often they are updated.
const EVERY: Duration = Duration::from_secs(1);

/// Updates the metrics. Runs forever.
pub async fn watch() {
    let start = Instant::now();
    let mut before = (0.0, 0.0);
    loop {
        instruments()
            .uptime
            .record(start.elapsed().as_secs_f64(), &[]);
        // Only Linux has these.
        if let Ok(process) = Process::myself()
            && let Ok(times) = read(&process)
        {
            let add = |state, seconds: f64| {
                let state = KeyValue::new("process.cpu.state", state);
                instruments().cpu.add(seconds.max(0.0), &[state]);
            };
            add("user", times.0 - before.0);
            add("system", times.1 - before.1);
            before = times;
        }
        sleep(EVERY).await;
    }
}

/// Sets all metrics except the processor time. Returns the processor seconds in user and system
/// mode.
fn read(process: &Process) -> procfs::ProcResult<(f64, f64)> {
    let stat = process.stat()?;
    let instruments = instruments();
    let memory = stat.rss * procfs::page_size();
    instruments.memory.record(memory as f64, &[]);
    instruments.threads.record(stat.num_threads as f64, &[]);
    let files = process.fd_count()?;
    instruments.open_files.record(files as f64, &[]);
    if let LimitValue::Value(max) = process.limits()?.max_open_files.soft_limit {
        instruments.max_files.record(max as f64, &[]);
    }
    let seconds = |ticks: u64| ticks as f64 / procfs::ticks_per_second() as f64;
    Ok((seconds(stat.utime), seconds(stat.stime)))
}
