//! The maximum nesting of custom properties and attributes, over the Oracle dialect and gRPC.

use endcap::grpc::pb;
use endcap::store::Engine::{self, Postgres, Sqlite};
use prost_types::{ListValue, Struct, Value, value::Kind};
use reqwest::Method;
use rstest::rstest;
use sea_orm::ConnectionTrait as _;
use serde_json::json;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    harness::{Server, get, named},
    oracle::{Admin, assert_error, send},
};

/// The documented maximum.
const MAX: usize = 30;

/// Nested objects, which need the most messages of a `Struct` per level.
fn nested(levels: usize) -> serde_json::Value {
    (0..levels).fold(json!(1), |inner, _| json!({ "a": inner }))
}

/// Nested lists, of which a decoder accepts more levels.
fn lists(levels: usize) -> Struct {
    let innermost = Kind::NumberValue(1.0);
    let kind = (0..levels).fold(innermost, |inner, _| {
        let values = vec![Value { kind: Some(inner) }];
        Kind::ListValue(ListValue { values })
    });
    let fields = [("x_deep".to_owned(), Value { kind: Some(kind) })];
    Struct {
        fields: fields.into(),
    }
}

/// The field of an error, and its problem.
fn violation(status: &Status) -> (String, String) {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let details = status.get_error_details();
    let violation = &details.bad_request().unwrap().field_violations[0];
    (violation.field.clone(), violation.description.clone())
}

async fn list(server: &Server) -> Vec<pb::Collection> {
    let request = pb::ListCollectionsRequest::default();
    let page = server.grpc().await.list_collections(request).await;
    page.unwrap().into_inner().collections
}

#[rstest]
#[tokio::test]
async fn too_deeply_nested_json_is_rejected_over_oracle_and_grpc(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    const PROBLEM: &str = "\"x_deep\" has 31 levels; the limit is 30";
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    let properties = |id: &str, levels| json!({"properties": {"id": id, "displayName": id, "x_deep": nested(levels)}});
    let response = admin.post(properties("a", MAX)).await;
    assert_eq!(response.0, 200, "{response:?}");
    let response = admin.post(properties("b", MAX + 1)).await;
    assert_error(&response, 400, "25014", PROBLEM);
    let update = json!({"properties": {"x_deep": nested(MAX + 1)}});
    assert_error(&admin.put("a", update).await, 400, "25014", PROBLEM);
    let product = async |levels| {
        let request = admin.write(Method::POST, "products", "en");
        send(request.json(&properties("p", levels))).await
    };
    assert_error(&product(MAX + 1).await, 400, "25014", PROBLEM);
    let response = product(MAX).await;
    assert_eq!(response.0, 200, "{response:?}");

    let mut client = server.grpc().await;
    let mut create = async |id: &str, levels| {
        let collection = pb::Collection {
            custom_properties: Some(lists(levels)),
            ..named(id, id)
        };
        let request = pb::CreateCollectionRequest {
            collection: Some(collection),
            ..Default::default()
        };
        client.create_collection(request).await
    };
    create("c", MAX).await.unwrap();
    let (field, problem) = violation(&create("d", MAX + 1).await.unwrap_err());
    assert_eq!(field, "collection.custom_properties");
    assert_eq!(problem, PROBLEM);
    let mut products = server.products().await;
    let mut upsert = async |levels| {
        let product = pb::Product {
            id: "q".into(),
            title: "Q".into(),
            attributes: Some(lists(levels)),
            ..Default::default()
        };
        let request = pb::UpsertProductsRequest {
            products: vec![product],
            ..Default::default()
        };
        products.upsert_products(request).await
    };
    upsert(MAX).await.unwrap();
    let (field, problem) = violation(&upsert(MAX + 1).await.unwrap_err());
    assert_eq!(field, "products[0].attributes");
    assert_eq!(problem, PROBLEM);

    // The response can be decoded: Rust's decoder has the same limit as those of other languages,
    // 100 nested messages.
    assert_eq!(list(&server).await.len(), 2);
}

#[rstest]
#[tokio::test]
async fn stored_values_that_are_too_deep_are_returned_as_text(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    for id in ["a", "b"] {
        admin.make(id, None, 0).await;
    }
    let deep = nested(100);
    let stored = json!({"x_deep": deep, "x_flat": [1]});
    let sql = format!("UPDATE collections SET custom_properties = '{stored}' WHERE id = 'a'");
    let db = sea_orm::Database::connect(&server.database).await.unwrap();
    db.execute_unprepared(&sql).await.unwrap();
    db.close().await.unwrap();

    let page = list(&server).await;
    assert_eq!(page.len(), 2);
    let property = |collection: &pb::Collection, name| {
        let properties = collection.custom_properties.clone();
        properties.unwrap().fields[name].kind.clone().unwrap()
    };
    let text = Kind::StringValue(deep.to_string());
    let a = page.iter().find(|collection| collection.id == "a");
    assert_eq!(property(a.unwrap(), "x_deep"), text);
    let flat = property(a.unwrap(), "x_flat");
    assert!(matches!(flat, Kind::ListValue(_)), "{flat:?}");
    assert_eq!(admin.get("a").await["x_deep"], deep);

    // The value does not prevent other changes, even by a client that writes it back.
    let update = json!({"properties": {"displayName": "A", "x_deep": deep, "x_flat": null}});
    let response = admin.put("a", update).await;
    assert_eq!(response.0, 200, "{response:?}");
    let mut client = server.grpc().await;
    let a = get(&mut client, "a").await.unwrap();
    assert_eq!(property(&a, "x_deep"), text);
}
