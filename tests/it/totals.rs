//! Total sizes of lists, which can be omitted.

use std::sync::{Arc, Mutex};

use endcap::{
    app,
    config::Flags,
    domain::{Caller, CollectionFilter, ProductFilter, TenantId},
    grpc::{DESCRIPTORS, pb},
    service::{Ancestors, ListCollections, ListProducts, PageStart, Service},
    store::Engine::{self, Postgres, Sqlite},
};
use prost::Message as _;
use prost_types::{DescriptorProto, FileDescriptorSet};
use rstest::rstest;

use crate::harness::{self, Server, append, create, mutate};

/// A page: its ids, token and total.
type Page = (Vec<String>, String, i32);

async fn page(server: &Server, list: &str, omit_total_size: bool, page_token: &str) -> Page {
    let (page_size, page_token) = (2, page_token.to_owned());
    let mut collections = server.grpc().await;
    match list {
        "ListCollections" => {
            let request = pb::ListCollectionsRequest {
                omit_total_size,
                page_size,
                page_token,
                ..Default::default()
            };
            let page = collections
                .list_collections(request)
                .await
                .unwrap()
                .into_inner();
            let ids = page.collections.into_iter().map(|one| one.id);
            (ids.collect(), page.next_page_token, page.total_size)
        }
        "ListChildren" => {
            let request = pb::ListChildrenRequest {
                collection_id: "c0".into(),
                child_type: pb::ChildType::Product.into(),
                omit_total_size,
                page_size,
                page_token,
                ..Default::default()
            };
            let page = collections
                .list_children(request)
                .await
                .unwrap()
                .into_inner();
            let ids = page.children.into_iter().map(|one| one.id);
            (ids.collect(), page.next_page_token, page.total_size)
        }
        "ListProducts" => {
            let request = pb::ListProductsRequest {
                omit_total_size,
                page_size,
                page_token,
                ..Default::default()
            };
            let page = server.products().await.list_products(request).await;
            let page = page.unwrap().into_inner();
            let ids = page.products.into_iter().map(|one| one.id);
            (ids.collect(), page.next_page_token, page.total_size)
        }
        _ => panic!("{list} returns a total size: add it here"),
    }
}

/// The methods whose responses contain a total size.
fn counting() -> Vec<String> {
    let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let files = set.file.iter().filter(|file| file.package() == "endcap.v1");
    let files: Vec<_> = files.collect();
    let message = |name: &str| -> &DescriptorProto {
        let name = name.trim_start_matches(".endcap.v1.");
        let mut messages = files.iter().flat_map(|file| &file.message_type);
        messages.find(|message| message.name() == name).unwrap()
    };
    let has = |name, field: &str| message(name).field.iter().any(|one| one.name() == field);
    let methods = files.iter().flat_map(|file| &file.service);
    let methods = methods.flat_map(|service| &service.method);
    let counting = methods.filter(|method| has(method.output_type(), "total_size"));
    counting
        .map(|method| {
            let name = method.name();
            assert!(has(method.input_type(), "omit_total_size"), "{name}");
            name.to_owned()
        })
        .collect()
}

