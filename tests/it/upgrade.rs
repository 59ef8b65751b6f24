//! Databases of older versions, brought up to date with what they hold.

use endcap::{
    domain::{Caller, CollectionId, Combinator, Kind, Locale, ProductFilter, Rule, TenantId},
    service::{Key, ListProducts, PageStart},
    store::{DatabasePlace, Engine, Store},
};
use sea_orm::ConnectionTrait as _;
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
