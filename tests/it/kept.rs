//! Responses that are stored for retries: they take little space, and a retry always gets a
//! response.

use endcap::{
    config::Flags,
    grpc::pb,
    store::Engine::{self, Postgres, Sqlite},
};
use reqwest::Method;
use rstest::rstest;
use sea_orm::{ConnectionTrait as _, Statement};
use serde_json::{Value, json};

use crate::harness::{Server, append, create, mutate, named};

/// How many responses are stored in the server's database, and the size of the largest, in bytes.
async fn kept(server: &Server) -> (i64, i64) {
    let db = sea_orm::Database::connect(&server.database).await.unwrap();
    let sizes = "SELECT count(*), CAST(coalesce(max(length(answer)), 0) AS bigint) FROM requests";
    let sizes = Statement::from_string(db.get_database_backend(), sizes);
    let row = db.query_one_raw(sizes).await.unwrap().unwrap();
    (
        row.try_get_by_index(0).unwrap(),
        row.try_get_by_index(1).unwrap(),
    )
}

/// The `idempotency-replayed` metadata of a response.
fn replayed<T>(response: &tonic::Response<T>) -> &str {
    let of = response.metadata().get("idempotency-replayed");
    of.map_or("", |of| of.to_str().unwrap())
}

/// Incompressible text.
fn noise(length: usize, seed: u64) -> String {
    use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
    let mut random = StdRng::seed_from_u64(seed);
    let letter = |_| char::from(random.random_range(b'!'..=b'~'));
    (0..length).map(letter).collect()
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_a_large_response_returns_the_current_state(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    let mut collection = named("a", "a");
    for (seed, locale) in ["de", "fr", "it"].into_iter().enumerate() {
        let text = pb::LocalizedText {
            display_name: "a".into(),
            description: noise(60_000, seed as u64),
            ..pb::LocalizedText::default()
        };
        collection.texts.insert(locale.into(), text);
    }
    let request = pb::CreateCollectionRequest {
        collection: Some(collection),
        request_id: "create".into(),
        ..pb::CreateCollectionRequest::default()
    };
    let first = client.create_collection(request.clone()).await.unwrap();
    assert_eq!(replayed(&first), "");
    let first = first.into_inner().collection.unwrap();
    let again = client.create_collection(request).await.unwrap();
    assert_eq!(replayed(&again), "current");
    assert_eq!(again.into_inner().collection.unwrap(), first);

    // 60 of the 90 ids are already in the list. The retry gets the collection's current state.
    client
        .mutate_children(mutate("a", vec![append(0..60)]))
        .await
        .unwrap();
    let request = pb::MutateChildrenRequest {
        request_id: "mutate".into(),
        ..mutate("a", vec![append(0..90)])
    };
    let first = client.mutate_children(request.clone()).await.unwrap();
    let first = first.into_inner();
    client
        .mutate_children(mutate("a", vec![append([99])]))
        .await
        .unwrap();
    let again = client.mutate_children(request).await.unwrap();
    assert_eq!(replayed(&again), "current");
    let again = again.into_inner();
    assert_eq!(again.results, first.results);
    let (before, now) = (first.collection.unwrap(), again.collection.unwrap());
    assert_eq!(now.stats.unwrap().product_count, 91);
    assert_ne!(now.etag, before.etag);

    let (count, largest) = kept(&server).await;
    assert_eq!(count, 2);
    assert!(largest < 10_000, "{largest}");

    // A small response is stored completely.
    create(&mut client, "b").await;
    let request = pb::MutateChildrenRequest {
        request_id: "small".into(),
        ..mutate("b", vec![append(0..10)])
    };
    let first = client.mutate_children(request.clone()).await.unwrap();
    client
        .mutate_children(mutate("b", vec![append([99])]))
        .await
        .unwrap();
    let again = client.mutate_children(request).await.unwrap();
    assert_eq!(replayed(&again), "stored");
    assert_eq!(again.into_inner(), first.into_inner());
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_retried_upsert_returns_the_results_of_the_first_request(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server.products().await;
    let id = |n: u64| {
        let letters = noise(400, n).replace(|c: char| !c.is_ascii_alphanumeric(), "");
        format!("p{n}-{}", &letters[..120])
    };
    let product = |n: u64| pb::Product {
        id: id(n),
        title: "t".into(),
        ..pb::Product::default()
    };
    let request = pb::UpsertProductsRequest {
        products: (0..1_000).map(product).collect(),
        request_id: "upsert".into(),
        ..pb::UpsertProductsRequest::default()
    };
    let first = client.upsert_products(request.clone()).await.unwrap();
    let again = client.upsert_products(request).await.unwrap();
    assert_eq!(replayed(&again), "current");
    assert_eq!(again.into_inner(), first.into_inner());
    let (count, largest) = kept(&server).await;
    assert_eq!(count, 1);
    assert!(largest < 65_536, "{largest}");
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_returns_a_long_list_in_its_current_state(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    create(&mut client, "a").await;
    client
        .mutate_children(mutate("a", vec![append(0..50_000)]))
        .await
        .unwrap();
    let write = |key: &str, body: &Value| {
        server
            .client
            .request(
                Method::PUT,
                format!("{}/ccadmin/v1/collections/a", server.http),
            )
            .header("X-CCAsset-Language", "en")
            .header("Idempotency-Key", key)
            .json(body)
            .send()
    };
    let first_to = |to: u64| json!({"op": "move", "fromStart": 0, "fromEnd": 0, "to": to});
    let response = write("one", &first_to(1)).await.unwrap();
    assert!(response.headers().get("idempotency-replayed").is_none());
    let first: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert_eq!(first["childProducts"].as_array().unwrap().len(), 50_000);
    assert_eq!(first["childProducts"][1]["repositoryId"], "0");
    let (_, largest) = kept(&server).await;
    assert!(largest < 1_000, "{largest}");

    let response = write("two", &first_to(2)).await.unwrap();
    assert_eq!(response.status(), 200);
    let response = write("one", &first_to(1)).await.unwrap();
    assert_eq!(response.headers()["idempotency-replayed"], "current");
    let again: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    // Both moves were executed once.
    let ids: Vec<_> = (0..3)
        .map(|at| &again["childProducts"][at]["repositoryId"])
        .collect();
    assert_eq!(ids, ["0", "2", "1"]);
    let other = write("one", &first_to(3)).await.unwrap();
    assert_eq!(other.status(), 400);
}

/// A retry does not return data that has been deleted since.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_reports_a_product_deleted_since_as_not_found(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let send = async |method: Method, path: &str, key: &str, body: &Value| {
        let request = server
            .client
            .request(method, format!("{}{path}", server.http));
        let request = request
            .header("Version", "2021-07-28")
            .header("X-CCAsset-Language", "en");
        let request = match key {
            "" => request,
            key => request.header("Idempotency-Key", key).json(body),
        };
        let response = request.send().await.unwrap();
        let replayed = response.headers().get("idempotency-replayed").cloned();
        let status = response.status().as_u16();
        let mut body: Value = response.json().await.unwrap_or_default();
        if let Some(body) = body.as_object_mut() {
            // These are unique to each response.
            body.retain(|name, _| !["requestId", "traceId"].contains(&name.as_str()));
        }
        (status, replayed, body)
    };
    let big = noise(150_000, 7);
    let properties = json!({"properties": {"id": "p", "displayName": "p", "x_big": big}});
    let highlevel =
        json!({"locationId": "default", "name": "p", "productType": "PHYSICAL", "x": big});
    let (oracle_one, one) = ("/ccadmin/v1/products/p", "/products/p?locationId=default");
    let writes = [
        (
            Method::POST,
            "/ccadmin/v1/products",
            oracle_one,
            &properties,
        ),
        (Method::PUT, oracle_one, oracle_one, &properties),
        (Method::PUT, "/products/p", one, &highlevel),
        // This dialect generates the id.
        (Method::POST, "/products/", "", &highlevel),
    ];
    for (at, (method, path, one, body)) in writes.into_iter().enumerate() {
        if method == Method::PUT {
            let (path, key) = ("/ccadmin/v1/products", format!("make{at}"));
            let small = json!({"properties": {"id": "p", "displayName": "p"}});
            let made = send(Method::POST, path, &key, &small).await;
            assert_eq!(made.0, 200, "{made:?}");
        }
        let key = format!("k{at}");
        let (status, _, first) = send(method.clone(), path, &key, body).await;
        assert!(status < 300, "{method} {path}: {first}");
        let again = send(method.clone(), path, &key, body).await;
        assert_eq!((again.0, &again.2), (status, &first), "{method} {path}");
        assert_eq!(again.1.unwrap(), "current");

        let chosen = format!(
            "/products/{}?locationId=default",
            first["_id"].as_str().unwrap_or("")
        );
        let one = if one.is_empty() { &chosen } else { one };
        let deleted = send(Method::DELETE, one, "", &Value::Null).await;
        assert_eq!(deleted.0, 200, "{deleted:?}");
        let gone = send(Method::GET, one, "", &Value::Null).await;
        assert!([400, 404].contains(&gone.0), "{gone:?}");
        let late = send(method.clone(), path, &key, body).await;
        assert_eq!((late.0, &late.2), (gone.0, &gone.2), "{method} {path}");
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_stored_responses_are_deleted_over_the_size_limit(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let flags = Flags {
        max_kept_size_per_caller: Some("16KiB".into()),
        sweep_interval: Some("1s".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let mut client = server.grpc().await;
    create(&mut client, "a").await;
    let request = |n: u64| pb::MutateChildrenRequest {
        request_id: format!("r{n}"),
        ..mutate("a", vec![append([n])])
    };
    for n in 0..100 {
        client.mutate_children(request(n)).await.unwrap();
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while kept(&server).await.0 >= 100 {
        assert!(std::time::Instant::now() < deadline, "nothing is deleted");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let (count, _) = kept(&server).await;
    assert!((20..80).contains(&count), "{count}");
    // The newest response is stored, and the oldest was deleted, so its request is executed again.
    let newest = client.mutate_children(request(99)).await.unwrap();
    assert_eq!(replayed(&newest), "stored");
    let oldest = client.mutate_children(request(0)).await.unwrap();
    assert_eq!(replayed(&oldest), "");
    assert!(
        server
            .metrics()
            .await
            .contains("endcap_kept_responses_bytes ")
    );
}
