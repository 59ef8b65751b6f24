//! The position of authentication in the middleware, and the paths that need no credential.

use endcap::config::Flags;
use endcap::store::Engine::{self, Postgres, Sqlite};
use reqwest::{Method, StatusCode};
use rstest::rstest;
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};

use crate::harness::Server;

fn flags() -> Flags {
    Flags {
        auth: Some("keys".into()),
        cors_origins: Some("https://shop.example".into()),
        ..Flags::default()
    }
}

#[rstest]
#[tokio::test]
async fn an_unauthenticated_request_passes_only_the_outer_layers(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::start(engine, flags()).await;
    for (path, kind) in [
        ("/products/collections/a", None),
        ("/ccadmin/v1/collections/a", None),
        ("/nothing", None),
        (
            "/endcap.v1.CollectionService/Nothing",
            Some("application/grpc-web"),
        ),
    ] {
        let request = server.client.get(format!("{}{path}", server.http));
        let request = match kind {
            Some(kind) => request.header("content-type", kind),
            None => request,
        };
        let response = request
            .header("origin", "https://shop.example")
            .header("x-request-id", "mine")
            .send()
            .await
            .unwrap();
        let headers = response.headers();
        // The request id and CORS are outside of authentication.
        assert_eq!(headers["x-request-id"], "mine", "{path}");
        let origin = "access-control-allow-origin";
        assert_eq!(headers[origin], "https://shop.example", "{path}");
        // Everything else is inside: without a credential, nobody learns whether a path, method
        // or collection exists.
        match kind {
            Some(_) => assert_eq!(headers["grpc-status"], "16", "{path}"),
            None => {
                assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{path}");
                assert_eq!(headers["www-authenticate"], "Bearer", "{path}");
            }
        }
    }
    // Preflight requests are handled outside, too: browsers send them without a credential.
    let url = format!("{}/products/collections", server.http);
    let preflight = server
        .client
        .request(Method::OPTIONS, url)
        .header("origin", "https://shop.example")
        .header("access-control-request-method", "POST")
        .send()
        .await
        .unwrap();
    assert_eq!(preflight.status(), StatusCode::OK);
}

#[rstest]
#[tokio::test]
async fn a_401_response_at_an_unknown_path_has_no_dialect_s_format(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::start(engine, flags()).await;
    let ask = async |path: &str| {
        let response = server.client.get(format!("{}{path}", server.http));
        let response = response.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(response.headers()["www-authenticate"], "Bearer", "{path}");
        let body: serde_json::Value = response.json().await.unwrap();
        let mut names: Vec<_> = body.as_object().unwrap().keys().cloned().collect();
        names.sort();
        names
    };
    for path in ["/productsX", "/ccadminX", "/ccadminX/v1/login", "/nothing"] {
        assert_eq!(ask(path).await, ["message"], "{path}");
    }
    assert!(ask("/products/x").await.contains(&"statusCode".into()));
    assert!(ask("/ccadmin/x").await.contains(&"errorCode".into()));
}

/// On PostgreSQL only: nothing blocks a reader of SQLite.
#[tokio::test]
async fn an_api_key_lookup_is_subject_to_the_request_deadline() {
    let flags = Flags {
        request_timeout: Some("1s".into()),
        ..flags()
    };
    let server = Server::start(Postgres, flags).await;
    let key = super::new_key(&server, "*", &["admin"], &[]);
    let held = server.hold_keys().await.unwrap();
    let url = format!("{}/products/collections/a?altId=a", server.http);
    let response = server
        .client
        .get(url)
        .bearer_auth(key)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    held.rollback().await.unwrap();
}

fn channel(server: &Server) -> Channel {
    Endpoint::new(server.grpc.clone()).unwrap().connect_lazy()
}

async fn services(server: &Server) -> Result<usize, Code> {
    let mut client = ServerReflectionClient::new(channel(server));
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let response = client
        .server_reflection_info(futures::stream::iter([request]))
        .await;
    let mut responses = response.map_err(|status| status.code())?.into_inner();
    let mut count = 0;
    while let Some(response) = responses.message().await.map_err(|status| status.code())? {
        assert!(response.message_response.is_some());
        count += 1;
    }
    Ok(count)
}

#[rstest]
#[tokio::test]
async fn health_and_reflection_need_no_credential_and_reflection_can_be_switched_off(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    for (is_on, expected) in [(true, Ok(1)), (false, Err(Code::Unimplemented))] {
        let flags = Flags {
            reflection: Some(is_on.to_string()),
            ..flags()
        };
        let server = Server::start(engine, flags).await;
        let mut health = HealthClient::new(channel(&server));
        let request = HealthCheckRequest::default();
        health.check(request).await.unwrap();
        assert_eq!(services(&server).await, expected);
        for path in ["livez", "readyz"] {
            let url = format!("{}/{path}", server.admin);
            assert_eq!(server.client.get(url).send().await.unwrap().status(), 200);
        }
    }
}
