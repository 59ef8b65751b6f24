//! `endcap config --check`, and what a server checks before it touches any data.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
};

use endcap::store::{Engine, Engine::Postgres, Engine::Sqlite};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rstest::rstest;
use sea_orm::{ConnectionTrait as _, Database, DbBackend, Statement};
use tempfile::TempDir;

use crate::{
    auth::tls::Authority,
    postgres,
    program::{output, start},
};

/// A directory with valid and invalid files.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        authority.issue_server(folder.path());
        authority.write(folder.path(), "ca.crt");
        let this = Self { folder };
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.not_after = date_time_ymd(2001, 1, 1);
        let key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap();
        this.write("expired.crt", &cert.pem());
        this.write("expired.key", &key.serialize_pem());
        this.write("secret", &"x".repeat(32));
        this.write("keys.toml", "");
        this.write("jwks.json", r#"{"keys": []}"#);
        this.write("broken", "x");
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Runs the program with files of this directory, free ports and this database. Returns
    /// whether it succeeded, and its output.
    fn run(&self, command: &[&str], database: &[&str], files: &[(&str, &str)]) -> (bool, String) {
        let mut program = Command::new(env!("CARGO_BIN_EXE_endcap"));
        program.env_clear().args(command).args(database);
        for port in ["--grpc-addr", "--http-addr", "--admin-addr"] {
            // A repeated flag is an error.
            if !files.iter().any(|(flag, _)| *flag == port) {
                program.args([port, "127.0.0.1:0"]);
            }
        }
        for (flag, value) in files {
            program.arg(flag);
            if flag.ends_with("addr") || value.contains(['/', ',']) || value.is_empty() {
                program.arg(value);
            } else {
                program.arg(self.path(value));
            }
        }
        let output = program.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    }
}

const AUTH: [(&str, &str); 3] = [
    ("--auth", "keys,jwt"),
    ("--jwt-issuer", "https://id.example"),
    ("--jwt-audience", "https://endcap.example"),
];

/// Flags with invalid files, and the expected message of each.
fn odd() -> Vec<(&'static [(&'static str, &'static str)], &'static str)> {
    vec![
        (
            &[("--tls-cert", "none"), ("--tls-key", "server.key")],
            "tls_cert: FOLDER/none: No such file",
        ),
        (
            &[("--tls-cert", "server.crt"), ("--tls-key", "broken")],
            "tls_key: FOLDER/broken: no private key found",
        ),
        (
            &[("--tls-cert", "server.crt"), ("--tls-key", "expired.key")],
            "tls_key: FOLDER/expired.key: is not the private key",
        ),
        (
            &[("--tls-cert", "expired.crt"), ("--tls-key", "expired.key")],
            "tls_cert: FOLDER/expired.crt: expired at 2001-01-01T00:00:00Z",
        ),
        (
            &[
                ("--tls-cert", "server.crt"),
                ("--tls-key", "server.key"),
                ("--tls-client-ca", "broken"),
            ],
            "tls_client_ca: FOLDER/broken: no certificate found",
        ),
        (
            &[
                ("--tls-cert", "server.crt"),
                ("--tls-key", "server.key"),
                ("--tls-client-ca", "expired.crt"),
            ],
            "tls_client_ca: FOLDER/expired.crt: expired",
        ),
        (&[("--keys-file", "broken")], "keys_file: FOLDER/broken: "),
        (
            &[("--token-secret-file", "broken")],
            "token_secret_file: FOLDER/broken: has 1 bytes",
        ),
        (&[("--jwt-jwks", "none")], "jwt_jwks: FOLDER/none: No such"),
        (&[("--jwt-jwks", "broken")], "jwt_jwks: FOLDER/broken: "),
    ]
}

/// Whether nothing was created for the database.
async fn is_untouched(engine: Engine, data: &Path, url: &str) -> bool {
    if engine == Engine::Sqlite {
        return !data.exists();
    }
    let database = Database::connect(url).await.unwrap();
    let tables = "SELECT 1 FROM information_schema.tables WHERE table_schema = 'public'";
    let tables = Statement::from_string(DbBackend::Postgres, tables);
    database.query_one_raw(tables).await.unwrap().is_none()
}

