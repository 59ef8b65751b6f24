//! The read cache: a cached response must equal what a read from the database would return.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use endcap::{
    app,
    config::Flags,
    domain::{
        Caller, Changes, ChildType, CollectionId, Consistency, Draft, Kind, Locale, MapChange,
        Reason, TenantId, TextField, page::PageBytes,
    },
    grpc::pb::{
        self, collection_service_client::CollectionServiceClient, consistency::Requirement,
        get_collection_request::Key,
    },
    service::{
        ChildProducts, ChildStart, CreateCollection, DeleteCollection, Detail, Include,
        ListChildren, Parents, Service, Settings,
    },
    store::{
        Engine::{self, Postgres, Sqlite},
        Store,
    },
};
use prost_types::FieldMask;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use rstest::rstest;
use tonic::{Code, transport::Channel};
use tonic_types::StatusExt as _;

use crate::{
    harness::{
        Server, append, create, get, http_client, migrated, move_range, mutate, named, operation,
    },
    program,
};

type Client = CollectionServiceClient<Channel>;

const LANGUAGES: [&str; 2] = ["en", "de"];
const IDS: [&str; 5] = ["a", "b", "c", "d", "rootCategory"];

/// A service on a server's database, without a cache.
async fn uncached(server: &Server) -> Service {
    let [flag, value] = server.database_flag.clone();
    let flags = match flag.as_str() {
        "--data-dir" => Flags {
            data_dir: Some(value),
            ..Flags::default()
        },
        _ => Flags {
            database_url: Some(value),
            ..Flags::default()
        },
    };
    let flags = Flags {
        read_cache_size: Some("0".into()),
        ..flags
    };
    let config = app::config(&flags, None).unwrap();
    let store = Store::connect(&config.database).await.unwrap();
    let service = app::service(&config, store);
    assert!(matches!(
        service.settings(),
        Settings {
            read_cache_size: 0,
            ..
        }
    ));
    service
}

/// Oracle's response to a read of a collection.
async fn oracle(server: &Server, id: &str, language: &str, query: &str) -> serde_json::Value {
    let url = format!("{}/ccadmin/v1/collections/{id}?{query}", server.http);
    let request = server.client.get(url);
    let response = request.header("X-CCAsset-Language", language).send();
    response.await.unwrap().json().await.unwrap()
}

/// Renames a collection in a language, over Oracle's API. Returns whether it exists.
async fn rename(server: &Server, id: &str, language: &str, name: &str) -> bool {
    let url = format!("{}/ccadmin/v1/collections/{id}", server.http);
    let request = server
        .client
        .put(url)
        .header("X-CCAsset-Language", language);
    let body = serde_json::json!({ "properties": { "displayName": name } });
    request.json(&body).send().await.unwrap().status() == 200
}

