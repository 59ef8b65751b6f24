//! Which collections the rules of others may name, so that who writes their lists lets others follow;
//! and in which tenants rules name collections that are not there. An older program can't read such
//! rules and lets no list follow, so it is below the floor.

use sea_orm_migration::prelude::*;

use crate::floor::raise_floor;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[derive(DeriveIden)]
enum Collections {
    Table,
    Named,
}

#[derive(DeriveIden)]
enum Tenants {
    Table,
    NamesMissing,
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    // SQLite's default would be none.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let columns = [
            (
                Collections::Table.into_iden(),
                Collections::Named.into_iden(),
            ),
            (
                Tenants::Table.into_iden(),
                Tenants::NamesMissing.into_iden(),
            ),
        ];
        for (table, column) in columns {
            let mut column = ColumnDef::new(column);
            column.boolean().not_null().default(false);
            let alter = Table::alter().table(table).add_column(column).to_owned();
            manager.alter_table(alter).await?;
        }
        raise_floor(manager, self.name()).await
    }

    async fn down(&self, _: &SchemaManager) -> Result<(), DbErr> {
        let why = "older versions would not let collections follow others";
        Err(DbErr::Migration(why.into()))
    }
}
