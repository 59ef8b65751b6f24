//! HTTP semantics of all protocols: encodings, hosts, methods, content types.

use std::io::{Read as _, Write as _};

use endcap::{
    config::Flags,
    grpc::pb,
    store::Engine::{self, Postgres, Sqlite},
};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use prost::Message as _;
use reqwest::{Method, StatusCode};
use rstest::rstest;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::harness::{Server, append, create, mutate};

const MARK: &str = "\u{feff}";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// For each dialect, the path and the body of a create request, and its success status.
fn creations(id: &str) -> [(&'static str, String, u16); 2] {
    let highlevel = json!({"altId": "default", "altType": "location", "name": id, "slug": id});
    let oracle = json!({"collectionId": id, "properties": {"displayName": id}});
    [
        ("/products/collections", highlevel.to_string(), 201),
        ("/ccadmin/v1/collections", oracle.to_string(), 200),
    ]
}

fn post(server: &Server, path: &str) -> reqwest::RequestBuilder {
    let post = server.client.post(format!("{}{path}", server.http));
    post.header("version", "2021-07-28")
        .header("x-ccasset-language", "en")
        .header("content-type", "application/json")
}

#[rstest]
#[tokio::test]
async fn a_body_may_have_a_byte_order_mark_and_gzip_encoding(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let marked = creations("marked").map(|(path, body, status)| {
        let body = format!("{MARK}{body}").into_bytes();
        (path, body, None, status)
    });
    let zipped = creations("zipped").map(|(path, body, status)| {
        let body = gzip(format!("{MARK}{body}").as_bytes());
        (path, body, Some("gzip"), status)
    });
    for (path, body, encoding, status) in marked.into_iter().chain(zipped) {
        let mut request = post(&server, path).body(body);
        if let Some(encoding) = encoding {
            request = request.header("content-encoding", encoding);
        }
        let response = request.send().await.unwrap();
        let got = response.status().as_u16();
        assert_eq!(got, status, "{path}: {}", response.text().await.unwrap());
    }
}

#[tokio::test]
async fn other_encodings_are_rejected_and_decompressed_bodies_are_limited() {
    let flags = Flags {
        max_body_size: Some("64KiB".into()),
        ..Flags::default()
    };
    let server = Server::start(Sqlite, flags).await;
    let before = server.refused("max_body_size").await;
    for (path, body, _) in creations("a") {
        let large = format!("{}{}", " ".repeat(1 << 20), body);
        for (encoding, body, status) in [
            ("br", body.clone().into_bytes(), 415),
            ("gzip, gzip", gzip(&gzip(body.as_bytes())), 415),
            ("zstd", body.clone().into_bytes(), 415),
            ("gzip", body.clone().into_bytes(), 400),
            ("gzip", gzip(body.as_bytes())[..20].to_vec(), 400),
            ("gzip", gzip(large.as_bytes()), 413),
        ] {
            let request = post(&server, path).header("content-encoding", encoding);
            let response = request.body(body).send().await.unwrap();
            assert_eq!(response.status().as_u16(), status, "{path} {encoding}");
            let text = response.text().await.unwrap();
            assert!(text.starts_with('{'), "{text}");
            assert!(status != 415 || text.contains(encoding), "{text}");
        }
    }
    assert!(server.refused("max_body_size").await >= before + 2);
}

/// Lists and objects, with both encodings. With gzip, they must equal the uncompressed response.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn responses_are_compressed_for_clients_that_accept_it(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    create(&mut client, "large").await;
    let ids: Vec<_> = (0..20_000).map(|at| format!("product-{at}")).collect();
    let add = mutate("large", vec![append(ids)]);
    client.mutate_children(add).await.unwrap();
    for path in [
        "/ccadmin/v1/collections/large",
        "/openapi/oracle.json",
        "/products/?locationId=default&limit=100&collectionIds=large",
    ] {
        let get = |accept: &str| {
            let get = server.client.get(format!("{}{path}", server.http));
            let get = get.header("version", "2021-07-28");
            get.header("accept-encoding", accept).send()
        };
        let plain = get("identity").await.unwrap();
        assert_eq!(plain.status(), StatusCode::OK, "{path}");
        assert_eq!(plain.headers().get("content-encoding"), None);
        let plain = plain.bytes().await.unwrap();
        for (accept, encoding) in [
            ("gzip", "gzip"),
            ("zstd", "zstd"),
            ("br, gzip;q=0.5", "gzip"),
        ] {
            let response = get(accept).await.unwrap();
            assert_eq!(response.headers()["content-encoding"], encoding, "{path}");
            let vary = response.headers()["vary"].to_str().unwrap().to_owned();
            assert!(vary.to_lowercase().contains("accept-encoding") || vary.contains("origin"));
            let sent = response.bytes().await.unwrap();
            assert!(sent.len() < plain.len() / 2, "{path} {encoding}");
            if encoding == "gzip" {
                let mut inflated = Vec::new();
                let mut decoder = GzDecoder::new(sent.as_ref());
                decoder.read_to_end(&mut inflated).unwrap();
                assert_eq!(inflated, plain, "{path}");
            }
        }
    }
    // Small responses are not compressed.
    let small = format!("{}/ccadmin/v1/nothing", server.http);
    let small = server.client.get(small).header("accept-encoding", "gzip");
    let small = small.send().await.unwrap();
    assert_eq!(small.headers().get("content-encoding"), None);
}

