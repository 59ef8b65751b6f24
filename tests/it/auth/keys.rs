//! Keys: their commands, and how long what is known of them holds.

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

/// Waits until the key is taken, or is not.
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
async fn a_key_is_made_listed_and_revoked(#[values(Sqlite, Postgres)] engine: Engine) {
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
    assert_eq!(fields[..4], [id, "good", "a,b", scopes]);
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
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_the_database_is_remembered_for_the_cache_time(
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
async fn a_file_of_keys_is_read_again_when_it_changes(#[values(Sqlite, Postgres)] engine: Engine) {
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
    // What can't be read changes nothing.
    std::fs::write(&path, "keys = 3").unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(told(&server, &second).await, "Ok");
    // For the server on the next engine.
    std::fs::write(&path, &first_line).unwrap();
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_file_may_have_the_names_that_dialects_have_for_scopes(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
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
async fn lines_for_a_file_have_no_key(#[values(Sqlite, Postgres)] engine: Engine) {
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
    // It is not in the database.
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
    let run = |key: Option<&str>, arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_endcap"));
        command.env_clear().args(arguments);
        command.args(["--collection", "list", "--server", &server.grpc]);
        if let Some(key) = key {
            command.env("ENDCAP_KEY", key);
        }
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
    let (done, printed, error) = run(Some(&key), &import);
    assert!(done && printed.starts_with("2 added"), "{printed} {error}");
    let flag = ["export", "children", "--key", key.as_str()];
    assert_eq!(run(None, &flag), (true, "a\nb\n".into(), String::new()));
}
