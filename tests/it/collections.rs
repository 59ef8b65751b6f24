//! Collections over gRPC: create, read, list, update, delete, and the errors of each.

use endcap::grpc::pb::{
    self, Active, ChildType, child_mutation::Operation,
    collection_service_client::CollectionServiceClient, get_collection_request::Key,
};
use endcap::store::Engine::{self, Postgres, Sqlite};
use prost_types::FieldMask;
use rstest::rstest;
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt as _;

use crate::harness::{Server, append, create, get, move_range, mutate, named, operation, products};

type Client = CollectionServiceClient<Channel>;

/// The reason of an error, as clients read it.
pub(crate) fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    details.error_info().unwrap().reason.clone()
}

/// The fields that an error is about.
pub(crate) fn fields(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    let violations = &details.bad_request().unwrap().field_violations;
    violations.iter().map(|v| v.field.clone()).collect()
}

pub(crate) fn creation(collection: pb::Collection) -> pb::CreateCollectionRequest {
    pb::CreateCollectionRequest {
        collection: Some(collection),
        ..pb::CreateCollectionRequest::default()
    }
}

fn update(collection: pb::Collection, paths: &[&str]) -> pb::UpdateCollectionRequest {
    pb::UpdateCollectionRequest {
        collection: Some(collection),
        update_mask: Some(FieldMask {
            paths: paths.iter().map(ToString::to_string).collect(),
        }),
        ..pb::UpdateCollectionRequest::default()
    }
}

/// Links collections under a parent.
async fn link(client: &mut Client, parent: &str, ids: &[&str]) -> Result<(), Status> {
    let request = pb::MutateChildrenRequest {
        child_type: ChildType::Collection.into(),
        ..mutate(parent, vec![append(ids)])
    };
    client.mutate_children(request).await.map(drop)
}

#[rstest]
#[tokio::test]
async fn a_created_collection_stores_all_given_fields(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    let json = serde_json::json!({"season": "winter", "years": [2026, 1.5], "deep": {"a": null}});
    let mut given = pb::Collection {
        id: "all".into(),
        internal_name: "internal".into(),
        slug: "All-Of-It".into(),
        active: Active::No.into(),
        catalog_id: "cloudCatalog".into(),
        custom_properties: Some(structure(&json)),
        images: vec![
            pb::Image {
                id: "m1".into(),
                source: Some(pb::image::Source::Path("/a/b.jpg".into())),
                file_name: "b.jpg".into(),
                texts: [(
                    "en".to_owned(),
                    pb::ImageText {
                        alt_text: "B".into(),
                        title: "The B".into(),
                    },
                )]
                .into(),
            },
            pb::Image {
                id: "m2".into(),
                source: Some(pb::image::Source::Url("https://cdn.example/x.png".into())),
                ..pb::Image::default()
            },
        ],
        ..named("all", "All of it")
    };
    given.texts.insert(
        "pt-BR".into(),
        pb::LocalizedText {
            display_name: "Tudo".into(),
            description: "d".into(),
            long_description: "l".into(),
            seo_title: "t".into(),
            seo_description: "s".into(),
            seo_keywords: "k".into(),
            seo_url_slug: "tudo".into(),
            keywords: vec!["b".into(), "a".into(), "b".into()],
        },
    );
    let made = client
        .create_collection(creation(given.clone()))
        .await
        .unwrap()
        .into_inner()
        .collection
        .unwrap();
    let expected = pb::Collection {
        tenant_id: "default".into(),
        slug: "all-of-it".into(),
        kind: pb::CollectionKind::Manual.into(),
        rules_status: made.rules_status.clone(),
        effective_active: false,
        parent_ids: vec!["rootCategory".into()],
        stats: Some(pb::CollectionStats::default()),
        create_time: made.create_time,
        update_time: made.create_time,
        etag: made.etag.clone(),
        properties_etag: made.properties_etag.clone(),
        ..given
    };
    assert_eq!(made, expected);
    assert_eq!(get(&mut client, "all").await.unwrap(), expected);
}

/// A JSON object as a `Struct`.
pub(crate) fn structure(json: &serde_json::Value) -> prost_types::Struct {
    use prost_types::{ListValue, Struct, Value, value::Kind};
    fn value(json: &serde_json::Value) -> Value {
        let kind = match json {
            serde_json::Value::Null => Kind::NullValue(0),
            serde_json::Value::Bool(b) => Kind::BoolValue(*b),
            serde_json::Value::Number(n) => Kind::NumberValue(n.as_f64().unwrap()),
            serde_json::Value::String(s) => Kind::StringValue(s.clone()),
            serde_json::Value::Array(items) => Kind::ListValue(ListValue {
                values: items.iter().map(value).collect(),
            }),
            serde_json::Value::Object(_) => Kind::StructValue(structure(json)),
        };
        Value { kind: Some(kind) }
    }
    let fields = json.as_object().unwrap().iter();
    Struct {
        fields: fields.map(|(k, v)| (k.clone(), value(v))).collect(),
    }
}

/// A condition on the price.
pub(crate) fn cheaper_than(value: &str) -> pb::Rule {
    let price = pb::condition::Target::Field(pb::ProductField::Price.into());
    let operand = pb::operand::Value::Decimal(value.into());
    let condition = pb::Condition {
        target: Some(price),
        operator: pb::ConditionOperator::LessThan.into(),
        operands: vec![pb::Operand {
            value: Some(operand),
        }],
    };
    pb::Rule {
        rule: Some(pb::rule::Rule::Condition(condition)),
    }
}