/// The length of a gRPC message from which on it is compressed.
const MIN_COMPRESSED: usize = 16 << 10;

/// Calls a method over gRPC-Web. Returns whether the message is compressed, and the message.
async fn call(
    server: &Server,
    method: &str,
    request: &impl prost::Message,
    accept: &str,
) -> (bool, Vec<u8>) {
    let mut frame = vec![0];
    frame.extend(u32::try_from(request.encoded_len()).unwrap().to_be_bytes());
    frame.extend(request.encode_to_vec());
    let url = format!("{}/endcap.v1.CollectionService/{method}", server.http);
    let call = server.client.post(url).body(frame);
    let call = call.header("content-type", "application/grpc-web+proto");
    let call = call.header("grpc-accept-encoding", accept);
    let sent = call.send().await.unwrap().bytes().await.unwrap();
    let length = u32::from_be_bytes(sent[1..5].try_into().unwrap()) as usize;
    let message = &sent[5..5 + length];
    if sent[0] == 0 {
        return (false, message.to_vec());
    }
    let mut inflated = Vec::new();
    GzDecoder::new(message).read_to_end(&mut inflated).unwrap();
    (true, inflated)
}

/// Many clients accept gzip without being told to, and compressing a short message takes longer than
/// all the rest.
#[rstest]
#[tokio::test]
async fn long_grpc_messages_are_compressed_for_clients_that_accept_it(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    create(&mut client, "a").await;
    // Without times, whose length varies.
    let mask = || {
        let paths = vec!["texts".into()];
        Some(prost_types::FieldMask { paths })
    };
    let get = pb::GetCollectionRequest {
        key: Some(pb::get_collection_request::Key::CollectionId("a".into())),
        read_mask: mask(),
        ..pb::GetCollectionRequest::default()
    };
    let batch = pb::BatchGetCollectionsRequest {
        ids: vec!["a".into()],
        read_mask: mask(),
        ..pb::BatchGetCollectionsRequest::default()
    };
    // Sets the length of a text, and returns that of the collection's message.
    let mut describe = async |length: usize| {
        let texts = pb::LocalizedText {
            display_name: "a".into(),
            description: "x".repeat(length),
            ..pb::LocalizedText::default()
        };
        let update = pb::UpdateCollectionRequest {
            collection: Some(pb::Collection {
                id: "a".into(),
                texts: [("en".to_owned(), texts)].into(),
                ..pb::Collection::default()
            }),
            update_mask: mask(),
            ..pb::UpdateCollectionRequest::default()
        };
        client.update_collection(update).await.unwrap();
        let (_, message) = call(&server, "GetCollection", &get, "identity").await;
        message.len()
    };
    let rest = describe(16_000).await - 16_000;
    let limit = MIN_COMPRESSED - rest;
    for (length, expected) in [
        (1_000, None),
        (limit - 1, Some(MIN_COMPRESSED - 1)),
        (limit, Some(MIN_COMPRESSED)),
        (20_000, None),
    ] {
        let message = describe(length).await;
        assert!(expected.is_none_or(|expected| expected == message));
        for accept in ["gzip", "identity,deflate,gzip", "identity"] {
            let one = call(&server, "GetCollection", &get, accept).await;
            let all = call(&server, "BatchGetCollections", &batch, accept).await;
            for (is_compressed, message) in [&one, &all] {
                let is_long = message.len() >= MIN_COMPRESSED;
                assert_eq!(*is_compressed, is_long && accept != "identity");
            }
            let one = pb::GetCollectionResponse::decode(&*one.1).unwrap();
            let all = pb::BatchGetCollectionsResponse::decode(&*all.1).unwrap();
            assert_eq!(one.collection.as_ref(), all.collections.first());
        }
    }
}

