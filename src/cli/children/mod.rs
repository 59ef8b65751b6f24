//! Lists of children in and out of a running server.

mod client;
pub(super) mod export;
mod ids;
pub(super) mod import;
