//! While a job evaluates the rules of a smart collection, products that move in its list, or whose
//! rule entries change, are recorded in the lists of the job, so that it need not start over.
//!
//! A job of an older version would not look for them there, so it is below the floor.

use sea_orm_migration::prelude::*;

use crate::floor::raise_floor;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    // SQLite's default would be none.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        raise_floor(manager, self.name()).await
    }

    async fn down(&self, _: &SchemaManager) -> Result<(), DbErr> {
        let why = "jobs of older versions would not find products that moved meanwhile";
        Err(DbErr::Migration(why.into()))
    }
}
