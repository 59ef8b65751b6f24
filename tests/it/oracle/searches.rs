//! `q` and `sort` on all fields of the items, and how texts are compared.

use endcap::config::Flags;
use endcap::grpc::pb;
use endcap::store::Engine::{self, Postgres, Sqlite};
use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};

use super::{Admin, ask, assert_error, ids, send};
use crate::harness::{Server, get};

async fn list(admin: &Admin<'_>, path: &str, query: &[(&str, &str)]) -> (u16, Value) {
    send(admin.request(Method::GET, path).query(query)).await
}

async fn found(admin: &Admin<'_>, path: &str, query: &[(&str, &str)]) -> String {
    let (status, list) = list(admin, path, query).await;
    assert_eq!(status, 200, "{path} {query:?}: {list}");
    let found = ids(&list["items"]);
    let count = found.split_whitespace().count();
    assert_eq!(list["totalResults"], count, "{path} {query:?}");
    found
}

/// Hats, of which `a` is inactive, and a collection with properties of all types.
async fn set_up(admin: &Admin<'_>) {
    admin.make("shop", None, 0).await;
    for (id, more) in [
        (
            "a",
            json!({"active": false, "keywords": ["Red", "blue"], "x_size": 5}),
        ),
        (
            "b",
            json!({"description": "Straße", "x_size": "12", "x_when": "2024-05-01T10:00:00+02:00"}),
        ),
        (
            "c",
            json!({"x_tags": ["new", {"name": "Sale", "rank": 3}], "x_ok": true, "x_size": 7.5}),
        ),
    ] {
        let mut properties = json!({"id": id, "displayName": format!("Hat {id}")});
        properties
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let image = json!([{"path": format!("/{id}.png"), "metadata": {"altText": "Hat"}}]);
        let body = json!({
            "properties": properties, "parentCategoryId": "shop", "categoryImages": image,
        });
        assert_eq!(admin.post(body).await.0, 200);
    }
    for (id, collection, more) in [
        (
            "p1",
            "a",
            json!({"active": true, "listPrice": 10.5, "brand": "ACME"}),
        ),
        (
            "p2",
            "b",
            json!({"active": false, "listPrice": 9, "brand": "Other", "weight": "20"}),
        ),
        (
            "p3",
            "b",
            json!({"listPrice": "100", "x_flag": "TRUE", "x_when": "2024-05-01T08:00:00Z"}),
        ),
    ] {
        let mut properties = json!({"id": id, "displayName": format!("Product {id}")});
        properties
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let body =
            json!({"categoryId": collection, "properties": properties, "productType": "hat"});
        let request = admin.write(Method::POST, "products", "en");
        assert_eq!(send(request.json(&body)).await.0, 200);
    }
    // In a collection, and not registered.
    let append = json!({"type": "appendProducts", "products": ["p4"]});
    assert_eq!(admin.put("c", append).await.0, 200);
}

