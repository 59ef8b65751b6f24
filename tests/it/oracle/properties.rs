//! Texts and languages, images, parents, and custom properties.

use endcap::store::Engine::{self, Postgres, Sqlite};
use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};

use super::{Admin, assert_error, ids, send};
use crate::harness::Server;

async fn read_in(admin: &Admin<'_>, language: &str, id: &str) -> Value {
    let request = admin.write(Method::GET, &format!("collections/{id}"), language);
    send(request).await.1
}

#[rstest]
#[tokio::test]
async fn each_language_is_updated_alone_and_falls_back_to_the_default(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    let seo = json!({"seoTitle": "Lamps", "seoUrlSlug": "lamps"});
    let texts = json!({"displayName": "Lamp", "description": "Light", "seoMetaInfo": seo});
    admin.make("a", None, 0).await;
    admin.put("a", json!({"properties": texts})).await;
    let texts = json!({"displayName": "Lâmpada", "seoMetaInfo": {"seoTitle": "Lâmpadas"}});
    let (_, written) = admin
        .put_in("pt_BR", "a", json!({"properties": texts}))
        .await;
    assert_eq!(written["displayName"], "Lâmpada");
    for form in ["pt-BR", "pt-br", "pt_BR"] {
        let read = read_in(&admin, form, "a").await;
        assert_eq!(read["displayName"], "Lâmpada", "{form}");
        assert_eq!(read["description"], "Light");
        assert_eq!(read["seoMetaInfo"]["seoTitle"], "Lâmpadas");
        assert_eq!(read["seoUrlSlugDerived"], "lamps");
    }
    assert_eq!(admin.get("a").await["displayName"], "Lamp");
    assert_eq!(read_in(&admin, "fr", "a").await["displayName"], "Lamp");

    let cleared = json!({"properties": {"displayName": null, "seoMetaInfo": null}});
    let (_, cleared) = admin.put_in("pt-BR", "a", cleared).await;
    assert_eq!(cleared["displayName"], "Lamp");
    assert_eq!(cleared["seoMetaInfo"]["seoTitle"], "Lamps");
    let (_, cleared) = admin
        .put("a", json!({"properties": {"description": null}}))
        .await;
    assert_eq!(cleared["description"], Value::Null);
}

#[rstest]
#[tokio::test]
async fn an_update_changes_only_the_given_fields(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    let properties = json!({"id": "a", "displayName": "A", "description": "keep", "active": null});
    admin.post(json!({"properties": properties})).await;
    let nulls = json!({
        "repositoryId": null, "seoTitle": null, "seoDescription": null,
        "seoKeywords": null, "seoUrlSlug": null,
    });
    let properties = json!({"displayName": "B", "active": false, "seoMetaInfo": nulls});
    let body = json!({"properties": properties, "x_unknown": 1, "repositoryId": "other"});
    let (status, response) = admin.put("a", body).await;
    assert_eq!(status, 200, "{response}");
    assert_eq!(response["displayName"], "B");
    assert_eq!(response["description"], "keep");
    assert_eq!(response["active"], false);
    assert_eq!(response["seoMetaInfo"], Value::Null);
    assert_eq!(response["id"], "a");
    assert!(response.get("x_unknown").is_none());

    admin.make("b", Some("a"), 0).await;
    assert_eq!(admin.get("b").await["active"], false);
    admin
        .put("a", json!({"properties": {"active": null}}))
        .await;
    assert_eq!(admin.get("b").await["active"], true);
    // A response can be sent back unchanged.
    let read = admin.get("b").await;
    let (status, same) = admin.put("b", json!({"properties": read})).await;
    assert_eq!(status, 200, "{same}");
    assert_eq!(same["seoMetaInfo"], read["seoMetaInfo"]);
}

#[rstest]
#[tokio::test]
async fn custom_properties_are_returned_unchanged(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    let own = json!({"deep": [1, 2.5, {"é": "\u{0}\"\\"}], "none": null});
    let properties = json!({"id": "a", "displayName": "A", "x_own": own, "x_flag": false});
    let (status, made) = admin.post(json!({"properties": properties})).await;
    assert_eq!(status, 200, "{made}");
    let read = admin.get("a").await;
    assert_eq!((&read["x_own"], &read["x_flag"]), (&own, &json!(false)));
    let (_, response) = admin
        .put("a", json!({"properties": {"x_flag": null}}))
        .await;
    assert!(response.get("x_flag").is_none());
    assert_eq!(response["x_own"], own);
    let refused = admin
        .put("a", json!({"properties": {"errorCode": "x"}}))
        .await;
    assert_error(&refused, 400, "25014", "properties.errorCode");
}

