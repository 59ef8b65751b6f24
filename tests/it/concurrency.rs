//! Many writers at once: nothing acknowledged is lost, nothing is there twice.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use endcap::{
    config::Flags,
    grpc::pb::{self, mutation::Operation},
    store::Engine,
};
use futures::future::join_all;
use sea_orm::{ConnectionTrait as _, TransactionTrait as _};
use tonic::Code;

use crate::harness::{Server, append, both, create, mutate, operation, products};

const WRITERS: usize = 64;
const WRITES: usize = 5;

fn insert_first(id: String) -> pb::Mutation {
    operation(Operation::Insert(pb::Insert {
        index: 0,
        ids: vec![id],
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_of_one_collection_all_succeed_in_some_order() {
    both(async |server: Server| {
        let mut client = server.grpc().await;
        create(&mut client, "a").await;
        let writers = (0..WRITERS).map(|writer| {
            let mut client = client.clone();
            async move {
                let mut acknowledged = Vec::new();
                for write in 0..WRITES {
                    let id = format!("{writer}-{write}");
                    // Half at the front, half at the end: the order tells who came when.
                    let mutation = if writer % 2 == 0 {
                        append([&id])
                    } else {
                        insert_first(id.clone())
                    };
                    let answer = client.mutate_children(mutate("a", vec![mutation])).await;
                    let answer = answer.unwrap().into_inner();
                    assert_eq!(answer.results[0].added_count, 1);
                    let collection = answer.collection.unwrap();
                    let version = i64::from_str_radix(&collection.etag, 16).unwrap();
                    let count = collection.stats.unwrap().product_count;
                    acknowledged.push((version, count, writer % 2 == 0, id));
                }
                acknowledged
            }
        });
        let mut all: Vec<_> = join_all(writers).await.into_iter().flatten().collect();
        all.sort();
        // The versions order the writes: each saw exactly those before it.
        let mut model = std::collections::VecDeque::new();
        for (at, (_, count, appended, id)) in all.into_iter().enumerate() {
            assert_eq!(count, at as i64 + 1);
            if appended {
                model.push_back(id);
            } else {
                model.push_front(id);
            }
        }
        assert_eq!(products(&mut client, "a").await, Vec::from(model));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_of_many_collections_all_succeed() {
    both(async |server: Server| {
        let client = server.grpc().await;
        let writers = (0..WRITERS).map(|writer| {
            let mut client = client.clone();
            async move {
                // Also the creates are concurrent: all go under the same root.
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
            list: pb::ChildList::Collections.into(),
            page_size: 1_000,
            ..Default::default()
        };
        let mut client = server.grpc().await;
        let page = client.list_children(request).await.unwrap().into_inner();
        let distinct: HashSet<_> = page.children.iter().map(|child| &child.id).collect();
        assert_eq!((page.total_size, distinct.len()), (WRITERS as i64, WRITERS));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_writers_with_one_etag_one_wins() {
    both(async |server: Server| {
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
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_links_that_make_a_circle_together_are_not_both_made() {
    both(async |server: Server| {
        for round in 0..10 {
            let mut client = server.grpc().await;
            let (a, b) = (format!("a{round}"), format!("b{round}"));
            create(&mut client, &a).await;
            create(&mut client, &b).await;
            let link = |parent: &str, child: &str| {
                let mut client = client.clone();
                let request = pb::MutateChildrenRequest {
                    list: pb::ChildList::Collections.into(),
                    ..mutate(parent, vec![append([child])])
                };
                async move { client.mutate_children(request).await.is_ok() }
            };
            let (one, two) = tokio::join!(link(&a, &b), link(&b, &a));
            assert!(one != two, "exactly one is made");
        }
    })
    .await;
}

/// SQLite has one writer, so this is about PostgreSQL.
#[tokio::test]
async fn editors_of_different_lists_do_not_wait_for_each_other() {
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
    // The client's own clock may say so first.
    assert!(
        matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled),
        "{status:?}"
    );
    editor.rollback().await.unwrap();
    // What gave up has left nothing, no lock either.
    let held = mutate("held", vec![append(["q"])]);
    client.mutate_children(held).await.unwrap();
    assert_eq!(products(&mut client, "held").await, ["q"]);
}
