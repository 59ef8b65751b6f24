//! Concurrent writers of the same data: two that set the collections of a product or the parents
//! of a collection, and the locks of links and assignments. Each outcome must be that of a serial
//! execution, and no two writers may deadlock.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use endcap::store::Engine::{self, Postgres, Sqlite};
use endcap::{
    app,
    config::Flags,
    domain::{
        Caller, Change, ChildId, ChildType, CollectionId, DetailsChanges, Error, MapChange,
        Mutation, ProductChanges, ProductId, Reason, TenantId,
    },
    grpc::pb,
    service::{
        AssignProducts, Assignment, ChildMutation, Command, DeleteProducts, Expected, Listing,
        MoveCollection, Movement, ProductUpsert, Service, TargetPosition, UpdateCollection,
        UpsertProducts,
    },
    store::Store,
};
use futures::future::join_all;
use rstest::rstest;
use sea_orm::{ConnectionTrait as _, DbBackend, Statement, TransactionTrait as _};

use crate::harness::{Server, append, create, get, mutate, named, operation};

const ROUNDS: usize = 40;

/// A service on the server's database, like another replica.
async fn replica(server: &Server) -> (Service, Caller) {
    let mut config = app::config(&Flags::default(), None).unwrap();
    config.database.place = endcap::store::DatabasePlace::Url(server.database.clone());
    if let Some(file) = server.database.strip_prefix("sqlite://") {
        config.database.place = endcap::store::DatabasePlace::File(file.into());
    }
    let store = Store::connect(&config.database).await.unwrap();
    let caller = Caller::operator(TenantId::trusted("default"));
    (app::service(&config, store), caller)
}

fn collection(id: &str) -> CollectionId {
    CollectionId::trusted(id)
}

fn product(id: &str) -> ProductId {
    ProductId::trusted(id)
}

/// Upserts a product with the only collection that is to contain it.
fn upsert(id: &str, only: &str) -> UpsertProducts {
    UpsertProducts {
        products: vec![ProductUpsert {
            changes: ProductChanges {
                id: product(id),
                title: Change::Set("P".into()),
                slug: Change::Keep,
                product_type: Change::Keep,
                attributes: MapChange::default(),
                details: DetailsChanges::default(),
                only_new: Vec::new(),
            },
            collections: Listing::Only(BTreeSet::from([collection(only)])),
        }],
        expected: Expected::Any,
        completion: None,
        return_collections: true,
        retry: None,
    }
}

fn move_product(id: &str, to: &str) -> AssignProducts {
    AssignProducts {
        products: vec![product(id)],
        collections: vec![collection(to)],
        assignment: Assignment::Move { from: None },
        return_products: false,
        retry: None,
    }
}

fn move_to(child: &str, to: &str) -> MoveCollection {
    MoveCollection {
        child: collection(child),
        movement: Movement::Move {
            from: None,
            to: collection(to),
            at: TargetPosition::Any,
        },
        retry: None,
    }
}

fn reparent(child: &str, to: &str) -> UpdateCollection {
    UpdateCollection {
        parents: Some(BTreeSet::from([collection(to)])),
        ..UpdateCollection::of(collection(child))
    }
}

async fn parents_of(server: &Server, child_type: pb::ChildType, id: &str) -> Vec<String> {
    let request = pb::ListParentsRequest {
        child_type: child_type.into(),
        child_id: id.into(),
        ..Default::default()
    };
    let page = server.grpc().await.list_parents(request).await.unwrap();
    let parents = page.into_inner().parents.into_iter();
    parents.map(|parent| parent.collection_id).collect()
}

/// Two replicas concurrently move the same child, each to another collection. Whichever commits
/// last, the child must be in exactly one.
async fn one_of_two<C: Command + 'static>(
    server: &Server,
    child_type: pb::ChildType,
    ids: impl Fn(usize) -> String,
    command: impl Fn(&str, &str) -> C,
) {
    let (one, caller) = replica(server).await;
    let (two, _) = replica(server).await;
    for round in 0..ROUNDS {
        let id = ids(round);
        let first = one.execute(&caller, command(&id, "x"));
        let second = two.execute(&caller, command(&id, "y"));
        let (first, second) = tokio::join!(first, second);
        for error in [first.err(), second.err()].into_iter().flatten() {
            // It was moved there in the previous round.
            assert_eq!(error.reason, Reason::ChildAlreadyInList, "{error:?}");
        }
        let parents = parents_of(server, child_type, &id).await;
        assert_eq!(parents.len(), 1, "round {round}: {parents:?}");
    }
}

