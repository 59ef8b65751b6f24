//! Long lists: every kind of mutation, of half of the children.

use endcap::{
    grpc::pb::{self, child_mutation as op, child_mutation::Operation},
    store::Engine::{self, Postgres, Sqlite},
};
use rstest::rstest;

use crate::harness::{Server, create, get, mutate, operation};

/// Comparing each child with half of the others would take longer than the request timeout.
const CHILDREN: usize = 50_000;

fn ids(kind: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{kind}{n:05}")).collect()
}

/// Every kind of mutation of a list of [`ids`] `p`, and the number of children that it leaves.
fn kinds() -> Vec<(Operation, usize)> {
    let every_other = || ids("p", CHILDREN).into_iter().step_by(2);
    let half: Vec<_> = every_other().collect();
    let new = ids("new", CHILDREN / 2);
    let position = Some(pb::Position {
        position: Some(pb::position::Position::Index(CHILDREN as i32 / 3)),
    });
    let placements = every_other().rev().zip(0..).map(|(id, index)| {
        let index = Some(index);
        op::Placement { id, index }
    });
    let kinds = [
        Operation::Append(op::Append {
            ids: [half.clone(), new.clone()].concat(),
            ..op::Append::default()
        }),
        Operation::Insert(op::Insert {
            ids: [half.clone(), new.clone()].concat(),
            position: position.clone(),
            ..op::Insert::default()
        }),
        Operation::Remove(op::Remove {
            ids: [half.clone(), new.clone()].concat(),
            ..op::Remove::default()
        }),
        Operation::MoveRange(op::MoveRange {
            first_index: Some(0),
            last_index: Some(CHILDREN as i32 / 2),
            position: position.clone(),
        }),
        Operation::MoveIds(op::MoveIds {
            ids: half.clone(),
            position,
        }),
        Operation::Reorder(op::Reorder {
            placements: placements.collect(),
        }),
        Operation::Replace(op::Replace { ids: half }),
    ];
    let left = |kind: &Operation| match kind {
        Operation::Append(_) | Operation::Insert(_) => CHILDREN + new.len(),
        Operation::MoveRange(_) | Operation::MoveIds(_) | Operation::Reorder(_) => CHILDREN,
        Operation::Remove(_) | Operation::Replace(_) => CHILDREN / 2,
    };
    kinds
        .into_iter()
        .map(|it| (it.clone(), left(&it)))
        .collect()
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn half_of_a_long_list_is_changed_within_the_request_timeout(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    create(&mut client, "long").await;
    for (kind, left) in kinds() {
        let all = Operation::Replace(op::Replace {
            ids: ids("p", CHILDREN),
        });
        for kind in [all, kind] {
            let request = mutate("long", vec![operation(kind)]);
            client.mutate_children(request).await.unwrap();
        }
        let count = get(&mut client, "long").await.unwrap().stats.unwrap();
        assert_eq!(count.product_count as usize, left);
    }
}
