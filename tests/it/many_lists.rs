//! Products that are removed from very many lists at once.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use endcap::{
    app,
    config::Flags,
    domain::{
        Caller, Change, Changes, ChildId, ChildType, CollectionId, DetailsChanges, Draft,
        ErrorKind, Kind, Locale, MapChange, Mutation, OnDuplicate, Position, ProductChanges,
        ProductId, Reason, TenantId, TextField,
    },
    grpc::pb,
    service::{
        ChildMutation, CreateCollection, DeleteCollection, DeleteProducts, Expected, Include, Key,
        Listing, Parents, ProductUpsert, Service, UpdateCollection, UpsertProducts,
    },
    store::{
        Engine::{self, Postgres, Sqlite},
        Store, check,
        children::Children,
        jobs,
    },
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use rstest::rstest;
use sea_orm::{ConnectionTrait as _, DbBackend, Statement, TransactionTrait as _};
use tempfile::TempDir;

use crate::{harness, product_ids::HOSTILE};

const LIST: ChildType = ChildType::Product;

async fn service(engine: Engine) -> (Service, Store, Caller, TempDir) {
    service_of(engine, None).await
}

/// A service that removes products from at most this many lists within a request.
async fn service_of(
    engine: Engine,
    max_lists_at_once: Option<&str>,
) -> (Service, Store, Caller, TempDir) {
    let flags = Flags {
        max_lists_at_once: max_lists_at_once.map(str::to_owned),
        ..Flags::default()
    };
    let (config, store, folder) = harness::migrated(engine, &flags).await;
    // Small segments, so that a list of a few products has several.
    let store = store.with_segment_target(4);
    let caller = Caller::operator(TenantId::trusted("default"));
    (app::service(&config, store.clone()), store, caller, folder)
}

/// The first ids are those that are hard to separate or quote.
fn id(number: usize) -> ChildId {
    match HOSTILE.get(number) {
        Some(id) => ChildId::trusted(id.as_str()),
        None => ChildId::trusted(format!("p{number}")),
    }
}

async fn make(service: &Service, caller: &Caller, name: &str, products: &[ChildId]) {
    let name_of = (
        (Locale::trusted("en"), TextField::DisplayName),
        name.to_owned(),
    );
    let command = CreateCollection {
        draft: Draft {
            id: Some(CollectionId::trusted(name)),
            kind: Kind::Manual,
            changes: Changes {
                texts: MapChange::to([name_of]),
                ..Changes::default()
            },
        },
        parents: Parents::None,
        products: products.iter().cloned().map(ProductId::from).collect(),
        include: Include::default(),
        retry: None,
    };
    service.execute(caller, command).await.unwrap();
}

async fn delete(service: &Service, caller: &Caller, numbers: &[usize]) -> Result<(), Reason> {
    let command = DeleteProducts {
        ids: numbers.iter().map(|n| ProductId::from(id(*n))).collect(),
        known_only: true,
        retry: None,
    };
    let done = service.execute(caller, command).await;
    done.map(drop).map_err(|error| error.reason)
}

