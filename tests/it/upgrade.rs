//! Databases of older versions, migrated with their data.

use std::time::{Duration, Instant};

use endcap::{
    domain::{
        Caller, ChildId, ChildType, CollectionId, Combinator, Details, Kind, Locale, Mutation,
        OnDuplicate, Position, ProductFilter, ProductId, Rule, TenantId,
    },
    service::{ChildMutation, Key, ListProducts, PageStart, UpdateCollection},
    store::{DatabasePlace, Engine, Store, check, children::Children, products},
};
use endcap_migrations::Migrator;
use rstest::rstest;
use sea_orm::{
    ConnectionTrait as _, Database, DatabaseConnection, QueryResult, Statement,
    TransactionTrait as _,
};
use sea_orm_migration::MigratorTrait as _;
use tempfile::TempDir;

use crate::{harness, postgres};

/// Data of the four migrations before the API was stable: a tenant whose default locale is French,
/// with a root, a manual and a smart collection, and a product.
const OLD: [&str; 4] = [
    "INSERT INTO tenants (tenant_id, create_time, collection_count) VALUES ('t', 1, 2)",
    "INSERT INTO collections (tenant_id, id, name, slug, slug_chosen, smart, rules, rules_hash, \
     rules_version, texts, search_name, keywords, images, active, custom_properties, catalog_id, \
     product_count, collection_count, create_time, update_time, version) VALUES \
     ('t', 'rootCategory', 'rootCategory', 'commerce-root', FALSE, FALSE, NULL, 'h', 1, \
      '{\"fr\":{\"display_name\":\"Commerce Root\"}}', 'commerce root', '[]', '[]', 1, '{}', \
      NULL, 0, 0, 1, 1, 1), \
     ('t', 'm', 'internal', 'm', TRUE, FALSE, NULL, 'h', 1, \
      '{\"en\":{\"display_name\":\"M\"}}', '', '[\"x\",\"x\"]', \
      '[{\"id\":\"i\",\"path\":\"/a.png\",\"name\":\"a.png\",\"alt_text\":\"A\"}]', 3, '{}', \
      NULL, 0, 0, 2, 2, 2), \
     ('t', 's', 's', 's', TRUE, TRUE, \
      '{\"logic\":\"OR\",\"conditions\":[{\"field\":\"price\",\"operator\":\"less_than\",\
      \"value\":\"5\"}]}', 'h', 1, '{\"en\":{\"display_name\":\"S\"}}', '', '[]', '[]', 3, '{}', \
      NULL, 0, 0, 3, 3, 3)",
    "INSERT INTO products (tenant_id, id, name, search_name, slug, type, attributes, create_time, \
     update_time) VALUES ('t', 'p', 'Hat', 'hat', '', '', '{}', 1, 1)",
    "INSERT INTO requests (tenant_id, subject, method, request_id, fingerprint, answer, \
     create_time) VALUES ('t', 's', 'm', 'r', 'f', '', 1)",
];

/// A database in its state before a migration.
struct Old {
    db: DatabaseConnection,
    place: DatabasePlace,
    _folder: TempDir,
}

impl Old {
    async fn before(engine: Engine, migration: &str, statements: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("old.db");
        let (url, place) = match engine {
            Engine::Sqlite => (
                format!("sqlite://{}?mode=rwc", file.display()),
                DatabasePlace::File(file),
            ),
            Engine::Postgres => {
                let url = postgres::new_database().await;
                (url.clone(), DatabasePlace::Url(url))
            }
        };
        let db = Database::connect(&url).await.unwrap();
        let all = Migrator::get_migration_files();
        let before = all.iter().position(|one| one.name() == migration);
        let before = u32::try_from(before.unwrap()).unwrap();
        Migrator::up(&db, Some(before)).await.unwrap();
        for statement in statements {
            db.execute_unprepared(statement).await.unwrap();
        }
        let _folder = folder;
        Self { db, place, _folder }
    }

