//! Product ids may be any printable Unicode characters: in every API and every list.

use std::sync::LazyLock;

use endcap::{
    config::Flags,
    grpc::pb::{self, child_mutation::Operation},
    store::Engine::{self, Postgres, Sqlite},
};
use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::{
    harness::{Server, append, create, insert, move_range, mutate, operation, products},
    highlevel::{done, request as highlevel, status_and_body, with},
    oracle::{Admin, send},
};

/// Ids with separators, quotes, escapes or reserved names, and lookalikes.
const ODD: [&str; 46] = [
    "a,b",
    ",",
    ",,a",
    "a\\,b",
    "\\n",
    "\\u000a",
    "\u{2424}a",
    "f;7;3;a;",
    "%2F",
    "%",
    "%00",
    "100 %",
    "+",
    "a/b",
    "/a/",
    "../a/./..",
    "a b",
    "a\u{a0}b",
    "a\u{3000}b",
    "a\u{feff}b",
    "Größe 42",
    "e\u{301}",
    "\u{e9}",
    "\u{301}",
    "\u{212b}",
    "\u{5e9}\u{5dc}\u{5d5}\u{5dd}",
    "\u{202e}abc",
    "\u{200f}",
    "\u{1f9e6}",
    "\u{1f469}\u{200d}\u{1f469}\u{200d}\u{1f467}",
    "\u{10000}\u{10908}",
    "null",
    "0",
    "1e3",
    "[\"a\"]",
    "{\"a\":1}",
    "\"",
    "'; DROP TABLE members; --",
    "$1",
    "a&b=c#d?e",
    "x/price",
    "_id",
    "<a>",
    "a|b",
    "\u{fdfa}",
    "a;b",
];

/// Distinct product ids that are difficult in some way: at least 60.
pub(crate) static HOSTILE: LazyLock<Vec<String>> = LazyLock::new(|| {
    let punctuation = (b'!'..=b'~').filter(u8::is_ascii_punctuation);
    let alone = punctuation.map(|c| char::from(c).to_string());
    let longest = ["\u{1f9e6}".repeat(128), ",x".repeat(64)];
    let mut all: Vec<String> = Vec::new();
    for id in ODD
        .map(String::from)
        .into_iter()
        .chain(longest)
        .chain(alone)
    {
        // HTTP clients remove these from paths.
        if !all.contains(&id) && id != "." {
            all.push(id);
        }
    }
    all
});