/// Rules that must all hold in the same row.
pub(crate) fn rules(rules: Vec<pb::Rule>) -> pb::Rules {
    let same_row = true;
    let group = pb::rule::Rule::AllOf(pb::RuleGroup { rules, same_row });
    let root = Some(pb::Rule { rule: Some(group) });
    pb::Rules { root }
}

fn compare(
    target: pb::condition::Target,
    operator: pb::ConditionOperator,
    operands: Vec<pb::operand::Value>,
) -> pb::Rule {
    let operands = operands.into_iter();
    let condition = pb::Condition {
        target: Some(target),
        operator: operator.into(),
        operands: operands
            .map(|value| pb::Operand { value: Some(value) })
            .collect(),
    };
    pb::Rule {
        rule: Some(pb::rule::Rule::Condition(condition)),
    }
}

/// A condition that direct members of a collection match.
pub(crate) fn member_of(id: &str) -> pb::Rule {
    let field = pb::condition::Target::Field(pb::ProductField::Collection.into());
    let named = vec![pb::operand::Value::Text(id.into())];
    compare(field, pb::ConditionOperator::In, named)
}

#[rstest]
#[tokio::test]
async fn each_kind_of_condition_round_trips(#[values(Sqlite, Postgres)] engine: Engine) {
    use pb::{ConditionOperator as Operator, operand::Value};
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    let field = |field: pb::ProductField| pb::condition::Target::Field(field.into());
    let path = || pb::condition::Target::AttributePath("look.color".into());
    let time = |seconds| {
        Value::Time(prost_types::Timestamp {
            seconds,
            nanos: 5_000,
        })
    };
    let [text, other] = ["a", "B"].map(|text| Value::Text(text.into()));
    let [low, high] = ["1.50", "2"].map(|number| Value::Decimal(number.into()));
    let fields = (1..).map_while(|number| pb::ProductField::try_from(number).ok());
    // Leaves out the field of collections, which is always set.
    let fields = fields.filter(|it| *it != pb::ProductField::Collection);
    let fields = fields.map(|it| compare(field(it), Operator::IsSet, vec![]));
    let mut conditions: Vec<_> = fields.collect();
    for operator in [
        Operator::Equals,
        Operator::NotEquals,
        Operator::Contains,
        Operator::NotContains,
        Operator::StartsWith,
        Operator::EndsWith,
    ] {
        conditions.push(compare(path(), operator, vec![text.clone()]));
    }
    for operator in [
        Operator::GreaterThan,
        Operator::GreaterOrEqual,
        Operator::LessThan,
        Operator::LessOrEqual,
    ] {
        conditions.push(compare(path(), operator, vec![low.clone()]));
        let created = field(pb::ProductField::Created);
        conditions.push(compare(created, operator, vec![time(-1)]));
    }
    for operator in [Operator::OlderThan, Operator::NewerThan] {
        let age = Value::Duration(prost_types::Duration {
            seconds: 86_400,
            nanos: 1_000,
        });
        let updated = field(pb::ProductField::Updated);
        conditions.push(compare(updated, operator, vec![age]));
    }
    create(&mut client, "other").await;
    for operator in [Operator::In, Operator::NotIn] {
        let collection = field(pb::ProductField::Collection);
        let named = vec![Value::Text("other".into())];
        conditions.push(compare(collection, operator, named));
    }
    let available = field(pb::ProductField::Available);
    conditions.extend([
        compare(path(), Operator::In, vec![text.clone(), other.clone()]),
        compare(path(), Operator::NotIn, vec![text, other]),
        compare(path(), Operator::Between, vec![low, high]),
        compare(
            path(),
            Operator::Between,
            vec![time(0), time(253_402_300_799)],
        ),
        compare(available, Operator::Equals, vec![Value::Boolean(false)]),
        compare(path(), Operator::IsNotSet, vec![]),
    ]);
    let group = pb::RuleGroup {
        rules: conditions,
        same_row: false,
    };
    let rule = Some(pb::rule::Rule::AnyOf(group));
    let rules = pb::Rules {
        root: Some(pb::Rule { rule }),
    };
    let smart = pb::Collection {
        kind: pb::CollectionKind::Smart.into(),
        rules: Some(rules.clone()),
        ..named("all", "All")
    };
    client.create_collection(creation(smart)).await.unwrap();
    assert_eq!(get(&mut client, "all").await.unwrap().rules, Some(rules));
}

