//! Tenants, collections, the ordered lists of children, and the answers kept for
//! retries.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

use crate::columns::{integer, text};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[derive(DeriveIden)]
enum Tenants {
    Table,
    TenantId,
    CreateTime,
}

#[derive(DeriveIden)]
enum Collections {
    Table,
    TenantId,
    Id,
    Name,
    Slug,
    SlugChosen,
    Smart,
    Rules,
    RulesHash,
    RulesVersion,
    Texts,
    SearchName,
    Keywords,
    Images,
    Active,
    CustomProperties,
    CatalogId,
    ProductCount,
    CollectionCount,
    CreateTime,
    UpdateTime,
    Version,
}

#[derive(DeriveIden)]
enum Segments {
    Table,
    TenantId,
    CollectionId,
    List,
    SegmentId,
    Rank,
    Len,
}

#[derive(DeriveIden)]
enum SegmentContents {
    Table,
    TenantId,
    CollectionId,
    List,
    SegmentId,
    Ids,
}

#[derive(DeriveIden)]
enum Members {
    Table,
    TenantId,
    CollectionId,
    List,
    ChildId,
    SegmentId,
}

#[derive(DeriveIden)]
enum Requests {
    Table,
    TenantId,
    Method,
    RequestId,
    Fingerprint,
    Answer,
    CreateTime,
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    // SQLite's default would be none.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let backend = manager.get_database_backend();
        let tables = [
            tenants(backend),
            collections(backend),
            segments(backend),
            segment_contents(backend),
            members(backend),
            requests(backend),
        ];
        for table in tables {
            manager.create_table(table).await?;
        }
        for index in indexes() {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tables = [
            Requests::Table.into_iden(),
            Members::Table.into_iden(),
            SegmentContents::Table.into_iden(),
            Segments::Table.into_iden(),
            Collections::Table.into_iden(),
            Tenants::Table.into_iden(),
        ];
        for table in tables {
            let drop = Table::drop().table(table).to_owned();
            manager.drop_table(drop).await?;
        }
        Ok(())
    }
}

/// A table whose rows SQLite keeps in the primary key's tree, not next to it.
fn keyed(backend: DbBackend, table: &mut TableCreateStatement) -> TableCreateStatement {
    if backend == DbBackend::Sqlite {
        table.extra("WITHOUT ROWID");
    }
    table.to_owned()
}

fn tenants(db: DbBackend) -> TableCreateStatement {
    let mut key = Index::create();
    key.col(Tenants::TenantId);
    let mut table = Table::create();
    table
        .table(Tenants::Table)
        .col(text(db, Tenants::TenantId))
        .col(integer(Tenants::CreateTime))
        .primary_key(&mut key);
    keyed(db, &mut table)
}

fn collections(db: DbBackend) -> TableCreateStatement {
    let mut key = Index::create();
    key.col(Collections::TenantId).col(Collections::Id);
    let nullable = |name: Collections| {
        let mut column = ColumnDef::new(name);
        column.text();
        column
    };
    Table::create()
        .table(Collections::Table)
        .col(text(db, Collections::TenantId))
        .col(text(db, Collections::Id))
        .col(text(db, Collections::Name))
        .col(text(db, Collections::Slug))
        .col(ColumnDef::new(Collections::SlugChosen).boolean().not_null())
        .col(ColumnDef::new(Collections::Smart).boolean().not_null())
        .col(nullable(Collections::Rules))
        .col(text(db, Collections::RulesHash))
        .col(integer(Collections::RulesVersion))
        .col(text(db, Collections::Texts))
        .col(text(db, Collections::SearchName))
        .col(text(db, Collections::Keywords))
        .col(text(db, Collections::Images))
        .col(
            ColumnDef::new(Collections::Active)
                .small_integer()
                .not_null(),
        )
        .col(text(db, Collections::CustomProperties))
        .col(nullable(Collections::CatalogId))
        .col(integer(Collections::ProductCount))
        .col(integer(Collections::CollectionCount))
        .col(integer(Collections::CreateTime))
        .col(integer(Collections::UpdateTime))
        .col(integer(Collections::Version))
        .primary_key(&mut key)
        .to_owned()
}

