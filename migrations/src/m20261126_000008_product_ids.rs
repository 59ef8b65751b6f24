//! Ids of products may have any printable characters, also the comma that stood between the ids
//! of a segment: texts of ids have another form, which begins with a line feed. Those of the old
//! form stay as they are until they are written anyway.
//!
//! An older program would take such a text for one id. So it is below the floor; and the column
//! has another name, for a program that is still running when the floor rises would read it until
//! it notices.

use sea_orm_migration::prelude::*;

use crate::floor::raise_floor;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[derive(DeriveIden)]
enum SegmentContents {
    Table,
    Ids,
    IdList,
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    // SQLite's default would be none.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let rename = Table::alter()
            .table(SegmentContents::Table)
            .rename_column(SegmentContents::Ids, SegmentContents::IdList)
            .to_owned();
        manager.alter_table(rename).await?;
        raise_floor(manager, self.name()).await
    }

    async fn down(&self, _: &SchemaManager) -> Result<(), DbErr> {
        let why = "older versions can't read the ids of products that this one has stored";
        Err(DbErr::Migration(why.into()))
    }
}
