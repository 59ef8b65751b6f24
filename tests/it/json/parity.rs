//! Each method responds over JSON as it does over gRPC.

use std::collections::BTreeSet;

use endcap::{
    grpc::DESCRIPTORS,
    store::Engine::{self, Postgres, Sqlite},
};
use http::uri::PathAndQuery;
use prost::Message as _;
use prost_reflect::{DynamicMessage, ReflectMessage as _};
use rand::{SeedableRng as _, rngs::StdRng};
use rstest::rstest;
use serde_json::{Value, json};
use tonic::{client::Grpc, transport::Channel};

use super::{
    client::{self, Binding, bindings},
    request, status_and_body,
};
use crate::harness::Server;

#[path = "../../../benches/service/codec.rs"]
mod codec;

use codec::Raw;

/// The code, and the response or the error's message.
type Answer = (i32, Value);

async fn over_grpc(
    client: &mut Grpc<Channel>,
    binding: &Binding,
    message: &DynamicMessage,
) -> Answer {
    let method = &binding.method;
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let path: PathAndQuery = path.parse().unwrap();
    client.ready().await.unwrap();
    let request = tonic::Request::new(message.encode_to_vec().into());
    match client.unary(request, path, Raw).await {
        Ok(response) => {
            let message = DynamicMessage::decode(method.output(), response.into_inner());
            (0, serde_json::to_value(message.unwrap()).unwrap())
        }
        Err(status) => (status.code() as i32, status.message().into()),
    }
}

async fn over_json(server: &Server, binding: &Binding, message: &DynamicMessage) -> Answer {
    let (status, json) = status_and_body(request(server, binding, message)).await;
    if status == 200 {
        return (0, json);
    }
    let code = i32::try_from(json["code"].as_i64().unwrap()).unwrap();
    (code, json["message"].clone())
}

