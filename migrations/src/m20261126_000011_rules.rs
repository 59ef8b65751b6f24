//! Smart collections have the products that match their rules. A tenant's rules together have a
//! row, which is locked where rules or products are written. Collections name products next to
//! their rules. Members of sorted lists have the key that they are sorted by.
//!
//! Smart collections that are there already are evaluated by jobs, one each, once a server runs.
//! An older program writes products and leaves the lists as they are, so it is below the floor.

use sea_orm_migration::{
    prelude::*,
    sea_orm::{ConnectionTrait, DbBackend},
};

use crate::{
    columns::{integer, text},
    floor::raise_floor,
};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[derive(DeriveIden)]
enum RuleSets {
    Table,
    TenantId,
    Version,
}

#[derive(DeriveIden)]
enum RuleEntries {
    Table,
    TenantId,
    CollectionId,
    Kind,
    ProductId,
    Place,
}

#[derive(DeriveIden)]
enum Members {
    Table,
    SortKey,
}

#[derive(DeriveIden)]
enum Collections {
    Table,
    TenantId,
    RulesStamp,
    Sort,
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    // SQLite's default would be none.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create_tables(manager).await?;
        add_columns(manager).await?;
        let db = manager.get_connection();
        let existing = [
            "INSERT INTO rule_sets (tenant_id, version) SELECT tenant_id, 1 FROM tenants",
            "UPDATE collections SET rules_stamp = 1 WHERE smart",
            evaluate_existing(manager.get_database_backend()),
        ];
        for statement in existing {
            db.execute_unprepared(statement).await?;
        }
        raise_floor(manager, self.name()).await
    }

    async fn down(&self, _: &SchemaManager) -> Result<(), DbErr> {
        let why = "older versions would not keep the members of smart collections right";
        Err(DbErr::Migration(why.into()))
    }
}

async fn create_tables(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let db = manager.get_database_backend();
    let sets = Table::create()
        .table(RuleSets::Table)
        .col(text(db, RuleSets::TenantId))
        .col(integer(RuleSets::Version))
        .primary_key(Index::create().col(RuleSets::TenantId))
        .to_owned();
    manager.create_table(sets).await?;
    let entries = Table::create()
        .table(RuleEntries::Table)
        .col(text(db, RuleEntries::TenantId))
        .col(text(db, RuleEntries::CollectionId))
        .col(ColumnDef::new(RuleEntries::Kind).small_integer().not_null())
        .col(text(db, RuleEntries::ProductId))
        .col(ColumnDef::new(RuleEntries::Place).big_integer().null())
        .primary_key(
            Index::create()
                .col(RuleEntries::TenantId)
                .col(RuleEntries::CollectionId)
                .col(RuleEntries::Kind)
                .col(RuleEntries::ProductId),
        )
        .to_owned();
    manager.create_table(entries).await?;
    let of_product = Index::create()
        .name("rule_entries_product")
        .table(RuleEntries::Table)
        .col(RuleEntries::TenantId)
        .col(RuleEntries::ProductId)
        .to_owned();
    manager.create_index(of_product).await
}

async fn add_columns(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let db = manager.get_database_backend();
    let mut key = ColumnDef::new(Members::SortKey);
    if db == DbBackend::Postgres {
        key.custom("text COLLATE \"C\"").null();
    } else {
        key.text().null();
    }
    let mut stamp = integer(Collections::RulesStamp);
    stamp.default(0);
    let mut sort = text(db, Collections::Sort);
    sort.default("");
    // SQLite takes one column at a time.
    let columns = [
        (Members::Table.into_iden(), key),
        (Collections::Table.into_iden(), stamp),
        (Collections::Table.into_iden(), sort),
    ];
    for (table, column) in columns {
        let alter = Table::alter().table(table).add_column(column).to_owned();
        manager.alter_table(alter).await?;
    }
    let stamps = Index::create()
        .name("collections_rules_stamp")
        .table(Collections::Table)
        .col(Collections::TenantId)
        .col(Collections::RulesStamp)
        .to_owned();
    manager.create_index(stamps).await?;
    // sea-query has no partial index for both engines.
    let keys = "CREATE INDEX members_sort_key ON members \
        (tenant_id, collection_id, list, sort_key, child_id) WHERE sort_key IS NOT NULL";
    manager.get_connection().execute_unprepared(keys).await?;
    Ok(())
}

/// A job for each smart collection. Ids of tenants and collections need no quoting.
fn evaluate_existing(backend: DbBackend) -> &'static str {
    if backend == DbBackend::Postgres {
        "INSERT INTO jobs (job_id, tenant_id, task, owner, lease_end, create_time) \
        SELECT 'evaluate ' || tenant_id || ' ' || id, tenant_id, \
        json_build_object('evaluate', json_build_object('collection', id))::text, \
        '', 0, update_time FROM collections WHERE smart"
    } else {
        "INSERT INTO jobs (job_id, tenant_id, task, owner, lease_end, create_time) \
        SELECT 'evaluate ' || tenant_id || ' ' || id, tenant_id, \
        json_object('evaluate', json_object('collection', id)), \
        '', 0, update_time FROM collections WHERE smart"
    }
}
