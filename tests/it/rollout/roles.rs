//! The database roles of docs/operate/postgresql.md, created with exactly its statements.

use endcap::{
    app,
    config::Flags,
    grpc::pb::collection_service_client::CollectionServiceClient,
    store::{Engine::Postgres, Probe},
};
use sea_orm::{ConnectionTrait as _, Statement};

use super::{Place, blocks, run};
use crate::{
    harness::{append, create, mutate, products},
    program::{self, start},
};

/// A database with the roles of the page. Roles belong to the whole server, so their names are
/// specific to this database.
pub(super) struct Roles {
    place: Place,
    database: String,
    /// The statements to run after the first migration.
    after: String,
}

impl Roles {
    pub(super) async fn new() -> Self {
        let place = Place::new(Postgres).await;
        let url = place.postgres.as_deref().unwrap();
        let (_, database) = url.rsplit_once('/').unwrap();
        let database = database.split('?').next().unwrap().to_owned();
        let renamed = |sql: &str| {
            sql.replace("endcap", &database)
                .replace("change-me-too", "serve")
                .replace("change-me", "migrate")
        };
        let sql = blocks("postgresql.md", "## Roles", "sql");
        assert_eq!(sql.len(), 2, "{sql:#?}");
        let (before, after) = (renamed(&sql[0]), renamed(&sql[1]));
        place.execute(&[&before]).await;
        Self {
            place,
            database,
            after,
        }
    }

    /// The roles, in a migrated database.
    pub(super) async fn migrated() -> Self {
        let roles = Self::new().await;
        let (status, _, error) = roles.run("migrate", &["migrate"]);
        assert_eq!(status, Some(0), "{error}");
        roles.place.execute(&[&roles.after]).await;
        roles
    }

    /// The URL for one of the roles: `migrate` or `serve`.
    pub(super) fn url(&self, role: &str) -> String {
        let url = self.place.postgres.as_deref().unwrap();
        let (_, server) = url.split_once('@').unwrap();
        format!("postgres://{}_{role}:{role}@{server}", self.database)
    }

    pub(super) fn run(&self, role: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut program = program::endcap(self.place.data(), Some(&self.url(role)));
        run(program.args(["--log", "error"]).args(arguments))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_serve_role_suffices_and_cannot_change_the_schema() {
    let roles = Roles::new().await;
    // The database is empty, and the role `serve` may not migrate it.
    let (status, _, _) = roles.run("serve", &["migrate", "--check"]);
    assert_eq!(status, Some(1));
    let (status, _, error) = roles.run("serve", &["migrate"]);
    assert_eq!(status, Some(1));
    assert!(
        error.contains("permission denied for schema public"),
        "{error}"
    );
    assert_eq!(roles.run("migrate", &["migrate"]).0, Some(0));
    roles.place.execute(&[&roles.after]).await;

    let server = program::endcap(roles.place.data(), Some(&roles.url("serve")));
    let server = start(server);
    let mut client = CollectionServiceClient::connect(server.grpc.clone())
        .await
        .unwrap();
    create(&mut client, "a").await;
    let request = mutate("a", vec![append(["p"])]);
    client.mutate_children(request).await.unwrap();
    assert_eq!(products(&mut client, "a").await, ["p"]);
    for command in [
        &["key", "create", "--label=x", "--tenant=t", "--scope=admin"][..],
        &["key", "list"],
        &["secret", "rotate"],
        &["check"],
        &["migrate"],
        &["migrate", "--check"],
        &["migrate", "--status"],
    ] {
        let (status, _, error) = roles.run("serve", command);
        assert_eq!((status, error.as_str()), (Some(0), ""), "{command:?}");
    }

    let serving = Place {
        folder: tempfile::tempdir().unwrap(),
        postgres: Some(roles.url("serve")),
    };
    let db = serving.connect().await;
    for sql in [
        "CREATE TABLE more (x integer)",
        "ALTER TABLE collections ADD COLUMN more text",
        "DROP TABLE collections",
        "TRUNCATE collections",
        "INSERT INTO seaql_migrations VALUES ('m', 1)",
        "UPDATE schema_compatibility SET floor = ''",
    ] {
        db.execute_unprepared(sql).await.unwrap_err();
    }
    db.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn migration_status_needs_read_access_to_two_tables_only() {
    let roles = Roles::migrated().await;
    let revoke = format!(
        "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {0}_serve; \
         GRANT SELECT ON seaql_migrations, schema_compatibility TO {0}_serve",
        roles.database
    );
    roles.place.execute(&[&revoke]).await;
    for command in ["--check", "--status"] {
        let (status, _, error) = roles.run("serve", &["migrate", command]);
        assert_eq!((status, error.as_str()), (Some(0), ""), "{command}");
    }
}

/// Each privilege on each table except these two: without it, the check of privileges fails and
/// names it.
#[tokio::test(flavor = "multi_thread")]
async fn each_missing_privilege_is_named() {
    let roles = Roles::migrated().await;
    let flags = Flags {
        database_url: Some(roles.url("serve")),
        ..Flags::default()
    };
    let config = app::config(&flags, None).unwrap();
    let mut probe = Probe::new(&config.database).unwrap();
    probe.check_rights().await.unwrap();
    let db = roles.place.connect().await;
    let tables = Statement::from_string(
        db.get_database_backend(),
        "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' AND tablename NOT IN \
         ('seaql_migrations', 'schema_compatibility')",
    );
    let tables = db.query_all_raw(tables).await.unwrap();
    assert!(tables.len() > 10);
    for table in tables {
        let table: String = table.try_get_by_index(0).unwrap();
        for right in ["SELECT", "INSERT", "UPDATE", "DELETE"] {
            let role = format!("{}_serve", roles.database);
            let revoke = format!("REVOKE {right} ON {table} FROM {role}");
            db.execute_unprepared(&revoke).await.unwrap();
            let error = probe.check_rights().await.unwrap_err().to_string();
            let told = format!("the role lacks {right} on {table}; docs/operate/postgresql.md");
            assert!(error.starts_with(&told), "{error}");
            let grant = format!("GRANT {right} ON {table} TO {role}");
            db.execute_unprepared(&grant).await.unwrap();
        }
    }
    db.close().await.unwrap();
}
