//! listCollections, and the expanded children of getCollection.

use endcap::store::Engine::{self, Postgres, Sqlite};
use endcap::{config::Flags, grpc::pb};
use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};

use super::{Admin, ask, assert_error, ids, send};
use crate::harness::Server;

async fn list(admin: &Admin<'_>, query: &str) -> Value {
    let (status, body) = get(admin, query).await;
    assert_eq!(status, 200, "{query}: {body}");
    body
}

async fn get(admin: &Admin<'_>, query: &str) -> (u16, Value) {
    let request = admin.request(Method::GET, &format!("collections{query}"));
    send(request).await
}

/// The ids in a list, in order.
async fn found(admin: &Admin<'_>, query: &str) -> String {
    ids(&list(admin, query).await["items"])
}

/// A tree of lamps and chairs: `home` has `lamps` (with `desk` and `floor`) and `chairs`; `old` is
/// inactive and has `stools`, which `chairs` has too, and `benches`; `lost` has no parent.
async fn set_up(admin: &Admin<'_>) {
    for (id, name, parents) in [
        ("home", "Home", &["rootCategory"][..]),
        ("lamps", "Lamps", &["home"]),
        ("desk", "Desk lamps", &["lamps"]),
        ("floor", "Floor lamps", &["lamps"]),
        ("chairs", "Chairs", &["home"]),
        ("old", "Old things", &["rootCategory"]),
        ("stools", "Stools", &["old", "chairs"]),
        ("benches", "Benches", &["old"]),
    ] {
        let properties = json!({"id": id, "displayName": name});
        let body = json!({"parentCategoryIds": parents, "properties": properties});
        let (status, body) = admin.post(body).await;
        assert_eq!(status, 200, "{body}");
    }
    let hide = json!({"properties": {"active": false}});
    assert_eq!(admin.put("old", hide).await.0, 200);
    let lost = json!({"orphaned": true, "properties": {"id": "lost", "displayName": "Lost"}});
    assert_eq!(admin.post(lost).await.0, 200);
}

const NO_ROOTS: &str = "?filterRootCategories=true";

#[rstest]
#[tokio::test]
async fn collections_are_filtered_by_name_ids_and_query(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    set_up(&admin).await;
    for (query, expected) in [
        ("?name=LAMP", "desk floor lamps"),
        // A part of the id suffices.
        ("?name=tool", "stools"),
        ("?categoryIds=lamps,home", "home lamps"),
        ("?categoryIds=lamps&categoryIds=home&name=hom", "home"),
        (
            "?categoryIds=lamps,ghost&continueOnMissingCategory=true",
            "lamps",
        ),
        ("?q=id eq \"desk\"", "desk"),
        (
            "?q=displayName co \"LAMPS\" and not (id sw \"d\")",
            "floor lamps",
        ),
        (
            "?q=displayName eq \"desk lamps\" or repositoryId ew \"OLD\"",
            "desk old",
        ),
        ("?q=(id gt \"desk\" and id le \"home\")", "floor home"),
        ("?q=id ge \"stools\"", "stools"),
        ("?q=id lt \"chairs\"", "benches"),
        ("?q=id ne \"x\" and name co \"LAMP\"", "lamps"),
        ("?q=creationDate lt \"2001-01-01T00:00:00Z\"", ""),
        ("?q=id pr&categoryIds=desk", "desk"),
        ("?q=id sw \"%25\"", ""),
    ] {
        assert_eq!(found(&admin, query).await, expected, "{query}");
    }
    let all = "benches chairs desk floor home lamps lost old stools";
    assert_eq!(found(&admin, NO_ROOTS).await, all);
    let with_roots = list(&admin, "").await;
    assert_eq!(with_roots["totalResults"], 11);
}

#[rstest]
#[tokio::test]
async fn only_active_filters_by_the_effective_active_flag(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    set_up(&admin).await;
    let active = "?onlyActive=true&filterRootCategories=true";
    // Stools are also children of chairs; benches have no other parent.
    let expected = "chairs desk floor home lamps lost stools";
    assert_eq!(found(&admin, active).await, expected);
    let stools = json!({"operation": "unlink", "fromParent": "chairs", "child": "stools"});
    assert_eq!(ask(&admin, Method::PUT, "collections", stools).await.0, 200);
    assert_eq!(
        found(&admin, active).await,
        "chairs desk floor home lamps lost"
    );
    let show = json!({"properties": {"active": true}});
    assert_eq!(admin.put("benches", show).await.0, 200);
    let expected = "benches chairs desk floor home lamps lost";
    assert_eq!(found(&admin, active).await, expected);
    // The same below other collections: inactive ones don't appear anywhere in a tree.
    let hide = json!({"properties": {"active": false}});
    assert_eq!(admin.put("desk", hide).await.0, 200);
    let home = list(&admin, "?onlyActive=true&categoryIds=home").await;
    assert_eq!(tree(&home["items"][0]), "home[lamps[floor] chairs]");
}

