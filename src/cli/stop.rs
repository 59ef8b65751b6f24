//! How a serving command learns that it must stop, and how its remaining time is enforced.

use std::{process, thread, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

use crate::telemetry;

/// The minimum time for the last export of telemetry, if requests took the whole drain timeout.
pub(super) const MIN_FLUSH: Duration = Duration::from_secs(1);

/// Completes at SIGTERM or SIGINT. The process then exits after `time` and a grace period at the
/// latest. A separate thread enforces that, because all other threads may be busy.
pub(super) fn stop_signal(time: Duration) -> std::io::Result<impl Future<Output = ()>> {
    /// For the steps after the drain, such as closing the database.
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
        tracing::error!("drain_timeout exceeded; exiting with requests in flight");
        telemetry::end_log();
        process::exit(1);
    })?;
    Ok(async move {
        // An error means that the sender was dropped without a signal.
        drop(stopped.await);
    })
}