#[rstest]
#[tokio::test]
async fn invalid_conditions_are_rejected(#[values(Sqlite, Postgres)] engine: Engine) {
    use pb::{ConditionOperator as Operator, operand::Value};
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    let title = || pb::condition::Target::Field(pb::ProductField::Title.into());
    let long = pb::condition::Target::AttributePath("x".repeat(256));
    let none = pb::condition::Target::AttributePath(String::new());
    let late = prost_types::Timestamp {
        seconds: 253_402_300_800,
        nanos: 0,
    };
    let ages = [(-5, 0), (i64::MIN, 0), (0, -1), (0, 1_000_000_000)];
    let created = || pb::condition::Target::Field(pb::ProductField::Created.into());
    let text = || Value::Text("x".into());
    let ages = ages.map(|(seconds, nanos)| {
        let age = Value::Duration(prost_types::Duration { seconds, nanos });
        let rule = compare(created(), Operator::OlderThan, vec![age]);
        let nanos = if nanos == 0 {
            "".into()
        } else {
            format!(" and {nanos}ns")
        };
        let problem = format!("\"{seconds}s{nanos}\" must be a duration from 0s to 3153600000s");
        (rule, "operands", problem)
    });
    let others = [
        (compare(long, Operator::IsSet, vec![]), "field", "256 char"),
        (
            compare(none, Operator::IsSet, vec![]),
            "field",
            "must be set: an attribute_path is",
        ),
        (
            compare(title(), Operator::Unspecified, vec![text()]),
            "operator",
            "is required",
        ),
        (
            compare(title(), Operator::In, vec![text(); 251]),
            "operands",
            "has 251 items; the limit is 250",
        ),
        (
            compare(title(), Operator::Between, vec![text(); 2]),
            "operator",
            "between",
        ),
        (
            compare(created(), Operator::Equals, vec![Value::Time(late)]),
            "operands",
            "\"253402300800s\" must be a time",
        ),
    ];
    let others = others.map(|(rule, part, problem)| (rule, part, problem.to_owned()));
    for (rule, part, problem) in others.into_iter().chain(ages) {
        let smart = pb::Collection {
            kind: pb::CollectionKind::Smart.into(),
            rules: Some(rules(vec![rule])),
            ..named("odd", "Odd")
        };
        let status = client.create_collection(creation(smart)).await.unwrap_err();
        let path = format!("collection.rules.root.all_of.rules[0].condition.{part}");
        assert_eq!(fields(&status), [path]);
        assert!(status.message().contains(&problem), "{}", status.message());
    }
}

#[rstest]
#[tokio::test]
async fn smart_collections_version_their_rules(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    let rules = |value: &str| rules(vec![cheaper_than(value)]);
    let smart = pb::Collection {
        kind: pb::CollectionKind::Smart.into(),
        rules: Some(rules("10")),
        ..named("cheap", "Cheap")
    };
    let made = client
        .create_collection(creation(smart))
        .await
        .unwrap()
        .into_inner()
        .collection
        .unwrap();
    let status = |collection: &pb::Collection| collection.rules_status.clone().unwrap();
    let first = status(&made);
    assert_eq!((first.version, first.hash.len()), (1, 64));

    let changed = |value: &str| pb::Collection {
        id: "cheap".into(),
        rules: Some(rules(value)),
        ..pb::Collection::default()
    };
    let mut send = async |value: &str| {
        let request = update(changed(value), &["rules"]);
        client
            .update_collection(request)
            .await
            .unwrap()
            .into_inner()
            .collection
            .unwrap()
    };
    let same = send("10.0").await;
    assert_eq!(status(&same), first);
    let other = status(&send("20").await);
    assert_eq!(other.version, 2);
    assert_ne!(other.hash, first.hash);

    let status = client
        .mutate_children(mutate("cheap", vec![append(["p"])]))
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "KIND_MISMATCH");
    let sorted = pb::Collection {
        sort: Some(pb::ProductSort {
            key: pb::ProductSortKey::Title.into(),
            ..pb::ProductSort::default()
        }),
        ..changed("1")
    };
    let sorted = update(sorted, &["sort"]);
    client.update_collection(sorted).await.unwrap();
    for (mutation, told) in [
        (append(["p"]), "\"cheap\" is smart: its products follow"),
        (move_range(0, 0, 0), "\"cheap\" are sorted: they can't be"),
    ] {
        let request = mutate("cheap", vec![mutation]);
        let status = client.mutate_children(request).await.unwrap_err();
        assert_eq!(reason(&status), "KIND_MISMATCH");
        assert!(status.message().contains(told), "{}", status.message());
    }
    let manual = pb::Collection {
        kind: pb::CollectionKind::Manual.into(),
        ..changed("1")
    };
    let status = client
        .update_collection(update(manual, &["kind"]))
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::FailedPrecondition, "KIND_IMMUTABLE")
    );
}

#[rstest]
#[tokio::test]
async fn an_update_writes_the_masked_fields_if_the_etag_matches(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    let made = create(&mut client, "a").await;
    let mut wanted = pb::Collection {
        catalog_id: "new".into(),
        internal_name: "not in the mask".into(),
        etag: made.etag.clone(),
        ..named("a", "Renamed")
    };
    let paths = ["catalog_id", "texts"];
    let one = client
        .update_collection(update(wanted.clone(), &paths))
        .await
        .unwrap()
        .into_inner()
        .collection
        .unwrap();
    assert_eq!(one.catalog_id, "new");
    assert_eq!(one.texts["en"].display_name, "Renamed");
    assert_eq!((one.internal_name.as_str(), one.slug.as_str()), ("a", "a"));
    assert_ne!(one.etag, made.etag);

    let status = client
        .update_collection(update(wanted.clone(), &paths))
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::Aborted, "ETAG_MISMATCH")
    );
    assert!(status.message().contains(&one.etag), "{}", status.message());

    // The same update again changes nothing.
    wanted.etag = one.etag.clone();
    let again = client
        .update_collection(update(wanted.clone(), &paths))
        .await
        .unwrap()
        .into_inner()
        .collection
        .unwrap();
    assert_eq!(again, one);

    // "*" replaces all writable fields; those that are not given are cleared.
    let request = update(
        pb::Collection {
            etag: String::new(),
            ..wanted
        },
        &["*"],
    );
    let all = client
        .update_collection(request)
        .await
        .unwrap()
        .into_inner()
        .collection
        .unwrap();
    assert_eq!(all.internal_name, "not in the mask");
    assert_eq!(all.parent_ids, Vec::<String>::new());
    assert_eq!(all.slug, "renamed");
}

