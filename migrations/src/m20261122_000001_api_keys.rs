//! Keys by which programs say who they are.
//!
//! A table whose key does not start with the tenant: a key may be valid for several
//! tenants or all, and who asks is found out before a tenant is known. It has few rows,
//! each read seldom.

use sea_orm_migration::prelude::*;

use crate::columns::{integer, text};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[derive(DeriveIden)]
enum ApiKeys {
    Table,
    KeyId,
    Label,
    Hash,
    Tenants,
    Scopes,
    CreateTime,
    ExpireTime,
    RevokeTime,
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    // SQLite's default would be none.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_database_backend();
        let optional = |name: ApiKeys| ColumnDef::new(name).big_integer().to_owned();
        let table = Table::create()
            .table(ApiKeys::Table)
            .col(text(db, ApiKeys::KeyId))
            .col(text(db, ApiKeys::Label))
            .col(text(db, ApiKeys::Hash))
            .col(text(db, ApiKeys::Tenants))
            .col(text(db, ApiKeys::Scopes))
            .col(integer(ApiKeys::CreateTime))
            .col(optional(ApiKeys::ExpireTime))
            .col(optional(ApiKeys::RevokeTime))
            .primary_key(Index::create().col(ApiKeys::KeyId))
            .to_owned();
        manager.create_table(table).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let drop = Table::drop().table(ApiKeys::Table).to_owned();
        manager.drop_table(drop).await
    }
}
