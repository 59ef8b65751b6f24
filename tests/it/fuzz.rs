//! Fuzz tests: every decoder accepts any input, responds with a proper status, and never panics. (A
//! panic would be an internal error, which also fails these tests.)

use std::sync::OnceLock;

use axum::body::Body;
use bytes::{BufMut as _, Bytes, BytesMut};
use endcap::{app, auth::Authenticator, config::Flags, http::Handler, store::Store};
use http::{Method, Request};
use http_body_util::BodyExt as _;
use proptest::{collection::vec, prelude::*, sample::select, test_runner::FileFailurePersistence};
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;

/// All middleware and decoders on a SQLite database, without a socket.
struct Target {
    runtime: Runtime,
    handler: Handler,
    _folder: tempfile::TempDir,
}

fn target() -> &'static Target {
    static TARGET: OnceLock<Target> = OnceLock::new();
    TARGET.get_or_init(|| {
        let runtime = Runtime::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let flags = Flags {
            data_dir: Some(folder.path().display().to_string()),
            ..Flags::default()
        };
        let config = app::config(&flags, None).unwrap();
        let handler = runtime.block_on(async {
            let store = Store::connect(&config.database).await.unwrap();
            store.migrate().await.unwrap();
            let authenticator = Authenticator::new(&config.auth, &store).unwrap();
            let service = app::service(&config, store);
            let edge = app::edge(&config, service, authenticator, None);
            let (handler, health) = edge.unwrap();
            health.checked(Ok(()));
            handler
        });
        Target {
            runtime,
            handler,
            _folder: folder,
        }
    })
}

/// The status of the response, and its gRPC status if it has one.
fn ask(request: Request<Body>) -> (u16, Option<String>) {
    let target = target();
    target.runtime.block_on(async {
        let response = target.handler.clone().call(request).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await;
        let trailers = body.ok().and_then(|body| body.trailers().cloned());
        let in_trailers = trailers.and_then(|trailers| trailers.get("grpc-status").cloned());
        let grpc_status = parts.headers.get("grpc-status").cloned().or(in_trailers);
        let grpc_status = grpc_status.map(|status| status.to_str().unwrap().to_owned());
        (parts.status.as_u16(), grpc_status)
    })
}

const METHODS: [&str; 10] = [
    "CreateCollection",
    "GetCollection",
    "BatchGetCollections",
    "ListCollections",
    "UpdateCollection",
    "DeleteCollection",
    "MutateChildren",
    "GetChild",
    "ListChildren",
    "ListParents",
];

fn call(method: &str, body: Bytes) {
    let request = Request::post(format!("/endcap.v1.CollectionService/{method}"))
        .version(http::Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body.into())
        .unwrap();
    let (status, grpc_status) = ask(request);
    assert_eq!(status, 200, "{method}");
    let code: i32 = grpc_status.expect("no gRPC status").parse().unwrap();
    let code = tonic::Code::from(code);
    let unclean = [tonic::Code::Internal, tonic::Code::Unknown];
    assert!(!unclean.contains(&code), "{method}: {code:?}");
}

fn rest(method: Method, path: &str, body: Body) -> u16 {
    let Ok(request) = Request::builder()
        .method(&method)
        .uri(path)
        .header("version", "2021-07-28")
        .header("x-ccasset-language", "en")
        .header("content-type", "application/json")
        .body(body)
    else {
        // No client can send an invalid URI.
        return 400;
    };
    let (status, _) = ask(request);
    assert!(status < 500, "{method} {path}: {status}");
    status
}

/// A frame around arbitrary bytes.
fn frame(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap());
    frame.put_slice(message);
    frame.freeze()
}

/// Bytes that are mostly a valid message: fields with known numbers, of any type and value, some of
/// them nested messages.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        (1..24_u32, any::<u64>()).prop_map(|(number, value)| {
            let mut bytes = Vec::new();
            prost::encoding::uint64::encode(number, &value, &mut bytes);
            bytes
        }),
        (1..24_u32, text()).prop_map(|(number, value)| {
            let mut bytes = Vec::new();
            prost::encoding::string::encode(number, &value, &mut bytes);
            bytes
        }),
        (1..24_u32, any::<f64>()).prop_map(|(number, value)| {
            let mut bytes = Vec::new();
            prost::encoding::double::encode(number, &value, &mut bytes);
            bytes
        }),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        (1..24_u32, vec(inner, 0..6)).prop_map(|(number, fields)| {
            let mut bytes = Vec::new();
            prost::encoding::bytes::encode(number, &fields.concat(), &mut bytes);
            bytes
        })
    })
}

