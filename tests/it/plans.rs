//! Query plans on both databases: rows are found by their keys. On PostgreSQL this holds with and
//! without statistics, and for any plan that it keeps for a prepared statement.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use endcap::{
    app,
    config::Flags,
    domain::{
        Caller, Change, Changes, ChildId, ChildType, CollectionFilter, CollectionId, Condition,
        DetailsChanges, Draft, EntryKind, Field, Kind, Locale, MapChange, Mutation, OnDuplicate,
        Operand, Operator, Place, Position, ProductChanges, ProductFilter, ProductId, RequestId,
        Retryable, Rule, Rules, Sort, SortBy, TenantId, TextField, Timestamp,
        filter::{Order, OrderBy},
        page::PageBytes,
    },
    service::{
        Ancestors, AssignProducts, Assignment, ChangeRuleEntries, ChildMutation, ChildProducts,
        ChildStart, CreateCollection, DeleteCollection, DeleteProducts, Depth, Expected, Include,
        Key, ListChildren, ListCollections, ListMatchingCollections, ListParents, ListProducts,
        ListRuleEntries, Listing, MoveCollection, Movement, PageStart, Parents, ProductUpsert,
        Retry, Service, TargetPosition, UpdateCollection, UpsertProducts,
    },
    store::{
        DatabasePlace, Engine, Store, keys,
        logins::{self, Login},
    },
};
use sea_orm::{ConnectionTrait as _, DatabaseConnection, Statement, TransactionTrait as _};
use serde_json::Value;

use crate::{
    harness::{self, rule_entries},
    postgres,
};

const CHILDREN: usize = 60_000;
/// How many rows a statement may read: each operation below names at most a hundred children, which
/// are in as many segments.
const MAX_ROWS: f64 = 1_000.0;
const LIST: ChildType = ChildType::Product;

fn id(number: usize) -> ChildId {
    ChildId::trusted(format!("p{number}"))
}

/// A hundred children, spread over the list.
fn scattered() -> Vec<ChildId> {
    (0..100).map(|n| id(n * CHILDREN / 100)).collect()
}

/// The collection with the long list.
fn long() -> CollectionId {
    CollectionId::trusted("long")
}

async fn make_long(service: &Service, caller: &Caller) {
    let command = creation("long".to_owned(), Parents::Root, Vec::new());
    service.execute(caller, command).await.unwrap();
    let all = Mutation::append((0..CHILDREN).map(id).collect());
    mutate(service, caller, all).await;
}

async fn mutate(service: &Service, caller: &Caller, mutation: Mutation) {
    let command = UpdateCollection {
        mutations: vec![ChildMutation {
            list: LIST,
            mutation,
        }],
        ..UpdateCollection::of(long())
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
    let indexes = scattered()
        .into_iter()
        .zip((0..100).map(|n| Place::Index(n * 7)));
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
    let child = id(31_234);
    service
        .get_child(caller, &long(), LIST, &child)
        .await
        .unwrap();
    let page = ListChildren {
        collection: long(),
        list: LIST,
        products: None,
        start: ChildStart::Index(44_000),
        size: 50,
    };
    service.list_children(caller, page).await.unwrap();
}

/// The maximum number of rows that a part of the plan read from a table of children, used or not.
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
        read <= MAX_ROWS,
        "{mode}: {read} rows read by {}: {plans:#}",
        statement.sql
    );
    tx.rollback().await.unwrap();
}

/// A store that records its statements, and another connection to its database.
async fn recorded(place: DatabasePlace) -> (Store, Arc<Mutex<Vec<Statement>>>, DatabaseConnection) {
    let url = harness::url(&place);
    let store = Store::connect(&harness::database(place)).await.unwrap();
    let sent: Arc<Mutex<Vec<Statement>>> = Arc::default();
    let record = Arc::clone(&sent);
    store.on_statement(move |statement| record.lock().unwrap().push(statement.clone()));
    store.migrate().await.unwrap();
    (store, sent, sea_orm::Database::connect(url).await.unwrap())
}

/// Keeps PostgreSQL from gathering statistics of a table while a test runs.
async fn without_statistics(db: &DatabaseConnection, table: &str) {
    let off = format!("ALTER TABLE {table} SET (autovacuum_enabled = false)");
    db.execute_unprepared(&off).await.unwrap();
}

