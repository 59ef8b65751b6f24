//! A client of the HighLevel dialect can write back what it has read, which changes nothing. A
//! partial update changes only the given part.

use endcap::config::Flags;
use endcap::grpc::pb;
use endcap::store::Engine::{self, Postgres, Sqlite};
use prost_types::{Struct, Value as Attribute, value::Kind};
use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};

use crate::{
    auth::new_key,
    collections::{cheaper_than, rules},
    harness::{Server, named},
    highlevel::{done, request, status_and_body, with},
};

/// The tenant of requests that name none, so that all dialects use the same one.
const LOCATION: &str = "default";

fn at(more: Value) -> Value {
    with(json!({"altId": LOCATION, "altType": "location"}), more)
}

async fn collection(server: &Server, slug: &str, more: Value) -> String {
    let body = with(at(json!({"name": slug, "slug": slug})), more);
    let made = done(request(server, Method::POST, "/collections").json(&body)).await;
    made["data"]["_id"].as_str().unwrap().into()
}

async fn product(server: &Server, id: &str) -> Value {
    let path = format!("/{}?locationId={LOCATION}", id.replace('/', "%2F"));
    done(request(server, Method::GET, &path)).await
}

async fn change(server: &Server, id: &str, body: Value) -> Value {
    let body = with(json!({ "locationId": LOCATION }), body);
    let path = format!("/{}", id.replace('/', "%2F"));
    done(request(server, Method::PUT, &path).json(&body)).await
}

/// An Oracle request with texts in this language.
async fn oracle(server: &Server, path: &str, language: &str, body: Value) {
    let url = format!("{}/ccadmin/v1{path}", server.http);
    let request = server
        .client
        .post(url)
        .header("x-ccasset-language", language);
    done(request.json(&body)).await;
}

/// Collections in all forms that the other APIs can create and HighLevel's can't.
async fn others(server: &Server) {
    let mut grpc = server.grpc().await;
    let text = |name: &str| pb::LocalizedText {
        display_name: name.into(),
        ..pb::LocalizedText::default()
    };
    let image = |id: &str, source| pb::Image {
        id: id.into(),
        source: Some(source),
        ..pb::Image::default()
    };
    let french = pb::Collection {
        texts: [
            ("fr".to_owned(), text("Chapeaux")),
            ("de".to_owned(), text("Hüte")),
        ]
        .into(),
        ..named("hats/french", "")
    };
    let pictured = pb::Collection {
        images: vec![
            image("a", pb::image::Source::Path("/a.png".into())),
            image(
                "b",
                pb::image::Source::Url("http://example.com/b.png".into()),
            ),
        ],
        ..named("PICTURED", "Pictured")
    };
    let path_only = pb::Collection {
        images: vec![image("a", pb::image::Source::Path("/a.png".into()))],
        ..named("path-only", "Path only")
    };
    let smart = |id: &str, root: pb::Rule| pb::Collection {
        rules: Some(pb::Rules { root: Some(root) }),
        kind: pb::CollectionKind::Smart.into(),
        ..named(id, id)
    };
    let nested = pb::rule::Rule::NoneOf(pb::RuleGroup {
        rules: vec![cheaper_than("5"), cheaper_than("9.50")],
        same_row: false,
    });
    let nested = pb::rule::Rule::AnyOf(pb::RuleGroup {
        rules: vec![pb::Rule { rule: Some(nested) }, cheaper_than("3")],
        same_row: false,
    });
    let nested = pb::Rule { rule: Some(nested) };
    for collection in [
        french,
        pictured,
        path_only,
        smart("one-condition", cheaper_than("20")),
        smart("nested", nested),
    ] {
        let request = pb::CreateCollectionRequest {
            collection: Some(collection),
            ..pb::CreateCollectionRequest::default()
        };
        grpc.create_collection(request).await.unwrap();
    }
    let body = json!({"properties": {"id": "oracle", "displayName": "Von Oracle", "own": [1]}});
    oracle(server, "/collections", "de", body).await;
}

