//! What a tenant's row says of its collections as a whole: how often its graph changed,
//! and below which version no new collection starts.

use sea_orm_migration::prelude::*;

use crate::columns::integer;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[derive(DeriveIden)]
enum Tenants {
    Table,
    GraphVersion,
    VersionFloor,
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    // SQLite's default would be none.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // One column a statement: SQLite takes no more.
        for name in [Tenants::GraphVersion, Tenants::VersionFloor] {
            let mut column = integer(name);
            column.default(0);
            let alter = Table::alter()
                .table(Tenants::Table)
                .add_column(column)
                .to_owned();
            manager.alter_table(alter).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for name in [Tenants::GraphVersion, Tenants::VersionFloor] {
            let alter = Table::alter()
                .table(Tenants::Table)
                .drop_column(name)
                .to_owned();
            manager.alter_table(alter).await?;
        }
        Ok(())
    }
}
