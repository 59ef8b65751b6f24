//! Databases of older versions, brought up to date with what they hold.

use endcap::{
    domain::{
        Caller, ChildId, ChildType, CollectionId, Combinator, Kind, Locale, Mutation, OnDuplicate,
        Position, ProductFilter, Rule, TenantId,
    },
    service::{ChildMutation, Key, ListProducts, PageStart, UpdateCollection},
    store::{DatabasePlace, Engine, Store, children::Children},
};
use rstest::rstest;
use sea_orm::{ConnectionTrait as _, Statement};
use sea_orm_migration::MigratorTrait as _;

use crate::{harness, postgres};

/// What the four migrations before the API was stable left: a tenant whose default locale
/// is French, with a root, a manual and a smart collection, and a product.
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

async fn old_database(url: &str) {
    let db = sea_orm::Database::connect(url).await.unwrap();
    endcap_migrations::Migrator::up(&db, Some(4)).await.unwrap();
    for statement in OLD {
        db.execute_unprepared(statement).await.unwrap();
    }
    db.close().await.unwrap();
}

async fn what_was_there_has_the_new_shapes(engine: Engine) {
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
    old_database(&url).await;
    let store = Store::connect(&harness::database(place)).await.unwrap();
    store.migrate().await.unwrap();
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
        below: false,
        all_there: false,
        scan: None,
    };
    let page = service.list_products(&caller, list).await.unwrap();
    assert_eq!(page.products[0].product.as_ref().unwrap().title, "Hat");
}

#[tokio::test]
async fn on_sqlite_what_was_there_has_the_new_shapes() {
    what_was_there_has_the_new_shapes(Engine::Sqlite).await;
}

#[tokio::test]
async fn on_postgres_what_was_there_has_the_new_shapes() {
    what_was_there_has_the_new_shapes(Engine::Postgres).await;
}

/// What the version before ids of products could have any characters left: a collection with
/// products in two segments, and one below the root.
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

/// The segments of the old form are read, and stay as they are until they are written.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn lists_of_the_old_form_are_read(
    #[values(Engine::Sqlite, Engine::Postgres)] engine: Engine,
) {
    let folder = tempfile::tempdir().unwrap();
    let url = match engine {
        Engine::Sqlite => {
            let file = folder.path().join("old.db");
            format!("sqlite://{}?mode=rwc", file.display())
        }
        Engine::Postgres => postgres::new_database().await,
    };
    let db = sea_orm::Database::connect(&url).await.unwrap();
    let names = endcap_migrations::Migrator::get_migration_files();
    let before = names
        .iter()
        .position(|one| one.name() == "m20261126_000008_product_ids");
    let before = u32::try_from(before.unwrap()).unwrap();
    endcap_migrations::Migrator::up(&db, Some(before))
        .await
        .unwrap();
    for statement in OLD_LISTS {
        db.execute_unprepared(statement).await.unwrap();
    }
    let place = match engine {
        Engine::Sqlite => DatabasePlace::File(folder.path().join("old.db")),
        Engine::Postgres => DatabasePlace::Url(url),
    };
    let store = Store::connect(&harness::database(place)).await.unwrap();
    store.migrate().await.unwrap();
    // So that segments stay apart.
    let store = store.with_segment_target(2);
    // A program that is still running does not take what follows for ids.
    let old_read = db
        .execute_unprepared("SELECT ids FROM segment_contents")
        .await;
    assert!(old_read.is_err());

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
    let texts = async || {
        let sql = "SELECT id_list FROM segment_contents WHERE collection_id = 'c' \
                   ORDER BY segment_id";
        let statement = Statement::from_string(db.get_database_backend(), sql);
        let rows = db.query_all_raw(statement).await.unwrap();
        let text = |row: &sea_orm::QueryResult| row.try_get_by_index::<String>(0).unwrap();
        rows.iter().map(text).collect::<Vec<_>>()
    };
    assert_eq!(list("rootCategory", ChildType::Collection).await, ["c"]);
    assert_eq!(
        list("c", ChildType::Product).await,
        ["p/1", "p+2", "p@3", "p:4"]
    );
    assert_eq!(texts().await, ["p:4", "p/1,p+2,p@3"]);

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
    assert_eq!(texts().await, ["p:4", "\np/1\na,b\np+2\np@3"]);
    db.close().await.unwrap();
}
