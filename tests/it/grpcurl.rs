//! The service used through grpcurl: reflection, calls, and an error with its details.

use std::process::{Command, Output};

use endcap::store::Engine::{self, Postgres, Sqlite};
use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::Server;

/// Runs grpcurl, which scripts/setup installs, against the server.
fn grpcurl(server: &Server, data: Option<&Value>, arguments: &[&str]) -> Output {
    let address = server.grpc.strip_prefix("http://").unwrap();
    let mut command = Command::new("grpcurl");
    command.args(["-plaintext", "-format-error"]);
    if let Some(data) = data {
        command.args(["-d", &data.to_string()]);
    }
    command.arg(address).args(arguments);
    command
        .output()
        .unwrap_or_else(|error| panic!("grpcurl: {error}; run the tests through scripts/test"))
}

fn text(server: &Server, arguments: &[&str]) -> String {
    let output = grpcurl(server, None, arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn call(server: &Server, method: &str, data: &Value) -> Value {
    let method = format!("endcap.v1.CollectionService/{method}");
    let output = grpcurl(server, Some(data), &[&method]);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn grpcurl_can_list_describe_and_call_and_shows_error_details(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let services = text(&server, &["list"]);
    assert!(
        services.contains("endcap.v1.CollectionService"),
        "{services}"
    );
    assert!(services.contains("grpc.health.v1.Health"), "{services}");
    let described = text(&server, &["describe", "endcap.v1.MutateChildrenRequest"]);
    assert!(
        described.contains("repeated .endcap.v1.ChildMutation mutations"),
        "{described}"
    );

    let texts = json!({"en": {"displayName": "Summer"}});
    let collection = json!({"id": "summer", "texts": texts});
    let made = call(
        &server,
        "CreateCollection",
        &json!({"collection": collection}),
    );
    assert_eq!(made["collection"]["slug"], "summer");
    let mutations = json!([
        {"append": {"ids": ["a", "b", "c", "d"]}},
        {"moveRange": {"firstIndex": 2, "lastIndex": 3, "position": {"index": 0}}},
        {"reorder": {"placements": [{"id": "b", "index": 0}]}},
    ]);
    let request = json!({
        "collectionId": "summer", "childType": "CHILD_TYPE_PRODUCT", "mutations": mutations,
    });
    let mutated = call(&server, "MutateChildren", &request);
    assert_eq!(mutated["collection"]["stats"]["productCount"], 4);
    let request = json!({"collectionId": "summer", "childType": "CHILD_TYPE_PRODUCT"});
    let page = call(&server, "ListChildren", &request);
    let children = page["children"].as_array().unwrap();
    let ids: Vec<_> = children
        .iter()
        .map(|child| child["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["b", "c", "d", "a"]);

    let update = json!({
        "collection": {"id": "summer", "texts": {"en": {"seoTitle": "Sun"}}},
        "textMasks": {"en": {"paths": ["seo_title"]}},
    });
    let updated = call(&server, "UpdateCollection", &update);
    let text = json!({"displayName": "Summer", "seoTitle": "Sun"});
    assert_eq!(updated["collection"]["texts"]["en"], text);

    let request = json!({"collectionId": "no such"});
    let method = "endcap.v1.CollectionService/GetCollection";
    let output = grpcurl(&server, Some(&request), &[method]);
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    for part in ["\"code\": 3", "INVALID_FIELD", "fieldViolations", "no such"] {
        assert!(error.contains(part), "{part} in {error}");
    }
}
