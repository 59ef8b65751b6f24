//! How a command that serves is told to stop, and what is left of its time then.

use std::{process, thread, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

/// How long the last of the telemetry may take to be sent where requests took all of the drain
/// timeout.
pub(super) const MIN_FLUSH: Duration = Duration::from_secs(1);

/// Ends at SIGTERM or SIGINT. After that the process ends in so much time, whatever it does: a
/// thread of its own sees to that, for the others may all be busy.
pub(super) fn stop_signal(time: Duration) -> std::io::Result<impl Future<Output = ()>> {
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
        tracing::error!("requests did not end within drain_timeout: the process ends");
        process::exit(1);
    })?;
    Ok(async move {
        // Without a sender there is no signal to wait for.
        drop(stopped.await);
    })
}
