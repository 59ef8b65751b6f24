//! How PostgreSQL finds the rows of a long list: by their keys, with statistics and
//! without them, and whatever plan it keeps for a prepared statement.

use std::sync::{Arc, Mutex};

use endcap::{
    app,
    config::Flags,
    domain::{Caller, ChildId, ChildType, CollectionId, Mutation, OnDuplicate, Position, TenantId},
    service::{ChildMutation, ChildStart, ListChildren, Service, UpdateCollection},
    store::{Database, DatabasePlace, Store},
};
use sea_orm::{ConnectionTrait as _, DatabaseConnection, Statement, TransactionTrait as _};
use serde_json::Value;

use crate::postgres;

const CHILDREN: usize = 60_000;
/// What a statement may read: each below names a hundred children at most, which are in
/// as many segments.
const MOST_ROWS: f64 = 1_000.0;
const LIST: ChildType = ChildType::Product;

fn id(number: usize) -> ChildId {
    ChildId::trusted(format!("p{number}"))
}

/// A hundred children from all over the list.
fn scattered() -> Vec<ChildId> {
    (0..100).map(|n| id(n * CHILDREN / 100)).collect()
}

async fn mutate(service: &Service, caller: &Caller, mutation: Mutation) {
    let command = UpdateCollection {
        mutations: vec![ChildMutation {
            list: LIST,
            mutation,
        }],
        ..UpdateCollection::of(CollectionId::root())
    };
    service.execute(caller, command).await.unwrap();
}

/// Every operation on the long list that names few of its children.
async fn operate(service: &Service, caller: &Caller) {
    let range = Mutation::MoveRange {
        first: 50_000,
        last: 50_000,
        position: Position::Index(3),
    };
    let indexes = scattered().into_iter().zip((0..100).map(|n| n * 7));
    let mutations = [
        range,
        Mutation::MoveIds {
            ids: scattered(),
            position: Position::Index(30_000),
        },
        Mutation::Reorder {
            placements: indexes.collect(),
        },
        Mutation::remove(scattered()),
        Mutation::Insert {
            ids: scattered(),
            position: Position::Index(9),
            on_duplicate: OnDuplicate::Ignore,
        },
    ];
    for mutation in mutations {
        mutate(service, caller, mutation).await;
    }
    let root = CollectionId::root();
    let child = id(31_234);
    service
        .get_child(caller, &root, LIST, &child)
        .await
        .unwrap();
    let page = ListChildren {
        collection: root,
        list: LIST,
        start: ChildStart::Index(44_000),
        size: 50,
    };
    service.list_children(caller, page).await.unwrap();
}

/// The most rows that a part of the plan read of a table of children, kept or not.
fn rows_read(plan: &Value) -> f64 {
    let number = |name: &str| plan[name].as_f64().unwrap_or_default();
    let own = match plan["Relation Name"].as_str() {
        Some("members" | "segment_contents") if plan["Node Type"] != "ModifyTable" => {
            (number("Actual Rows") + number("Rows Removed by Filter")) * number("Actual Loops")
        }
        _ => 0.0,
    };
    let parts = plan["Plans"].as_array().into_iter().flatten();
    parts.map(rows_read).fold(own, f64::max)
}

async fn explain(db: &DatabaseConnection, statement: &Statement, mode: &str) {
    let tx = db.begin().await.unwrap();
    let set = format!("SET LOCAL plan_cache_mode = {mode}");
    tx.execute_unprepared(&set).await.unwrap();
    let explained = Statement {
        sql: format!("EXPLAIN (ANALYZE, FORMAT JSON) {}", statement.sql),
        ..statement.clone()
    };
    let row = tx.query_one_raw(explained).await.unwrap().unwrap();
    let plans: Value = row.try_get_by_index(0).unwrap();
    let read = rows_read(&plans[0]["Plan"]);
    assert!(
        read <= MOST_ROWS,
        "{mode}: {read} rows read by {}: {plans:#}",
        statement.sql
    );
    tx.rollback().await.unwrap();
}

#[tokio::test]
async fn no_plan_reads_a_whole_list_to_find_a_few() {
    let url = postgres::new_database().await;
    let sent: Arc<Mutex<Vec<Statement>>> = Arc::default();
    let record = Arc::clone(&sent);
    let mut store = Store::connect(&Database {
        place: DatabasePlace::Url(url.clone()),
        max_connections: 2,
        acquire_timeout: std::time::Duration::from_secs(10),
        statement_timeout: None,
    })
    .await
    .unwrap();
    store.on_statement(move |info| record.lock().unwrap().push(info.statement.clone()));
    store.migrate().await.unwrap();
    let config = app::config(&Flags::default(), None).unwrap();
    let service = app::service(&config, store);
    let caller = Caller::operator(TenantId::trusted("default"));
    let all = Mutation::append((0..CHILDREN).map(id).collect());
    mutate(&service, &caller, all).await;
    sent.lock().unwrap().clear();
    operate(&service, &caller).await;

    let about = |statement: &Statement| {
        let sql = &statement.sql;
        // New rows are looked for nowhere, and can't be put in twice.
        let looks = !sql.starts_with("INSERT") || sql.contains("ON CONFLICT");
        looks && (sql.contains("members") || sql.contains("segment_contents"))
    };
    let mut statements = std::mem::take(&mut *sent.lock().unwrap());
    statements.retain(about);
    assert!(statements.len() > 15, "{statements:?}");
    let db = sea_orm::Database::connect(url).await.unwrap();
    for analyze in ["SELECT 1", "ANALYZE"] {
        db.execute_unprepared(analyze).await.unwrap();
        for statement in &statements {
            for mode in ["force_custom_plan", "force_generic_plan"] {
                explain(&db, statement, mode).await;
            }
        }
    }
}
