//! Concurrent writers: nothing that was acknowledged is lost, and nothing is duplicated.

use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

use endcap::{
    config::Flags,
    domain::{Caller, CollectionId, TenantId},
    grpc::pb,
    store::{
        DatabasePlace,
        Engine::{self, Postgres, Sqlite},
        Store,
        lineage::{self, Ancestors, Key},
    },
};
use futures::future::join_all;
use rstest::rstest;
use sea_orm::{ConnectionTrait as _, Statement, TransactionTrait as _};
use serde_json::json;
use tonic::Code;

use crate::{
    auth::new_key,
    collections::{reason, structure},
    harness::{self, Server, append, create, get, insert, mutate, named, products},
};

const WRITERS: usize = 64;
const WRITES: usize = 5;

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writes_to_one_collection_succeed_and_are_serialized(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    create(&mut client, "a").await;
    let writers = (0..WRITERS).map(|writer| {
        let mut client = client.clone();
        async move {
            let mut acknowledged = Vec::new();
            for write in 0..WRITES {
                let id = format!("{writer}-{write}");
                // Half at the front and half at the end, so that the list shows the order of the
                // writes.
                let mutation = if writer % 2 == 0 {
                    append([&id])
                } else {
                    insert(0, [&id])
                };
                let response = client.mutate_children(mutate("a", vec![mutation])).await;
                let response = response.unwrap().into_inner();
                assert_eq!(response.results[0].added_count, 1);
                let collection = response.collection.unwrap();
                let version = i64::from_str_radix(&collection.etag, 16).unwrap();
                let count = collection.stats.unwrap().product_count;
                acknowledged.push((version, count, writer % 2 == 0, id));
            }
            acknowledged
        }
    });
    let mut all: Vec<_> = join_all(writers).await.into_iter().flatten().collect();
    all.sort();
    // The versions order the writes: each saw exactly the earlier ones.
    let mut model = std::collections::VecDeque::new();
    for (at, (_, count, appended, id)) in all.into_iter().enumerate() {
        assert_eq!(count, at as i32 + 1);
        if appended {
            model.push_back(id);
        } else {
            model.push_front(id);
        }
    }
    assert_eq!(products(&mut client, "a").await, Vec::from(model));
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn many_writers_of_many_collections_all_succeed(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let client = server.grpc().await;
    let writers = (0..WRITERS).map(|writer| {
        let mut client = client.clone();
        async move {
            // The creates are concurrent, too, all under the same root.
            let id = format!("c{writer}");
            create(&mut client, &id).await;
            for write in 0..WRITES {
                let mutation = append([format!("p{write}")]);
                client
                    .mutate_children(mutate(&id, vec![mutation]))
                    .await
                    .unwrap();
            }
            products(&mut client, &id).await
        }
    });
    let expected: Vec<_> = (0..WRITES).map(|write| format!("p{write}")).collect();
    for list in join_all(writers).await {
        assert_eq!(list, expected);
    }
    let request = pb::ListChildrenRequest {
        collection_id: "rootCategory".into(),
        child_type: pb::ChildType::Collection.into(),
        page_size: 1_000,
        ..Default::default()
    };
    let mut client = server.grpc().await;
    let page = client.list_children(request).await.unwrap().into_inner();
    let distinct: HashSet<_> = page.children.iter().map(|child| &child.id).collect();
    assert_eq!((page.total_size, distinct.len()), (WRITERS as i32, WRITERS));
}

/// An update that sets one custom property of the collection "a", and nothing else.
fn set_property(name: &str, value: usize) -> pb::UpdateCollectionRequest {
    pb::UpdateCollectionRequest {
        collection: Some(pb::Collection {
            id: "a".into(),
            custom_properties: Some(structure(&json!({ name: value }))),
            ..Default::default()
        }),
        custom_property_names: vec![name.into()],
        ..Default::default()
    }
}

fn has_property(collection: &pb::Collection, name: &str, value: usize) -> bool {
    let expected = structure(&json!({ name: value }));
    let properties = collection.custom_properties.as_ref().unwrap();
    properties.fields.get(name) == expected.fields.get(name)
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_updates_of_different_fields_are_all_kept(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    create(&mut client, "a").await;
    let updates = (0..WRITERS / 2).map(|writer| {
        let mut client = client.clone();
        async move {
            let name = format!("p{writer}");
            for write in 0..WRITES {
                let update = set_property(&name, write);
                let updated = client.update_collection(update).await.unwrap().into_inner();
                let updated = updated.collection.unwrap();
                assert!(has_property(&updated, &name, write));
            }
        }
    });
    let lists = (0..WRITERS / 8).map(|writer| {
        let mut client = client.clone();
        async move {
            for write in 0..WRITES {
                let append = append([format!("{writer}-{write}")]);
                let request = mutate("a", vec![append]);
                client.mutate_children(request).await.unwrap();
            }
        }
    });
    tokio::join!(join_all(updates), join_all(lists));
    let collection = get(&mut client, "a").await.unwrap();
    for writer in 0..WRITERS / 2 {
        let name = format!("p{writer}");
        assert!(has_property(&collection, &name, WRITES - 1));
    }
    let count = collection.stats.unwrap().product_count;
    assert_eq!(count as usize, WRITERS / 8 * WRITES);
    assert_eq!(products(&mut client, "a").await.len(), count as usize);
}

/// On PostgreSQL, a write waits for the row lock of another one, and is then based on its result.
#[rstest]
#[case::updated(
    "UPDATE collections SET catalog_id = 'kept', version = version + 1",
    true
)]
#[case::linked("UPDATE collections SET version = version + 1", true)]
#[case::deleted("DELETE FROM collections", false)]
#[tokio::test(flavor = "multi_thread")]
async fn an_update_sees_what_changed_while_it_waited(
    #[case] change: &str,
    #[case] still_exists: bool,
) {
    let server = Server::new(Postgres).await;
    let mut client = server.grpc().await;
    create(&mut client, "a").await;
    let db = sea_orm::Database::connect(&server.database).await.unwrap();
    let other = db.begin().await.unwrap();
    let change = format!("{change} WHERE id = 'a'");
    other.execute_unprepared(&change).await.unwrap();
    let update = tokio::spawn({
        let mut client = client.clone();
        async move { client.update_collection(set_property("p", 1)).await }
    });
    server.waits_for_a_lock().await;
    other.commit().await.unwrap();
    let updated = update.await.unwrap();
    if !still_exists {
        assert_eq!(updated.unwrap_err().code(), Code::NotFound);
        return;
    }
    let updated = updated.unwrap().into_inner().collection.unwrap();
    assert!(has_property(&updated, "p", 1));
    let is_kept = change.contains("catalog_id");
    assert_eq!(updated.catalog_id == "kept", is_kept);
    assert_eq!(get(&mut client, "a").await.unwrap(), updated);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_writers_with_the_same_etag_wins(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    let etag = create(&mut client, "a").await.etag;
    let writers = (0..WRITERS).map(|writer| {
        let mut client = client.clone();
        let request = pb::MutateChildrenRequest {
            etag: etag.clone(),
            ..mutate("a", vec![append([writer])])
        };
        async move { client.mutate_children(request).await }
    });
    let results = join_all(writers).await;
    let mut codes: BTreeMap<i32, usize> = BTreeMap::new();
    for result in &results {
        let code = result.as_ref().map_or_else(|s| s.code() as i32, |_| 0);
        *codes.entry(code).or_default() += 1;
    }
    let aborted = tonic::Code::Aborted as i32;
    assert_eq!(codes, BTreeMap::from([(0, 1), (aborted, WRITERS - 1)]));
    assert_eq!(products(&mut client, "a").await.len(), 1);
}

/// In each round, all writers use the current etag.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn one_of_a_hundred_writers_wins_each_version_and_no_write_is_lost(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    const ROUNDS: usize = 5;
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    let mut etag = create(&mut client, "a").await.etag;
    let mut winners = Vec::new();
    for round in 0..ROUNDS {
        let writers = (0..100).map(|writer| {
            let mut client = client.clone();
            let id = format!("{round}-{writer}");
            let request = pb::MutateChildrenRequest {
                etag: etag.clone(),
                ..mutate("a", vec![append([&id])])
            };
            async move { (id, client.mutate_children(request).await) }
        });
        let mut next = None;
        let mut told = Vec::new();
        for (id, result) in join_all(writers).await {
            match result {
                Ok(response) => {
                    assert!(next.is_none(), "two writers succeeded");
                    next = Some(response.into_inner().collection.unwrap().etag);
                    winners.push(id);
                }
                Err(status) => {
                    assert_eq!(status.code(), Code::Aborted, "{status:?}");
                    told.push(status.message().to_owned());
                }
            }
        }
        let next = next.expect("no writer succeeded");
        // The rejected writers get the current etag.
        let current = format!("the current one is {next}");
        assert!(told.iter().all(|told| told.ends_with(&current)), "{told:?}");
        etag = next;
    }
    assert_eq!(products(&mut client, "a").await, winners);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_duplicates_have_one_effect_and_one_response(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let client = server.grpc().await;
    // A repeated create fails, so a duplicate must be recognized before it runs.
    let request = pb::CreateCollectionRequest {
        collection: Some(named("a", "a")),
        request_id: "make".into(),
        ..Default::default()
    };
    let twins = (0..100).map(|_| {
        let (mut client, request) = (client.clone(), request.clone());
        async move {
            client
                .create_collection(request)
                .await
                .unwrap()
                .into_inner()
        }
    });
    let mut made = join_all(twins).await;
    made.dedup();
    assert_eq!(made.len(), 1);

    // The same for a write whose etag the first duplicate makes stale.
    let request = pb::MutateChildrenRequest {
        etag: made[0].collection.as_ref().unwrap().etag.clone(),
        request_id: "fill".into(),
        ..mutate("a", vec![append(["p"])])
    };
    let twins = (0..100).map(|_| {
        let (mut client, request) = (client.clone(), request.clone());
        async move { client.mutate_children(request).await.unwrap().into_inner() }
    });
    let mut filled = join_all(twins).await;
    filled.dedup();
    assert_eq!(filled.len(), 1);
    assert_eq!(filled[0].results[0].added_count, 1);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_duplicates_over_rest_get_identical_responses(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let body = json!({
        "altId": "default", "altType": "location", "name": "One", "slug": "one",
    });
    let twins = (0..100).map(|_| {
        let url = format!("{}/products/collections", server.http);
        let request = server.client.post(url).header("version", "2021-07-28");
        let request = request.header("idempotency-key", "k").json(&body);
        async move {
            let response = request.send().await.unwrap();
            let etag = response.headers().get("etag").cloned();
            (response.status(), etag, response.bytes().await.unwrap())
        }
    });
    let mut responses = join_all(twins).await;
    responses.dedup();
    assert_eq!(responses.len(), 1, "{responses:?}");
    assert_eq!(responses[0].0, 201, "{responses:?}");
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn idempotency_keys_are_scoped_to_the_caller(#[values(Sqlite, Postgres)] engine: Engine) {
    let flags = Flags {
        auth: Some("keys".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let mut client = server.grpc().await;
    let mut make = async |key: &str, id: &str| {
        let mut request = tonic::Request::new(pb::CreateCollectionRequest {
            collection: Some(named(id, id)),
            request_id: "same".into(),
            ..Default::default()
        });
        let bearer = format!("Bearer {key}").parse().unwrap();
        request.metadata_mut().insert("authorization", bearer);
        client.create_collection(request).await
    };
    let [one, two] = [(); 2].map(|()| new_key(&server, "default", &["admin"], &[]));
    make(&one, "a").await.unwrap();
    let id = |response: tonic::Response<pb::CreateCollectionResponse>| {
        response.into_inner().collection.unwrap().id
    };
    assert_eq!(id(make(&two, "b").await.unwrap()), "b");
    let status = make(&one, "b").await.unwrap_err();
    assert_eq!(reason(&status), "REQUEST_ID_REUSED");
    assert_eq!(id(make(&one, "a").await.unwrap()), "a");
}

#[rstest]
#[tokio::test]
async fn stored_responses_are_deleted_after_a_day_in_the_background(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let flags = Flags {
        sweep_interval: Some("50ms".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let mut client = server.grpc().await;
    for id in ["old", "new"] {
        let request = pb::CreateCollectionRequest {
            collection: Some(named(id, id)),
            request_id: id.into(),
            ..Default::default()
        };
        client.create_collection(request).await.unwrap();
    }
    let db = sea_orm::Database::connect(&server.database).await.unwrap();
    let day = 24_i64 * 60 * 60 * 1_000_000;
    db.execute_unprepared(&format!(
        "UPDATE requests SET create_time = create_time - {day} WHERE request_id = 'old'"
    ))
    .await
    .unwrap();
    let left = || async {
        let names = Statement::from_string(
            db.get_database_backend(),
            "SELECT request_id FROM requests ORDER BY 1",
        );
        let rows = db.query_all_raw(names).await.unwrap();
        let names = rows.iter().map(|row| row.try_get_by_index(0).unwrap());
        names.collect::<Vec<String>>()
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while left().await.len() > 1 {
        assert!(Instant::now() < deadline, "the response was not deleted");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(left().await, ["new"]);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn two_concurrent_links_that_form_a_cycle_are_not_both_created(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    for round in 0..10 {
        let mut client = server.grpc().await;
        let (a, b) = (format!("a{round}"), format!("b{round}"));
        create(&mut client, &a).await;
        create(&mut client, &b).await;
        let link = |parent: &str, child: &str| {
            let mut client = client.clone();
            let request = pb::MutateChildrenRequest {
                child_type: pb::ChildType::Collection.into(),
                ..mutate(parent, vec![append([child])])
            };
            async move { client.mutate_children(request).await.is_ok() }
        };
        let (one, two) = tokio::join!(link(&a, &b), link(&b, &a));
        assert!(one != two, "exactly one link is created");
    }
}

/// Only for PostgreSQL, because SQLite has a single writer.
#[tokio::test]
async fn writers_of_different_lists_do_not_block_each_other() {
    let server = Server::start(Engine::Postgres, Flags::default()).await;
    let mut client = server.grpc().await;
    for id in ["held", "free"] {
        create(&mut client, id).await;
    }
    let db = sea_orm::Database::connect(&server.database).await.unwrap();
    let editor = db.begin().await.unwrap();
    editor
        .execute_unprepared("SELECT 1 FROM collections WHERE id = 'held' FOR UPDATE")
        .await
        .unwrap();

    let mut waits = tonic::Request::new(mutate("held", vec![append(["p"])]));
    waits.set_timeout(Duration::from_millis(500));
    let mut other = client.clone();
    let waits = tokio::spawn(async move { other.mutate_children(waits).await });
    let free = mutate("free", vec![append(["p"])]);
    client.mutate_children(free).await.unwrap();
    let status = waits.await.unwrap().unwrap_err();
    // The client's own deadline may expire first.
    assert!(
        matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled),
        "{status:?}"
    );
    editor.rollback().await.unwrap();
    // An aborted write leaves nothing behind, not even a lock.
    let held = mutate("held", vec![append(["q"])]);
    client.mutate_children(held).await.unwrap();
    assert_eq!(products(&mut client, "held").await, ["q"]);
}

/// A connection that is returned to its pool within a transaction would keep reading an old
/// snapshot.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_read_leaves_no_stale_snapshot_behind(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    create(&mut client, "a").await;
    let place = match engine {
        Sqlite => DatabasePlace::File(server.database.trim_start_matches("sqlite://").into()),
        Postgres => DatabasePlace::Url(server.database.clone()),
    };
    let store = Store::connect(&harness::database(place)).await.unwrap();
    let caller = Caller::operator(TenantId::trusted("default"));
    let reading = caller.reading().unwrap();
    for wait in 0..100 {
        let cancelled = async {
            for _ in 0..wait % 20 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            read = store.read(&reading) => drop(read.unwrap()),
            () = cancelled => {}
        }
        let write = mutate("a", vec![append([format!("p{wait}")])]);
        let written = client.mutate_children(write).await.unwrap().into_inner();
        // A single statement, which needs no transaction, on either connection.
        let key = Key::Id(CollectionId::trusted("a"));
        for _ in 0..2 {
            let tx = store.look_up(&reading).unwrap();
            let found = lineage::get(&tx, &key, Ancestors::Shown).await.unwrap();
            let found = found.unwrap().collection;
            let etag = written.collection.as_ref().unwrap().etag.as_str();
            assert_eq!(found.etag().to_string(), etag, "{wait}");
        }
    }
}