fn segments(db: DbBackend) -> TableCreateStatement {
    let mut key = Index::create();
    key.col(Segments::TenantId)
        .col(Segments::CollectionId)
        .col(Segments::List)
        .col(Segments::SegmentId);
    let mut table = Table::create();
    table
        .table(Segments::Table)
        .col(text(db, Segments::TenantId))
        .col(text(db, Segments::CollectionId))
        .col(ColumnDef::new(Segments::List).small_integer().not_null())
        .col(integer(Segments::SegmentId))
        .col(integer(Segments::Rank))
        .col(integer(Segments::Len))
        .primary_key(&mut key);
    keyed(db, &mut table)
}

/// The ids apart from the ranks: giving thousands of segments new ranks writes
/// thousands of small rows, not all their ids too.
fn segment_contents(db: DbBackend) -> TableCreateStatement {
    let mut key = Index::create();
    key.col(SegmentContents::TenantId)
        .col(SegmentContents::CollectionId)
        .col(SegmentContents::List)
        .col(SegmentContents::SegmentId);
    Table::create()
        .table(SegmentContents::Table)
        .col(text(db, SegmentContents::TenantId))
        .col(text(db, SegmentContents::CollectionId))
        .col(
            ColumnDef::new(SegmentContents::List)
                .small_integer()
                .not_null(),
        )
        .col(integer(SegmentContents::SegmentId))
        .col(text(db, SegmentContents::Ids))
        .primary_key(&mut key)
        .to_owned()
}

fn members(db: DbBackend) -> TableCreateStatement {
    let mut key = Index::create();
    key.col(Members::TenantId)
        .col(Members::CollectionId)
        .col(Members::List)
        .col(Members::ChildId);
    let mut table = Table::create();
    table
        .table(Members::Table)
        .col(text(db, Members::TenantId))
        .col(text(db, Members::CollectionId))
        .col(ColumnDef::new(Members::List).small_integer().not_null())
        .col(text(db, Members::ChildId))
        .col(integer(Members::SegmentId))
        .primary_key(&mut key);
    keyed(db, &mut table)
}

fn requests(db: DbBackend) -> TableCreateStatement {
    let mut key = Index::create();
    key.col(Requests::TenantId)
        .col(Requests::Method)
        .col(Requests::RequestId);
    Table::create()
        .table(Requests::Table)
        .col(text(db, Requests::TenantId))
        .col(text(db, Requests::Method))
        .col(text(db, Requests::RequestId))
        .col(text(db, Requests::Fingerprint))
        .col(ColumnDef::new(Requests::Answer).binary().not_null())
        .col(integer(Requests::CreateTime))
        .primary_key(&mut key)
        .to_owned()
}

fn indexes() -> Vec<IndexCreateStatement> {
    vec![
        Index::create()
            .name("collections_slug")
            .unique()
            .table(Collections::Table)
            .col(Collections::TenantId)
            .col(Collections::Slug)
            .to_owned(),
        // The order of lists: newest first, ties by id.
        Index::create()
            .name("collections_newest")
            .table(Collections::Table)
            .col(Collections::TenantId)
            .col((Collections::CreateTime, IndexOrder::Desc))
            .col(Collections::Id)
            .to_owned(),
        // From a child to those that have it.
        Index::create()
            .name("members_parents")
            .unique()
            .table(Members::Table)
            .col(Members::TenantId)
            .col(Members::List)
            .col(Members::ChildId)
            .col(Members::CollectionId)
            .to_owned(),
        Index::create()
            .name("requests_age")
            .table(Requests::Table)
            .col(Requests::TenantId)
            .col(Requests::CreateTime)
            .to_owned(),
    ]
}