async fn database(engine: Engine, data: &Path) -> (String, [String; 2]) {
    match engine {
        Engine::Sqlite => {
            let flags = ["--data-dir".into(), data.display().to_string()];
            (String::new(), flags)
        }
        Engine::Postgres => {
            let url = postgres::new_database().await;
            (url.clone(), ["--database-url".into(), url])
        }
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn invalid_files_are_reported_before_the_database_is_touched(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let files = Files::new();
    let data = files.path("data");
    let (url, flags) = database(engine, &data).await;
    let flags = flags.each_ref().map(String::as_str);
    let fine = [("--keys-file", "keys.toml"), ("--jwt-jwks", "jwks.json")];
    for (odd, told) in odd() {
        let told = told.replace("FOLDER", files.folder.path().to_str().unwrap());
        let is_odd = |flag| odd.iter().any(|(it, _)| *it == flag);
        let fine = fine.into_iter().filter(|(flag, _)| !is_odd(*flag));
        let all: Vec<_> = AUTH
            .into_iter()
            .chain(fine)
            .chain(odd.iter().copied())
            .collect();
        for command in [&["config", "--check"][..], &["serve"]] {
            let (ok, printed) = files.run(command, &flags, &all);
            assert!(!ok && printed.contains(&told), "{told} in {printed}");
            assert_eq!(printed.matches(&told).count(), 1, "{printed}");
        }
    }
    assert!(is_untouched(engine, &data, &url).await);

    // With valid files, only the state of the database is reported.
    let all: Vec<_> = AUTH.into_iter().chain(fine).collect();
    let (ok, printed) = files.run(&["config", "--check"], &flags, &all);
    let pending = match engine {
        Engine::Sqlite => "endcap.db: does not exist yet",
        Engine::Postgres => "pending migrations, to be applied by `endcap migrate`:\n  m2026",
    };
    assert!(ok && printed.contains(pending), "{printed}");
    assert!(is_untouched(engine, &data, &url).await);
    assert!(files.run(&["migrate"], &flags, &[]).0);
    let (ok, printed) = files.run(&["config", "--check"], &flags, &all);
    assert!(ok && printed.contains("up to date"), "{printed}");
}

#[test]
fn all_problems_are_reported_at_once() {
    let files = Files::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let url = "postgres://me:hunter2@127.0.0.1:1/x?sslmode=verify-ca&sslrootcert=/nowhere/ca";
    let all = [
        ("--tls-cert", "expired.crt"),
        ("--tls-key", "server.key"),
        ("--auth", "keys,jwt"),
        ("--jwt-issuer", "https://id.example"),
        ("--jwt-jwks", "http://127.0.0.1:1/keys"),
        ("--keys-file", "broken"),
        ("--token-secret-file", "none"),
        ("--http-addr", &taken),
        ("--admin-addr", "203.0.113.1:80"),
    ];
    let (ok, printed) = files.run(&["config", "--check"], &["--database-url", url], &all);
    assert!(!ok);
    for part in [
        "jwt_audience: must be set",
        "tls_cert: ",
        "tls_key: ",
        "keys_file: ",
        "token_secret_file: ",
        "database_tls_ca: /nowhere/ca: No such file",
        "database_url: ",
        &format!("http_addr: {taken} is in use"),
        "admin_addr: 203.0.113.1:80: ",
    ] {
        assert!(printed.contains(part), "{part} in {printed}");
    }
    assert!(!printed.contains("hunter2"), "{printed}");
    // The issuer is contacted if its settings are complete.
    let all = [&AUTH[..], &[("--jwt-jwks", "http://127.0.0.1:1/keys")]].concat();
    let (ok, printed) = files.run(&["config", "--check"], &["--data-dir", "/nowhere/x"], &all);
    assert!(!ok, "{printed}");
    let told = "jwt_jwks: http://127.0.0.1:1/keys: ";
    assert!(printed.contains(told), "{printed}");
}

#[test]
fn an_invalid_data_directory_is_reported() {
    let files = Files::new();
    let data = files.path("broken").join("data");
    let flags = ["--data-dir", data.to_str().unwrap()];
    for command in [&["config", "--check"][..], &["serve"]] {
        let (ok, printed) = files.run(command, &flags, &[]);
        assert!(!ok, "{printed}");
        let told = format!(
            "the data directory can't be used: {}: Not a directory (os error 20)",
            data.display()
        );
        assert!(printed.contains(&told), "{printed}");
    }
    // A file that is not a database.
    fs::create_dir(files.path("data")).unwrap();
    files.write("data/endcap.db", &"no database".repeat(100));
    let data = files.path("data").display().to_string();
    let (ok, printed) = files.run(&["config", "--check"], &["--data-dir", &data], &[]);
    assert!(!ok && printed.contains("data_dir: "), "{printed}");
    assert!(printed.contains("damaged or not a database"), "{printed}");
}

#[test]
fn opentelemetry_variables_are_validated() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");
    let flags = ["--grpc-addr", "--http-addr", "--admin-addr"].map(|flag| [flag, "127.0.0.1:0"]);
    for (variable, value) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "carrier pigeon"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "bogus"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a b"),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "ftp://collector"),
    ] {
        for command in [&["config", "--check"][..], &["serve"]] {
            let arguments = [command, &["--data-dir", &data], flags.as_flattened()].concat();
            let (ok, _, error) = output(&arguments, &[endpoint, (variable, value)]);
            assert!(!ok && error.contains(&format!("{variable}: ")), "{error}");
            assert!(!error.contains("panicked"), "{error}");
        }
        // The variables are not validated if nothing is exported.
        let off = ("OTEL_SDK_DISABLED", "true");
        let check = ["config", "--check", "--data-dir", &data];
        let arguments = [&check[..], flags.as_flattened()].concat();
        let (ok, _, error) = output(&arguments, &[endpoint, (variable, value), off]);
        assert!(ok, "{error}");
    }
}