#[rstest]
#[tokio::test]
async fn omitting_the_total_changes_nothing_else_in_a_page(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    for id in ["c0", "c1", "c2", "c3", "c4"] {
        create(&mut client, id).await;
    }
    let ids = ["p0", "p1", "p2", "p3", "p4"];
    let products = ids.map(|id| pb::Product {
        id: id.into(),
        title: id.into(),
        ..pb::Product::default()
    });
    let request = pb::UpsertProductsRequest {
        products: products.into(),
        ..Default::default()
    };
    server
        .products()
        .await
        .upsert_products(request)
        .await
        .unwrap();
    let request = mutate("c0", vec![append(ids)]);
    client.mutate_children(request).await.unwrap();

    let lists = counting();
    assert_eq!(lists.len(), 3, "{lists:?}");
    for list in lists {
        let (all, first, total) = page(&server, &list, false, "").await;
        assert_eq!((all.len(), total), (2, 5), "{list}");
        let (found, token, total) = page(&server, &list, true, "").await;
        assert_eq!((found, total), (all, 0), "{list}");
        // A page may have a total and the next one none, or the other way round.
        let (second, _, total) = page(&server, &list, true, &first).await;
        assert_eq!((second.len(), total), (2, 0), "{list}");
        let (found, token, total) = page(&server, &list, false, &token).await;
        assert_eq!((found, total), (second, 5), "{list}");
        let (last, end, _) = page(&server, &list, true, &token).await;
        assert_eq!((last.len(), end.as_str()), (1, ""), "{list}");
    }
}

/// The roots of an empty tenant are listed on the first page, if the filter names them.
#[rstest]
#[tokio::test]
async fn unstored_roots_are_listed_with_and_without_a_total(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    let mut listed = async |ids: &[&str], omit_total_size| {
        let request = pb::ListCollectionsRequest {
            filter: Some(pb::list_collections_request::Filter {
                ids: ids.iter().map(ToString::to_string).collect(),
                ..Default::default()
            }),
            omit_total_size,
            ..Default::default()
        };
        let page = client.list_collections(request).await.unwrap().into_inner();
        let ids: Vec<_> = page.collections.into_iter().map(|one| one.id).collect();
        (ids, page.total_size)
    };
    let root = vec!["rootCategory".to_owned()];
    assert_eq!(listed(&["rootCategory"], false).await, (root.clone(), 1));
    assert_eq!(listed(&["rootCategory"], true).await, (root, 0));
    assert_eq!(listed(&[], true).await, (Vec::new(), 0));
}

/// How many statements the work executes.
async fn sent<F: Future>(statements: &Mutex<Vec<String>>, work: F) -> usize {
    statements.lock().unwrap().clear();
    work.await;
    statements.lock().unwrap().len()
}

#[rstest]
#[tokio::test]
async fn an_omitted_total_is_not_counted(#[values(Sqlite, Postgres)] engine: Engine) {
    let (config, store, _folder) = harness::migrated(engine, &Flags::default()).await;
    let statements: Arc<Mutex<Vec<String>>> = Arc::default();
    let record = Arc::clone(&statements);
    store.on_statement(move |statement| record.lock().unwrap().push(statement.sql.clone()));
    let service: Service = app::service(&config, store);
    let caller = Caller::operator(TenantId::trusted("default"));
    let named = CollectionFilter {
        name: Some("lamp".into()),
        ..CollectionFilter::default()
    };
    for filter in [CollectionFilter::default(), named] {
        let list = async |omit_total| {
            let command = ListCollections {
                filter: filter.clone(),
                all_there: false,
                order: Vec::new(),
                scan: None,
                descendants: None,
                ancestors: Ancestors::Shown,
                start: PageStart::First,
                size: 10,
                bytes: None,
                paths: None,
                omit_total,
            };
            service.list_collections(&caller, command).await.unwrap();
        };
        let counted = sent(&statements, list(false)).await;
        assert_eq!(sent(&statements, list(true)).await, counted - 1);
    }
    let list = async |omit_total| {
        let command = ListProducts {
            filter: ProductFilter {
                registered_only: true,
                ..ProductFilter::default()
            },
            slug: None,
            include_descendants: false,
            all_there: false,
            scan: None,
            start: PageStart::First,
            size: 10,
            bytes: None,
            omit_total,
        };
        service.list_products(&caller, command).await.unwrap();
    };
    let counted = sent(&statements, list(false)).await;
    assert_eq!(sent(&statements, list(true)).await, counted - 1);
    let all = statements.lock().unwrap();
    assert!(!all.iter().any(|sql| sql.contains("COUNT(*)")), "{all:?}");
}