#[tokio::test]
async fn no_plan_reads_a_whole_list_for_a_few_children() {
    let place = DatabasePlace::Url(postgres::new_database().await);
    let (store, sent, db) = recorded(place).await;
    let config = app::config(&Flags::default(), None).unwrap();
    let service = app::service(&config, store);
    let caller = Caller::operator(TenantId::trusted("default"));
    make_long(&service, &caller).await;
    sent.lock().unwrap().clear();
    operate(&service, &caller).await;

    let about = |statement: &Statement| {
        let sql = &statement.sql;
        // A plain INSERT looks up no rows, and can't be executed twice.
        let looks = !sql.contains("INSERT INTO") || sql.contains("ON CONFLICT");
        looks && (sql.contains("members") || sql.contains("segment_contents"))
    };
    let mut statements = std::mem::take(&mut *sent.lock().unwrap());
    statements.retain(about);
    assert!(statements.len() > 15, "{statements:?}");
    for analyze in ["SELECT 1", "ANALYZE"] {
        db.execute_unprepared(analyze).await.unwrap();
        for statement in &statements {
            for mode in ["force_custom_plan", "force_generic_plan"] {
                explain(&db, statement, mode).await;
            }
        }
    }
}

const PRODUCTS: usize = 20_000;
const COLLECTIONS: usize = 300;

/// Statements that may read all of a tenant's rows of a table, by a part of their text.
const READS_ALL: [(&str, &str); 10] = [
    (
        "changed.value FROM evaluations",
        "each running evaluation must evaluate a changed product again",
    ),
    (
        "\"outdated\" FROM \"evaluations\"",
        "all running evaluations of a tenant are read together",
    ),
    (
        "FILTER (WHERE \"bytes\"",
        "an evaluation reads all products, some at a time",
    ),
    ("LIKE", "no index finds a part of a text"),
    ("OFFSET", "those before a page are counted"),
    (
        "ORDER BY \"collections\".\"search_name\"",
        "a page in another order is chosen among all",
    ),
    ("COUNT(*)", "an exact total counts all"),
    (
        "SELECT DISTINCT \"id\" FROM (SELECT \"members\".\"child_id\" AS \"id\" FROM \"members\" WHERE",
        "of no collection in particular, those that are not registered are among all members",
    ),
    (
        "AS \"matching\" ORDER BY",
        "the total beside a page counts all; without statistics PostgreSQL sorts them, too",
    ),
    ("\"create_time\" DESC", "the same of collections"),
];

/// The columns that an index look-up must compare, in addition to the tenant. Otherwise it reads all
/// rows of the tenant.
const KEYS: [(&str, &[&str]); 23] = [
    ("members_pkey", &["collection_id"]),
    ("switched_lists_pkey", &["collection_id"]),
    ("members_parents", &["list", "child_id"]),
    ("segments_pkey", &["collection_id"]),
    ("segment_contents_pkey", &["collection_id"]),
    ("collections_pkey", &["id"]),
    ("collections_slug", &["slug"]),
    ("collections_newest", &["create_time"]),
    ("collections_active", &["active"]),
    ("requests_pkey", &["request_id"]),
    ("api_keys_pkey", &["key_id"]),
    ("logins_pkey", &["login_id"]),
    ("logins_of_key", &["key_id"]),
    ("products_pkey", &["id"]),
    ("products_slug", &["slug"]),
    ("members_sort_key", &["collection_id"]),
    ("rule_entries_pkey", &["collection_id"]),
    ("rule_entries_product", &["product_id"]),
    ("evaluations_pkey", &["collection_id"]),
    ("due_evaluations_pkey", &["product_id"]),
    ("due_evaluations_time", &["due_time"]),
    ("collections_rules_stamp", &["rules_stamp"]),
    ("job_lists_pkey", &["job_id"]),
];
/// The most parameters of a statement that inserts no rows. A set of values is bound as one array:
/// with a parameter for each value, PostgreSQL may compare each row with each value, and SQLite
/// rejects long conditions.
const MAX_PARAMETERS: usize = 19;
/// The tables that are checked. Jobs are exempt: there are few, since every server reads all of
/// them once a second.
const TABLES: [&str; 13] = [
    "members",
    "segments",
    "segment_contents",
    "collections",
    "products",
    "requests",
    "api_keys",
    "logins",
    "rule_entries",
    "evaluations",
    "due_evaluations",
    "job_lists",
    "switched_lists",
];