/// A write that is executed must not get 406.
#[tokio::test]
async fn an_unencoded_response_is_sent_even_if_the_client_excludes_it() {
    let server = Server::new(Sqlite).await;
    for (at, accept) in [
        "identity;q=0",
        "*;q=0",
        "gzip;q=0, *; q=0.000",
        "br, identity;q=0.0",
        "identity;q=x",
    ]
    .iter()
    .enumerate()
    {
        for (path, body, status) in creations(&format!("c{at}")) {
            let post = post(&server, path).header("accept-encoding", *accept);
            let response = post.body(body).send().await.unwrap();
            assert_eq!(response.status(), status, "{accept} {path}");
            assert_eq!(response.headers().get("content-encoding"), None);
            assert!(response.json::<serde_json::Value>().await.is_ok());
        }
    }
    let large = format!("{}/openapi/oracle.json", server.http);
    let large = server.client.get(large);
    let large = large.header("accept-encoding", "identity;q=0, gzip, *;q=0");
    let large = large.send().await.unwrap();
    assert_eq!(large.headers()["content-encoding"], "gzip");
}

/// The server's response to these bytes.
async fn exchange(server: &Server, sent: &str) -> String {
    let address = server.http.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(sent.as_bytes()).await.unwrap();
    let mut response = String::new();
    while !response.contains("\r\n\r\n") {
        let mut part = [0; 4_096];
        let length = stream.read(&mut part).await.unwrap();
        assert_ne!(length, 0, "{response}");
        response.push_str(&String::from_utf8_lossy(&part[..length]));
    }
    response
}

#[tokio::test]
async fn a_request_requires_exactly_one_host_header() {
    let server = Server::new(Sqlite).await;
    let get = |hosts: &str| format!("GET /ccadmin/v1/collections HTTP/1.1\r\n{hosts}\r\n");
    for (hosts, status) in [
        ("", "400"),
        ("host: a\r\nhost: b\r\n", "400"),
        ("host: a\r\n", "200"),
    ] {
        let response = exchange(&server, &get(hosts)).await;
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status}")),
            "{response}"
        );
    }
}

#[tokio::test]
async fn an_oversized_body_is_rejected_before_100_continue() {
    let server = Server::new(Sqlite).await;
    for (path, _, _) in creations("a") {
        let post = format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\nversion: 2021-07-28\r\nx-ccasset-language: en\r\n\
             content-type: application/json\r\nexpect: 100-continue\r\n\
             content-length: 99999999999\r\n\r\n"
        );
        let response = exchange(&server, &post).await;
        assert!(response.starts_with("HTTP/1.1 413"), "{path}: {response}");
    }
}

