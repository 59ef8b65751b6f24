//! Oracle's Admin API over real HTTP.

mod catalogs;
mod children;
mod client;
mod errors;
mod golden;
mod languages;
mod links;
mod lists;
mod login;
mod parameters;
mod products;
mod properties;
mod replays;
mod roots;
mod round_trips;
mod searches;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::harness::Server;

/// A client of the Admin API that writes English texts by default.
pub(crate) struct Admin<'a>(pub(crate) &'a Server);

impl Admin<'_> {
    /// A request without a language.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}/ccadmin/v1/{path}", self.0.http);
        self.0.client.request(method, url)
    }

    /// A request with texts in `language`.
    pub(crate) fn write(&self, method: Method, path: &str, language: &str) -> RequestBuilder {
        self.request(method, path)
            .header("X-CCAsset-Language", language)
    }

    /// createCollection.
    pub(crate) async fn post(&self, body: Value) -> (u16, Value) {
        let request = self.write(Method::POST, "collections", "en");
        send(request.json(&body)).await
    }

    /// updateCollection.
    pub(crate) async fn put(&self, id: &str, body: Value) -> (u16, Value) {
        self.put_in("en", id, body).await
    }

    /// updateCollection in another language.
    pub(crate) async fn put_in(&self, language: &str, id: &str, body: Value) -> (u16, Value) {
        let request = self.write(Method::PUT, &format!("collections/{id}"), language);
        send(request.json(&body)).await
    }

    /// getCollection; the path may have a query.
    pub(crate) async fn get(&self, id: &str) -> Value {
        let request = self.request(Method::GET, &format!("collections/{id}"));
        let (status, body) = send(request).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    /// Creates a collection with the products `p0`, `p1` and so on, under `parent` or the root.
    pub(crate) async fn make(&self, id: &str, parent: Option<&str>, products: usize) {
        let properties = json!({"id": id, "displayName": id});
        let body = json!({"parentCategoryId": parent, "properties": properties});
        let (status, body) = self.post(body).await;
        assert_eq!(status, 200, "{body}");
        if products > 0 {
            let ids: Vec<_> = (0..products).map(|n| format!("p{n}")).collect();
            let append = json!({"type": "appendProducts", "products": ids});
            let (status, body) = self.put(id, append).await;
            assert_eq!(status, 200, "{body}");
        }
    }

    /// The ids of the collection's products, in order.
    pub(crate) async fn products(&self, id: &str) -> String {
        ids(&self.get(id).await["fixedChildProducts"])
    }
}

/// The response to a request other than an update or a create.
pub(crate) async fn ask(
    admin: &Admin<'_>,
    method: Method,
    path: &str,
    body: Value,
) -> (u16, Value) {
    send(admin.request(method, path).json(&body)).await
}

/// The status and the body of a response.
pub(crate) async fn send(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// The ids of references, joined by spaces.
pub(crate) fn ids(references: &Value) -> String {
    let references = references.as_array().unwrap().iter();
    let ids: Vec<_> = references
        .map(|reference| reference["repositoryId"].as_str().unwrap())
        .collect();
    ids.join(" ")
}

/// Asserts that a response is an error with this status and code, whose message contains `says`.
pub(crate) fn assert_error(response: &(u16, Value), status: u16, code: &str, says: &str) {
    let (got, body) = response;
    assert_eq!(*got, status, "{body}");
    assert_eq!(body["status"], status.to_string(), "{body}");
    assert_eq!(body["errorCode"], code, "{body}");
    let message = body["message"].as_str().unwrap();
    assert!(message.contains(says), "{body} does not contain {says}");
}
