//! Guarantees of the API: an OK response means that nothing was lost or misplaced, and that the
//! client can read the result of every write.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use endcap::store::Engine::{self, Postgres, Sqlite};
use endcap::{
    config::Flags,
    grpc::{
        DESCRIPTORS,
        pb::{
            self, OnDuplicate, OnMissing, child_mutation,
            collection_service_client::CollectionServiceClient,
            product_service_client::ProductServiceClient, rule_service_client::RuleServiceClient,
        },
    },
};
use prost::{
    Message as _,
    encoding::{WireType, encode_key, encode_varint},
};
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FieldMask, FileDescriptorSet, Struct, Value,
    field_descriptor_proto::{Label, Type},
    method_options::IdempotencyLevel,
    value::Kind,
};
use rstest::rstest;
use serde_json::json;
use tonic::{Code, transport::Channel};
use tonic_types::StatusExt as _;

use crate::{
    auth::{grpc, new_key},
    collections::{cheaper_than, reason, rules},
    grpcurl::call,
    harness::{Server, append, create, get, move_range, mutate, named, operation, products},
};

/// The default maximum size of a message in gRPC clients.
const CLIENTS_TAKE: usize = 4 * 1_024 * 1_024;

fn text(text: &str) -> Value {
    Value {
        kind: Some(Kind::StringValue(text.into())),
    }
}

fn structure<const N: usize>(fields: [(&str, Value); N]) -> Struct {
    let fields = fields.map(|(name, value)| (name.to_owned(), value));
    Struct {
        fields: fields.into(),
    }
}