#[rstest]
#[tokio::test]
async fn a_list_is_sorted_paged_and_limited_to_the_requested_fields(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    set_up(&admin).await;
    let page = |more: &str| format!("{NO_ROOTS}&pageResults=true&limit=4{more}");
    let first = list(&admin, &page("")).await;
    assert_eq!(ids(&first["items"]), "benches chairs desk floor");
    assert_eq!(first["totalResults"], 9);
    assert_eq!((&first["offset"], &first["limit"]), (&json!(0), &json!(4)));
    assert_eq!(found(&admin, &page("&offset=8")).await, "stools");
    let sorted = found(&admin, &page("&sort=displayName:desc")).await;
    assert_eq!(sorted, "stools old lost lamps");
    assert_eq!(
        found(&admin, &page("&sort=id:desc,name")).await,
        "stools old lost lamps"
    );
    let newest = found(&admin, &page("&sort=creationDate:desc")).await;
    assert_eq!(newest, "lost benches stools old");

    for fields in ["id,categoryPaths", "items.id,items.categoryPaths"] {
        let list = list(&admin, &format!("?categoryIds=desk&fields={fields}")).await;
        let path = "/Commerce Root/Home/Lamps/Desk lamps";
        let expected = json!({"items": [{"id": "desk", "categoryPaths": [path]}]});
        assert_eq!(list, expected, "{fields}");
    }
    let totals = list(&admin, "?categoryIds=desk&fields=totalResults,items.id").await;
    assert_eq!(
        totals,
        json!({"totalResults": 1, "items": [{"id": "desk"}]})
    );
    for (query, expected) in [
        ("fields=totalResults", json!({"totalResults": 1})),
        (
            "exclude=items,limit",
            json!({"totalResults": 1, "offset": 0}),
        ),
        ("fields=items,offset&exclude=items", json!({"offset": 0})),
    ] {
        let page = list(&admin, &format!("?categoryIds=desk&{query}")).await;
        assert_eq!(page, expected, "{query}");
    }
    let rest = list(
        &admin,
        "?categoryIds=desk&exclude=items.categoryPaths,limit",
    )
    .await;
    assert!(rest.get("limit").is_none() && rest.get("offset").is_some());
    assert!(rest["items"][0].get("categoryPaths").is_none());
    assert_eq!(rest["items"][0]["route"], "/desk-lamps/category/desk");
    let few = list(
        &admin,
        "?categoryIds=lamps&minimalFieldsForNavigation=true&depth=0",
    )
    .await;
    let expected = json!({
        "id": "lamps", "repositoryId": "lamps", "displayName": "Lamps", "active": true,
        "route": "/lamps/category/lamps",
        "childCategories": [{"repositoryId": "desk"}, {"repositoryId": "floor"}],
    });
    assert_eq!(few["items"], json!([expected]));
}

/// The ids of collections by level, in brackets.
fn tree(collection: &Value) -> String {
    let name = collection["repositoryId"].as_str().unwrap();
    let name = match collection.get("displayName") {
        Some(_) => name.to_owned(),
        None => format!("({name})"),
    };
    match collection.get("childCategories").and_then(Value::as_array) {
        None => name,
        Some(children) => {
            let children: Vec<_> = children.iter().map(tree).collect();
            format!("{name}[{}]", children.join(" "))
        }
    }
}