#[rstest]
#[tokio::test]
async fn writing_back_a_collection_as_read_does_not_change_it(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    others(&server).await;
    collection(&server, "bare", json!({})).await;
    let full = json!({
        "image": "http://example.com/a.png", "seo": {"title": "T", "description": "D"},
        "productIds": ["p1", "p2"],
    });
    collection(&server, "full", full).await;
    let rules = json!({"conditions": [{"field": "title", "operator": "contains", "value": "a"}]});
    collection(&server, "smart", json!({"type": "smart", "rules": rules})).await;

    let path = format!("/collections?altId={LOCATION}&altType=location&limit=100");
    let list = done(request(&server, Method::GET, &path)).await;
    let all = list["data"].as_array().unwrap();
    assert_eq!(all.len(), 9);
    for read in all {
        let id = read["_id"].as_str().unwrap();
        let path = format!("/collections/{}", id.replace('/', "%2F"));
        let get = format!("{path}?altId={LOCATION}");
        let before = request(&server, Method::GET, &get).send().await.unwrap();
        let etag = before.headers()["etag"].clone();
        let before: Value = before.json().await.unwrap();
        assert_eq!(&before["data"], read);
        done(request(&server, Method::PUT, &path).json(read)).await;
        let after = request(&server, Method::GET, &get).send().await.unwrap();
        assert_eq!(after.headers()["etag"], etag, "{read}");
        assert_eq!(after.json::<Value>().await.unwrap(), before);
    }
}

/// Products in all forms.
async fn products(server: &Server) -> Vec<String> {
    let more = json!({"productIds": ["member", "member/only"]});
    let c = collection(server, "c", more).await;
    let body = json!({
        "locationId": LOCATION, "name": "Hat", "productType": "DIGITAL", "slug": "hat",
        "collectionIds": [c], "variants": [{"id": "v", "price": 1.50}], "weight": 2.0,
    });
    let made = done(request(server, Method::POST, "/").json(&body)).await;
    let attribute = |kind| Attribute { kind: Some(kind) };
    let attributes = Struct {
        fields: [
            ("nothing".to_owned(), attribute(Kind::NullValue(0))),
            ("slug".to_owned(), attribute(Kind::NumberValue(5.0))),
            ("createdAt".to_owned(), attribute(Kind::BoolValue(true))),
            ("number".to_owned(), attribute(Kind::NumberValue(1.0))),
        ]
        .into(),
    };
    let of_grpc = pb::Product {
        id: "grpc".into(),
        title: "Sock".into(),
        r#type: "Woollen".into(),
        attributes: Some(attributes),
        ..pb::Product::default()
    };
    let request = pb::UpsertProductsRequest {
        products: vec![of_grpc],
        ..pb::UpsertProductsRequest::default()
    };
    server
        .products()
        .await
        .upsert_products(request)
        .await
        .unwrap();
    let properties = json!({"id": "oracle", "displayName": "Von Oracle", "listPrice": 10.0});
    let body = json!({"productType": "", "categoryId": c, "properties": properties});
    oracle(server, "/products", "en", body).await;
    let smart = collection(server, "smart", json!({"productIds": ["member", "grpc"]})).await;
    make_smart(server, &smart).await;
    let made = made["_id"].as_str().unwrap();
    ["member", "member/only", made, "grpc", "oracle"]
        .map(Into::into)
        .into()
}

/// Turns a manual collection into a smart one that keeps its products, and whose rules match no
/// others.
async fn make_smart(server: &Server, id: &str) {
    let request = pb::ChangeCollectionKindRequest {
        collection_id: id.into(),
        kind: pb::CollectionKind::Smart.into(),
        rules: Some(rules(vec![cheaper_than("0")])),
        keep_members: true,
        ..pb::ChangeCollectionKindRequest::default()
    };
    let mut client = server.rules().await;
    client.change_collection_kind(request).await.unwrap();
}

/// The product over gRPC.
async fn known(server: &Server, id: &str) -> Option<pb::GetProductResponse> {
    let request = pb::GetProductRequest {
        product_id: id.into(),
        ..pb::GetProductRequest::default()
    };
    let found = server.products().await.get_product(request).await;
    found.ok().map(tonic::Response::into_inner)
}

#[rstest]
#[tokio::test]
async fn writing_back_a_product_as_read_does_not_change_it(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut all = Vec::new();
    for id in products(&server).await {
        let before = product(&server, &id).await;
        for field in [
            "name",
            "productType",
            "createdAt",
            "updatedAt",
            "locationId",
        ] {
            assert!(before[field].is_string(), "{field} {before}");
        }
        let (row, query) = (known(&server, &id).await, format!("?locationId={LOCATION}"));
        assert_eq!(change(&server, &id, before.clone()).await, before);
        let path = format!("/{}{query}", id.replace('/', "%2F"));
        let put = request(&server, Method::PUT, &path).json(&before);
        assert_eq!(done(put).await, before);
        assert_eq!(product(&server, &id).await, before);
        assert_eq!(known(&server, &id).await, row);
        all.push(before);
    }
    let edit = at(json!({ "products": all }));
    let edited = request(&server, Method::POST, "/bulk-update/edit").json(&edit);
    let (status, body) = status_and_body(edited).await;
    assert_eq!((status, &body["updatedCount"]), (201, &json!(5)));
    for before in all {
        let id = before["_id"].as_str().unwrap();
        assert_eq!(product(&server, id).await, before);
    }
}

