//! Products that were stored before their facts were have the facts that their attributes state:
//! a job for each tenant derives them, once a server runs.
//!
//! An older program can't read such a job, so it is below the floor.

use std::time::{SystemTime, UNIX_EPOCH};

use sea_orm_migration::{prelude::*, sea_orm::ConnectionTrait};

use crate::floor::raise_floor;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    // SQLite's default would be none.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_micros();
        // Ids of tenants need no quoting.
        let jobs = format!(
            "INSERT INTO jobs (job_id, tenant_id, task, owner, lease_end, create_time) \
             SELECT 'facts ' || tenant_id, tenant_id, \
             '{{\"derive_facts\":{{\"before\":{now},\"after\":\"\"}}}}', '', 0, {now} FROM tenants"
        );
        let db = manager.get_connection();
        db.execute_unprepared(&jobs).await?;
        raise_floor(manager, self.name()).await
    }

    async fn down(&self, _: &SchemaManager) -> Result<(), DbErr> {
        let why = "older versions can't read the jobs that derive the facts of products";
        Err(DbErr::Migration(why.into()))
    }
}