#[rstest]
#[tokio::test]
async fn descendants_are_expanded_to_the_requested_depth(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    set_up(&admin).await;
    for (query, expected) in [
        ("home", "home[(lamps) (chairs)]"),
        (
            "home?expand=childCategories",
            "home[lamps[(desk) (floor)] chairs[(stools)]]",
        ),
        (
            "home?depth=1",
            "home[lamps[(desk) (floor)] chairs[(stools)]]",
        ),
        ("home?depth=2", "home[lamps[desk floor] chairs[stools]]"),
        ("home?depth=max", "home[lamps[desk floor] chairs[stools]]"),
        ("home?depth=min", "home[lamps[desk floor] chairs[stools]]"),
    ] {
        assert_eq!(tree(&admin.get(query).await), expected, "{query}");
    }
    let deep = admin.get("home?depth=1").await;
    let lamps = &deep["childCategories"][0];
    assert_eq!(lamps["categoryPaths"], json!(["/Commerce Root/Home/Lamps"]));
    assert_eq!(lamps["route"], "/lamps/category/lamps");
    assert_eq!(ids(&deep["fixedChildCategories"]), "lamps chairs");
    let cut = admin
        .get("home?depth=2&fields=childCategories.childCategories.id")
        .await;
    let expected = json!({"childCategories": [
        {"childCategories": [{"id": "desk"}, {"id": "floor"}]},
        {"childCategories": [{"id": "stools"}]},
    ]});
    assert_eq!(cut, expected);

    // In a list, 4 levels for collections that the query names, and 1 for others.
    let named = list(&admin, "?categoryIds=home").await;
    assert_eq!(
        tree(&named["items"][0]),
        "home[lamps[desk floor] chairs[stools]]"
    );
    let others = list(&admin, "?q=id eq \"home\"").await;
    let expected = "home[lamps[(desk) (floor)] chairs[(stools)]]";
    assert_eq!(tree(&others["items"][0]), expected);

    // A whole tree begins with the children of a root, or with the roots.
    let below = "home[lamps[desk floor] chairs[stools]] old[stools benches]";
    let roots = format!("nonNavigableCategory rootCategory[{below}]");
    for (query, expected) in [
        ("", below),
        ("&filterRootCategories=true&depth=2", below),
        ("&filterRootCategories=false", &roots),
        ("&depth=0", "home[(lamps) (chairs)] old[(stools) (benches)]"),
        ("&categoryIds=chairs", "chairs[stools]"),
        ("&orphaned=true", "lost"),
        ("&onlyActive=true", "home[lamps[desk floor] chairs[stools]]"),
        ("&limit=1&offset=1", "old[stools benches]"),
        (
            "&filterRootCategories=true&categoryIds=rootCategory,chairs",
            "chairs[stools]",
        ),
    ] {
        let whole = list(&admin, &format!("?asHierarchy=true&sort=id{query}")).await;
        let tops = whole["items"].as_array().unwrap().iter().map(tree);
        assert_eq!(tops.collect::<Vec<_>>().join(" "), expected, "{query}");
    }
}

#[rstest]
#[tokio::test]
async fn only_registered_child_products_are_expanded(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    admin.make("a", None, 2).await;
    let told = json!({"properties": {"id": "p1", "displayName": "P", "listPrice": 5}});
    let request = admin.write(Method::POST, "products", "en");
    assert_eq!(send(request.json(&told)).await.0, 200);
    let a = admin.get("a?expand=childProducts").await;
    let p1 = json!({
        "id": "p1", "repositoryId": "p1", "displayName": "P", "productType": "", "listPrice": 5,
    });
    assert_eq!(a["childProducts"], json!([{"repositoryId": "p0"}, p1]));
    assert_eq!(ids(&a["fixedChildProducts"]), "p0 p1");
    let cut = admin
        .get("a?expand=childProducts&fields=childProducts.displayName")
        .await;
    assert_eq!(cut["childProducts"][1], json!({"displayName": "P"}));
}

#[rstest]
#[tokio::test]
async fn a_new_tenant_lists_its_root_collections(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    let roots = "nonNavigableCategory rootCategory";
    for (query, expected) in [
        ("?asHierarchy=true", ""),
        ("?asHierarchy=true&filterRootCategories=false", roots),
        ("", roots),
        ("?categoryIds=rootCategory", "rootCategory"),
        (NO_ROOTS, ""),
        ("?asHierarchy=true&filterRootCategories=true", ""),
        ("?name=x", ""),
    ] {
        for _ in 0..2 {
            let mut ids: Vec<_> = found(&admin, query)
                .await
                .split(' ')
                .map(str::to_owned)
                .collect();
            ids.sort_unstable();
            assert_eq!(ids.join(" "), expected, "{query}");
        }
    }
    assert_eq!(
        list(&admin, "?categoryIds=rootCategory").await["totalResults"],
        1
    );
}

#[rstest]
#[tokio::test]
async fn category_paths_use_the_requested_language(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    set_up(&admin).await;
    let french = json!({"properties": {"displayName": "Lampes"}});
    assert_eq!(admin.put_in("fr", "lamps", french).await.0, 200);
    let request = admin.write(Method::GET, "collections?categoryIds=desk", "fr");
    let (_, body) = send(request).await;
    let paths = &body["items"][0]["categoryPaths"];
    assert_eq!(*paths, json!(["/Commerce Root/Home/Lampes/Desk lamps"]));
}

