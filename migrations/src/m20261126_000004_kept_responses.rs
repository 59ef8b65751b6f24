//! In which form a response is kept for retries, and an index to find those of one caller by
//! their age: each may have so many bytes, and the oldest go first.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[derive(DeriveIden)]
enum Requests {
    Table,
    TenantId,
    Subject,
    Form,
    CreateTime,
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
        manager.alter_table(alter).await?;
        let of_caller = Index::create()
            .name("requests_caller")
            .table(Requests::Table)
            .col(Requests::TenantId)
            .col(Requests::Subject)
            .col(Requests::CreateTime)
            .to_owned();
        manager.create_index(of_caller).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let of_caller = Index::drop()
            .name("requests_caller")
            .table(Requests::Table)
            .to_owned();
        manager.drop_index(of_caller).await?;
        let alter = Table::alter()
            .table(Requests::Table)
            .drop_column(Requests::Form)
            .to_owned();
        manager.alter_table(alter).await
    }
}
