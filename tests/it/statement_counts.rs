//! A write to many lists, or to many places of one list, takes at most 1.5 times as many statements
//! as a write to one.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use endcap::{
    app,
    config::Flags,
    domain::{
        Caller, Change, Changes, ChildId, ChildType, CollectionId, Condition, DetailsChanges,
        Draft, EntryKind, Field, Kind, Locale, MapChange, Mutation, OnDuplicate, Operand, Operator,
        Position, ProductChanges, ProductId, Rule, Rules, Sort, SortBy, TenantId, TextField,
    },
    service::{
        AssignProducts, Assignment, ChildMutation, ChildStart, Command, CreateCollection,
        DeleteCollection, DeleteProducts, Expected, Include, ListChildren, Listing, Parents,
        ProductUpsert, Service, UpdateCollection, UpsertProducts,
    },
    store::{
        Engine::{self, Postgres, Sqlite},
        Store, check,
        children::Children,
    },
};
use rstest::rstest;

use crate::harness::{self, rule_entries};

/// The numbers of lists that change.
const COUNTS: [usize; 4] = [1, 10, 100, 1_000];
const LISTS: usize = 1_000;
/// The maximum, relative to the statements for one list.
const MAX_RATIO: f64 = 1.5;
/// The maximum number of statements for updating the lists that a product changes.
const MAX_EVALUATED: u64 = 30;
/// The contents of every list at first, and after [`operate`].
const BEFORE: [&str; 6] = ["b0", "b1", "b2", "b3", "b4", "b5"];
const AFTER: [&str; 6] = ["b0", "b1", "b2", "b5", "b3", "b4"];

struct Counter {
    service: Service,
    caller: Caller,
    statements: Arc<AtomicU64>,
    /// By operation, for each of [`COUNTS`].
    counted: BTreeMap<&'static str, Vec<u64>>,
}

impl Counter {
    async fn run<C: Command>(&mut self, operation: &'static str, command: C) {
        let before = self.statements.load(Ordering::Relaxed);
        self.service.execute(&self.caller, command).await.unwrap();
        let sent = self.statements.load(Ordering::Relaxed) - before;
        self.counted.entry(operation).or_default().push(sent);
    }

    /// Checks that the numbers of statements hardly grow with [`COUNTS`], which count `what`.
    fn check(&self, what: &str) {
        for (operation, counted) in &self.counted {
            let one = counted[0] as f64;
            let too_many = counted.iter().any(|many| *many as f64 > MAX_RATIO * one);
            assert!(!too_many, "{operation}: {counted:?} for {COUNTS:?} {what}");
        }
    }
}

/// The creation of a smart collection of the products that have one of the tags.
fn smart(id: &str, tags: Vec<Operand>, is_sorted: bool) -> CreateCollection {
    let root = Rule::Condition(Condition {
        field: Field::Tag,
        operator: Operator::In,
        operands: tags,
    });
    let mut command = creation(id, Parents::None);
    command.draft.kind = Kind::Smart {
        rules: Rules { root },
    };
    if is_sorted {
        command.draft.changes.sort = Change::Set(Sort {
            by: SortBy::Title,
            descending: false,
            out_of_stock_last: true,
        });
    }
    command
}

/// Creates a smart collection of the products that have the tag of any count above its number.
/// Every other collection is sorted, and has a pinned product.
async fn make_smart(counter: &Counter, number: usize) {
    let id = format!("s{number:04}");
    let tags = COUNTS.iter().filter(|count| number < **count);
    let tags = tags.map(|count| Operand::Text(format!("t{count}")));
    let is_sorted = number.is_multiple_of(2);
    let command = smart(&id, tags.collect(), is_sorted);
    let execute = counter.service.execute(&counter.caller, command);
    execute.await.unwrap();
    if is_sorted {
        let pin = vec![(ProductId::trusted("q0"), Some(1))];
        let pin = rule_entries(CollectionId::trusted(id), EntryKind::Pin, pin);
        counter.service.execute(&counter.caller, pin).await.unwrap();
    }
}