#[rstest]
#[tokio::test]
async fn invalid_list_requests_are_rejected(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    set_up(&admin).await;
    assert_error(
        &get(&admin, "?categoryIds=lamps,ghost").await,
        400,
        "20140",
        "ghost",
    );
    let odd = "?categoryIds=lamps,a%20b";
    assert_error(&get(&admin, odd).await, 400, "20140", "a b");
    let minded = format!("{odd}&continueOnMissingCategory=true");
    assert_eq!(found(&admin, &minded).await, "lamps");
    let long = format!("?name={}", "_".repeat(256));
    assert_error(&get(&admin, &long).await, 400, "400", "255");
    let before = server.refused("max_conditions").await;
    for (list, term) in [("collections", "name co"), ("products", "displayName eq")] {
        let terms = vec![format!("{term} \"a\""); 501].join(" or ");
        let path = format!("{list}?q={terms}");
        let response = ask(&admin, Method::GET, &path, json!({})).await;
        assert_error(&response, 400, "400", "500");
    }
    assert!(server.refused("max_conditions").await >= before + 2);
    // Ids are looked up, so there may be as many as in other requests.
    let terms = vec!["id eq \"desk\""; 51].join(" or ");
    assert_eq!(found(&admin, &format!("?q={terms}")).await, "desk");
    let deep = format!("?fields={}", "a.".repeat(10_000));
    assert_error(&get(&admin, &deep).await, 400, "400", "32");
    let (status, several) = get(&admin, "?categoryIds=ghost,spook").await;
    assert_eq!(
        (status, several["errors"].as_array().unwrap().len()),
        (400, 2)
    );
    for (query, says) in [
        ("?depth=7", "0 to 6"),
        ("?depth=-1", "0 to 6"),
        ("?limit=-1", "integer"),
        ("?offset=x", "integer"),
        ("?sort=colour", "colour"),
        ("?sort=id:up", "up"),
        ("?q=colour eq \"red\"", "colour"),
        ("?q=id eq", "q"),
        ("?q=id eq five", "q"),
        ("?q=name co 5", "co"),
        ("?onlyActive=perhaps", "perhaps"),
        ("?asHierarchy=true&pageResults=true", "pageResults"),
        ("?asHierarchy=true&name=x", "name"),
        ("?sort=id,name,id", "twice"),
        ("?name=a%00b", "NUL"),
        ("?q=id eq \"a\\u0000b\"", "NUL"),
    ] {
        assert_error(&get(&admin, query).await, 400, "400", says);
    }
}

