//! Problems with a database are reported precisely when a server starts, and precisely and once by
//! each command.

use endcap::store::Engine::Postgres;
use sea_orm::{ConnectionTrait as _, Database, Statement};

use super::Place;
use crate::{
    postgres::Cluster,
    program::{self, start_unready},
};

/// The URL of a database with a problem.
struct Fault {
    url: String,
    /// The expected message. A command prints it once.
    told: &'static str,
    /// The expected message in `/readyz`.
    brief: &'static str,
    /// Whether it only affects writes.
    is_about_writing: bool,
}

async fn cluster() -> Cluster {
    let cluster = Cluster::start();
    let db = Database::connect(cluster.url()).await.unwrap();
    for sql in [
        "CREATE DATABASE shop",
        "CREATE ROLE careful LOGIN PASSWORD 'right'",
        "CREATE ROLE forbidden",
        "CREATE ROLE bare LOGIN",
        "CREATE ROLE outside LOGIN",
        "CREATE ROLE reader LOGIN",
    ] {
        db.execute_unprepared(sql).await.unwrap();
    }
    // Only this role needs a password.
    let file = Statement::from_string(db.get_database_backend(), "SHOW hba_file");
    let file = db.query_one_raw(file).await.unwrap().unwrap();
    let file: String = file.try_get_by_index(0).unwrap();
    let others = std::fs::read_to_string(&file).unwrap();
    let rule = "host all careful 127.0.0.1/32 scram-sha-256\n".to_owned();
    std::fs::write(&file, rule + others.as_str()).unwrap();
    let reload = "SELECT pg_reload_conf()";
    db.execute_unprepared(reload).await.unwrap();
    db.close().await.unwrap();
    cluster
}

async fn faults(cluster: &Cluster) -> Vec<Fault> {
    let base = cluster.url();
    let at = |role: &str, database: &str| {
        let base = base.replace("://postgres@", &format!("://{role}@"));
        let (server, _) = base.rsplit_once('/').unwrap();
        format!("{server}/{database}")
    };
    let folder = tempfile::tempdir().unwrap();
    let shop = at("postgres", "shop");
    let migrated = program::endcap(folder.path(), Some(&shop))
        .arg("migrate")
        .output();
    assert!(migrated.unwrap().status.success());
    let db = Database::connect(&shop).await.unwrap();
    for sql in [
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader",
        "REVOKE ALL ON SCHEMA public FROM PUBLIC",
        "GRANT USAGE ON SCHEMA public TO bare, reader",
    ] {
        db.execute_unprepared(sql).await.unwrap();
    }
    db.close().await.unwrap();
    let fault = |url, told, brief| Fault {
        url,
        told,
        brief,
        is_about_writing: false,
    };
    vec![
        fault(
            at("careful:wrong", "shop"),
            "password authentication failed for user \"careful\"; check the password",
            "the database refuses the password",
        ),
        fault(
            at("nobody-knows", "shop"),
            "role \"nobody-knows\" does not exist; create it",
            "the database refuses the role",
        ),
        fault(
            at("forbidden", "shop"),
            "role \"forbidden\" is not permitted to log in; create it with LOGIN",
            "the database refuses the role",
        ),
        fault(
            at("postgres", "nowhere"),
            "database \"nowhere\" does not exist; create it",
            "the database does not exist",
        ),
        fault(
            at("bare", "shop"),
            "permission denied for table seaql_migrations; docs/operate/postgresql.md lists",
            "the database role lacks a privilege",
        ),
        fault(
            at("outside", "shop"),
            "role \"outside\" has USAGE on no schema of its search_path; docs/operate/postgresql.md lists",
            "the database role lacks a privilege",
        ),
        fault(
            "postgres://postgres@127.0.0.1:1/shop".into(),
            "the database can't be reached: 127.0.0.1:1/shop: Connection refused",
            "the database can't be reached",
        ),
        Fault {
            is_about_writing: true,
            ..fault(
                at("reader", "shop"),
                "the role lacks DELETE on api_keys, INSERT on api_keys, UPDATE on api_keys, ",
                "the database role lacks a privilege",
            )
        },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_database_fault_is_reported_precisely() {
    let cluster = cluster().await;
    let folder = tempfile::tempdir().unwrap();
    for fault in faults(&cluster).await {
        let Fault { told, brief, .. } = fault;
        let endcap = || program::endcap(folder.path(), Some(&fault.url));
        let server = start_unready(endcap());
        server.logs(&format!("not ready yet: {told}"));
        let body = crate::harness::is_ready(&server.admin, false).await;
        assert_eq!(body, format!("not ready: {brief}\n"), "{told}");
        drop(server);
        if fault.is_about_writing {
            continue;
        }
        for (command, expected) in [
            (&["migrate"][..], 1),
            (&["migrate", "--status"], 1),
            (&["migrate", "--check"], 2),
            (&["check"], 1),
            (&["key", "list"], 1),
            (&["secret", "rotate"], 1),
        ] {
            let mut program = endcap();
            let (status, _, error) = super::run(program.args(["--log=warn"]).args(command));
            assert_eq!(status, Some(expected), "{command:?}: {error}");
            assert!(error.starts_with(&format!("endcap: {told}")), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_privileges_of_commands_are_reported() {
    let place = Place::new(Postgres).await;
    let role = format!("reader_{}", std::process::id());
    place
        .execute(&[&format!("CREATE ROLE {role} LOGIN PASSWORD 'p'")])
        .await;
    let (_, server) = place.postgres.as_deref().unwrap().split_once('@').unwrap();
    let as_role = Place {
        folder: tempfile::tempdir().unwrap(),
        postgres: Some(format!("postgres://{role}:p@{server}")),
    };
    let (status, _, error) = as_role.run(&["migrate"]);
    assert_eq!(status, Some(1));
    let told = "endcap: permission denied for schema public; docs/operate/postgresql.md lists what each \
                role needs\n";
    assert_eq!(error, told);

    assert_eq!(place.run(&["migrate"]).0, Some(0));
    place
        .execute(&[&format!(
            "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"
        )])
        .await;
    // Read access suffices for these.
    for command in [&["check"][..], &["migrate"], &["key", "list"]] {
        let (status, _, error) = as_role.run(command);
        assert_eq!(status, Some(0), "{command:?}: {error}");
    }
    let create = ["key", "create", "--label=x", "--tenant=t", "--scope=admin"];
    place
        .execute(&["INSERT INTO secrets (name, current, change_time) VALUES ('x', 'y', 1)"])
        .await;
    for (command, table) in [
        (&create[..], "api_keys"),
        (&["secret", "rotate"], "secrets"),
    ] {
        let (status, _, error) = as_role.run(command);
        assert_eq!(status, Some(1), "{command:?}");
        let told =
            format!("endcap: permission denied for table {table}; docs/operate/postgresql.md");
        assert!(error.starts_with(&told), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    place
        .execute(&[
            &format!("DROP OWNED BY {role}"),
            &format!("DROP ROLE {role}"),
        ])
        .await;
}
