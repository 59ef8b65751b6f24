//! Keeps work that takes much processor time from blocking the threads that serve other requests.

use std::{cell::Cell, sync::LazyLock, thread::available_parallelism};

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::Semaphore,
    task::block_in_place,
};

/// Work on more bytes than this is moved off; decoding this many takes about a millisecond.
pub const LARGE: usize = 64 << 10;

/// One permit per processor: more work at the same time would only compete for processors.
static TURNS: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(available_parallelism().map_or(1, usize::from)));

thread_local! {
    /// Whether this thread does work.
    static WORKING: Cell<bool> = const { Cell::new(false) };
}

/// Runs work on this many bytes. If they are many, other tasks of this thread move to another one
/// meanwhile, and the work waits for a free processor. Work within work does not wait again.
pub fn work<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    let Some(handle) = to_move_off(bytes) else {
        return work();
    };
    block_in_place(|| {
        let _turn = handle.block_on(TURNS.acquire());
        let _working = Working::begin();
        work()
    })
}

/// Like [`work`], without waiting for a free processor: for work with locks held, which would make
/// others wait, too.
pub fn work_at_once<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    match to_move_off(bytes) {
        None => work(),
        Some(_) => block_in_place(work),
    }
}

/// The runtime whose other threads take over the tasks of this one, if work on this many bytes is
/// to be moved off.
fn to_move_off(bytes: usize) -> Option<Handle> {
    let handle = Handle::try_current().ok();
    // A current-thread runtime has no other thread.
    let handle = handle.filter(|it| it.runtime_flavor() == RuntimeFlavor::MultiThread);
    handle.filter(|_| bytes > LARGE && !WORKING.get())
}

/// A thread's work, until this is dropped.
struct Working;

impl Working {
    fn begin() -> Self {
        WORKING.set(true);
        Self
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        WORKING.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn other_tasks_run_during_heavy_work() {
        let (started, begun) = std::sync::mpsc::channel();
        let (end, ends) = std::sync::mpsc::channel();
        let ends = std::sync::Arc::new(std::sync::Mutex::new(ends));
        let works: Vec<_> = (0..4)
            .map(|_| {
                let (started, ends) = (started.clone(), std::sync::Arc::clone(&ends));
                tokio::spawn(async move {
                    work(LARGE + 1, || {
                        started.send(()).unwrap();
                        ends.lock().unwrap().recv().unwrap();
                    });
                })
            })
            .collect();
        begun.recv().unwrap();
        // Four tasks run or wait on two threads.
        tokio::spawn(async {}).await.unwrap();
        for _ in &works {
            end.send(()).unwrap();
        }
        for work in works {
            work.await.unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nested_work_does_not_deadlock() {
        let work_twice = || work(LARGE + 1, || work(LARGE + 1, || 5));
        let works = (0..100).map(|_| tokio::spawn(async move { work_twice() }));
        for work in futures::future::join_all(works).await {
            assert_eq!(work.unwrap(), 5);
        }
    }

    #[tokio::test]
    async fn work_also_runs_on_a_single_threaded_runtime() {
        assert_eq!(work(LARGE + 1, || 5), 5);
    }
}
