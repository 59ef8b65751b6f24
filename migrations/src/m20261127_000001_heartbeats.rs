//! Servers write heartbeats, by which they know how far a read replica is behind.

use sea_orm_migration::prelude::*;

use crate::columns::{integer, text};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[derive(DeriveIden)]
enum Heartbeats {
    Table,
    Server,
    Beat,
    ChangeTime,
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    // SQLite's default would be none.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let heartbeats = Table::create()
            .table(Heartbeats::Table)
            .col(text(manager.get_database_backend(), Heartbeats::Server))
            .col(integer(Heartbeats::Beat))
            .col(integer(Heartbeats::ChangeTime))
            .primary_key(Index::create().col(Heartbeats::Server))
            .to_owned();
        manager.create_table(heartbeats).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let heartbeats = Table::drop().table(Heartbeats::Table).to_owned();
        manager.drop_table(heartbeats).await
    }
}
