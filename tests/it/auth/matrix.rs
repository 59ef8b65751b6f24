//! The authorization matrix: each protocol × each operation × each type of credential × each
//! defect.

use bytes::Bytes;
use endcap::store::Engine::{self, Postgres, Sqlite};
use endcap::{
    config::Flags,
    domain::{Scope, Timestamp},
    grpc::{
        DESCRIPTORS,
        pb::{self, get_collection_request::Key},
    },
};
use prost::Message;
use prost_types::{FileDescriptorSet, method_options::IdempotencyLevel};
use reqwest::{Method, RequestBuilder};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use super::{
    Issuer, file_key, frame, grpc, grpc_web, jwt_flags, native_json, new_key, now, write_jwks,
};
use crate::{
    collections::rules,
    edge_limits::{closed, connect},
    harness::{Server, append, named},
    highlevel,
};

const TENANT: &str = "shop";
const OTHER: &str = "other";

/// Credentials of one type.
struct Tokens {
    kind: &'static str,
    bad: String,
    expired: String,
    /// Valid for another tenant.
    wrong_tenant: String,
    reader: String,
    writer: String,
    right: String,
}

const READ: &str = "collections.read";
const WRITE: &str = "collections.write";

impl Tokens {
    fn of_database(server: &Server) -> Self {
        let new = |tenant, scopes: &[&str], more: &[&str]| new_key(server, tenant, scopes, more);
        let right = new(TENANT, &[READ, WRITE], &[]);
        Self {
            kind: "database",
            bad: spoil(&right),
            expired: new(TENANT, &[READ, WRITE], &["--expires-in", "1us"]),
            wrong_tenant: new(OTHER, &["admin"], &[]),
            reader: new(TENANT, &[READ], &[]),
            writer: new(TENANT, &[WRITE], &[]),
            right,
        }
    }

    /// Keys of a key file, and the file's contents.
    fn of_file() -> (Self, String) {
        let both = [Scope::CollectionsRead, Scope::CollectionsWrite];
        let past = Some(Timestamp::now());
        let (right, a) = file_key(TENANT, &both, None);
        let (expired, b) = file_key(TENANT, &both, past);
        let (wrong_tenant, c) = file_key(OTHER, &[Scope::Admin], None);
        let (reader, d) = file_key(TENANT, &both[..1], None);
        let (writer, e) = file_key(TENANT, &both[1..], None);
        let tokens = Self {
            kind: "file",
            bad: spoil(&right),
            expired,
            wrong_tenant,
            reader,
            writer,
            right,
        };
        (tokens, [a, b, c, d, e].concat())
    }

    fn of_issuer(issuer: &Issuer) -> Self {
        let token = |tenant, scopes| issuer.token(tenant, scopes, |_| {});
        let right = token(
            TENANT,
            "products/collection.readonly products/collection.write",
        );
        Self {
            kind: "issuer",
            bad: Issuer::new("k1").token(TENANT, "admin", |_| {}),
            // Beyond the allowed clock skew.
            expired: issuer.token(TENANT, "admin", |claims| claims["exp"] = json!(now() - 60)),
            wrong_tenant: token(OTHER, "admin"),
            reader: token(TENANT, READ),
            writer: token(TENANT, WRITE),
            right,
        }
    }
}

/// The key with a different last digit.
fn spoil(key: &str) -> String {
    let last = if key.ends_with('0') { '1' } else { '0' };
    format!("{}{last}", &key[..key.len() - 1])
}

/// The effect of an operation. In another tenant, a create, or any other operation that does not
/// refer to existing data, is rejected explicitly.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Does {
    Read,
    Write,
    Create,
}

/// Rules that a product with the title P matches.
fn is_p() -> pb::Rules {
    let title = pb::condition::Target::Field(pb::ProductField::Title.into());
    let condition = pb::Condition {
        target: Some(title),
        operator: pb::ConditionOperator::Equals.into(),
        operands: vec![pb::Operand {
            value: Some(pb::operand::Value::Text("P".into())),
        }],
    };
    rules(vec![pb::Rule {
        rule: Some(pb::rule::Rule::Condition(condition)),
    }])
}

