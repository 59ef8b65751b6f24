//! Responses of every kind that their clients do not read.

use std::{io::Write as _, net::TcpStream, time::Duration};

use bytes::Bytes;
use endcap::grpc::{DESCRIPTORS, pb};
use h2::client;
use prost::Message as _;
use prost_types::{
    FileDescriptorSet, Struct, Value, method_options::IdempotencyLevel, value::Kind,
};

use crate::program::{Program, named};

/// The maximum additional memory in MiB: the limit of response memory, the read cache, and the
/// responses that are being built.
const MEMORY: u64 = 750;
/// The maximum that remains after they end, in MiB: database caches, and what allocators keep.
const AFTER: u64 = 300;
const STREAMS: u32 = 30;

/// Creates a list of 300,000 children, 76 MB of products, some with many small values, and 30 MB of
/// collections.
async fn fill(program: &Program) {
    let mut collections = program.collections().await;
    let mut products = program.products().await;
    let text = |n: usize| Value {
        kind: Some(Kind::StringValue("x".repeat(n))),
    };
    for part in 0..60_u32 {
        let product = |n: u32| pb::Product {
            id: format!("large{}", part * 5 + n),
            title: "t".into(),
            attributes: Some(Struct {
                fields: [("a".to_owned(), text(250_000))].into(),
            }),
            ..Default::default()
        };
        let request = pb::UpsertProductsRequest {
            products: (0..5).map(product).collect(),
            ..Default::default()
        };
        products.upsert_products(request).await.unwrap();
    }
    for n in 0..8 {
        let value = Value {
            kind: Some(Kind::NumberValue(0.0)),
        };
        let list = prost_types::ListValue {
            values: vec![value; 60_000],
        };
        let values = Value {
            kind: Some(Kind::ListValue(list)),
        };
        let product = pb::Product {
            // Sorts first, so that it is on the first page.
            id: format!("a-values{n}"),
            title: "t".into(),
            attributes: Some(Struct {
                fields: [("a".to_owned(), values)].into(),
            }),
            ..Default::default()
        };
        let request = pb::UpsertProductsRequest {
            products: vec![product],
            ..Default::default()
        };
        products.upsert_products(request).await.unwrap();
    }
    for n in 0..30 {
        let mut collection = named(&format!("large{n}"));
        for locale in 0..16 {
            let text = pb::LocalizedText {
                display_name: "n".into(),
                description: "x".repeat(60_000),
                ..Default::default()
            };
            collection
                .texts
                .insert(format!("de-{:03}", 100 + locale), text);
        }
        let request = pb::CreateCollectionRequest {
            collection: Some(collection),
            ..Default::default()
        };
        collections.create_collection(request).await.unwrap();
    }
    for part in 0..3 {
        let ids = (0..100_000).map(|n| format!("product-{part}-{n}"));
        let append = pb::child_mutation::Append {
            ids: ids.collect(),
            ..Default::default()
        };
        let request = pb::MutateChildrenRequest {
            collection_id: "large0".into(),
            child_type: pb::ChildType::Product.into(),
            mutations: vec![pb::ChildMutation {
                operation: Some(pb::child_mutation::Operation::Append(append)),
            }],
            ..Default::default()
        };
        collections.mutate_children(request).await.unwrap();
    }
}