#[rstest]
#[tokio::test]
async fn all_invalid_fields_are_reported_at_once_and_nothing_is_created(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    let bad = pb::Collection {
        internal_name: "n".repeat(256),
        images: vec![pb::Image {
            source: Some(pb::image::Source::Url("ftp://x".into())),
            ..pb::Image::default()
        }],
        catalog_id: "no spaces".into(),
        ..named("bad", &"x".repeat(256))
    };
    let mut bad = bad;
    bad.texts.get_mut("en").unwrap().keywords = vec!["k".into(); 251];
    let status = client.create_collection(creation(bad)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let fields = fields(&status);
    for field in [
        "collection.texts[en].display_name",
        "collection.internal_name",
        "collection.texts[en].keywords",
        "collection.images[0].url",
        "collection.catalog_id",
    ] {
        assert!(fields.iter().any(|f| f == field), "{field} in {fields:?}");
    }
    assert!(
        status.message().contains("the limit is 255"),
        "{}",
        status.message()
    );
    assert_eq!(
        get(&mut client, "bad").await.unwrap_err().code(),
        Code::NotFound
    );
}

#[rstest]
#[tokio::test]
async fn the_error_of_a_malformed_request_names_the_field(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    create(&mut client, "a").await;
    let mut refused: Vec<(Status, &str)> = Vec::new();
    let mut create = async |collection| {
        client
            .create_collection(creation(collection))
            .await
            .unwrap_err()
    };
    refused.push((
        create(pb::Collection::default()).await,
        "collection.texts.display_name",
    ));
    refused.push((create(named("a b", "x")).await, "collection.id"));
    refused.push((
        create(pb::Collection {
            slug: "no slug".into(),
            ..named("x", "x")
        })
        .await,
        "collection.slug",
    ));
    refused.push((
        create(pb::Collection {
            kind: 9,
            ..named("x", "x")
        })
        .await,
        "collection.kind",
    ));
    refused.push((
        create(pb::Collection {
            active: 9,
            ..named("x", "x")
        })
        .await,
        "collection.active",
    ));
    refused.push((
        create(pb::Collection {
            kind: 2,
            ..named("x", "x")
        })
        .await,
        "collection.rules.root",
    ));
    refused.push((
        create(pb::Collection {
            rules: Some(pb::Rules::default()),
            ..named("x", "x")
        })
        .await,
        "collection.rules.root",
    ));
    let texts = [("not a locale".to_owned(), pb::LocalizedText::default())].into();
    refused.push((
        create(pb::Collection {
            texts,
            ..named("x", "x")
        })
        .await,
        "collection.texts",
    ));
    for (status, field) in &refused {
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(
            fields(status).iter().any(|f| f == field),
            "{field}: {status:?}"
        );
    }

    let request = pb::CreateCollectionRequest::default();
    assert_eq!(
        fields(&client.create_collection(request).await.unwrap_err()),
        ["collection"]
    );
    let request = pb::GetCollectionRequest {
        tenant_id: "a b".into(),
        ..pb::GetCollectionRequest::default()
    };
    assert_eq!(
        fields(&client.get_collection(request).await.unwrap_err()),
        ["tenant_id"]
    );
    let request = update(named("a", "x"), &["colour"]);
    assert_eq!(
        fields(&client.update_collection(request).await.unwrap_err()),
        ["update_mask"]
    );
    let request = pb::ListCollectionsRequest {
        page_size: -1,
        ..pb::ListCollectionsRequest::default()
    };
    assert_eq!(
        fields(&client.list_collections(request).await.unwrap_err()),
        ["page_size"]
    );
    let request = pb::ListCollectionsRequest {
        page_token: "x".into(),
        ..pb::ListCollectionsRequest::default()
    };
    assert_eq!(
        reason(&client.list_collections(request).await.unwrap_err()),
        "PAGE_TOKEN_INVALID"
    );
    let request = pb::BatchGetCollectionsRequest::default();
    assert_eq!(
        fields(&client.batch_get_collections(request).await.unwrap_err()),
        ["ids"]
    );
}

#[rstest]
#[tokio::test]
async fn a_request_with_an_invalid_mutation_is_rejected_as_a_whole(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    create(&mut client, "a").await;
    client
        .mutate_children(mutate("a", vec![append(0..10)]))
        .await
        .unwrap();
    let before = get(&mut client, "a").await.unwrap();
    let at = |position| {
        Some(pb::Position {
            position: Some(position),
        })
    };
    let range = |first_index, last_index, position| {
        operation(Operation::MoveRange(pb::child_mutation::MoveRange {
            first_index: Some(first_index),
            last_index: Some(last_index),
            position,
        }))
    };
    let move_ids = |ids: &[&str], position| {
        let ids = ids.iter().map(ToString::to_string).collect();
        operation(Operation::MoveIds(pb::child_mutation::MoveIds {
            ids,
            position,
        }))
    };
    let insert = |position| {
        operation(Operation::Insert(pb::child_mutation::Insert {
            ids: vec!["new".into()],
            position,
            ..Default::default()
        }))
    };
    let reorder = |places: &[(&str, i32)]| {
        let placements = places
            .iter()
            .map(|(id, index)| pb::child_mutation::Placement {
                id: id.to_string(),
                index: Some(*index),
            });
        let placements = placements.collect();
        operation(Operation::Reorder(pb::child_mutation::Reorder {
            placements,
        }))
    };
    use pb::position::Position::{AfterId, BeforeId, Index};
    let cases = [
        (
            range(5, 12, at(Index(0))),
            Code::OutOfRange,
            "mutations[1].move_range.last_index",
        ),
        (
            range(6, 5, at(Index(0))),
            Code::OutOfRange,
            "mutations[1].move_range.first_index",
        ),
        (
            range(0, 4, at(Index(6))),
            Code::OutOfRange,
            "mutations[1].move_range.position.index",
        ),
        (
            range(-1, 4, at(Index(0))),
            Code::InvalidArgument,
            "mutations[1].move_range.first_index",
        ),
        (
            range(3, 3, None),
            Code::InvalidArgument,
            "mutations[1].move_range.position",
        ),
        (
            range(3, 5, at(BeforeId("4".into()))),
            Code::InvalidArgument,
            "mutations[1].move_range.position.before_id",
        ),
        (
            operation(Operation::MoveRange(pb::child_mutation::MoveRange {
                last_index: Some(3),
                position: at(Index(0)),
                ..Default::default()
            })),
            Code::InvalidArgument,
            "mutations[1].move_range.first_index",
        ),
        (
            operation(Operation::Reorder(pb::child_mutation::Reorder {
                placements: vec![pb::child_mutation::Placement {
                    id: "1".into(),
                    index: None,
                }],
            })),
            Code::InvalidArgument,
            "mutations[1].reorder.placements[0].index",
        ),
        (
            insert(None),
            Code::InvalidArgument,
            "mutations[1].insert.position",
        ),
        (
            insert(Some(pb::Position::default())),
            Code::InvalidArgument,
            "mutations[1].insert.position",
        ),
        (
            insert(at(AfterId("new".into()))),
            Code::InvalidArgument,
            "mutations[1].insert.position.after_id",
        ),
        (
            insert(at(Index(12))),
            Code::OutOfRange,
            "mutations[1].insert.position.index",
        ),
        (
            reorder(&[("1", 10)]),
            Code::OutOfRange,
            "mutations[1].reorder.placements[0].index",
        ),
        (
            reorder(&[("1", 2), ("2", 2)]),
            Code::InvalidArgument,
            "mutations[1].reorder.placements[1].index",
        ),
        (
            reorder(&[("1", 2), ("1", 3)]),
            Code::InvalidArgument,
            "mutations[1].reorder.placements[1].id",
        ),
        (
            reorder(&[]),
            Code::InvalidArgument,
            "mutations[1].reorder.placements",
        ),
        (
            append::<&str>([]),
            Code::InvalidArgument,
            "mutations[1].append.ids",
        ),
        (
            append(["a\nb"]),
            Code::InvalidArgument,
            "mutations[1].append.ids[0]",
        ),
        (
            move_ids(&["1"], None),
            Code::InvalidArgument,
            "mutations[1].move_ids.position",
        ),
        (
            move_ids(&["1"], at(BeforeId("1".into()))),
            Code::InvalidArgument,
            "mutations[1].move_ids.position.before_id",
        ),
        (
            move_ids(&["1"], at(Index(10))),
            Code::OutOfRange,
            "mutations[1].move_ids.position.index",
        ),
        (
            pb::ChildMutation::default(),
            Code::InvalidArgument,
            "mutations[1]",
        ),
    ];
    for (mutation, code, field) in cases {
        // The first mutation would be valid; it must not be applied either.
        let request = mutate("a", vec![append(["new"]), mutation.clone()]);
        let request = if code == Code::OutOfRange {
            mutate("a", vec![range(0, 1, at(Index(3))), mutation])
        } else {
            request
        };
        let status = client.mutate_children(request).await.unwrap_err();
        assert_eq!(status.code(), code, "{field}: {status:?}");
        assert_eq!(fields(&status), [field], "{status:?}");
        assert_eq!(get(&mut client, "a").await.unwrap(), before);
    }
    let request = mutate("a", vec![range(6, 5, at(Index(0)))]);
    let status = client.mutate_children(request).await.unwrap_err();
    let told = "index 6 must be from 0 to 5, the last index of the range";
    assert!(status.message().ends_with(told), "{}", status.message());
    let status = client
        .mutate_children(mutate("a", vec![move_ids(&["x"], at(Index(0)))]))
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::NotFound, "CHILD_NOT_IN_LIST")
    );
    let request = pb::MutateChildrenRequest {
        child_type: 0,
        ..mutate("a", vec![append(["x"])])
    };
    assert_eq!(
        fields(&client.mutate_children(request).await.unwrap_err()),
        ["child_type"]
    );
    assert_eq!(
        fields(
            &client
                .mutate_children(mutate("a", vec![]))
                .await
                .unwrap_err()
        ),
        ["mutations"]
    );
    let many = vec![append(["x"]); 1_001];
    let status = client.mutate_children(mutate("a", many)).await.unwrap_err();
    assert!(status.message().contains("the limit is 1000"), "{status:?}");
    let status = client
        .mutate_children(mutate("a", vec![append(0..100_001)]))
        .await
        .unwrap_err();
    assert!(
        status.message().contains("the limit is 100000"),
        "{status:?}"
    );
}

