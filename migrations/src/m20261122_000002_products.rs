//! What is known of products. Which collections have a product is in `members`.

use sea_orm_migration::prelude::*;

use crate::columns::{integer, text};

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
        let db = manager.get_database_backend();
        let mut key = Index::create();
        key.col(Products::TenantId).col(Products::Id);
        let table = Table::create()
            .table(Products::Table)
            .col(text(db, Products::TenantId))
            .col(text(db, Products::Id))
            .col(text(db, Products::Name))
            .col(text(db, Products::SearchName))
            .col(text(db, Products::Slug))
            .col(text(db, Products::Type))
            .col(text(db, Products::Attributes))
            .col(integer(Products::CreateTime))
            .col(integer(Products::UpdateTime))
            .primary_key(&mut key)
            .to_owned();
        manager.create_table(table).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let drop = Table::drop().table(Products::Table).to_owned();
        manager.drop_table(drop).await
    }
}