/// Compares each list with its model, and checks all invariants.
async fn compare(store: &Store, caller: &Caller, model: &BTreeMap<String, Vec<ChildId>>) {
    let tx = store.read(&caller.reading().unwrap()).await.unwrap();
    for (name, expected) in model {
        let collection = CollectionId::trusted(name.as_str());
        let list = Children::uncached(&tx, &collection, LIST);
        assert_eq!(&list.all().await.unwrap(), expected, "{name}");
        let problems = check::problems(&tx, &collection).await.unwrap();
        let problems: Vec<_> = problems.iter().map(|problem| &problem.what).collect();
        assert!(problems.is_empty(), "{name}: {problems:?}");
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn deleted_products_are_removed_from_many_lists_consistently(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let (service, store, caller, _folder) = service(engine).await;
    let mut random = StdRng::seed_from_u64(5);
    let mut model = BTreeMap::new();
    for n in 0..100 {
        let mut ids: Vec<_> = (0..30).map(id).collect();
        ids.shuffle(&mut random);
        ids.truncate(random.random_range(1..=30));
        let name = format!("c{n:03}");
        make(&service, &caller, &name, &ids).await;
        model.insert(name, ids);
    }
    let names: Vec<String> = model.keys().cloned().collect();
    let versions = async || {
        let mut versions = BTreeMap::new();
        for name in &names {
            let key = Key::Id(CollectionId::trusted(name.as_str()));
            let detail = service.get_collection(&caller, key).await.unwrap();
            versions.insert(name.clone(), detail.collection.version);
        }
        versions
    };
    for numbers in [&[0][..], &[1, 2, 3, 4, 5, 6, 7, 8], &[9, 10]] {
        let before = versions().await;
        delete(&service, &caller, numbers).await.unwrap();
        let now = versions().await;
        for (name, ids) in &mut model.clone() {
            let had = ids.len();
            ids.retain(|one| numbers.iter().all(|n| *one != id(*n)));
            assert_eq!(now[name] > before[name], ids.len() < had, "{name}");
        }
        for ids in model.values_mut() {
            ids.retain(|one| numbers.iter().all(|n| *one != id(*n)));
        }
        compare(&store, &caller, &model).await;
        // A product that was removed from all lists does not exist.
        let again = delete(&service, &caller, &numbers[..1]).await;
        assert_eq!(again, Err(Reason::ProductNotFound));
    }
    // The lists can still be changed: no cached data about them is stale.
    for (name, ids) in &mut model {
        let mutations = vec![
            ChildMutation {
                list: LIST,
                mutation: Mutation::append(vec![id(99), id(98)]),
            },
            ChildMutation {
                list: LIST,
                mutation: Mutation::remove(vec![id(98)]),
            },
        ];
        let command = UpdateCollection {
            mutations,
            ..UpdateCollection::of(CollectionId::trusted(name.as_str()))
        };
        service.execute(&caller, command).await.unwrap();
        ids.push(id(99));
    }
    compare(&store, &caller, &model).await;
}

/// A product in so many lists that a job removes it after the response. Meanwhile it can't be
/// registered again.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_job_removes_a_deleted_product_from_very_many_lists(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    use crate::harness::{Server, create, mutate, products};
    const LISTS: usize = 120;
    let flags = || Flags {
        max_lists_at_once: Some("50".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags()).await;
    let mut client = server.grpc().await;
    let mut goods = server.products().await;
    for n in 0..LISTS {
        let name = format!("c{n}");
        create(&mut client, &name).await;
        let ids = ["first", "hot", "hotter", "last"];
        let fill = mutate(&name, vec![crate::harness::append(ids)]);
        client.mutate_children(fill).await.unwrap();
    }
    let upsert = |id: &str| pb::UpsertProductsRequest {
        products: vec![pb::Product {
            id: id.into(),
            title: "t".into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    goods.upsert_products(upsert("hot")).await.unwrap();
    let delete = pb::DeleteProductsRequest {
        ids: vec!["hot".into(), "hotter".into(), "nobody".into()],
        ..Default::default()
    };
    let deleted = goods.delete_products(delete).await.unwrap().into_inner();
    assert_eq!(deleted.missing_ids, ["nobody"]);
    let get = pb::GetProductRequest {
        product_id: "first".into(),
        ..Default::default()
    };
    // It is not removed from lists that it joins from now on.
    for n in 0..5 {
        let name = format!("later{n}");
        create(&mut client, &name).await;
        let fill = mutate(&name, vec![crate::harness::append(["hot"])]);
        let filled = client.mutate_children(fill).await.unwrap().into_inner();
        assert_eq!(filled.results[0].added_count, 1);
    }
    // It is not registered any more, whatever lists still contain it.
    let gone = pb::GetProductRequest {
        product_id: "hot".into(),
        ..get
    };
    let gone = goods.get_product(gone).await.unwrap_err();
    assert_eq!(gone.code(), tonic::Code::NotFound);
    let deadline = Instant::now() + Duration::from_secs(60);
    for id in ["hot", "hotter"] {
        while let Err(status) = goods.upsert_products(upsert(id)).await {
            assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
            assert!(status.message().contains("being deleted"));
            assert!(Instant::now() < deadline, "the job is not completed");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    for n in 0..LISTS {
        let name = format!("c{n}");
        assert_eq!(products(&mut client, &name).await, ["first", "last"]);
        let counted = crate::harness::get(&mut client, &name).await;
        assert_eq!(counted.unwrap().stats.unwrap().product_count, 2);
    }
    for n in 0..5 {
        let name = format!("later{n}");
        assert_eq!(products(&mut client, &name).await, ["hot"], "{name}");
    }
}

async fn until_deleted(store: &Store, caller: &Caller, product: &ChildId) {
    let product = ProductId::from(product.clone());
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let tx = store.read(&caller.reading().unwrap()).await.unwrap();
        let left = jobs::deleting(&tx, &[&product]).await.unwrap();
        if left.is_none() {
            return;
        }
        assert!(Instant::now() < deadline, "the job is not completed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Lists that the product rejoins before the job reaches them keep it, however it had left them.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_job_keeps_a_product_in_lists_that_it_rejoined(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let (service, store, caller, _folder) = service_of(engine, Some("2")).await;
    // A quote in the id, which statements must handle.
    let hot = ChildId::trusted("it's, hot");
    let both = [hot.clone(), id(98)];
    for name in [
        "emptied", "left", "made", "named", "put", "replaced", "same", "steps", "swapped",
    ] {
        make(&service, &caller, name, &both).await;
    }
    let ids = vec![ProductId::from(hot.clone())];
    let command = DeleteProducts {
        ids,
        known_only: true,
        retry: None,
    };
    service.execute(&caller, command).await.unwrap();
    let remove = || Mutation::remove(vec![hot.clone()]);
    let append = || Mutation::append(vec![hot.clone()]);
    let replace = |ids: &[ChildId]| Mutation::Replace { ids: ids.to_vec() };
    let insert = || Mutation::Insert {
        ids: vec![hot.clone()],
        position: Position::Index(0),
        on_duplicate: OnDuplicate::Error,
    };
    let requests = [
        ("steps", vec![remove()]),
        ("steps", vec![append()]),
        ("put", vec![remove()]),
        ("put", vec![insert()]),
        ("replaced", vec![replace(&[id(98)])]),
        ("replaced", vec![replace(&both)]),
        ("same", vec![remove(), append()]),
        ("emptied", vec![replace(&[]), append()]),
        ("swapped", vec![replace(&[id(98)]), append()]),
        // It never left this list.
        ("named", vec![append()]),
    ];
    for (name, mutations) in requests {
        let mutations = mutations.into_iter().map(|mutation| ChildMutation {
            list: LIST,
            mutation,
        });
        let command = UpdateCollection {
            mutations: mutations.collect(),
            ..UpdateCollection::of(CollectionId::trusted(name))
        };
        service.execute(&caller, command).await.unwrap();
    }
    let command = DeleteCollection {
        id: CollectionId::trusted("made"),
        force: false,
        etag: None,
        retry: None,
    };
    service.execute(&caller, command).await.unwrap();
    make(&service, &caller, "made", &both).await;

    let jobs = service.do_jobs("test", || std::future::ready(()));
    tokio::select! {
        () = jobs => unreachable!("jobs run until they are cancelled"),
        () = until_deleted(&store, &caller, &hot) => {}
    }
    let (before, after) = (vec![hot.clone(), id(98)], vec![id(98), hot.clone()]);
    let expected = [
        ("emptied", vec![hot]),
        ("left", vec![id(98)]),
        ("made", before.clone()),
        ("named", vec![id(98)]),
        ("put", before.clone()),
        ("replaced", before),
        ("same", after.clone()),
        ("steps", after.clone()),
        ("swapped", after),
    ];
    let expected = expected.map(|(name, ids)| (name.to_owned(), ids));
    compare(&store, &caller, &expected.into()).await;
}

/// The job reads the remaining lists again after locking their collections.
#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_job_rereads_its_lists_after_waiting_for_a_lock() {
    use crate::harness::{Server, create, mutate, products};
    let flags = Flags {
        max_lists_at_once: Some("2".into()),
        ..Flags::default()
    };
    let server = Server::start(Postgres, flags).await;
    let mut client = server.grpc().await;
    for name in ["a", "b", "c"] {
        create(&mut client, name).await;
        let fill = mutate(name, vec![crate::harness::append(["hot", "rest"])]);
        client.mutate_children(fill).await.unwrap();
    }
    let db = sea_orm::Database::connect(&server.database).await.unwrap();
    let any = async |sql: &str| {
        let sql = Statement::from_string(DbBackend::Postgres, sql);
        db.query_one_raw(sql).await.unwrap().is_some()
    };
    // Simulates another writer of the list, which has just added the product to it.
    let writer = db.begin().await.unwrap();
    let lock = "SELECT 1 FROM collections WHERE id = 'b' FOR UPDATE";
    writer.execute_unprepared(lock).await.unwrap();
    let delete = pb::DeleteProductsRequest {
        ids: vec!["hot".into()],
        ..Default::default()
    };
    let mut goods = server.products().await;
    goods.delete_products(delete).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let waits = "SELECT 1 FROM pg_stat_activity \
                 WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while !any(waits).await {
        assert!(Instant::now() < deadline, "the job does not wait");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let keep = "DELETE FROM job_lists WHERE collection_id = 'b'";
    writer.execute_unprepared(keep).await.unwrap();
    writer.commit().await.unwrap();
    while any("SELECT 1 FROM jobs").await {
        assert!(Instant::now() < deadline, "the job is not completed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for (name, expected) in [
        ("a", &["rest"][..]),
        ("b", &["hot", "rest"]),
        ("c", &["rest"]),
    ] {
        assert_eq!(products(&mut client, name).await, expected, "{name}");
    }
}

/// The error is not an internal one, which would be logged at level ERROR.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn registering_a_product_during_its_deletion_is_unavailable(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let (service, _store, caller, _folder) = service_of(engine, Some("2")).await;
    for name in ["a", "b", "c"] {
        make(&service, &caller, name, &[id(50)]).await;
    }
    delete(&service, &caller, &[50]).await.unwrap();
    let upsert = ProductUpsert {
        changes: ProductChanges {
            id: id(50).into(),
            title: Change::Set("again".into()),
            slug: Change::Keep,
            product_type: Change::Keep,
            attributes: MapChange::default(),
            details: DetailsChanges::default(),
            only_new: Vec::new(),
        },
        collections: Listing::Same,
    };
    let command = UpsertProducts {
        products: vec![upsert],
        expected: Expected::Any,
        completion: None,
        return_collections: true,
        retry: None,
    };
    let refused = service.execute(&caller, command).await.map(drop);
    let refused = refused.unwrap_err();
    assert_eq!(refused.reason, Reason::Overloaded);
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(!refused.is_ours());
    assert_eq!(
        refused.resource.as_ref().map(|it| it.id()),
        Some(id(50).as_str())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_with_an_expired_lease_is_continued_by_another_server() {
    use crate::harness::{Server, create, mutate, products};
    let flags = || Flags {
        max_lists_at_once: Some("20".into()),
        ..Flags::default()
    };
    let server = Server::start(Postgres, flags()).await;
    let mut client = server.grpc().await;
    for n in 0..60 {
        let name = format!("c{n}");
        create(&mut client, &name).await;
        let fill = mutate(&name, vec![crate::harness::append(["hot", "rest"])]);
        client.mutate_children(fill).await.unwrap();
    }
    let db = sea_orm::Database::connect(&server.database).await.unwrap();
    // The state after a server was killed when it had processed the lists up to c3, and its lease
    // has expired.
    let job = "INSERT INTO jobs (job_id, tenant_id, task, owner, lease_end, create_time) VALUES \
               ('j1', 'default', '{\"leave_lists\":{\"products\":[\"hot\"]}}', 'another', 1, 1)";
    let lists = "INSERT INTO job_lists (job_id, collection_id, child_id) \
                 SELECT 'j1', id, 'hot' FROM collections WHERE id > 'c3' AND id LIKE 'c%'";
    db.execute_unprepared(lists).await.unwrap();
    db.execute_unprepared(job).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let count = Statement::from_string(DbBackend::Postgres, "SELECT 1 FROM jobs");
    while db.query_one_raw(count.clone()).await.unwrap().is_some() {
        assert!(Instant::now() < deadline, "the job is not completed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for n in 0..60 {
        let name = format!("c{n}");
        let was_done = name.as_str() <= "c3";
        let expected: &[&str] = if was_done {
            &["hot", "rest"]
        } else {
            &["rest"]
        };
        assert_eq!(products(&mut client, &name).await, expected, "{name}");
    }
}