/// The operations of `endcap.v1`, in an order that leaves nothing behind if all succeed.
fn operations(tenant_id: &str, id: &str) -> Vec<(&'static str, Does, Bytes)> {
    let tenant = || tenant_id.to_owned();
    let id = || id.to_owned();
    let products = || pb::ChildType::Product.into();
    fn encode(message: &impl Message) -> Bytes {
        frame(message)
    }
    vec![
        (
            "CreateCollection",
            Does::Create,
            encode(&pb::CreateCollectionRequest {
                tenant_id: tenant(),
                collection: Some(named(&id(), "A")),
                ..Default::default()
            }),
        ),
        (
            "GetCollection",
            Does::Read,
            encode(&pb::GetCollectionRequest {
                tenant_id: tenant(),
                key: Some(Key::CollectionId(id())),
                ..Default::default()
            }),
        ),
        (
            "BatchGetCollections",
            Does::Read,
            encode(&pb::BatchGetCollectionsRequest {
                tenant_id: tenant(),
                ids: vec![id()],
                ..Default::default()
            }),
        ),
        (
            "ListCollections",
            Does::Read,
            encode(&pb::ListCollectionsRequest {
                tenant_id: tenant(),
                ..Default::default()
            }),
        ),
        (
            "UpdateCollection",
            Does::Write,
            encode(&pb::UpdateCollectionRequest {
                tenant_id: tenant(),
                collection: Some(named(&id(), "B")),
                update_mask: Some(prost_types::FieldMask {
                    paths: vec!["texts".into()],
                }),
                ..Default::default()
            }),
        ),
        (
            "MutateChildren",
            Does::Write,
            encode(&pb::MutateChildrenRequest {
                tenant_id: tenant(),
                collection_id: id(),
                child_type: products(),
                mutations: vec![append(["p"])],
                ..Default::default()
            }),
        ),
        (
            "GetChild",
            Does::Read,
            encode(&pb::GetChildRequest {
                tenant_id: tenant(),
                collection_id: id(),
                child_type: products(),
                child_id: "p".into(),
            }),
        ),
        (
            "ListChildren",
            Does::Read,
            encode(&pb::ListChildrenRequest {
                tenant_id: tenant(),
                collection_id: id(),
                child_type: products(),
                ..Default::default()
            }),
        ),
        (
            "ListParents",
            Does::Read,
            encode(&pb::ListParentsRequest {
                tenant_id: tenant(),
                child_type: products(),
                child_id: "p".into(),
                ..Default::default()
            }),
        ),
        (
            "ProductService/UpsertProducts",
            Does::Create,
            encode(&pb::UpsertProductsRequest {
                tenant_id: tenant(),
                products: vec![pb::Product {
                    id: id(),
                    title: "P".into(),
                    ..Default::default()
                }],
                ..Default::default()
            }),
        ),
        (
            "ProductService/GetProduct",
            Does::Read,
            encode(&pb::GetProductRequest {
                tenant_id: tenant(),
                product_id: id(),
            }),
        ),
        (
            "ProductService/ListProducts",
            Does::Read,
            encode(&pb::ListProductsRequest {
                tenant_id: tenant(),
                ..Default::default()
            }),
        ),
        (
            "ProductService/DeleteProducts",
            Does::Create,
            encode(&pb::DeleteProductsRequest {
                tenant_id: tenant(),
                ids: vec!["other".into()],
                ..Default::default()
            }),
        ),
        (
            "RuleService/ChangeCollectionKind",
            Does::Write,
            encode(&pb::ChangeCollectionKindRequest {
                tenant_id: tenant(),
                collection_id: id(),
                kind: pb::CollectionKind::Smart.into(),
                rules: Some(is_p()),
                keep_members: true,
                ..Default::default()
            }),
        ),
        (
            "RuleService/ChangeRuleEntries",
            Does::Write,
            encode(&pb::ChangeRuleEntriesRequest {
                tenant_id: tenant(),
                collection_id: id(),
                kind: pb::RuleEntryKind::Include.into(),
                remove: vec!["p".into()],
                ..Default::default()
            }),
        ),
        (
            "RuleService/ListRuleEntries",
            Does::Read,
            encode(&pb::ListRuleEntriesRequest {
                tenant_id: tenant(),
                collection_id: id(),
                kind: pb::RuleEntryKind::Include.into(),
                ..Default::default()
            }),
        ),
        (
            "RuleService/ExplainMembership",
            Does::Read,
            encode(&pb::ExplainMembershipRequest {
                tenant_id: tenant(),
                collection_id: id(),
                product_id: "p".into(),
            }),
        ),
        (
            "RuleService/PreviewRules",
            Does::Read,
            encode(&pb::PreviewRulesRequest {
                tenant_id: tenant(),
                rules: Some(is_p()),
                ..Default::default()
            }),
        ),
        (
            "RuleService/ListMatchingCollections",
            Does::Read,
            encode(&pb::ListMatchingCollectionsRequest {
                tenant_id: tenant(),
                product: Some(pb::Product {
                    id: "new".into(),
                    title: "P".into(),
                    ..Default::default()
                }),
                ..Default::default()
            }),
        ),
        (
            "DeleteCollection",
            Does::Write,
            encode(&pb::DeleteCollectionRequest {
                tenant_id: tenant(),
                collection_id: id(),
                ..Default::default()
            }),
        ),
    ]
}

