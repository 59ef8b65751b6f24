//! The setting `tenants`: which tenants a server serves.

use endcap::{
    config::Flags,
    grpc::pb,
    store::Engine::{self, Postgres, Sqlite},
};
use rstest::rstest;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use super::new_key;
use crate::{
    collections::reason,
    commands::run,
    harness::{Server, named},
};

const PROBLEM: &str = "\"shpo\" is not listed in the server's setting `tenants`";

fn create(tenant: &str) -> pb::CreateCollectionRequest {
    pb::CreateCollectionRequest {
        tenant_id: tenant.into(),
        collection: Some(named("summer", "Summer")),
        ..pb::CreateCollectionRequest::default()
    }
}

fn get(tenant: &str) -> pb::GetCollectionRequest {
    pb::GetCollectionRequest {
        tenant_id: tenant.into(),
        key: Some(pb::get_collection_request::Key::CollectionId(
            "summer".into(),
        )),
        ..pb::GetCollectionRequest::default()
    }
}

fn is_told(status: &Status) {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    assert_eq!(reason(status), "INVALID_FIELD");
    let violations = status.get_error_details().bad_request().unwrap().clone();
    assert_eq!(violations.field_violations[0].field, "tenant_id");
    assert_eq!(violations.field_violations[0].description, PROBLEM);
}

/// The status and the body of an HTTP response.
async fn told(server: &Server, path: &str) -> (u16, String) {
    let request = server.client.get(format!("{}{path}", server.http));
    let response = request.header("version", "2021-07-28").send().await;
    let response = response.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_mistyped_tenant_is_refused_in_each_protocol(#[values(Sqlite, Postgres)] engine: Engine) {
    let flags = Flags {
        tenants: Some("shop,outlet".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let mut client = server.grpc().await;
    client.create_collection(create("shop")).await.unwrap();
    is_told(&client.create_collection(create("shpo")).await.unwrap_err());
    is_told(&client.get_collection(get("shpo")).await.unwrap_err());
    let upsert = pb::UpsertProductsRequest {
        tenant_id: "shpo".into(),
        products: vec![pb::Product {
            id: "hat".into(),
            title: "Hat".into(),
            ..pb::Product::default()
        }],
        ..pb::UpsertProductsRequest::default()
    };
    let mut products = server.products().await;
    is_told(&products.upsert_products(upsert).await.unwrap_err());

    for (path, status, refusal) in [
        ("/v1/collections/summer?tenantId=", 400, "tenant_id: "),
        (
            "/products/collections?altType=location&limit=20&altId=",
            422,
            "altId or locationId ",
        ),
        ("/products/?locationId=", 422, "altId or locationId "),
    ] {
        assert_eq!(told(&server, &format!("{path}shop")).await.0, 200, "{path}");
        let (code, body) = told(&server, &format!("{path}shpo")).await;
        assert_eq!(code, status, "{body}");
        let body = body.replace("\\\"", "\"");
        let expected = format!("{refusal}{PROBLEM}");
        assert!(body.contains(&expected), "{expected} in {body}");
    }
    // Authentication is disabled, so a request without a tenant is for the default one, which is
    // not listed either.
    for path in ["/v1/collections/summer", "/ccadmin/v1/collections/summer"] {
        let (code, body) = told(&server, path).await;
        assert_eq!(code, 400, "{body}");
        let body = body.replace("\\\"", "\"");
        let expected = PROBLEM.replace("shpo", "default");
        assert!(body.contains(&expected), "{expected} in {body}");
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn the_tenant_list_is_not_disclosed_to_credentials_of_other_tenants(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let flags = Flags {
        auth: Some("keys".into()),
        tenants: Some("shop,outlet".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let scopes = ["collections.read", "collections.write"];
    let mut client = server.grpc().await;
    let with = |key: &str, tenant: &str| {
        let mut request = Request::new(get(tenant));
        let bearer = format!("Bearer {key}").parse().unwrap();
        request.metadata_mut().insert("authorization", bearer);
        request
    };
    let shop = new_key(&server, "shop", &scopes, &[]);
    let mut responses = Vec::new();
    for tenant in ["outlet", "shpo"] {
        let status = client.get_collection(with(&shop, tenant)).await;
        let status = status.unwrap_err();
        responses.push((status.code(), status.message().to_owned()));
    }
    assert_eq!(responses[0].0, Code::NotFound);
    assert_eq!(responses[0], responses[1]);
    for tenants in ["*", "shpo"] {
        let key = new_key(&server, tenants, &scopes, &[]);
        is_told(&client.get_collection(with(&key, "shpo")).await.unwrap_err());
    }
}

#[test]
fn a_key_is_not_created_for_a_tenant_that_is_not_listed() {
    let create = |tenant: &str| {
        let mut arguments = vec![
            "key", "create", "--label", "a", "--scope", "admin", "--toml",
        ];
        arguments.extend(["--tenants", "shop,outlet", "--tenant", tenant]);
        run(&arguments)
    };
    let (status, lines, error) = create("shpo");
    assert_eq!((status, lines.as_str()), (Some(1), ""));
    assert_eq!(error, format!("endcap: --tenant: {PROBLEM}\n"));
    for tenant in ["shop", "*"] {
        assert_eq!(create(tenant).0, Some(0), "{tenant}");
    }
}