/// A write of any kind, which may fail.
async fn write_something(client: &mut Client, server: &Server, random: &mut StdRng) {
    let mut pick = || IDS[random.random_range(0..IDS.len() - 1)];
    let (one, other) = (pick(), pick());
    let product = format!("p{}", random.random_range(0..6));
    let link = |mutation| pb::MutateChildrenRequest {
        child_type: pb::ChildType::Collection.into(),
        ..mutate(one, vec![mutation])
    };
    let remove = |id: &str| {
        operation(pb::child_mutation::Operation::Remove(
            pb::child_mutation::Remove {
                ids: vec![id.into()],
                ..Default::default()
            },
        ))
    };
    let update = |path: &str, collection| pb::UpdateCollectionRequest {
        collection: Some(collection),
        update_mask: Some(FieldMask {
            paths: vec![path.into()],
        }),
        ..pb::UpdateCollectionRequest::default()
    };
    match random.random_range(0..10) {
        0 => {
            let request = pb::DeleteCollectionRequest {
                collection_id: one.into(),
                force: true,
                ..pb::DeleteCollectionRequest::default()
            };
            drop(client.delete_collection(request).await);
        }
        1 => {
            let request = pb::CreateCollectionRequest {
                collection: Some(pb::Collection {
                    slug: format!("slug-{}", random.random_range(0..3)),
                    ..named(one, one)
                }),
                ..pb::CreateCollectionRequest::default()
            };
            drop(client.create_collection(request).await);
        }
        2 => {
            let active = [pb::Active::Yes, pb::Active::No, pb::Active::Inherit];
            let collection = pb::Collection {
                id: one.into(),
                active: active[random.random_range(0..3)].into(),
                ..pb::Collection::default()
            };
            drop(client.update_collection(update("active", collection)).await);
        }
        3 => {
            let collection = pb::Collection {
                id: one.into(),
                slug: format!("slug-{}", random.random_range(0..3)),
                ..pb::Collection::default()
            };
            drop(client.update_collection(update("slug", collection)).await);
        }
        4 => drop(client.mutate_children(link(append([other]))).await),
        5 => drop(client.mutate_children(link(remove(other))).await),
        6 => {
            let request = mutate(one, vec![append([&product]), move_range(0, 0, 0)]);
            drop(client.mutate_children(request).await);
        }
        7 => {
            let request = mutate(one, vec![remove(&product)]);
            drop(client.mutate_children(request).await);
        }
        8 => {
            let language = LANGUAGES[random.random_range(0..2)];
            let name = format!("{one} {}", random.random_range(0..1_000));
            let _ = rename(server, one, language, &name).await;
        }
        _ => {
            let request = pb::DeleteProductsRequest {
                ids: vec![product],
                ..pb::DeleteProductsRequest::default()
            };
            drop(server.products().await.delete_products(request).await);
        }
    }
}

/// Compares the server's responses for the collection, by its id and by its slug, with the
/// database.
async fn compare(client: &mut Client, server: &Server, service: &Service, id: &str) {
    let caller = Caller::operator(TenantId::trusted("default"));
    let batch = pb::BatchGetCollectionsRequest {
        ids: vec![id.into()],
        ..pb::BatchGetCollectionsRequest::default()
    };
    let there = client.batch_get_collections(batch).await.unwrap();
    let there = there.into_inner().collections.pop();
    let read = get(client, id).await;
    assert_eq!(read.as_ref().ok(), there.as_ref(), "{id}");
    let Some(there) = there else {
        assert_eq!(read.unwrap_err().code(), Code::NotFound);
        return;
    };
    let by_slug = pb::GetCollectionRequest {
        key: Some(Key::Slug(there.slug.clone())),
        ..pb::GetCollectionRequest::default()
    };
    let by_slug = client.get_collection(by_slug).await.unwrap().into_inner();
    assert_eq!(by_slug.collection.as_ref(), Some(&there));
    for (list, child_type) in [
        (ChildType::Product, pb::ChildType::Product),
        (ChildType::Collection, pb::ChildType::Collection),
    ] {
        let request = pb::ListChildrenRequest {
            collection_id: id.into(),
            child_type: child_type.into(),
            ..pb::ListChildrenRequest::default()
        };
        let sent = client.list_children(request).await.unwrap().into_inner();
        let command = ListChildren {
            collection: CollectionId::trusted(id),
            list,
            products: None,
            start: ChildStart::Index(0),
            size: 50,
        };
        let there = service.list_children(&caller, command).await.unwrap();
        let ids = there.children.iter().map(|(id, _)| id.as_str());
        let sent_ids = sent.children.iter().map(|child| child.id.as_str());
        assert!(sent_ids.eq(ids), "{id}");
        assert_eq!(sent.etag, there.etag.to_string());
        assert_eq!(sent.total_size as u64, there.total);
    }
    if id != "rootCategory" {
        let url = format!("{}/products/collections/{id}?altId=default", server.http);
        let response = server.client.get(url).header("Version", "2021-07-28");
        let response = response.send().await.unwrap();
        let etag = format!("\"{}\"", there.etag);
        assert_eq!(response.headers()["etag"], etag);
        let body: serde_json::Value = response.json().await.unwrap();
        assert_eq!(body["data"]["slug"], there.slug);
    }
    for language in LANGUAGES {
        // Responses with expanded children are not cached.
        let [read, uncached] = ["", "depth=1"].map(|query| oracle(server, id, language, query));
        let (mut read, mut uncached) = tokio::join!(read, uncached);
        for body in [&mut read, &mut uncached] {
            body.as_object_mut().unwrap().remove("childCategories");
        }
        assert_eq!(read["id"], id);
        assert_eq!(read, uncached);
    }
}

