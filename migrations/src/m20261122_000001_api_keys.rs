//! Keys by which programs say who they are.
//!
//! The one table whose key does not start with the tenant: a key may be good for several
//! tenants or all, and who asks is found out before a tenant is known. It has few rows,
//! each read seldom.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

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
        let text = |name: ApiKeys| {
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
        let time = |name: ApiKeys| ColumnDef::new(name).big_integer().to_owned();
        let table = Table::create()
            .table(ApiKeys::Table)
            .col(text(ApiKeys::KeyId))
            .col(text(ApiKeys::Label))
            .col(text(ApiKeys::Hash))
            .col(text(ApiKeys::Tenants))
            .col(text(ApiKeys::Scopes))
            .col(time(ApiKeys::CreateTime).not_null())
            .col(time(ApiKeys::ExpireTime))
            .col(time(ApiKeys::RevokeTime))
            .primary_key(Index::create().col(ApiKeys::KeyId))
            .to_owned();
        manager.create_table(table).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let drop = Table::drop().table(ApiKeys::Table).to_owned();
        manager.drop_table(drop).await
    }
}
