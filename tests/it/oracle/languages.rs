//! Languages: the locales that reads fall back to, and those that writes change.

use endcap::config::Flags;
use endcap::grpc::pb;
use endcap::store::Engine::{self, Postgres, Sqlite};
use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};

use super::{Admin, assert_error, ids, send};
use crate::harness::{Server, get};

fn named(id: &str, name: &str) -> Value {
    json!({"properties": {"id": id, "displayName": name}})
}

fn name(name: &str) -> Value {
    json!({"properties": {"displayName": name}})
}

async fn post_in(admin: &Admin<'_>, language: &str, body: Value) -> Value {
    let request = admin.write(Method::POST, "collections", language);
    let (status, body) = send(request.json(&body)).await;
    assert_eq!(status, 200, "{language}: {body}");
    body
}

async fn put_in(admin: &Admin<'_>, language: &str, id: &str, body: Value) -> Value {
    let (status, body) = admin.put_in(language, id, body).await;
    assert_eq!(status, 200, "{language}: {body}");
    body
}

async fn read_in(admin: &Admin<'_>, language: &str, path: &str) -> Value {
    let (status, body) = send(admin.write(Method::GET, path, language)).await;
    assert_eq!(status, 200, "{language}: {body}");
    body
}

/// The stored display names by locale, such as `en=Lamp fr=Lampe`.
async fn stored(server: &Server, id: &str) -> String {
    let collection = get(&mut server.grpc().await, id).await.unwrap();
    let mut names: Vec<_> = collection.texts.iter().collect();
    names.sort_unstable_by_key(|(locale, _)| *locale);
    let names = names
        .iter()
        .map(|(locale, text)| format!("{locale}={}", text.display_name));
    names.collect::<Vec<_>>().join(" ")
}

#[rstest]
#[tokio::test]
async fn texts_fall_back_along_the_language_tag(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    post_in(&admin, "en", named("a", "Lamp")).await;
    for (language, name) in [("fr", "Lampe"), ("zh-Hant", "燈"), ("pt-BR", "Lâmpada")] {
        let seo = json!({"seoTitle": format!("{name}!")});
        let body = json!({"properties": {
            "displayName": name, "keywords": [name], "seoMetaInfo": seo,
        }});
        put_in(&admin, language, "a", body).await;
    }
    for (language, expected) in [
        ("fr-CA", "Lampe"),
        ("fr_fr", "Lampe"),
        ("zh-Hant-TW", "燈"),
        // A script or region without texts.
        ("zh-Hans", "Lamp"),
        ("zh", "Lamp"),
        ("pt", "Lamp"),
        ("pt_br", "Lâmpada"),
        ("en-GB", "Lamp"),
        ("de", "Lamp"),
    ] {
        let read = read_in(&admin, language, "collections/a").await;
        assert_eq!(read["displayName"], expected, "{language}");
        let path = format!("/Commerce Root/{expected}");
        assert_eq!(read["categoryPaths"], json!([path]), "{language}");
        if expected == "Lamp" {
            assert_eq!(read["seoMetaInfo"], Value::Null, "{language}");
        } else {
            assert_eq!(read["keywords"], json!([expected]), "{language}");
            let title = format!("{expected}!");
            assert_eq!(read["seoMetaInfo"]["seoTitle"], title, "{language}");
        }
    }
}

#[rstest]
#[tokio::test]
async fn a_write_updates_the_locale_that_reads_resolve_to(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    // As Oracle's own SDK sends it with every call.
    post_in(&admin, "en_US", named("a", "Lamp")).await;
    assert_eq!(stored(&server, "a").await, "en=Lamp");
    for (language, name, expected) in [
        ("en-us", "Light", "en=Light"),
        ("fr", "Lampe", "en=Light fr=Lampe"),
        ("fr-CA", "Lumière", "en=Light fr=Lumière"),
        // A region is not merged with a language that has no texts.
        ("es_MX", "Foco", "en=Light es-MX=Foco fr=Lumière"),
        ("es", "Luz", "en=Light es=Luz es-MX=Foco fr=Lumière"),
        (
            "es_MX",
            "Lámpara",
            "en=Light es=Luz es-MX=Lámpara fr=Lumière",
        ),
        (
            "es_AR",
            "Velador",
            "en=Light es=Velador es-MX=Lámpara fr=Lumière",
        ),
    ] {
        let response = put_in(&admin, language, "a", self::name(name)).await;
        assert_eq!(response["displayName"], name, "{language}");
        assert_eq!(stored(&server, "a").await, expected, "{language}");
    }
    let url = format!("{}/products/collections/a?altId=default", server.http);
    let other = server.client.get(url).header("version", "2021-07-28");
    assert_eq!(send(other).await.1["data"]["name"], "Light");

    // A script is never dropped.
    post_in(&admin, "en", named("b", "Lamp")).await;
    for (language, name, expected) in [
        ("zh", "灯", "en=Lamp zh=灯"),
        ("zh-Hant-TW", "燈", "en=Lamp zh=灯 zh-Hant-TW=燈"),
    ] {
        put_in(&admin, language, "b", self::name(name)).await;
        assert_eq!(stored(&server, "b").await, expected, "{language}");
    }
    post_in(&admin, "en", named("c", "Lamp")).await;
    put_in(&admin, "zh-Hant", "c", name("燈")).await;
    put_in(&admin, "zh-Hant-TW", "c", name("檯燈")).await;
    assert_eq!(stored(&server, "c").await, "en=Lamp zh-Hant=檯燈");

    // Over gRPC, locales are taken literally.
    let text = |name: &str| pb::LocalizedText {
        display_name: name.into(),
        ..pb::LocalizedText::default()
    };
    let texts = [("en", "Lamp"), ("en-US", "Light"), ("fr-CA", "Lampe")];
    let collection = pb::Collection {
        id: "d".into(),
        texts: texts.map(|(tag, name)| (tag.into(), text(name))).into(),
        ..pb::Collection::default()
    };
    let request = pb::CreateCollectionRequest {
        collection: Some(collection),
        ..pb::CreateCollectionRequest::default()
    };
    server
        .grpc()
        .await
        .create_collection(request)
        .await
        .unwrap();
    let all = "en=Lamp en-US=Light fr-CA=Lampe";
    assert_eq!(stored(&server, "d").await, all);
    put_in(&admin, "en_US", "d", name("Bulb")).await;
    let all = "en=Lamp en-US=Bulb fr-CA=Lampe";
    assert_eq!(stored(&server, "d").await, all);
}