#[rstest]
#[tokio::test]
async fn a_dry_run_returns_the_result_and_changes_nothing(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    let before = create(&mut client, "a").await;
    let request = pb::MutateChildrenRequest {
        validate_only: true,
        ..mutate("a", vec![append(["x", "y", "x"])])
    };
    let response = client.mutate_children(request).await.unwrap().into_inner();
    assert_eq!(response.results[0].added_count, 2);
    assert_eq!(response.collection.unwrap().stats.unwrap().product_count, 2);
    assert_eq!(get(&mut client, "a").await.unwrap(), before);
    assert_eq!(products(&mut client, "a").await, Vec::<String>::new());
}

#[rstest]
#[tokio::test]
async fn collections_form_a_graph_without_cycles(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    for id in ["a", "b", "c", "d"] {
        create(&mut client, id).await;
    }
    link(&mut client, "a", &["b"]).await.unwrap();
    link(&mut client, "b", &["c"]).await.unwrap();
    for (parent, child) in [("c", "a"), ("a", "a"), ("b", "a")] {
        let status = link(&mut client, parent, &[child]).await.unwrap_err();
        assert_eq!(reason(&status), "CYCLE_DETECTED", "{child} under {parent}");
    }
    let status = link(&mut client, "a", &["rootCategory"]).await.unwrap_err();
    assert_eq!(reason(&status), "ROOT_IMMUTABLE");
    let status = link(&mut client, "a", &["nobody"]).await.unwrap_err();
    assert_eq!(reason(&status), "CHILD_NOT_FOUND");

    // From the child's side.
    let parents = |ids: &[&str]| pb::Collection {
        id: "a".into(),
        parent_ids: ids.iter().map(ToString::to_string).collect(),
        ..pb::Collection::default()
    };
    let mut reparent = async |ids: &[&str]| {
        client
            .update_collection(update(parents(ids), &["parent_ids"]))
            .await
    };
    assert_eq!(
        reason(&reparent(&["c"]).await.unwrap_err()),
        "CYCLE_DETECTED"
    );
    assert_eq!(
        reason(&reparent(&["nobody"]).await.unwrap_err()),
        "PARENT_NOT_FOUND"
    );
    let moved = reparent(&["d"])
        .await
        .unwrap()
        .into_inner()
        .collection
        .unwrap();
    assert_eq!(moved.parent_ids, ["d"]);
    let moved = reparent(&["d", "nonNavigableCategory"])
        .await
        .unwrap()
        .into_inner()
        .collection
        .unwrap();
    assert_eq!(moved.parent_ids, ["d", "nonNavigableCategory"]);

    // A collection below a hidden one is hidden, unless another parent is shown.
    let hidden = pb::Collection {
        id: "d".into(),
        active: Active::No.into(),
        ..pb::Collection::default()
    };
    client
        .update_collection(update(hidden, &["active"]))
        .await
        .unwrap();
    assert!(get(&mut client, "c").await.unwrap().effective_active);
    let only = pb::Collection {
        id: "a".into(),
        parent_ids: vec!["d".into()],
        ..pb::Collection::default()
    };
    client
        .update_collection(update(only, &["parent_ids"]))
        .await
        .unwrap();
    assert!(
        get(&mut client, "c").await.unwrap().effective_active,
        "c is also under the root"
    );
    assert!(!get(&mut client, "a").await.unwrap().effective_active);

    let request = pb::ListParentsRequest {
        child_type: ChildType::Collection.into(),
        child_id: "c".into(),
        ..pb::ListParentsRequest::default()
    };
    let page = client.list_parents(request).await.unwrap().into_inner();
    let parents: Vec<_> = page.parents.iter().map(|p| &*p.collection_id).collect();
    assert_eq!(parents, ["b", "rootCategory"]);
}

