//! The requests of public client programs of Oracle's Admin API, and the parts of responses that
//! they read. Tests are named by the kind of program; only facts about its requests are used.

use endcap::config::Flags;
use endcap::store::Engine::{self, Postgres, Sqlite};
use reqwest::{Method, RequestBuilder};
use rstest::rstest;
use serde_json::{Value, json};

use super::{Admin, ids, send};
use crate::{auth::new_key, harness::Server};

const FORM: &str = "application/x-www-form-urlencoded";

/// A client with the token of its login.
struct Client<'a> {
    admin: Admin<'a>,
    token: String,
}

async fn start(engine: Engine) -> (Server, String) {
    let flags = Flags {
        auth: Some("keys".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let scopes = ["collections.read", "collections.write"];
    let key = new_key(&server, "shop", &scopes, &[]);
    (server, key)
}

impl<'a> Client<'a> {
    /// Logs in with this kind of request.
    async fn log_in(
        server: &'a Server,
        login: impl Fn(RequestBuilder) -> RequestBuilder,
        path: &str,
    ) -> Self {
        let admin = Admin(server);
        let (status, body) = send(login(admin.request(Method::POST, path))).await;
        assert_eq!(status, 200, "{body}");
        let token = body["access_token"].as_str().unwrap().into();
        Self { admin, token }
    }

    /// Logs in with the usual form.
    async fn new(server: &'a Server, key: &str) -> Self {
        let login = |request: RequestBuilder| {
            let request = request.bearer_auth(key).header("content-type", FORM);
            request.body("grant_type=client_credentials")
        };
        Self::log_in(server, login, "login").await
    }

    async fn get(&self, path: &str) -> Value {
        let request = self.admin.request(Method::GET, path);
        let (status, body) = send(request.bearer_auth(&self.token)).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    async fn send(&self, method: Method, path: &str, language: &str, body: Value) -> Value {
        let request = self.admin.write(method, path, language).json(&body);
        let (status, body) = send(request.bearer_auth(&self.token)).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// Creates `home` with `lamps`, which has `p1`, an active product, and `p2`, an inactive one.
    async fn fill(&self) {
        for (id, name, parent) in [("home", "Home", None), ("lamps", "Lamps", Some("home"))] {
            let properties = json!({"id": id, "displayName": name});
            let body = json!({"parentCategoryId": parent, "properties": properties});
            self.send(Method::POST, "collections", "en", body).await;
        }
        for (id, active) in [("p1", true), ("p2", false)] {
            let body = json!({"categoryId": "lamps", "properties": {
                "id": id, "displayName": id.to_uppercase(), "active": active, "brand": "ACME",
                "listPrice": 10.5, "x_market": {"id": 7},
            }});
            self.send(Method::POST, "products", "en", body).await;
        }
    }
}

/// It sends `en_US` and a trailing slash with every call, and treats a response as a failure if it
/// has `errorCode` or `error` at the top level.
#[rstest]
#[tokio::test]
async fn oracles_own_sdk(#[values(Sqlite, Postgres)] engine: Engine) {
    let (server, key) = start(engine).await;
    let client = Client::new(&server, &key).await;
    let call = async |method: Method, path: &str, body: Value| {
        let request = client.admin.write(method, path, "en_US").json(&body);
        send(request.bearer_auth(&client.token)).await.1
    };
    let failed = |response: &Value| {
        response
            .get("errorCode")
            .or(response.get("error"))
            .is_some()
    };
    let body = json!({"properties": {"id": "a", "displayName": "Gifts"}});
    let made = call(Method::POST, "collections/", body).await;
    assert!(!failed(&made), "{made}");
    let body = json!({"properties": {"displayName": 5, "active": "x"}});
    assert!(failed(&call(Method::PUT, "collections/a/", body).await));
    let body = json!({"properties": {"displayName": "Gift shop"}});
    let changed = call(Method::PUT, "collections/a/", body).await;
    assert_eq!(changed["displayName"], "Gift shop");
    // Readers of English see it, and so do other APIs.
    assert_eq!(
        client.get("collections/a").await["displayName"],
        "Gift shop"
    );
    let url = format!("{}/products/collections/a?altId=shop", server.http);
    let other = server.client.get(url).bearer_auth(&key);
    let (_, other) = send(other.header("version", "2021-07-28")).await;
    assert_eq!(other["data"]["name"], "Gift shop", "{other}");
    let list = call(Method::GET, "collections/", json!({})).await;
    assert!(!failed(&list), "{list}");
}

/// It logs in with the query, and maps the top level of the tree by its paths.
#[rstest]
#[tokio::test]
async fn a_php_sync_with_a_query_login(#[values(Sqlite, Postgres)] engine: Engine) {
    let (server, key) = start(engine).await;
    Client::new(&server, &key).await.fill().await;
    let login = |request: RequestBuilder| {
        let request = request.query(&[("grant_type", "client_credentials")]);
        request.bearer_auth(&key).header("content-type", FORM)
    };
    let client = Client::log_in(&server, login, "login").await;
    let tree = client.get("collections?asHierarchy=true").await;
    let tops = tree["items"].as_array().unwrap().iter();
    let names = tops.map(|top| {
        let path = top["categoryPaths"][0].as_str().unwrap();
        path.strip_prefix("/Commerce Root/").unwrap()
    });
    assert_eq!(names.collect::<Vec<_>>(), ["Home"]);
    assert_eq!(tree["items"][0]["childCategories"][0]["id"], "lamps");
    let product = client.get("products/p2?fields=id,active").await;
    assert_eq!(product, json!({"id": "p2", "active": false}));
}

/// It uses the login path for users, counts with empty pages, and selects custom properties.
#[rstest]
#[tokio::test]
async fn a_php_back_office(#[values(Sqlite, Postgres)] engine: Engine) {
    let (server, key) = start(engine).await;
    Client::new(&server, &key).await.fill().await;
    let login = |request: RequestBuilder| {
        let request = request.bearer_auth(&key).header("content-type", FORM);
        request.body("grant_type=client_credentials")
    };
    let client = Client::log_in(&server, login, "mfalogin").await;
    let count = client.get("products?&limit=0&q=active%20eq%20true").await;
    assert_eq!(
        (&count["totalResults"], &count["items"]),
        (&json!(1), &json!([]))
    );
    let product = client
        .get("products/p1?fields=id,x_market,parentCategory.repositoryId")
        .await;
    let expected = json!({
        "id": "p1", "x_market": {"id": 7}, "parentCategory": {"repositoryId": "lamps"},
    });
    assert_eq!(product, expected);
    let path = "collections?q=id%20eq%20%22lamps%22&fields=items.id,items.categoryPaths";
    let paths = json!(["/Commerce Root/Home/Lamps"]);
    let expected = json!({"items": [{"id": "lamps", "categoryPaths": paths}]});
    assert_eq!(client.get(path).await, expected);
}

/// It writes one language after another, each time with the whole body.
#[rstest]
#[tokio::test]
async fn a_catalogue_manager_that_writes_one_language_after_another(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let (server, key) = start(engine).await;
    let client = Client::new(&server, &key).await;
    client.fill().await;
    let body = |name: &str| {
        json!({
            "catalogId": "cloudCatalog",
            "parentCategoryIds": ["home"],
            "categoryImages": {"metadata": {"altText": name, "titleText": name}},
            "properties": {
                "id": "cat1", "displayName": name, "description": name, "longDescription": null,
                "keywords": [name], "active": true,
                "seoMetaInfo": {"seoTitle": name, "seoUrlSlug": null},
            },
        })
    };
    let languages = [
        ("en", "Lights"),
        ("fr", "Lumières"),
        ("ja", "照明"),
        ("pt_br", "Luzes"),
    ];
    for (at, (language, name)) in languages.iter().enumerate() {
        let (method, path) = if at == 0 {
            (Method::POST, "collections")
        } else {
            (Method::PUT, "collections/cat1")
        };
        let response = client.send(method, path, language, body(name)).await;
        assert_eq!(response["repositoryId"], "cat1");
    }
    // All languages are stored, and another run changes nothing.
    let etag = async || {
        let request = client.admin.request(Method::GET, "collections/cat1");
        let response = request.bearer_auth(&client.token).send().await.unwrap();
        response.headers()["etag"].clone()
    };
    let before = etag().await;
    for (language, name) in languages {
        let response = client
            .send(Method::PUT, "collections/cat1", language, body(name))
            .await;
        assert_eq!(response["displayName"], name);
        assert_eq!(response["keywords"], json!([name]));
        assert_eq!(response["seoMetaInfo"]["seoTitle"], name);
        let texts = &response["categoryImages"][0]["metadata"];
        assert_eq!(*texts, json!({"altText": name, "titleText": name}));
    }
    assert_eq!(etag().await, before);
}

/// A shop's page: the products of a collection and those below it, of one brand.
#[rstest]
#[tokio::test]
async fn a_react_storefront(#[values(Sqlite, Postgres)] engine: Engine) {
    let (server, key) = start(engine).await;
    let client = Client::new(&server, &key).await;
    client.fill().await;
    let list = client
        .get(
            "products?showInactiveProducts=false&categoryId=home&q=brand%20co%20%22acm%22\
             &catalogId=cloudCatalog&includeChildren=true&limit=12&offset=0",
        )
        .await;
    assert_eq!(
        (ids(&list["items"]), &list["totalResults"]),
        ("p1".into(), &json!(1))
    );
    assert_eq!(list["items"][0]["listPrice"], 10.5);
}

/// It reads catalogs, their collections and their products. If it filters, it deletes the products
/// that it found.
#[rstest]
#[tokio::test]
async fn an_export_script(#[values(Sqlite, Postgres)] engine: Engine) {
    let (server, key) = start(engine).await;
    let client = Client::new(&server, &key).await;
    client.fill().await;
    let catalogs = client.get("catalogs?q=").await;
    let catalog = catalogs["items"][0]["id"].as_str().unwrap();
    assert_eq!(
        ids(&catalogs["items"][0]["rootCategories"]),
        "rootCategory nonNavigableCategory"
    );
    let path = format!("collections?catalogId={catalog}&filterRootCategories=true");
    assert_eq!(ids(&client.get(&path).await["items"]), "home lamps");
    for (q, expected) in [
        ("", "p1 p2"),
        ("id%20eq%20%22p2%22%20or%20id%20eq%20%22gone%22", "p2"),
        ("id%20eq%20%22gone%22", ""),
    ] {
        let path = format!("products?categoryId=lamps&expand=true&catalogId={catalog}&q={q}");
        assert_eq!(ids(&client.get(&path).await["items"]), expected, "{q}");
    }
    let gone = client
        .send(Method::DELETE, "products/p2", "en", json!({}))
        .await;
    assert_eq!(gone, json!({"success": true}));
    assert_eq!(
        ids(&client.get("products?categoryId=lamps").await["items"]),
        "p1"
    );
}

/// It reads products by id, and changes each in the shop's language.
#[rstest]
#[tokio::test]
async fn an_importer_of_products(#[values(Sqlite, Postgres)] engine: Engine) {
    let (server, key) = start(engine).await;
    let client = Client::new(&server, &key).await;
    client.fill().await;
    let list = client.get("products/?productIds=p2,p1&expand=true").await;
    assert_eq!(ids(&list["items"]), "p1 p2");
    let body = json!({"properties": {"displayName": "Luz", "listPrice": 12, "active": true}});
    let response = client
        .send(Method::PUT, "products/p2/", "pt_BR", body)
        .await;
    assert_eq!(
        (&response["displayName"], &response["brand"]),
        (&json!("Luz"), &json!("ACME"))
    );
    let count = client.get("products?limit=0&q=active%20eq%20true").await;
    assert_eq!(count["totalResults"], 2);
}

/// It selects the fields of a menu, and sets each switch to false.
#[rstest]
#[tokio::test]
async fn a_mobile_back_end(#[values(Sqlite, Postgres)] engine: Engine) {
    let (server, key) = start(engine).await;
    let client = Client::new(&server, &key).await;
    client.fill().await;
    let list = client
        .get(
            "collections?depth=2&orphaned=false&categoryIds=home&showAccessControlInfo=false\
             &showCatalogsCount=false&_=1700000000",
        )
        .await;
    assert_eq!(ids(&list["items"]), "home");
    assert_eq!(
        list["items"][0]["childCategories"][0]["displayName"],
        "Lamps"
    );
}
