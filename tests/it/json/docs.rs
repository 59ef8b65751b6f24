//! docs/reference/json.md: its table of routes is made of the proto, its examples work as written.

use std::{fmt::Write as _, fs, process::Command};

use endcap::{
    grpc::DESCRIPTORS,
    store::Engine::{self, Postgres, Sqlite},
};
use rstest::rstest;

use super::client::bindings;
use crate::harness::Server;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/json.md");
const BEGIN: &str = "<!-- Generated from the proto by `UPDATE_DOCS=1 cargo test --test it \
                     json::docs` -->\n";
const END: &str = "<!-- end -->\n";

fn table() -> String {
    let mut table = String::from("| method | path | body | RPC |\n|---|---|---|---|\n");
    for binding in bindings(DESCRIPTORS) {
        let body = match binding.body.as_str() {
            "" => "",
            "*" => "the request",
            field => &format!("its `{field}`"),
        };
        let rpc = binding.method.name();
        let (verb, path) = (&binding.verb, &binding.template);
        writeln!(table, "| {verb} | `{path}` | {body} | {rpc} |").unwrap();
    }
    table
}

#[test]
fn the_routes_are_those_of_the_proto() {
    let page = fs::read_to_string(PAGE).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let made = format!("{before}{BEGIN}{}{END}{after}", table());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(PAGE, &made).unwrap();
    }
    assert_eq!(
        fs::read_to_string(PAGE).unwrap(),
        made,
        "docs/reference/json.md says how to renew it"
    );
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn the_examples_work_as_written(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let page = fs::read_to_string(PAGE).unwrap();
    let blocks = page.split("```sh\n").skip(1);
    let blocks: Vec<_> = blocks.map(|it| it.split("```").next().unwrap()).collect();
    assert!(blocks.len() > 4, "{}", blocks.len());
    let script = blocks.join("\n").replace(
        "localhost:8080",
        server.http.strip_prefix("http://").unwrap(),
    );
    let output = Command::new("bash")
        .args(["-e", "-u", "-o", "pipefail", "-x", "-c", &script])
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}\n{log}");
    // What the text around the lines says of their answers.
    for said in [
        "\"children\":[{\"id\":\"parasol\"},{\"id\":\"hat\",\"index\":1},",
        "HTTP/1.1 304",
        "HTTP/1.1 412",
        "idempotency-replayed: stored",
        "unrecognized field name 'titel'",
    ] {
        assert!(printed.contains(said), "{said}: {printed}\n{log}");
    }
}
