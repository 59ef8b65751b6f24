//! Access to PostgreSQL: TLS with a private certificate authority, and credentials that are rotated
//! while the server runs.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use endcap::{
    app,
    config::Flags,
    store::{Engine, Store},
};
use sea_orm::{ConnectionTrait as _, Database, DatabaseConnection};
use tempfile::TempDir;

use crate::{
    auth::tls::{Authority, Holder},
    harness::{Server, create},
    postgres::{self, Cluster},
};

/// A cluster with two users that must use TLS: `endcap` with a password, and `certified` with a
/// client certificate of the same authority.
struct Secured {
    cluster: Cluster,
    folder: TempDir,
    authority: Authority,
    admin: DatabaseConnection,
}

impl Secured {
    async fn start() -> Self {
        let cluster = Cluster::start();
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let data = cluster.folder.join("data");
        let server = authority.issue_server(&data);
        fs::set_permissions(&server.key, fs::Permissions::from_mode(0o600)).unwrap();
        authority.write(&data, "root.crt");
        let access = "host all postgres 127.0.0.1/32 trust\n\
                      hostssl all endcap 127.0.0.1/32 scram-sha-256\n\
                      hostssl all certified 127.0.0.1/32 trust clientcert=verify-ca\n";
        fs::write(data.join("pg_hba.conf"), access).unwrap();
        let settings = "ssl = on\nssl_ca_file = 'root.crt'\n";
        fs::write(data.join("postgresql.auto.conf"), settings).unwrap();
        postgres::give(&data);
        cluster.pg_ctl(&["-m", "fast", "stop"]);
        cluster.start_again();
        let admin = Database::connect(cluster.url()).await.unwrap();
        for statement in [
            "CREATE ROLE endcap LOGIN SUPERUSER PASSWORD 'first'",
            "CREATE ROLE certified LOGIN SUPERUSER",
            "CREATE DATABASE endcap",
            "CREATE DATABASE other",
        ] {
            admin.execute_unprepared(statement).await.unwrap();
        }
        authority.write(folder.path(), "ca.crt");
        Self {
            cluster,
            folder,
            authority,
            admin,
        }
    }