#[rstest]
#[tokio::test]
async fn filters_match_standard_and_custom_fields(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    set_up(&admin).await;
    for (q, expected) in [
        ("active eq true", "b c shop"),
        ("active eq false and displayName sw \"hat\"", "a"),
        ("not (active eq true)", "a"),
        ("keywords eq \"red\" or keywords co \"LU\"", "a"),
        ("keywords pr", "a"),
        ("description eq \"strasse\"", "b"),
        ("description eq null and seoMetaInfo eq null", "a c shop"),
        // Numbers in any notation.
        ("x_size gt 6", "b c"),
        ("x_size ge 5 and x_size lt 7.6", "a c"),
        ("x_size eq 12.0", "b"),
        ("x_ok eq true", "c"),
        ("x_when eq \"2024-05-01T08:00:00Z\"", "b"),
        ("x_when gt \"2024-05-01T09:59:59+02:00\"", "b"),
        ("x_when lt \"2024-05-01T08:00:00Z\"", ""),
        ("x_tags eq \"NEW\"", "c"),
        ("x_tags.rank gt 2", "c"),
        ("x_tags[name eq \"sale\" and rank le 3]", "c"),
        ("x_tags[name eq \"sale\" and rank lt 3]", ""),
        // Properties with Oracle's prefix that no item has.
        ("x_nothing eq null", "a b c shop"),
        ("x_nothing ne \"x\" and not (x_nothing pr)", "a b c shop"),
        ("fixedParentCategories eq \"shop\"", "a b c"),
        (
            "fixedParentCategories.repositoryId eq \"rootCategory\"",
            "shop",
        ),
        ("ancestorCategories[repositoryId eq \"shop\"]", "a b c"),
        ("childCategories eq \"a\"", "shop"),
        ("fixedChildCategories pr", "shop"),
        ("categoryImages.path ew \"/B.PNG\"", "b"),
        ("categoryImages.metadata pr", "a b c"),
        ("categoryIdPaths eq \"rootCategory>shop>a\"", "a"),
        ("categoryPaths co \"shop/hat\"", "a b c"),
        ("route sw \"/HAT-b/\"", "b"),
        (
            "seoTitleDerived ew \"hat c\" and seoUrlSlugDerived ne \"x\"",
            "c",
        ),
        ("seoMetaInfo pr", ""),
        ("NAME eq \"a\" and ID eq \"a\"", "a"),
        ("name eq \"B\"", "b"),
        (
            "creationDate gt \"2001-01-01T00:00:00+14:00\"",
            "a b c shop",
        ),
        (
            "creationDate pr and creationDate lt \"2001-01-01T00:00:00Z\"",
            "",
        ),
        ("id eq \"a\" or id eq \"c\" or id eq \"ghost\"", "a c"),
        ("(id eq \"a\" or id eq \"c\") and active eq true", "c"),
    ] {
        let query = [("filterRootCategories", "true"), ("sort", "id"), ("q", q)];
        assert_eq!(found(&admin, "collections", &query).await, expected, "{q}");
    }
    for (q, expected) in [
        ("active eq true", "p1"),
        ("active ne false", "p1 p3 p4"),
        ("displayName co \"DUCT P\"", "p1 p2 p3"),
        ("not (displayName pr)", "p4"),
        ("brand eq \"acme\"", "p1"),
        ("listPrice gt 9.5", "p1 p3"),
        ("listPrice le 10.5", "p1 p2"),
        ("weight gt 3", "p2"),
        ("x_flag eq true", "p3"),
        ("x_when eq \"2024-05-01T10:00:00+02:00\"", "p3"),
        ("parentCategories eq \"b\"", "p2 p3"),
        ("parentCategories[repositoryId eq \"c\"]", "p4"),
        ("parentCategory.repositoryId eq \"a\"", "p1"),
        ("productType eq \"HAT\"", "p1 p2 p3"),
        ("id eq \"p2\" or repositoryId eq \"p4\"", "p2 p4"),
        ("id co \"P\"", "p1 p2 p3 p4"),
        ("salePrice pr", ""),
        ("id eq \"P1\"", ""),
    ] {
        assert_eq!(
            found(&admin, "products", &[("q", q)]).await,
            expected,
            "{q}"
        );
    }
    // A condition on one list also applies to its parts, pages and totals.
    let q = ("q", "active ne false");
    for (query, expected, total) in [
        (vec![("categoryId", "b"), q], "p3", 1),
        (vec![("categoryId", "shop"), q], "", 0),
        (
            vec![("categoryId", "shop"), ("includeChildren", "true"), q],
            "p1 p3 p4",
            3,
        ),
        (vec![("limit", "1"), ("offset", "1"), q], "p3", 3),
        (vec![("limit", "0"), q], "", 3),
        (vec![("offset", "9"), q], "", 3),
        (vec![("productIds", "p2,p3"), q], "p3", 1),
        (vec![q, ("q", "id ne \"p1\"")], "p3 p4", 2),
        (vec![q, ("name", "Duct")], "p1 p3", 2),
    ] {
        let (status, page) = list(&admin, "products", &query).await;
        assert_eq!(status, 200, "{query:?}: {page}");
        assert_eq!(ids(&page["items"]), expected, "{query:?}");
        assert_eq!(page["totalResults"], total, "{query:?}");
    }
}

