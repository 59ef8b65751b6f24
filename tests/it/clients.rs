//! Third-party clients, run against the service. They are in `tests/clients/`; scripts/setup
//! installs what they need.

use std::process::Command;

use endcap::config::Flags;
use endcap::store::Engine::{self, Postgres, Sqlite};
use rstest::rstest;

use crate::{auth::new_key, harness::Server};

const LOCATION: &str = "3SwdhCsvxI8Au3KsPJt6";
const PAGES: &str = "docs.test.js";
const SDK: &str = "highlevel.test.js";
const READER: [&str; 1] = ["collections.read"];
const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");

fn node(test: &str, environment: &[(&str, &str)]) {
    let mut command = Command::new("node");
    command
        .current_dir(CLIENTS)
        .args(["--test", test])
        .envs(environment.iter().copied());
    succeeds(command);
}

fn succeeds(mut command: Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; run the tests through scripts/test"));
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn the_official_highlevel_sdk_works_unchanged(#[values(Sqlite, Postgres)] engine: Engine) {
    let flags = Flags {
        auth: Some("keys".into()),
        request_timeout: Some("2s".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let both = ["collections.read", "collections.write"];
    let key = new_key(&server, LOCATION, &both, &[]);
    let reader = new_key(&server, LOCATION, &READER, &[]);
    let other = new_key(&server, "other", &both, &[]);
    let environment = [
        ("ENDCAP_URL", server.http.as_str()),
        ("ENDCAP_LOCATION", LOCATION),
        ("ENDCAP_KEY", &key),
        ("ENDCAP_READER", &reader),
        ("ENDCAP_OTHER", &other),
    ];
    node(SDK, &environment);

    let held = server.hold_writes().await;
    node(SDK, &[&environment[..], &[("ENDCAP_HELD", "1")]].concat());
    drop(held);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn the_official_highlevel_sdk_handles_the_rate_limit(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let flags = Flags {
        auth: Some("keys".into()),
        rate_per_caller: Some("1/1h".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let environment = [
        ("ENDCAP_URL", server.http.as_str()),
        ("ENDCAP_LOCATION", LOCATION),
        ("ENDCAP_KEY", &new_key(&server, LOCATION, &READER, &[])),
        ("ENDCAP_LIMITED", "1"),
    ];
    node(SDK, &environment);
}

/// Only on SQLite: the tests of the examples show that requests behave the same on both engines.
#[tokio::test(flavor = "multi_thread")]
async fn the_documentation_page_sends_its_examples_in_a_browser() {
    let server = Server::new(Sqlite).await;
    node(PAGES, &[("ENDCAP_URL", server.http.as_str())]);

    let flags = Flags {
        auth: Some("keys".into()),
        ..Flags::default()
    };
    let server = Server::start(Sqlite, flags).await;
    let scopes = ["collections.read", "collections.write"];
    let key = new_key(&server, "default", &scopes, &[]);
    let environment = [("ENDCAP_URL", server.http.as_str()), ("ENDCAP_KEY", &key)];
    node(PAGES, &environment);
}

/// Schemathesis generates valid and invalid requests from the OpenAPI description, and checks the
/// responses against it.
fn schemathesis(server: &Server, description: &str, key: &str) {
    // It stores its state in its working directory.
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("schemathesis");
    command
        .current_dir(&folder)
        .args(["--config-file", &format!("{CLIENTS}/schemathesis.toml")])
        .args(["run", "--no-color"])
        .args(["--header", &format!("Authorization: Bearer {key}")])
        .arg(format!("{}{description}", server.http));
    succeeds(command);
}

async fn is_as_described(engine: Engine, description: &str, tenant: &str) {
    let flags = Flags {
        auth: Some("keys".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let scopes = ["collections.read", "collections.write"];
    let key = new_key(&server, tenant, &scopes, &[]);
    schemathesis(&server, description, &key);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn the_highlevel_dialect_conforms_to_its_openapi_description(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    is_as_described(engine, "/openapi/highlevel.json", "*").await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn the_oracle_dialect_conforms_to_its_openapi_description(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    is_as_described(engine, "/openapi/oracle.json", "shop").await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn the_json_api_conforms_to_its_openapi_description(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    is_as_described(engine, "/openapi/endcap.json", "default").await;
}
