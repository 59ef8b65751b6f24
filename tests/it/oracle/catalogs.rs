//! listProducts, listCatalogs and listLocales.

use endcap::config::Flags;
use endcap::store::Engine::{self, Postgres, Sqlite};
use reqwest::Method;
use rstest::rstest;
use serde_json::json;

use super::{Admin, ask, assert_error, ids, products::create, send};
use crate::harness::Server;

#[rstest]
#[tokio::test]
async fn list_products_applies_its_filters_and_pagination(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    for (id, parent, products) in [
        ("top", None, vec!["p9", "p1"]),
        ("mid", Some("top"), vec!["p2", "p1"]),
        ("low", Some("mid"), vec!["p3", "c:~+/1"]),
        ("other", None, vec!["p4"]),
    ] {
        admin.make(id, parent, 0).await;
        let append = json!({"type": "appendProducts", "products": products});
        assert_eq!(admin.put(id, append).await.0, 200);
    }
    for (id, more) in [
        ("p1", json!(false)),
        ("p4", json!(true)),
        ("free", json!(null)),
    ] {
        let mut properties = json!({"id": id, "displayName": format!("Name {id}")});
        properties["active"] = more;
        assert_eq!(
            create(&admin, json!({"properties": properties})).await.0,
            200
        );
    }
    // A second path between two collections.
    let link = json!({"operation": "link", "child": "low", "parent": "top"});
    assert_eq!(ask(&admin, Method::PUT, "collections", link).await.0, 200);
    for (query, expected, total) in [
        ("", "c:~+/1 free p1 p2 p3 p4 p9", 7),
        ("categoryId=top", "p9 p1", 2),
        (
            "categoryId=top&includeChildren=true",
            "c:~+/1 p1 p2 p3 p9",
            5,
        ),
        (
            "categoryId=top&includeChildren=true&limit=2&offset=1",
            "p1 p2",
            5,
        ),
        (
            "categoryId=top&includeChildren=true&showInactiveProducts=false",
            "c:~+/1 p2 p3 p9",
            4,
        ),
        // A leaf collection.
        ("categoryId=low&includeChildren=true", "p3 c:~+/1", 2),
        ("categoryId=rootCategory", "", 0),
        (
            "categoryId=rootCategory&includeChildren=true",
            "c:~+/1 p1 p2 p3 p4 p9",
            6,
        ),
        ("includeChildren=true", "c:~+/1 free p1 p2 p3 p4 p9", 7),
        ("unassigned=true", "free", 1),
        ("unassigned=true&categoryId=top", "free", 1),
        ("productIds=p4,p1", "p1 p4", 2),
        ("productIds=p4,%20p1,,p4", "p1 p4", 2),
        ("productIds=p4&productIds=c:~%2B/1", "c:~+/1 p4", 2),
        ("productIds=p4,p1&categoryId=top", "p1", 1),
        (
            "productIds=p4,ghost,a%20b&continueOnMissingProduct=true",
            "p4",
            1,
        ),
        ("productIds=ghost&continueOnMissingProduct=true", "", 0),
        (
            "productIds=&name=&q=&categoryId=",
            "c:~+/1 free p1 p2 p3 p4 p9",
            7,
        ),
        ("name=NAME%20p", "p1 p4", 2),
        ("name=9", "p9", 1),
        ("categoryId=top&sort=id", "p1 p9", 2),
    ] {
        let path = format!("products?{query}");
        let (status, body) = ask(&admin, Method::GET, &path, json!({})).await;
        assert_eq!(status, 200, "{query}: {body}");
        assert_eq!(ids(&body["items"]), expected, "{query}");
        assert_eq!(body["totalResults"], total, "{query}");
    }
    for (query, code, says) in [
        ("productIds=p4,ghost", "20031", "ghost"),
        ("productIds=p4,a%20b", "20031", "a b"),
        ("productIds=p4,a%5C,b", "20031", "a,b"),
        ("categoryId=ghost&includeChildren=true", "20091", "ghost"),
        ("includeChildren=2", "400", "includeChildren"),
    ] {
        let response = ask(&admin, Method::GET, &format!("products?{query}"), json!({})).await;
        assert_error(&response, 400, code, says);
    }
    let many = (0..1_001)
        .map(|n| format!("p{n}"))
        .collect::<Vec<_>>()
        .join(",");
    let many = ask(
        &admin,
        Method::GET,
        &format!("products?productIds={many}"),
        json!({}),
    )
    .await;
    assert_error(
        &many,
        400,
        "400",
        "productIds: has 1001 items; the limit is 1000",
    );
}

