//! The database schema, as migrations: each runs in a transaction and stays as it is
//! once released.
//!
//! Both engines hold the same tables. Every key and index of what a tenant has
//! starts with the tenant, so that databases which spread tables over machines keep a
//! tenant together, and text is compared byte by byte.

use sea_orm_migration::prelude::*;

mod columns;
mod m20261121_000001_collections;
mod m20261122_000001_api_keys;
mod m20261122_000002_products;
mod m20261122_000003_limits;
mod m20261126_000001_api;
mod m20261126_000002_logins;
mod m20261126_000003_graph;
mod m20261126_000004_kept_responses;
mod m20261126_000005_active;
mod m20261126_000006_jobs;

/// All migrations, in order.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261121_000001_collections::Migration),
            Box::new(m20261122_000001_api_keys::Migration),
            Box::new(m20261122_000002_products::Migration),
            Box::new(m20261122_000003_limits::Migration),
            Box::new(m20261126_000001_api::Migration),
            Box::new(m20261126_000002_logins::Migration),
            Box::new(m20261126_000003_graph::Migration),
            Box::new(m20261126_000004_kept_responses::Migration),
            Box::new(m20261126_000005_active::Migration),
            Box::new(m20261126_000006_jobs::Migration),
        ]
    }
}