#[rstest]
#[tokio::test]
async fn after_each_write_the_cache_returns_current_data(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let service = uncached(&server).await;
    let mut client = server.grpc().await;
    let mut random = StdRng::seed_from_u64(19);
    create(&mut client, "a").await;
    for _ in 0..150 {
        write_something(&mut client, &server, &mut random).await;
        // The second time, the response comes from the cache.
        for id in IDS.into_iter().chain(IDS) {
            compare(&mut client, &server, &service, id).await;
        }
    }
}

async fn read(client: &mut Client, requirement: Option<Requirement>) -> String {
    let request = pb::GetCollectionRequest {
        key: Some(Key::CollectionId("a".into())),
        consistency: Some(pb::Consistency { requirement }),
        ..pb::GetCollectionRequest::default()
    };
    let response = client.get_collection(request).await.unwrap().into_inner();
    response.collection.unwrap().etag
}

/// Another server's writes are seen at once, except by reads that allow older data.
#[tokio::test]
async fn a_read_meets_the_requested_consistency() {
    let first = Server::new(Postgres).await;
    let second = Server::start_at(Some(first.database.clone()), Flags::default()).await;
    let (mut writer, mut reader) = (first.grpc().await, second.grpc().await);
    let old = create(&mut writer, "a").await.etag;
    assert_eq!(read(&mut reader, None).await, old);
    let request = mutate("a", vec![append(["p"])]);
    let new = writer.mutate_children(request).await.unwrap().into_inner();
    let new = new.collection.unwrap().etag;
    let hour = prost_types::Duration {
        seconds: 3_600,
        nanos: 0,
    };
    let paths = ["/products/collections/a?altId=default", "/v1/collections/a"];
    let over_rest = async |path: &str, consistency: &str| {
        let url = format!("{}{path}", second.http);
        let request = second.client.get(&url).header("Version", "2021-07-28");
        let response = request.header("Endcap-Consistency", consistency);
        let response = response.send().await.unwrap();
        let status = response.status().as_u16();
        let etag = response.headers().get("etag").cloned();
        // Of a read etag, which consists of several parts, the version.
        let version = etag.map(|etag| {
            let etag = etag.to_str().unwrap().trim_matches('"');
            etag.split('-').next().unwrap().to_owned()
        });
        (status, version.unwrap_or_default())
    };
    // The cached response is recent enough for this request, and is returned.
    assert_eq!(
        read(&mut reader, Some(Requirement::Within(hour))).await,
        old
    );
    let at_least_old = Requirement::AtLeast(old.clone());
    assert_eq!(read(&mut reader, Some(at_least_old)).await, old);
    for etag in [new.clone(), format!("{new}-1-a")] {
        let at_least = Requirement::AtLeast(etag);
        assert_eq!(read(&mut reader, Some(at_least)).await, new);
    }
    for path in paths {
        assert_eq!(over_rest(path, "full").await, (200, new.clone()));
    }
    let request = mutate("a", vec![append(["q"])]);
    let newest = writer.mutate_children(request).await.unwrap().into_inner();
    let newest = newest.collection.unwrap().etag;
    for path in paths {
        let old = (200, new.clone());
        assert_eq!(over_rest(path, "within=1h").await, old);
        assert_eq!(over_rest(path, &format!("at-least={new}")).await, old);
        assert_eq!(over_rest(path, &format!("at-least={new}-1-a")).await, old);
    }
    for path in paths {
        let at_least = format!("at-least={newest}");
        assert_eq!(over_rest(path, &at_least).await, (200, newest.clone()));
    }
    assert_eq!(read(&mut reader, None).await, newest);
    for (path, status) in paths.into_iter().zip([422, 400]) {
        for odd in ["within=2h", "within=-1s", "at-least=x", "fresh", ""] {
            assert_eq!(over_rest(path, odd).await.0, status, "{path} {odd}");
        }
    }
    let both = "/v1/collections/a?consistency.within=1s";
    for header in ["within=1s", "within=2s", "full"] {
        assert_eq!(over_rest(both, header).await.0, 400, "{header}");
    }
    // What has no such field is fully consistent.
    assert_eq!(over_rest("/v1/collections", "within=1h").await.0, 200);
}