async fn with_x_and_y(server: &Server) {
    let mut client = server.grpc().await;
    for id in ["x", "y"] {
        create(&mut client, id).await;
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_moves_leave_a_product_in_one_collection(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    with_x_and_y(&server).await;
    let products = pb::ChildType::Product;
    // A new product in each round, then the same registered one, and an unregistered one.
    one_of_two(&server, products, |round| format!("new{round}"), upsert).await;
    one_of_two(&server, products, |_| "known".into(), upsert).await;
    one_of_two(&server, products, |_| "known".into(), move_product).await;
    one_of_two(&server, products, |round| format!("u{round}"), move_product).await;
    one_of_two(&server, products, |_| "unregistered".into(), move_product).await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_moves_leave_a_collection_under_one_parent(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    with_x_and_y(&server).await;
    let mut client = server.grpc().await;
    create(&mut client, "child").await;
    let collections = pb::ChildType::Collection;
    one_of_two(&server, collections, |_| "child".into(), reparent).await;
    one_of_two(&server, collections, |_| "child".into(), move_to).await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_upserts_of_different_fields_are_both_kept(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let (one, caller) = replica(&server).await;
    let (two, _) = replica(&server).await;
    let command = |id: &str, is_slug: bool| {
        let mut command = upsert(id, "rootCategory");
        let changes = &mut command.products[0].changes;
        let text = || Change::Set("set".to_owned());
        if is_slug {
            changes.slug = text();
        } else {
            changes.product_type = text();
        }
        command.products[0].collections = Listing::Same;
        command
    };
    for round in 0..ROUNDS {
        let id = format!("p{round}");
        let (first, second) = tokio::join!(
            one.execute(&caller, command(&id, true)),
            two.execute(&caller, command(&id, false))
        );
        first.unwrap();
        second.unwrap();
        let found = one.get_product(&caller, product(&id)).await.unwrap();
        let found = found.product.unwrap();
        assert_eq!((&*found.slug, &*found.product_type), ("set", "set"));
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_concurrent_delete_and_move_of_a_product_are_serialized(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    with_x_and_y(&server).await;
    let (one, caller) = replica(&server).await;
    let (two, _) = replica(&server).await;
    for round in 0..ROUNDS {
        let id = format!("p{round}");
        one.execute(&caller, upsert(&id, "x")).await.unwrap();
        let delete = DeleteProducts {
            ids: vec![product(&id)],
            known_only: false,
            retry: None,
        };
        let (deleted, moved) = tokio::join!(
            one.execute(&caller, delete),
            two.execute(&caller, move_product(&id, "y"))
        );
        deleted.unwrap();
        moved.unwrap();
        // If the delete commits last, it is in no collection; if the move does, in the target.
        let parents = parents_of(&server, pb::ChildType::Product, &id).await;
        assert!(parents.is_empty() || parents == ["y"], "{parents:?}");
    }
}

/// Appending a product to a collection locks only that collection, and may happen between the reads
/// of writers that set all collections of the product. None may fail with an internal error.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_appends_cause_no_internal_error(#[values(Sqlite, Postgres)] engine: Engine) {
    const LISTS: usize = 6;
    const TIMES: usize = 60;
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    for n in 0..LISTS {
        create(&mut client, &format!("c{n}")).await;
    }
    let (service, caller) = replica(&server).await;
    let change = |append: bool, worker: usize| {
        let (service, caller) = (service.clone(), caller.clone());
        async move {
            for turn in 0..TIMES {
                let ids = vec![ChildId::from(product("p"))];
                let mutation = if append {
                    Mutation::append(ids)
                } else {
                    Mutation::remove(ids)
                };
                let id = format!("c{}", (turn * 5 + worker) % LISTS);
                let command = UpdateCollection {
                    mutations: vec![ChildMutation {
                        list: ChildType::Product,
                        mutation,
                    }],
                    ..UpdateCollection::of(collection(&id))
                };
                service.execute(&caller, command).await?;
            }
            Ok(())
        }
    };
    let set = |worker: usize| {
        let (service, caller) = (service.clone(), caller.clone());
        async move {
            for turn in 0..TIMES {
                let to = format!("c{}", turn % LISTS);
                if worker == 0 {
                    let command = DeleteProducts {
                        ids: vec![product("p")],
                        known_only: false,
                        retry: None,
                    };
                    service.execute(&caller, command).await?;
                } else if worker == 1 {
                    service.execute(&caller, upsert("p", &to)).await?;
                } else {
                    service.execute(&caller, move_product("p", &to)).await?;
                }
            }
            Ok(())
        }
    };
    let mut tasks = Vec::new();
    for worker in 0..3 {
        tasks.push(tokio::spawn(change(true, worker)));
        tasks.push(tokio::spawn(change(false, worker + 1)));
        tasks.push(tokio::spawn(set(worker)));
    }
    for done in join_all(tasks).await {
        let done: Result<(), Error> = done.unwrap();
        // Constant conflicts with others are not an internal error.
        if let Err(error) = done {
            assert_eq!(error.reason, Reason::DatabaseUnavailable, "{error:?}");
        }
    }
}

/// A collection that is deleted and recreated while a writer waits for its lock is not among those
/// that the writer has locked. The writer must retry, since the collection contains the product.
#[tokio::test(flavor = "multi_thread")]
async fn a_product_delete_reaches_a_collection_recreated_meanwhile() {
    let server = Server::new(Engine::Postgres).await;
    let mut client = server.grpc().await;
    create(&mut client, "z").await;
    let fill = mutate("z", vec![append(["p"])]);
    client.mutate_children(fill).await.unwrap();
    let (service, caller) = replica(&server).await;
    let delete = DeleteProducts {
        ids: vec![product("p")],
        known_only: false,
        retry: None,
    };
    let beside = sea_orm::Database::connect(&server.database).await.unwrap();
    let beside = beside.begin().await.unwrap();
    for statement in [
        "CREATE TEMPORARY TABLE kept ON COMMIT DROP AS SELECT * FROM collections WHERE id = 'z'",
        "DELETE FROM collections WHERE id = 'z'",
    ] {
        beside.execute_unprepared(statement).await.unwrap();
    }
    let deleting = tokio::spawn(async move { service.execute(&caller, delete).await });
    server.waits_for_a_lock().await;
    let anew = "INSERT INTO collections SELECT * FROM kept";
    beside.execute_unprepared(anew).await.unwrap();
    beside.commit().await.unwrap();
    deleting.await.unwrap().unwrap();
    let collections = parents_of(&server, pb::ChildType::Product, "p").await;
    assert!(collections.is_empty(), "{collections:?}");
}

async fn deadlocks(server: &Server) -> i64 {
    let db = sea_orm::Database::connect(&server.database).await.unwrap();
    let sql = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    let row = db
        .query_one_raw(Statement::from_string(DbBackend::Postgres, sql))
        .await
        .unwrap();
    row.unwrap().try_get_by_index(0).unwrap()
}

/// Runs `linkers` clients that link and unlink `a` under `b`, and three that assign products to
/// both. Returns how many links and assignments succeeded.
async fn link_and_assign(server: &Server, linkers: usize, time: Duration) -> (u64, u64) {
    let (service, caller) = replica(server).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let (links, assignments) = (AtomicU64::new(0), AtomicU64::new(0));
    let link = async |_: usize| {
        for n in 0.. {
            if is_over.load(Ordering::Relaxed) {
                return;
            }
            let ids = vec![ChildId::trusted("a")];
            let mutation = match n % 2 {
                0 => Mutation::append(ids),
                _ => Mutation::remove(ids),
            };
            let command = UpdateCollection {
                mutations: vec![endcap::service::ChildMutation {
                    list: ChildType::Collection,
                    mutation,
                }],
                ..UpdateCollection::of(collection("b"))
            };
            service.execute(&caller, command).await.unwrap();
            links.fetch_add(1, Ordering::Relaxed);
        }
    };
    let assign = async |client: usize| {
        for n in 0_usize.. {
            if is_over.load(Ordering::Relaxed) {
                return;
            }
            let command = AssignProducts {
                products: vec![product(&format!("p{client}-{}", n % 50))],
                collections: vec![collection("a"), collection("b")],
                assignment: if n % 100 < 50 {
                    Assignment::Link
                } else {
                    Assignment::Unlink
                },
                return_products: false,
                retry: None,
            };
            service.execute(&caller, command).await.unwrap();
            assignments.fetch_add(1, Ordering::Relaxed);
        }
    };
    let end = async {
        tokio::time::sleep(time).await;
        is_over.store(true, Ordering::Relaxed);
    };
    tokio::join!(
        join_all((0..linkers).map(link)),
        join_all((0..3).map(assign)),
        end
    );
    (links.into_inner(), assignments.into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_links_and_assignments_do_not_deadlock() {
    let server = Server::start(Engine::Postgres, Flags::default()).await;
    let mut client = server.grpc().await;
    for id in ["a", "b"] {
        create(&mut client, id).await;
    }
    // Longer by hand, with `-- --nocapture` to see the numbers.
    let seconds = std::env::var("ENDCAP_RACE_SECONDS");
    let seconds = seconds.map_or(2, |seconds| seconds.parse().unwrap());
    let time = Duration::from_secs(seconds);
    let before = deadlocks(&server).await;
    let (_, alone) = link_and_assign(&server, 0, time).await;
    let (links, beside) = link_and_assign(&server, 2, time).await;
    let found = deadlocks(&server).await - before;
    eprintln!("{alone} assignments alone; {beside} beside {links} links; {found} deadlocks");
    assert!(links > 10 && beside > 10, "{links}, {beside}");
    assert_eq!(found, 0);
}

#[rstest]
#[tokio::test]
async fn a_collection_version_is_never_reused(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    let db = sea_orm::Database::connect(&server.database).await.unwrap();
    let mut last = 0;
    for round in 0..5 {
        let made = create(&mut client, "a").await;
        let version = i64::from_str_radix(&made.etag, 16).unwrap();
        assert!(version > last, "round {round}: {version} after {last}");
        // The state after the clock was set back by an hour.
        let hour = 3_600_000_000_i64;
        db.execute_unprepared(&format!(
            "UPDATE collections SET version = version + {hour} WHERE id = 'a'"
        ))
        .await
        .unwrap();
        let ahead = get(&mut client, "a").await.unwrap();
        last = i64::from_str_radix(&ahead.etag, 16).unwrap();
        let request = mutate("a", vec![append(["p"])]);
        let mutated = client.mutate_children(request).await.unwrap().into_inner();
        let mutated = mutated.collection.unwrap();
        let version = i64::from_str_radix(&mutated.etag, 16).unwrap();
        assert!(version > last, "round {round}: {version} after {last}");
        last = version;
        let delete = pb::DeleteCollectionRequest {
            collection_id: "a".into(),
            ..Default::default()
        };
        client.delete_collection(delete).await.unwrap();
    }
}

#[rstest]
#[tokio::test]
async fn an_unwritten_root_has_a_stable_etag(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    let first = get(&mut client, "rootCategory").await.unwrap();
    let again = get(&mut client, "rootCategory").await.unwrap();
    assert_eq!(first, again);
    // This creates the tenant, and the root keeps its version.
    let orphan = pb::CreateCollectionRequest {
        collection: Some(named("a", "A")),
        orphaned: true,
        ..Default::default()
    };
    client.create_collection(orphan).await.unwrap();
    let made = get(&mut client, "rootCategory").await.unwrap();
    assert_eq!(made.etag, first.etag);
    let rename = pb::UpdateCollectionRequest {
        collection: Some(pb::Collection {
            internal_name: "renamed".into(),
            etag: first.etag.clone(),
            id: "rootCategory".into(),
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["internal_name".into()],
        }),
        ..Default::default()
    };
    client.update_collection(rename.clone()).await.unwrap();
    let written = get(&mut client, "rootCategory").await.unwrap();
    assert_ne!(written.etag, first.etag);
    client.update_collection(rename).await.unwrap_err();
}

async fn graph_version(server: &Server) -> i64 {
    let db = sea_orm::Database::connect(&server.database).await.unwrap();
    let sql = "SELECT graph_version FROM tenants WHERE tenant_id = 'default'";
    let sql = Statement::from_string(db.get_database_backend(), sql);
    let row = db.query_one_raw(sql).await.unwrap();
    row.unwrap().try_get_by_index(0).unwrap()
}

#[rstest]
#[tokio::test]
async fn the_graph_version_changes_when_other_collections_are_affected(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    for id in ["a", "b", "leaf"] {
        create(&mut client, id).await;
    }
    let mut last = graph_version(&server).await;
    let mut moved = async || {
        let now = graph_version(&server).await;
        let moved = now > last;
        last = now;
        moved
    };
    let link = |remove: bool| {
        let ids = vec!["b".to_owned()];
        let mutation = if remove {
            operation(pb::child_mutation::Operation::Remove(
                pb::child_mutation::Remove {
                    ids,
                    ..Default::default()
                },
            ))
        } else {
            append(ids)
        };
        pb::MutateChildrenRequest {
            child_type: pb::ChildType::Collection.into(),
            ..mutate("a", vec![mutation])
        }
    };
    let active = pb::UpdateCollectionRequest {
        collection: Some(pb::Collection {
            id: "a".into(),
            active: pb::Active::No.into(),
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["active".into()],
        }),
        ..Default::default()
    };
    let delete = |id: &str, force| pb::DeleteCollectionRequest {
        collection_id: id.into(),
        force,
        ..Default::default()
    };
    create(&mut client, "another").await;
    assert!(!moved().await, "a new leaf affects no other collection");
    client.mutate_children(link(false)).await.unwrap();
    assert!(moved().await, "b has a new parent");
    client.mutate_children(link(true)).await.unwrap();
    assert!(moved().await, "b was unlinked from a parent");
    client
        .mutate_children(mutate("a", vec![append(["p"])]))
        .await
        .unwrap();
    assert!(!moved().await, "products are not in the graph");
    client.update_collection(active.clone()).await.unwrap();
    assert!(moved().await, "the descendants of a are hidden");
    client.update_collection(active).await.unwrap();
    assert!(!moved().await, "nothing changed");
    client
        .delete_collection(delete("leaf", false))
        .await
        .unwrap();
    assert!(!moved().await, "a deleted leaf affects no other one");
    client.mutate_children(link(false)).await.unwrap();
    assert!(moved().await);
    client.delete_collection(delete("a", true)).await.unwrap();
    assert!(moved().await, "b has lost its parent");
}

/// Both replicas write to one PostgreSQL, each with a directory cache of its own. Each response
/// must match the model's.
#[tokio::test(flavor = "multi_thread")]
async fn writes_from_two_replicas_match_the_model() {
    use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
    let server = Server::start(Engine::Postgres, Flags::default()).await;
    let mut client = server.grpc().await;
    create(&mut client, "list").await;
    let replicas = [replica(&server).await, replica(&server).await];
    let mut random = StdRng::seed_from_u64(7);
    let mut model: Vec<ChildId> = Vec::new();
    let id = |n: u32| ChildId::trusted(format!("p{n}"));
    let deadline = Instant::now() + Duration::from_secs(60);
    for step in 0..300 {
        assert!(Instant::now() < deadline, "step {step}");
        let some = (0..random.random_range(1..8)).map(|_| id(random.random_range(0..600)));
        let some: Vec<_> = some.collect();
        let mutation = match random.random_range(0..4) {
            0 | 1 => Mutation::append(some),
            2 => Mutation::remove(some),
            _ => {
                let n = model.len() as u64;
                let first = random.random_range(0..n.max(1));
                Mutation::MoveRange {
                    first,
                    last: first,
                    position: endcap::domain::Position::Index(random.random_range(0..n.max(1))),
                }
            }
        };
        let mut expected = model.clone();
        let outcome = crate::children::apply(&mut expected, &mutation);
        let command = UpdateCollection {
            mutations: vec![endcap::service::ChildMutation {
                list: ChildType::Product,
                mutation,
            }],
            ..UpdateCollection::of(collection("list"))
        };
        let (service, caller) = &replicas[random.random_range(0..2)];
        match (outcome, service.execute(caller, command).await) {
            (Some(outcome), Ok(endcap::service::Executed::New(updated))) => {
                assert_eq!(updated.outcomes, [outcome], "step {step}");
                model = expected;
            }
            (None, Err(error)) => assert!(!error.is_ours(), "{error:?}"),
            (outcome, got) => panic!("step {step}: expected {outcome:?}, got {got:?}"),
        }
    }
    let mut client = server.grpc().await;
    let stored = crate::harness::products(&mut client, "list").await;
    let model: Vec<_> = model.iter().map(ToString::to_string).collect();
    assert_eq!(stored, model);
}
