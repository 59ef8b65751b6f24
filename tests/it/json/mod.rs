//! `endcap.v1` over HTTP and JSON, compared with gRPC.

pub(crate) mod client;
mod docs;
mod http;
mod parity;

use client::Binding;
use prost_reflect::DynamicMessage;
use reqwest::{Method, RequestBuilder, Response, header::HeaderMap};
use serde_json::Value;

use crate::harness::Server;

fn send(server: &Server, method: &str, target: &str) -> RequestBuilder {
    let method: Method = method.parse().unwrap();
    let url = format!("{}{target}", server.http);
    server.client.request(method, url)
}

/// The request that represents the message of a method.
pub(crate) fn request(
    server: &Server,
    binding: &Binding,
    message: &DynamicMessage,
) -> RequestBuilder {
    let sent = binding.request(message);
    let request = send(server, &sent.method, &sent.target);
    match &sent.body {
        Some(body) => request.json(body),
        None => request,
    }
}

/// Status, headers and JSON of a response; null if it has no body.
async fn whole(response: Response) -> (u16, HeaderMap, Value) {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.unwrap();
    let json = if text.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    };
    (status, headers, json)
}

async fn status_and_body(request: RequestBuilder) -> (u16, Value) {
    let (status, _, json) = whole(request.send().await.unwrap()).await;
    (status, json)
}