/// Requests for every read method, with its largest page.
fn reads() -> Vec<(String, Vec<u8>)> {
    let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let mut reads = Vec::new();
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                let level = method.options.as_ref().map(|it| it.idempotency_level());
                if level != Some(IdempotencyLevel::NoSideEffects) {
                    continue;
                }
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                let input = method.input_type().trim_start_matches('.');
                let input = input.rsplit('.').next().unwrap();
                let messages = file.message_type.iter();
                let shape = messages.clone().find(|it| it.name() == input).unwrap();
                let mut message = Vec::new();
                for field in &shape.field {
                    let tag = u32::try_from(field.number()).unwrap();
                    match field.name() {
                        "page_size" => prost::encoding::int32::encode(tag, &1_000, &mut message),
                        "child_type" => prost::encoding::int32::encode(tag, &1, &mut message),
                        "collection_id" => {
                            prost::encoding::string::encode(tag, &"large0".into(), &mut message);
                        }
                        "product_id" | "child_id" => {
                            prost::encoding::string::encode(tag, &"large1".into(), &mut message);
                        }
                        "ids" => {
                            for n in 0..3 {
                                let id = format!("large{n}");
                                prost::encoding::string::encode(tag, &id, &mut message);
                            }
                        }
                        _ => {}
                    }
                }
                reads.push((path, message));
            }
        }
    }
    assert!(reads.len() >= 8, "{reads:?}");
    // And dry runs, which return the response of a write without writing anything.
    let append = pb::child_mutation::Append {
        ids: vec!["x".into()],
        ..Default::default()
    };
    let dry_run = pb::MutateChildrenRequest {
        collection_id: "large0".into(),
        child_type: pb::ChildType::Product.into(),
        mutations: vec![pb::ChildMutation {
            operation: Some(pb::child_mutation::Operation::Append(append)),
        }],
        validate_only: true,
        ..Default::default()
    };
    for _ in 0..4 {
        let path = "/endcap.v1.CollectionService/MutateChildren".to_owned();
        reads.push((path, dry_run.encode_to_vec()));
    }
    reads
}

/// HTTP/2 connections with a window size of zero, so that the server can't send response bodies.
async fn grpc(program: &Program) -> Vec<Box<dyn std::any::Any + Send>> {
    let mut held: Vec<Box<dyn std::any::Any + Send>> = Vec::new();
    for (path, message) in reads() {
        let stream = tokio::net::TcpStream::connect(&program.grpc).await.unwrap();
        let mut builder = client::Builder::new();
        builder.initial_window_size(0);
        let (mut sender, connection) = builder.handshake::<_, Bytes>(stream).await.unwrap();
        held.push(Box::new(tokio::spawn(
            async move { drop(connection.await) },
        )));
        let mut frame = vec![0];
        frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        frame.extend(message);
        for _ in 0..STREAMS {
            let request = http::Request::post(format!("http://{}{path}", program.grpc))
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(())
                .unwrap();
            sender = sender.ready().await.unwrap();
            let (response, mut body) = sender.send_request(request, false).unwrap();
            body.send_data(frame.clone().into(), true).unwrap();
            held.push(Box::new((response, body)));
        }
        held.push(Box::new(sender));
    }
    held
}

/// HTTP/1.1 connections that read nothing.
fn http(program: &Program) -> Vec<TcpStream> {
    let paths = [
        "/v1/products?pageSize=1000",
        "/v1/collections?pageSize=1000",
        "/v1/collections/large0",
        "/v1/collections/large0/children?childType=CHILD_TYPE_PRODUCT&pageSize=1000",
        "/ccadmin/v1/collections/large0",
        "/ccadmin/v1/collections?limit=250",
        "/ccadmin/v1/products?limit=250",
        "/products/collections?altId=default&altType=location&limit=100",
        "/products/?locationId=default&limit=100",
    ];
    let ask = |path: &&str| {
        let mut stream = TcpStream::connect(&program.http).unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nversion: 2021-07-28\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    paths.iter().cycle().take(60).map(ask).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_responses_stay_within_memory_and_release_it_when_closed() {
    let program = Program::start(&["--response-idle-timeout", "5s"]);
    fill(&program).await;
    let before = program.memory();
    eprintln!("{before} MiB before");
    let watch = program.watch();
    let streams = grpc(&program).await;
    let connections = http(&program);
    // Long enough for the responses to stall and exceed the idle timeout.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let again = (grpc(&program).await, http(&program));
    tokio::time::sleep(Duration::from_secs(3)).await;
    watch.end("unread", before + MEMORY);
    drop((streams, connections, again));
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        let memory = program.memory();
        endcap::crypto::install();
        let metrics = reqwest::get(format!("http://{}/metrics", program.admin));
        let metrics = metrics.await.unwrap().text().await.unwrap();
        if memory < before + AFTER && metrics.contains("endcap_response_memory_bytes 0\n") {
            eprintln!("{before} MiB before, {memory} MiB after");
            break;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "{memory} MiB remain; {metrics}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