#[test]
fn an_address_in_use_is_reported() {
    let files = Files::new();
    let data = files.path("data");
    let running = start(crate::program::endcap(&data, None));
    let grpc = running.grpc.strip_prefix("http://").unwrap();
    let data = data.display().to_string();
    for command in [&["config", "--check"][..], &["serve"]] {
        let (ok, printed) = files.run(command, &["--data-dir", &data], &[("--grpc-addr", grpc)]);
        assert!(!ok, "{printed}");
        let told = format!("grpc_addr: {grpc} is in use");
        assert!(printed.contains(&told), "{printed}");
    }
    // Two addresses of the same server conflict, too.
    let port = postgres::free_port();
    let address = format!("127.0.0.1:{port}");
    let both = [("--grpc-addr", &*address), ("--http-addr", &address)];
    let (ok, printed) = files.run(&["config", "--check"], &["--data-dir", &data], &both);
    assert!(!ok, "{printed}");
    assert!(printed.contains("http_addr: "), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_connection_errors_are_reported() {
    let files = Files::new();
    let url = postgres::new_database().await;
    let none = format!("{url}_none");
    for (url, told) in [
        (&*none, "does not exist"),
        (
            "postgres://me@127.0.0.1:1/x",
            "the database can't be reached: 127.0.0.1:1/x: Connection refused",
        ),
    ] {
        let (ok, printed) = files.run(&["config", "--check"], &["--database-url", url], &[]);
        assert!(!ok && printed.contains(told), "{told} in {printed}");
        assert!(printed.contains("database_url: "), "{printed}");
    }
    // The URL of the read replica is that of a primary.
    let replica = ["--database-url", &url, "--database-read-url", &url];
    let told = "database_read_url: the server is not a read replica: it is not in recovery";
    let (ok, printed) = files.run(&["config", "--check"], &replica, &[]);
    assert!(!ok && printed.contains(told), "{printed}");
    let embedded = ["--data-dir", "/nowhere", "--database-read-url", &url];
    let (ok, printed) = files.run(&["config", "--check"], &embedded, &[]);
    assert!(!ok, "{printed}");
    assert!(
        printed.contains("database_read_url: needs database_url"),
        "{printed}"
    );
}
