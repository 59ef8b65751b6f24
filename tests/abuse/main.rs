//! What a caller sends, however large, and what it does not take, however much, leaves the
//! others alone. Against the program in a process of its own, and after all other tests: times
//! are measured.
//!
//! Nothing here lists fields: the descriptors and the descriptions of the dialects are walked,
//! so that what is added to them is tried, too.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the types of fields few have anything that is large"
)]

mod program;
mod rest;
mod unread;
mod wire;

/// What a response of `/livez` may take.
const LIVE: std::time::Duration = std::time::Duration::from_millis(500);
/// What another tenant's calls may take, but for one in a hundred.
const OTHERS: std::time::Duration = std::time::Duration::from_secs(1);