/// Removes what differs between two tenants.
fn settle(json: &mut Value) {
    const OWN: [&str; 8] = [
        "tenantId",
        "createTime",
        "updateTime",
        "etag",
        "propertiesEtag",
        "readEtag",
        "nextPageToken",
        "previousPageToken",
    ];
    match json {
        Value::Object(fields) => {
            for (name, value) in fields {
                if OWN.contains(&name.as_str()) {
                    *value = "…".into();
                } else {
                    settle(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(settle),
        Value::Number(number) => {
            // 1 and 1.0 are the same number.
            *json = number.as_f64().unwrap().into();
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

fn message(binding: &Binding, json: &Value) -> DynamicMessage {
    DynamicMessage::deserialize(binding.method.input(), json.clone()).unwrap()
}

fn within(message: &DynamicMessage, tenant: &str) -> DynamicMessage {
    let mut message = message.clone();
    let tenant = prost_reflect::Value::String(tenant.into());
    message.set_field_by_name("tenant_id", tenant);
    message
}

/// Requests of every method, in an order in which their preconditions are met: some succeed, some
/// fail.
fn requests() -> Vec<(&'static str, Value)> {
    let summer = json!({
        "id": "a/b:c", "slug": "summer",
        "texts": {"en": {"displayName": "Summer"}, "de": {"displayName": "Sömmer"}},
        "customProperties": {"n": 1, "x": [1.5, null, "é"], "deep": {"a": true}},
        "images": [{"id": "i", "url": "https://example.com/a.png"}],
    });
    let smart = json!({
        "id": "smart", "kind": "COLLECTION_KIND_SMART", "texts": {"en": {"displayName": "Smart"}},
        "rules": is("x"),
    });
    let product = "CHILD_TYPE_PRODUCT";
    let append = json!([{"append": {"ids": ["50% x/y:z", "ü😀", "p3"]}}]);
    let moved = json!([{"moveRange": {"firstIndex": 0, "lastIndex": 0, "position": {"index": 1}}}]);
    let update = json!({"id": "a/b:c", "internalName": "S", "texts": {"en": {"seoTitle": "T"}}});
    vec![
        (
            "CreateCollection",
            json!({"collection": summer, "requestId": "r1"}),
        ),
        (
            "CreateCollection",
            json!({"collection": summer, "requestId": "r1"}),
        ),
        ("CreateCollection", json!({"collection": summer})),
        ("CreateCollection", json!({"collection": smart})),
        (
            "CreateCollection",
            json!({"collection": {"id": "o", "texts": {"en": {"displayName": "O"}}}, "orphaned": true}),
        ),
        (
            "CreateCollection",
            json!({"collection": {"id": "a b", "slug": "A"}}),
        ),
        (
            "UpsertProducts",
            json!({"products": [{"id": "50% x/y:z", "title": "X", "attributes": {"a": 1}}, {"id": "q"}]}),
        ),
        (
            "UpsertProducts",
            json!({"products": [{"id": " "}], "updateMask": "title"}),
        ),
        (
            "MutateChildren",
            json!({"collectionId": "a/b:c", "childType": product, "mutations": append, "requestId": "r2"}),
        ),
        (
            "MutateChildren",
            json!({"collectionId": "a/b:c", "childType": product, "mutations": moved, "validateOnly": true}),
        ),
        (
            "MutateChildren",
            json!({"collectionId": "a/b:c", "childType": product, "mutations": moved, "requestId": "r2"}),
        ),
        (
            "MutateChildren",
            json!({"collectionId": "a/b:c", "mutations": moved}),
        ),
        (
            "UpdateCollection",
            json!({"collection": update, "updateMask": "internalName", "textMasks": {"en": "seoTitle"}}),
        ),
        (
            "UpdateCollection",
            json!({"collection": {"id": "a/b:c", "etag": "1"}, "updateMask": "slug"}),
        ),
        (
            "UpdateCollection",
            json!({"collection": {"id": "a/b:c"}, "customPropertyNames": ["n", "no"]}),
        ),
        ("UpdateCollection", json!({"collection": {"id": "a/b:c"}})),
        ("GetCollection", json!({"collectionId": "a/b:c"})),
        (
            "GetCollection",
            json!({"slug": "summer", "readMask": "id,texts"}),
        ),
        ("GetCollection", json!({"collectionId": "none"})),
        (
            "GetCollection",
            json!({"collectionId": "a/b:c", "readMask": "nothing"}),
        ),
        (
            "BatchGetCollections",
            json!({"ids": ["smart", "none", "a/b:c"], "readMask": "id"}),
        ),
        ("BatchGetCollections", json!({})),
        (
            "ListCollections",
            json!({"filter": {"displayNameContains": "s", "kind": "COLLECTION_KIND_MANUAL"}, "readMask": "id"}),
        ),
        (
            "ListCollections",
            json!({"pageSize": 1, "omitTotalSize": true, "filter": {"ids": ["smart", "a/b:c"]}}),
        ),
        ("ListCollections", json!({"pageToken": "x"})),
        (
            "GetChild",
            json!({"collectionId": "a/b:c", "childType": product, "childId": "50% x/y:z"}),
        ),
        (
            "GetChild",
            json!({"collectionId": "a/b:c", "childType": product, "childId": "none"}),
        ),
        (
            "ListChildren",
            json!({"collectionId": "a/b:c", "childType": product, "productMask": "title", "productAttributeNames": ["a"]}),
        ),
        (
            "ListChildren",
            json!({"collectionId": "a/b:c", "childType": product, "startIndex": 9}),
        ),
        (
            "ListChildren",
            json!({"collectionId": "rootCategory", "childType": "CHILD_TYPE_COLLECTION", "pageSize": 1}),
        ),
        (
            "ListParents",
            json!({"childType": product, "childId": "ü😀"}),
        ),
        ("ListParents", json!({"childId": "x"})),
        ("GetProduct", json!({"productId": "50% x/y:z"})),
        ("GetProduct", json!({"productId": "ü😀"})),
        (
            "ListProducts",
            json!({"filter": {"collectionIds": ["a/b:c"]}}),
        ),
        ("ListProducts", json!({"pageSize": -1})),
        (
            "PreviewRules",
            json!({"rules": is("X"), "collectionId": "smart", "sampleSize": 1}),
        ),
        (
            "PreviewRules",
            json!({"rules": {"root": {"anyOf": {}}}, "sampleSize": -1}),
        ),
        (
            "ExplainMembership",
            json!({"collectionId": "smart", "productId": "50% x/y:z"}),
        ),
        (
            "ExplainMembership",
            json!({"collectionId": "a/b:c", "productId": "q"}),
        ),
        (
            "ListMatchingCollections",
            json!({"product": {"id": "new", "title": "X", "prices": [{"id": "a", "amount": "1"}]}}),
        ),
        (
            "ListMatchingCollections",
            json!({"product": {"id": "new", "tags": [""]}}),
        ),
        (
            "ChangeRuleEntries",
            json!({"collectionId": "smart", "kind": "RULE_ENTRY_KIND_PIN", "add": [{"productId": "q", "index": 0}], "requestId": "r4"}),
        ),
        (
            "ChangeRuleEntries",
            json!({"collectionId": "smart", "kind": "RULE_ENTRY_KIND_PIN", "add": [{"productId": "q"}, {"productId": "é", "index": -1}]}),
        ),
        (
            "ListRuleEntries",
            json!({"collectionId": "smart", "kind": "RULE_ENTRY_KIND_PIN"}),
        ),
        ("ListRuleEntries", json!({"collectionId": "smart"})),
        (
            "ChangeCollectionKind",
            json!({"collectionId": "a/b:c", "kind": "COLLECTION_KIND_SMART", "rules": is("X"), "keepMembers": true}),
        ),
        (
            "ChangeCollectionKind",
            json!({"collectionId": "a/b:c", "kind": "COLLECTION_KIND_SMART"}),
        ),
        ("DeleteProducts", json!({"ids": ["q", "none"]})),
        (
            "DeleteCollection",
            json!({"collectionId": "a/b:c", "etag": "1"}),
        ),
        (
            "DeleteCollection",
            json!({"collectionId": "a/b:c", "force": true, "requestId": "r3"}),
        ),
        ("DeleteCollection", json!({"collectionId": "a/b:c"})),
    ]
}

/// Rules that products with this title match.
fn is(title: &str) -> Value {
    json!({"root": {"condition": {
        "field": "PRODUCT_FIELD_TITLE", "operator": "CONDITION_OPERATOR_EQUALS",
        "operands": [{"text": title}],
    }}})
}

/// The bindings of a method whose path the request can fill.
fn fitting<'a>(all: &'a [Binding], name: &str, json: &Value) -> Vec<&'a Binding> {
    let of_method = all.iter().filter(|it| it.method.name() == name);
    let fits = of_method.filter(|binding| {
        let message = message(binding, json);
        let mut variables = binding.variables();
        variables.all(|field| field.contains('.') || message.has_field_by_name(field))
    });
    fits.collect()
}

#[rstest]
#[tokio::test]
async fn every_method_responds_over_json_as_over_grpc(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let channel = Channel::from_shared(server.grpc.clone()).unwrap();
    let mut client = Grpc::new(channel.connect().await.unwrap());
    let all = bindings(DESCRIPTORS);
    let (mut tried, mut failed) = (BTreeSet::new(), BTreeSet::new());
    for (name, json) in requests() {
        let fitting = fitting(&all, name, &json);
        assert!(!fitting.is_empty(), "{name} {json}");
        let sent = message(fitting[0], &json);
        let (code, mut expected) = over_grpc(&mut client, fitting[0], &within(&sent, "g")).await;
        settle(&mut expected);
        for binding in fitting {
            let (of_json, mut told) = over_json(&server, binding, &within(&sent, "j")).await;
            settle(&mut told);
            // The current version differs between tenants.
            if !expected.to_string().contains("is not current") {
                assert_eq!(told, expected, "{} {name} {json}", binding.template);
            }
            assert_eq!(of_json, code, "{} {name} {json}: {told}", binding.template);
            tried.insert((binding.verb.clone(), binding.template.clone()));
        }
        if code != 0 {
            failed.insert(name);
        }
    }
    let known: BTreeSet<_> = all
        .iter()
        .map(|it| (it.verb.clone(), it.template.clone()))
        .collect();
    assert_eq!(tried, known, "requests() must use each binding");
    // All methods except the one that can't fail with well-formed ids.
    assert_eq!(failed.len(), 19, "{failed:?}");
}

/// The messages may be invalid.
#[rstest]
#[tokio::test]
async fn random_messages_get_the_same_response_over_json_and_grpc(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let channel = Channel::from_shared(server.grpc.clone()).unwrap();
    let mut client = Grpc::new(channel.connect().await.unwrap());
    let mut rng = StdRng::seed_from_u64(20);
    for _ in 0..20 {
        for binding in bindings(DESCRIPTORS) {
            let mut any = client::any(&binding.method.input(), 5, &mut rng);
            binding.expressible(&mut any, &mut rng);
            any = DynamicMessage::decode(any.descriptor(), &*any.encode_to_vec()).unwrap();
            let (code, mut expected) = over_grpc(&mut client, &binding, &within(&any, "g")).await;
            let (of_json, mut told) = over_json(&server, &binding, &within(&any, "j")).await;
            settle(&mut expected);
            settle(&mut told);
            let json = serde_json::to_string(&any).unwrap();
            assert_eq!(
                (of_json, told),
                (code, expected),
                "{} {json}",
                binding.template
            );
        }
    }
}
