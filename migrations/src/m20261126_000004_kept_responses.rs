//! In which form a response is kept for retries.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[derive(DeriveIden)]
enum Requests {
    Table,
    Form,
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    // SQLite's default would be none.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut form = ColumnDef::new(Requests::Form);
        form.small_integer().not_null().default(0);
        let alter = Table::alter()
            .table(Requests::Table)
            .add_column(form)
            .to_owned();
        manager.alter_table(alter).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let alter = Table::alter()
            .table(Requests::Table)
            .drop_column(Requests::Form)
            .to_owned();
        manager.alter_table(alter).await
    }
}
