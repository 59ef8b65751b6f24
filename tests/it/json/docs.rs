//! docs/reference/json.md: its table of routes is generated from the proto.

use std::{fmt::Write as _, fs};

use endcap::grpc::DESCRIPTORS;

use super::client::bindings;

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
fn the_documented_routes_match_the_proto() {
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
        "docs/reference/json.md says how to regenerate it"
    );
}