/// The scope of an RPC that is missing in the matrix would not be tested.
#[test]
fn every_rpc_is_in_the_matrix_as_the_read_or_write_it_is() {
    let of_proto = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let mut of_proto: Vec<_> = of_proto
        .file
        .iter()
        .filter(|file| file.package() == "endcap.v1")
        .flat_map(|file| &file.service)
        .flat_map(|service| {
            service.method.iter().map(|method| {
                let level = method.options.as_ref().map(|it| it.idempotency_level());
                let reads = level == Some(IdempotencyLevel::NoSideEffects);
                (method.name().to_owned(), reads)
            })
        })
        .collect();
    let mut of_matrix: Vec<_> = operations(TENANT, "a")
        .into_iter()
        .map(|(method, does, _)| {
            let name = method.rsplit('/').next().unwrap_or(method);
            (name.to_owned(), does == Does::Read)
        })
        .collect();
    of_proto.sort();
    of_matrix.sort();
    assert_eq!(of_matrix, of_proto);
}

/// A malformed message of a caller without the scope is rejected because of the scope, as the
/// message is not decoded.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn the_scope_is_checked_before_the_message_is_decoded(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let flags = Flags {
        auth: Some("keys".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let tokens = Tokens::of_database(&server);
    let odd = Bytes::from_static(&[0, 0, 0, 0, 2, 0xff, 0xff]);
    for (method, does, _) in operations(TENANT, "a") {
        let (lacking, having) = match does {
            Does::Read => (&tokens.writer, &tokens.reader),
            Does::Write | Does::Create => (&tokens.reader, &tokens.writer),
        };
        let outcome = grpc(&server, method, Some(lacking), odd.clone()).await;
        assert_eq!(outcome.told, "PermissionDenied SCOPE_MISSING", "{method}");
        let outcome = grpc(&server, method, Some(having), odd.clone()).await;
        assert_eq!(outcome.told, "InvalidArgument INVALID_FIELD", "{method}");
    }
}

