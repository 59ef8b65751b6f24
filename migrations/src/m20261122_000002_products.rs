//! What is known of products. Which collections have a product is in `members`.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[derive(DeriveIden)]
enum Products {
    Table,
    TenantId,
    Id,
    Name,
    SearchName,
    Slug,
    Type,
    Attributes,
    CreateTime,
    UpdateTime,
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    // SQLite's default would be none.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let text = |name: Products| {
            let mut column = ColumnDef::new(name);
            // Compared byte by byte: SQLite's always is.
            if manager.get_database_backend() == DbBackend::Postgres {
                column.custom("text COLLATE \"C\"");
            } else {
                column.text();
            }
            column.not_null();
            column
        };
        let time = |name: Products| ColumnDef::new(name).big_integer().not_null().to_owned();
        let mut key = Index::create();
        key.col(Products::TenantId).col(Products::Id);
        let table = Table::create()
            .table(Products::Table)
            .col(text(Products::TenantId))
            .col(text(Products::Id))
            .col(text(Products::Name))
            .col(text(Products::SearchName))
            .col(text(Products::Slug))
            .col(text(Products::Type))
            .col(text(Products::Attributes))
            .col(time(Products::CreateTime))
            .col(time(Products::UpdateTime))
            .primary_key(&mut key)
            .to_owned();
        manager.create_table(table).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let drop = Table::drop().table(Products::Table).to_owned();
        manager.drop_table(drop).await
    }
}