fn product(number: usize) -> ProductId {
    ProductId::trusted(format!("p{number}"))
}

fn collection(number: usize) -> CollectionId {
    CollectionId::trusted(format!("c{number}"))
}

fn upserts(ids: impl Iterator<Item = usize>, collections: &Listing) -> UpsertProducts {
    let upsert = |number| ProductUpsert {
        changes: ProductChanges {
            title: Change::Set(format!("Product {number}")),
            id: product(number),
            slug: Change::Keep,
            product_type: Change::Keep,
            attributes: MapChange::default(),
            details: DetailsChanges::default(),
            only_new: Vec::new(),
        },
        collections: collections.clone(),
    };
    UpsertProducts {
        products: ids.map(upsert).collect(),
        expected: Expected::Any,
        completion: None,
        return_collections: true,
        retry: None,
    }
}

fn creation(id: String, parents: Parents, products: Vec<ProductId>) -> CreateCollection {
    let name = Some(format!("Collection {id}"));
    let name = ((Locale::trusted("en"), TextField::DisplayName), name);
    let changes = Changes {
        texts: MapChange {
            entries: [name].into(),
            ..MapChange::default()
        },
        ..Changes::default()
    };
    CreateCollection {
        draft: Draft {
            id: Some(CollectionId::trusted(id)),
            kind: Kind::Manual,
            changes,
        },
        parents,
        products,
        include: Include::default(),
        retry: None,
    }
}

async fn fill(service: &Service, caller: &Caller) {
    for first in (0..PRODUCTS).step_by(1_000) {
        let command = upserts(first..first + 1_000, &Listing::Same);
        service.execute(caller, command).await.unwrap();
    }
    for number in 0..COLLECTIONS {
        let (parents, share) = match number {
            0..10 => (Parents::Root, 200),
            _ => (Parents::Under([collection(number % 10)].into()), 65),
        };
        let first = number * share;
        let products = (first..first + share).map(|n| product(n % PRODUCTS));
        let command = creation(collection(number).to_string(), parents, products.collect());
        service.execute(caller, command).await.unwrap();
    }
    make_long(service, caller).await;
    let sorted = Sort {
        by: SortBy::Title,
        descending: true,
        out_of_stock_last: false,
    };
    for number in 0..20 {
        smart(service, caller, &format!("tagged{number}"), tagged(), None).await;
        let sort = Some(sorted.clone());
        smart(service, caller, &format!("sorted{number}"), tagged(), sort).await;
    }
    let new = condition(
        Field::Created,
        Operator::NewerThan,
        Operand::Duration(Duration::from_secs(86_400)),
    );
    smart(service, caller, "new", new, None).await;
    let also = Operand::Text("tagged0".into());
    let naming = condition(Field::Collection, Operator::In, also);
    smart(service, caller, "naming", naming, None).await;
}

fn condition(field: Field, operator: Operator, operand: Operand) -> Rule {
    Rule::Condition(Condition {
        field,
        operator,
        operands: vec![operand],
    })
}

fn tagged() -> Rule {
    condition(Field::Tag, Operator::Equals, Operand::Text("hot".into()))
}

async fn smart(service: &Service, caller: &Caller, id: &str, root: Rule, sort: Option<Sort>) {
    let mut command = creation(id.to_owned(), Parents::Root, Vec::new());
    let rules = Rules { root };
    command.draft.kind = Kind::Smart { rules };
    command.draft.changes.sort = sort.map_or(Change::Keep, Change::Set);
    service.execute(caller, command).await.unwrap();
}