/// Oracle's responses contain the names of ancestors, in the language of the request.
#[tokio::test]
async fn oracle_reads_are_cached_per_language_until_an_ancestor_is_renamed() {
    let first = Server::new(Postgres).await;
    let second = Server::start_at(Some(first.database.clone()), Flags::default()).await;
    let mut writer = first.grpc().await;
    create(&mut writer, "a").await;
    create(&mut writer, "b").await;
    let link = pb::MutateChildrenRequest {
        child_type: pb::ChildType::Collection.into(),
        ..mutate("a", vec![append(["b"])])
    };
    writer.mutate_children(link).await.unwrap();
    let names = async |consistency: &str| {
        let mut names = Vec::new();
        for language in LANGUAGES {
            let url = format!("{}/ccadmin/v1/collections/b", second.http);
            let request = second
                .client
                .get(url)
                .header("X-CCAsset-Language", language);
            let request = request.header("Endcap-Consistency", consistency);
            let body: serde_json::Value = request.send().await.unwrap().json().await.unwrap();
            let names_of_it = body["seoKeywordsDerived"].as_str().unwrap();
            names.push(names_of_it.to_owned());
        }
        names
    };
    assert_eq!(names("full").await, ["b,a", "b,a"]);
    assert!(rename(&first, "b", "de", "B").await);
    assert_eq!(names("within=1h").await, ["b,a", "b,a"]);
    assert_eq!(names("full").await, ["b,a", "B,a"]);
    assert!(rename(&first, "a", "de", "A").await);
    assert_eq!(names("within=1h").await, ["b,a", "B,a"]);
    assert_eq!(names("full").await, ["b,a", "B,A"]);
    assert_eq!(names("within=1h").await, ["b,a", "B,A"]);
    let odd = second
        .client
        .get(format!("{}/ccadmin/v1/collections/b", second.http));
    let odd = odd.header("Endcap-Consistency", "within=2h").send();
    assert_eq!(odd.await.unwrap().status(), 400);
}

#[rstest]
#[case(Requirement::AtLeast("x".into()), "consistency.at_least")]
#[case(Requirement::Within(prost_types::Duration { seconds: 3_600, nanos: 1 }), "consistency.within")]
#[case(Requirement::Within(prost_types::Duration { seconds: -1, nanos: 0 }), "consistency.within")]
#[tokio::test]
async fn an_invalid_consistency_requirement_is_rejected(
    #[case] requirement: Requirement,
    #[case] field: &str,
) {
    let server = Server::new(Sqlite).await;
    let mut client = server.grpc().await;
    let consistency = Some(pb::Consistency {
        requirement: Some(requirement),
    });
    let one = pb::GetCollectionRequest {
        key: Some(Key::CollectionId("rootCategory".into())),
        consistency: consistency.clone(),
        ..pb::GetCollectionRequest::default()
    };
    let page = pb::ListChildrenRequest {
        collection_id: "rootCategory".into(),
        child_type: pb::ChildType::Product.into(),
        consistency,
        ..pb::ListChildrenRequest::default()
    };
    let errors = [
        client.get_collection(one).await.unwrap_err(),
        client.list_children(page).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.code(), Code::InvalidArgument);
        let violations = error.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, field);
    }
}

