//! The figures of the process: processor time, memory, files, threads.

use std::time::{Duration, Instant};

use opentelemetry::KeyValue;
use procfs::process::{LimitValue, Process};
use tokio::time::sleep;

use super::instruments;

/// How often they are read.
const EVERY: Duration = Duration::from_secs(1);

/// Reads the figures, forever.
pub async fn watch() {
    let start = Instant::now();
    let mut before = (0.0, 0.0);
    loop {
        instruments()
            .uptime
            .record(start.elapsed().as_secs_f64(), &[]);
        // Not there on other systems than Linux.
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

/// Sets the figures but for the processor time in user and in system mode, which it answers.
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
