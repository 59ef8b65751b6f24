//! Limits how many large messages are translated at the same time.

use tokio::sync::Semaphore;

use crate::processor;

/// Translates a message of this many bytes of JSON. As a dynamic message, a value of two bytes in
/// JSON takes hundreds of bytes in memory, so large messages are translated one at a time.
pub(super) async fn translated<T>(bytes: usize, translate: impl FnOnce() -> T) -> T {
    static LARGE: Semaphore = Semaphore::const_new(1);
    // Cannot fail: the semaphore is never closed.
    let _turn = match bytes {
        0..=processor::LARGE => None,
        _ => LARGE.acquire().await.ok(),
    };
    processor::work(bytes, translate)
}