/// Changes products so that the lists of smart collections change, and the lists of collections
/// whose rules name them.
async fn follow(service: &Service, caller: &Caller) {
    let hot = || (0..20).map(|n| n * 930);
    for tags in [
        vec!["hot".to_owned()],
        vec!["hot".to_owned(), "x".to_owned()],
    ] {
        let mut command = upserts(hot(), &Listing::Same);
        for (upsert, tag) in command.products.iter_mut().zip(1..) {
            upsert.changes.title = Change::Set(format!("{tag} {}", tags.len()));
            upsert.changes.details.tags = Change::Set(tags.clone());
        }
        service.execute(caller, command).await.unwrap();
    }
    for kind in [EntryKind::Include, EntryKind::Pin, EntryKind::Exclude] {
        let pin = |at| (kind == EntryKind::Pin).then_some(at);
        for (replace, added, removed) in [(false, 20, 7), (true, 2, 8), (false, 20, 9)] {
            let add = hot().take(added).zip(1..);
            let add = add.map(|(id, at)| (product(id), pin(at))).collect();
            let change = ChangeRuleEntries {
                remove: vec![product(removed)],
                replace,
                ..rule_entries(CollectionId::trusted("sorted3"), kind, add)
            };
            // A product that is included or pinned can't be excluded.
            let done = service.execute(caller, change).await;
            assert_eq!(done.is_err(), kind == EntryKind::Exclude);
        }
        let page = ListRuleEntries {
            collection: CollectionId::trusted("sorted3"),
            kind,
            token: None,
            size: 10,
        };
        service.list_rule_entries(caller, page).await.unwrap();
    }
    let explained = CollectionId::trusted("sorted3");
    let explained = service.explain_membership(caller, &explained, product(930));
    assert!(explained.await.unwrap().is_member);
    let draft = ListMatchingCollections {
        product: upserts(hot().take(1), &Listing::Same)
            .products
            .remove(0)
            .changes,
        token: None,
        size: 10,
    };
    service
        .list_matching_collections(caller, draft)
        .await
        .unwrap();
    let order = Mutation::MoveIds {
        ids: vec![ChildId::from(product(1_860))],
        position: Position::Index(0),
    };
    let command = UpdateCollection {
        mutations: vec![ChildMutation {
            list: LIST,
            mutation: order,
        }],
        ..UpdateCollection::of(CollectionId::trusted("tagged1"))
    };
    service.execute(caller, command).await.unwrap();
    service.do_due().await;
    let deletion = DeleteProducts {
        ids: hot().map(product).collect(),
        known_only: false,
        retry: None,
    };
    service.execute(caller, deletion).await.unwrap();
}

/// Writes that enqueue jobs, and the jobs.
async fn work_later(service: &Service, caller: &Caller) {
    let mut command = upserts((0..20).map(|n| n * 940), &Listing::Same);
    for upsert in &mut command.products {
        upsert.changes.details.tags = Change::Set(vec!["hot".to_owned()]);
    }
    service.execute(caller, command).await.unwrap();
    while service.do_job("plans").await.unwrap() {}
    let deletion = DeleteProducts {
        ids: vec![product(940)],
        known_only: false,
        retry: None,
    };
    service.execute(caller, deletion).await.unwrap();
    while service.do_job("plans").await.unwrap() {}
    let sort = Sort {
        by: SortBy::Created,
        descending: false,
        out_of_stock_last: false,
    };
    let changes = Changes {
        sort: Change::to(Some(sort)),
        ..Changes::default()
    };
    let sort = UpdateCollection {
        changes,
        ..UpdateCollection::of(CollectionId::trusted("sorted3"))
    };
    service.execute(caller, sort).await.unwrap();
    let command = upserts((0..20).map(|n| n * 950), &Listing::Same);
    service.execute(caller, command).await.unwrap();
    while service.do_job("plans").await.unwrap() {}
}

fn bytes<T>() -> PageBytes<T> {
    PageBytes {
        max: 1 << 20,
        of: Arc::new(|_| 1),
    }
}

fn list_collections(filter: CollectionFilter, start: PageStart) -> ListCollections {
    ListCollections {
        filter,
        all_there: false,
        order: Vec::new(),
        scan: None,
        descendants: None,
        ancestors: Ancestors::Named,
        start,
        size: 50,
        bytes: Some(bytes()),
        paths: Some(1_000),
        omit_total: false,
    }
}

fn list_products(filter: ProductFilter, start: PageStart) -> ListProducts {
    ListProducts {
        filter,
        slug: None,
        start,
        size: 50,
        bytes: Some(bytes()),
        omit_total: false,
        include_descendants: false,
        all_there: false,
        scan: None,
    }
}

