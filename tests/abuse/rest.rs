//! Large values in every body field and every parameter of the dialects' OpenAPI descriptions.

use std::{collections::BTreeMap, fmt::Write as _, io::Write as _};

use flate2::{Compression, write::GzEncoder};
use serde_json::Value;

use crate::program::Program;

/// The size of a large body in bytes, just below the server's limit.
const LARGEST: usize = (16 << 20) - 1_024;
/// The size of a large parameter in bytes; it must fit in the request headers.
const PARAMETER: usize = 24 << 10;
/// The maximum memory of the server, in MiB.
const MEMORY: u64 = 900;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// Large values of every kind, for any field.
fn values(size: usize) -> [(&'static str, String); 6] {
    let list = |item: &str| {
        format!(
            "[{}{item}]",
            format!("{item},").repeat(size / (item.len() + 1))
        )
    };
    let mut object = String::from("{");
    for n in 0.. {
        if object.len() >= size {
            break;
        }
        let _ = write!(object, "\"{n:x}\":1,");
    }
    object.pop();
    object.push('}');
    let deep = 60_000;
    [
        ("text", format!("\"{}\"", "x".repeat(size))),
        ("numbers", list("1")),
        ("objects", list("{}")),
        ("texts", list("\"x\"")),
        ("names", object),
        ("depth", format!("{}{}", "[".repeat(deep), "]".repeat(deep))),
    ]
}

/// The names of the fields of a schema.
fn fields(schema: &Value, all: &Value) -> Vec<String> {
    let schema = schema["$ref"].as_str().map_or(schema, |reference| {
        let pointer = reference.trim_start_matches('#');
        all.pointer(pointer).unwrap()
    });
    let own = schema["properties"].as_object().into_iter().flatten();
    let mut names: Vec<String> = own.map(|(name, _)| name.clone()).collect();
    for part in ["allOf", "oneOf", "anyOf"] {
        let parts = schema[part].as_array().into_iter().flatten();
        names.extend(parts.flat_map(|part| fields(part, all)));
    }
    names
}

/// The OpenAPI descriptions of the dialects.
async fn descriptions(client: &reqwest::Client, url: &str) -> Vec<Value> {
    let mut descriptions = Vec::new();
    for dialect in endcap::app::DIALECTS {
        let at = format!("{url}{}", dialect.description_path);
        let text = client.get(at).send().await.unwrap().text().await.unwrap();
        descriptions.push(serde_json::from_str(&text).unwrap());
    }
    descriptions
}

/// A decoded body may be hundreds of times as large as its JSON, and many arrive concurrently.
#[tokio::test(flavor = "multi_thread")]
async fn many_concurrent_bodies_of_many_values_stay_within_memory() {
    const AT_ONCE: usize = 24;
    let program = Program::start(&[]);
    endcap::crypto::install();
    let client = reqwest::Client::new();
    let url = format!("http://{}", program.http);
    let watch = program.watch();
    let mut sent = 0;
    for description in &descriptions(&client, &url).await {
        for (path, operations) in description["paths"].as_object().unwrap() {
            for method in METHODS {
                let content = &operations[method]["requestBody"]["content"]["application/json"];
                let names = fields(&content["schema"], description);
                // Arbitrary values are allowed at this depth.
                let Some(name) = names.iter().find(|it| *it == "products").or(names.first()) else {
                    continue;
                };
                // As many as the server accepts.
                let values = format!("[{}0]", "0,".repeat(400_000));
                let body = format!(
                    "{{\"{name}\":[{{\"id\":\"a\",\"title\":\"t\",\"attributes\":{{\"a\":{values}}}}}]}}"
                );
                let target = format!("{url}{}", path.replace(['{', '}'], "x"));
                let verb: reqwest::Method = method.to_uppercase().parse().unwrap();
                let requests = (0..AT_ONCE).map(|_| {
                    let request = client.request(verb.clone(), &target);
                    request
                        .header("Version", "2021-07-28")
                        .header("X-CCAsset-Language", "en")
                        .header("content-type", "application/json")
                        .body(body.clone())
                        .send()
                });
                for response in futures::future::join_all(requests).await {
                    assert_ne!(response.unwrap().status(), 500, "{method} {path}");
                    sent += 1;
                }
            }
        }
    }
    assert!(sent >= 10 * AT_ONCE, "{sent}");
    watch.end("many bodies of many values", MEMORY);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_body_fields_and_parameters_cause_no_500_and_stay_within_memory() {
    let program = Program::start(&[]);
    endcap::crypto::install();
    let client = reqwest::Client::new();
    let url = format!("http://{}", program.http);
    let descriptions = descriptions(&client, &url).await;
    let values = values(LARGEST);
    let watch = program.watch();
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    let mut bodies = 0;
    for description in &descriptions {
        for (path, operations) in description["paths"].as_object().unwrap() {
            for method in METHODS {
                let operation = &operations[method];
                if operation.is_null() {
                    continue;
                }
                let target = format!("{url}{}", path.replace(['{', '}'], "x"));
                let verb: reqwest::Method = method.to_uppercase().parse().unwrap();
                let request = |target: &str| {
                    client
                        .request(verb.clone(), target)
                        .header("Version", "2021-07-28")
                        .header("X-CCAsset-Language", "en")
                };
                let mut seen = |status: reqwest::StatusCode, what: &str| {
                    assert_ne!(status, 500, "{method} {path} {what}");
                    *statuses.entry(status.as_u16()).or_default() += 1;
                };
                let parameters = operation["parameters"].as_array();
                let parameters = parameters.into_iter().flatten();
                for parameter in parameters.filter(|it| it["in"] == "query") {
                    let name = parameter["name"].as_str().unwrap();
                    for value in ["x".repeat(PARAMETER), "x,".repeat(PARAMETER / 2)] {
                        let target = format!("{target}?{name}={value}");
                        let response = request(&target).send().await.unwrap();
                        seen(response.status(), name);
                    }
                    let many = format!("{name}=x&").repeat(PARAMETER / (name.len() + 3));
                    let response = request(&format!("{target}?{many}")).send().await.unwrap();
                    seen(response.status(), name);
                }
                let content = &operation["requestBody"]["content"]["application/json"];
                let names = fields(&content["schema"], description);
                for (n, name) in names.iter().enumerate() {
                    // Each field gets two kinds of values, in rotation: all combinations
                    // would take too long.
                    for (kind, value) in values.iter().cycle().skip(n).take(2) {
                        let body = format!("{{\"{name}\":{value}}}");
                        let sent = request(&target)
                            .header("content-type", "application/json")
                            .body(body);
                        seen(sent.send().await.unwrap().status(), kind);
                        bodies += 1;
                    }
                }
                if !names.is_empty() {
                    let (_, value) = &values[2];
                    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
                    write!(gzip, "{{\"{}\":{value}}}", names[0]).unwrap();
                    let sent = request(&target)
                        .header("content-type", "application/json")
                        .header("content-encoding", "gzip")
                        .body(gzip.finish().unwrap());
                    seen(sent.send().await.unwrap().status(), "gzip");
                }
            }
        }
    }
    eprintln!("{bodies} bodies, statuses {statuses:?}");
    assert!(bodies > 20, "{bodies}");
    watch.end("every field of a body", MEMORY);
}
