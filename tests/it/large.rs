//! Large responses: pages end early enough, and the memory of responses is limited.

use std::{
    sync::{Arc, Mutex},
    thread::available_parallelism,
};

use endcap::{
    config::Flags,
    grpc::pb,
    processor,
    store::Engine::{self, Postgres, Sqlite},
};
use reqwest::Method;
use rstest::rstest;
use serde_json::Value;
use tonic::{Code, Request, codec::CompressionEncoding};
use tonic_types::StatusExt as _;

use crate::harness::{Server, create, named};

/// The maximum size of a message in gRPC clients.
const CLIENT_LIMIT: usize = 4 << 20;

/// A collection of about 900 KB.
fn large(id: &str) -> pb::Collection {
    let mut collection = named(id, id);
    for n in 0..14 {
        let text = pb::LocalizedText {
            display_name: id.into(),
            description: "x".repeat(65_000),
            ..pb::LocalizedText::default()
        };
        collection.texts.insert(format!("de-{:03}", 100 + n), text);
    }
    collection
}

async fn fill(server: &Server, count: usize) -> Vec<String> {
    let mut client = server.grpc().await;
    let mut ids = Vec::new();
    for n in 0..count {
        let id = format!("large{n}");
        let request = pb::CreateCollectionRequest {
            collection: Some(large(&id)),
            ..pb::CreateCollectionRequest::default()
        };
        client.create_collection(request).await.unwrap();
        ids.push(id);
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_messages_wait_for_a_free_processor() {
    let server = Server::new(Sqlite).await;
    let mut client = server.grpc().await;
    let request = pb::ListCollectionsRequest::default();
    let (begin, mut begun) = tokio::sync::mpsc::unbounded_channel();
    let (end, ends) = std::sync::mpsc::channel::<()>();
    let ends = Arc::new(Mutex::new(ends));
    let processors = available_parallelism().unwrap().get();
    for _ in 0..processors {
        let (begin, ends) = (begin.clone(), Arc::clone(&ends));
        tokio::spawn(async move {
            processor::work(usize::MAX, || {
                begin.send(()).unwrap();
                let _ = ends.lock().unwrap().recv();
            });
        });
    }
    for _ in 0..processors {
        begun.recv().await.unwrap();
    }
    let mut sender = server
        .grpc()
        .await
        .send_compressed(CompressionEncoding::Gzip);
    let sent = request.clone();
    let compressed = tokio::spawn(async move { sender.list_collections(sent).await });
    for _ in 0..10 {
        client.list_collections(request.clone()).await.unwrap();
    }
    assert!(!compressed.is_finished());
    drop(end);
    compressed.await.unwrap().unwrap();
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_page_stays_below_the_message_limit_of_clients(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut ids = fill(&server, 12).await;
    // A client with the default limit.
    let mut client = server.grpc().await.max_decoding_message_size(CLIENT_LIMIT);
    let mut found = Vec::new();
    let mut page_token = String::new();
    let mut pages = 0;
    loop {
        let request = pb::ListCollectionsRequest {
            page_size: 1_000,
            page_token,
            ..pb::ListCollectionsRequest::default()
        };
        let page = client.list_collections(request).await.unwrap().into_inner();
        assert_eq!(page.total_size, 12);
        found.extend(page.collections.into_iter().map(|one| one.id));
        pages += 1;
        if page.next_page_token.is_empty() {
            break;
        }
        page_token = page.next_page_token;
    }
    assert!((3..=4).contains(&pages), "{pages} pages");
    found.sort();
    ids.sort();
    assert_eq!(found, ids);

    // With a mask, at least as many items fit.
    let request = pb::ListCollectionsRequest {
        page_size: 1_000,
        read_mask: Some(prost_types::FieldMask {
            paths: vec!["id".into()],
        }),
        ..pb::ListCollectionsRequest::default()
    };
    let page = client.list_collections(request).await.unwrap().into_inner();
    // The size of the stored data that is read at once is limited, too.
    assert!(page.collections.len() >= 4);

    let mut batch = async |ids: &[String]| {
        let request = pb::BatchGetCollectionsRequest {
            ids: ids.to_vec(),
            ..pb::BatchGetCollectionsRequest::default()
        };
        client.batch_get_collections(request).await
    };
    let refused = batch(&ids).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let details = refused.get_error_details();
    let info = details.error_info().unwrap();
    assert_eq!(info.reason, "RESPONSE_TOO_LARGE");
    assert!(refused.message().contains("max_page_bytes"), "{refused:?}");
    let fitting: usize = info.metadata["fitting"].parse().unwrap();
    assert!((3..=4).contains(&fitting), "{fitting}");
    let taken = batch(&ids[..fitting]).await.unwrap().into_inner();
    assert_eq!(taken.collections.len(), fitting);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_products_is_limited_by_their_size_on_the_wire(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server
        .products()
        .await
        .max_decoding_message_size(CLIENT_LIMIT);
    // Numbers take seven times as much on the wire as in the database.
    let number = |n: f64| prost_types::Value {
        kind: Some(prost_types::value::Kind::NumberValue(n)),
    };
    let numbers = prost_types::ListValue {
        values: (0..100_000).map(|n| number(f64::from(n % 10))).collect(),
    };
    for n in 0..6 {
        let value = prost_types::Value {
            kind: Some(prost_types::value::Kind::ListValue(numbers.clone())),
        };
        let product = pb::Product {
            id: format!("p{n}"),
            title: "t".into(),
            attributes: Some(prost_types::Struct {
                fields: [("numbers".to_owned(), value)].into(),
            }),
            ..pb::Product::default()
        };
        let request = pb::UpsertProductsRequest {
            products: vec![product],
            ..pb::UpsertProductsRequest::default()
        };
        client.upsert_products(request).await.unwrap();
    }
    let (mut found, mut pages, mut page_token) = (Vec::new(), 0, String::new());
    loop {
        let request = pb::ListProductsRequest {
            page_token,
            ..pb::ListProductsRequest::default()
        };
        let page = client.list_products(request).await.unwrap().into_inner();
        found.extend(page.products.into_iter().map(|one| one.id));
        pages += 1;
        if page.next_page_token.is_empty() {
            break;
        }
        page_token = page.next_page_token;
    }
    assert_eq!(found, ["p0", "p1", "p2", "p3", "p4", "p5"]);
    assert!(pages >= 2, "{pages}");
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_dialect_is_not_shortened_by_its_size(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut ids = fill(&server, 9).await;
    create(&mut server.grpc().await, "small").await;
    ids.push("small".into());
    ids.sort();
    let list = async |path: &str, items: &str, id: &str| {
        let request = server
            .client
            .request(Method::GET, format!("{}{path}", server.http))
            .header("Version", "2021-07-28");
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        let items = body[items].as_array().unwrap().iter();
        let mut ids: Vec<_> = items
            .map(|it| it[id].as_str().unwrap().to_owned())
            .collect();
        ids.sort();
        (ids, body)
    };
    let path = "/products/collections?altId=default&altType=location&limit=100";
    let (found, body) = list(path, "data", "_id").await;
    assert_eq!(found, ids);
    assert_eq!(body["total"], 10);
    let path = "/ccadmin/v1/collections?filterRootCategories=true";
    let (found, body) = list(path, "items", "id").await;
    assert_eq!(found, ids);
    assert_eq!(body["totalResults"], 10);
    // All items have the same child collections, whichever part of the list they were read in.
    for item in body["items"].as_array().unwrap() {
        assert_eq!(item["fixedChildCategories"], serde_json::json!([]));
        assert!(item["childCategories"].is_null());
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_response_over_the_memory_limit_is_rejected(#[values(Sqlite, Postgres)] engine: Engine) {
    let flags = Flags {
        max_response_memory: Some("1MiB".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let mut client = server.grpc().await;
    create(&mut client, "a").await;
    let ids = (0..50_000).map(|n| format!("product-{n}"));
    let request = crate::harness::mutate("a", vec![crate::harness::append(ids)]);
    client.mutate_children(request).await.unwrap();
    let before = server.refused("max_response_memory").await;
    let path = format!("{}/ccadmin/v1/collections/a", server.http);
    let refused = server.client.get(&path).send().await.unwrap();
    assert_eq!(refused.status(), 400);
    let body = refused.text().await.unwrap();
    assert!(body.contains("max_response_memory"), "{body}");
    assert!(server.refused("max_response_memory").await > before);
    // A write whose response would be too large is not executed.
    let etag = async |client: &mut pb::collection_service_client::CollectionServiceClient<_>| {
        let request = pb::GetCollectionRequest {
            key: Some(pb::get_collection_request::Key::CollectionId("a".into())),
            ..pb::GetCollectionRequest::default()
        };
        let got: tonic::Response<pb::GetCollectionResponse> =
            client.get_collection(Request::new(request)).await.unwrap();
        got.into_inner().collection.unwrap().etag
    };
    let was = etag(&mut client).await;
    let write = server
        .client
        .put(&path)
        .header("X-CCAsset-Language", "en")
        .json(&serde_json::json!({"op": "move", "fromStart": 0, "fromEnd": 0, "to": 5}));
    let refused = write.send().await.unwrap();
    assert_eq!(refused.status(), 400);
    assert_eq!(etag(&mut client).await, was);
}

/// They wait for each other if their memory limit is reached.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_large_pages_of_one_client_are_not_rejected(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    fill(&server, 6).await;
    let client = server.grpc().await;
    let pages = (0..12).map(|_| {
        let mut client = client.clone();
        tokio::spawn(async move {
            let request = pb::ListCollectionsRequest {
                page_size: 1_000,
                ..pb::ListCollectionsRequest::default()
            };
            let page = client.list_collections(request).await.unwrap().into_inner();
            assert!(page.collections.len() >= 3);
        })
    });
    let pages: Vec<_> = pages.collect();
    for page in pages {
        page.await.unwrap();
    }
}

/// A single response may be larger than the limit of its connection.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_single_list_may_exceed_the_memory_limit_of_a_connection(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let flags = Flags {
        max_connection_response_memory: Some("1MiB".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let mut client = server.grpc().await;
    create(&mut client, "a").await;
    let ids = (0..90_000).map(|n| format!("product-{n}"));
    let request = crate::harness::mutate("a", vec![crate::harness::append(ids)]);
    client.mutate_children(request).await.unwrap();
    let path = format!("{}/ccadmin/v1/collections/a", server.http);
    for query in ["", "?expand=childProducts&fields=childProducts"] {
        let response = server.client.get(format!("{path}{query}")).send().await;
        let body = response.unwrap().bytes().await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["childProducts"].as_array().unwrap().len(), 90_000);
    }
}
