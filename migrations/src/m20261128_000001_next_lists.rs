//! A job that evaluates the rules of a smart collection builds the next list of its products beside
//! the current one, and then makes it the current one by adding or deleting a single row.
//!
//! An older version would not find the lists that a job has switched, so it is below the floor.

use sea_orm_migration::prelude::*;

use crate::{columns::text, floor::raise_floor};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[derive(DeriveIden)]
enum SwitchedLists {
    Table,
    TenantId,
    CollectionId,
}

#[derive(DeriveIden)]
enum Evaluations {
    Table,
    Outdated,
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    // SQLite's default would be none.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_database_backend();
        let switched = Table::create()
            .table(SwitchedLists::Table)
            .col(text(db, SwitchedLists::TenantId))
            .col(text(db, SwitchedLists::CollectionId))
            .primary_key(
                Index::create()
                    .col(SwitchedLists::TenantId)
                    .col(SwitchedLists::CollectionId),
            )
            .to_owned();
        manager.create_table(switched).await?;
        let mut outdated = ColumnDef::new(Evaluations::Outdated);
        outdated.boolean().not_null().default(false);
        let alter = Table::alter()
            .table(Evaluations::Table)
            .add_column(&mut outdated)
            .to_owned();
        manager.alter_table(alter).await?;
        raise_floor(manager, self.name()).await
    }

    async fn down(&self, _: &SchemaManager) -> Result<(), DbErr> {
        let why = "older versions would not find the lists that jobs have switched";
        Err(DbErr::Migration(why.into()))
    }
}