/// Adds enough collections and segments for PostgreSQL's costs of the access paths to differ.
async fn add_collections(db: &DatabaseConnection) {
    harness::copy_collection(db, "c1", "'x' || x", 20_000).await;
    let copy = "INSERT INTO segments (tenant_id, collection_id, list, segment_id, rank, len) \
                SELECT tenant_id, 'x' || n, list, segment_id, rank, len \
                FROM segments, generate_series(1, 20000) AS n WHERE collection_id = 'c1'";
    db.execute_unprepared(copy).await.unwrap();
}

async fn read(service: &Service, caller: &Caller) {
    let some: Vec<_> = (100..120).map(collection).collect();
    let key = Key::Id(collection(77));
    service.get_collection(caller, key).await.unwrap();
    service
        .batch_get_collections(caller, some.clone(), &bytes())
        .await
        .unwrap();
    let page = || list_collections(CollectionFilter::default(), PageStart::First);
    let first = service.list_collections(caller, page()).await.unwrap();
    let next = PageStart::Token(first.next.unwrap());
    let filters = [
        CollectionFilter {
            ids: Some(some.clone()),
            ..CollectionFilter::default()
        },
        CollectionFilter {
            parents: Some(vec![collection(3)]),
            ..CollectionFilter::default()
        },
        CollectionFilter {
            active: true,
            ..CollectionFilter::default()
        },
        CollectionFilter {
            orphaned: true,
            ..CollectionFilter::default()
        },
    ];
    let pages = filters.map(|filter| list_collections(filter, PageStart::First));
    let descendants = ListCollections {
        descendants: Some(Depth {
            levels: 2,
            or_fewer: true,
        }),
        ..page()
    };
    let next = list_collections(CollectionFilter::default(), next);
    // Like a request of a dialect.
    let ordered = ListCollections {
        order: vec![Order {
            by: OrderBy::DisplayName,
            descending: false,
        }],
        ..list_collections(CollectionFilter::default(), PageStart::Offset(100))
    };
    for command in pages.into_iter().chain([descendants, next, ordered]) {
        service.list_collections(caller, command).await.unwrap();
    }
    let parents = ListParents {
        list: LIST,
        child: id(7),
        token: None,
        size: 50,
    };
    service.list_parents(caller, parents).await.unwrap();

    service.get_product(caller, product(7)).await.unwrap();
    let page = |filter| list_products(filter, PageStart::First);
    let first = page(ProductFilter::default());
    let first = service.list_products(caller, first).await.unwrap();
    let next = PageStart::Token(first.next.unwrap());
    let named = ProductFilter {
        ids: Some((0..20).map(|n| product(n * 900)).collect()),
        ..ProductFilter::default()
    };
    let of_some = ProductFilter {
        collections: Some(some),
        ..ProductFilter::default()
    };
    let registered_only = |filter: &ProductFilter| ProductFilter {
        registered_only: true,
        ..filter.clone()
    };
    let under_one = ListProducts {
        include_descendants: true,
        ..page(ProductFilter {
            collections: Some(vec![collection(3)]),
            ..ProductFilter::default()
        })
    };
    let unassigned = ProductFilter {
        unassigned: true,
        ..ProductFilter::default()
    };
    let titled = ProductFilter {
        title: Some("p1".into()),
        ..ProductFilter::default()
    };
    let titled_of_some = ProductFilter {
        title: titled.title.clone(),
        ..of_some.clone()
    };
    let commands = [
        under_one,
        page(unassigned),
        page(titled),
        page(titled_of_some),
        list_products(ProductFilter::default(), next),
        page(registered_only(&ProductFilter::default())),
        page(registered_only(&named)),
        page(registered_only(&of_some)),
        page(named),
        page(of_some),
    ];
    for command in commands {
        service.list_products(caller, command).await.unwrap();
    }
    for whole in [false, true] {
        let page = ListChildren {
            collection: collection(77),
            list: LIST,
            products: Some(ChildProducts {
                whole,
                bytes: bytes(),
            }),
            start: ChildStart::Index(0),
            size: 50,
        };
        let page = service.list_children(caller, page).await.unwrap();
        assert!(page.products.iter().all(|one| one.product.is_some()));
    }
}

