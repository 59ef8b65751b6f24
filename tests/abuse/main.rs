//! Large requests and unread responses of one client do not affect other clients. The server runs
//! in its own process, after all other tests, because times are measured.
//!
//! Nothing here lists fields: the tests walk the descriptors and the descriptions of the dialects,
//! so that new fields are tested, too.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "few field types can have large values"
)]

mod program;
mod rest;
mod unread;
mod wire;

/// The maximum duration of a request to `/livez`: the default timeout of a Kubernetes probe.
const LIVE: std::time::Duration = std::time::Duration::from_secs(1);
/// The maximum p99 duration of another tenant's requests.
const OTHERS: std::time::Duration = std::time::Duration::from_secs(1);