fn mask(paths: &[&str]) -> FieldMask {
    FieldMask {
        paths: paths.iter().map(ToString::to_string).collect(),
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn custom_properties_are_named_literally_and_never_by_a_mask(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    let properties = [
        ("seasonName", text("summer")),
        ("season_name", text("mine")),
    ];
    let request = pb::CreateCollectionRequest {
        collection: Some(pb::Collection {
            custom_properties: Some(structure(properties)),
            ..named("a", "A")
        }),
        ..Default::default()
    };
    client.create_collection(request).await.unwrap();
    let before = get(&mut client, "a").await.unwrap();
    let winter = pb::Collection {
        id: "a".into(),
        custom_properties: Some(structure([("seasonName", text("winter"))])),
        ..Default::default()
    };
    // The path that a JSON client makes from "customProperties.seasonName".
    let request = pb::UpdateCollectionRequest {
        collection: Some(winter.clone()),
        update_mask: Some(mask(&["custom_properties.season_name"])),
        ..Default::default()
    };
    let status = client.update_collection(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("custom_properties.season_name"));
    assert!(status.message().contains("custom_property_names"));
    assert_eq!(get(&mut client, "a").await.unwrap(), before);

    let request = pb::UpdateCollectionRequest {
        collection: Some(winter),
        custom_property_names: vec!["seasonName".into()],
        ..Default::default()
    };
    client.update_collection(request).await.unwrap();
    let after = get(&mut client, "a").await.unwrap();
    let expected = [
        ("seasonName", text("winter")),
        ("season_name", text("mine")),
    ];
    assert_eq!(after.custom_properties, Some(structure(expected)));

    // The same in JSON.
    let request = json!({
        "collection": {"id": "a", "customProperties": {"seasonName": "spring"},
            "texts": {"pt-BR": {"seoTitle": "T", "description": "not named"}}},
        "customPropertyNames": ["seasonName"],
        "textMasks": {"pt-BR": {"paths": ["seo_title"]}},
    });
    call(&server, "UpdateCollection", &request);
    let after = get(&mut client, "a").await.unwrap();
    let properties = after.custom_properties.unwrap().fields;
    assert_eq!(properties["seasonName"], text("spring"));
    assert_eq!(properties["season_name"], text("mine"));
    assert_eq!(after.texts["pt-BR"].seo_title, "T");
    assert_eq!(after.texts["pt-BR"].description, "");
    assert_eq!(after.texts["en"].display_name, "A");
}

#[rstest]
#[tokio::test]
async fn localized_content_is_stored_per_locale(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    create(&mut client, "a").await;
    let words = |words: &[&str]| pb::LocalizedText {
        keywords: words.iter().map(ToString::to_string).collect(),
        ..Default::default()
    };
    let mut update = async |texts: &[(&str, pb::LocalizedText)], paths: &[(&str, &[&str])]| {
        let texts = texts.iter().map(|(l, text)| (l.to_string(), text.clone()));
        let masks = paths.iter().map(|(l, paths)| (l.to_string(), mask(paths)));
        let request = pb::UpdateCollectionRequest {
            collection: Some(pb::Collection {
                id: "a".into(),
                texts: texts.collect(),
                ..Default::default()
            }),
            text_masks: masks.collect(),
            ..Default::default()
        };
        let response = client.update_collection(request).await;
        response.map(|response| response.into_inner().collection.unwrap())
    };
    let fr = ("fr", words(&["lampe", "lampe"]));
    let en = ("en", words(&["lamp"]));
    let both = [("fr", &["keywords"][..]), ("en", &["keywords"])];
    let after = update(&[fr.clone(), en], &both).await.unwrap();
    assert_eq!(after.texts["fr"], fr.1);
    assert_eq!(after.texts["en"].keywords, ["lamp"]);
    assert_eq!(after.texts["en"].display_name, "a");
    // A field in the mask that is not set is cleared, and a locale without texts is removed.
    let after = update(&[], &[("fr", &["*"])]).await.unwrap();
    assert!(!after.texts.contains_key("fr"));
    // Two spellings of the same locale are an error.
    let twice = [("pt-BR", words(&["x"])), ("pt_br", words(&["y"]))];
    let status = update(&twice, &[("pt-BR", &["*"])]).await.unwrap_err();
    assert!(status.message().contains("is given twice"), "{status:?}");
}

#[rstest]
#[tokio::test]
async fn an_upsert_keeps_the_fields_it_does_not_name(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let mut client = server.products().await;
    let mut upsert = async |product: pb::Product, paths: &[&str]| {
        let request = pb::UpsertProductsRequest {
            products: vec![product],
            update_mask: (!paths.is_empty()).then(|| mask(paths)),
            ..Default::default()
        };
        client.upsert_products(request).await
    };
    let read = async || {
        let request = pb::GetProductRequest {
            product_id: "p".into(),
            ..Default::default()
        };
        let response = server.products().await.get_product(request).await;
        response.unwrap().into_inner().product.unwrap()
    };
    let whole = pb::Product {
        id: "p".into(),
        title: "Hat".into(),
        slug: "hat".into(),
        r#type: "PHYSICAL".into(),
        attributes: Some(structure([("color", text("red"))])),
        ..Default::default()
    };
    // A new product gets all fields that are set, whatever the mask.
    upsert(whole.clone(), &["slug"]).await.unwrap();
    let first = read().await;
    assert_eq!(
        (&first.title, &first.attributes),
        (&whole.title, &whole.attributes)
    );

    let title = |title: &str| pb::Product {
        id: "p".into(),
        title: title.into(),
        ..Default::default()
    };
    let same = |expected: pb::Product, read: &pb::Product| pb::Product {
        tenant_id: "default".into(),
        create_time: read.create_time,
        update_time: read.update_time,
        ..expected
    };
    // Without a mask, the fields that are set are changed.
    upsert(title("Cap"), &[]).await.unwrap();
    let after = read().await;
    let whole = pb::Product {
        title: "Cap".into(),
        ..whole
    };
    assert_eq!(after, same(whole.clone(), &after));
    // With a mask, the fields that it names are changed, even if they are not set.
    let given = pb::Product {
        slug: "not named".into(),
        ..title("not named")
    };
    upsert(given, &["type", "attributes"]).await.unwrap();
    let after = read().await;
    let bare = pb::Product {
        r#type: String::new(),
        attributes: None,
        ..whole
    };
    assert_eq!(after, same(bare, &after));
    // "*" changes all fields.
    upsert(title("Only"), &["*"]).await.unwrap();
    let after = read().await;
    assert_eq!(after, same(title("Only"), &after));

    let status = upsert(
        pb::Product {
            id: "p".into(),
            ..Default::default()
        },
        &["*"],
    )
    .await;
    assert!(status.unwrap_err().message().contains("products[0].title"));
    let status = upsert(title("x"), &["name"]).await.unwrap_err();
    assert!(
        status.message().contains("update_mask: \"name\""),
        "{status:?}"
    );
}

#[rstest]
#[tokio::test]
async fn duplicate_or_missing_children_can_be_errors(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    create(&mut client, "a").await;
    let fill = mutate("a", vec![append(["x", "y"])]);
    client.mutate_children(fill).await.unwrap();
    let ids = |ids: &[&str]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    let add = |names: &[&str]| child_mutation::Append {
        ids: ids(names),
        on_duplicate: OnDuplicate::Error.into(),
    };
    let remove = |names: &[&str]| child_mutation::Remove {
        ids: ids(names),
        on_missing: OnMissing::Error.into(),
    };
    let add = |names: &[&str]| operation(child_mutation::Operation::Append(add(names)));
    let remove = |names: &[&str]| operation(child_mutation::Operation::Remove(remove(names)));
    for (mutation, expected) in [
        (add(&["new", "y"]), "CHILD_ALREADY_IN_LIST"),
        (remove(&["x", "nobody"]), "CHILD_NOT_IN_LIST"),
    ] {
        let request = mutate("a", vec![append(["first"]), mutation]);
        let status = client.mutate_children(request).await.unwrap_err();
        assert_eq!(reason(&status), expected);
        assert_eq!(products(&mut client, "a").await, ["x", "y"]);
    }
    let fine = mutate("a", vec![add(&["new", "new"]), remove(&["x"])]);
    client.mutate_children(fine).await.unwrap();
    assert_eq!(products(&mut client, "a").await, ["y", "new"]);
}

#[rstest]
#[tokio::test]
async fn an_etag_covers_stored_fields_but_not_derived_ones(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    create(&mut client, "above").await;
    let request = pb::CreateCollectionRequest {
        collection: Some(pb::Collection {
            parent_ids: vec!["above".into()],
            ..named("below", "Below")
        }),
        ..Default::default()
    };
    client.create_collection(request).await.unwrap();
    let before = get(&mut client, "below").await.unwrap();
    let hide = pb::UpdateCollectionRequest {
        collection: Some(pb::Collection {
            id: "above".into(),
            active: pb::Active::No.into(),
            ..Default::default()
        }),
        update_mask: Some(mask(&["active"])),
        ..Default::default()
    };
    client.update_collection(hide).await.unwrap();
    let after = get(&mut client, "below").await.unwrap();
    assert!(before.effective_active && !after.effective_active);
    assert_eq!(after.etag, before.etag, "as the proto says");
}

#[rstest]
#[tokio::test]
async fn a_request_with_a_credential_for_several_tenants_must_name_one(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let flags = Flags {
        auth: Some("keys".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let one = new_key(&server, "one", &["admin"], &[]);
    let all = new_key(&server, "*", &["admin"], &[]);
    let list = async |key: &str, tenant: &str| {
        let mut request = tonic::Request::new(pb::ListCollectionsRequest {
            tenant_id: tenant.into(),
            ..Default::default()
        });
        let bearer = format!("Bearer {key}").parse().unwrap();
        request.metadata_mut().insert("authorization", bearer);
        server.grpc().await.list_collections(request).await
    };
    list(&one, "").await.unwrap();
    list(&all, "default").await.unwrap();
    let status = list(&all, "").await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(reason(&status), "TENANT_REQUIRED");
}

/// Clients with default settings: they accept messages of up to 4 MiB.
struct Clients {
    collections: CollectionServiceClient<Channel>,
    products: ProductServiceClient<Channel>,
    rules: RuleServiceClient<Channel>,
}

/// The RPCs that write: those that are not declared free of side effects.
fn writes() -> BTreeSet<String> {
    let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let files = set.file.iter().filter(|file| file.package() == "endcap.v1");
    let methods = files.flat_map(|file| file.service.iter().flat_map(|service| &service.method));
    let is_read = |method: &&prost_types::MethodDescriptorProto| {
        let options = method.options.as_ref();
        options.map(|o| o.idempotency_level()) == Some(IdempotencyLevel::NoSideEffects)
    };
    let writes = methods.filter(|method| !is_read(method));
    writes.map(|method| method.name().to_owned()).collect()
}

/// A collection whose response exceeds its counted size as much as possible: many short entries,
/// then texts up to the limit.
fn largest(id: &str) -> pb::Collection {
    let locales: Vec<String> = (0..26)
        .flat_map(|n| {
            let letter = char::from(b'a' + n);
            ["a", "n", "r"].map(|end| format!("{letter}{end}"))
        })
        .take(63)
        .chain(["en".to_owned()])
        .collect();
    let short = |locale: &String| {
        let text = pb::ImageText {
            alt_text: "a".into(),
            title: "t".into(),
        };
        (locale.clone(), text)
    };
    let image = pb::Image {
        texts: locales.iter().map(short).collect(),
        ..Default::default()
    };
    let number = Value {
        kind: Some(Kind::NumberValue(0.0)),
    };
    let numbers = prost_types::ListValue {
        values: vec![number; 32_000],
    };
    let numbers = Value {
        kind: Some(Kind::ListValue(numbers)),
    };
    let texts = locales.iter().enumerate().map(|(at, locale)| {
        let long = if at < 44 {
            "d".repeat(65_536)
        } else {
            "d".into()
        };
        let text = pb::LocalizedText {
            display_name: "n".into(),
            description: long,
            keywords: vec!["k".into(); 250],
            ..Default::default()
        };
        (locale.clone(), text)
    });
    pb::Collection {
        kind: pb::CollectionKind::Smart.into(),
        rules: Some(rules(vec![cheaper_than(&"9".repeat(24)); 500])),
        texts: texts.collect(),
        images: vec![image; 100],
        custom_properties: Some(structure([("n", numbers)])),
        ..named(id, "x")
    }
}

fn long_ids(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{n:0>128}")).collect()
}

async fn write_the_most(clients: &mut Clients, rpc: &str) -> Result<usize, tonic::Status> {
    let Clients {
        collections,
        products,
        rules: rules_client,
    } = clients;
    let whole = largest("whole");
    Ok(match rpc {
        "CreateCollection" => {
            let request = pb::CreateCollectionRequest {
                collection: Some(whole),
                ..Default::default()
            };
            let response = collections.create_collection(request).await?;
            response.into_inner().encoded_len()
        }
        "UpdateCollection" => {
            let request = pb::UpdateCollectionRequest {
                collection: Some(whole),
                update_mask: Some(mask(&["texts", "images", "custom_properties", "rules"])),
                ..Default::default()
            };
            let response = collections.update_collection(request).await?;
            response.into_inner().encoded_len()
        }
        "MutateChildren" => {
            // One mutation finds nothing to remove, and many name ids that are not in the list.
            let ids = long_ids(100);
            let remove = child_mutation::Remove {
                ids,
                ..Default::default()
            };
            let remove = operation(child_mutation::Operation::Remove(remove));
            let request = pb::MutateChildrenRequest {
                child_type: pb::ChildType::Collection.into(),
                ..mutate("whole", vec![remove; 1_000])
            };
            let response = collections.mutate_children(request).await?.into_inner();
            let results = &response.results;
            assert!(results.iter().all(|result| result.missing_count == 100));
            let named: usize = results.iter().map(|r| r.missing_ids.len()).sum();
            assert_eq!(named, 1_000);
            response.encoded_len()
        }
        "UpsertProducts" => {
            let ids = long_ids(1_000).into_iter();
            let attributes = structure([("a", text(&"v".repeat(6_000)))]);
            let request = pb::UpsertProductsRequest {
                products: ids
                    .map(|id| pb::Product {
                        id,
                        title: "t".repeat(255),
                        attributes: Some(attributes.clone()),
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            };
            assert!(request.encoded_len() > CLIENTS_TAKE);
            let response = products.upsert_products(request).await?;
            response.into_inner().encoded_len()
        }
        "DeleteProducts" => {
            let request = pb::DeleteProductsRequest {
                ids: long_ids(2_000).split_off(1_000),
                ..Default::default()
            };
            let response = products.delete_products(request).await?.into_inner();
            assert_eq!(response.missing_ids.len(), 1_000);
            response.encoded_len()
        }
        "ChangeRuleEntries" => {
            let entry = |id: String| pb::RuleEntry {
                product_id: id,
                index: None,
            };
            let request = pb::ChangeRuleEntriesRequest {
                collection_id: "whole".into(),
                kind: pb::RuleEntryKind::Include.into(),
                add: long_ids(5_000).into_iter().map(entry).collect(),
                ..Default::default()
            };
            let response = rules_client.change_rule_entries(request).await?;
            response.into_inner().encoded_len()
        }
        "ChangeCollectionKind" => {
            let change = |kind: pb::CollectionKind| pb::ChangeCollectionKindRequest {
                collection_id: "whole".into(),
                kind: kind.into(),
                ..Default::default()
            };
            let manual = change(pb::CollectionKind::Manual);
            rules_client.change_collection_kind(manual).await?;
            let smart = pb::ChangeCollectionKindRequest {
                rules: whole.rules,
                keep_members: true,
                ..change(pb::CollectionKind::Smart)
            };
            let response = rules_client.change_collection_kind(smart).await?;
            let response = response.into_inner();
            let named = response.collection.as_ref().unwrap().rule_entry_counts;
            assert_eq!(named.unwrap().include_count, 5_000);
            response.encoded_len()
        }
        "DeleteCollection" => {
            let request = pb::DeleteCollectionRequest {
                collection_id: "whole".into(),
                ..Default::default()
            };
            let response = collections.delete_collection(request).await?;
            response.into_inner().encoded_len()
        }
        other => panic!("add the largest response of {other} here"),
    })
}

#[rstest]
#[tokio::test]
async fn the_response_to_any_write_fits_the_default_client_message_limit(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let grpc = server.grpc.clone();
    let mut clients = Clients {
        collections: CollectionServiceClient::connect(grpc.clone())
            .await
            .unwrap(),
        products: ProductServiceClient::connect(grpc).await.unwrap(),
        rules: server.rules().await,
    };
    // All writes, in an order that meets the preconditions of each.
    let order = [
        "CreateCollection",
        "UpdateCollection",
        "MutateChildren",
        "UpsertProducts",
        "DeleteProducts",
        "ChangeRuleEntries",
        "ChangeCollectionKind",
        "DeleteCollection",
    ];
    assert_eq!(writes(), order.map(str::to_owned).into());
    for rpc in order {
        let size = write_the_most(&mut clients, rpc).await.unwrap();
        assert!(size < CLIENTS_TAKE, "{rpc} returns {size} bytes");
        if rpc == "MutateChildren" {
            assert!(size > CLIENTS_TAKE * 3 / 4, "{size} bytes: not the maximum");
        }
    }
    // A larger collection is rejected before anything is written.
    let mut more = largest("more");
    for text in more.texts.values_mut() {
        text.long_description = "l".repeat(65_536);
    }
    let request = pb::CreateCollectionRequest {
        collection: Some(more),
        ..Default::default()
    };
    let status = clients.collections.create_collection(request).await;
    let status = status.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(
        status.message().contains("the limit is 3145728"),
        "{status:?}"
    );
    let missing = get(&mut clients.collections, "more").await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
}

#[rstest]
#[tokio::test]
async fn an_append_reports_the_first_existing_ids_and_counts_all(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = CollectionServiceClient::connect(server.grpc.clone())
        .await
        .unwrap();
    create(&mut client, "a").await;
    let mut ids = long_ids(40_000);
    for part in ids.chunks(20_000) {
        client
            .mutate_children(mutate("a", vec![append(part)]))
            .await
            .unwrap();
    }
    ids.push("new".into());
    let response = client
        .mutate_children(mutate("a", vec![append(&ids)]))
        .await
        .unwrap();
    let result = &response.into_inner().results[0];
    assert_eq!((result.added_count, result.existing_count), (1, 40_000));
    assert_eq!(result.existing_ids, ids[..1_000]);
}

/// The keys of `ErrorInfo.metadata` that the proto documents for each reason.
fn published() -> BTreeMap<String, BTreeSet<String>> {
    let text = include_str!("../../proto/endcap/v1/error_reason.proto");
    let mut comment = String::new();
    let mut found = BTreeMap::new();
    for line in text.lines().map(str::trim) {
        if let Some(more) = line.strip_prefix("//") {
            comment.push_str(more);
        } else if let Some((name, _)) = line.split_once(" = ") {
            let keys = comment.split_once("Metadata:").map_or("", |(_, keys)| keys);
            let keys = keys.split('`').skip(1).step_by(2).map(str::to_owned);
            let name = name.trim_start_matches("ERROR_REASON_");
            found.insert(name.to_owned(), keys.collect());
            comment.clear();
        } else {
            comment.clear();
        }
    }
    found
}

#[rstest]
#[tokio::test]
async fn errors_have_their_documented_metadata_and_the_correlation_id(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let published = published();
    assert!(published["ETAG_MISMATCH"].contains("current_etag"));
    let flags = Flags {
        max_collections: Some("3".into()),
        max_depth: Some("2".into()),
        max_parents: Some("1".into()),
        check_products: Some("true".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let mut client = server.grpc().await;
    for id in ["a", "b", "c"] {
        create(&mut client, id).await;
    }
    let mut told = BTreeMap::new();
    let mut fail = |status: tonic::Status, id: &str| {
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!(details.request_info().unwrap().request_id, id);
        let keys: BTreeSet<_> = info.metadata.keys().cloned().collect();
        assert_eq!(keys, published[&info.reason], "{}", info.reason);
        told.insert(info.reason.clone(), info.metadata.clone());
    };
    fn known<T>(message: T, id: &str) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert("x-request-id", id.parse().unwrap());
        request
    }
    let create = pb::CreateCollectionRequest {
        collection: Some(named("d", "D")),
        ..Default::default()
    };
    let status = client.create_collection(known(create, "r1")).await;
    fail(status.unwrap_err(), "r1");
    let collections = |id: &str, child: &str| pb::MutateChildrenRequest {
        child_type: pb::ChildType::Collection.into(),
        ..mutate(id, vec![append([child])])
    };
    let stale = pb::MutateChildrenRequest {
        etag: "1".into(),
        ..mutate("a", vec![append(["x"])])
    };
    let far = child_mutation::Remove {
        ids: vec!["x".into()],
        on_missing: OnMissing::Error.into(),
    };
    let refused = [
        stale,
        mutate("a", vec![append(["x"])]),
        mutate("a", vec![move_range(0, 5, 0)]),
        mutate("a", vec![operation(child_mutation::Operation::Remove(far))]),
        collections("a", "a"),
        collections("a", "nobody"),
        collections("a", "b"),
    ];
    for (n, request) in refused.into_iter().enumerate() {
        let id = format!("m{n}");
        let status = client.mutate_children(known(request, &id)).await;
        fail(status.unwrap_err(), &id);
    }
    let long = "i".repeat(128);
    let gone = pb::GetCollectionRequest {
        tenant_id: "default".into(),
        key: Some(pb::get_collection_request::Key::CollectionId("x".into())),
        ..Default::default()
    };
    let status = client.get_collection(known(gone, &long)).await;
    fail(status.unwrap_err(), &long);
    let reasons: Vec<_> = told.keys().map(String::as_str).collect();
    assert_eq!(
        reasons,
        [
            "CHILD_NOT_FOUND",
            "CHILD_NOT_IN_LIST",
            "COLLECTION_NOT_FOUND",
            "CYCLE_DETECTED",
            "ETAG_MISMATCH",
            "INDEX_OUT_OF_RANGE",
            "PRODUCTS_UNKNOWN",
            "TOO_MANY_COLLECTIONS",
            "TOO_MANY_PARENTS",
        ]
    );
    let now = get(&mut client, "a").await.unwrap();
    assert_eq!(told["ETAG_MISMATCH"]["current_etag"], now.etag);
    assert_eq!(told["TOO_MANY_COLLECTIONS"]["limit"], "3");
    assert_eq!(told["PRODUCTS_UNKNOWN"]["product_id"], "x");
}

/// The paths to fields of this kind in a message and its submessages, as field numbers.
fn field_paths(
    messages: &BTreeMap<String, DescriptorProto>,
    name: &str,
    is_wanted: fn(&FieldDescriptorProto) -> bool,
    path: &[u32],
    found: &mut Vec<Vec<u32>>,
) {
    const DEPTH: usize = 4;
    let Some(message) = messages.get(name) else {
        return;
    };
    for field in &message.field {
        let path = [path, &[u32::try_from(field.number()).unwrap()]].concat();
        if is_wanted(field) {
            found.push(path.clone());
        }
        if field.r#type() == Type::Message && path.len() < DEPTH {
            let name = field.type_name().trim_start_matches('.');
            field_paths(messages, name, is_wanted, &path, found);
        }
    }
}

fn collect(parent: &str, message: &DescriptorProto, to: &mut BTreeMap<String, DescriptorProto>) {
    let name = format!("{parent}.{}", message.name());
    for nested in &message.nested_type {
        collect(&name, nested, to);
    }
    to.insert(name, message.clone());
}

/// A field of a request.
struct Place {
    rpc: String,
    /// The path to it, as field numbers.
    path: Vec<u32>,
    /// A request with the required ids and enums, so that it is processed as far as possible.
    base: Vec<u8>,
}

/// All fields of this kind in all requests.
fn fields_of_requests(is_wanted: fn(&FieldDescriptorProto) -> bool) -> Vec<Place> {
    let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let mut messages = BTreeMap::new();
    for file in &set.file {
        for message in &file.message_type {
            collect(file.package(), message, &mut messages);
        }
    }
    let mut found = Vec::new();
    for file in set.file.iter().filter(|file| file.package() == "endcap.v1") {
        for service in &file.service {
            for method in &service.method {
                let input = method.input_type().trim_start_matches('.');
                let mut fields = Vec::new();
                field_paths(&messages, input, is_wanted, &[], &mut fields);
                let base = needed(&messages[input]);
                found.extend(fields.into_iter().map(|path| Place {
                    rpc: format!("{}/{}", service.name(), method.name()),
                    path,
                    base: base.clone(),
                }));
            }
        }
    }
    found
}

fn needed(request: &DescriptorProto) -> Vec<u8> {
    let mut bytes = Vec::new();
    for field in &request.field {
        let number = u32::try_from(field.number()).unwrap();
        if ["collection_id", "child_id", "product_id"].contains(&field.name()) {
            encode_key(number, WireType::LengthDelimited, &mut bytes);
            encode_varint(12, &mut bytes);
            bytes.extend(b"rootCategory");
        } else if field.r#type() == Type::Enum {
            encode_key(number, WireType::Varint, &mut bytes);
            encode_varint(1, &mut bytes);
        }
    }
    bytes
}

/// The request in which the field has these bytes.
fn request(place: &Place, mut bytes: Vec<u8>) -> Bytes {
    let (_, above) = place.path.split_last().unwrap();
    for number in above.iter().rev() {
        let inner = std::mem::take(&mut bytes);
        encode_key(*number, WireType::LengthDelimited, &mut bytes);
        encode_varint(inner.len() as u64, &mut bytes);
        bytes.extend(inner);
    }
    // If a field occurs twice, the last occurrence counts.
    let message = [place.base.clone(), bytes].concat();
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend(message);
    frame.into()
}

/// Each repeated field and each map of each request, full of entries of two bytes, is rejected
/// before it is decoded.
#[rstest]
#[tokio::test]
async fn a_message_with_too_many_items_is_rejected_before_decoding(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let flags = Flags {
        max_message_items: Some("60000".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let before = server.refused("max_message_items").await;
    let fields = fields_of_requests(|field| field.label() == Label::Repeated);
    assert!(fields.len() > 30, "{}", fields.len());
    for (place, sent) in fields.into_iter().zip(1..) {
        let Place { rpc, path, .. } = &place;
        let mut entries = Vec::new();
        for _ in 0..60_001 {
            encode_key(
                path[path.len() - 1],
                WireType::LengthDelimited,
                &mut entries,
            );
            entries.push(0);
        }
        let outcome = grpc(&server, rpc, None, request(&place, entries)).await;
        assert_eq!(
            outcome.told, "InvalidArgument INVALID_FIELD",
            "{rpc} {path:?}"
        );
        let counted = server.refused("max_message_items").await;
        assert!(counted >= before + sent, "{rpc} {path:?}");
    }
}

/// Each integer field of each request at the ends of its range, alone: no value causes an internal
/// error.
#[rstest]
#[tokio::test]
async fn extreme_integers_cause_no_internal_error(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let fields = fields_of_requests(|field| {
        matches!(field.r#type(), Type::Int32 | Type::Int64 | Type::Enum)
    });
    assert!(fields.len() > 10, "{}", fields.len());
    for place in fields {
        let Place { rpc, path, .. } = &place;
        for value in [i64::from(i32::MIN), i64::from(i32::MAX), i64::MIN, i64::MAX] {
            let mut field = Vec::new();
            encode_key(path[path.len() - 1], WireType::Varint, &mut field);
            encode_varint(value.cast_unsigned(), &mut field);
            let outcome = grpc(&server, rpc, None, request(&place, field)).await;
            let is_fault = ["Internal", "Unknown", "Unavailable"];
            let is_fault = is_fault.iter().any(|code| outcome.told.starts_with(code));
            assert!(!is_fault, "{rpc} {path:?} {value}: {outcome:?}");
        }
    }
}