#[rstest]
#[tokio::test]
async fn a_partial_update_of_a_product_changes_only_the_given_part(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let other = collection(&server, "new", json!({})).await;
    for id in products(&server).await {
        for part in [
            json!({"availableInStore": true}),
            json!({"slug": "shirt"}),
            json!({"productType": "SERVICE"}),
            json!({"name": "Shirt"}),
            json!({"collectionIds": [other]}),
            json!({"description": null}),
        ] {
            let before = product(&server, &id).await;
            let after = change(&server, &id, part.clone()).await;
            assert_eq!(product(&server, &id).await, after);
            let mut expected = with(before.clone(), part.clone());
            expected
                .as_object_mut()
                .unwrap()
                .retain(|_, value| !value.is_null());
            let mut after = after;
            after
                .as_object_mut()
                .unwrap()
                .retain(|_, value| !value.is_null());
            for time in ["createdAt", "updatedAt"] {
                expected[time] = after[time].clone();
            }
            if part.get("collectionIds").is_some() {
                // The product remains in smart collections.
                let ids = after["collectionIds"].as_array().unwrap();
                assert!(ids.contains(&json!(other)));
                let is_in_smart = id == "member" || id == "grpc";
                assert_eq!(ids.len(), 1 + usize::from(is_in_smart), "{id}");
                expected["collectionIds"] = after["collectionIds"].clone();
            }
            assert_eq!(after, expected, "{id} {part}");
        }
    }
    let null = json!({"locationId": LOCATION, "name": null, "productType": null});
    let null = request(&server, Method::PUT, "/oracle").json(&null);
    let messages = json!([
        "name must be a string",
        "name should not be empty",
        "productType must be one of the following values: DIGITAL, PHYSICAL, SERVICE, PHYSICAL/DIGITAL",
    ]);
    assert_eq!(status_and_body(null).await.1["message"], messages);
}

#[rstest]
#[tokio::test]
async fn products_cannot_be_added_to_a_smart_collection(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let all = products(&server).await;
    let path = format!("/collections?altId={LOCATION}&altType=location&name=smart");
    let smart = done(request(&server, Method::GET, &path)).await["data"][0]["_id"].clone();
    let why = json!([
        "collectionIds is not allowed: the products of a smart collection follow from its rules"
    ]);
    let outside = all.iter().find(|id| id.starts_with("member/")).unwrap();
    let path = format!("/{}", outside.replace('/', "%2F"));
    let put = json!({"locationId": LOCATION, "collectionIds": [smart]});
    let place = at(json!({
        "type": "bulk-update-product-collection",
        "productIds": [outside], "collectionIds": [smart],
    }));
    let edit = at(json!({"products": [{"_id": outside, "collectionIds": [smart]}]}));
    for (method, path, body) in [
        (Method::PUT, path.as_str(), put),
        (Method::POST, "/bulk-update", place),
        (Method::POST, "/bulk-update/edit", edit),
    ] {
        let (status, body) = status_and_body(request(&server, method, path).json(&body)).await;
        assert_eq!((status, &body["message"]), (422, &why), "{path}");
    }
}