#[rstest]
#[tokio::test]
async fn a_request_locale_maps_to_the_closest_configured_locale(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let flags = Flags {
        locales: Some("en,fr,fr-CA,zh-Hant".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let admin = Admin(&server);
    post_in(&admin, "en_GB", named("a", "Lamp")).await;
    for (language, name, expected) in [
        ("fr_CA", "Ampoule", "en=Lamp fr-CA=Ampoule"),
        ("fr_BE", "Lampe", "en=Lamp fr=Lampe fr-CA=Ampoule"),
        (
            "zh-Hant-TW",
            "燈",
            "en=Lamp fr=Lampe fr-CA=Ampoule zh-Hant=燈",
        ),
    ] {
        put_in(&admin, language, "a", self::name(name)).await;
        assert_eq!(stored(&server, "a").await, expected, "{language}");
    }
    // Neither the language nor a prefix of it is configured.
    for language in ["de", "de-AT", "zh", "zh-Hans", "f"] {
        let response = admin.put_in(language, "a", name("x")).await;
        assert_error(&response, 400, "400", language);
        let read = admin.write(Method::GET, "collections/a", language);
        assert_error(&send(read).await, 400, "400", language);
    }
    let locales = admin.request(Method::GET, "locales");
    let (_, locales) = send(locales).await;
    assert_eq!(locales["defaultLocale"]["name"], "en");
    assert_eq!(ids(&locales["items"]), "en fr fr_CA zh_Hant");
}

#[rstest]
#[tokio::test]
async fn image_texts_and_keywords_are_stored_per_language(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    let url = format!("{}/products/collections", server.http);
    let body = json!({
        "altId": "default", "altType": "location", "name": "Lamp", "slug": "lamp",
        "image": "https://example.com/a.png",
    });
    let made = server.client.post(&url).header("version", "2021-07-28");
    let (status, made) = send(made.json(&body)).await;
    assert_eq!(status, 201, "{made}");
    let id = made["data"]["_id"].as_str().unwrap();
    let image = async || {
        let read = server.client.get(format!("{url}/{id}?altId=default"));
        let read = read.header("version", "2021-07-28");
        send(read).await.1["data"]["image"].clone()
    };
    // One language after another, in each of the forms that clients use.
    let alt = |text: &str| json!({"metadata": {"altText": text, "titleText": text}});
    for (language, images) in [
        ("en", alt("A lamp")),
        ("fr", alt("Une lampe")),
        ("ja", json!([alt("ランプ")])),
        ("de", json!([])),
        ("it", json!(null)),
        ("nl", json!({})),
        ("sv", json!([{}])),
        (
            "es",
            json!([{"path": "/es.png", "metadata": {"altText": "Foco"}}]),
        ),
    ] {
        let body = json!({
            "properties": {"displayName": language, "keywords": [language]},
            "categoryImages": images,
        });
        put_in(&admin, language, id, body).await;
        assert_eq!(image().await, "https://example.com/a.png", "{language}");
    }
    for (language, text) in [
        ("en", "A lamp"),
        ("fr", "Une lampe"),
        ("ja", "ランプ"),
        ("fr-CA", "Une lampe"),
        ("de", "A lamp"),
        ("ko", "A lamp"),
    ] {
        let read = read_in(&admin, language, &format!("collections/{id}")).await;
        let first = &read["categoryImages"][0];
        assert_eq!(first["url"], "https://example.com/a.png", "{language}");
        let texts = json!({"altText": text, "titleText": text});
        assert_eq!(first["metadata"], texts, "{language}");
        let keywords = match language {
            "fr-CA" => "fr",
            "ko" => "en",
            language => language,
        };
        assert_eq!(read["keywords"], json!([keywords]), "{language}");
    }
    // In the default locale, a list replaces all images, and null removes them.
    let response = put_in(&admin, "en", id, json!({"categoryImages": null})).await;
    assert_eq!(response["categoryImages"], json!([]));
    assert_eq!(image().await, "");
}

#[rstest]
#[tokio::test]
async fn an_image_update_with_only_texts_keeps_the_path(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    admin.make("a", None, 0).await;
    let path = json!([{"path": "/a.png"}, {"path": "/b.png"}]);
    let two = put_in(&admin, "en", "a", json!({"categoryImages": path})).await;
    let ids = [0, 1].map(|at: usize| two["categoryImages"][at]["repositoryId"].clone());
    // From Oracle's page on updateCollection.
    let seed = json!({"metadata": {"altText": "Gifts", "titleText": "Gift shop"}});
    let response = put_in(&admin, "en", "a", json!({"categoryImages": seed})).await;
    let expected = json!([
        {"metadata": seed["metadata"], "repositoryId": ids[0], "path": "/a.png"},
        {"metadata": {"altText": null, "titleText": null}, "repositoryId": ids[1],
         "path": "/b.png"},
    ]);
    assert_eq!(response["categoryImages"], expected);
    for silent in [json!({}), json!({"metadata": {}}), json!({"path": null})] {
        let response = put_in(&admin, "en", "a", json!({"categoryImages": silent})).await;
        assert_eq!(response["categoryImages"], expected, "{silent}");
    }
    // For a new collection, empty images are ignored.
    for (id, images) in [
        ("b", json!({})),
        ("c", json!([{}])),
        ("d", json!({"metadata": {}})),
    ] {
        let mut body = named(id, id);
        body["categoryImages"] = images;
        let made = post_in(&admin, "en", body).await;
        assert_eq!(made["categoryImages"], json!([]), "{id}");
    }
}

#[rstest]
#[tokio::test]
async fn the_display_name_of_the_default_locale_cannot_be_cleared(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    post_in(&admin, "en", named("a", "Lamp")).await;
    put_in(&admin, "fr", "a", name("Lampe")).await;
    for empty in [json!(""), json!(" \u{a0}"), json!(null)] {
        let body = json!({"properties": {"displayName": empty, "x_kept": 1}});
        for language in ["en", "en_US"] {
            let response = admin.put_in(language, "a", body.clone()).await;
            assert_error(&response, 400, "25014", "properties.displayName");
            assert_eq!(response.1.get("errors"), None);
        }
    }
    assert_eq!(stored(&server, "a").await, "en=Lamp fr=Lampe");
    assert!(admin.get("a").await.get("x_kept").is_none());
    let french = json!({"properties": {"displayName": ""}});
    assert_eq!(
        put_in(&admin, "fr", "a", french).await["displayName"],
        "Lamp"
    );
}

#[rstest]
#[tokio::test]
async fn lists_filter_and_sort_by_the_texts_of_the_requested_language(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let admin = Admin(&server);
    for (id, english, french) in [
        ("lamp", "Lamp", Some("Zone lumière")),
        ("chair", "Chair", Some("Assise")),
        ("table", "Table", None),
    ] {
        post_in(&admin, "en", named(id, english)).await;
        if let Some(french) = french {
            put_in(&admin, "fr", id, name(french)).await;
        }
    }
    for (language, query, expected) in [
        ("fr-CA", "name=LUMIÈRE", "lamp"),
        ("fr", "name=lamp", "lamp"),
        ("fr", "name=hair", "chair"),
        ("fr", "name=Tab", "table"),
        ("en", "name=lumi", ""),
        ("de", "name=lamp", "lamp"),
        ("fr", "q=displayName co \"lumie\u{300}re\"", "lamp"),
        ("fr", "q=displayName eq \"chair\"", ""),
        (
            "fr",
            "q=displayName eq \"ASSISE\" or displayName sw \"t\"",
            "chair table",
        ),
        ("en", "q=displayName eq \"chair\"", "chair"),
        ("fr_BE", "sort=displayName", "chair table lamp"),
        ("fr_BE", "sort=displayName:desc&limit=1&offset=1", "table"),
        ("en", "sort=displayName", "chair lamp table"),
        ("fr", "q=route co \"lumiere\"", "lamp"),
        ("fr", "q=categoryPaths co \"/zone\"", "lamp"),
    ] {
        let path = format!("collections?filterRootCategories=true&{query}");
        let list = read_in(&admin, language, &path).await;
        assert_eq!(ids(&list["items"]), expected, "{language} {query}");
    }
}
