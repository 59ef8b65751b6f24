//! Pages of children while others move: each child that does not move is returned once.

use std::collections::{HashMap, HashSet};

use endcap::grpc::pb::{self, ChildType, collection_service_client::CollectionServiceClient};
use endcap::store::Engine::{self, Postgres, Sqlite};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use rstest::rstest;
use tonic::transport::Channel;

use crate::harness::{Server, append, create, move_range, mutate, products};

const CHILDREN: i32 = 400;

async fn page(
    client: &mut CollectionServiceClient<Channel>,
    id: &str,
    request: pb::ListChildrenRequest,
) -> pb::ListChildrenResponse {
    let request = pb::ListChildrenRequest {
        collection_id: id.into(),
        child_type: ChildType::Product.into(),
        page_size: 30,
        ..request
    };
    client.list_children(request).await.unwrap().into_inner()
}

/// Moves a few children to other positions, and returns which.
async fn disturb(
    client: &mut CollectionServiceClient<Channel>,
    id: &str,
    random: &mut StdRng,
) -> Vec<String> {
    let mut moved = Vec::new();
    for _ in 0..random.random_range(0..4) {
        let size = random.random_range(1..6);
        let from_start = random.random_range(0..CHILDREN - size);
        let to = random.random_range(0..CHILDREN - size);
        let list = products(client, id).await;
        let from_end = from_start + size - 1;
        moved.extend_from_slice(&list[from_start as usize..=from_end as usize]);
        let request = mutate(id, vec![move_range(from_start, from_end, to)]);
        client.mutate_children(request).await.unwrap();
    }
    moved
}

/// Reads the whole list in one direction, with moves between the pages.
async fn walk(client: &mut CollectionServiceClient<Channel>, id: &str, seed: u64, back: bool) {
    let mut random = StdRng::seed_from_u64(seed);
    let all = products(client, id).await;
    let mut moved = HashSet::new();
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut request = pb::ListChildrenRequest::default();
    if back {
        // The last page has a previous page.
        request.start_index = CHILDREN - 30;
    }
    loop {
        let response = page(client, id, request).await;
        for child in response.children {
            *seen.entry(child.id).or_default() += 1;
        }
        let page_token = if back {
            response.previous_page_token
        } else {
            response.next_page_token
        };
        if page_token.is_empty() {
            break;
        }
        request = pb::ListChildrenRequest {
            page_token,
            ..Default::default()
        };
        moved.extend(disturb(client, id, &mut random).await);
    }
    for id in all.iter().filter(|id| !moved.contains(*id)) {
        assert_eq!(seen.get(id), Some(&1), "{id}, seed {seed}, back {back}");
    }
}

#[rstest]
#[tokio::test]
async fn children_that_do_not_move_appear_once_across_pages(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    for seed in 0..20 {
        let id = format!("c{seed}");
        create(&mut client, &id).await;
        let fill = mutate(&id, vec![append(0..CHILDREN)]);
        client.mutate_children(fill).await.unwrap();
        walk(&mut client, &id, seed, seed % 2 == 1).await;
    }
}

#[rstest]
#[tokio::test]
async fn pages_go_forwards_and_backwards(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    create(&mut client, "a").await;
    client
        .mutate_children(mutate("a", vec![append(0..100)]))
        .await
        .unwrap();
    let first = page(&mut client, "a", pb::ListChildrenRequest::default()).await;
    assert_eq!(first.previous_page_token, "");
    let token = |page_token: &str| pb::ListChildrenRequest {
        page_token: page_token.into(),
        ..Default::default()
    };
    let second = page(&mut client, "a", token(&first.next_page_token)).await;
    assert_eq!((second.children[0].index, second.children.len()), (30, 30));
    let back = page(&mut client, "a", token(&second.previous_page_token)).await;
    assert_eq!(back.children, first.children);
    assert_eq!(back.previous_page_token, "");
    let again = page(&mut client, "a", token(&back.next_page_token)).await;
    assert_eq!(again.children, second.children);
    let last = page(
        &mut client,
        "a",
        pb::ListChildrenRequest {
            start_index: 95,
            ..Default::default()
        },
    )
    .await;
    assert_eq!(
        (last.children.len(), last.next_page_token.as_str()),
        (5, "")
    );
    let before = page(&mut client, "a", token(&last.previous_page_token)).await;
    assert_eq!(
        (before.children[0].index, before.children[29].index),
        (65, 94)
    );
}
