//! The examples of the OpenAPI descriptions: each request is sent as `/docs/` fills it in, and each
//! response is a server's.

use std::fs;

use endcap::{
    config::Flags,
    store::Engine::{self, Postgres, Sqlite},
};
use reqwest::{Method, RequestBuilder};
use rstest::rstest;
use serde_json::{Value, json};

use crate::{auth::new_key, harness::Server, json::client::encoded};

/// A description, and the file with its examples.
struct Api {
    path: &'static str,
    file: &'static str,
}

const ENDCAP: Api = Api {
    path: "/openapi/endcap.json",
    file: "src/json/examples.json",
};
const HIGHLEVEL: Api = Api {
    path: "/openapi/highlevel.json",
    file: "src/dialect/highlevel/examples.json",
};
const ORACLE: Api = Api {
    path: "/openapi/oracle.json",
    file: "src/dialect/oracle/examples.json",
};

async fn get(server: &Server, path: &str) -> Value {
    let response = server.client.get(format!("{}{path}", server.http));
    response.send().await.unwrap().json().await.unwrap()
}

/// Loads the sample catalogue, like the button on `/docs/`.
async fn load(server: &Server) {
    let requests = get(server, "/docs/sample.json").await;
    for request in requests.as_array().unwrap() {
        let url = format!("{}{}", server.http, request["path"].as_str().unwrap());
        let response = server.client.post(url).json(&request["body"]);
        let response = response.send().await.unwrap();
        assert_eq!(response.status(), 200, "{request}");
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or(value.to_string(), str::to_owned)
}

/// The request of an operation, filled in like on `/docs/`.
fn filled_in(server: &Server, method: &str, path: &str, described: &Value) -> RequestBuilder {
    let mut path = path.to_owned();
    let (mut query, mut headers) = (Vec::new(), Vec::new());
    for parameter in described["parameters"].as_array().into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap();
        let example = &parameter["example"];
        assert!(
            parameter["required"] != true || !example.is_null(),
            "{path} {name}"
        );
        match (parameter["in"].as_str().unwrap(), example) {
            (_, Value::Null) => {}
            ("path", value) => {
                path = path.replace(&format!("{{{name}}}"), &encoded(&text(value)));
            }
            ("header", value) => headers.push((name, text(value))),
            (_, Value::Array(values)) => {
                query.extend(values.iter().map(|value| (name.to_owned(), text(value))));
            }
            (_, Value::Object(entries)) => {
                let entries = entries.iter();
                query.extend(entries.map(|(key, value)| (format!("{name}[{key}]"), text(value))));
            }
            (_, value) => query.push((name.to_owned(), text(value))),
        }
    }
    let method = method.to_uppercase().parse::<Method>().unwrap();
    let url = format!("{}{path}", server.http);
    let mut request = server.client.request(method, url).query(&query);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let content = &described["requestBody"]["content"]["application/json"];
    if content.is_null() {
        return request;
    }
    request.json(&content["example"])
}

/// Sends the example of each operation to a server with the sample catalogue, in the order of the
/// page, and adds the responses to the examples.
async fn send_operations(engine: Engine, api: &Api, examples: &mut Value) {
    let server = Server::new(engine).await;
    load(&server).await;
    let description = get(&server, api.path).await;
    let examples = examples["operations"].as_array_mut().unwrap();
    let mut sent = 0;
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, described) in item.as_object().unwrap() {
            let id = &described["operationId"];
            let example = examples.iter_mut().find(|it| it["operation"] == *id);
            let example = example.unwrap_or_else(|| panic!("{id} has no example"));
            let request = filled_in(&server, method, path, described);
            let response = request.send().await.unwrap();
            let status = response.status();
            let body = response.text().await.unwrap();
            assert!(status.is_success(), "{id}: {status} {body}");
            let described = described["responses"].as_object().unwrap().keys();
            let success: Vec<_> = described.filter(|it| it.starts_with('2')).collect();
            assert_eq!(success, [status.as_str()], "{id}");
            example["response"] = normalized(serde_json::from_str(&body).unwrap());
            sent += 1;
        }
    }
    assert_eq!(sent, examples.len(), "an example has no operation");
}