/// Sends every method to every described path.
#[tokio::test]
async fn a_405_response_lists_the_allowed_methods() {
    let server = Server::new(Sqlite).await;
    let mut refused = 0;
    for description in ["highlevel", "oracle"] {
        let url = format!("{}/openapi/{description}.json", server.http);
        let text = server.client.get(url).send().await.unwrap();
        let text = text.text().await.unwrap();
        let described: serde_json::Value = serde_json::from_str(&text).unwrap();
        for path in described["paths"].as_object().unwrap().keys() {
            let path = path.replace(['{', '}'], "");
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
                let method: Method = method.parse().unwrap();
                let url = format!("{}{path}", server.http);
                let response = server.client.request(method.clone(), url).send().await;
                let response = response.unwrap();
                if response.status() == StatusCode::METHOD_NOT_ALLOWED {
                    refused += 1;
                    let allowed = response.headers()["allow"].to_str().unwrap();
                    let is_in = allowed.split(',').any(|one| one.trim() == method.as_str());
                    assert!(!allowed.is_empty() && !is_in, "{method} {path}: {allowed}");
                }
            }
        }
    }
    assert!(refused > 20, "{refused}");
}

#[tokio::test]
async fn requests_with_grpc_content_types_get_grpc_responses() {
    let server = Server::new(Sqlite).await;
    let url = format!("{}/endcap.v1.CollectionService/GetCollection", server.http);
    for (kind, code) in [
        ("application/grpc-web", "0"),
        ("application/grpc-web; charset=utf-8", "0"),
        ("application/grpc-web+proto;x=y", "0"),
        ("Application/gRPC-Web+Proto", "0"),
        ("application/grpc-web-text; charset=utf-8", "0"),
        ("application/grpc-web+json", "3"),
        ("application/grpc-web-text+json", "3"),
        ("application/grpc-web+thrift; x=y", "3"),
        // Over HTTP/1.1.
        ("application/grpc", "3"),
        ("application/grpc+json", "3"),
    ] {
        // An empty message.
        let body = if kind.contains("text") {
            "AAAAAAA="
        } else {
            "\0\0\0\0\0"
        };
        let request = server.client.post(&url).header("content-type", kind);
        let response = request.body(body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{kind}");
        let answered = response.headers()["content-type"].to_str().unwrap();
        assert!(
            answered.starts_with("application/grpc"),
            "{kind}: {answered}"
        );
        if code != "0" {
            assert_eq!(response.headers()["grpc-status"], code, "{kind}");
        }
    }
    for kind in ["application/grpc-web", "application/grpc-web+proto"] {
        let request = server.client.get(&url).header("content-type", kind);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()["allow"], "POST");
        assert_eq!(response.headers()["grpc-status"], "3");
    }
}

/// The home page loads nothing from other sites, and is disabled along with the API descriptions.
#[tokio::test]
async fn the_links_of_the_home_page_work_and_it_can_be_disabled() {
    let server = Server::new(Sqlite).await;
    let get = async |path: &str| {
        let url = format!("{}/{}", server.http, path.trim_start_matches('/'));
        server.client.get(url).send().await.unwrap()
    };
    let page = get("/").await;
    assert_eq!(page.status(), StatusCode::OK);
    let policy = page.headers()["content-security-policy"].to_str().unwrap();
    let policy = policy.strip_prefix("default-src 'none'; style-src 'sha256-");
    let hash = policy.unwrap().trim_end_matches('\'').to_owned();
    let html = page.text().await.unwrap();
    assert!(html.contains(env!("CARGO_PKG_VERSION")), "{html}");
    let style = html.split("<style>").nth(1).unwrap();
    let style = style.split("</style>").next().unwrap();
    let digest = <sha2::Sha256 as sha2::Digest>::digest(style);
    let encoded = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, digest);
    assert_eq!(encoded, hash);
    assert!(!html.contains("http://") && !html.contains("https://"));
    let links: Vec<_> = html.split("href=\"").skip(1).collect();
    assert!(links.len() > 3, "{html}");
    for link in links {
        let link = link.split('"').next().unwrap();
        assert_eq!(get(link).await.status(), StatusCode::OK, "{link}");
    }
    let closed = Flags {
        reflection: Some("false".into()),
        ..Flags::default()
    };
    let closed = Server::start(Sqlite, closed).await;
    for path in ["/", "/docs/", "/docs/docs.js", "/docs/sample.json"] {
        let page = closed.client.get(format!("{}{path}", closed.http));
        let page = page.send().await.unwrap();
        assert_eq!(page.status(), StatusCode::NOT_FOUND, "{path}");
    }
}
