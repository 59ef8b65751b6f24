//! The typed facts of products, such as variants and prices. An older program inserts products
//! without any, and leaves those that there are as they are.

use sea_orm_migration::prelude::*;

use crate::columns::text;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[derive(DeriveIden)]
enum Products {
    Table,
    Details,
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    // SQLite's default would be none.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut details = text(manager.get_database_backend(), Products::Details);
        details.default("{}");
        let table = Table::alter()
            .table(Products::Table)
            .add_column(details)
            .to_owned();
        manager.alter_table(table).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::alter()
            .table(Products::Table)
            .drop_column(Products::Details)
            .to_owned();
        manager.alter_table(table).await
    }
}
