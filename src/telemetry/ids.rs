//! What a request is known by, in the log and to its caller.

use std::{future::Future, sync::Arc};

/// The ids of a request.
#[derive(Clone, Debug)]
pub struct RequestIds {
    /// The caller's `X-Request-Id`, or one made here.
    pub request: Arc<str>,
    /// The trace that the caller says it belongs to, or one made here: 32 hexadecimal digits.
    pub trace: Arc<str>,
}

tokio::task_local! {
    static IDS: RequestIds;
}

/// Does the request, which is known by these ids meanwhile.
pub async fn identified<F: Future>(ids: RequestIds, request: F) -> F::Output {
    IDS.scope(ids, request).await
}

/// The ids of the request that is being done; none outside of one.
pub fn request_ids() -> Option<RequestIds> {
    IDS.try_with(Clone::clone).ok()
}