/// Adds enough keys, logins, stored responses, rule entries, due times and lists of jobs that a
/// full scan matters.
async fn fill_others(db: &DatabaseConnection) {
    for insert in [
        "INSERT INTO requests (tenant_id, subject, method, request_id, fingerprint, answer, \
         form, create_time) SELECT 'default', 'operator', 'test', 'x' || x, 'f', '', 0, x FROM n",
        "INSERT INTO logins (login_id, key_id, key_hash, secret_hash, create_time, end_time) \
         SELECT 'x' || x, 'k' || x, 'h', 'h', x, x FROM n",
        "INSERT INTO api_keys (key_id, label, hash, tenants, scopes, create_time) \
         SELECT 'x' || x, 'l', 'h', '*', '', x FROM n",
        "INSERT INTO rule_entries (tenant_id, collection_id, kind, product_id, place) \
         SELECT 'default', 'x' || x, 1, 'y' || x, x FROM n",
        "INSERT INTO due_evaluations (tenant_id, product_id, due_time) \
         SELECT 'default', 'y' || x, 4000000000000000 + x FROM n",
        "INSERT INTO job_lists (job_id, collection_id, child_id) \
         SELECT 'x' || x, 'y', 'z' FROM n",
        "INSERT INTO switched_lists (tenant_id, collection_id) SELECT 'default', 'x' || x FROM n",
        "INSERT INTO evaluations (tenant_id, collection_id, job_id, sort, last_product, done, total) \
         SELECT 'other', 'x' || x, 'x' || x, '', '', 0, 1 FROM n",
    ] {
        let numbers = "WITH RECURSIVE n(x) AS \
                       (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 5000)";
        let filled = db.execute_unprepared(&format!("{numbers} {insert}")).await;
        filled.unwrap();
    }
}

/// The reads that precede those of a tenant's data: keys, logins and stored responses.
async fn identify(store: &Store, service: &Service, caller: &Caller) {
    keys::find(store, "0123456789abcdef").await.unwrap();
    for n in 0..3 {
        let login = Login {
            id: format!("login{n}"),
            key_id: "key".into(),
            key_hash: "hash".into(),
            secret_hash: "hash".into(),
            end_time: Timestamp::now(),
        };
        logins::insert(store, &login, 2).await.unwrap();
    }
    logins::find(store, "login1").await.unwrap();
    for _ in 0..2 {
        let request = Retryable {
            method: "test",
            id: RequestId::parse("id", "r1").unwrap(),
            fingerprint: "f".into(),
        };
        let command = UpdateCollection {
            retry: Some(Retry {
                request,
                encode: Arc::new(|_| Some(Vec::new())),
                summarize: Arc::new(|_| Vec::new()),
            }),
            ..UpdateCollection::of(collection(9))
        };
        service.execute(caller, command).await.unwrap();
    }
}

async fn write(service: &Service, caller: &Caller) {
    let listing = Listing::Also([collection(5), collection(6)].into());
    let command = upserts((0..20).map(|n| n * 950), &listing);
    service.execute(caller, command).await.unwrap();
    let command = upserts(PRODUCTS..PRODUCTS + 20, &Listing::Same);
    service.execute(caller, command).await.unwrap();
    for assignment in [Assignment::Link, Assignment::Unlink] {
        let command = AssignProducts {
            products: (0..20).map(|n| product(n * 870)).collect(),
            collections: (200..205).map(collection).collect(),
            assignment,
            return_products: true,
            retry: None,
        };
        service.execute(caller, command).await.unwrap();
    }
    // Half of the segments are renumbered, and a list is replaced of which a part stays.
    let range = Mutation::MoveRange {
        first: 0,
        last: CHILDREN as u64 / 2,
        position: Position::Index(CHILDREN as u64 / 3),
    };
    mutate(service, caller, range).await;
    let command = UpdateCollection {
        mutations: vec![ChildMutation {
            list: LIST,
            mutation: Mutation::Replace {
                ids: (150 * 65..151 * 65 + 9).map(id).collect(),
            },
        }],
        ..UpdateCollection::of(collection(150))
    };
    service.execute(caller, command).await.unwrap();
    let parents: BTreeSet<_> = [collection(1), collection(2)].into();
    let command = UpdateCollection {
        parents: Some(parents),
        ..UpdateCollection::of(collection(99))
    };
    service.execute(caller, command).await.unwrap();
    let command = MoveCollection {
        child: collection(98),
        movement: Movement::Move {
            from: None,
            to: collection(4),
            at: TargetPosition::Last,
        },
        retry: None,
    };
    service.execute(caller, command).await.unwrap();
    let command = DeleteProducts {
        ids: (0..20).map(|n| product(n * 800)).collect(),
        known_only: false,
        retry: None,
    };
    service.execute(caller, command).await.unwrap();
    let command = DeleteCollection {
        id: collection(2),
        force: true,
        etag: None,
        retry: None,
    };
    service.execute(caller, command).await.unwrap();
}

