//! When time next turns a condition of the tenant's rules on a product. An older program can't read
//! such conditions and lets products stay where they were, so it is below the floor.

use sea_orm_migration::prelude::*;

use crate::{
    columns::{integer, text},
    floor::raise_floor,
};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[derive(DeriveIden)]
enum DueEvaluations {
    Table,
    TenantId,
    ProductId,
    DueTime,
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    // SQLite's default would be none.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_database_backend();
        let table = Table::create()
            .table(DueEvaluations::Table)
            .col(text(db, DueEvaluations::TenantId))
            .col(text(db, DueEvaluations::ProductId))
            .col(integer(DueEvaluations::DueTime))
            .primary_key(
                Index::create()
                    .col(DueEvaluations::TenantId)
                    .col(DueEvaluations::ProductId),
            )
            .to_owned();
        manager.create_table(table).await?;
        // What is due of all tenants is asked for every second.
        let due = Index::create()
            .name("due_evaluations_time")
            .table(DueEvaluations::Table)
            .col(DueEvaluations::DueTime)
            .col(DueEvaluations::TenantId)
            .col(DueEvaluations::ProductId)
            .to_owned();
        manager.create_index(due).await?;
        raise_floor(manager, self.name()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::drop().table(DueEvaluations::Table).to_owned();
        manager.drop_table(table).await
    }
}
