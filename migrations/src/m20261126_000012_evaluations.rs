//! Rules that are too much for one transaction are evaluated by a job. Until it has ended, the list
//! of the collection follows the rules that it followed before, which are kept here.
//!
//! An older program would let such a list follow the new rules half, so it is below the floor.

use sea_orm_migration::prelude::*;

use crate::{
    columns::{integer, text},
    floor::raise_floor,
};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[derive(DeriveIden)]
enum Evaluations {
    Table,
    TenantId,
    CollectionId,
    JobId,
    Rules,
    Sort,
    LastProduct,
    Done,
    Total,
}

#[derive(DeriveIden)]
enum Collections {
    Table,
    RulesState,
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    // SQLite's default would be none.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_database_backend();
        let evaluations = Table::create()
            .table(Evaluations::Table)
            .col(text(db, Evaluations::TenantId))
            .col(text(db, Evaluations::CollectionId))
            .col(text(db, Evaluations::JobId))
            .col(ColumnDef::new(Evaluations::Rules).text().null())
            .col(text(db, Evaluations::Sort))
            .col(text(db, Evaluations::LastProduct))
            .col(integer(Evaluations::Done))
            .col(integer(Evaluations::Total))
            .primary_key(
                Index::create()
                    .col(Evaluations::TenantId)
                    .col(Evaluations::CollectionId),
            )
            .to_owned();
        manager.create_table(evaluations).await?;
        let mut state = ColumnDef::new(Collections::RulesState);
        state.small_integer().not_null().default(1);
        let alter = Table::alter()
            .table(Collections::Table)
            .add_column(state)
            .to_owned();
        manager.alter_table(alter).await?;
        raise_floor(manager, self.name()).await
    }

    async fn down(&self, _: &SchemaManager) -> Result<(), DbErr> {
        let why = "older versions would not keep the members of smart collections right";
        Err(DbErr::Migration(why.into()))
    }
}