/// Sends requests that fail, to a server with authentication.
async fn send_failures(engine: Engine, examples: &mut Value) {
    let flags = Flags {
        auth: Some("keys".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let scopes = ["collections.read", "collections.write"];
    let key = new_key(&server, "default", &scopes, &[]);
    let key_of_another_tenant = new_key(&server, "other", &scopes, &[]);
    for example in examples["errors"].as_array_mut().unwrap() {
        let method: Method = example["method"].as_str().unwrap().parse().unwrap();
        let url = format!("{}{}", server.http, example["path"].as_str().unwrap());
        let request = server.client.request(method, url);
        let request = request
            .header("content-type", "application/json")
            .header("version", "2021-07-28");
        let expected = example["status"].as_str().unwrap();
        let request = match expected {
            "401" => request,
            "403" => request.bearer_auth(&key_of_another_tenant),
            _ => request.bearer_auth(&key),
        };
        let body = &example["body"];
        let request = if body.is_null() {
            request
        } else {
            request.body(text(body))
        };
        let response = request.send().await.unwrap();
        let status = response.status();
        let body = response.text().await.unwrap();
        assert!(
            status.as_str() == expected || expected == "default" && status.is_client_error(),
            "{example}: {status} {body}"
        );
        example["response"] = normalized(serde_json::from_str(&body).unwrap());
    }
}

/// A response with placeholders for what differs each time: generated times, ids and tokens.
fn normalized(response: Value) -> Value {
    match response {
        Value::Null | Value::Bool(_) | Value::Number(_) => response,
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| {
                let value = match name.as_str() {
                    "etag" | "readEtag" => json!("66136a70edb4e"),
                    "propertiesEtag" => json!("p95c49e4a48a71c900dad69a45f2bb013"),
                    "nextPageToken" => json!("AW9wYXF1ZQ"),
                    _ => normalized(value),
                };
                (name, value)
            });
            fields.collect()
        }
        Value::Array(values) => values.into_iter().map(normalized).collect(),
        Value::String(text) => same(&text)
            .map_or_else(|| text.clone(), str::to_owned)
            .into(),
    }
}

/// The placeholder for a text that has the form of a generated one.
fn same(text: &str) -> Option<&'static str> {
    let is_hex = |text: &str| {
        text.bytes()
            .all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
    };
    let dashes: Vec<_> = text.match_indices('-').map(|(at, _)| at).collect();
    let is_time = text.ends_with('Z') && text.as_bytes().get(10) == Some(&b'T');
    let image = text.strip_prefix('m').unwrap_or_default();
    match text.len() {
        9 if image.len() == 8 && is_hex(image) => Some("mb8ce4b90"),
        24 if is_time => Some("2026-11-26T09:30:00.123Z"),
        27 if is_time => Some("2026-11-26T09:30:00.123456Z"),
        24 if is_hex(text) => Some("6b08c6c39691977446207116"),
        32 if is_hex(text) => Some("7be2ad1765431bb88e7462fe481db576"),
        36 if dashes == [8, 13, 18, 23] => Some("9d9e7456-8879-4286-af48-2d7218423d49"),
        _ if text.starts_with("endcaptoken.") => {
            Some("endcaptoken.31c73964b06b24f3d026e896801cea3d")
        }
        _ => None,
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn the_examples_match_the_responses_of_a_server(
    #[values(ENDCAP, HIGHLEVEL, ORACLE)] api: Api,
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let file = format!("{}/{}", env!("CARGO_MANIFEST_DIR"), api.file);
    let text = fs::read_to_string(&file).unwrap();
    let mut examples: Value = serde_json::from_str(&text).unwrap();
    send_operations(engine, &api, &mut examples).await;
    send_failures(engine, &mut examples).await;
    let made = format!("{}\n", serde_json::to_string_pretty(&examples).unwrap());
    if engine == Sqlite && std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&file, &made).unwrap();
    }
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text, made, "UPDATE_DOCS=1 cargo test --test it examples");
}

#[tokio::test]
async fn each_described_request_and_response_body_has_an_example() {
    let server = Server::new(Sqlite).await;
    for api in [ENDCAP, HIGHLEVEL, ORACLE] {
        let description = get(&server, api.path).await;
        let items = description["paths"].as_object().unwrap().values();
        for described in items.flat_map(|item| item.as_object().unwrap().values()) {
            let responses = described["responses"].as_object().unwrap().values();
            for content in responses.map(|response| &response["content"]["application/json"]) {
                assert!(!content["example"].is_null(), "{described}");
            }
            let body = &described["requestBody"]["content"]["application/json"];
            assert!(body.is_null() || !body["example"].is_null(), "{described}");
        }
    }
}
