//! Migrations only add to the schema, unless one raises the compatibility floor. Each migration is
//! checked by the schemas before and after it, as the databases report them.

use std::collections::{BTreeMap, BTreeSet};

use endcap::store::Engine::{self, Postgres, Sqlite};
use endcap_migrations::Migrator;
use rstest::rstest;
use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, Statement};
use sea_orm_migration::MigratorTrait as _;

use super::Place;

/// The parts of a schema that programs rely on.
#[derive(Debug, Default)]
struct Schema {
    /// The columns, by table and name.
    columns: BTreeMap<(String, String), Column>,
    /// Constraints and triggers, with their tables.
    constraints: BTreeSet<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Column {
    kind: String,
    is_nullable: bool,
    has_default: bool,
}

/// Table, column, type, whether it is nullable, whether it has a default.
const SQLITE_COLUMNS: &str = "\
    SELECT m.name, c.name, lower(c.type), \
    CASE WHEN c.\"notnull\" = 0 AND c.pk = 0 THEN 'y' ELSE 'n' END, \
    CASE WHEN c.dflt_value IS NULL THEN 'n' ELSE 'y' END \
    FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'";
const POSTGRES_COLUMNS: &str = "\
    SELECT table_name::text, column_name::text, concat_ws(' ', data_type, \
    character_maximum_length, numeric_precision, collation_name)::text, \
    left(lower(is_nullable), 1), CASE WHEN column_default IS NULL THEN 'n' ELSE 'y' END \
    FROM information_schema.columns WHERE table_schema = 'public'";

/// Table and constraint: unique indexes, foreign keys, triggers, and checks if they are reported.
const SQLITE_CONSTRAINTS: [&str; 3] = [
    "SELECT m.name, 'unique: ' || (SELECT group_concat(name) FROM pragma_index_info(i.name)) \
     FROM sqlite_master m, pragma_index_list(m.name) i WHERE m.type = 'table' AND i.\"unique\"",
    "SELECT m.name, 'references: ' || f.\"table\" || f.\"from\" || coalesce(f.\"to\", '') \
     FROM sqlite_master m, pragma_foreign_key_list(m.name) f WHERE m.type = 'table'",
    "SELECT tbl_name, sql FROM sqlite_master WHERE type = 'trigger'",
];
const POSTGRES_CONSTRAINTS: [&str; 3] = [
    "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint \
     WHERE connamespace = 'public'::regnamespace AND contype <> 'n'",
    "SELECT tablename::text, indexdef FROM pg_indexes \
     WHERE schemaname = 'public' AND indexdef LIKE 'CREATE UNIQUE%'",
    "SELECT tgrelid::regclass::text, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
];

async fn rows(db: &DatabaseConnection, sql: &str, width: usize) -> Vec<Vec<String>> {
    let statement = Statement::from_string(db.get_database_backend(), sql);
    let rows = db.query_all_raw(statement).await.unwrap();
    let row = |row: &sea_orm::QueryResult| {
        let cell = |at| row.try_get_by_index::<String>(at).unwrap();
        (0..width).map(cell).collect()
    };
    rows.iter().map(row).collect()
}

async fn read(db: &DatabaseConnection) -> Schema {
    let (columns, constraints) = if db.get_database_backend() == DbBackend::Sqlite {
        (SQLITE_COLUMNS, SQLITE_CONSTRAINTS)
    } else {
        (POSTGRES_COLUMNS, POSTGRES_CONSTRAINTS)
    };
    let mut schema = Schema::default();
    for row in rows(db, columns, 5).await {
        let [table, column, kind, nullable, default] = row.try_into().unwrap();
        let told = Column {
            kind,
            is_nullable: nullable == "y",
            has_default: default == "y",
        };
        schema.columns.insert((table, column), told);
    }
    for sql in constraints {
        for row in rows(db, sql, 2).await {
            let [table, constraint] = row.try_into().unwrap();
            schema.constraints.insert((table, constraint));
        }
    }
    schema
}

/// The changes from `before` to `after` that would break a program written for `before`.
fn broken(before: &Schema, after: &Schema) -> Vec<String> {
    let mut broken = Vec::new();
    let is_old = |table: &str| before.columns.keys().any(|(old, _)| old == table);
    for ((table, name), column) in &before.columns {
        let place = format!("{table}.{name}");
        match after.columns.get(&(table.clone(), name.clone())) {
            None => broken.push(format!("{place} is gone")),
            Some(now) if now.kind != column.kind => {
                broken.push(format!("{place} was {} and is {}", column.kind, now.kind));
            }
            Some(now) if column.is_nullable && !now.is_nullable => {
                broken.push(format!("{place} can't be null any more"));
            }
            Some(now) if column.has_default && !now.has_default => {
                broken.push(format!("{place} has no default any more"));
            }
            Some(_) => {}
        }
    }
    for (key, column) in &after.columns {
        let (table, name) = key;
        let is_new = is_old(table) && !before.columns.contains_key(key);
        if is_new && !column.is_nullable && !column.has_default {
            broken.push(format!("{table}.{name} is new and has to be given"));
        }
    }
    for (table, constraint) in before.constraints.symmetric_difference(&after.constraints) {
        if is_old(table) {
            broken.push(format!("{table}: {constraint} is new or gone"));
        }
    }
    broken
}

async fn floor(db: &DatabaseConnection) -> Option<String> {
    let statement = Statement::from_string(
        db.get_database_backend(),
        "SELECT floor FROM schema_compatibility",
    );
    let row = db.query_one_raw(statement).await.ok()??;
    row.try_get_by_index(0).unwrap()
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn migrations_are_additive_unless_they_raise_the_floor(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let place = Place::new(engine).await;
    let db = place.connect().await;
    let mut raised = Vec::new();
    for migration in Migrator::get_migration_files() {
        let (before, floor_before) = (read(&db).await, floor(&db).await);
        Migrator::up(&db, Some(1)).await.unwrap();
        let (after, floor) = (read(&db).await, floor(&db).await);
        let name = migration.name();
        if floor == floor_before {
            // Before the floor existed, a migration could break older programs.
            let broken = broken(&before, &after);
            assert!(floor.is_none() || broken.is_empty(), "{name}: {broken:#?}");
        } else {
            assert_eq!(
                floor.as_deref(),
                Some(name),
                "a migration can only raise the floor to itself"
            );
            raised.push(name.to_owned());
        }
    }
    assert_eq!(raised[0], "m20261126_000007_compatibility");
    assert!(raised.is_sorted(), "{raised:?}");
    db.close().await.unwrap();
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn changes_that_are_not_additive_are_detected(#[values(Sqlite, Postgres)] engine: Engine) {
    let additions = [
        "ALTER TABLE products ADD COLUMN extra TEXT",
        "ALTER TABLE products ADD COLUMN extra BIGINT NOT NULL DEFAULT 7",
        "CREATE TABLE extra (id INTEGER PRIMARY KEY, name TEXT NOT NULL)",
        "CREATE INDEX extra ON products (title)",
    ];
    let mut changes = vec![
        "ALTER TABLE products DROP COLUMN attributes",
        "ALTER TABLE products RENAME COLUMN title TO heading",
        "ALTER TABLE products RENAME TO wares",
        "DROP TABLE products",
        "CREATE UNIQUE INDEX extra ON products (title)",
    ];
    match engine {
        Sqlite => changes.push(
            "CREATE TRIGGER extra BEFORE INSERT ON products BEGIN SELECT RAISE(FAIL, 'no'); END",
        ),
        Postgres => changes.extend([
            "ALTER TABLE products ADD COLUMN extra TEXT NOT NULL",
            "ALTER TABLE products ALTER COLUMN title TYPE varchar(10)",
            "ALTER TABLE products ADD CHECK (title <> '')",
            "ALTER TABLE requests ALTER COLUMN form DROP DEFAULT",
            "ALTER TABLE collections ALTER COLUMN rules SET NOT NULL",
            "ALTER TABLE tenants DROP CONSTRAINT tenants_pkey",
            "ALTER TABLE products ADD FOREIGN KEY (tenant_id) REFERENCES tenants",
        ]),
    }
    let all = additions.map(|sql| (sql, true)).into_iter();
    for (sql, is_addition) in all.chain(changes.into_iter().map(|sql| (sql, false))) {
        let place = Place::new(engine).await;
        let db = place.connect().await;
        Migrator::up(&db, None).await.unwrap();
        let before = read(&db).await;
        db.execute_unprepared(sql).await.unwrap();
        let broken = broken(&before, &read(&db).await);
        assert_eq!(broken.is_empty(), is_addition, "{sql}: {broken:#?}");
        db.close().await.unwrap();
    }
}