#[rstest]
#[tokio::test]
async fn a_bulk_edit_of_products_is_atomic(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let c = collection(&server, "c", json!({"productIds": ["a", "b"]})).await;
    let d = collection(&server, "d", json!({})).await;
    let edit = |body: Value| request(&server, Method::POST, "/bulk-update/edit").json(&body);
    let both = at(json!({"products": [
        {"_id": "a", "name": "A", "collectionIds": [d]},
        {"_id": "b", "availableInStore": true},
    ]}));
    for _ in 0..2 {
        let (status, body) = status_and_body(edit(both.clone())).await;
        let expected =
            json!({"status": true, "message": "Successfully updated", "updatedCount": 2});
        assert_eq!((status, body), (201, expected));
    }
    let a = product(&server, "a").await;
    assert_eq!(
        (&a["name"], &a["collectionIds"]),
        (&json!("A"), &json!([d]))
    );
    let b = product(&server, "b").await;
    assert_eq!(b["availableInStore"], true);
    assert_eq!(
        (&b["name"], &b["collectionIds"]),
        (&json!("b"), &json!([c]))
    );

    let odd = at(json!({"products": [
        1,
        {"name": 2, "collectionIds": ["a b"]},
        {"_id": "b", "prices": [{"amount": "1"}, 1]},
        {"_id": "c", "prices": {}},
    ]}));
    let messages = json!([
        "products.0 must be an object",
        "products.1._id must be a string",
        "products.1._id should not be empty",
        "products.1.name must be a string",
        "products.1.each value in collectionIds must be a valid id",
        "products.2.prices.0._id must be a string",
        "products.2.prices.0._id should not be empty",
        "products.2.prices.0.amount must be a number conforming to the specified constraints",
        "products.2.prices.1 must be an object",
        "products.3.prices must be an array",
    ]);
    assert_eq!(status_and_body(edit(odd)).await, failed(422, messages));
    let some = vec![json!({"_id": "a"}); 31];
    let messages = json!(["products must contain no more than 30 elements"]);
    assert_eq!(
        status_and_body(edit(at(json!({"products": some})))).await,
        failed(422, messages)
    );
    let messages = json!([
        "altId must be a string",
        "altId should not be empty",
        "altType must be one of the following values: location",
        "products should not be empty"
    ]);
    assert_eq!(
        status_and_body(edit(json!({}))).await,
        failed(422, messages)
    );
    let unknown = at(json!({"products": [{"_id": "a", "name": "Z"}, {"_id": "nowhere"}]}));
    let (status, _) = status_and_body(edit(unknown)).await;
    assert_eq!(status, 404);
    assert_eq!(product(&server, "a").await, a);
}

fn failed(status: u16, message: Value) -> (u16, Value) {
    let body = crate::highlevel::failure(status, &message, "Unprocessable Entity");
    (status, body)
}

#[rstest]
#[tokio::test]
async fn a_bulk_update_requires_product_ids_and_rejects_selections(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let c = collection(&server, "c", json!({})).await;
    let place = |more: Value| {
        let body = at(json!({
            "type": "bulk-update-product-collection",
            "productIds": ["p"], "collectionIds": [c],
        }));
        request(&server, Method::POST, "/bulk-update").json(&with(body, more))
    };
    for (more, message) in [
        (
            json!({"selectAll": true}),
            "selectAll is not allowed: productIds must name the products",
        ),
        (
            json!({"selectAll": true, "filters": {"search": "Shirt"}}),
            "selectAll is not allowed: productIds must name the products",
        ),
        (
            json!({"selectAll": "true"}),
            "selectAll must be a boolean value",
        ),
        (
            json!({"filters": {"search": "Shirt"}}),
            "filters is not allowed: productIds must name the products",
        ),
        (
            json!({"filters": "Shirt"}),
            "filters is not allowed: productIds must name the products",
        ),
    ] {
        assert_eq!(
            status_and_body(place(more)).await,
            failed(422, json!([message]))
        );
    }
    let path = format!("/?locationId={LOCATION}&collectionIds={c}");
    let total =
        async || done(request(&server, Method::GET, &path)).await["total"][0]["total"].clone();
    assert_eq!(total().await, 0);
    for harmless in [
        json!({"filters": {}}),
        json!({"filters": {"search": null}, "selectAll": null}),
        json!({"selectAll": false, "filters": {"search": "Shirt"}}),
    ] {
        done(place(harmless)).await;
    }
    assert_eq!(total().await, 1);
}

