//! An index to find the collections that are not shown: few of many.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[derive(DeriveIden)]
enum Collections {
    Table,
    TenantId,
    Active,
    Id,
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    // SQLite's default would be none.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let active = Index::create()
            .name("collections_active")
            .table(Collections::Table)
            .col(Collections::TenantId)
            .col(Collections::Active)
            .col(Collections::Id)
            .to_owned();
        manager.create_index(active).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let active = Index::drop()
            .name("collections_active")
            .table(Collections::Table)
            .to_owned();
        manager.drop_index(active).await
    }
}
