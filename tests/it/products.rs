//! Registered products: created, read, listed, deleted; and how collections use them.

use endcap::store::Engine::{self, Postgres, Sqlite};
use endcap::{config::Flags, grpc::pb};
use prost_types::{Struct, Value, value::Kind};
use rstest::rstest;
use sea_orm::ConnectionTrait as _;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    collections::reason,
    harness::{Server, append, create, insert, mutate, operation, products},
};

fn product(id: &str, title: &str) -> pb::Product {
    pb::Product {
        id: id.into(),
        title: title.into(),
        ..pb::Product::default()
    }
}

async fn upsert(
    server: &Server,
    products: Vec<pb::Product>,
) -> Result<Vec<pb::UpsertProductResult>, Status> {
    let request = pb::UpsertProductsRequest {
        products,
        ..Default::default()
    };
    let response = server.products().await.upsert_products(request).await?;
    Ok(response.into_inner().results)
}

async fn delete(server: &Server, ids: &[&str]) -> Result<Vec<String>, Status> {
    let request = pb::DeleteProductsRequest {
        ids: ids.iter().map(ToString::to_string).collect(),
        ..Default::default()
    };
    let response = server.products().await.delete_products(request).await?;
    Ok(response.into_inner().missing_ids)
}

async fn get(server: &Server, id: &str) -> Result<pb::Product, Status> {
    let request = pb::GetProductRequest {
        product_id: id.into(),
        ..Default::default()
    };
    let response = server.products().await.get_product(request).await?;
    Ok(response.into_inner().product.unwrap())
}

#[rstest]
#[tokio::test]
async fn a_product_is_created_updated_and_read(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let color = Value {
        kind: Some(Kind::StringValue("red".into())),
    };
    let attributes = Struct {
        fields: [("color".to_owned(), color)].into(),
    };
    let first = pb::Product {
        slug: "hat".into(),
        r#type: "PHYSICAL".into(),
        attributes: Some(attributes.clone()),
        ..product("p1", "Hat")
    };
    let results = upsert(&server, vec![first.clone(), product("p2", "Towel")])
        .await
        .unwrap();
    assert_eq!(results[0].product_id, "p1");
    assert!(results[0].created && results[1].created);
    let read = get(&server, "p1").await.unwrap();
    assert_eq!(read.create_time, results[0].update_time);
    let expected = pb::Product {
        tenant_id: "default".into(),
        create_time: read.create_time,
        update_time: read.update_time,
        ..first
    };
    assert_eq!(read, expected);

    // Without a mask, only the fields that are set change.
    let results = upsert(&server, vec![product("p1", "Cap")]).await.unwrap();
    assert!(!results[0].created);
    let again = get(&server, "p1").await.unwrap();
    let expected = pb::Product {
        title: "Cap".into(),
        update_time: results[0].update_time,
        ..expected
    };
    assert_eq!(again, expected);

    let status = get(&server, "p3").await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert_eq!(reason(&status), "PRODUCT_NOT_FOUND");
    let about = status.get_error_details();
    let about = about.resource_info().unwrap();
    assert_eq!(about.resource_type, "endcap.v1.Product");
}

#[rstest]
#[tokio::test]
async fn all_product_errors_are_reported_at_once_and_nothing_is_stored(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let long = pb::Product {
        slug: "s".repeat(256),
        ..product("p1", " ")
    };
    let status = upsert(&server, vec![long, product("p1", "A")]).await;
    let message = status.unwrap_err().message().to_owned();
    assert!(
        message.contains("products[1].id: \"p1\" is given twice"),
        "{message}"
    );
    let odd = vec![product("p\t1", "A"), product("", "B")];
    let message = upsert(&server, odd).await.unwrap_err().message().to_owned();
    assert!(message.contains("products[0].id") && message.contains("products[1].id"));
    let long = pb::Product {
        slug: "s".repeat(256),
        ..product("p1", " ")
    };
    let status = upsert(&server, vec![product("p2", "A"), long]).await;
    let message = status.unwrap_err().message().to_owned();
    assert!(message.contains("products[1].title"), "{message}");
    assert!(message.contains("products[1].slug"), "{message}");
    assert!(get(&server, "p2").await.is_err());
    assert!(upsert(&server, Vec::new()).await.is_err());
    assert!(delete(&server, &[]).await.is_err());
}

