//! Every limit is a setting, and errors name the limit that was exceeded.

use endcap::store::Engine::{self, Postgres, Sqlite};
use endcap::{
    config::Flags,
    grpc::pb::{self, collection_service_client::CollectionServiceClient},
};
use prost_types::{Struct, Value, value::Kind};
use rstest::rstest;
use tonic::{Code, Status, transport::Channel};

use crate::{
    collections::{cheaper_than, reason, rules},
    harness::{Server, append, create, mutate, named, operation},
};

type Client = CollectionServiceClient<Channel>;

async fn make(client: &mut Client, collection: pb::Collection) -> Result<(), Status> {
    let request = pb::CreateCollectionRequest {
        collection: Some(collection),
        ..Default::default()
    };
    client.create_collection(request).await.map(drop)
}

fn low() -> Flags {
    let two = || Some("2".to_owned());
    Flags {
        max_name_chars: Some("10".into()),
        max_text_chars: Some("20".into()),
        max_locales: two(),
        max_keywords: two(),
        max_images: two(),
        max_custom_properties: two(),
        max_custom_property_bytes: Some("50".into()),
        max_collection_bytes: Some("120".into()),
        max_conditions: two(),
        max_rule_depth: Some("1".into()),
        max_parents: two(),
        max_depth: two(),
        max_mutations: two(),
        max_mutation_ids: Some("5".into()),
        max_page_size: two(),
        max_ids: Some("3".into()),
        ..Flags::default()
    }
}

/// Collections that exceed one limit each, with the limit.
fn over() -> Vec<(&'static str, usize, pb::Collection)> {
    let base = || named("x", "x");
    let text = |text: pb::LocalizedText| pb::Collection {
        texts: [("en".to_owned(), text)].into(),
        ..base()
    };
    let name = |name: &str| pb::LocalizedText {
        display_name: name.into(),
        ..pb::LocalizedText::default()
    };
    let long = pb::LocalizedText {
        description: "d".repeat(21),
        ..name("x")
    };
    let slugged = pb::LocalizedText {
        seo_url_slug: "s".repeat(11),
        ..name("x")
    };
    let property = |text: &str| Value {
        kind: Some(Kind::StringValue(text.into())),
    };
    let properties = |names: &[&str], value: &str| {
        let fields = names.iter().map(|name| (name.to_string(), property(value)));
        Some(Struct {
            fields: fields.collect(),
        })
    };
    let nested = (0..2).fold(cheaper_than("1"), |rule, _| {
        let group = pb::RuleGroup {
            rules: vec![rule],
            ..Default::default()
        };
        pb::Rule {
            rule: Some(pb::rule::Rule::NoneOf(group)),
        }
    });
    let locales = ["en", "fr", "de"].map(|locale| (locale.to_owned(), name("x")));
    vec![
        (
            "collection.internal_name",
            10,
            pb::Collection {
                internal_name: "n".repeat(11),
                ..base()
            },
        ),
        (
            "collection.slug",
            10,
            pb::Collection {
                slug: "s".repeat(11),
                ..base()
            },
        ),
        (
            "collection.texts[en].display_name",
            10,
            text(name("elevenchars")),
        ),
        ("collection.texts[en].seo_url_slug", 10, text(slugged)),
        ("collection.texts[en].description", 20, text(long)),
        (
            "collection.texts",
            2,
            pb::Collection {
                texts: locales.into(),
                ..base()
            },
        ),
        (
            "collection.texts[en].keywords",
            2,
            text(pb::LocalizedText {
                keywords: vec!["k".into(); 3],
                ..name("x")
            }),
        ),
        (
            "collection.images",
            2,
            pb::Collection {
                images: vec![pb::Image::default(); 3],
                ..base()
            },
        ),
        (
            "collection.custom_properties",
            2,
            pb::Collection {
                custom_properties: properties(&["a", "b", "c"], "v"),
                ..base()
            },
        ),
        (
            "collection.custom_properties",
            50,
            pb::Collection {
                custom_properties: properties(&["a"], &"v".repeat(50)),
                ..base()
            },
        ),
        (
            "collection.rules.root.all_of.rules",
            2,
            pb::Collection {
                kind: pb::CollectionKind::Smart.into(),
                rules: Some(rules(vec![cheaper_than("1"); 3])),
                ..base()
            },
        ),
        (
            "collection.rules.root",
            1,
            pb::Collection {
                kind: pb::CollectionKind::Smart.into(),
                rules: Some(pb::Rules { root: Some(nested) }),
                ..base()
            },
        ),
        (
            "collection",
            120,
            pb::Collection {
                images: vec![
                    pb::Image {
                        source: Some(pb::image::Source::Path(format!("/{}", "p".repeat(60)))),
                        ..Default::default()
                    };
                    2
                ],
                ..base()
            },
        ),
    ]
}

#[rstest]
#[tokio::test]
async fn each_limit_of_a_collection_is_enforced(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::start(engine, low()).await;
    let mut client = server.grpc().await;
    for (field, limit, collection) in over() {
        let status = make(&mut client, collection).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{field}");
        let message = status.message();
        assert!(
            message.starts_with(&format!("{field}: ")),
            "{field}: {message}"
        );
        assert!(
            message.ends_with(&format!("the limit is {limit}")),
            "{field}: {message}"
        );
    }
}