/// Texts that decoders parse specially, and arbitrary ones.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        select(vec![
            "",
            " ",
            "a",
            "rootCategory",
            "nonNavigableCategory",
            "default",
            "en",
            "pt_BR",
            "*",
            "\0",
            "\u{fffd}",
            "é",
            "-1",
            "0",
            "1e400",
            "20.0",
            "99999999999999999999",
            "NaN",
            "true",
            "null",
            "%00",
            "%zz",
            "../..",
            "/",
            "display_name",
            "texts",
            "texts.en",
            ".",
            "ffffffffffffffffff",
            "http://x",
            "/a.png",
            "2021-07-28",
            "updateProducts",
            "move",
            "location",
            "false",
            "max",
            "unlink-all",
            "link",
            "bulk-update-product-collection",
            "id eq \"a\"",
            "displayName co \"%_!\\u0000\" or not (creationDate gt \"2017-01-01T00:00:00Z\")",
            "((((id pr))))",
            "id:desc,displayName",
            "items.childCategories.id",
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ]
}

/// Names that the dialects know, and arbitrary ones.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        9 => select(vec![
            "altId", "altType", "name", "slug", "image", "seo", "title", "description", "type",
            "rules", "logic", "conditions", "field", "operator", "value", "productIds",
            "collectionId", "collectionIds", "limit", "offset", "sendWebsiteId", "properties",
            "displayName", "longDescription", "active", "parentCategoryId", "fixedChildProducts",
            "seoMetaInfo", "categoryImages", "repositoryId", "path", "op", "products",
            "productMap", "moves", "fromStart", "fromEnd", "to", "keywords", "catalogId", "fields",
            "maxLevel", "expand", "addToCatalogs", "removeFromCatalogs", "id", "child", "parent",
            "fromParent", "index", "operation", "collections", "productType", "categoryId",
            "categoryIds", "q", "sort", "depth", "asHierarchy", "onlyActive", "exclude",
            "filterRootCategories", "minimalFieldsForNavigation", "continueOnMissingCategory",
            "locationId", "productIds", "collectionSlug", "search", "grant_type",
        ])
        .prop_map(str::to_owned),
        1 => any::<String>(),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-2..5_i64).prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 8, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            vec((name(), inner), 0..8)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// A body that passes the first checks more often than an arbitrary one.
fn body() -> impl Strategy<Value = Value> {
    let basis = select(vec![
        json!({}),
        json!({"altId": "default", "altType": "location", "name": "n", "slug": "s"}),
        json!({"properties": {"displayName": "n"}}),
        json!({"type": "updateProducts", "op": "append", "products": ["p"]}),
        json!({"type": "updateProducts", "op": "move", "moves": [{"fromStart": 0}]}),
        json!({"type": "updateProducts", "op": "reorder", "productMap": {"p": 1}}),
        json!({"child": "a", "parent": "rootCategory"}),
        json!({"products": ["p"], "collections": ["a"]}),
        json!({"locationId": "default", "name": "n", "productType": "DIGITAL"}),
    ]);
    (basis, vec((name(), value()), 0..6)).prop_map(|(mut basis, fields)| {
        for (name, value) in fields {
            basis[name] = value;
        }
        basis
    })
}

fn query() -> impl Strategy<Value = String> {
    let encoded = |text: String| {
        let parts = [("", text.as_str())];
        reqwest::Url::parse_with_params("http://x", parts)
            .unwrap()
            .query()
            .unwrap()[1..]
            .to_owned()
    };
    let pair = (name(), text(), any::<bool>()).prop_map(move |(name, text, raw)| {
        let is_raw = raw && text.is_ascii() && !text.contains(|c: char| c.is_control());
        let value = if is_raw { text } else { encoded(text) };
        format!("{}={value}", encoded(name))
    });
    vec(pair, 0..6).prop_map(|pairs| pairs.join("&"))
}

/// A SCIM filter, or nearly one.
fn filter() -> impl Strategy<Value = String> {
    let path = prop_oneof![
        4 => select(vec![
            "id", "displayName", "active", "creationDate", "x_a", "X_A.b", "parentCategories",
            "categoryImages.path", "childCategories", "seoMetaInfo", "colour",
        ])
        .prop_map(str::to_owned),
        1 => name(),
    ];
    let operator = select(vec![
        "eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le", "pr", "x",
    ]);
    let value = prop_oneof![
        text().prop_map(|text| Value::from(text).to_string()),
        value().prop_map(|value| value.to_string()),
    ];
    let leaf = (path, operator, value).prop_map(|(path, operator, value)| {
        if operator == "pr" {
            format!("{path} pr")
        } else {
            format!("{path} {operator} {value}")
        }
    });
    leaf.prop_recursive(6, 30, 3, |inner| {
        (inner.clone(), inner, 0..6_u8).prop_map(|(a, b, how)| match how {
            0 => format!("{a} and {b}"),
            1 => format!("{a} or {b}"),
            2 => format!("({a}) and ({b})"),
            3 => format!("not ({a})"),
            4 => format!("parentCategories[{a}]"),
            _ => format!("({a}"),
        })
    })
}