/// The command that creates the collection `a`.
fn creation() -> CreateCollection {
    let name = (Locale::trusted("en"), TextField::DisplayName);
    CreateCollection {
        draft: Draft {
            id: Some(CollectionId::trusted("a")),
            kind: Kind::Manual,
            changes: Changes {
                texts: MapChange::to([(name, "a".to_owned())]),
                ..Changes::default()
            },
        },
        parents: Parents::Root,
        products: Vec::new(),
        include: Include::default(),
        retry: None,
    }
}

/// Of many concurrent requests for the same response, only one encodes it.
#[rstest]
#[tokio::test]
async fn concurrent_identical_reads_are_encoded_once(#[values(Sqlite, Postgres)] engine: Engine) {
    let (config, store, _folder) = migrated(engine, &Flags::default()).await;
    let service = app::service(&config, store.clone());
    let caller = Caller::operator(TenantId::trusted("default"));
    service.execute(&caller, creation()).await.unwrap();
    let made = Arc::new(AtomicU64::new(0));
    let reads = (0..100).map(|_| {
        let (service, caller, made) = (service.clone(), caller.clone(), Arc::clone(&made));
        let key = endcap::service::Key::Id(CollectionId::trusted("a"));
        tokio::spawn(async move {
            let encode = |_: &Detail| {
                made.fetch_add(1, Ordering::Relaxed);
                "made".into()
            };
            let read = service.get_encoded(&caller, key, Consistency::Full, "test", encode);
            read.await.unwrap().body
        })
    });
    for read in futures::future::join_all(reads).await {
        assert_eq!(read.unwrap(), "made");
    }
    assert_eq!(made.load(Ordering::Relaxed), 1);
}

/// Reads that wait at the same time share a statement, in which each collection occurs once.
#[tokio::test]
async fn concurrent_reads_are_validated_by_the_versions_of_their_own_collections() {
    const TENANTS: [&str; 2] = ["left", "right"];
    const READS: usize = 240;
    let (config, store, _folder) = migrated(Postgres, &Flags::default()).await;
    let service = app::service(&config, store.clone());
    let caller = |tenant: &str| Caller::operator(TenantId::trusted(tenant));
    let keys = TENANTS.map(|tenant| IDS.map(|id| (tenant, id))).concat();
    for (tenant, id) in keys.iter().filter(|(_, id)| *id != "rootCategory") {
        let mut command = creation();
        command.draft.id = Some(CollectionId::trusted(*id));
        service.execute(&caller(tenant), command).await.unwrap();
    }
    let made = Arc::new(Mutex::new(BTreeMap::<_, u64>::new()));
    let read_all = async |gone: &[(&str, &str)]| {
        let reads = keys.iter().cycle().take(READS).map(|(tenant, id)| {
            let (service, caller, made) = (service.clone(), caller(tenant), Arc::clone(&made));
            let key = endcap::service::Key::Id(CollectionId::trusted(*id));
            tokio::spawn(async move {
                let encode = |detail: &Detail| {
                    let of = (detail.tenant.to_string(), detail.collection.id.to_string());
                    let body = format!("{} {}", of.0, of.1);
                    *made.lock().unwrap().entry(of).or_default() += 1;
                    body.into()
                };
                let read = service.get_encoded(&caller, key, Consistency::Full, "test", encode);
                read.await.map(|read| read.body)
            })
        });
        let reads = futures::future::join_all(reads.collect::<Vec<_>>()).await;
        for ((tenant, id), read) in keys.iter().cycle().zip(reads) {
            let expected = if gone.contains(&(*tenant, *id)) {
                Err(Reason::CollectionNotFound)
            } else {
                Ok(format!("{tenant} {id}").into())
            };
            assert_eq!(read.unwrap().map_err(|error| error.reason), expected);
        }
    };
    for _ in 0..5 {
        read_all(&[]).await;
    }
    let made_of = |tenant: &str| {
        let made = made.lock().unwrap().clone();
        let of_it = made.into_iter().filter(|((of, _), _)| of == tenant);
        of_it.map(|(_, count)| count).collect::<Vec<_>>()
    };
    for tenant in TENANTS {
        assert_eq!(made_of(tenant), [1; IDS.len()]);
    }
    // The statement has no version of it.
    let delete = DeleteCollection {
        id: CollectionId::trusted("b"),
        force: false,
        etag: None,
        retry: None,
    };
    service.execute(&caller("left"), delete).await.unwrap();
    read_all(&[("left", "b")]).await;
    assert_eq!(made_of("right"), [1; IDS.len()]);
}