#[rstest]
#[tokio::test]
async fn including_children_is_limited_to_a_number_of_collections(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let flags = Flags {
        max_expanded: Some("2".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let admin = Admin(&server);
    admin.make("a", None, 1).await;
    admin.make("b", Some("a"), 2).await;
    let path = "products?includeChildren=true&categoryId=a";
    let below = ask(&admin, Method::GET, path, json!({})).await;
    assert_eq!(ids(&below.1["items"]), "p0 p1");
    admin.make("c", Some("b"), 3).await;
    let before = server.refused("max_expanded").await;
    let below = ask(&admin, Method::GET, path, json!({})).await;
    assert_error(&below, 400, "25014", "includeChildren");
    assert!(server.refused("max_expanded").await > before);
}

#[rstest]
#[tokio::test]
async fn the_catalog_and_the_locales_match_the_settings(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let flags = Flags {
        oracle_catalog_id: Some("cloudLakeCatalog".into()),
        oracle_catalog_name: Some("Lake".into()),
        default_locale: Some("pt-BR".into()),
        locales: Some("en,fr-CA".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let admin = Admin(&server);
    let roots = json!([{"repositoryId": "rootCategory"}, {"repositoryId": "nonNavigableCategory"}]);
    let catalog = json!({
        "id": "cloudLakeCatalog", "repositoryId": "cloudLakeCatalog", "name": "Lake",
        "displayName": "Lake", "catalogVersion": 2, "rootNavigationCategory": roots[0],
        "rootCategories": roots,
    });
    for (query, total) in [
        ("", 1),
        ("?q=", 1),
        ("?q=id eq \"cloudLakeCatalog\"&sort=displayName:desc", 1),
        ("?q=displayName co \"LAK\"&name=cloud", 1),
        ("?q=rootCategories eq \"rootCategory\"", 1),
        ("?q=id eq \"x\"", 0),
        ("?name=x", 0),
    ] {
        let (status, list) = ask(&admin, Method::GET, &format!("catalogs{query}"), json!({})).await;
        assert_eq!(
            (status, &list["totalResults"]),
            (200, &json!(total)),
            "{query}: {list}"
        );
        assert_eq!(list["items"].as_array().unwrap().len(), total, "{query}");
        if total > 0 {
            assert_eq!(list["items"][0], catalog, "{query}");
        }
    }
    let page = ask(
        &admin,
        Method::GET,
        "catalogs?offset=1&fields=items.id,totalResults",
        json!({}),
    );
    assert_eq!(page.await, (200, json!({"totalResults": 1, "items": []})));
    let (_, locales) = ask(&admin, Method::GET, "locales", json!({})).await;
    assert_eq!(locales["defaultLocale"]["name"], "pt_BR");
    assert_eq!(locales["defaultLocale"], locales["items"][0]);
    assert_eq!(ids(&locales["items"]), "pt_BR en fr_CA");
    // These paths begin with the only catalog.
    let body = json!({"properties": {"id": "a", "displayName": "A"}});
    let create = admin
        .write(Method::POST, "collections", "pt_BR")
        .json(&body);
    assert_eq!(send(create).await.0, 200);
    let a = admin.get("a?multipleCategoryPaths=true").await;
    assert_eq!(
        a["multiCatalogCategoryPaths"],
        json!(["/Lake/Commerce Root/A"])
    );
    let path = "cloudLakeCatalog>rootCategory>a";
    assert_eq!(a["multiCatalogCategoryIdPaths"], json!([path]));
    let path = "collections?multipleCategoryPaths=true&categoryIds=a";
    let (_, list) = ask(&admin, Method::GET, path, json!({})).await;
    assert_eq!(
        list["items"][0]["multiCatalogCategoryPaths"],
        a["multiCatalogCategoryPaths"]
    );
}