#[rstest]
#[tokio::test]
async fn lists_are_sorted_by_standard_and_custom_fields(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    set_up(&admin).await;
    for (sort, expected) in [
        // Numbers are sorted as such; they precede texts, and items without a value come last.
        ("x_size", "a c b shop"),
        ("x_size:desc", "shop b c a"),
        ("active,id:desc", "a shop c b"),
        ("categoryImages.path:desc", "shop c b a"),
        ("creationDate:desc", "c b a shop"),
        ("items.displayName:DESC", "shop c b a"),
        ("x_nothing, id:desc", "shop c b a"),
    ] {
        let query = [("filterRootCategories", "true"), ("sort", sort)];
        assert_eq!(
            found(&admin, "collections", &query).await,
            expected,
            "{sort}"
        );
    }
    for (sort, expected) in [
        ("id:desc", "p4 p3 p2 p1"),
        ("listPrice", "p2 p1 p3 p4"),
        ("brand:desc,id", "p3 p4 p2 p1"),
        ("displayName:asc", "p1 p2 p3 p4"),
        ("parentCategory.repositoryId:desc,id:desc", "p4 p3 p2 p1"),
    ] {
        assert_eq!(
            found(&admin, "products", &[("sort", sort)]).await,
            expected,
            "{sort}"
        );
    }
    let query = [
        ("sort", "id:desc"),
        ("categoryId", "b"),
        ("limit", "1"),
        ("offset", "1"),
    ];
    let (_, page) = list(&admin, "products", &query).await;
    assert_eq!(
        (ids(&page["items"]), &page["totalResults"]),
        ("p2".into(), &json!(2))
    );
}

#[rstest]
#[tokio::test]
async fn invalid_filters_and_sorts_are_rejected(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    set_up(&admin).await;
    for path in ["collections", "products", "catalogs"] {
        for (name, value, says) in [
            ("q", "colour eq \"red\"", "colour"),
            ("q", "colour pr or id co \"a\"", "colour"),
            ("q", "nonsense (((", "q"),
            ("q", "id eq", "q"),
            ("q", "id eq \"a", "q"),
            ("q", "active gt true", "gt"),
            ("q", "a.b.c eq 1", "a.b.c"),
            ("q", "urn:ietf:params:x:y eq 1", "not a property"),
            ("sort", "colour", "colour"),
            ("sort", "id:sideways", "sideways"),
            ("sort", "id,id:desc", "twice"),
            ("name", "a\0b", "NUL"),
        ] {
            let response = list(&admin, path, &[(name, value)]).await;
            assert_error(&response, 400, "400", says);
            assert_eq!(
                response.1["o:errorPath"],
                if name == "name" { "q" } else { name }
            );
        }
    }
    for (q, says) in [
        ("creationDate gt \"yesterday\"", "2017-07-14T02:40:00Z"),
        ("creationDate co \"2024\"", "no parts"),
        ("childProducts eq \"p1\"", "childProducts"),
    ] {
        assert_error(
            &list(&admin, "collections", &[("q", q)]).await,
            400,
            "400",
            says,
        );
    }
    for (begin, end) in [("not(", ")"), ("(", ")")] {
        let deep = format!("{}id pr{}", begin.repeat(3_000), end.repeat(3_000));
        let response = list(&admin, "collections", &[("q", &deep)]).await;
        assert_error(&response, 400, "400", "q");
    }
}