    async fn migrated(&self) -> Store {
        let database = harness::database(self.place.clone());
        let store = Store::connect(&database).await.unwrap();
        store.migrate().await.unwrap();
        store
    }

    /// The first column of a query's result.
    async fn texts(&self, sql: &str) -> Vec<String> {
        let statement = Statement::from_string(self.db.get_database_backend(), sql);
        let rows = self.db.query_all_raw(statement).await.unwrap();
        let text = |row: &QueryResult| row.try_get_by_index(0).unwrap();
        rows.iter().map(text).collect()
    }
}

#[rstest]
#[tokio::test]
async fn data_from_before_the_stable_api_is_converted(
    #[values(Engine::Sqlite, Engine::Postgres)] engine: Engine,
) {
    let old = Old::before(engine, "m20261126_000001_api", &OLD).await;
    let store = old.migrated().await;
    let config = endcap::app::config(&endcap::config::Flags::default(), None).unwrap();
    let service = endcap::app::service(&config, store);
    let caller = Caller::operator(TenantId::trusted("t"));
    let get = async |id: &str| {
        let key = Key::Id(CollectionId::trusted(id));
        let detail = service.get_collection(&caller, key).await.unwrap();
        detail.collection
    };
    let (en, fr) = (Locale::trusted("en"), Locale::trusted("fr"));
    let manual = get("m").await;
    assert_eq!(manual.internal_name, "internal");
    assert_eq!(manual.texts.keywords(&fr, &fr), ["x", "x"]);
    assert!(manual.texts.keywords(&en, &en).is_empty());
    let image = &manual.images[0];
    assert_eq!(image.file_name.as_deref(), Some("a.png"));
    let alt = endcap::domain::ImageText::AltText;
    assert_eq!(image.text(&fr, &fr, alt), Some("A"));

    let Kind::Smart { rules } = get("s").await.kind else {
        panic!("it is smart");
    };
    let Rule::Group(group) = rules.root else {
        panic!("the flat form is a group");
    };
    assert!(group.same_row);
    assert_eq!((group.combinator, group.rules.len()), (Combinator::Any, 1));

    let list = ListProducts {
        filter: ProductFilter {
            title: Some("HAT".into()),
            ..ProductFilter::default()
        },
        slug: None,
        start: PageStart::First,
        size: 10,
        bytes: None,
        omit_total: false,
        include_descendants: false,
        all_there: false,
        scan: None,
    };
    let page = service.list_products(&caller, list).await.unwrap();
    assert_eq!(page.products[0].product.as_ref().unwrap().title, "Hat");
}

/// Data of the version before product ids could contain any characters: a collection with products
/// in two segments, and one below the root.
const OLD_LISTS: [&str; 5] = [
    "INSERT INTO tenants (tenant_id, create_time, collection_count, graph_version, version_floor) \
     VALUES ('t', 1, 2, 1, 0)",
    "INSERT INTO collections (tenant_id, id, internal_name, slug, slug_chosen, smart, rules, \
     rules_hash, rules_version, texts, search_name, images, active, custom_properties, \
     catalog_id, product_count, collection_count, create_time, update_time, version) VALUES \
     ('t', 'rootCategory', 'rootCategory', 'root', FALSE, FALSE, NULL, 'h', 1, \
      '{\"en\":{\"display_name\":\"Root\"}}', 'root', '[]', 1, '{}', NULL, 0, 1, 1, 1, 1), \
     ('t', 'c', 'c', 'c', TRUE, FALSE, NULL, 'h', 1, \
      '{\"en\":{\"display_name\":\"C\"}}', 'c', '[]', 1, '{}', NULL, 4, 0, 2, 2, 2)",
    "INSERT INTO segments (tenant_id, collection_id, list, segment_id, rank, len) VALUES \
     ('t', 'rootCategory', 2, 1, 0, 1), ('t', 'c', 1, 1, 1000, 1), ('t', 'c', 1, 2, 0, 3)",
    "INSERT INTO segment_contents (tenant_id, collection_id, list, segment_id, ids) VALUES \
     ('t', 'rootCategory', 2, 1, 'c'), ('t', 'c', 1, 1, 'p:4'), ('t', 'c', 1, 2, 'p/1,p+2,p@3')",
    "INSERT INTO members (tenant_id, collection_id, list, child_id, segment_id) VALUES \
     ('t', 'rootCategory', 2, 'c', 1), ('t', 'c', 1, 'p:4', 1), ('t', 'c', 1, 'p/1', 2), \
     ('t', 'c', 1, 'p+2', 2), ('t', 'c', 1, 'p@3', 2)",
];