#[tokio::test]
async fn a_full_cache_evicts_responses() {
    let server = Server::start(
        Sqlite,
        Flags {
            read_cache_size: Some("8KiB".into()),
            ..Flags::default()
        },
    )
    .await;
    let mut client = server.grpc().await;
    let ids: Vec<_> = (0..40).map(|n| format!("c{n}")).collect();
    for id in &ids {
        create(&mut client, id).await;
    }
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        for id in &ids {
            get(&mut client, id).await.unwrap();
        }
        let metrics = server.metrics().await;
        let value = |name: &str| {
            let found = metrics.lines().find_map(|line| line.strip_prefix(name));
            found.map_or(0.0, |value| value.trim().parse::<f64>().unwrap())
        };
        if value("endcap_read_cache_evictions_total") > 0.0 {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{metrics}");
    }
}

/// What is derived from a response is made once for equal responses, and again for others.
#[tokio::test]
async fn what_is_derived_from_a_response_is_cached_by_its_content() {
    let (config, store, _folder) = migrated(Sqlite, &Flags::default()).await;
    let service = app::service(&config, store);
    let made = AtomicU64::new(0);
    let derived = async |form: &str, source: &str| {
        let make = async {
            made.fetch_add(1, Ordering::Relaxed);
            match source {
                "" => Err("empty"),
                _ => Ok(format!("{form} {source}").into()),
            }
        };
        service.derived(form, source.as_bytes(), make).await
    };
    for (form, source, times) in [
        ("a", "one", 1),
        ("a", "one", 1),
        ("a", "two", 2),
        ("b", "one", 3),
        ("a", "one", 3),
        ("a", "", 4),
        ("a", "", 5),
    ] {
        let body = derived(form, source).await;
        match source {
            "" => assert_eq!(body, Err("empty")),
            _ => assert_eq!(body.unwrap(), format!("{form} {source}")),
        }
        assert_eq!(made.load(Ordering::Relaxed), times, "{form} {source}");
    }
}

/// The JSON of a cached response is cached, too.
#[rstest]
#[tokio::test]
async fn the_json_of_a_cached_response_is_current(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    create(&mut client, "a").await;
    let url = format!("{}/v1/collections/a", server.http);
    let children = format!("{url}/children?childType=CHILD_TYPE_PRODUCT");
    let get = |url: &str| server.client.get(url);
    let mut tags = Vec::new();
    for products in 1..10 {
        let add = mutate("a", vec![append([format!("p{products}")])]);
        client.mutate_children(add).await.unwrap();
        for _ in 0..3 {
            let response = get(&url).send().await.unwrap();
            let tag = response.headers()["etag"].to_str().unwrap().to_owned();
            let json: serde_json::Value = response.json().await.unwrap();
            assert_eq!(tag, format!("\"{}\"", json["readEtag"].as_str().unwrap()));
            assert_eq!(json["collection"]["stats"]["productCount"], products);
            let again = get(&url).header("if-none-match", &tag).send();
            let again = again.await.unwrap();
            assert_eq!(again.status(), 304);
            assert_eq!(again.headers()["etag"], tag);
            assert!(again.bytes().await.unwrap().is_empty());
            if tags.last() != Some(&tag) {
                assert!(!tags.contains(&tag));
                tags.push(tag);
            }
            let page = get(&children).send().await.unwrap();
            let page: serde_json::Value = page.json().await.unwrap();
            assert_eq!(page["children"].as_array().unwrap().len(), products);
            assert_eq!(page["totalSize"], products);
        }
    }
    assert_eq!(tags.len(), 9);
}