const PATHS: [(Method, &str); 40] = [
    (Method::POST, "/v1/collections"),
    (Method::GET, "/v1/collections"),
    (Method::GET, "/v1/collections/rootCategory"),
    (Method::PATCH, "/v1/collections/a"),
    (Method::DELETE, "/v1/collections/a"),
    (Method::POST, "/v1/collections/a:mutateChildren"),
    (Method::GET, "/v1/collections/rootCategory/children"),
    (Method::POST, "/v1/collections:batchGet"),
    (Method::POST, "/v1/products:upsert"),
    (Method::POST, "/products/collections"),
    (Method::GET, "/products/collections"),
    (Method::GET, "/products/collections/rootCategory"),
    (Method::PUT, "/products/collections/a"),
    (Method::DELETE, "/products/collections/a"),
    (Method::POST, "/ccadmin/v1/collections"),
    (Method::GET, "/ccadmin/v1/collections/rootCategory"),
    (Method::PUT, "/ccadmin/v1/collections/a"),
    (Method::POST, "/products/"),
    (Method::GET, "/products/"),
    (Method::GET, "/products/p"),
    (Method::PUT, "/products/p"),
    (Method::POST, "/products/bulk-update"),
    (Method::POST, "/products/bulk-update/edit"),
    (Method::POST, "/ccadmin/v1/login"),
    (Method::POST, "/ccadmin/v1/refresh"),
    (Method::GET, "/ccadmin/v1/collections"),
    (Method::GET, "/ccadmin/v1/collections"),
    (Method::PUT, "/ccadmin/v1/collections"),
    (Method::POST, "/ccadmin/v1/collections/assignProducts"),
    (Method::DELETE, "/ccadmin/v1/collections/a"),
    (Method::POST, "/ccadmin/v1/products"),
    (Method::GET, "/ccadmin/v1/products"),
    (Method::GET, "/ccadmin/v1/products/p"),
    (Method::PUT, "/ccadmin/v1/products/p"),
    (Method::DELETE, "/ccadmin/v1/products/p"),
    (Method::POST, "/ccadmin/v1/products/p/addToCollections"),
    (Method::GET, "/ccadmin/v1/catalogs"),
    (Method::GET, "/ccadmin/v1/locales"),
    (Method::POST, "/ccadmin/v1/mfalogin"),
    (Method::GET, "/ccadmin/v1/products"),
];

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 300,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/proptest-regressions/fuzz.txt"
        )))),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn grpc_handles_arbitrary_bytes(method in select(&METHODS[..]), bytes in vec(any::<u8>(), 0..200)) {
        call(method, bytes.into());
    }

    #[test]
    fn grpc_handles_arbitrary_bytes_in_a_frame(
        method in select(&METHODS[..]),
        bytes in vec(any::<u8>(), 0..200),
    ) {
        call(method, frame(&bytes));
    }

    #[test]
    fn grpc_handles_arbitrary_fields(method in select(&METHODS[..]), fields in vec(message(), 0..8)) {
        call(method, frame(&fields.concat()));
    }

    #[test]
    fn the_dialects_handle_arbitrary_bytes(
        (method, path) in select(&PATHS[..]),
        bytes in vec(any::<u8>(), 0..200),
    ) {
        rest(method, path, bytes.into());
    }

    #[test]
    fn the_dialects_handle_arbitrary_json(
        (method, path) in select(&PATHS[..]),
        query in query(),
        body in body(),
    ) {
        rest(method, &format!("{path}?{query}"), body.to_string().into());
    }

    #[test]
    fn lists_handle_arbitrary_filters(
        list in select(vec!["collections", "products", "catalogs"]),
        filter in filter(),
        sort in text(),
    ) {
        let query = [("q", filter.as_str()), ("sort", &sort)];
        let query = reqwest::Url::parse_with_params("http://x", &query[..1 + filter.len() % 2]);
        let query = query.unwrap();
        let path = format!("/ccadmin/v1/{list}?{}", query.query().unwrap());
        rest(Method::GET, &path, Body::empty());
    }

    #[test]
    fn the_dialects_handle_arbitrary_queries(
        (method, path) in select(&PATHS[..]),
        query in query(),
        text in "[!-~]{0,60}",
    ) {
        rest(method.clone(), &format!("{path}?altId=default&altType=location&{query}"), Body::empty());
        rest(method, &format!("{path}{text}"), Body::empty());
    }
}
