//! `ListChildren` with the fields of registered products.

use std::sync::{Arc, Mutex};

use endcap::{
    app,
    config::Flags,
    domain::{Caller, ChildType, CollectionId, TenantId, page::PageBytes},
    grpc::pb::{
        self, collection_service_client::CollectionServiceClient,
        product_service_client::ProductServiceClient,
    },
    service::{ChildProducts, ChildStart, ListChildren},
    store::{
        DatabasePlace,
        Engine::{self, Postgres, Sqlite},
        Store,
    },
};
use prost_types::{FieldMask, Struct, Value, value::Kind};
use rstest::rstest;
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt as _;

use crate::harness::{self, Server, append, create, mutate};

type Client = CollectionServiceClient<Channel>;

/// The default maximum size of a message in gRPC clients.
const CLIENTS_TAKE: usize = 4 << 20;

fn text(text: &str) -> Value {
    Value {
        kind: Some(Kind::StringValue(text.into())),
    }
}

fn attributes<const N: usize>(fields: [(&str, &str); N]) -> Option<Struct> {
    let fields = fields.map(|(name, value)| (name.to_owned(), text(value)));
    Some(Struct {
        fields: fields.into(),
    })
}

fn product(id: &str) -> pb::Product {
    pb::Product {
        id: id.into(),
        title: format!("Title {id}"),
        slug: format!("slug-{id}"),
        r#type: "PHYSICAL".into(),
        attributes: attributes([("color", "red"), ("seasonName", "summer")]),
        ..pb::Product::default()
    }
}

async fn upsert(client: &mut ProductServiceClient<Channel>, products: Vec<pb::Product>) {
    for products in products.chunks(200) {
        let request = pb::UpsertProductsRequest {
            products: products.to_vec(),
            ..Default::default()
        };
        client.upsert_products(request).await.unwrap();
    }
}

fn asking(paths: &[&str], names: &[&str]) -> pb::ListChildrenRequest {
    pb::ListChildrenRequest {
        collection_id: "c".into(),
        child_type: pb::ChildType::Product.into(),
        product_mask: (!paths.is_empty()).then(|| FieldMask {
            paths: paths.iter().map(ToString::to_string).collect(),
        }),
        product_attribute_names: names.iter().map(ToString::to_string).collect(),
        ..Default::default()
    }
}

async fn list(
    client: &mut Client,
    request: pb::ListChildrenRequest,
) -> Result<pb::ListChildrenResponse, Status> {
    let response = client.list_children(request).await;
    response.map(tonic::Response::into_inner)
}

#[rstest]
#[tokio::test]
async fn a_page_has_the_requested_fields_of_its_products(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    create(&mut client, "c").await;
    let mut products = server.products().await;
    upsert(&mut products, vec![product("b"), product("a")]).await;
    let request = mutate("c", vec![append(["b", "never registered", "a"])]);
    client.mutate_children(request).await.unwrap();
    let request = pb::GetProductRequest {
        product_id: "b".into(),
        ..Default::default()
    };
    let whole = products.get_product(request).await.unwrap().into_inner();
    let whole = whole.product.unwrap();

    let only = |title: &str, slug: &str, attributes| pb::Product {
        title: title.into(),
        slug: slug.into(),
        attributes,
        ..pb::Product::default()
    };
    let red = attributes([("color", "red")]);
    let season = attributes([("seasonName", "summer")]);
    let all = product("b").attributes;
    for (paths, names, expected) in [
        (&[][..], &[][..], None),
        (&["*"], &[], Some(whole.clone())),
        (&["*", "title"], &[], Some(whole)),
        (
            &["title", "slug"],
            &[],
            Some(only("Title b", "slug-b", None)),
        ),
        (
            &["title", "title"],
            &["color"],
            Some(only("Title b", "", red)),
        ),
        (&[], &["seasonName", "size"], Some(only("", "", season))),
        (&[], &["size"], Some(pb::Product::default())),
        (&["attributes"], &[], Some(only("", "", all))),
    ] {
        let page = list(&mut client, asking(paths, names)).await.unwrap();
        let ids: Vec<_> = page
            .children
            .iter()
            .map(|child| (&*child.id, child.index))
            .collect();
        assert_eq!(ids, [("b", 0), ("never registered", 1), ("a", 2)]);
        assert_eq!(page.children[0].product, expected, "{paths:?} {names:?}");
        assert_eq!(page.children[1].product, None);
        assert_eq!(page.children[2].product.is_some(), expected.is_some());
    }
}