#[rstest]
#[tokio::test]
async fn a_search_that_scans_too_many_items_is_rejected(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let flags = Flags {
        max_scanned: Some("5".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let admin = Admin(&server);
    set_up(&admin).await;
    let looked = [("q", "x_size gt 6")];
    let before = server.refused("max_scanned").await;
    // Including the roots there are six.
    let refused = list(&admin, "collections", &looked).await;
    assert_error(&refused, 400, "400", "max_scanned");
    let sorted = [("sort", "active")];
    assert_error(&list(&admin, "collections", &sorted).await, 400, "400", "5");
    assert!(server.refused("max_scanned").await >= before + 2);
    for query in [
        vec![("filterRootCategories", "true"), looked[0]],
        vec![("categoryIds", "a,b"), looked[0]],
        vec![("q", "x_size gt 6 and displayName sw \"hat\"")],
        vec![("q", "(id eq \"a\" or id eq \"b\") and x_size gt 6")],
        // The database evaluates these.
        vec![("sort", "id"), ("q", "displayName co \"a\"")],
    ] {
        let (status, body) = list(&admin, "collections", &query).await;
        assert_eq!(status, 200, "{query:?}: {body}");
    }
    assert_eq!(
        found(&admin, "products", &[("q", "brand pr")]).await,
        "p1 p2"
    );
    for id in ["p5", "p6"] {
        let body = json!({"properties": {"displayName": id, "id": id}});
        assert_eq!(
            send(admin.write(Method::POST, "products", "en").json(&body))
                .await
                .0,
            200
        );
    }
    for query in [
        ("q", "brand pr"),
        ("showInactiveProducts", "false"),
        ("sort", "brand"),
    ] {
        let response = list(&admin, "products", &[query]).await;
        assert_error(&response, 400, "400", "max_scanned");
    }
    let of_one = [("q", "brand pr"), ("categoryId", "b")];
    assert_eq!(found(&admin, "products", &of_one).await, "p2");
}

/// A page larger than a batch of the scan, in descending order.
#[rstest]
#[tokio::test]
async fn a_search_spanning_several_batches_returns_full_pages(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    admin.make("a", None, 0).await;
    let count = 350;
    let product = |n: usize| pb::Product {
        id: format!("p{n:03}"),
        title: format!("P{n}"),
        ..pb::Product::default()
    };
    let request = pb::UpsertProductsRequest {
        products: (0..count).map(product).collect(),
        ..pb::UpsertProductsRequest::default()
    };
    server
        .products()
        .await
        .upsert_products(request)
        .await
        .unwrap();
    let ids: Vec<_> = (0..count).map(|n| format!("p{n:03}")).collect();
    let append = json!({"type": "appendProducts", "products": ids});
    assert_eq!(admin.put("a", append).await.0, 200);
    for path in ["products", "products?categoryId=a"] {
        let sep = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{sep}q=parentCategories%20eq%20%22a%22&sort=id:desc");
        let (_, page) = ask(
            &admin,
            Method::GET,
            &format!("{path}&offset=245"),
            json!({}),
        )
        .await;
        assert_eq!(page["totalResults"], count);
        assert_eq!(page["items"].as_array().unwrap().len(), count - 245);
        assert_eq!(page["items"][0]["id"], "p104");
        let (_, page) = ask(&admin, Method::GET, &path, json!({})).await;
        assert_eq!(page["items"].as_array().unwrap().len(), 250);
    }
}

/// Names that compare equal, each with the form that is searched for.
const FORMS: [(&str, &str); 6] = [
    ("Caf\u{e9} one", "CAFE\u{301} ONE"),
    ("Stra\u{df}e", "STRASSE"),
    (
        "\u{39f}\u{394}\u{39f}\u{3a3}",
        "\u{3bf}\u{3b4}\u{3bf}\u{3c2}",
    ),
    ("e\u{323}\u{302}x", "\u{1ec6}X"),
    ("\u{fb03}ne", "FFINE"),
    ("\u{415}\u{416}", "\u{435}\u{436}"),
];

#[rstest]
#[tokio::test]
async fn text_matching_ignores_case_and_unicode_composition(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    for (at, (name, _)) in FORMS.iter().enumerate() {
        let body = json!({"properties": {"id": format!("c{at}"), "displayName": name}});
        assert_eq!(admin.post(body).await.0, 200);
        let body = json!({"properties": {"id": format!("p{at}"), "displayName": name}});
        assert_eq!(
            send(admin.write(Method::POST, "products", "en").json(&body))
                .await
                .0,
            200
        );
    }
    let mut client = server.grpc().await;
    let mut products = server.products().await;
    for (at, (name, form)) in FORMS.iter().enumerate() {
        let (collection, product) = (format!("c{at}"), format!("p{at}"));
        for given in [name, form] {
            let equal = format!("displayName eq \"{given}\"");
            let part = format!("displayName co \"{given}\" or displayName ew \"{given}\"");
            for query in [("name", *given), ("q", &equal), ("q", &part)] {
                assert_eq!(
                    found(&admin, "collections", &[query]).await,
                    collection,
                    "{query:?}"
                );
                assert_eq!(
                    found(&admin, "products", &[query]).await,
                    product,
                    "{query:?}"
                );
            }
            let request = pb::ListCollectionsRequest {
                filter: Some(pb::list_collections_request::Filter {
                    display_name_contains: (*given).into(),
                    ..pb::list_collections_request::Filter::default()
                }),
                ..pb::ListCollectionsRequest::default()
            };
            let list = client.list_collections(request).await.unwrap().into_inner();
            assert_eq!(list.collections[0].id, collection, "{given}");
            assert_eq!(list.collections.len(), 1, "{given}");
            let request = pb::ListProductsRequest {
                filter: Some(pb::list_products_request::Filter {
                    title_contains: (*given).into(),
                    ..pb::list_products_request::Filter::default()
                }),
                ..pb::ListProductsRequest::default()
            };
            let list = products.list_products(request).await.unwrap().into_inner();
            assert_eq!(list.products[0].id, product, "{given}");
            assert_eq!(list.products.len(), 1, "{given}");
            for (path, list, name) in [
                (
                    "products/collections?altId=default&altType=location",
                    "data",
                    "name",
                ),
                ("products/?locationId=default", "products", "search"),
            ] {
                let url = format!("{}/{path}", server.http);
                let request = server.client.get(url).header("version", "2021-07-28");
                let (status, body) = send(request.query(&[(name, *given)])).await;
                assert_eq!(status, 200, "{body}");
                let items = body[list].as_array().unwrap();
                assert_eq!(items.len(), 1, "{given}: {body}");
            }
        }
        // It is stored and shown as it was given.
        let stored = get(&mut client, &collection).await.unwrap();
        assert_eq!(stored.texts["en"].display_name, *name);
    }
    // In the order of the compared forms: ASCII, then by bytes.
    let sorted = [("filterRootCategories", "true"), ("sort", "displayName")];
    assert_eq!(
        found(&admin, "collections", &sorted).await,
        "c0 c4 c1 c2 c5 c3"
    );
    assert_eq!(
        found(&admin, "products", &[("sort", "displayName")]).await,
        "p0 p4 p1 p2 p5 p3"
    );
}

/// The scalar leaves of an item, with their paths in a filter.
fn leaves(path: &str, json: &Value, to: &mut Vec<(String, Value)>) {
    match json {
        Value::Object(fields) => fields.iter().for_each(|(name, json)| {
            let dot = if path.is_empty() { "" } else { "." };
            leaves(&format!("{path}{dot}{name}"), json, to);
        }),
        Value::Array(values) => values.iter().for_each(|json| leaves(path, json, to)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            to.push((path.into(), json.clone()));
        }
    }
}

/// Two collections with everything that an item can show, each with a child, and two products.
async fn set_up_full(admin: &Admin<'_>) {
    for n in [1, 2] {
        let own = json!({
            "x_a.b": n, "x_a": {"c": n}, "a.b": n, "x_o": {"c.d": n}, "x_ok": n == 1,
            "x_list": [{"name": format!("N{n}")}, n],
        });
        let standard = json!({
            "id": format!("full{n}"), "displayName": format!("Full {n}"), "name": format!("n{n}"),
            "description": format!("D{n}"), "longDescription": format!("L{n}"),
            "keywords": [format!("k{n}"), "both"],
            "seoMetaInfo": {"seoTitle": format!("T{n}"), "seoUrlSlug": format!("slug-{n}")},
        });
        let with_own = |mut properties: Value| {
            let own = own.as_object().unwrap().clone();
            properties.as_object_mut().unwrap().extend(own);
            properties
        };
        let texts = json!({"altText": format!("A{n}"), "titleText": format!("T{n}")});
        let body = json!({
            "properties": with_own(standard),
            "categoryImages": [{"path": format!("/{n}.png"), "name": "i", "metadata": texts}],
        });
        let (status, response) = admin.post(body).await;
        assert_eq!(status, 200, "{response}");
        admin
            .make(&format!("kid{n}"), Some(&format!("full{n}")), 0)
            .await;
        let product = json!({"id": format!("full{n}"), "displayName": format!("P{n}")});
        let body = json!({
            "properties": with_own(product), "productType": format!("t{n}"),
            "categoryId": format!("full{n}"),
        });
        let request = admin.write(Method::POST, "products", "en");
        assert_eq!(send(request.json(&body)).await.0, 200);
    }
}

#[rstest]
#[tokio::test]
async fn each_returned_field_can_be_filtered_and_sorted_or_is_rejected(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    set_up_full(&admin).await;
    for (path, least) in [("collections", 35), ("products", 10)] {
        let query = [("multipleCategoryPaths", "true")];
        let query = if path == "products" { &[][..] } else { &query };
        let all = list(&admin, path, query).await.1;
        let items = all["items"].as_array().unwrap();
        let full = |id: &str| items.iter().find(|item| item["id"] == id).unwrap().clone();
        let mut shown = Vec::new();
        leaves("", &full("full1"), &mut shown);
        let mut of_other = Vec::new();
        leaves("", &full("full2"), &mut of_other);
        let mut found_by = 0;
        for (at, value) in &shown {
            let q = format!("{at} eq {value}");
            let (status, response) = list(&admin, path, &[("q", &q)]).await;
            if status == 400 {
                assert_eq!(response["o:errorPath"], "q", "{q}");
            } else {
                assert_eq!(status, 200, "{q}: {response}");
                let found = ids(&response["items"]);
                assert!(found.split(' ').any(|id| id == "full1"), "{q}: {found}");
                found_by += 1;
            }
            // A differing value orders the two, in either direction.
            let others: Vec<_> = of_other.iter().filter(|(other, _)| other == at).collect();
            let is_one = shown.iter().filter(|(other, _)| other == at).count() == 1;
            if !is_one || others.len() != 1 || others[0].1 == *value {
                continue;
            }
            let order = async |direction: &str| {
                let sort = format!("{at}:{direction}");
                let (status, response) = list(&admin, path, &[("sort", &sort)]).await;
                if status == 400 {
                    assert!(
                        response["message"].as_str().unwrap().contains(at),
                        "{response}"
                    );
                    return None;
                }
                let all = ids(&response["items"]);
                let full = all.split(' ').filter(|id| id.starts_with("full"));
                Some(full.map(str::to_owned).collect::<Vec<_>>())
            };
            let (up, mut down) = (order("asc").await, order("desc").await);
            if let Some(down) = &mut down {
                down.reverse();
            }
            assert_eq!(up, down, "{path} {at}");
        }
        assert!(found_by > least, "{path}: {found_by} of {}", shown.len());
    }
    for (q, expected) in [
        ("childCategories eq \"kid1\"", Some("full1")),
        ("childCategories.id eq \"kid1\"", Some("full1")),
        ("childCategories.repositoryId eq \"kid2\"", Some("full2")),
        ("childCategories[ID eq \"kid1\"]", Some("full1")),
        ("childCategories.displayName eq \"kid1\"", None),
        ("not (childCategories[displayName eq \"kid1\"])", None),
        ("childcategories.route pr or id eq \"full1\"", None),
        ("x_a.b eq 1", Some("full1")),
        ("x_a.c eq 2", Some("full2")),
        ("a.b eq 2", Some("full2")),
        ("x_o[c.d eq 2]", Some("full2")),
    ] {
        match expected {
            Some(expected) => assert_eq!(found(&admin, "collections", &[("q", q)]).await, expected),
            None => {
                let refused = list(&admin, "collections", &[("q", q)]).await;
                assert_error(&refused, 400, "400", "can't be searched");
            }
        }
    }
    let only = [("onlyActive", "true"), ("q", "childCategories eq \"kid1\"")];
    assert_error(
        &list(&admin, "collections", &only).await,
        400,
        "400",
        "onlyActive",
    );
}

#[rstest]
#[tokio::test]
async fn fields_select_custom_properties_with_dots_and_nested_parts(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    set_up_full(&admin).await;
    for path in ["collections", "products"] {
        for (fields, expected) in [
            ("x_a.c", json!({"x_a": {"c": 1}})),
            ("x_a.b", json!({"x_a.b": 1, "x_a": {}})),
            ("a.b", json!({"a.b": 1})),
            ("x_o.c.d", json!({"x_o": {"c.d": 1}})),
            ("x_list.name", json!({"x_list": [{"name": "N1"}, 1]})),
        ] {
            let one = format!("{path}/full1?fields={fields}");
            let one = send(admin.request(Method::GET, &one)).await.1;
            assert_eq!(one, expected, "{path} {fields}");
            let query = [("q", "id eq \"full1\""), ("fields", fields)];
            let listed = list(&admin, path, &query).await.1;
            assert_eq!(listed["items"][0], expected, "{path} {fields}");
        }
        let one = format!("{path}/full1?exclude=x_a.b,x_o.c.d");
        let one = send(admin.request(Method::GET, &one)).await.1;
        assert_eq!((&one["x_a"], &one["x_o"]), (&json!({"c": 1}), &json!({})));
        assert!(
            one.get("x_a.b").is_none() && one.get("a.b").is_some(),
            "{one}"
        );
    }
}
