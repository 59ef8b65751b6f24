//! Work that is too much for one transaction: what is left of it, and who does it until when.

use sea_orm_migration::prelude::*;

use crate::columns::{integer, text};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[derive(DeriveIden)]
enum Jobs {
    Table,
    JobId,
    TenantId,
    Task,
    Owner,
    LeaseEnd,
    CreateTime,
}

/// The lists that children are still to be taken out of.
#[derive(DeriveIden)]
enum JobLists {
    Table,
    JobId,
    CollectionId,
    ChildId,
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    // SQLite's default would be none.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_database_backend();
        let jobs = Table::create()
            .table(Jobs::Table)
            .col(text(db, Jobs::JobId))
            .col(text(db, Jobs::TenantId))
            .col(text(db, Jobs::Task))
            .col(text(db, Jobs::Owner))
            .col(integer(Jobs::LeaseEnd))
            .col(integer(Jobs::CreateTime))
            .primary_key(Index::create().col(Jobs::JobId))
            .to_owned();
        manager.create_table(jobs).await?;
        let of_tenant = Index::create()
            .name("jobs_tenant")
            .table(Jobs::Table)
            .col(Jobs::TenantId)
            .to_owned();
        manager.create_index(of_tenant).await?;
        let lists = Table::create()
            .table(JobLists::Table)
            .col(text(db, JobLists::JobId))
            .col(text(db, JobLists::CollectionId))
            .col(text(db, JobLists::ChildId))
            .primary_key(
                Index::create()
                    .col(JobLists::JobId)
                    .col(JobLists::CollectionId)
                    .col(JobLists::ChildId),
            )
            .to_owned();
        manager.create_table(lists).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [JobLists::Table.into_iden(), Jobs::Table.into_iden()] {
            let drop = Table::drop().table(table).to_owned();
            manager.drop_table(drop).await?;
        }
        Ok(())
    }
}