#[rstest]
#[tokio::test]
async fn products_are_listed_by_id_in_pages_and_filtered(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let names = ["Red hat", "Blue hat", "Red towel"];
    let all = names.iter().enumerate();
    let all = all.map(|(at, name)| product(&format!("p{at}"), name));
    upsert(&server, all.collect()).await.unwrap();
    let mut client = server.grpc().await;
    create(&mut client, "c").await;
    let listed = mutate("c", vec![append(["p2", "p0", "never-told"])]);
    client.mutate_children(listed).await.unwrap();

    let list = async |filter, page_size, page_token: &str| {
        let request = pb::ListProductsRequest {
            filter: Some(filter),
            page_size,
            page_token: page_token.into(),
            ..Default::default()
        };
        let page = server.products().await.list_products(request).await;
        let page = page.unwrap().into_inner();
        let ids: Vec<_> = page.products.into_iter().map(|p| p.id).collect();
        (ids, page.next_page_token, page.total_size)
    };
    type Filter = pb::list_products_request::Filter;
    let (ids, next, total) = list(Filter::default(), 2, "").await;
    assert_eq!((ids, total), (vec!["p0".into(), "p1".into()], 3));
    let (ids, next, _) = list(Filter::default(), 2, &next).await;
    assert_eq!((ids, next), (vec!["p2".to_owned()], String::new()));

    let hats = Filter {
        title_contains: "HAT".into(),
        ..Default::default()
    };
    assert_eq!(list(hats.clone(), 0, "").await.0, ["p0", "p1"]);
    let of_c = Filter {
        collection_ids: vec!["c".into()],
        ..Default::default()
    };
    assert_eq!(list(of_c.clone(), 0, "").await.0, ["p0", "p2"]);
    let both = Filter {
        collection_ids: vec!["c".into()],
        ..hats
    };
    assert_eq!(list(both, 0, "").await.0, ["p0"]);
    let named = Filter {
        ids: vec!["p1".into(), "x".into()],
        ..Default::default()
    };
    assert_eq!(list(named, 0, "").await.0, ["p1"]);

    let (_, next, _) = list(of_c, 1, "").await;
    let request = pb::ListProductsRequest {
        page_token: next,
        ..Default::default()
    };
    let status = server.products().await.list_products(request).await;
    assert_eq!(reason(&status.unwrap_err()), "PAGE_TOKEN_INVALID");
}

