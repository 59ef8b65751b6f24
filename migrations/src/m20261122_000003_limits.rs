//! What safe retries and the limit of collections need.
//!
//! A request's name is its caller's own, so the caller is part of the key under which the
//! answer is kept. Answers that were kept before this are let go of: nobody knows whose they
//! are, and they live for a day only. They are swept by their age, for all tenants at once,
//! which is why that one index does not start with the tenant.
//!
//! A tenant's row says how many collections it has: to count them would cost more with each.

use sea_orm_migration::prelude::*;

use crate::columns::{integer, text};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[derive(DeriveIden)]
enum Requests {
    Table,
    TenantId,
    Subject,
    Method,
    RequestId,
    Fingerprint,
    Answer,
    CreateTime,
}

#[derive(DeriveIden)]
enum Tenants {
    Table,
    CollectionCount,
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    // SQLite's default would be none.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        requests(manager, true).await?;
        let age = Index::create()
            .name("requests_age")
            .table(Requests::Table)
            .col(Requests::CreateTime)
            .to_owned();
        manager.create_index(age).await?;
        let mut count = integer(Tenants::CollectionCount);
        count.default(0);
        let tenants = Table::alter()
            .table(Tenants::Table)
            .add_column(count)
            .to_owned();
        manager.alter_table(tenants).await?;
        manager
            .get_connection()
            .execute_unprepared(
                "UPDATE tenants SET collection_count = (SELECT count(*) FROM collections \
                 WHERE collections.tenant_id = tenants.tenant_id \
                 AND id NOT IN ('rootCategory', 'nonNavigableCategory'))",
            )
            .await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tenants = Table::alter()
            .table(Tenants::Table)
            .drop_column(Tenants::CollectionCount)
            .to_owned();
        manager.alter_table(tenants).await?;
        requests(manager, false).await?;
        let age = Index::create()
            .name("requests_age")
            .table(Requests::Table)
            .col(Requests::TenantId)
            .col(Requests::CreateTime)
            .to_owned();
        manager.create_index(age).await
    }
}

/// Makes the table again, with or without the caller.
async fn requests(manager: &SchemaManager<'_>, has_subject: bool) -> Result<(), DbErr> {
    let db = manager.get_database_backend();
    let drop = Table::drop().table(Requests::Table).to_owned();
    manager.drop_table(drop).await?;
    let mut key = Index::create();
    key.col(Requests::TenantId);
    let mut table = Table::create();
    table
        .table(Requests::Table)
        .col(text(db, Requests::TenantId));
    if has_subject {
        key.col(Requests::Subject);
        table.col(text(db, Requests::Subject));
    }
    key.col(Requests::Method).col(Requests::RequestId);
    table
        .col(text(db, Requests::Method))
        .col(text(db, Requests::RequestId))
        .col(text(db, Requests::Fingerprint))
        .col(ColumnDef::new(Requests::Answer).blob().not_null())
        .col(integer(Requests::CreateTime))
        .primary_key(&mut key);
    manager.create_table(table).await
}
