//! The typed facts of products over gRPC: each can be written, read, masked, cleared, and is
//! limited.

use endcap::store::Engine::{self, Postgres, Sqlite};
use endcap::{config::Flags, grpc::pb};
use prost_types::{FieldMask, Timestamp};
use rstest::rstest;
use tonic::Status;
use tonic_types::StatusExt as _;

use crate::harness::{Server, append, create, mutate};

/// The fields except those that all products have.
const FACTS: [&str; 9] = [
    "vendor",
    "status",
    "available",
    "tags",
    "variants",
    "prices",
    "inventory",
    "product_create_time",
    "product_update_time",
];

/// A product with all facts.
fn whole() -> pb::Product {
    let variant = pb::ProductVariant {
        id: "v1".into(),
        title: "Red / L".into(),
        inventory: "-1.5".into(),
    };
    let price = pb::ProductPrice {
        id: "x1".into(),
        variant_id: "v1".into(),
        title: "Sale".into(),
        amount: "19.99".into(),
        currency: "EUR".into(),
        compare_at_price: "123456789012345678901.234".into(),
        inventory: "0".into(),
    };
    pb::Product {
        vendor: "Acme".into(),
        status: "active".into(),
        available: Some(false),
        tags: ["new", "red"].map(Into::into).into(),
        variants: vec![variant, bare_variant("v2")],
        prices: vec![price, bare_price("x2")],
        inventory: "12".into(),
        product_create_time: Some(time(-1, 999_999_000)),
        product_update_time: Some(time(1_700_000_000, 1_000)),
        ..bare()
    }
}

fn bare() -> pb::Product {
    pb::Product {
        id: "p".into(),
        title: "Hat".into(),
        ..pb::Product::default()
    }
}

fn bare_variant(id: &str) -> pb::ProductVariant {
    pb::ProductVariant {
        id: id.into(),
        ..pb::ProductVariant::default()
    }
}

fn bare_price(id: &str) -> pb::ProductPrice {
    pb::ProductPrice {
        id: id.into(),
        amount: "1".into(),
        ..pb::ProductPrice::default()
    }
}

fn time(seconds: i64, nanos: i32) -> Timestamp {
    Timestamp { seconds, nanos }
}

async fn upsert(server: &Server, product: pb::Product, mask: &[&str]) -> Result<(), Status> {
    let paths = mask.iter().map(ToString::to_string).collect();
    let request = pb::UpsertProductsRequest {
        products: vec![product],
        update_mask: Some(FieldMask { paths }),
        ..pb::UpsertProductsRequest::default()
    };
    let mut products = server.products().await;
    products.upsert_products(request).await.map(drop)
}

async fn get(server: &Server) -> pb::Product {
    let request = pb::GetProductRequest {
        product_id: "p".into(),
        ..pb::GetProductRequest::default()
    };
    let found = server.products().await.get_product(request).await;
    found.unwrap().into_inner().product.unwrap()
}

/// The product without the fields that the server sets.
async fn stored(server: &Server) -> pb::Product {
    pb::Product {
        tenant_id: String::new(),
        create_time: None,
        update_time: None,
        ..get(server).await
    }
}

/// The product with one fact from the other product.
fn with(mut product: pb::Product, fact: &str, from: &pb::Product) -> pb::Product {
    let from = from.clone();
    match fact {
        "vendor" => product.vendor = from.vendor,
        "status" => product.status = from.status,
        "available" => product.available = from.available,
        "tags" => product.tags = from.tags,
        "variants" => product.variants = from.variants,
        "prices" => product.prices = from.prices,
        "inventory" => product.inventory = from.inventory,
        "product_create_time" => product.product_create_time = from.product_create_time,
        "product_update_time" => product.product_update_time = from.product_update_time,
        other => panic!("{other}"),
    }
    product
}

