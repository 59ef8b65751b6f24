//! Which releases may use a schema that is newer than they are.
//!
//! The table `schema_compatibility` has one row, the *floor*: the name of a migration. A program
//! may use the schema if its own newest migration is the floor or a later one, whatever migrations
//! it does not know were applied after. So a migration either only adds (tables, indexes that are
//! not unique, columns that are nullable or have a default), or it raises the floor to itself:
//!
//! ```ignore
//! raise_floor(manager, self.name()).await
//! ```

use sea_orm_migration::prelude::*;

#[derive(DeriveIden)]
pub(crate) enum SchemaCompatibility {
    Table,
    Floor,
}

/// From now on only programs that have the migration of that name may use the schema.
pub(crate) async fn raise_floor(manager: &SchemaManager<'_>, name: &str) -> Result<(), DbErr> {
    let raise = Query::update()
        .table(SchemaCompatibility::Table)
        .value(SchemaCompatibility::Floor, name)
        .to_owned();
    manager.execute(raise).await
}
