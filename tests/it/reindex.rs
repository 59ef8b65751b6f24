//! `endcap reindex`: inconsistent lists of smart collections are rebuilt, and nothing else is
//! written.

use std::path::Path;

use endcap::{
    grpc::pb,
    store::Engine::{self, Postgres, Sqlite},
};
use rstest::rstest;
use sea_orm::{ConnectionTrait as _, Database};

use crate::{
    collections::{cheaper_than, creation, member_of, rules},
    commands::run,
    harness::{Server, append, create, mutate, named},
};

/// Products a to e, which cost 1 to 5, in two tenants. Each tenant has two smart collections of the
/// products cheaper than 4, one of them sorted, and a smart collection of the members of the sorted
/// one. The first tenant also has a manual collection.
async fn filled(server: &Server) {
    let (mut collections, mut products) = (server.grpc().await, server.products().await);
    for tenant_id in ["default", "shop"].map(str::to_owned) {
        let price = |amount: usize| pb::ProductPrice {
            id: "x".into(),
            amount: amount.to_string(),
            currency: "EUR".into(),
            ..pb::ProductPrice::default()
        };
        let product = |(at, id): (usize, &str)| pb::Product {
            id: id.into(),
            title: id.into(),
            prices: vec![price(at + 1)],
            ..pb::Product::default()
        };
        let request = pb::UpsertProductsRequest {
            tenant_id: tenant_id.clone(),
            products: ["a", "b", "c", "d", "e"]
                .into_iter()
                .enumerate()
                .map(product)
                .collect(),
            ..pb::UpsertProductsRequest::default()
        };
        products.upsert_products(request).await.unwrap();
        let sort = pb::ProductSort {
            key: pb::ProductSortKey::Price.into(),
            currency: "EUR".into(),
            descending: true,
            ..pb::ProductSort::default()
        };
        for (id, sort) in [("cheap", None), ("sorted", Some(sort))] {
            let smart = pb::Collection {
                kind: pb::CollectionKind::Smart.into(),
                rules: Some(rules(vec![cheaper_than("4")])),
                sort,
                ..named(id, id)
            };
            let request = pb::CreateCollectionRequest {
                tenant_id: tenant_id.clone(),
                ..creation(smart)
            };
            collections.create_collection(request).await.unwrap();
        }
        let in_sorted = pb::Collection {
            kind: pb::CollectionKind::Smart.into(),
            rules: Some(rules(vec![member_of("sorted")])),
            ..named("naming", "naming")
        };
        let request = pb::CreateCollectionRequest {
            tenant_id,
            ..creation(in_sorted)
        };
        collections.create_collection(request).await.unwrap();
    }
    create(&mut collections, "manual").await;
    let fill = mutate("manual", vec![append(["x", "y"])]);
    collections.mutate_children(fill).await.unwrap();
}

/// The flags of a database like the server's, with the changes. On SQLite it is a copy, because the
/// server has locked its own.
async fn changed(server: &Server, copy: &Path, changes: &[&str]) -> [String; 2] {
    let [flag, value] = server.database_flag.clone();
    let (url, flags) = if flag == "--data-dir" {
        let file = copy.join("endcap.db");
        let backup = ["backup", file.to_str().unwrap(), &*flag, &*value];
        assert_eq!(run(&backup).0, Some(0));
        let url = format!("sqlite://{}", file.display());
        (url, [flag, copy.display().to_string()])
    } else {
        (server.database.clone(), [flag, value])
    };
    let db = Database::connect(url).await.unwrap();
    for change in changes {
        db.execute_unprepared(change).await.unwrap();
    }
    db.close().await.unwrap();
    flags
}