#[rstest]
#[tokio::test]
async fn each_fact_is_stored_and_cleared_by_its_mask(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    upsert(&server, whole(), &[]).await.unwrap();
    assert_eq!(stored(&server).await, whole());
    // Writing the same facts changes nothing.
    let before = get(&server).await;
    for (product, mask) in [
        (bare(), &[][..]),
        (whole(), &[]),
        (whole(), &["*"]),
        (bare(), &["title"]),
    ] {
        upsert(&server, product, mask).await.unwrap();
        assert_eq!(get(&server).await, before, "{mask:?}");
    }
    let mut left = whole();
    // Prices refer to variants, so they are cleared first.
    let order = ["prices", "variants"].into_iter();
    let others = FACTS
        .into_iter()
        .filter(|fact| !matches!(*fact, "prices" | "variants"));
    for fact in order.chain(others) {
        upsert(&server, bare(), &[fact]).await.unwrap();
        left = with(left, fact, &bare());
        assert_eq!(stored(&server).await, left, "{fact}");
    }
    assert_eq!(left, bare());
    for fact in FACTS {
        upsert(&server, whole(), &[fact]).await.unwrap();
        left = with(left, fact, &whole());
        assert_eq!(stored(&server).await, left, "{fact}");
    }
    upsert(&server, bare(), &["*"]).await.unwrap();
    assert_eq!(stored(&server).await, bare());
}

#[rstest]
#[tokio::test]
async fn facts_are_normalized(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let price = pb::ProductPrice {
        amount: "0010.50".into(),
        ..bare_price("x")
    };
    let product = pb::Product {
        tags: ["b", "a", "b"].map(Into::into).into(),
        prices: vec![price],
        inventory: "-0".into(),
        product_create_time: Some(time(5, 1_999)),
        ..bare()
    };
    upsert(&server, product, &[]).await.unwrap();
    let found = get(&server).await;
    assert_eq!(found.tags, ["b", "a"]);
    assert_eq!(found.prices[0].amount, "10.5");
    assert_eq!(found.inventory, "0");
    assert_eq!(found.product_create_time, Some(time(5, 1_000)));
}

#[rstest]
#[tokio::test]
async fn a_child_list_returns_the_facts_in_the_product_mask(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    upsert(&server, whole(), &[]).await.unwrap();
    let mut client = server.grpc().await;
    create(&mut client, "c").await;
    let listed = mutate("c", vec![append(["p"])]);
    client.mutate_children(listed).await.unwrap();
    for fact in FACTS {
        let request = pb::ListChildrenRequest {
            collection_id: "c".into(),
            child_type: pb::ChildType::Product.into(),
            product_mask: Some(FieldMask {
                paths: vec![fact.into()],
            }),
            ..pb::ListChildrenRequest::default()
        };
        let page = client.list_children(request).await.unwrap().into_inner();
        let expected = with(pb::Product::default(), fact, &whole());
        assert_eq!(page.children[0].product, Some(expected), "{fact}");
    }
}

/// The field of a violation, and its problem.
async fn refused(server: &Server, product: pb::Product) -> (String, String) {
    let status = upsert(server, product, &[]).await.unwrap_err();
    let details = status.get_error_details();
    let violations = &details.bad_request().unwrap().field_violations;
    assert_eq!(violations.len(), 1, "{violations:?}");
    let [violation] = &violations[..] else {
        panic!("{violations:?}")
    };
    (violation.field.clone(), violation.description.clone())
}

fn many<T>(count: usize, one: impl Fn(&str) -> T) -> Vec<T> {
    (0..count).map(|id| one(&id.to_string())).collect()
}

