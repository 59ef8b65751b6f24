//! Logins, and the secrets that all processes on one database share.
//!
//! Neither belongs to a tenant: a caller is authenticated before its tenant is known. A
//! login's row has a hash of the secret in its tokens, so no token can be made from it.

use sea_orm_migration::prelude::*;

use crate::columns::{integer, text};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[derive(DeriveIden)]
enum Logins {
    Table,
    LoginId,
    KeyId,
    KeyHash,
    SecretHash,
    CreateTime,
    EndTime,
}

#[derive(DeriveIden)]
enum Secrets {
    Table,
    Name,
    Current,
    Previous,
    ChangeTime,
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    // SQLite's default would be none.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_database_backend();
        let logins = Table::create()
            .table(Logins::Table)
            .col(text(db, Logins::LoginId))
            .col(text(db, Logins::KeyId))
            .col(text(db, Logins::KeyHash))
            .col(text(db, Logins::SecretHash))
            .col(integer(Logins::CreateTime))
            .col(integer(Logins::EndTime))
            .primary_key(Index::create().col(Logins::LoginId))
            .to_owned();
        manager.create_table(logins).await?;
        for index in indexes() {
            manager.create_index(index).await?;
        }
        let secrets = Table::create()
            .table(Secrets::Table)
            .col(text(db, Secrets::Name))
            .col(text(db, Secrets::Current))
            .col(ColumnDef::new(Secrets::Previous).text())
            .col(integer(Secrets::ChangeTime))
            .primary_key(Index::create().col(Secrets::Name))
            .to_owned();
        manager.create_table(secrets).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [Secrets::Table.into_iden(), Logins::Table.into_iden()] {
            let drop = Table::drop().table(table).to_owned();
            manager.drop_table(drop).await?;
        }
        Ok(())
    }
}

fn indexes() -> [IndexCreateStatement; 2] {
    [
        // Finds a key's oldest logins, which give way to new ones, without their rows.
        Index::create()
            .name("logins_of_key")
            .table(Logins::Table)
            .col(Logins::KeyId)
            .col(Logins::CreateTime)
            .col(Logins::LoginId)
            .to_owned(),
        // Finds expired logins.
        Index::create()
            .name("logins_end")
            .table(Logins::Table)
            .col(Logins::EndTime)
            .to_owned(),
    ]
}