#[rstest]
#[tokio::test]
async fn expansion_is_limited_by_max_expanded(#[values(Sqlite, Postgres)] engine: Engine) {
    let flags = Flags {
        max_expanded: Some("4".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let admin = Admin(&server);
    set_up(&admin).await;
    let before = server.refused("max_expanded").await;
    let deep = get(&admin, "?categoryIds=home&depth=2").await;
    assert_error(&deep, 400, "25014", "depth");
    let deep = get(&admin, "/home?depth=2").await;
    assert_error(&deep, 400, "25014", "4");
    assert!(server.refused("max_expanded").await >= before + 2);
    // Fields that are not selected are neither read nor limited.
    let few = list(&admin, "?asHierarchy=true&fields=items.id").await;
    assert_eq!(few["items"].as_array().unwrap().len(), 2);
    // Without an explicit `depth`, fewer levels are expanded.
    let fewer = list(&admin, "?categoryIds=home").await;
    let expected = "home[lamps[(desk) (floor)] chairs[(stools)]]";
    assert_eq!(tree(&fewer["items"][0]), expected);
    assert_eq!(get(&admin, "/home?depth=1").await.0, 200);
}

/// Layers of collections, each of which has all of the layer above as parents: few collections with
/// very many paths.
#[rstest]
#[tokio::test]
async fn max_expanded_limits_a_graph_with_many_paths(#[values(Sqlite, Postgres)] engine: Engine) {
    let flags = Flags {
        max_expanded: Some("1000".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let admin = Admin(&server);
    admin.make("top", None, 0).await;
    let mut above = vec!["top".to_owned()];
    for layer in 0..4 {
        let ids: Vec<_> = (0..12).map(|n| format!("l{layer}-{n}")).collect();
        for id in &ids {
            let properties = json!({"id": id, "displayName": id});
            let body = json!({"parentCategoryIds": above, "properties": properties});
            let request = admin.write(Method::POST, "collections?fields=id", "en");
            assert_eq!(send(request.json(&body)).await.0, 200);
        }
        above = ids;
    }
    fn written(collection: &Value) -> usize {
        let below = collection["childCategories"].as_array();
        1 + below.map_or(0, |below| below.iter().map(written).sum())
    }
    // 12 and 144 are expanded; the 1,728 below would be too many, and are references.
    let by_default = list(&admin, "?categoryIds=top&showCategoryPaths=false").await;
    assert_eq!(written(&by_default["items"][0]), 1 + 12 + 144 + 1_728);
    let shown = &by_default["items"][0]["childCategories"][0]["childCategories"][0];
    assert!(shown["displayName"].is_string() && shown["childCategories"][0]["id"].is_null());
    let asked = get(&admin, "?categoryIds=top&depth=3").await;
    assert_error(&asked, 400, "25014", "1000");
    // A collection of the second layer has 12 paths, and one of the third has 144.
    let with_paths = get(&admin, "?categoryIds=top").await;
    assert_error(&with_paths, 400, "400", "showCategoryPaths=false");
    let one = get(&admin, "/l3-0").await;
    assert_eq!(one.1["categoryPaths"].as_array().unwrap().len(), 1_000);
}

/// The number of collections, which is larger in optimized builds.
const MANY: usize = if cfg!(debug_assertions) {
    1_000
} else {
    10_000
};

/// Five children each, on six levels if there are enough.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_large_tree_is_listed_with_all_paths(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    let mut client = server.grpc().await;
    for n in 0..MANY {
        let parent = n.checked_sub(1).map(|n| format!("c{}", n / 5));
        let text = pb::LocalizedText {
            display_name: format!("Collection {n}"),
            ..pb::LocalizedText::default()
        };
        let collection = pb::Collection {
            id: format!("c{n}"),
            parent_ids: parent.into_iter().collect(),
            texts: [("en".to_owned(), text)].into(),
            ..pb::Collection::default()
        };
        let request = pb::CreateCollectionRequest {
            collection: Some(collection),
            ..pb::CreateCollectionRequest::default()
        };
        client.create_collection(request).await.unwrap();
    }
    fn paths(collection: &Value) -> usize {
        let own = collection["categoryPaths"].as_array().map_or(0, Vec::len);
        let below = collection["childCategories"].as_array();
        own + below.map_or(0, |below| below.iter().map(paths).sum())
    }
    let whole = list(&admin, "?asHierarchy=true&filterRootCategories=false").await;
    let mut root = whole["items"].as_array().unwrap().iter();
    let root = root.find(|item| item["id"] == "rootCategory").unwrap();
    // The root has a path, too.
    assert_eq!(paths(root), MANY + 1);
    let page = list(
        &admin,
        "?limit=250&offset=500&sort=id&filterRootCategories=true",
    )
    .await;
    assert_eq!(page["items"].as_array().unwrap().len(), 250);
    assert_eq!(page["totalResults"], MANY);
}

#[rstest]
#[tokio::test]
async fn filter_root_categories_omits_roots_requested_by_id(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    admin.make("a", None, 0).await;
    let query = "?filterRootCategories=true&categoryIds=rootCategory,a,nonNavigableCategory";
    let found = list(&admin, query).await;
    assert_eq!(ids(&found["items"]), "a");
    assert_eq!(found["totalResults"], 1);
    let roots = list(
        &admin,
        "?filterRootCategories=true&categoryIds=rootCategory",
    )
    .await;
    assert_eq!(roots["items"], json!([]));
}

#[rstest]
#[tokio::test]
async fn the_unassigned_filter_ignores_the_category_id(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    admin.make("a", None, 1).await;
    let alone = json!({"properties": {"id": "alone", "displayName": "Alone"}});
    let request = admin.write(Method::POST, "products", "en");
    assert_eq!(send(request.json(&alone)).await.0, 200);
    for category in ["a", "nosuch", "a%20b", "rootCategory", ""] {
        for more in ["", "&includeChildren=true"] {
            let path = format!("products?unassigned=true&categoryId={category}{more}");
            let (status, found) = send(admin.request(Method::GET, &path)).await;
            assert_eq!(status, 200, "{path}: {found}");
            assert_eq!(ids(&found["items"]), "alone", "{path}");
            let path = format!("products?unassigned=false&categoryId={category}{more}");
            let (status, found) = send(admin.request(Method::GET, &path)).await;
            let is_known = ["a", "rootCategory", ""].contains(&category);
            assert_eq!(status == 200, is_known, "{path}: {found}");
        }
    }
}