#[rstest]
#[tokio::test]
async fn invalid_facts_are_rejected_with_field_value_and_limit(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let flags = Flags {
        max_product_tags: Some("3".into()),
        max_product_variants: Some("4".into()),
        max_product_prices: Some("5".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let price = |change: fn(&mut pb::ProductPrice)| {
        let mut price = bare_price("x");
        change(&mut price);
        pb::Product {
            prices: vec![price],
            ..bare()
        }
    };
    let variant = |change: fn(&mut pb::ProductVariant)| {
        let mut variant = bare_variant("v");
        change(&mut variant);
        pb::Product {
            variants: vec![variant],
            ..bare()
        }
    };
    let product = |change: fn(&mut pb::Product)| {
        let mut product = bare();
        change(&mut product);
        product
    };
    for (product, field, said) in [
        (
            product(|it| it.vendor = "v".repeat(256)),
            "vendor",
            "the limit is 255",
        ),
        (
            product(|it| it.status = "s".repeat(256)),
            "status",
            "the limit is 255",
        ),
        (
            product(|it| it.inventory = "1e5".into()),
            "inventory",
            "\"1e5\" must be a decimal",
        ),
        (
            product(|it| it.inventory = "1".repeat(25)),
            "inventory",
            "at most 24 digits",
        ),
        (
            product(|it| it.tags = vec![" ".into()]),
            "tags[0]",
            "must not be empty",
        ),
        (
            product(|it| it.tags = vec!["t".repeat(256)]),
            "tags[0]",
            "the limit is 255",
        ),
        (
            product(|it| it.tags = many(4, str::to_owned)),
            "tags",
            "has 4 items; the limit is 3",
        ),
        (
            product(|it| it.variants = many(5, bare_variant)),
            "variants",
            "has 5 items; the limit is 4",
        ),
        (
            product(|it| it.prices = many(6, bare_price)),
            "prices",
            "has 6 items; the limit is 5",
        ),
        (
            product(|it| it.product_create_time = Some(time(0, -1))),
            "product_create_time",
            "must be a time from 0001",
        ),
        (
            product(|it| it.product_update_time = Some(time(i64::MAX, 0))),
            "product_update_time",
            "9223372036854775807 s",
        ),
        (
            variant(|it| it.id.clear()),
            "variants[0].id",
            "must not be empty",
        ),
        (
            variant(|it| it.id = "v".repeat(256)),
            "variants[0].id",
            "the limit is 255",
        ),
        (
            variant(|it| it.title = "t".repeat(256)),
            "variants[0].title",
            "the limit is 255",
        ),
        (
            variant(|it| it.inventory = "x".into()),
            "variants[0].inventory",
            "\"x\" must be",
        ),
        (
            product(|it| it.variants = vec![bare_variant("v"), bare_variant("v")]),
            "variants[1].id",
            "is given twice",
        ),
        (
            price(|it| it.id.clear()),
            "prices[0].id",
            "must not be empty",
        ),
        (
            price(|it| it.title = "t".repeat(256)),
            "prices[0].title",
            "the limit is 255",
        ),
        (
            price(|it| it.amount.clear()),
            "prices[0].amount",
            "is required",
        ),
        (
            price(|it| it.amount = "1,5".into()),
            "prices[0].amount",
            "\"1,5\" must be",
        ),
        (
            price(|it| it.currency = "eur".into()),
            "prices[0].currency",
            "\"eur\" must be an ISO 4217",
        ),
        (
            price(|it| it.compare_at_price = "-".into()),
            "prices[0].compare_at_price",
            "\"-\" must be",
        ),
        (
            price(|it| it.inventory = ".5".into()),
            "prices[0].inventory",
            "\".5\" must be",
        ),
        (
            product(|it| it.prices = vec![bare_price("x"), bare_price("x")]),
            "prices[1].id",
            "is given twice",
        ),
        (
            product(|it| {
                it.variants = vec![bare_variant("v")];
                it.prices = vec![pb::ProductPrice {
                    variant_id: "w".into(),
                    ..bare_price("x")
                }];
            }),
            "prices[0].variant_id",
            "must be one of",
        ),
    ] {
        let (at, why) = refused(&server, product).await;
        assert_eq!(at, format!("products[0].{field}"));
        assert!(why.contains(said), "{field}: {why}");
    }
    // As many as allowed.
    let full = pb::Product {
        vendor: "\u{e9}".repeat(255),
        tags: many(3, str::to_owned),
        variants: many(4, bare_variant),
        prices: many(5, bare_price),
        ..bare()
    };
    upsert(&server, full, &[]).await.unwrap();
    let status = upsert(&server, bare(), &["price"]).await.unwrap_err();
    assert!(status.message().contains("product_create_time"), "{status}");
}

#[rstest]
#[tokio::test]
async fn a_product_has_at_most_a_thousand_facts(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let full = pb::Product {
        tags: many(250, str::to_owned),
        prices: many(749, bare_price),
        available: Some(true),
        ..bare()
    };
    upsert(&server, full.clone(), &[]).await.unwrap();
    let more = pb::Product {
        vendor: "Acme".into(),
        ..full
    };
    let (at, why) = refused(&server, more).await;
    assert_eq!(at, "products[0]");
    assert!(why.contains("has 1001 items; the limit is 1000"), "{why}");
}