#[rstest]
#[tokio::test]
async fn ids_are_case_insensitive_unless_another_api_created_one_in_uppercase(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let (upper, lower) = ("66057F9D28536EAE584EC0AB", "66057f9d28536eae584ec0ab");
    let made = collection(
        &server,
        "c",
        json!({"collectionId": upper, "productIds": ["p"]}),
    )
    .await;
    assert_eq!(made, lower);
    let twin = at(json!({"name": "D", "slug": "d", "collectionId": lower}));
    for id in [upper, lower] {
        let twin = with(twin.clone(), json!({ "collectionId": id }));
        let twin = request(&server, Method::POST, "/collections").json(&twin);
        assert_eq!(
            status_and_body(twin).await,
            failed(422, json!(["collectionId must be unique"]))
        );
        let path = format!("/collections/{id}");
        let get = request(&server, Method::GET, &format!("{path}?altId={LOCATION}"));
        assert_eq!(done(get).await["data"]["_id"], lower);
        let put = request(&server, Method::PUT, &path).json(&at(json!({ "name": id })));
        done(put).await;
        let list = format!("/collections?altId={LOCATION}&altType=location&collectionIds={id}");
        let list = done(request(&server, Method::GET, &list)).await;
        assert_eq!(
            (&list["data"][0]["name"], &list["total"]),
            (&json!(id), &json!(1))
        );
        let list = format!("/?locationId={LOCATION}&collectionIds={id}");
        let list = done(request(&server, Method::GET, &list)).await;
        assert_eq!(list["products"][0]["collectionIds"], json!([lower]));
        let after = change(&server, "p", json!({"collectionIds": [id], "seen": id})).await;
        assert_eq!(after["collectionIds"], json!([lower]));
        let place = at(json!({
            "type": "bulk-update-product-collection", "productIds": [id], "collectionIds": [id],
        }));
        done(request(&server, Method::POST, "/bulk-update").json(&place)).await;
    }
    let capitals = "ABCDEF0123456789ABCDEF01";
    let made = pb::CreateCollectionRequest {
        collection: Some(named(capitals, "Capitals")),
        ..pb::CreateCollectionRequest::default()
    };
    server.grpc().await.create_collection(made).await.unwrap();
    let path = format!("/collections/{capitals}?altId={LOCATION}&altType=location");
    let read = done(request(&server, Method::GET, &path)).await;
    assert_eq!(read["data"]["_id"], capitals);
    done(request(&server, Method::DELETE, &path)).await;
    let path = format!("/collections/{upper}?altId={LOCATION}&altType=location");
    done(request(&server, Method::DELETE, &path)).await;
    let (status, _) = status_and_body(request(&server, Method::GET, &path)).await;
    assert_eq!(status, 404);
}

#[rstest]
#[tokio::test]
async fn a_get_needs_no_location_if_the_credential_is_for_one_tenant(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let id = collection(&server, "c", json!({})).await;
    let path = format!("/collections/{id}");
    let found = done(request(&server, Method::GET, &path)).await;
    assert_eq!(found["data"]["altId"], LOCATION);
    let path = format!("{path}?altType=company");
    let (status, body) = status_and_body(request(&server, Method::GET, &path)).await;
    let message = json!(["altType must be one of the following values: location"]);
    assert_eq!((status, &body["message"]), (422, &message));

    let server = asking(engine).await;
    let [mine, all] = ["shop", "*"].map(|tenant| new_key(&server, tenant, &["admin"], &[]));
    let body = json!({"altId": "shop", "altType": "location", "name": "A", "slug": "a"});
    let create = request(&server, Method::POST, "/collections").json(&body);
    let made = done(create.bearer_auth(&mine)).await;
    let path = format!("/collections/{}", made["data"]["_id"].as_str().unwrap());
    let get = |path: &str, key: &str| request(&server, Method::GET, path).bearer_auth(key);
    let found = done(get(&path, &mine)).await;
    assert_eq!(found["data"]["altId"], "shop");
    let required = failed(422, json!(["altId should not be empty"]));
    assert_eq!(status_and_body(get(&path, &all)).await, required);
    done(get(&format!("{path}?altId=shop"), &all)).await;
    let (status, _) = status_and_body(get(&format!("{path}?altId=other"), &mine)).await;
    assert_eq!(status, 403);
}

/// A server with API keys.
async fn asking(engine: Engine) -> Server {
    let flags = Flags {
        auth: Some("keys".into()),
        ..Flags::default()
    };
    Server::start(engine, flags).await
}

/// If a job evaluates the rules, the response waits for its end, so a later read has the products.
#[rstest]
#[tokio::test]
async fn a_write_of_rules_waits_for_the_evaluation_job(#[values(Sqlite, Postgres)] engine: Engine) {
    let flags = Flags {
        max_synchronous_products: Some("1".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    for name in ["Straw hat", "Felt hat", "Coat"] {
        let product = json!({"locationId": LOCATION, "name": name, "productType": "PHYSICAL"});
        done(request(&server, Method::POST, "/").json(&product)).await;
    }
    let rules = |text: &str| {
        let condition = json!({"field": "title", "operator": "contains", "value": text});
        json!({"type": "smart", "rules": {"conditions": [condition]}})
    };
    let count = async |id: &str| {
        let path = format!("/collections/{id}?altId={LOCATION}");
        let read = done(request(&server, Method::GET, &path)).await;
        read["data"]["stats"]["productCount"].as_u64().unwrap()
    };
    let id = collection(&server, "hats", rules("hat")).await;
    assert_eq!(count(&id).await, 2);
    let path = format!("/collections/{id}");
    let change = with(at(json!({})), rules("coat"));
    done(request(&server, Method::PUT, &path).json(&change)).await;
    assert_eq!(count(&id).await, 1);
}