#[rstest]
#[tokio::test]
async fn invalid_product_masks_are_rejected(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    create(&mut client, "c").await;
    let many: Vec<_> = (0..1_001).map(|n| n.to_string()).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let collections = |request: pb::ListChildrenRequest| pb::ListChildrenRequest {
        child_type: pb::ChildType::Collection.into(),
        ..request
    };
    let (mask, names) = ("product_mask", "product_attribute_names");
    for (request, fields, says) in [
        (
            collections(asking(&["title"], &[])),
            &[mask][..],
            "CHILD_TYPE_PRODUCT",
        ),
        (
            collections(asking(&[], &["color"])),
            &[names],
            "CHILD_TYPE_PRODUCT",
        ),
        (
            asking(&["attributes.color", "name"], &[]),
            &[mask, mask],
            names,
        ),
        (asking(&["*"], &["color"]), &[names], "product_mask"),
        (asking(&[], &many), &[names], "the limit is 1000"),
    ] {
        let status = list(&mut client, request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert!(status.message().contains(says), "{status:?}");
        let details = status.get_error_details();
        let violations = &details.bad_request().unwrap().field_violations;
        let told: Vec<_> = violations
            .iter()
            .map(|violation| &*violation.field)
            .collect();
        assert_eq!(told, fields);
    }
}

/// Reads the whole list in one direction, and returns the number of pages.
async fn walk(
    client: &mut Client,
    request: &pb::ListChildrenRequest,
    forward: bool,
) -> (Vec<(String, i32)>, usize) {
    let (mut found, mut pages) = (Vec::new(), 0);
    let mut request = pb::ListChildrenRequest {
        page_size: 1_000,
        ..request.clone()
    };
    loop {
        let mut page = list(client, request.clone()).await.unwrap();
        assert!(page.children.iter().all(|child| child.product.is_some()));
        if !forward {
            page.children.reverse();
        }
        found.extend(
            page.children
                .into_iter()
                .map(|child| (child.id, child.index)),
        );
        pages += 1;
        request.start_index = 0;
        request.page_token = if forward {
            page.next_page_token
        } else {
            page.previous_page_token
        };
        if request.page_token.is_empty() {
            if !forward {
                found.reverse();
            }
            return (found, pages);
        }
    }
}

/// With ids of maximum length, which page tokens also contain.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_page_with_products_fits_the_default_client_message_limit(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await.max_decoding_message_size(CLIENTS_TAKE);
    create(&mut client, "c").await;
    let wide = |text: String, max: usize| {
        let room = max - text.len();
        text + "\u{1f9e6}".repeat(room).as_str()
    };
    let id = |n: usize| wide(format!("{n:04}"), 128);
    let large = (0..1_000).map(|n| pb::Product {
        id: id(n),
        title: wide(String::new(), 255),
        slug: wide(String::new(), 255),
        r#type: wide(String::new(), 255),
        attributes: attributes([("text", &"x".repeat(9_000))]),
        ..pb::Product::default()
    });
    upsert(&mut server.products().await, large.collect()).await;
    let request = mutate("c", vec![append((0..1_000).map(id))]);
    client.mutate_children(request).await.unwrap();
    let expected: Vec<_> = (0..1_000).map(|n| (id(n as usize), n)).collect();

    let all = asking(&["*"], &[]);
    let texts = asking(&["id", "title", "slug", "type"], &[]);
    for (request, least) in [(&all, 3), (&texts, 2)] {
        let (found, pages) = walk(&mut client, request, true).await;
        assert_eq!(found, expected);
        assert!((least..=least + 1).contains(&pages), "{pages}");
        let from_the_end = pb::ListChildrenRequest {
            start_index: 999,
            ..request.clone()
        };
        let (found, pages) = walk(&mut client, &from_the_end, false).await;
        assert_eq!(found, expected);
        assert!((least..=least + 2).contains(&pages), "{pages}");
    }

    // A page token can be used with other fields, or none.
    let first = list(&mut client, all).await.unwrap();
    let next = pb::ListChildrenRequest {
        page_token: first.next_page_token,
        ..asking(&["title"], &[])
    };
    let next = list(&mut client, next).await.unwrap();
    assert_eq!(next.children[0].index, 50);
    let back = pb::ListChildrenRequest {
        page_token: next.previous_page_token,
        ..asking(&[], &[])
    };
    let back = list(&mut client, back).await.unwrap();
    assert_eq!((back.children.len(), back.children[0].index), (50, 0));
}

