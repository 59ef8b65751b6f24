//! How many messages are translated at once.

use tokio::sync::Semaphore;

use crate::processor;

/// Translates so many bytes. A message takes hundreds of bytes for each value in it that takes two
/// in JSON, so it is only there while it is translated, and of large ones one at a time.
pub(super) async fn translated<T>(bytes: usize, translate: impl FnOnce() -> T) -> T {
    static LARGE: Semaphore = Semaphore::const_new(1);
    // It is never closed.
    let _turn = match bytes {
        0..=processor::LARGE => None,
        _ => LARGE.acquire().await.ok(),
    };
    processor::work(bytes, translate)
}