/// The parts of a PostgreSQL plan that read a table without looking up rows.
fn scans(plan: &Value, found: &mut Vec<String>) {
    let text = |name: &str| plan[name].as_str().unwrap_or_default();
    let number = |name: &str| plan[name].as_f64().unwrap_or_default();
    let (node, table) = (text("Node Type"), text("Relation Name"));
    let (index, condition) = (text("Index Name"), text("Index Cond"));
    let looks_up = match node {
        // Judged by the index scan below it.
        "Tid Scan" | "ModifyTable" | "Bitmap Heap Scan" => true,
        _ => KEYS.iter().any(|(name, columns)| {
            let is_compared = |column: &&str| {
                let compared = [format!("({column} "), format!("({column})::text ")];
                compared.iter().any(|part| condition.contains(part))
            };
            *name == index && columns.iter().all(is_compared)
        }),
    };
    let read = (number("Actual Rows") + number("Rows Removed by Filter")) * number("Actual Loops");
    let is_table = TABLES.contains(&table)
        || (table.is_empty() && KEYS.iter().any(|(name, _)| *name == index));
    if is_table && !looks_up {
        found.push(format!(
            "{node} of {table}{index} ({condition}), {read} rows"
        ));
    }
    for part in plan["Plans"].as_array().into_iter().flatten() {
        scans(part, found);
    }
}