    fn url(&self, user: &str, host: &str, rest: &str) -> String {
        let url = self.cluster.url();
        let port = url.rsplit_once(':').unwrap().1.split('/').next().unwrap();
        format!("postgres://{user}@{host}:{port}/endcap{rest}")
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

/// Runs `endcap migrate`: whether it succeeded, and its errors.
fn migrate(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_endcap"))
        .env_clear()
        .arg("migrate")
        .args(arguments)
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    (output.status.success(), error)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_servers_certificate_is_verified_as_configured() {
    let secured = Secured::start().await;
    let ca = secured.path("ca.crt");
    let stranger = Authority::new().write(secured.folder.path(), "stranger.crt");
    let stranger = stranger.to_str().unwrap();
    // The certificate is for 127.0.0.1.
    let url = secured.url("endcap:first", "127.0.0.1", "");
    let by_name = secured.url("endcap:first", "localhost", "");
    let in_url = secured.url(
        "endcap:first",
        "127.0.0.1",
        &format!("?sslmode=verify-full&sslrootcert={ca}"),
    );
    let certificate = "the certificate of the database server is not valid";
    let none = "no encryption";
    for (url, tls, ca, refused) in [
        (&url, "verify-full", &*ca, None),
        (&url, "verify-ca", &ca, None),
        (&by_name, "verify-ca", &ca, None),
        (&by_name, "verify-full", &ca, Some(certificate)),
        (&url, "verify-full", stranger, Some(certificate)),
        (&url, "verify-ca", stranger, Some(certificate)),
        (&url, "verify-full", "", Some(certificate)),
        (&url, "require", "", None),
        (&url, "prefer", "", None),
        (&url, "", "", None),
        (&url, "disable", "", Some(none)),
        (&in_url, "", "", None),
    ] {
        let flags = ["--database-url", url, "--database-tls", tls];
        let (ok, error) = migrate(&[&flags[..], &["--database-tls-ca", ca]].concat());
        assert_eq!(ok, refused.is_none(), "{tls} {ca} {url}: {error}");
        assert!(error.contains(refused.unwrap_or("")), "{tls} {ca}: {error}");
        assert!(!error.contains("first"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configured_client_certificate_is_presented() {
    let secured = Secured::start().await;
    let folder = secured.folder.path();
    let url = secured.url("certified", "127.0.0.1", "");
    let pair = |holder: &Holder| {
        let text = |path: &Path| path.display().to_string();
        (text(&holder.cert), text(&holder.key))
    };
    let (cert, key) = pair(&secured.authority.issue(folder, "client", Vec::new()));
    let flags = ["--database-url", &url];
    let with = |cert: &str, key: &str| {
        let pair = ["--database-tls-cert", cert, "--database-tls-key", key];
        migrate(&[&flags[..], &pair].concat())
    };
    let (ok, error) = with(&cert, &key);
    assert!(ok, "{error}");
    let (ok, error) = migrate(&flags);
    assert!(!ok && error.contains("certificate"), "{error}");
    let (strange_cert, strange_key) = pair(&Authority::new().issue(folder, "strange", Vec::new()));
    assert!(!with(&strange_cert, &strange_key).0);
    let in_url = format!("{url}?sslcert={cert}&sslkey={key}");
    let (ok, error) = migrate(&["--database-url", &in_url]);
    assert!(ok, "{error}");
}

/// Terminates all connections of the server's user, and waits until the server responds again, on
/// new ones.
async fn goes_on_without_its_connections(secured: &Secured, server: &Server) {
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'endcap'";
    secured.admin.execute_unprepared(end).await.unwrap();
    let mut client = server.grpc().await;
    let deadline = Instant::now() + Duration::from_secs(60);
    while let Err(status) = crate::harness::get(&mut client, "summer").await {
        assert!(Instant::now() < deadline, "{status:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A server with these settings, on a migrated database with a collection.
async fn serve(flags: Flags) -> Server {
    let flags = Flags {
        reload_interval: Some("10ms".into()),
        database_max_connections: Some("2".into()),
        ..flags
    };
    let config = app::config(&flags, None).unwrap();
    let store = Store::connect(&config.database).await.unwrap();
    assert_eq!(store.engine(), Engine::Postgres);
    store.migrate().await.unwrap();
    store.close().await;
    let url = flags.database_url.clone();
    let server = Server::start_at(url, flags).await;
    create(&mut server.grpc().await, "summer").await;
    server
}

async fn set_password(secured: &Secured, password: &str) {
    let change = format!("ALTER ROLE endcap PASSWORD '{password}'");
    secured.admin.execute_unprepared(&change).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_password_is_used_without_a_restart() {
    let secured = Secured::start().await;
    let file = secured.path("password");
    fs::write(&file, "first\n").unwrap();
    let server = serve(Flags {
        database_url: Some(secured.url("endcap", "127.0.0.1", "")),
        database_password_file: Some(file.clone()),
        ..Flags::default()
    })
    .await;
    for password in ["second", "third%@/"] {
        set_password(&secured, password).await;
        fs::write(&file, format!("{password}\n")).unwrap();
        goes_on_without_its_connections(&secured, &server).await;
    }
    // A file that is invalid for a while changes nothing.
    fs::write(&file, "").unwrap();
    goes_on_without_its_connections(&secured, &server).await;
    fs::remove_file(&file).unwrap();
    goes_on_without_its_connections(&secured, &server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_url_changes_the_password_but_not_the_database() {
    let secured = Secured::start().await;
    let file = secured.path("url");
    let write = |password: &str, database: &str| {
        let url = secured.url(&format!("endcap:{password}"), "127.0.0.1", "");
        let server = url.strip_suffix("endcap").unwrap();
        fs::write(&file, format!("{server}{database}")).unwrap();
    };
    write("first", "endcap");
    let server = serve(Flags {
        database_url_file: Some(file.clone()),
        ..Flags::default()
    })
    .await;
    set_password(&secured, "second").await;
    write("second", "endcap");
    goes_on_without_its_connections(&secured, &server).await;
    // The collection exists in the first database only.
    write("second", "other");
    goes_on_without_its_connections(&secured, &server).await;
}