#[rstest]
#[tokio::test]
async fn each_limit_of_the_graph_is_enforced(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::start(engine, low()).await;
    let mut client = server.grpc().await;
    for id in ["a", "b", "c", "d"] {
        create(&mut client, id).await;
    }
    let under = |id: &str, parents: &[&str]| pb::Collection {
        parent_ids: parents.iter().map(ToString::to_string).collect(),
        ..named(id, id)
    };
    let status = make(&mut client, under("x", &["a", "b", "c"]))
        .await
        .unwrap_err();
    assert!(status.message().contains("the limit is 2"), "{status:?}");
    // From the parent's side: d is a child of the root and b; a third parent is too many.
    let mut link = async |parent: &str, child: &str| {
        let request = pb::MutateChildrenRequest {
            child_type: pb::ChildType::Collection.into(),
            ..mutate(parent, vec![append([child])])
        };
        client.mutate_children(request).await.map(drop)
    };
    link("b", "d").await.unwrap();
    let status = link("c", "d").await.unwrap_err();
    assert!(status.message().contains("the limit is 2"), "{status:?}");
    // Two levels below the root are allowed; a third one is too deep, from either side.
    link("a", "b").await.unwrap_err();
    make(&mut client, under("e", &["d"])).await.unwrap_err();
    let status = make(&mut client, under("e", &["d"])).await.unwrap_err();
    assert!(
        status.message().contains("the limit of 2 levels"),
        "{status:?}"
    );
    make(&mut client, under("e", &["a"])).await.unwrap();
}

/// The largest requests that the other limits allow don't exceed the limit on items.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn the_item_limit_allows_the_largest_requests_of_other_limits(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    create(&mut client, "a").await;
    let placements = (0..100_000).map(|index| pb::child_mutation::Placement {
        id: format!("p{index}"),
        index: Some(index),
    });
    let reorder = pb::child_mutation::Reorder {
        placements: placements.collect(),
    };
    let reorder = operation(pb::child_mutation::Operation::Reorder(reorder));
    let status = client.mutate_children(mutate("a", vec![reorder])).await;
    // The indexes are out of range because the list is empty.
    assert_eq!(reason(&status.unwrap_err()), "INDEX_OUT_OF_RANGE");
    let number = || prost_types::Value {
        kind: Some(prost_types::value::Kind::NumberValue(1.0)),
    };
    let all = |values: Vec<prost_types::Value>| prost_types::Value {
        kind: Some(prost_types::value::Kind::ListValue(
            prost_types::ListValue { values },
        )),
    };
    let product = |id: String, fields: Vec<(String, prost_types::Value)>| pb::Product {
        id,
        title: "P".into(),
        attributes: Some(prost_types::Struct {
            fields: fields.into_iter().collect(),
        }),
        ..Default::default()
    };
    let many = (0..1_000).map(|n| {
        let fields = (0..64).map(|n| (format!("a{n}"), number()));
        product(format!("p{n}"), fields.collect())
    });
    let long = product("q".into(), vec![("a".into(), all(vec![number(); 131_000]))]);
    let mut products = server.products().await;
    for products_of in [many.collect(), vec![long]] {
        let request = pb::UpsertProductsRequest {
            products: products_of,
            ..Default::default()
        };
        products.upsert_products(request).await.unwrap();
    }
}

#[rstest]
#[tokio::test]
async fn each_limit_of_a_request_is_enforced(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::start(engine, low()).await;
    let mut client = server.grpc().await;
    create(&mut client, "a").await;
    let status = client
        .mutate_children(mutate("a", vec![append(["x"]); 3]))
        .await
        .unwrap_err();
    assert!(
        status
            .message()
            .contains("mutations: has 3 items; the limit is 2"),
        "{status:?}"
    );
    let status = client
        .mutate_children(mutate("a", vec![append(0..6)]))
        .await
        .unwrap_err();
    assert!(
        status.message().contains("has 6 items; the limit is 5"),
        "{status:?}"
    );
    client
        .mutate_children(mutate("a", vec![append(0..5)]))
        .await
        .unwrap();

    // A page is shortened to the limit, and not rejected.
    let request = pb::ListChildrenRequest {
        collection_id: "a".into(),
        child_type: pb::ChildType::Product.into(),
        page_size: 100,
        ..Default::default()
    };
    let page = client.list_children(request).await.unwrap().into_inner();
    assert_eq!((page.children.len(), page.total_size), (2, 5));
    assert!(!page.next_page_token.is_empty());

    let ids: Vec<_> = (0..4).map(|id| id.to_string()).collect();
    let request = pb::BatchGetCollectionsRequest {
        ids: ids.clone(),
        ..Default::default()
    };
    let status = client.batch_get_collections(request).await.unwrap_err();
    assert!(status.message().contains("the limit is 3"), "{status:?}");
    let request = pb::ListCollectionsRequest {
        filter: Some(pb::list_collections_request::Filter {
            ids,
            display_name_contains: "n".repeat(11),
            ..Default::default()
        }),
        ..Default::default()
    };
    let status = client.list_collections(request).await.unwrap_err();
    let field = "filter.display_name_contains";
    assert!(status.message().contains(field), "{status:?}");
    assert!(
        status
            .message()
            .contains("filter.ids: has 4 items; the limit is 3"),
        "{status:?}"
    );
}
