//! Keeps work that takes much processor time from blocking the threads that serve other requests.

use std::{
    cell::Cell, future::poll_fn, pin::pin, sync::LazyLock, task::Poll,
    thread::available_parallelism,
};

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::Semaphore,
    task::{JoinHandle, block_in_place, spawn_blocking},
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

/// Runs a future of which each poll is work on this many bytes; they may change between polls. It
/// waits for a free processor without blocking a thread.
pub async fn run<F: Future>(bytes: impl Fn() -> usize, future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        let turn = match to_move_off(bytes()) {
            Some(_) => TURNS.acquire().await.ok(),
            None => None,
        };
        let polled = poll_fn(|cx| {
            let mut poll = || future.as_mut().poll(cx);
            Poll::Ready(if turn.is_some() {
                block_in_place(|| {
                    let _working = Working::begin();
                    poll()
                })
            } else {
                poll()
            })
        });
        let polled = polled.await;
        drop(turn);
        match polled {
            Poll::Ready(output) => return output,
            Poll::Pending => woken().await,
        }
    }
}

/// Waits until this task is woken.
async fn woken() {
    let mut is_woken = false;
    poll_fn(|_| {
        if std::mem::replace(&mut is_woken, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// Begins work on this many bytes on another thread. If they are many, it waits for a free processor
/// first.
pub async fn spawn<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let turn = match to_move_off(bytes) {
        Some(_) => TURNS.acquire().await.ok(),
        None => None,
    };
    spawn_blocking(move || {
        let _turn = turn;
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
    if bytes <= LARGE || WORKING.get() {
        return None;
    }
    let handle = Handle::try_current().ok();
    // A current-thread runtime has no other thread.
    handle.filter(|it| it.runtime_flavor() == RuntimeFlavor::MultiThread)
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

    #[test]
    fn futures_that_wait_for_a_processor_block_no_thread() {
        let processors = available_parallelism().unwrap().get();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            // For those that work; those that wait must need none.
            .max_blocking_threads(processors)
            .build()
            .unwrap();
        runtime.block_on(async {
            let (begin, begun) = std::sync::mpsc::channel();
            let (end, ends) = std::sync::mpsc::channel::<()>();
            let ends = std::sync::Arc::new(std::sync::Mutex::new(ends));
            let works: Vec<_> = (0..processors)
                .map(|_| {
                    let (begin, ends) = (begin.clone(), std::sync::Arc::clone(&ends));
                    tokio::spawn(run(|| LARGE + 1, async move {
                        begin.send(()).unwrap();
                        let _ = ends.lock().unwrap().recv();
                    }))
                })
                .collect();
            for _ in &works {
                begun.recv().unwrap();
            }
            let waiting: Vec<_> = (0..100)
                .map(|_| tokio::spawn(run(|| LARGE + 1, tokio::task::yield_now())))
                .collect();
            tokio::spawn(async {}).await.unwrap();
            assert!(waiting.iter().all(|it| !it.is_finished()));
            drop(end);
            for task in works.into_iter().chain(waiting) {
                task.await.unwrap();
            }
        });
    }

    #[tokio::test]
    async fn work_also_runs_on_a_single_threaded_runtime() {
        assert_eq!(work(LARGE + 1, || 5), 5);
    }
}