#[rstest]
#[tokio::test]
async fn deleting_a_collection_keeps_its_children_and_removes_its_links(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    for id in ["a", "b"] {
        create(&mut client, id).await;
    }
    link(&mut client, "a", &["b"]).await.unwrap();
    client
        .mutate_children(mutate("a", vec![append(["p"])]))
        .await
        .unwrap();
    let deletion = |id: &str, force| pb::DeleteCollectionRequest {
        collection_id: id.into(),
        force,
        ..pb::DeleteCollectionRequest::default()
    };
    let status = client
        .delete_collection(deletion("a", false))
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "HAS_CHILDREN");
    let status = client
        .delete_collection(deletion("rootCategory", true))
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "ROOT_IMMUTABLE");
    client.delete_collection(deletion("a", true)).await.unwrap();
    assert_eq!(
        get(&mut client, "a").await.unwrap_err().code(),
        Code::NotFound
    );
    assert_eq!(
        client
            .delete_collection(deletion("a", true))
            .await
            .unwrap_err()
            .code(),
        Code::NotFound
    );
    assert_eq!(
        get(&mut client, "b").await.unwrap().parent_ids,
        ["rootCategory"]
    );
    let root = get(&mut client, "rootCategory").await.unwrap();
    assert_eq!(root.stats.unwrap().collection_count, 1);
    let request = pb::ListParentsRequest {
        child_type: ChildType::Product.into(),
        child_id: "p".into(),
        ..pb::ListParentsRequest::default()
    };
    assert!(
        client
            .list_parents(request)
            .await
            .unwrap()
            .into_inner()
            .parents
            .is_empty()
    );
    // The id can be reused.
    create(&mut client, "a").await;
}

