//! The database schema, as migrations: each runs in a transaction and stays as it is
//! once released. Until the next floor they only add, see [`floor`].
//!
//! Both engines hold the same tables. Every key and index of what a tenant has
//! starts with the tenant but for that of what is due, so that databases which spread tables over machines keep a
//! tenant together, and text is compared byte by byte.

use std::collections::HashSet;

use sea_orm_migration::{Migration, prelude::*, sea_orm::ConnectionTrait};

mod columns;
mod floor;
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
mod m20261126_000007_compatibility;
mod m20261126_000008_product_ids;
mod m20261126_000009_search_texts;
mod m20261126_000010_product_details;
mod m20261126_000011_rules;
mod m20261126_000012_evaluations;
mod m20261126_000013_product_facts;
mod m20261126_000014_due_evaluations;
mod m20261126_000015_named_collections;
mod m20261127_000001_heartbeats;
mod m20261128_000001_next_lists;
mod m20261129_000001_moved_products;

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
            Box::new(m20261126_000007_compatibility::Migration),
            Box::new(m20261126_000008_product_ids::Migration),
            Box::new(m20261126_000009_search_texts::Migration),
            Box::new(m20261126_000010_product_details::Migration),
            Box::new(m20261126_000011_rules::Migration),
            Box::new(m20261126_000012_evaluations::Migration),
            Box::new(m20261126_000013_product_facts::Migration),
            Box::new(m20261126_000014_due_evaluations::Migration),
            Box::new(m20261126_000015_named_collections::Migration),
            Box::new(m20261127_000001_heartbeats::Migration),
            Box::new(m20261128_000001_next_lists::Migration),
            Box::new(m20261129_000001_moved_products::Migration),
        ]
    }

    /// Those that were not applied. Others that were are of a newer release; whether this one may
    /// use the schema then, the floor says.
    async fn get_pending_migrations<C>(db: &C) -> Result<Vec<Migration>, DbErr>
    where
        C: ConnectionTrait,
    {
        let applied = Self::get_migration_models(db).await?;
        let applied: HashSet<_> = applied.into_iter().map(|row| row.version).collect();
        let mut all = Self::get_migration_files();
        all.retain(|migration| !applied.contains(migration.name()));
        Ok(all)
    }
}