/// The same for SQLite.
fn sqlite_scans(details: &[String]) -> Vec<String> {
    let reads_all = |detail: &&String| {
        let mut words = detail.split_whitespace();
        let (how, table) = (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        if !TABLES.contains(&table) {
            return false;
        }
        let named =
            detail.ends_with("(tenant_id=?)") || detail.ends_with("(tenant_id=? AND list=?)");
        how == "SCAN" || named
    };
    details.iter().filter(reads_all).cloned().collect()
}

/// The parts of a statement's plan that read a table instead of looking up rows.
async fn offences(db: &DatabaseConnection, statement: &Statement, mode: &str) -> Vec<String> {
    let tx = db.begin().await.unwrap();
    let explained = |how: &str| Statement {
        sql: format!("{how} {}", statement.sql),
        ..statement.clone()
    };
    let mut found = Vec::new();
    if mode.is_empty() {
        let rows = tx
            .query_all_raw(explained("EXPLAIN QUERY PLAN"))
            .await
            .unwrap();
        let details: Vec<String> = rows
            .iter()
            .map(|row| row.try_get_by_index(3).unwrap())
            .collect();
        found = sqlite_scans(&details);
    } else {
        let set = format!("SET LOCAL plan_cache_mode = {mode}");
        tx.execute_unprepared(&set).await.unwrap();
        let explain = explained("EXPLAIN (ANALYZE, FORMAT JSON)");
        let row = tx.query_one_raw(explain).await.unwrap().unwrap();
        let plans: Value = row.try_get_by_index(0).unwrap();
        scans(&plans[0]["Plan"], &mut found);
    }
    tx.rollback().await.unwrap();
    found
}

async fn no_request_reads_a_whole_table(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let place = match engine {
        Engine::Sqlite => DatabasePlace::File(folder.path().join("endcap.db")),
        Engine::Postgres => DatabasePlace::Url(postgres::new_database().await),
    };
    let (store, sent, db) = recorded(place).await;
    let modes: &[&str] = match engine {
        Engine::Sqlite => &[""],
        Engine::Postgres => {
            for table in TABLES {
                without_statistics(&db, table).await;
            }
            &["force_custom_plan", "force_generic_plan"]
        }
    };
    let flags = Flags {
        max_scanned: Some("100000".into()),
        ..Flags::default()
    };
    let config = app::config(&flags, None).unwrap();
    let service = app::service(&config, store.clone());
    let caller = Caller::operator(TenantId::trusted("default"));
    fill(&service, &caller).await;
    if engine == Engine::Postgres {
        add_collections(&db).await;
    }
    fill_others(&db).await;
    sent.lock().unwrap().clear();
    read(&service, &caller).await;
    identify(&store, &service, &caller).await;
    follow(&service, &caller).await;
    let low = Flags {
        max_synchronous_changes: Some("1".into()),
        max_lists_at_once: Some("1".into()),
        max_synchronous_products: Some("1".into()),
        ..Flags::default()
    };
    let low = app::config(&low, None).unwrap();
    work_later(&app::service(&low, store.clone()), &caller).await;
    write(&service, &caller).await;
    let mut statements = std::mem::take(&mut *sent.lock().unwrap());
    for statement in &statements {
        let count = statement.values.as_ref().map_or(0, |it| it.0.len());
        let of_rows = statement.sql.contains(" VALUES (");
        assert!(of_rows || count <= MAX_PARAMETERS, "{}", statement.sql);
    }
    let looks = |statement: &Statement| {
        let sql = &statement.sql;
        let may = READS_ALL.iter().any(|(part, _)| sql.contains(part));
        !may && (!sql.contains("INSERT INTO") || sql.contains("ON CONFLICT"))
    };
    statements.retain(looks);
    // Each statement once: without lists, its plan does not depend on the values.
    let mut seen = BTreeSet::new();
    statements.retain(|statement| seen.insert(statement.sql.clone()));
    assert!(statements.len() > 25, "{}", statements.len());
    for table in TABLES {
        assert!(
            statements.iter().any(|it| it.sql.contains(table)),
            "{table}"
        );
    }
    let mut found = BTreeSet::new();
    for analyze in ["SELECT 1", "ANALYZE"] {
        db.execute_unprepared(analyze).await.unwrap();
        for statement in &statements {
            for mode in modes {
                for scan in offences(&db, statement, mode).await {
                    found.insert(format!("{analyze} {mode}: {scan}: {}", statement.sql));
                }
            }
        }
    }
    let found: Vec<_> = found
        .into_iter()
        .map(|text| text.chars().take(900).collect::<String>())
        .collect();
    assert!(found.is_empty(), "{engine:?}:\n{}", found.join("\n"));
}

#[tokio::test]
async fn no_statement_scans_a_table_unless_listed_on_sqlite() {
    no_request_reads_a_whole_table(Engine::Sqlite).await;
}

#[tokio::test]
async fn no_statement_scans_a_table_unless_listed_on_postgresql() {
    no_request_reads_a_whole_table(Engine::Postgres).await;
}

/// With this many members, PostgreSQL may rather compare the codes of the lists of all members than
/// look for each code in the index.
#[tokio::test]
async fn the_lists_of_products_are_looked_up_without_statistics() {
    const MEMBERS: usize = 20_000;
    let place = DatabasePlace::Url(postgres::new_database().await);
    let (store, sent, db) = recorded(place).await;
    without_statistics(&db, "members").await;
    let config = app::config(&Flags::default(), None).unwrap();
    let service = app::service(&config, store);
    let caller = Caller::operator(TenantId::trusted("default"));
    let create = creation(
        "many".into(),
        Parents::Root,
        (0..MEMBERS).map(product).collect(),
    );
    service.execute(&caller, create).await.unwrap();
    sent.lock().unwrap().clear();
    let parents = ListParents {
        list: LIST,
        child: product(7).into(),
        token: None,
        size: 50,
    };
    service.list_parents(&caller, parents).await.unwrap();
    let delete = DeleteProducts {
        ids: (0..20).map(product).collect(),
        known_only: false,
        retry: None,
    };
    service.execute(&caller, delete).await.unwrap();
    let mut statements = std::mem::take(&mut *sent.lock().unwrap());
    statements.retain(|statement| statement.sql.contains("members"));
    assert!(statements.len() > 2, "{statements:?}");
    for statement in &statements {
        for mode in ["force_custom_plan", "force_generic_plan"] {
            let found = offences(&db, statement, mode).await;
            assert!(found.is_empty(), "{mode}: {found:?}: {}", statement.sql);
        }
    }
}