/// None of the large pages that one client requests concurrently is rejected.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_large_pages_of_products_are_all_served(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    create(&mut client, "c").await;
    let large = (0..15).map(|n| pb::Product {
        attributes: attributes([("text", &"x".repeat(250_000))]),
        ..product(&format!("p{n}"))
    });
    upsert(&mut server.products().await, large.collect()).await;
    let request = mutate("c", vec![append((0..15).map(|n| format!("p{n}")))]);
    client.mutate_children(request).await.unwrap();
    let pages = (0..12).map(|_| {
        let mut client = client.clone();
        tokio::spawn(async move {
            let page = list(&mut client, asking(&["*"], &[])).await.unwrap();
            assert_eq!(page.children.len(), 15);
            assert!(page.children.iter().all(|child| child.product.is_some()));
        })
    });
    for page in pages.collect::<Vec<_>>() {
        page.await.unwrap();
    }
}

#[rstest]
#[tokio::test]
async fn products_take_a_fixed_number_of_statements_per_page(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    create(&mut client, "c").await;
    let ids = (0..500).map(|n| format!("p{n}"));
    let all = ids.clone().map(|id| product(&id)).collect();
    upsert(&mut server.products().await, all).await;
    let request = mutate("c", vec![append(ids)]);
    client.mutate_children(request).await.unwrap();

    // A second store on the server's database.
    let place = match engine {
        Sqlite => DatabasePlace::File(server.database.trim_start_matches("sqlite://").into()),
        Postgres => DatabasePlace::Url(server.database.clone()),
    };
    let config = app::config(&Flags::default(), None).unwrap();
    let store = Store::connect(&harness::database(place)).await.unwrap();
    let statements: Arc<Mutex<Vec<String>>> = Arc::default();
    let record = Arc::clone(&statements);
    store.on_statement(move |statement| record.lock().unwrap().push(statement.sql.clone()));
    let service = app::service(&config, store);
    let caller = Caller::operator(TenantId::trusted("default"));
    let read = async |whole: Option<bool>, size| {
        let command = ListChildren {
            collection: CollectionId::trusted("c"),
            list: ChildType::Product,
            products: whole.map(|whole| ChildProducts {
                whole,
                bytes: PageBytes {
                    max: CLIENTS_TAKE,
                    of: Arc::new(|_| 1),
                },
            }),
            start: ChildStart::Index(0),
            size,
        };
        statements.lock().unwrap().clear();
        let page = service.list_children(&caller, command).await.unwrap();
        assert_eq!(page.children.len(), size);
        std::mem::take(&mut *statements.lock().unwrap())
    };
    // Warms up the caches first.
    read(None, 50).await;
    for size in [50, 500] {
        let ids = read(None, size).await;
        let texts = read(Some(false), size).await;
        // The ids and their version take one statement; with products they are read in one
        // snapshot.
        assert_eq!((ids.len(), texts.len()), (1, 3), "{texts:?}");
        assert!(
            !texts
                .iter()
                .any(|sql| sql.contains("\"products\".\"attributes\"")),
            "{texts:?}"
        );
        let all = read(Some(true), size).await;
        assert_eq!(all.len(), texts.len() + 1, "{all:?}");
    }
}
