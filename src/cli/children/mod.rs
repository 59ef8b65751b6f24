//! Import and export of child lists, through a running server.

mod client;
pub(super) mod export;
mod ids;
pub(super) mod import;