#[rstest]
#[tokio::test]
async fn images_are_replaced_updated_by_id_and_validated(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    admin.make("a", None, 0).await;
    let image = json!({"path": "/collections/a.jpg", "name": "a.jpg",
        "metadata": {"altText": "A", "titleText": "T"}});
    let (_, response) = admin
        .put("a", json!({"categoryImages": [image, {"path": "/b.PNG"}]}))
        .await;
    let stored = &response["categoryImages"];
    assert_eq!(stored[0]["path"], "/collections/a.jpg");
    assert_eq!(stored[0]["name"], "a.jpg");
    assert_eq!(
        stored[1]["metadata"],
        json!({"altText": null, "titleText": null})
    );

    // An image with an id changes that image; a list replaces all of them.
    let known = json!({"repositoryId": stored[0]["repositoryId"], "metadata": {"altText": "B"}});
    let (_, response) = admin.put("a", json!({"categoryImages": known})).await;
    assert_eq!(response["categoryImages"][0]["metadata"]["altText"], "B");
    assert_eq!(response["categoryImages"][1], stored[1]);
    let (_, response) = admin.put("a", json!({"categoryImages": [known]})).await;
    let kept = json!([{"repositoryId": stored[0]["repositoryId"], "name": "a.jpg",
        "path": "/collections/a.jpg", "metadata": {"altText": "B", "titleText": "T"}}]);
    assert_eq!(response["categoryImages"], kept);

    let cases = [
        (json!({"repositoryId": "m0"}), "26113"),
        (json!({"name": ""}), "26106"),
        (json!({"path": ""}), "26107"),
        (json!({"path": "collections/x.jpg"}), "26108"),
        (json!({"path": "/collections/x.bmp"}), "26109"),
        (json!({"path": "/collections\\x.jpg"}), "26110"),
        (json!("x.jpg"), "26116"),
    ];
    for (image, code) in cases {
        let response = admin.put("a", json!({"categoryImages": [image]})).await;
        assert_error(&response, 400, code, "categoryImages.0");
    }
    assert_eq!(admin.get("a").await["categoryImages"], kept);
    let (_, response) = admin.put("a", json!({"categoryImages": null})).await;
    assert_eq!(response["categoryImages"], json!([]));
}

#[rstest]
#[tokio::test]
async fn a_collection_gets_a_new_parent_but_never_forms_a_cycle(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    for (id, parent) in [("a", None), ("b", None), ("c", Some("a")), ("d", Some("c"))] {
        admin.make(id, parent, 0).await;
    }
    let (_, moved) = admin.put("c", json!({"parentCategoryId": "b"})).await;
    assert_eq!(ids(&moved["fixedParentCategories"]), "b");
    assert_eq!(ids(&moved["ancestorCategories"]), "b rootCategory");
    assert_eq!(moved["categoryIdPaths"], json!(["rootCategory>b>c"]));
    assert_eq!(admin.get("a").await["childCategories"], Value::Null);
    assert_eq!(ids(&admin.get("b").await["childCategories"]), "c");
    assert_eq!(admin.get("d").await["seoKeywordsDerived"], "d,c,b");

    let put =
        |id: &'static str, parent: &'static str| admin.put(id, json!({"parentCategoryId": parent}));
    assert_error(&put("b", "d").await, 400, "20083", "b");
    assert_error(&put("b", "b").await, 400, "20083", "b");
    assert_error(&put("b", "ghost").await, 400, "20085", "ghost");
    assert_error(&put("b", "").await, 400, "20085", "parentCategoryId");
    assert_error(
        &put("rootCategory", "b").await,
        400,
        "20079",
        "rootCategory",
    );
    assert_eq!(
        ids(&admin.get("b").await["fixedParentCategories"]),
        "rootCategory"
    );
}

#[rstest]
#[tokio::test]
async fn a_new_collection_has_the_requested_parents(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    admin.make("a", None, 0).await;
    admin.make("b", None, 0).await;
    let new = |id: &str, field: &str, value: Value| {
        admin.post(json!({field: value, "properties": {"id": id, "displayName": id}}))
    };
    let (_, both) = new("both", "parentCategoryIds", json!(["b", "a"])).await;
    let paths = json!(["/Commerce Root/a/both", "/Commerce Root/b/both"]);
    assert_eq!(both["categoryPaths"], paths);
    let (_, orphan) = new("orphan", "orphaned", json!(true)).await;
    assert_eq!(orphan["categoryPaths"], json!([]));
    assert_eq!(orphan["fixedParentCategories"], json!([]));
    let refused = new("lost", "parentCategoryId", json!("ghost")).await;
    assert_error(&refused, 400, "20085", "ghost");
}

#[rstest]
#[tokio::test]
async fn nul_characters_in_texts_are_rejected(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    admin.make("a", None, 0).await;
    for name in ["name", "displayName", "x\0"] {
        let response = admin.put("a", json!({"properties": {name: "a\0b"}})).await;
        assert_error(&response, 400, "25014", "NUL");
    }
    let keyword = json!({"properties": {"keywords": ["\0"]}});
    assert_error(
        &admin.put("a", keyword).await,
        400,
        "25014",
        "properties.keywords.0",
    );
    let image = json!({"categoryImages": {"name": "\0.png"}});
    assert_error(
        &admin.put("a", image).await,
        400,
        "25014",
        "categoryImages.0.name",
    );
}