#[rstest]
#[tokio::test]
async fn deleting_a_product_removes_it_from_collections_but_not_vice_versa(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    upsert(&server, vec![product("b", "B"), product("z", "Z")])
        .await
        .unwrap();
    for id in ["c1", "c2", "c3"] {
        create(&mut client, id).await;
    }
    for (id, ids) in [("c1", ["a", "b", "c"]), ("c2", ["b", "x", "y"])] {
        let request = mutate(id, vec![append(ids)]);
        client.mutate_children(request).await.unwrap();
    }
    let read = async |id: &str| {
        let request = pb::GetCollectionRequest {
            key: Some(pb::get_collection_request::Key::CollectionId(id.into())),
            ..Default::default()
        };
        let mut client = server.grpc().await;
        let response = client.get_collection(request).await.unwrap();
        response.into_inner().collection.unwrap()
    };
    let before = [read("c1").await, read("c3").await];
    // One that is not registered, one that is repeated, and one that does not exist.
    let missing = delete(&server, &["b", "x", "b", "nowhere"]).await;
    assert_eq!(missing.unwrap(), ["nowhere"]);
    assert_eq!(products(&mut client, "c1").await, ["a", "c"]);
    assert_eq!(products(&mut client, "c2").await, ["y"]);
    let after = [read("c1").await, read("c3").await];
    assert_eq!(after[0].stats.unwrap().product_count, 2);
    assert_ne!(after[0].etag, before[0].etag);
    assert_eq!(after[1], before[1]);
    assert!(get(&server, "b").await.is_err());

    let join = mutate("c3", vec![append(["z"])]);
    client.mutate_children(join).await.unwrap();
    let request = pb::DeleteCollectionRequest {
        collection_id: "c3".into(),
        ..Default::default()
    };
    client.delete_collection(request).await.unwrap();
    assert_eq!(get(&server, "z").await.unwrap().title, "Z");
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn products_are_deleted_while_others_are_appended(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    for id in ["c1", "c2", "c3", "c4"] {
        create(&mut client, id).await;
        let request = mutate(id, vec![append((0..40).map(|n| format!("p{n}")))]);
        client.mutate_children(request).await.unwrap();
    }
    let deleting = async {
        for n in 0..20 {
            let ids = [format!("p{n}"), format!("p{}", 39 - n)];
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            delete(&server, &ids).await.unwrap();
        }
    };
    let moving = async {
        let mut client = server.grpc().await;
        for n in 0..40 {
            let id = ["c4", "c3", "c2", "c1"][n % 4];
            let reverse = pb::child_mutation::Operation::Append(pb::child_mutation::Append {
                ids: vec![format!("new{n}")],
                ..Default::default()
            });
            let request = mutate(id, vec![operation(reverse)]);
            client.mutate_children(request).await.unwrap();
        }
    };
    tokio::join!(deleting, moving);
    for id in ["c1", "c2", "c3", "c4"] {
        let left = products(&mut client, id).await;
        assert_eq!(left.len(), 10, "{left:?}");
        assert!(left.iter().all(|id| id.starts_with("new")), "{left:?}");
    }
}

#[rstest]
#[tokio::test]
async fn check_products_rejects_unregistered_products(#[values(Sqlite, Postgres)] engine: Engine) {
    let strict = Flags {
        check_products: Some("true".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, strict).await;
    let mut client = server.grpc().await;
    create(&mut client, "c").await;
    upsert(&server, vec![product("a", "A"), product("b", "B")])
        .await
        .unwrap();
    let replace = pb::child_mutation::Operation::Replace(pb::child_mutation::Replace {
        ids: vec!["x".into()],
    });
    for (mutations, unknown) in [
        (vec![append(["a", "x"])], "\"x\""),
        (vec![append(["a"]), insert(0, ["b", "y"])], "\"y\""),
        (vec![operation(replace), append(["w"])], "\"w\", \"x\""),
    ] {
        let status = client.mutate_children(mutate("c", mutations)).await;
        let status = status.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(reason(&status), "PRODUCTS_UNKNOWN");
        let expected = format!("unregistered products: {unknown}");
        assert_eq!(status.message(), expected);
    }
    assert!(products(&mut client, "c").await.is_empty());
    let request = mutate("c", vec![append(["b", "a"])]);
    client.mutate_children(request).await.unwrap();
    // A deleted product is not registered, and in no collection.
    delete(&server, &["a"]).await.unwrap();
    assert_eq!(products(&mut client, "c").await, ["b"]);
    let request = mutate("c", vec![append(["a"])]);
    assert!(client.mutate_children(request).await.is_err());
}

#[rstest]
#[tokio::test]
async fn a_repeated_request_id_returns_the_first_response(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let request = |name: &str| pb::UpsertProductsRequest {
        products: vec![product("p", name)],
        request_id: "r1".into(),
        ..Default::default()
    };
    let mut client = server.products().await;
    let first = client.upsert_products(request("A")).await.unwrap();
    upsert(&server, vec![product("p", "B")]).await.unwrap();
    let again = client.upsert_products(request("A")).await.unwrap();
    assert_eq!(first.into_inner(), again.into_inner());
    assert_eq!(get(&server, "p").await.unwrap().title, "B");
    let status = client.upsert_products(request("C")).await.unwrap_err();
    assert_eq!(reason(&status), "REQUEST_ID_REUSED");

    let request = || pb::DeleteProductsRequest {
        ids: vec!["p".into()],
        request_id: "r2".into(),
        ..Default::default()
    };
    for _ in 0..2 {
        let response = client.delete_products(request()).await.unwrap();
        assert!(response.into_inner().missing_ids.is_empty());
    }
}

#[rstest]
#[tokio::test]
async fn product_request_limits_are_enforced(#[values(Sqlite, Postgres)] engine: Engine) {
    let low = Flags {
        max_ids: Some("2".into()),
        max_product_bytes: Some("20".into()),
        max_name_chars: Some("5".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, low).await;
    let three = ["a", "b", "c"];
    let told = three.map(|id| product(id, "A")).to_vec();
    let message = upsert(&server, told)
        .await
        .unwrap_err()
        .message()
        .to_owned();
    assert!(
        message.contains("products: has 3 items; the limit is 2"),
        "{message}"
    );
    let message = delete(&server, &three)
        .await
        .unwrap_err()
        .message()
        .to_owned();
    assert!(
        message.contains("ids: has 3 items; the limit is 2"),
        "{message}"
    );
    let text = Value {
        kind: Some(Kind::StringValue("x".repeat(20))),
    };
    let large = pb::Product {
        attributes: Some(Struct {
            fields: [("a".to_owned(), text)].into(),
        }),
        ..product("a", "Too long")
    };
    let message = upsert(&server, vec![large])
        .await
        .unwrap_err()
        .message()
        .to_owned();
    assert!(
        message.contains("attributes: has 23 bytes; the limit is 20"),
        "{message}"
    );
    assert!(
        message.contains("title: \"Too long\" is 8 characters long"),
        "{message}"
    );
    let request = pb::ListProductsRequest {
        filter: Some(pb::list_products_request::Filter {
            title_contains: "n".repeat(6),
            ids: three.map(String::from).to_vec(),
            collection_ids: three.map(String::from).to_vec(),
        }),
        ..Default::default()
    };
    let status = server
        .products()
        .await
        .list_products(request)
        .await
        .unwrap_err();
    for field in [
        "filter.title_contains",
        "filter.ids",
        "filter.collection_ids",
    ] {
        assert!(status.message().contains(field), "{status:?}");
    }
}

#[rstest]
#[tokio::test]
async fn corrupt_stored_values_are_reported_as_internal_errors(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    upsert(&server, vec![product("p1", "One")]).await.unwrap();
    create(&mut server.grpc().await, "a").await;
    let db = sea_orm::Database::connect(&server.database).await.unwrap();
    // A number out of range, half a surrogate pair, and a negative count.
    for broken in [
        "UPDATE products SET attributes = '{\"a\":1e999}'",
        "UPDATE collections SET custom_properties = '{\"a\":\"\\ud800\"}' WHERE id = 'a'",
    ] {
        db.execute_unprepared(broken).await.unwrap();
    }
    let error = get(&server, "p1").await.unwrap_err();
    assert_eq!(
        (error.code(), error.message()),
        (Code::Internal, "internal error")
    );
    let mut client = server.grpc().await;
    let read = || pb::GetCollectionRequest {
        key: Some(pb::get_collection_request::Key::CollectionId("a".into())),
        ..Default::default()
    };
    let error = client.get_collection(read()).await.unwrap_err();
    assert_eq!(error.code(), Code::Internal);
    for path in [
        "/ccadmin/v1/products/p1",
        "/ccadmin/v1/products",
        "/ccadmin/v1/collections/a",
        "/products/p1?locationId=default",
        "/products/?locationId=default",
    ] {
        let request = server.client.get(format!("{}{path}", server.http));
        let response = request.header("Version", "2021-07-28").send().await;
        assert_eq!(response.unwrap().status(), 500, "{path}");
    }
    let mended = "UPDATE collections SET custom_properties = '{}', product_count = -1";
    db.execute_unprepared(mended).await.unwrap();
    let error = client.get_collection(read()).await.unwrap_err();
    assert_eq!(error.code(), Code::Internal);
}