#[rstest]
#[tokio::test]
async fn lists_are_paged_newest_first_and_filtered(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    for number in 0..7 {
        let name = if number % 2 == 0 {
            "Lamps 100%"
        } else {
            "Chairs_x"
        };
        client
            .create_collection(creation(named(&format!("c{number}"), name)))
            .await
            .unwrap();
    }
    let mut list = async |filter: pb::list_collections_request::Filter| {
        let mut ids = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = pb::ListCollectionsRequest {
                filter: Some(filter.clone()),
                page_size: 2,
                page_token,
                read_mask: Some(FieldMask {
                    paths: vec!["id".into()],
                }),
                ..pb::ListCollectionsRequest::default()
            };
            let page = client.list_collections(request).await.unwrap().into_inner();
            assert!(page.collections.iter().all(|c| c.slug.is_empty()));
            ids.extend(page.collections.into_iter().map(|c| c.id));
            if page.next_page_token.is_empty() {
                assert_eq!(page.total_size, ids.len() as i32);
                return ids;
            }
            page_token = page.next_page_token;
        }
    };
    use pb::list_collections_request::Filter;
    assert_eq!(
        list(Filter::default()).await,
        ["c6", "c5", "c4", "c3", "c2", "c1", "c0"]
    );
    let name = |name: &str| Filter {
        display_name_contains: name.into(),
        ..Filter::default()
    };
    assert_eq!(list(name("lAMPS")).await, ["c6", "c4", "c2", "c0"]);
    assert_eq!(list(name("100%")).await, ["c6", "c4", "c2", "c0"]);
    assert_eq!(list(name("_x")).await, ["c5", "c3", "c1"]);
    assert!(list(name("%s%")).await.is_empty());
    let ids = Filter {
        ids: vec!["c1".into(), "rootCategory".into()],
        ..Filter::default()
    };
    assert_eq!(list(ids).await.len(), 2);
    let parent = Filter {
        parent_id: "rootCategory".into(),
        ..Filter::default()
    };
    assert_eq!(list(parent).await.len(), 7);
    let smart = Filter {
        kind: pb::CollectionKind::Smart.into(),
        ..Filter::default()
    };
    assert!(list(smart).await.is_empty());
}

#[rstest]
#[tokio::test]
async fn pages_of_children_continue_after_the_last_childs_current_position(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    create(&mut client, "a").await;
    client
        .mutate_children(mutate("a", vec![append(0..1_000)]))
        .await
        .unwrap();
    let mut page = async |request: pb::ListChildrenRequest| {
        let request = pb::ListChildrenRequest {
            collection_id: "a".into(),
            child_type: ChildType::Product.into(),
            page_size: 10,
            ..request
        };
        client
            .list_children(request)
            .await
            .map(tonic::Response::into_inner)
    };
    let first = page(pb::ListChildrenRequest {
        start_index: 495,
        ..Default::default()
    })
    .await
    .unwrap();
    assert_eq!((first.total_size, first.children[0].index), (1_000, 495));
    assert_eq!(first.children[9].id, "504");
    let status = page(pb::ListChildrenRequest {
        start_index: 1_001,
        ..Default::default()
    })
    .await
    .unwrap_err();
    assert_eq!(
        (status.code(), fields(&status)),
        (Code::OutOfRange, vec!["start_index".to_owned()])
    );
    let end = page(pb::ListChildrenRequest {
        start_index: 1_000,
        ..Default::default()
    })
    .await
    .unwrap();
    assert!(end.children.is_empty() && end.next_page_token.is_empty());

    let place = async |id: &str| {
        let request = pb::GetChildRequest {
            collection_id: "a".into(),
            child_type: ChildType::Product.into(),
            child_id: id.into(),
            ..Default::default()
        };
        server.grpc().await.get_child(request).await
    };
    let found = place("504").await.unwrap().into_inner();
    assert_eq!(found.child.unwrap().index, 504);
    assert_eq!(found.etag, first.etag);
    let status = place("nobody").await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::NotFound, "CHILD_NOT_IN_LIST")
    );
    let about = status.get_error_details().resource_info().cloned();
    assert_eq!(about.unwrap().resource_type, "endcap.v1.Product");

    // Children move from after the page to the front; none is returned twice.
    let mut client = server.grpc().await;
    client
        .mutate_children(mutate("a", vec![move_range(600, 799, 0)]))
        .await
        .unwrap();
    let next = page(pb::ListChildrenRequest {
        page_token: first.next_page_token,
        ..Default::default()
    })
    .await
    .unwrap();
    assert_eq!(next.children[0].id, "505");
    assert_eq!(next.children[0].index, 705);
}

