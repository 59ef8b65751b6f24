//! The root collections of a tenant, over all protocols.

use endcap::grpc::pb;
use endcap::store::Engine::{self, Postgres, Sqlite};
use reqwest::Method;
use rstest::rstest;
use serde_json::json;

use super::{Admin, ask, assert_error, ids, send};
use crate::harness::{Server, append, mutate};

#[rstest]
#[tokio::test]
async fn a_root_has_no_products_in_any_protocol(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    admin.make("a", None, 1).await;
    let mut client = server.grpc().await;
    for root in ["rootCategory", "nonNavigableCategory"] {
        for body in [
            json!({"type": "appendProducts", "products": ["p0"]}),
            json!({"type": "appendProducts", "products": ["new"]}),
        ] {
            let refused = admin.put(root, body).await;
            assert_error(&refused, 400, "20202", root);
        }
        let mutation = mutate(root, vec![append(["p0"])]);
        let refused = client.mutate_children(mutation).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::FailedPrecondition, "{refused}");
        let product = pb::Product {
            id: "p0".into(),
            title: "P".into(),
            ..pb::Product::default()
        };
        let url = format!("{}/products/", server.http);
        let body = json!({
            "name": "P", "locationId": "default", "productType": "DIGITAL",
            "collectionIds": [root],
        });
        let request = server.client.post(&url).header("version", "2021-07-28");
        let (status, refused) = send(request.json(&body)).await;
        assert!((400..500).contains(&status), "{refused}");
        let request = pb::UpsertProductsRequest {
            products: vec![product],
            ..pb::UpsertProductsRequest::default()
        };
        server
            .products()
            .await
            .upsert_products(request)
            .await
            .unwrap();
        assert_eq!(admin.products(root).await, "");
    }
    // Oracle's page says that roots are ignored here.
    let link = json!({"operation": "link", "products": ["p0"], "collections": ["rootCategory"]});
    assert_eq!(
        ask(&admin, Method::POST, "collections/assignProducts", link)
            .await
            .0,
        200
    );
    let (_, product) = ask(&admin, Method::GET, "products/p0", json!({})).await;
    assert_eq!(ids(&product["parentCategories"]), "a");

    // HighLevel's API has no roots, and shows none.
    for path in [
        "products/collections?altId=default&altType=location",
        "products/?locationId=default",
    ] {
        let request = server.client.get(format!("{}/{path}", server.http));
        let request = request.header("version", "2021-07-28");
        let (status, body) = send(request).await;
        assert_eq!(status, 200, "{body}");
        let body = body.to_string();
        assert!(
            !body.contains("rootCategory") && !body.contains("nonNavigable"),
            "{body}"
        );
    }
    for id in ["rootCategory", "nonNavigableCategory"] {
        let url = format!("{}/products/collections/{id}?altId=default", server.http);
        let request = server.client.get(url).header("version", "2021-07-28");
        assert_eq!(send(request).await.0, 404, "{id}");
    }
}