/// The same over REST: every operation with a body, according to the dialects' descriptions,
/// rejects a caller without the scope before any of the body arrives.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn the_scope_is_checked_before_the_body_arrives(#[values(Sqlite, Postgres)] engine: Engine) {
    let flags = Flags {
        auth: Some("keys".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let tokens = Tokens::of_database(&server);
    let mut tried = 0;
    for dialect in endcap::app::DIALECTS {
        let url = format!("{}{}", server.http, dialect.description_path);
        let text = server.client.get(url).send().await.unwrap().text().await;
        let description: serde_json::Value = serde_json::from_str(&text.unwrap()).unwrap();
        for (path, operations) in description["paths"].as_object().unwrap() {
            for method in ["post", "put", "patch"] {
                let verb: Method = method.to_uppercase().parse().unwrap();
                let is_open = dialect.open_paths.contains(&path.as_str());
                let path = path.replace(['{', '}'], "x");
                let writes = (dialect.scope)(&verb, &path) == Some(Scope::CollectionsWrite);
                if operations[method].is_null() || is_open || !writes {
                    continue;
                }
                let head = format!(
                    "{} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
                     version: 2021-07-28\r\ncontent-type: application/json\r\n\
                     content-length: 1000000\r\n\r\n",
                    verb, tokens.reader
                );
                let mut stream = connect(&server).await;
                stream.write_all(head.as_bytes()).await.unwrap();
                let response = closed(&mut stream).await;
                let status = response.split(' ').nth(1).unwrap();
                assert!(
                    ["401", "403"].contains(&status),
                    "{method} {path}: {response}"
                );
                assert!(response.contains("scope") || status == "403", "{response}");
                tried += 1;
            }
        }
    }
    assert!(tried > 13, "{tried}");
}

async fn over_endcap_v1(server: &Server, tokens: &Tokens) {
    for protocol in ["grpc", "grpc-web", "json"] {
        let call = async |method: &str, token: Option<&str>, body: &Bytes| match protocol {
            "grpc" => grpc(server, method, token, body.clone()).await,
            "grpc-web" => grpc_web(server, method, token, body.clone()).await,
            _ => native_json(server, method, token, body.clone()).await,
        };
        let kind = format!("{}, {protocol}", tokens.kind);
        for (method, does, body) in operations(TENANT, "a") {
            let what = format!("{method}, {kind}");
            for token in [None, Some(&tokens.bad), Some(&tokens.expired)] {
                let outcome = call(method, token.map(String::as_str), &body).await;
                assert_eq!(outcome.told, "Unauthenticated UNAUTHENTICATED", "{what}");
            }
            let lacking = match does {
                Does::Read => &tokens.writer,
                Does::Write | Does::Create => &tokens.reader,
            };
            let outcome = call(method, Some(lacking), &body).await;
            assert_eq!(outcome.told, "PermissionDenied SCOPE_MISSING", "{what}");

            let outcome = call(method, Some(&tokens.wrong_tenant), &body).await;
            if does == Does::Create {
                assert_eq!(outcome.told, "PermissionDenied TENANT_DENIED", "{what}");
            } else {
                // Exactly the same response as for its own, empty tenant.
                let (_, _, own) = operations(OTHER, "a")
                    .into_iter()
                    .find(|(name, ..)| *name == method)
                    .unwrap();
                let nothing = call(method, Some(&tokens.wrong_tenant), &own).await;
                assert_eq!(outcome, nothing, "{what}");
                let with = call(method, Some(&tokens.right), &body).await;
                if method != "DeleteCollection" {
                    assert_eq!(with.told, "Ok", "{what}");
                    assert_ne!(outcome, with, "{what}");
                }
            }
            if method == "DeleteCollection" {
                // The valid credential has deleted the collection; it is recreated for the next
                // ones.
                set_up(server, &tokens.right).await;
            }
        }
        for (method, _, body) in operations(TENANT, "x") {
            let outcome = call(method, Some(&tokens.right), &body).await;
            assert_eq!(outcome.told, "Ok", "{method}, {kind}");
        }
        // The tenant defaults to the only one that the credential is valid for.
        let nameless = operations("", "a").into_iter();
        for (method, _, body) in nameless.filter(|(_, does, _)| *does == Does::Read) {
            let outcome = call(method, Some(&tokens.right), &body).await;
            let (_, _, named) = operations(TENANT, "a")
                .into_iter()
                .find(|(name, ..)| *name == method)
                .unwrap();
            let named = call(method, Some(&tokens.right), &named).await;
            assert_eq!(outcome, named, "{method}, {kind}");
        }
    }
}

/// Creates the collection `a` with a product, and another product `a`.
async fn set_up(server: &Server, token: &str) {
    for (method, _, body) in operations(TENANT, "a") {
        let makes = [
            "CreateCollection",
            "MutateChildren",
            "ProductService/UpsertProducts",
        ];
        if makes.contains(&method) {
            assert_eq!(grpc(server, method, Some(token), body).await.told, "Ok");
        }
    }
}

async fn response_of(request: RequestBuilder, token: Option<&str>) -> (u16, Value, bool) {
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let is_asked = response.headers().contains_key("www-authenticate");
    (status, response.json().await.unwrap(), is_asked)
}

async fn over_highlevel(server: &Server, tokens: &Tokens) {
    use Does::{Create, Read, Write};
    let id = "66057f9d28536eae584ec047";
    let send = |method: Method, path: &str, body: Value| {
        highlevel::request(server, method, path).json(&body)
    };
    let with = |more: Value| {
        let mut body = json!({"altId": TENANT, "altType": "location"});
        let more = more.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(more);
        body
    };
    let body = with(json!({"name": "A", "slug": "a-slug", "collectionId": id}));
    let change = with(json!({"name": "B"}));
    let place = with(json!({
        "type": "bulk-update-product-collection", "productIds": ["p"], "collectionIds": [id],
    }));
    let edit = with(json!({"products": [{"_id": "p"}]}));
    let product = json!({"locationId": TENANT, "name": "P", "productType": "DIGITAL"});
    let one = format!("/collections/{id}?altId={TENANT}&altType=location");
    let all = format!("/collections?altId={TENANT}&altType=location");
    let products = format!("/?locationId={TENANT}");
    let p = format!("/p?locationId={TENANT}");
    let prices = format!("/p/price?locationId={TENANT}");
    // The product has no price with this id.
    let price = format!("/p/price/x?locationId={TENANT}");
    let new_price = json!({
        "locationId": TENANT, "name": "X", "type": "one_time", "currency": "USD", "amount": 1,
    });
    let stock = format!("/inventory?altId={TENANT}&altType=location");
    let restock = with(json!({"items": [{"priceId": "x"}]}));
    let none = || json!({});
    let (get, post, put, delete) = (Method::GET, Method::POST, Method::PUT, Method::DELETE);
    let operations = [
        ("create", Create, &post, "/collections", body, 201),
        ("get", Read, &get, &one, none(), 200),
        ("list", Read, &get, &all, none(), 200),
        (
            "update",
            Write,
            &put,
            &format!("/collections/{id}"),
            change,
            200,
        ),
        ("create product", Create, &post, "/", product.clone(), 201),
        ("place products", Write, &post, "/bulk-update", place, 201),
        (
            "edit products",
            Write,
            &post,
            "/bulk-update/edit",
            edit,
            201,
        ),
        ("get product", Read, &get, &p, none(), 200),
        ("list products", Read, &get, &products, none(), 200),
        ("update product", Write, &put, "/p", product, 200),
        ("list prices", Read, &get, &prices, none(), 200),
        ("get price", Read, &get, &price, none(), 404),
        (
            "create price",
            Write,
            &post,
            "/p/price",
            new_price.clone(),
            201,
        ),
        ("update price", Write, &put, "/p/price/x", new_price, 404),
        ("delete price", Write, &delete, &price, none(), 404),
        ("list inventory", Read, &get, &stock, none(), 200),
        ("update inventory", Write, &post, "/inventory", restock, 404),
        ("delete product", Write, &delete, &p, none(), 200),
        ("delete", Write, &delete, &one, none(), 200),
    ];
    let error = |status: u16, message: &str, error: &str| {
        let body = highlevel::failure(status, &message.into(), error);
        (status, body, status == 401)
    };
    for (name, does, method, path, body, success) in operations {
        let what = format!("{name}, {}", tokens.kind);
        let ask = async |token: Option<&str>| {
            response_of(send(method.clone(), path, body.clone()), token).await
        };
        let invalid = error(
            401,
            "Invalid token: access token is invalid",
            "Unauthorized",
        );
        for token in [None, Some(&tokens.bad), Some(&tokens.expired)] {
            assert_eq!(ask(token.map(String::as_str)).await, invalid, "{what}");
        }
        let lacking = match does {
            Does::Read => &tokens.writer,
            Does::Write | Does::Create => &tokens.reader,
        };
        let (status, body, _) = ask(Some(lacking)).await;
        let scope = error(
            401,
            "The token is not authorized for this scope.",
            "Unauthorized",
        );
        assert_eq!((status, body), (scope.0, scope.1), "{what}");
        let location = "The token does not have access to this location.";
        let denied = error(403, location, "Forbidden");
        assert_eq!(ask(Some(&tokens.wrong_tenant)).await, denied, "{what}");
        let (status, body, _) = ask(Some(&tokens.right)).await;
        assert_eq!(status, success, "{what}: {body}");
    }
}

async fn over_oracle(server: &Server, tokens: &Tokens) {
    use Does::{Create, Read, Write};
    let send = |method: Method, path: &str, body: Value| {
        let url = format!("{}/ccadmin/v1/{path}", server.http);
        let request = server.client.request(method, url);
        request.header("x-ccasset-language", "en").json(&body)
    };
    let (id, product) = (format!("o-{}", tokens.kind), format!("q-{}", tokens.kind));
    let none = || json!({});
    let new = json!({"properties": {"id": id, "displayName": "O"}});
    let new_product = json!({"properties": {"id": product, "displayName": "Q"}});
    let change = json!({"properties": {"displayName": "C"}});
    let assign = json!({"operation": "link", "products": ["x"], "collections": ["a"]});
    let movement = json!({"child": id, "parent": "a"});
    let place = json!({"collections": ["a"]});
    let (get, post, put, delete) = (Method::GET, Method::POST, Method::PUT, Method::DELETE);
    // The last column is the response to the other tenant's credential. The credential determines
    // the account: the other account has no `a`, but has what it created itself.
    let operations = [
        ("create", Create, &post, "collections", new, ""),
        ("list", Read, &get, "collections", none(), ""),
        ("get", Read, &get, "collections/a", none(), "20140"),
        ("update", Write, &put, "collections/a", change, "20140"),
        ("move", Write, &put, "collections", movement, "20071"),
        (
            "assign",
            Write,
            &post,
            "collections/assignProducts",
            assign,
            "20091",
        ),
        (
            "delete",
            Write,
            &delete,
            &format!("collections/{id}"),
            none(),
            "",
        ),
        ("create product", Create, &post, "products", new_product, ""),
        ("get product", Read, &get, "products/a", none(), "20031"),
        ("list products", Read, &get, "products", none(), ""),
        (
            "update product",
            Write,
            &put,
            &format!("products/{product}"),
            none(),
            "",
        ),
        (
            "delete product",
            Write,
            &delete,
            &format!("products/{product}"),
            none(),
            "",
        ),
        ("list catalogs", Read, &get, "catalogs", none(), ""),
        ("list locales", Read, &get, "locales", none(), ""),
        (
            "add",
            Write,
            &post,
            "products/x/addToCollections",
            place,
            "20091",
        ),
    ];
    for (name, does, method, path, body, others) in operations {
        let what = format!("{name}, {}", tokens.kind);
        let ask = async |token: Option<&str>| {
            let request = send(method.clone(), path, body.clone());
            let (status, body, is_asked) = response_of(request, token).await;
            if status != 200 {
                assert_eq!(body["status"], status.to_string(), "{what}");
                assert!(body["message"].is_string(), "{what}");
                assert_eq!(is_asked, status == 401, "{what}");
            }
            (
                status,
                body["errorCode"].as_str().unwrap_or_default().to_owned(),
            )
        };
        let is = |status: u16, code: &str| (status, code.to_owned());
        for token in [None, Some(&tokens.bad), Some(&tokens.expired)] {
            assert_eq!(
                ask(token.map(String::as_str)).await,
                is(401, "401"),
                "{what}"
            );
        }
        let lacking = match does {
            Does::Read => &tokens.writer,
            Does::Write | Does::Create => &tokens.reader,
        };
        assert_eq!(ask(Some(lacking)).await, is(403, "403"), "{what}");
        let other = is(if others.is_empty() { 200 } else { 400 }, others);
        assert_eq!(ask(Some(&tokens.wrong_tenant)).await, other, "{what}");
        assert_eq!(ask(Some(&tokens.right)).await, is(200, ""), "{what}");
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn operations_of_each_protocol_check_each_kind_of_token(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let folder = tempfile::tempdir().unwrap();
    let (jwks, keys_file) = (folder.path().join("jwks"), folder.path().join("keys"));
    let issuer = Issuer::new("k1");
    write_jwks(&jwks, &[&issuer]);
    let (of_file, lines) = Tokens::of_file();
    std::fs::write(&keys_file, lines).unwrap();
    let flags = Flags {
        auth: Some("keys,jwt".into()),
        keys_file: Some(keys_file.display().to_string()),
        ..jwt_flags(jwks.display())
    };
    let server = Server::start(engine, flags).await;
    let of_database = Tokens::of_database(&server);
    set_up(&server, &of_database.right).await;
    let of_issuer = Tokens::of_issuer(&issuer);
    let kinds = [&of_database, &of_file, &of_issuer];
    for tokens in kinds {
        over_endcap_v1(&server, tokens).await;
        over_highlevel(&server, tokens).await;
    }
    // Last, because it creates data in the other tenant, which is empty until here.
    for tokens in kinds {
        over_oracle(&server, tokens).await;
    }
}