fn on(flags: &[String; 2], command: &[&str]) -> (Option<i32>, Vec<String>) {
    let flags = flags.each_ref().map(String::as_str);
    let (status, printed, error) = run(&[command, &flags].concat());
    assert_eq!(error, "", "{printed}");
    (status, printed.lines().map(str::to_owned).collect())
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn inconsistent_lists_are_rebuilt(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    filled(&server).await;
    let copy = tempfile::tempdir().unwrap();
    let flags = changed(
        &server,
        copy.path(),
        &[
            // The state after a write by a program that does not maintain memberships.
            "DELETE FROM products WHERE id = 'a' AND tenant_id = 'shop'",
            // Damage.
            "DELETE FROM members WHERE collection_id = 'cheap' AND child_id = 'b' \
             AND tenant_id = 'default'",
            "UPDATE collections SET product_count = 7 WHERE id = 'cheap' \
             AND tenant_id = 'default'",
            "UPDATE members SET sort_key = 'odd' WHERE collection_id = 'sorted' \
             AND child_id = 'c' AND tenant_id = 'default'",
            "UPDATE collections SET named = (1 = 0) WHERE id = 'sorted' AND tenant_id = 'default'",
            // The correct state of a manual collection is unknown.
            "DELETE FROM members WHERE collection_id = 'manual' AND child_id = 'x'",
        ],
    )
    .await;
    let (status, problems) = on(&flags, &["check"]);
    assert_eq!(status, Some(1));
    let problems = &problems[..problems.len() - 1];
    let about = |tenant: &str| -> Vec<String> {
        let ours = problems
            .iter()
            .filter(|line| line.starts_with(&format!("{tenant} ")) && !line.contains(" manual "));
        ours.cloned().collect()
    };
    let told = |what: &str| assert!(problems.iter().any(|it| it == what), "{what}: {problems:?}");
    told("shop cheap products: a does not belong to the collection");
    told("shop sorted products: a does not belong to the collection");
    told("default cheap products: stored child count 7, actual 3");
    told("default sorted products: stored sort keys are wrong");

    told(
        "default naming products: the rules name sorted, which is not marked as named: changes of \
         its list would be missed",
    );

    // One tenant, and then the others.
    let (status, mut printed) = on(&flags, &["reindex", "--tenant", "shop"]);
    let last = printed.pop().unwrap();
    assert_eq!((status, printed), (Some(0), about("shop")));
    assert_eq!(last, "reindexed; smart collections: 3, rebuilt: 3");
    let (status, mut printed) = on(&flags, &["reindex"]);
    let last = printed.pop().unwrap();
    assert_eq!((status, printed), (Some(0), about("default")));
    assert_eq!(last, "reindexed; smart collections: 6, rebuilt: 3");
    let (_, problems) = on(&flags, &["check"]);
    let manual = |line: &String| line.starts_with("default manual products: x ");
    assert!(manual(&problems[0]) && problems.len() == 2, "{problems:?}");

    let (status, printed) = on(&flags, &["reindex", "--output", "json"]);
    let printed: serde_json::Value = serde_json::from_str(&printed.concat()).unwrap();
    let nothing = serde_json::json!({
        "collection_count": 6, "rebuilt_count": 0, "problem_count": 0, "problems": [],
    });
    assert_eq!((status, printed), (Some(0), nothing));
}

#[tokio::test(flavor = "multi_thread")]
async fn reindex_fails_while_a_server_uses_the_data_directory() {
    let server = Server::new(Sqlite).await;
    let [flag, value] = &server.database_flag;
    let (status, _, error) = run(&["reindex", flag, value]);
    assert_eq!(status, Some(1));
    assert!(error.contains("a server with process id "), "{error}");
    let (status, _, error) = run(&["reindex", "--tenant", "no tenant", flag, value]);
    assert_eq!(status, Some(2));
    assert!(error.contains("--tenant"), "{error}");
}

#[test]
fn reindex_does_not_create_a_database() {
    let folder = tempfile::tempdir().unwrap();
    let (status, _, error) = run(&["reindex", "--data-dir", folder.path().to_str().unwrap()]);
    assert_eq!(status, Some(1));
    assert!(error.contains("there is no database at "), "{error}");
    assert!(!folder.path().join("endcap.db").exists());
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_whose_rules_name_a_deleted_collection_is_marked(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    filled(&server).await;
    let request = pb::DeleteCollectionRequest {
        collection_id: "sorted".into(),
        force: true,
        ..pb::DeleteCollectionRequest::default()
    };
    let mut collections = server.grpc().await;
    collections.delete_collection(request).await.unwrap();
    let copy = tempfile::tempdir().unwrap();
    let forget = "UPDATE tenants SET names_missing = (1 = 0)";
    let flags = changed(&server, copy.path(), &[forget]).await;
    let (status, mut problems) = on(&flags, &["check"]);
    problems.pop();
    let problem = "default naming products: the rules name sorted, which does not exist, and the \
                   tenant is not marked as having such rules: a new collection with this id would \
                   be missed";
    assert_eq!((status, problems), (Some(1), vec![problem.to_owned()]));
    let (status, printed) = on(&flags, &["reindex"]);
    assert_eq!((status, &*printed[0]), (Some(0), problem));
    let (status, printed) = on(&flags, &["check"]);
    assert_eq!(status, Some(0), "{printed:?}");
}