/// What the cache does not keep is not marked as kept, so that nothing derived from it is kept either.
#[rstest]
#[tokio::test]
async fn only_kept_responses_are_marked(#[values(Sqlite, Postgres)] engine: Engine) {
    let caller = Caller::operator(TenantId::trusted("default"));
    for (cache, is_on) in [("64MiB", true), ("0", false)] {
        let flags = Flags {
            read_cache_size: Some(cache.into()),
            ..Flags::default()
        };
        let (config, store, _folder) = migrated(engine, &flags).await;
        let service = app::service(&config, store);
        let root = CollectionId::root();
        let one = async |size: usize| {
            let key = endcap::service::Key::Id(root.clone());
            let encode = |_: &Detail| vec![b'x'; size].into();
            let form = format!("{size}");
            let read = service.get_encoded(&caller, key, Consistency::Full, &form, encode);
            read.await.unwrap().is_cached
        };
        // No root is stored yet.
        for _ in 0..2 {
            assert!(!one(100).await, "{cache}");
        }
        service.execute(&caller, creation()).await.unwrap();
        let page = async |products: Option<ChildProducts>| {
            let command = ListChildren {
                collection: CollectionId::trusted("a"),
                list: ChildType::Product,
                products,
                start: ChildStart::Index(0),
                size: 50,
            };
            let encode = |_| "page".into();
            let full = Consistency::Full;
            let read = service.list_children_encoded(&caller, command, full, "test", encode);
            read.await.unwrap().is_cached
        };
        let products = || ChildProducts {
            whole: true,
            bytes: PageBytes {
                max: 1 << 20,
                of: Arc::new(|_| 1),
            },
        };
        for _ in 0..2 {
            assert_eq!(one(100).await, is_on);
            assert!(!one(32 << 20).await);
            assert_eq!(page(None).await, is_on);
            assert!(!page(Some(products())).await);
        }
    }
}

/// Over JSON, too, only what the cache keeps takes room in it.
#[tokio::test]
async fn pages_with_products_take_no_room_over_json() {
    const PRODUCTS: usize = 500;
    let folder = tempfile::tempdir().unwrap();
    // A process of its own, as evictions are counted by process.
    let mut command = program::endcap(folder.path(), None);
    command.args(["--read-cache-size", "8KiB"]);
    let running = program::start(command);
    let mut client = Client::connect(running.grpc.clone()).await.unwrap();
    create(&mut client, "a").await;
    let ids = (0..PRODUCTS).map(|at| format!("p{at}"));
    let add = mutate("a", vec![append(ids.collect::<Vec<_>>())]);
    client.mutate_children(add).await.unwrap();
    let http = http_client().build().unwrap();
    let get = async |url: String| {
        let response = http.get(url).send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.text().await.unwrap()
    };
    for (mask, takes_room) in [("productMask=*&", false), ("", true)] {
        for start in 0..PRODUCTS {
            let query = format!("{mask}childType=CHILD_TYPE_PRODUCT&pageSize=5&startIndex={start}");
            get(format!(
                "{}/v1/collections/a/children?{query}",
                running.http
            ))
            .await;
        }
        let metrics = get(format!("{}/metrics", running.admin)).await;
        let evictions = metrics.lines().filter_map(|line| {
            let count = line.strip_prefix("endcap_read_cache_evictions_total ")?;
            count.parse::<u64>().ok()
        });
        assert_eq!(evictions.sum::<u64>() > 0, takes_room, "{mask}");
    }
}