/// The writes that change `count` lists of smart collections.
async fn evaluate(counter: &mut Counter, count: usize) {
    let tagged = |id: &str, title: &str, count: Option<usize>| {
        let mut command = upsert(id, Listing::Same);
        let changes = &mut command.products[0].changes;
        changes.title = Change::Set(title.into());
        let tags = count.map(|count| format!("t{count}"));
        changes.details.tags = Change::Set(tags.into_iter().collect());
        command
    };
    counter
        .run("match new", tagged("q0", "b", Some(count)))
        .await;
    counter
        .run("match second", tagged("q1", "c", Some(count)))
        .await;
    counter
        .run("move in order", tagged("q1", "a", Some(count)))
        .await;
    counter.run("match no more", tagged("q0", "b", None)).await;
    counter
        .run("match again", tagged("q0", "b", Some(count)))
        .await;
    let delete = DeleteProducts {
        ids: ["q0", "q1"].map(ProductId::trusted).into(),
        known_only: true,
        retry: None,
    };
    counter.run("delete matching", delete).await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn smart_lists_take_a_bounded_number_of_statements(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let (mut counter, _store, _folder) = counter(engine).await;
    // For a tenant without smart collections, one statement determines this.
    counter.run("no rules", upsert("q9", Listing::Same)).await;
    for number in 0..LISTS {
        make_smart(&counter, number).await;
    }
    // Compiles the rules before the measurement.
    counter.run("other", upsert("q9", Listing::Same)).await;
    for count in COUNTS {
        evaluate(&mut counter, count).await;
    }
    for (operation, counted) in &counter.counted {
        let (one, most) = (counted[0] as f64, counted.iter().max().unwrap());
        let is_right = *most as f64 <= MAX_RATIO * one && *most <= MAX_EVALUATED;
        assert!(is_right, "{operation}: {counted:?} for {COUNTS:?} lists");
    }
}

/// A child of a list, by its number.
fn member(number: usize) -> String {
    format!("b{number:04}")
}

/// The write of `count` products with a tag and the titles of the first members.
fn tagged(count: usize, tag: &str, id: impl Fn(usize) -> String) -> UpsertProducts {
    let one = upsert("", Listing::Same).products.remove(0);
    let products = (0..count).map(|at| {
        let mut one = one.clone();
        one.changes.id = ProductId::trusted(id(at));
        one.changes.title = Change::Set(member(at));
        one.changes.details.tags = Change::Set(vec![tag.into()]);
        one
    });
    UpsertProducts {
        products: products.collect(),
        ..upsert("", Listing::Same)
    }
}

/// The writes that change a list at `count` places.
async fn change_places(counter: &mut Counter, count: usize) {
    let id = |name, number| format!("{name}{count:04}-{number:04}");
    // Each has the title of a member, and so a place of its own.
    counter
        .run("match", tagged(count, "in", |at| id("p", at)))
        .await;
    let others = tagged(count, "out", |at| id("i", at));
    counter.run("match nothing", others).await;
    let added = (0..count).map(|at| (ProductId::trusted(id("i", at)), None));
    let include = rule_entries(
        CollectionId::trusted("sorted"),
        EntryKind::Include,
        added.collect(),
    );
    counter.run("include", include).await;

    let manual = CollectionId::trusted(format!("manual{count}"));
    let mut command = creation(manual.as_str(), Parents::None);
    command.products = (0..3 * LISTS)
        .map(|at| ProductId::trusted(member(at)))
        .collect();
    counter
        .service
        .execute(&counter.caller, command)
        .await
        .unwrap();
    let child = |at| ChildId::trusted(member(3 * at));
    let insert = |at| Mutation::Insert {
        ids: vec![ChildId::trusted(id("m", at))],
        position: Position::After(child(at)),
        on_duplicate: OnDuplicate::Error,
    };
    let place = |at| Mutation::MoveIds {
        ids: vec![child(at)],
        position: Position::Index(0),
    };
    let remove = |at| Mutation::remove(vec![child(at)]);
    let kinds: [(_, &dyn Fn(usize) -> Mutation); 3] =
        [("insert", &insert), ("move", &place), ("remove", &remove)];
    for (operation, mutation) in kinds {
        let mutations = (0..count).map(|at| ChildMutation {
            list: ChildType::Product,
            mutation: mutation(at),
        });
        let update = UpdateCollection {
            mutations: mutations.collect(),
            ..UpdateCollection::of(manual.clone())
        };
        counter.run(operation, update).await;
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn places_take_a_bounded_number_of_statements(#[values(Sqlite, Postgres)] engine: Engine) {
    let (mut counter, _store, _folder) = counter(engine).await;
    let sorted = smart("sorted", vec![Operand::Text("in".into())], true);
    counter
        .service
        .execute(&counter.caller, sorted)
        .await
        .unwrap();
    let members = tagged(LISTS, "in", member);
    counter
        .service
        .execute(&counter.caller, members)
        .await
        .unwrap();
    for count in COUNTS {
        change_places(&mut counter, count).await;
    }
    counter.check("places");
}

/// The collection with this number.
fn list(number: usize) -> CollectionId {
    CollectionId::trusted(format!("c{number:04}"))
}

fn lists(count: usize) -> impl Iterator<Item = CollectionId> {
    (0..count).map(list)
}

fn creation(id: &str, parents: Parents) -> CreateCollection {
    let name = (Locale::trusted("en"), TextField::DisplayName);
    CreateCollection {
        draft: Draft {
            id: Some(CollectionId::trusted(id)),
            kind: Kind::Manual,
            changes: Changes {
                texts: MapChange::to([(name, id.to_owned())]),
                ..Changes::default()
            },
        },
        parents,
        products: Vec::new(),
        include: Include::default(),
        retry: None,
    }
}

fn assignment(
    products: &[&str],
    collections: impl Iterator<Item = CollectionId>,
    assignment: Assignment,
) -> AssignProducts {
    AssignProducts {
        products: products.iter().map(|id| ProductId::trusted(*id)).collect(),
        collections: collections.collect(),
        assignment,
        return_products: false,
        retry: None,
    }
}

fn upsert(product: &str, collections: Listing) -> UpsertProducts {
    let upsert = ProductUpsert {
        changes: ProductChanges {
            id: ProductId::trusted(product),
            title: Change::Set("t".into()),
            slug: Change::Keep,
            product_type: Change::Keep,
            attributes: MapChange::default(),
            details: DetailsChanges::default(),
            only_new: Vec::new(),
        },
        collections,
    };
    UpsertProducts {
        products: vec![upsert],
        expected: Expected::Any,
        completion: None,
        return_collections: true,
        retry: None,
    }
}

/// A service with [`LISTS`] lists, which all contain [`BEFORE`], in two segments each.
async fn counter(engine: Engine) -> (Counter, Store, tempfile::TempDir) {
    let flags = Flags {
        max_parents: Some("1000".into()),
        ..Flags::default()
    };
    let (config, store, folder) = harness::migrated(engine, &flags).await;
    let store = store.with_segment_target(5);
    let statements = Arc::<AtomicU64>::default();
    let count = Arc::clone(&statements);
    store.on_statement(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let mut counter = Counter {
        service: app::service(&config, store.clone()),
        caller: Caller::operator(TenantId::trusted("default")),
        statements,
        counted: BTreeMap::new(),
    };
    for id in ["c0000", "source", "target"] {
        let command = creation(id, Parents::None);
        counter
            .service
            .execute(&counter.caller, command)
            .await
            .unwrap();
    }
    let db = sea_orm::Database::connect(harness::url(&config.database.place));
    let id = "'c' || substr(CAST(10000 + x AS text), 2)";
    harness::copy_collection(&db.await.unwrap(), "c0000", id, LISTS - 1).await;
    let fill = assignment(&BEFORE, lists(LISTS), Assignment::Link);
    counter
        .service
        .execute(&counter.caller, fill)
        .await
        .unwrap();
    counter.counted.clear();
    (counter, store, folder)
}

/// Every operation that changes `count` lists.
async fn operate(counter: &mut Counter, count: usize) {
    let some = || lists(count);
    let link = assignment(&["x", "y"], some(), Assignment::Link);
    counter.run("link", link).await;
    let unlink = assignment(&["x"], some(), Assignment::Unlink);
    counter.run("unlink", unlink).await;
    let to_target = || [CollectionId::trusted("target")].into_iter();
    let move_all = || Assignment::Move { from: None };
    counter
        .run("leave all", assignment(&["y"], to_target(), move_all()))
        .await;
    let from_target = Assignment::Move {
        from: to_target().next(),
    };
    counter
        .run("move", assignment(&["y"], some(), from_target))
        .await;
    // The small remaining segment is merged with the previous one.
    let three = ["b3", "b4", "y"];
    counter
        .run(
            "unlink three",
            assignment(&three, some(), Assignment::Unlink),
        )
        .await;
    counter
        .run(
            "link again",
            assignment(&three[..2], some(), Assignment::Link),
        )
        .await;

    let only = || Listing::Only(some().collect());
    counter.run("upsert new", upsert("p", only())).await;
    let nowhere = Listing::Only([].into());
    counter.run("upsert nowhere", upsert("p", nowhere)).await;
    counter.run("upsert known", upsert("p", only())).await;
    let delete = DeleteProducts {
        ids: vec![ProductId::trusted("p")],
        known_only: true,
        retry: None,
    };
    counter.run("delete product", delete).await;

    let under = Parents::Under(some().collect());
    counter
        .run("create collection", creation("child", under))
        .await;
    let child = || CollectionId::trusted("child");
    let parents = |ids: Vec<CollectionId>| UpdateCollection {
        parents: Some(ids.into_iter().collect()),
        ..UpdateCollection::of(child())
    };
    let source = CollectionId::trusted("source");
    counter.run("leave parents", parents(vec![source])).await;
    counter.run("join parents", parents(some().collect())).await;
    let delete = DeleteCollection {
        id: child(),
        force: false,
        etag: None,
        retry: None,
    };
    counter.run("delete collection", delete).await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn lists_take_a_bounded_number_of_statements(#[values(Sqlite, Postgres)] engine: Engine) {
    let (mut counter, store, _folder) = counter(engine).await;
    for count in COUNTS {
        operate(&mut counter, count).await;
    }
    counter.check("lists");
    let tx = store
        .read(&counter.caller.reading().unwrap())
        .await
        .unwrap();
    let after: Vec<_> = AFTER.map(ChildId::trusted).into();
    for id in lists(LISTS) {
        let products = Children::uncached(&tx, &id, ChildType::Product);
        assert_eq!(products.all().await.unwrap(), after, "{id:?}");
    }
    for number in [0, 9, 99, 999] {
        let problems = check::problems(&tx, &list(number)).await.unwrap();
        assert!(problems.is_empty(), "{problems:?}");
    }
}

/// The reasons of a smart collection's products take one more statement per page.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_smart_collection_takes_one_more_statement(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let (counter, _store, _folder) = counter(engine).await;
    make_smart(&counter, 0).await;
    let mut tagged = upsert("q0", Listing::Same);
    tagged.products[0].changes.details.tags = Change::Set(vec!["t1".into()]);
    let tagged = counter.service.execute(&counter.caller, tagged);
    tagged.await.unwrap();
    for (id, len, statements) in [("c0000", BEFORE.len(), 1), ("s0000", 1, 2)] {
        let page = ListChildren {
            collection: CollectionId::trusted(id),
            list: ChildType::Product,
            products: None,
            start: ChildStart::Index(0),
            size: 50,
        };
        let before = counter.statements.load(Ordering::Relaxed);
        let page = counter.service.list_children(&counter.caller, page).await;
        assert_eq!(page.unwrap().children.len(), len);
        let sent = counter.statements.load(Ordering::Relaxed) - before;
        assert_eq!(sent, statements, "{id}");
    }
}
