//! Which migrations a database lacks.

use endcap_migrations::Migrator;
use sea_orm_migration::MigratorTrait as _;

use super::pool::Store;
use crate::domain::Result;

/// Their names, in their order. Needs no right to change the schema.
///
/// # Errors
/// Where the database can't be asked.
pub async fn names(store: &Store) -> Result<Vec<String>> {
    let tx = store.reader.begin().await?;
    let pending = Migrator::get_pending_migrations_read_only(&tx).await?;
    tx.commit().await?;
    Ok(pending.iter().map(|it| it.name().to_owned()).collect())
}
