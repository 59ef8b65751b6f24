//! Persistence, on `SeaORM`: one file per aggregate, and one entry point for writes of tenants'
//! data ([`Store::write_on`]).
//!
//! A [`Tx`] belongs to one tenant and is the only way to run queries, so no query can forget the
//! tenant. To get one, a caller needs proof of authorization: a [`Reading`](crate::domain::Reading)
//! or a [`Writing`](crate::domain::Writing). Rows and driver errors do not leave this module.

mod access;
mod audit;
pub mod backup;
mod cause;
mod cell;
pub mod check;
pub mod children;
pub mod claims;
pub mod collections;
mod connection;
mod connections;
mod details;
mod engine;
mod entity;
mod error;
mod folder;
pub mod jobs;
pub mod keys;
pub mod ledger;
pub mod lineage;
pub mod listing;
pub mod lock;
mod lock_entry;
mod lock_set;
pub mod logins;
pub mod membership;
mod observer;
mod packed;
mod permits;
mod pool;
mod probe;
pub mod products;
mod replica;
mod replica_reads;
pub mod requests;
mod row;
pub mod rules;
mod same;
pub mod schema;
pub mod secrets;
mod shared;
mod sql;
mod statements;
mod tenant_queue;
pub mod tenants;
mod together;
mod tx;
mod validity;
mod versions;
pub mod wal;
mod wanted;
mod writer;

pub use access::{Access, DatabaseTls, check_url};
pub use cause::Cause;
pub use engine::{Database, DatabasePlace, Engine, Pooler, ReadReplica, sqlite_options};
pub use folder::FolderLock;
pub use permits::Permit;
pub use pool::{Mode, Store};
pub use probe::Probe;
pub use shared::Sharer;
pub use tx::Tx;
pub use validity::Mark;
pub use versions::Versions;
pub use writer::{GroupFailure, GroupLimits};
