//! A client like real ones of Oracle's Admin API. It logs in first, and again whenever a response
//! looks like a failure; it adds trailing slashes, writes numbers as strings, sends nulls for
//! unknown fields, and deletes a tree itself, from the leaves.

use endcap::config::Flags;
use endcap::store::Engine::{self, Postgres, Sqlite};
use futures::future::{BoxFuture, FutureExt as _};
use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};

use super::ids;
use crate::{auth::new_key, harness::Server};

struct Client<'a> {
    server: &'a Server,
    key: String,
    token: String,
    logins: usize,
}

impl Client<'_> {
    async fn log_in(&mut self) {
        let url = format!("{}/ccadmin/v1/login/", self.server.http);
        let request = self.server.client.post(url).bearer_auth(&self.key);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let request = request.body("grant_type=client_credentials");
        let response: Value = request.send().await.unwrap().json().await.unwrap();
        self.token = response["access_token"].as_str().unwrap().into();
        self.logins += 1;
    }

    /// Sends a request. A response with an `errorCode` or an `error` is a failure, perhaps because
    /// of an expired token.
    async fn call(&mut self, method: Method, path: &str, language: &str, body: Value) -> Value {
        for _ in 0..3 {
            let url = format!("{}/ccadmin/v1/{path}", self.server.http);
            let request = self.server.client.request(method.clone(), url);
            let request = request.bearer_auth(&self.token);
            let request = request.header("X-CCAsset-Language", language).json(&body);
            let response: Value = request.send().await.unwrap().json().await.unwrap();
            let failed = ["errorCode", "error"].map(|name| response.get(name).is_some());
            if failed == [false, false] {
                return response;
            }
            assert_eq!(response["errorCode"], "401", "{response}");
            self.log_in().await;
        }
        panic!("{path}: a new token is rejected");
    }

    fn delete_tree<'b>(&'b mut self, id: &'b str) -> BoxFuture<'b, ()> {
        async move {
            let path = format!("collections/{id}/?expand=childCategories");
            let collection = self.call(Method::GET, &path, "en_US", json!({})).await;
            let children = collection["childCategories"].as_array().cloned();
            for child in children.unwrap_or_default() {
                self.delete_tree(child["id"].as_str().unwrap()).await;
            }
            let path = format!("collections/{id}?catalogId=cloudCatalog");
            let gone = self.call(Method::DELETE, &path, "en_US", json!({})).await;
            assert_eq!(gone, json!({"success": true}));
        }
        .boxed()
    }
}

#[rstest]
#[tokio::test]
async fn a_typical_import_client_works(#[values(Sqlite, Postgres)] engine: Engine) {
    let flags = Flags {
        auth: Some("keys".into()),
        // Short, so that the import has to log in again.
        token_lifetime: Some("1s".into()),
        locales: Some("en_US,pt-BR".into()),
        default_locale: Some("en-US".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let scopes = ["collections.read", "collections.write"];
    let mut client = Client {
        server: &server,
        key: new_key(&server, "shop", &scopes, &[]),
        token: "none yet".into(),
        logins: 0,
    };
    let no_seo = json!({
        "seoTitle": null, "seoDescription": null, "seoKeywords": null, "seoUrlSlug": null,
    });
    for (id, parent) in [
        ("home", None),
        ("lamps", Some("home")),
        ("desk", Some("lamps")),
    ] {
        let body = |name: String| {
            json!({
                "catalogId": "cloudCatalog",
                "parentCategoryId": parent,
                "categoryImages": [],
                "properties": {
                    "id": id, "displayName": name, "name": id, "description": null,
                    "longDescription": "", "active": true, "seoMetaInfo": no_seo,
                },
            })
        };
        let made = client
            .call(
                Method::POST,
                "collections/",
                "en_US",
                body(id.to_uppercase()),
            )
            .await;
        assert_eq!(made["repositoryId"], id);
        assert_eq!(made["seoMetaInfo"], Value::Null);
        let path = format!("collections/{id}/");
        let portuguese = body(format!("{id} (pt)"));
        let other = client.call(Method::PUT, &path, "pt-BR", portuguese).await;
        assert_eq!(other["displayName"], format!("{id} (pt)"));
    }
    let read = client
        .call(Method::GET, "collections/desk", "pt_BR", json!({}))
        .await;
    assert_eq!(
        read["categoryPaths"],
        json!(["/Commerce Root/home (pt)/lamps (pt)/desk (pt)"])
    );
    let read = client
        .call(Method::GET, "collections/desk", "en_US", json!({}))
        .await;
    assert_eq!(read["route"], "/desk/category/desk");

    // An image as an object, like an example in the documentation.
    for images in [
        json!({"path": "/a.png", "metadata": {"altText": "A"}}),
        json!([{"path": "/a.png", "metadata": {"altText": "A"}}]),
    ] {
        let body = json!({"categoryImages": images});
        let changed = client
            .call(Method::PUT, "collections/desk", "en_US", body)
            .await;
        assert_eq!(changed["categoryImages"][0]["metadata"]["altText"], "A");
    }
    let append = json!({"type": "appendProducts", "products": ["a", "b", "c", "d"]});
    client
        .call(Method::PUT, "collections/desk/", "en_US", append)
        .await;
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    let moves = json!({
        "type": "updateProducts", "op": "move",
        "moves": {"fromStart": "2", "fromEnd": "3", "to": "0"},
    });
    let moved = client
        .call(Method::PUT, "collections/desk", "en_US", moves)
        .await;
    assert_eq!(ids(&moved["childProducts"]), "c d a b");
    assert!(client.logins >= 2, "{}", client.logins);

    client.delete_tree("home").await;
    let left = client
        .call(
            Method::GET,
            "collections?asHierarchy=true",
            "en_US",
            json!({}),
        )
        .await;
    let tops = left["items"].as_array().unwrap();
    assert!(
        tops.iter().all(|top| top["childCategories"].is_null()),
        "{left}"
    );
}
