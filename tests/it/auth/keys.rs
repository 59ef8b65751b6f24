//! API keys: commands, key files, and caching.

use std::time::{Duration, Instant};

use bytes::Bytes;
use endcap::store::Engine::{self, Postgres, Sqlite};
use endcap::{
    config::Flags,
    domain::Scope,
    grpc::pb::{self, get_collection_request::Key},
};
use rstest::rstest;
use serde_json::json;

use super::{endcap, file_key, frame, grpc, new_key};
use crate::harness::Server;

fn root() -> Bytes {
    frame(&pb::GetCollectionRequest {
        tenant_id: "default".into(),
        key: Some(Key::CollectionId("rootCategory".into())),
        ..Default::default()
    })
}

async fn told(server: &Server, key: &str) -> String {
    grpc(server, "GetCollection", Some(key), root()).await.told
}

/// Waits until a request with this key has the expected outcome.
async fn until(server: &Server, key: &str, expected: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let told = told(server, key).await;
        if told == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{told}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

const REFUSED: &str = "Unauthenticated UNAUTHENTICATED";

fn flags() -> Flags {
    Flags {
        auth: Some("keys".into()),
        key_cache_time: Some("50ms".into()),
        reload_interval: Some("1ms".into()),
        ..Flags::default()
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_created_listed_and_revoked(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::start(engine, flags()).await;
    assert_eq!(endcap(&server, &["key", "list"]), "");
    let more = ["--tenant", "b", "--expires-in", "90d"];
    let key = new_key(
        &server,
        "a",
        &["products/collection.readonly", "admin"],
        &more,
    );
    assert_eq!(told(&server, &key).await, "Ok");
    let id = key.split('_').nth(1).unwrap();
    let line = endcap(&server, &["key", "list"]);
    let fields: Vec<_> = line.trim_end().split('\t').collect();
    let scopes = "collections.read,admin";
    assert_eq!(fields[..4], [id, "active", "a,b", scopes]);
    assert_eq!(
        (fields[4].len(), fields[5]),
        ("2026-01-01T00:00:00Z".len(), "test")
    );
    let secret = key.split('_').nth(2).unwrap();
    assert!(!line.contains(secret));

    let printed = endcap(&server, &["key", "revoke", id]);
    assert_eq!(printed, format!("{id} is revoked\n"));
    until(&server, &key, REFUSED).await;
    let line = endcap(&server, &["key", "list"]);
    assert!(line.starts_with(&format!("{id}\trevoked\t")), "{line}");
    let again = std::process::Command::new(env!("CARGO_BIN_EXE_endcap"))
        .env_clear()
        .args(&server.database_flag)
        .args(["key", "revoke", id])
        .output()
        .unwrap();
    assert!(!again.status.success());
    let error = String::from_utf8(again.stderr).unwrap();
    assert!(error.contains("unknown or already revoked"), "{error}");
}

/// Runs the program on the server's database: whether it succeeded, its output and its errors.
fn run(database: &[String; 2], arguments: &[&str]) -> (bool, String, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_endcap"))
        .env_clear()
        .args(database)
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.success(),
        text(output.stdout),
        text(output.stderr),
    )
}

const CREATE: [&str; 8] = [
    "key", "create", "--label", "l", "--tenant", "*", "--scope", "admin",
];

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn commands_that_write_report_the_database_they_used(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let named = match engine {
        Engine::Sqlite => server.database.strip_prefix("sqlite://").unwrap(),
        // Without user and password.
        Engine::Postgres => server.database.rsplit_once('@').unwrap().1,
    };
    let (ok, key, error) = run(&server.database_flag, &CREATE);
    let id = key.split('_').nth(1).unwrap();
    assert!(ok, "{error}");
    assert_eq!(error, format!("key {id} is in the database {named}\n"));
    for command in [&["key", "revoke", id][..], &["secret", "rotate"]] {
        let (ok, _, error) = run(&server.database_flag, command);
        assert!(ok, "{error}");
        assert_eq!(error, format!("in the database {named}\n"), "{command:?}");
    }
}

#[test]
fn a_new_database_is_created_only_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let database = ["--data-dir".to_owned(), data.display().to_string()];
    for command in [
        &CREATE[..],
        &["key", "list"],
        &["key", "revoke", "0123456789abcdef"],
        &["secret", "rotate"],
    ] {
        let (ok, printed, error) = run(&database, command);
        assert!(!ok && printed.is_empty(), "{command:?}: {printed}");
        let told = format!("there is no database at {}/endcap.db", data.display());
        assert!(error.contains(&told), "{error}");
        let is_create = command == CREATE;
        assert_eq!(error.contains("--create-database"), is_create, "{error}");
        assert!(!data.exists());
    }
    let create = [&CREATE[..], &["--create-database"]].concat();
    let (ok, key, error) = run(&database, &create);
    assert!(ok && key.starts_with("endcap_"), "{error}");
    let (ok, list, _) = run(&database, &["key", "list"]);
    assert!(ok && list.contains("\tactive\t"), "{list}");
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_database_key_is_accepted_while_it_is_cached(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let flags = Flags {
        key_cache_time: Some("1h".into()),
        ..flags()
    };
    let server = Server::start(engine, flags).await;
    let [used, unused] = [(); 2].map(|()| new_key(&server, "*", &["admin"], &[]));
    assert_eq!(told(&server, &used).await, "Ok");
    for key in [&used, &unused] {
        endcap(&server, &["key", "revoke", key.split('_').nth(1).unwrap()]);
    }
    assert_eq!(told(&server, &used).await, "Ok");
    assert_eq!(told(&server, &unused).await, REFUSED);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_key_file_is_reloaded_when_it_changes(#[values(Sqlite, Postgres)] engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.toml");
    let (first, first_line) = file_key("*", &[Scope::CollectionsRead], None);
    let (second, second_line) = file_key("*", &[Scope::CollectionsRead], None);
    let flags = Flags {
        keys_file: Some(path.display().to_string()),
        ..flags()
    };
    std::fs::write(&path, &first_line).unwrap();
    let server = Server::start(engine, flags).await;
    until(&server, &first, "Ok").await;
    assert_eq!(told(&server, &second).await, REFUSED);
    std::fs::write(&path, &second_line).unwrap();
    until(&server, &second, "Ok").await;
    assert_eq!(told(&server, &first).await, REFUSED);
    // A file that can't be parsed is ignored.
    std::fs::write(&path, "keys = 3").unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(told(&server, &second).await, "Ok");
    // Restores the file for the server on the next database.
    std::fs::write(&path, &first_line).unwrap();
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_key_file_may_use_a_dialect_s_scope_names(#[values(Sqlite, Postgres)] engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.toml");
    let (key, lines) = file_key("*", &[Scope::CollectionsRead], None);
    let lines = lines.replace("collections.read", "products/collection.readonly");
    std::fs::write(&path, lines).unwrap();
    let flags = Flags {
        keys_file: Some(path.display().to_string()),
        ..flags()
    };
    let server = Server::start(engine, flags).await;
    assert_eq!(told(&server, &key).await, "Ok");
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn the_toml_output_of_key_create_does_not_contain_the_key(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::start(engine, flags()).await;
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_endcap"))
        .env_clear()
        .args(&server.database_flag)
        .args(["key", "create", "--toml", "--label", "l", "--tenant", "*"])
        .args(["--scope", "admin"])
        .output()
        .unwrap();
    let key = String::from_utf8(output.stderr).unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    assert!(key.starts_with("endcap_") && !lines.contains(key.trim_end()));
    assert!(lines.starts_with("[[keys]]\n"), "{lines}");
    // The key is not in the database.
    assert_eq!(told(&server, key.trim_end()).await, REFUSED);
    assert_eq!(endcap(&server, &["key", "list"]), "");
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn import_and_export_send_the_key(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::start(engine, flags()).await;
    let key = new_key(
        &server,
        "shop",
        &["collections.read", "collections.write"],
        &[],
    );
    let url = format!("{}/ccadmin/v1/collections", server.http);
    let create = server.client.post(url).bearer_auth(&key);
    let create = create.header("x-ccasset-language", "en");
    let list = json!({"properties": {"id": "list", "displayName": "List"}});
    assert_eq!(create.json(&list).send().await.unwrap().status(), 200);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ids");
    std::fs::write(&file, "a\nb\n").unwrap();
    let secret = folder.path().join("key").display().to_string();
    std::fs::write(&secret, format!("{key}\n")).unwrap();
    let run = |key: Option<(&str, &str)>, arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_endcap"));
        command.env_clear().args(arguments);
        command.args(["--collection", "list", "--server", &server.grpc]);
        command.envs(key);
        let output = command.output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stdout).unwrap(),
            error,
        )
    };
    let import = ["import", "children", file.to_str().unwrap()];
    let (done, _, error) = run(None, &import);
    assert!(!done && error.contains("UNAUTHENTICATED"), "{error}");
    let (done, printed, error) = run(Some(("ENDCAP_KEY", &key)), &import);
    assert!(done && printed.starts_with("2 added"), "{printed} {error}");
    let flag = ["export", "children", "--key", key.as_str()];
    let exported = (true, "a\nb\n".into(), String::new());
    assert_eq!(run(None, &flag), exported);
    let export = ["export", "children"];
    let in_file = Some(("ENDCAP_KEY_FILE", &*secret));
    assert_eq!(run(in_file, &export), exported);
    let flag = ["export", "children", "--key-file", &secret];
    // A flag takes precedence over the environment.
    assert_eq!(run(Some(("ENDCAP_KEY", "x")), &flag), exported);
    std::fs::remove_file(&secret).unwrap();
    let (done, _, error) = run(in_file, &export);
    let told = format!("{secret}: can't be read");
    assert!(!done && error.contains(&told), "{error}");
}