/// Segments in the old form can be read, and are converted only when they are written.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn lists_in_the_old_format_are_readable(
    #[values(Engine::Sqlite, Engine::Postgres)] engine: Engine,
) {
    let old = Old::before(engine, "m20261126_000008_product_ids", &OLD_LISTS).await;
    let store = old.migrated().await;
    // Small segments, so that they are not merged.
    let store = store.with_segment_target(2);
    // A running program of the old version must not misread the new format as ids.
    let old_read = "SELECT ids FROM segment_contents";
    assert!(old.db.execute_unprepared(old_read).await.is_err());

    let config = endcap::app::config(&endcap::config::Flags::default(), None).unwrap();
    let service = endcap::app::service(&config, store.clone());
    let caller = Caller::operator(TenantId::trusted("t"));
    let list = async |id: &str, list: ChildType| {
        let tx = store.read(&caller.reading().unwrap()).await.unwrap();
        let id = CollectionId::trusted(id);
        let children = Children::uncached(&tx, &id, list);
        assert!(children.problems().await.unwrap().is_empty());
        let ids = children.ids().await.unwrap();
        let all = children.all().await.unwrap();
        assert!(ids.iter().eq(all.iter().map(ChildId::as_str)));
        all.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let texts = "SELECT id_list FROM segment_contents WHERE collection_id = 'c' \
                 ORDER BY segment_id";
    assert_eq!(list("rootCategory", ChildType::Collection).await, ["c"]);
    assert_eq!(
        list("c", ChildType::Product).await,
        ["p/1", "p+2", "p@3", "p:4"]
    );
    assert_eq!(old.texts(texts).await, ["p:4", "p/1,p+2,p@3"]);

    let insert = Mutation::Insert {
        ids: vec![ChildId::trusted("a,b")],
        position: Position::After(ChildId::trusted("p/1")),
        on_duplicate: OnDuplicate::Error,
    };
    let update = UpdateCollection {
        mutations: vec![ChildMutation {
            list: ChildType::Product,
            mutation: insert,
        }],
        ..UpdateCollection::of(CollectionId::trusted("c"))
    };
    service.execute(&caller, update).await.unwrap();
    let now = ["p/1", "a,b", "p+2", "p@3", "p:4"];
    assert_eq!(list("c", ChildType::Product).await, now);
    assert_eq!(old.texts(texts).await, ["p:4", "\np/1\na,b\np+2\np@3"]);
}

/// Jobs fill smart collections, which were empty before this version.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn migrated_smart_collections_are_evaluated_by_jobs(
    #[values(Engine::Sqlite, Engine::Postgres)] engine: Engine,
) {
    let smart = "UPDATE collections SET smart = true, rules = '{\"condition\":{\"field\":\
                 \"title\",\"operator\":\"equals\",\"operand\":{\"text\":\"Lamp\"}}}' \
                 WHERE id = 'c'";
    let empty = ["segments", "segment_contents", "members"]
        .map(|table| format!("DELETE FROM {table} WHERE collection_id = 'c'"));
    let products = "INSERT INTO products (tenant_id, id, title, search_title, slug, type, \
                    attributes, create_time, update_time) VALUES \
                    ('t', 'b', 'LAMP', 'lamp', '', '', '{}', 1, 1), \
                    ('t', 'a', 'lamp', 'lamp', '', '', '{}', 1, 1), \
                    ('t', 'c', 'Chair', 'chair', '', '', '{}', 1, 1)";
    let mut statements = OLD_LISTS[..2].to_vec();
    statements.extend([smart, products]);
    statements.extend(empty.iter().map(String::as_str));
    let old = Old::before(engine, "m20261126_000011_rules", &statements).await;
    let store = old.migrated().await;
    let config = endcap::app::config(&endcap::config::Flags::default(), None).unwrap();
    let service = endcap::app::service(&config, store.clone());
    let caller = Caller::operator(TenantId::trusted("t"));
    let list = async || {
        let tx = store.read(&caller.reading().unwrap()).await.unwrap();
        let id = CollectionId::trusted("c");
        let list = Children::uncached(&tx, &id, ChildType::Product).all().await;
        list.unwrap()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert!(list().await.is_empty());
    let filled = async {
        while list().await.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let ready = || std::future::ready(());
    tokio::select! {
        () = service.do_jobs("test", ready) => {}
        filled = tokio::time::timeout(std::time::Duration::from_secs(30), filled) => filled.unwrap(),
    }
    assert_eq!(list().await, ["a", "b"]);
}

/// Products that were stored before facts existed get the facts in their fields.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn migrated_products_get_facts_from_their_fields(
    #[values(Engine::Sqlite, Engine::Postgres)] engine: Engine,
) {
    let smart = "UPDATE collections SET smart = true, rules = '{\"condition\":{\"field\":\
                 \"vendor\",\"operator\":\"equals\",\"operand\":{\"text\":\"acme\"}}}' \
                 WHERE id = 'c'";
    let empty = ["segments", "segment_contents", "members"]
        .map(|table| format!("DELETE FROM {table} WHERE collection_id = 'c'"));
    let product = |id: &str, attributes: &str| {
        format!(
            "INSERT INTO products (tenant_id, id, title, search_title, slug, type, attributes, \
             create_time, update_time) VALUES ('t', '{id}', 'X', 'x', '', '', '{attributes}', 1, 7)"
        )
    };
    let products = [
        product(
            "highlevel",
            r#"{"availableInStore":true,"variants":[{"id":"size","name":"Size","options":[{"id":"s","name":"Small"}]}]}"#,
        ),
        product(
            "oracle",
            r#"{"brand":"Acme","active":false,"listPrice":20,"creationDate":"2020-01-02T03:04:05.000Z"}"#,
        ),
        product(
            "odd",
            r#"{"availableInStore":"yes","brand":5,"listPrice":"x"}"#,
        ),
        product("none", "{}"),
    ];
    let mut statements = OLD_LISTS[..2].to_vec();
    statements.push(smart);
    statements.extend(empty.iter().chain(&products).map(String::as_str));
    let old = Old::before(engine, "m20261126_000010_product_details", &statements).await;
    let store = old.migrated().await;
    // Written later by a client that knows facts and sets none.
    let later = "UPDATE products SET update_time = 9000000000000000 WHERE id = 'later'";
    for sql in [&*product("later", r#"{"brand":"Acme"}"#), later] {
        old.db.execute_unprepared(sql).await.unwrap();
    }
    let config = endcap::app::config(&endcap::config::Flags::default(), None).unwrap();
    let service = endcap::app::service(&config, store.clone());
    let caller = Caller::operator(TenantId::trusted("t"));
    let has_jobs = async || !old.texts("SELECT job_id FROM jobs").await.is_empty();
    assert!(has_jobs().await);
    while has_jobs().await {
        service.do_job("test").await.unwrap();
    }
    let tx = store.read(&caller.reading().unwrap()).await.unwrap();
    let ids = ["highlevel", "oracle", "odd", "none", "later"].map(ProductId::trusted);
    let found = products::get_many(&tx, &ids).await.unwrap();
    let details = |id: &str| found[&ProductId::trusted(id)].details.clone();
    let highlevel = details("highlevel");
    assert_eq!(highlevel.available, Some(true));
    let variants: Vec<_> = highlevel.variants.iter().map(|it| &*it.title).collect();
    assert_eq!(variants, ["Small"]);
    let oracle = details("oracle");
    assert_eq!((&*oracle.vendor, oracle.available), ("Acme", Some(false)));
    let prices: Vec<_> = oracle
        .prices
        .iter()
        .map(|it| it.amount.to_string())
        .collect();
    assert_eq!(prices, ["20"]);
    assert_eq!(oracle.created.unwrap().to_string(), "2020-01-02T03:04:05Z");
    for none in ["odd", "none", "later"] {
        assert_eq!(details(none), Details::default(), "{none}");
    }
    // The migration keeps the update time.
    assert_eq!(found[&ids[1]].update_time.micros(), 7);
    let id = CollectionId::trusted("c");
    let list = Children::uncached(&tx, &id, ChildType::Product).all().await;
    assert_eq!(list.unwrap(), [ChildId::trusted("oracle")]);
    assert_eq!(check::problems(&tx, &id).await.unwrap(), []);
}

/// Texts that were lower-cased are case-folded and normalized after the migration.
#[rstest]
#[tokio::test]
async fn lowercased_search_texts_are_case_folded(
    #[values(Engine::Sqlite, Engine::Postgres)] engine: Engine,
) {
    // More rows than one batch converts.
    let many = "INSERT INTO products (tenant_id, id, title, search_title, slug, type, attributes, \
                create_time, update_time) \
                WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) \
                SELECT 't', 'p' || i, 'Stra\u{df}e', 'stra\u{df}e', '', '', '{}', 1, 1 FROM n";
    let decomposed = "UPDATE collections SET search_name = 'cafe\u{301}' WHERE id = 'c'";
    let statements = [&OLD_LISTS[..2], &[many, decomposed]].concat();
    let old = Old::before(engine, "m20261126_000009_search_texts", &statements).await;
    old.migrated().await;
    let names = "SELECT search_name FROM collections ORDER BY id";
    assert_eq!(old.texts(names).await, ["caf\u{e9}", "root"]);
    let titles = old.texts("SELECT search_title FROM products").await;
    assert_eq!(titles.len(), 2500);
    assert!(titles.iter().all(|title| title == "strasse"), "{titles:?}");
}

/// A text that a server writes while the migration runs is kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_text_written_during_the_migration_is_kept() {
    let product = "INSERT INTO products (tenant_id, id, title, search_title, slug, type, \
                   attributes, create_time, update_time) VALUES \
                   ('t', 'p', 'Stra\u{df}e', 'stra\u{df}e', '', '', '{}', 1, 1)";
    let statements = [&OLD_LISTS[..2], &[product]].concat();
    let old = Old::before(
        Engine::Postgres,
        "m20261126_000009_search_texts",
        &statements,
    );
    let old = old.await;
    let writer = old.db.begin().await.unwrap();
    let write = "UPDATE products SET title = 'Hut', search_title = 'hut' WHERE id = 'p'";
    writer.execute_unprepared(write).await.unwrap();
    let migration = tokio::spawn({
        let db = old.db.clone();
        async move { Migrator::up(&db, None).await }
    });
    // The migration has read the text, and waits for the row.
    let waiting = "SELECT 'waiting' FROM pg_locks WHERE NOT granted AND pid IN \
                   (SELECT pid FROM pg_stat_activity WHERE datname = current_database() \
                    AND query LIKE 'UPDATE%products%')";
    let deadline = Instant::now() + Duration::from_secs(60);
    while old.texts(waiting).await.is_empty() {
        assert!(Instant::now() < deadline && !migration.is_finished());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    writer.commit().await.unwrap();
    migration.await.unwrap().unwrap();
    let title = old.texts("SELECT search_title FROM products").await;
    assert_eq!(title, ["hut"]);
}
