//! The compatibility floor, see [`crate::floor`]. It starts at this migration: programs before
//! it refuse every schema that they don't know.

use sea_orm_migration::prelude::*;

use crate::{
    columns::text,
    floor::{SchemaCompatibility, raise_floor},
};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    // SQLite's default would be none.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_database_backend();
        let table = Table::create()
            .table(SchemaCompatibility::Table)
            .col(text(db, SchemaCompatibility::Floor))
            .to_owned();
        manager.create_table(table).await?;
        let row = Query::insert()
            .into_table(SchemaCompatibility::Table)
            .columns([SchemaCompatibility::Floor])
            .values_panic(["".into()])
            .to_owned();
        manager.execute(row).await?;
        raise_floor(manager, self.name()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let drop = Table::drop().table(SchemaCompatibility::Table).to_owned();
        manager.drop_table(drop).await
    }
}