/// Percent-encoded completely, for a path.
fn encoded(id: &str) -> String {
    id.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn reversed() -> Vec<String> {
    HOSTILE.iter().rev().cloned().collect()
}

fn sorted() -> Vec<String> {
    let mut ids = HOSTILE.clone();
    ids.sort_unstable();
    ids
}

async fn server(engine: Engine) -> Server {
    Server::start(engine, Flags::default()).await
}

#[rstest]
#[tokio::test]
async fn grpc_lists_accept_unusual_product_ids(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = server(engine).await;
    let mut client = server.grpc().await;
    create(&mut client, "c").await;
    let mut request = mutate("c", vec![append(HOSTILE.iter())]);
    request.request_id = "once".into();
    let first = client.mutate_children(request.clone()).await.unwrap();
    let again = client.mutate_children(request).await.unwrap();
    assert_eq!(first.into_inner(), again.into_inner());
    let mut model = HOSTILE.clone();
    assert_eq!(products(&mut client, "c").await, model);

    for (at, id) in HOSTILE.iter().enumerate() {
        let request = pb::GetChildRequest {
            collection_id: "c".into(),
            child_type: pb::ChildType::Product.into(),
            child_id: id.clone(),
            ..pb::GetChildRequest::default()
        };
        let child = client.get_child(request).await.unwrap().into_inner().child;
        assert_eq!(child.map(|child| child.index as usize), Some(at), "{id:?}");
        let request = pb::ListParentsRequest {
            child_type: pb::ChildType::Product.into(),
            child_id: id.clone(),
            ..pb::ListParentsRequest::default()
        };
        let parents = client.list_parents(request).await.unwrap().into_inner();
        assert_eq!(parents.parents.len(), 1, "{id:?}");
    }

    // Each is moved next to its neighbour, and so to the front.
    for pair in HOSTILE.windows(2) {
        let position = pb::position::Position::BeforeId(model[0].clone());
        let moved = operation(Operation::MoveIds(pb::child_mutation::MoveIds {
            ids: vec![pair[1].clone()],
            position: Some(pb::Position {
                position: Some(position),
            }),
        }));
        client
            .mutate_children(mutate("c", vec![moved]))
            .await
            .unwrap();
        model.retain(|id| *id != pair[1]);
        model.insert(0, pair[1].clone());
    }
    assert_eq!(products(&mut client, "c").await, model);

    let remove = operation(Operation::Remove(pb::child_mutation::Remove {
        ids: HOSTILE.clone(),
        ..Default::default()
    }));
    let response = client.mutate_children(mutate("c", vec![remove])).await;
    let removed = response.unwrap().into_inner().results[0].removed_count;
    assert_eq!(removed as usize, HOSTILE.len());
    assert!(products(&mut client, "c").await.is_empty());
}

/// The list is changed between pages, so that tokens find their position by the ids in them.
#[rstest]
#[tokio::test]
async fn page_tokens_work_with_unusual_product_ids(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = server(engine).await;
    let mut client = server.grpc().await;
    create(&mut client, "c").await;
    let fill = mutate("c", vec![append(HOSTILE.iter())]);
    client.mutate_children(fill).await.unwrap();
    let mut seen: Vec<String> = Vec::new();
    let mut request = pb::ListChildrenRequest {
        collection_id: "c".into(),
        child_type: pb::ChildType::Product.into(),
        page_size: 7,
        ..pb::ListChildrenRequest::default()
    };
    for round in 0.. {
        let page = client
            .list_children(request.clone())
            .await
            .unwrap()
            .into_inner();
        let last = page.children.last().map_or(0, |child| child.index);
        seen.extend(page.children.into_iter().map(|child| child.id));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
        // One child is inserted at the front, and one of the page is moved to the end.
        let front = insert(0, [format!("new {round}")]);
        let (last, end) = (last + 1, HOSTILE.len() as i32 + round);
        let mutations = vec![front, move_range(last, last, end)];
        client
            .mutate_children(mutate("c", mutations))
            .await
            .unwrap();
    }
    assert_eq!(seen, *HOSTILE);

    // Backwards from the end, while others are inserted at the front.
    let fill = mutate("c", vec![replace(&HOSTILE)]);
    client.mutate_children(fill).await.unwrap();
    request.page_token = String::new();
    request.start_index = HOSTILE.len() as i32 - 7;
    let mut behind = Vec::new();
    for round in 0.. {
        let page = client
            .list_children(request.clone())
            .await
            .unwrap()
            .into_inner();
        behind.splice(0..0, page.children.into_iter().map(|child| child.id));
        if page.previous_page_token.is_empty() {
            break;
        }
        request.start_index = 0;
        request.page_token = page.previous_page_token;
        let front = mutate("c", vec![insert(0, [format!("new {round}")])]);
        client.mutate_children(front).await.unwrap();
    }
    assert!(behind.len() > HOSTILE.len());
    assert_eq!(behind, products(&mut client, "c").await);
}

fn replace(ids: &[String]) -> pb::ChildMutation {
    let ids = ids.to_vec();
    operation(Operation::Replace(pb::child_mutation::Replace { ids }))
}

#[rstest]
#[tokio::test]
async fn grpc_products_accept_unusual_ids(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = server(engine).await;
    let mut client = server.products().await;
    let product = |id: &String| pb::Product {
        id: id.clone(),
        title: "Hat".into(),
        ..pb::Product::default()
    };
    let upsert = pb::UpsertProductsRequest {
        products: HOSTILE.iter().map(product).collect(),
        request_id: "once".into(),
        ..pb::UpsertProductsRequest::default()
    };
    let first = client.upsert_products(upsert.clone()).await.unwrap();
    let again = client.upsert_products(upsert).await.unwrap().into_inner();
    let ids: Vec<_> = again
        .results
        .iter()
        .map(|one| one.product_id.clone())
        .collect();
    assert_eq!((&first.into_inner(), &ids), (&again, &*HOSTILE));
    for id in HOSTILE.iter() {
        let request = pb::GetProductRequest {
            product_id: id.clone(),
            ..pb::GetProductRequest::default()
        };
        let found = client.get_product(request).await.unwrap().into_inner();
        assert_eq!(&found.product.unwrap().id, id);
    }
    for ids in [Vec::new(), HOSTILE.clone()] {
        let mut request = pb::ListProductsRequest {
            filter: Some(pb::list_products_request::Filter {
                ids,
                ..Default::default()
            }),
            page_size: 7,
            ..pb::ListProductsRequest::default()
        };
        let mut seen = Vec::new();
        loop {
            let page = client
                .list_products(request.clone())
                .await
                .unwrap()
                .into_inner();
            seen.extend(page.products.into_iter().map(|product| product.id));
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        assert_eq!(seen, sorted());
    }
    let delete = pb::DeleteProductsRequest {
        ids: HOSTILE.clone(),
        request_id: "gone".into(),
        ..pb::DeleteProductsRequest::default()
    };
    for _ in 0..2 {
        let deleted = client.delete_products(delete.clone()).await.unwrap();
        assert!(deleted.into_inner().missing_ids.is_empty());
    }
}

fn refused(status: &Status, field: &str) {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let says = status.message();
    assert!(says.starts_with(&format!("{field}: ")), "{says}");
}

/// Invalid ids are rejected in mutations of child products. Collection ids have rules of their own.
#[rstest]
#[tokio::test]
async fn invalid_product_ids_are_rejected(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = server(engine).await;
    let mut client = server.grpc().await;
    create(&mut client, "c").await;
    for id in [
        "",
        " a",
        "a\u{3000}",
        "a\nb",
        "a\u{2028}b",
        "\u{e000}",
        "a\u{fffd}",
        "\u{378}",
    ] {
        let status = client
            .mutate_children(mutate("c", vec![append([id])]))
            .await;
        refused(&status.unwrap_err(), "mutations[0].append.ids[0]");
    }
    for id in HOSTILE
        .iter()
        .filter(|id| !id.is_ascii() || id.contains(' '))
    {
        let mut request = mutate("c", vec![append([id])]);
        request.child_type = pb::ChildType::Collection.into();
        let status = client.mutate_children(request).await.unwrap_err();
        refused(&status, "mutations[0].append.ids[0]");
    }
}

const LOCATION: &str = "3SwdhCsvxI8Au3KsPJt6";

async fn highlevel_list(server: &Server, query: &[(&str, &str)]) -> Vec<String> {
    let path = format!("/?locationId={LOCATION}");
    let body = done(highlevel(server, Method::GET, &path).query(query)).await;
    let ids = body["products"].as_array().unwrap().iter();
    let ids = ids.map(|product| product["_id"].as_str().unwrap().to_owned());
    ids.collect()
}

#[rstest]
#[tokio::test]
async fn highlevels_api_accepts_unusual_product_ids(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = server(engine).await;
    let located = json!({"altId": LOCATION, "altType": "location"});
    let make = async |slug: &str, ids: &[String]| {
        let more = json!({"name": slug, "slug": slug, "productIds": ids});
        let body = with(located.clone(), more);
        let request = highlevel(&server, Method::POST, "/collections");
        let body = done(request.header("idempotency-key", slug).json(&body)).await;
        body["data"]["_id"].as_str().unwrap().to_owned()
    };
    let a = make("a", &HOSTILE).await;
    assert_eq!(make("a", &HOSTILE).await, a, "a retry");
    let of_a = highlevel_list(&server, &[("collectionIds", &a)]).await;
    assert_eq!(of_a, *HOSTILE);

    let escaped = HOSTILE
        .iter()
        .map(|id| id.replace('\\', "\\\\").replace(',', "\\,"));
    let escaped = escaped.collect::<Vec<_>>().join(",");
    assert_eq!(
        highlevel_list(&server, &[("productIds", &escaped)]).await,
        sorted()
    );
    for name in ["productIds", "productIds[]"] {
        let repeated: Vec<_> = HOSTILE.iter().map(|id| (name, id.as_str())).collect();
        assert_eq!(highlevel_list(&server, &repeated).await, sorted(), "{name}");
    }

    let b = make("b", &[]).await;
    let body = with(
        located.clone(),
        json!({
            "type": "bulk-update-product-collection",
            "productIds": reversed(), "collectionIds": [b],
        }),
    );
    done(highlevel(&server, Method::POST, "/bulk-update").json(&body)).await;
    let of_b = highlevel_list(&server, &[("collectionIds", &b)]).await;
    assert_eq!(of_b, reversed());

    for id in HOSTILE.iter() {
        let path = format!("/{}?locationId={LOCATION}", encoded(id));
        let found = done(highlevel(&server, Method::GET, &path)).await;
        assert_eq!(found["_id"], *id);
        done(highlevel(&server, Method::DELETE, &path)).await;
        let (status, _) = status_and_body(highlevel(&server, Method::GET, &path)).await;
        assert_eq!(status, 404, "{id:?}");
    }
    assert!(highlevel_list(&server, &[]).await.is_empty());
}

fn oracle_ids(references: &Value) -> Vec<&str> {
    let references = references.as_array().unwrap().iter();
    references
        .map(|reference| reference["repositoryId"].as_str().unwrap())
        .collect()
}

#[rstest]
#[tokio::test]
async fn oracles_api_accepts_unusual_product_ids(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = server(engine).await;
    let admin = Admin(&server);
    admin.make("c", None, 0).await;
    admin.make("d", None, 0).await;
    let put = async |body: Value| {
        let (status, body) = admin.put("c", body).await;
        assert_eq!(status, 200, "{body}");
    };
    put(json!({"type": "appendProducts", "products": *HOSTILE})).await;
    let list = admin.get("c").await["fixedChildProducts"].clone();
    assert_eq!(oracle_ids(&list), *HOSTILE);
    let places = reversed().into_iter().enumerate();
    let map: serde_json::Map<_, _> = places.map(|(at, id)| (id, at.into())).collect();
    put(json!({"op": "reorder", "productMap": map})).await;
    let list = admin.get("c").await["fixedChildProducts"].clone();
    assert_eq!(oracle_ids(&list), reversed());

    for id in HOSTILE.iter() {
        let body = json!({"properties": {"id": id, "displayName": "Hat"}});
        let request = admin.write(Method::POST, "products", "en");
        let (status, made) = send(request.json(&body)).await;
        assert_eq!(
            (status, made["id"].as_str()),
            (200, Some(id.as_str())),
            "{made}"
        );
        let path = format!("products/{}", encoded(id));
        let (status, found) = send(admin.request(Method::GET, &path)).await;
        assert_eq!(
            (status, found["id"].as_str()),
            (200, Some(id.as_str())),
            "{found}"
        );
        let request = admin.request(Method::POST, &format!("{path}/addToCollections"));
        let (status, body) = send(request.json(&json!({"collections": ["d"]}))).await;
        assert_eq!(status, 200, "{id:?}: {body}");
    }
    let list = admin.get("d").await["fixedChildProducts"].clone();
    assert_eq!(oracle_ids(&list), *HOSTILE);
    put(json!({"op": "remove", "products": *HOSTILE})).await;
    assert_eq!(admin.get("c").await["fixedChildProducts"], json!([]));
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn exported_product_ids_can_be_imported(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = server(engine).await;
    let mut client = server.grpc().await;
    for id in ["from", "to"] {
        create(&mut client, id).await;
    }
    let fill = mutate("from", vec![append(HOSTILE.iter())]);
    client.mutate_children(fill).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ids");
    let file = file.to_str().unwrap();
    for (command, collection) in [("export", "from"), ("import", "to")] {
        let place = ["--collection", collection, "--server", &server.grpc];
        let arguments = [&[command, "children", file][..], &place].concat();
        let (status, _, error) = crate::commands::run(&arguments);
        assert_eq!(status, Some(0), "{error}");
    }
    assert_eq!(products(&mut client, "to").await, *HOSTILE);
}