#[rstest]
#[tokio::test]
async fn a_retry_gets_the_first_response(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    let request = pb::CreateCollectionRequest {
        request_id: "r-1".into(),
        ..creation(named("a", "A"))
    };
    let first = client
        .create_collection(request.clone())
        .await
        .unwrap()
        .into_inner()
        .collection
        .unwrap();
    let request_again = pb::MutateChildrenRequest {
        request_id: "r-1".into(),
        ..mutate("a", vec![append(["x"])])
    };
    // The same idempotency key for another method is another request.
    let one = client
        .mutate_children(request_again.clone())
        .await
        .unwrap()
        .into_inner();
    let two = client
        .mutate_children(request_again)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(one, two);
    assert_eq!(one.results[0].added_count, 1);
    assert_eq!(
        client
            .create_collection(request.clone())
            .await
            .unwrap()
            .into_inner()
            .collection
            .unwrap(),
        first
    );
    let other = pb::CreateCollectionRequest {
        request_id: "r-1".into(),
        ..creation(named("b", "B"))
    };
    let status = client.create_collection(other).await.unwrap_err();
    assert_eq!(reason(&status), "REQUEST_ID_REUSED");
    assert!(status.get_error_details().resource_info().is_none());
    assert_eq!(
        get(&mut client, "b").await.unwrap_err().code(),
        Code::NotFound
    );

    // Concurrent duplicates have one effect, and get the same response.
    let twins = (0..20).map(|_| {
        let mut client = client.clone();
        let request = pb::MutateChildrenRequest {
            request_id: "twin".into(),
            ..mutate("a", vec![append(["y"])])
        };
        async move { client.mutate_children(request).await.unwrap().into_inner() }
    });
    let responses = futures::future::join_all(twins).await;
    assert!(responses.iter().all(|response| *response == responses[0]));
    assert_eq!(responses[0].results[0].added_count, 1);
}

#[rstest]
#[tokio::test]
async fn tenants_do_not_see_each_other(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    create(&mut client, "a").await;
    client
        .mutate_children(mutate("a", vec![append(["p"])]))
        .await
        .unwrap();
    let tenant_id = "other".to_owned();
    let request = pb::GetCollectionRequest {
        tenant_id: tenant_id.clone(),
        key: Some(Key::CollectionId("a".into())),
        ..Default::default()
    };
    assert_eq!(
        client.get_collection(request).await.unwrap_err().code(),
        Code::NotFound
    );
    let request = pb::CreateCollectionRequest {
        tenant_id: tenant_id.clone(),
        ..creation(named("a", "Theirs"))
    };
    let theirs = client
        .create_collection(request)
        .await
        .unwrap()
        .into_inner()
        .collection
        .unwrap();
    assert_eq!(
        (theirs.tenant_id.as_str(), theirs.slug.as_str()),
        ("other", "theirs")
    );
    let foreign = pb::CreateCollectionRequest {
        tenant_id: tenant_id.clone(),
        ..creation(pb::Collection {
            parent_ids: vec!["mine".into()],
            ..named("b", "B")
        })
    };
    create(&mut client, "mine").await;
    assert_eq!(
        reason(&client.create_collection(foreign).await.unwrap_err()),
        "PARENT_NOT_FOUND"
    );
    let request = pb::ListParentsRequest {
        tenant_id: tenant_id.clone(),
        child_type: ChildType::Product.into(),
        child_id: "p".into(),
        ..Default::default()
    };
    assert!(
        client
            .list_parents(request)
            .await
            .unwrap()
            .into_inner()
            .parents
            .is_empty()
    );
    let request = pb::ListCollectionsRequest {
        tenant_id,
        ..Default::default()
    };
    assert_eq!(
        client
            .list_collections(request)
            .await
            .unwrap()
            .into_inner()
            .total_size,
        1
    );
}

#[rstest]
#[tokio::test]
async fn slugs_are_unique_and_generated_if_none_is_given(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let mut client = server.grpc().await;
    let chosen = |id: &str| pb::Collection {
        slug: "sale".into(),
        ..named(id, "Sale")
    };
    client
        .create_collection(creation(chosen("a")))
        .await
        .unwrap();
    let status = client
        .create_collection(creation(chosen("b")))
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::AlreadyExists, "SLUG_TAKEN")
    );
    let details = status.get_error_details();
    assert_eq!(details.resource_info().unwrap().resource_name, "a");
    assert_eq!(
        get(&mut client, "b").await.unwrap_err().code(),
        Code::NotFound
    );
    let status = client
        .create_collection(creation(named("a", "x")))
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "ID_TAKEN");
    let made = client
        .create_collection(creation(named("c", "Sale")))
        .await
        .unwrap()
        .into_inner()
        .collection
        .unwrap();
    assert_ne!(made.slug, "sale");
    let renamed = update(named("c", "Other"), &["texts"]);
    let renamed = client
        .update_collection(renamed)
        .await
        .unwrap()
        .into_inner()
        .collection
        .unwrap();
    assert_eq!(renamed.slug, made.slug, "the slug does not change");
    let request = update(
        pb::Collection {
            slug: "sale".into(),
            ..named("c", "")
        },
        &["slug"],
    );
    assert_eq!(
        reason(&client.update_collection(request).await.unwrap_err()),
        "SLUG_TAKEN"
    );
    let request = pb::GetCollectionRequest {
        key: Some(pb::get_collection_request::Key::Slug("none".into())),
        ..pb::GetCollectionRequest::default()
    };
    let status = client.get_collection(request).await.unwrap_err();
    assert_eq!(reason(&status), "COLLECTION_NOT_FOUND");
    assert_eq!(status.message(), "no collection has the slug \"none\"");
}
