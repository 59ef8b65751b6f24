//! `RuleService` over gRPC: the responses of each method, and its errors.

use endcap::store::Engine::{self, Postgres, Sqlite};
use endcap::{
    config::Flags,
    grpc::pb::{self, condition::Target, operand::Value, rule::Rule},
};
use rstest::rstest;
use serde_json::{Value as Json, json};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    collections::{cheaper_than, creation, fields, reason, rules},
    harness::{Server, append, create, get, move_range, mutate, named, products},
    oracle::{Admin, assert_error, ids},
};

fn condition(target: Target, operator: pb::ConditionOperator, value: Value) -> pb::Rule {
    let condition = pb::Condition {
        target: Some(target),
        operator: operator.into(),
        operands: vec![pb::Operand { value: Some(value) }],
    };
    pb::Rule {
        rule: Some(Rule::Condition(condition)),
    }
}

/// The condition that the title contains a text.
fn titled(text: &str) -> pb::Rule {
    let title = Target::Field(pb::ProductField::Title.into());
    let contains = pb::ConditionOperator::Contains;
    condition(title, contains, Value::Text(text.into()))
}

fn product(id: &str, title: &str, amount: &str) -> pb::Product {
    let price = pb::ProductPrice {
        id: "x".into(),
        amount: amount.into(),
        ..pb::ProductPrice::default()
    };
    pb::Product {
        id: id.into(),
        title: title.into(),
        prices: vec![price],
        ..pb::Product::default()
    }
}

async fn put(server: &Server, products: Vec<pb::Product>) {
    let request = pb::UpsertProductsRequest {
        products,
        ..pb::UpsertProductsRequest::default()
    };
    let written = server.products().await.upsert_products(request).await;
    written.unwrap();
}

async fn create_smart(server: &Server, id: &str, rules: pb::Rules) -> pb::Collection {
    let smart = pb::Collection {
        kind: pb::CollectionKind::Smart.into(),
        rules: Some(rules),
        ..named(id, id)
    };
    let made = server.grpc().await.create_collection(creation(smart)).await;
    made.unwrap().into_inner().collection.unwrap()
}

/// Hats for 5, 10 and 20, a coat for 8, and a smart collection of the products cheaper than 10.
async fn shop(engine: Engine, flags: Flags) -> Server {
    let server = Server::start(engine, flags).await;
    let all = [
        ("a", "Straw hat", "5"),
        ("b", "Felt hat", "10"),
        ("c", "Top hat", "20"),
        ("d", "Coat", "8"),
    ];
    let all = all.map(|(id, title, amount)| product(id, title, amount));
    put(&server, all.into()).await;
    create_smart(&server, "cheap", rules(vec![cheaper_than("10")])).await;
    server
}

fn entries(kind: pb::RuleEntryKind, add: &[(&str, Option<i32>)]) -> pb::ChangeRuleEntriesRequest {
    let add = add.iter().map(|(id, index)| pb::RuleEntry {
        product_id: (*id).into(),
        index: *index,
    });
    pb::ChangeRuleEntriesRequest {
        collection_id: "cheap".into(),
        kind: kind.into(),
        add: add.collect(),
        ..pb::ChangeRuleEntriesRequest::default()
    }
}

async fn change(
    server: &Server,
    request: pb::ChangeRuleEntriesRequest,
) -> Result<pb::Collection, Status> {
    let changed = server.rules().await.change_rule_entries(request).await?;
    Ok(changed.into_inner().collection.unwrap())
}

async fn members(server: &Server, id: &str) -> Vec<String> {
    products(&mut server.grpc().await, id).await
}

/// The reason, the fields and the message of an error.
fn told(status: &Status) -> (String, Vec<String>, &str) {
    let has_fields = status.get_error_details().bad_request().is_some();
    let fields = if has_fields { fields(status) } else { vec![] };
    (reason(status), fields, status.message())
}

#[rstest]
#[tokio::test]
async fn a_preview_counts_and_compares_and_stores_nothing(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = shop(engine, Flags::default()).await;
    change(
        &server,
        entries(pb::RuleEntryKind::Include, &[("new", None)]),
    )
    .await
    .unwrap();
    change(&server, entries(pb::RuleEntryKind::Exclude, &[("c", None)]))
        .await
        .unwrap();
    assert_eq!(members(&server, "cheap").await, ["a", "d", "new"]);
    let request = pb::PreviewRulesRequest {
        rules: Some(rules(vec![titled("HAT")])),
        collection_id: "cheap".into(),
        ..pb::PreviewRulesRequest::default()
    };
    let mut client = server.rules().await;
    let found = client.preview_rules(request.clone()).await.unwrap();
    let previewed = |id: &str, title: &str| pb::PreviewedProduct {
        product_id: id.into(),
        title: title.into(),
    };
    let hats = [
        previewed("a", "Straw hat"),
        previewed("b", "Felt hat"),
        previewed("c", "Top hat"),
    ];
    let mut expected = pb::PreviewRulesResponse {
        product_count: 4,
        match_count: 3,
        matches: hats.into(),
        join_count: 1,
        joining: vec![previewed("b", "Felt hat")],
        leave_count: 1,
        leaving: vec![previewed("d", "Coat")],
        warnings: Vec::new(),
    };
    assert_eq!(found.into_inner(), expected);
    // Samples are limited, counts are not; a manual collection is compared, too.
    let mut collections = server.grpc().await;
    create(&mut collections, "manual").await;
    let filled = mutate("manual", vec![append(["c", "nowhere", "d"])]);
    collections.mutate_children(filled).await.unwrap();
    let request = pb::PreviewRulesRequest {
        collection_id: "manual".into(),
        sample_size: 1,
        ..request
    };
    let found = client.preview_rules(request).await.unwrap();
    expected.matches.truncate(1);
    (expected.join_count, expected.leave_count) = (2, 2);
    expected.joining = vec![previewed("a", "Straw hat")];
    expected.leaving = vec![previewed("d", "Coat")];
    assert_eq!(found.into_inner(), expected);
    assert_eq!(members(&server, "cheap").await, ["a", "d", "new"]);
    assert_eq!(members(&server, "manual").await, ["c", "nowhere", "d"]);
}

#[rstest]
#[tokio::test]
async fn small_and_large_products_are_all_evaluated(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = Server::start(engine, Flags::default()).await;
    // Pages of small products, some among large ones, and large ones that don't fit one page.
    let sizes = |number| match number {
        0..1_500 => 10,
        1_500..1_600 => 8_000,
        1_600..2_500 => 10,
        _ => 150_000,
    };
    let product = |number: usize| {
        let value = |kind| prost_types::Value { kind: Some(kind) };
        let filler = "é".repeat(sizes(number) / 2);
        let attributes = [
            (
                "n",
                prost_types::value::Kind::NumberValue((number % 10) as f64),
            ),
            ("filler", prost_types::value::Kind::StringValue(filler)),
        ];
        let fields = attributes.map(|(name, kind)| (name.to_owned(), value(kind)));
        pb::Product {
            id: format!("{number:05}"),
            title: format!("Number {number}, with ü"),
            attributes: Some(prost_types::Struct {
                fields: fields.into(),
            }),
            ..pb::Product::default()
        }
    };
    for from in (0..2_500).step_by(500) {
        put(&server, (from..from + 500).map(product).collect()).await;
    }
    for from in (2_500..2_560).step_by(20) {
        put(&server, (from..from + 20).map(product).collect()).await;
    }
    let below_3 = condition(
        Target::AttributePath("n".into()),
        pb::ConditionOperator::LessThan,
        Value::Decimal("3".into()),
    );
    let request = pb::PreviewRulesRequest {
        rules: Some(rules(vec![below_3.clone()])),
        sample_size: 100,
        ..pb::PreviewRulesRequest::default()
    };
    let found = server.rules().await.preview_rules(request).await;
    let found = found.unwrap().into_inner();
    let matching: Vec<_> = (0..2_560).filter(|number| number % 10 < 3).collect();
    assert_eq!((found.product_count, found.match_count), (2_560, 768));
    let sample = matching
        .iter()
        .take(100)
        .map(|number| pb::PreviewedProduct {
            product_id: format!("{number:05}"),
            title: format!("Number {number}, with ü"),
        });
    assert_eq!(found.matches, sample.collect::<Vec<_>>());
    create_smart(&server, "below", rules(vec![below_3])).await;
    let expected: Vec<_> = matching
        .iter()
        .map(|number| format!("{number:05}"))
        .collect();
    assert_eq!(members(&server, "below").await, expected);
}

#[rstest]
#[tokio::test]
async fn a_preview_warns_of_rules_that_always_match(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = shop(engine, Flags::default()).await;
    let title = || Target::Field(pb::ProductField::Title.into());
    let value = || Value::Text("x".into());
    let opposites = [
        pb::ConditionOperator::Equals,
        pb::ConditionOperator::NotEquals,
    ];
    let opposites = opposites.map(|operator| condition(title(), operator, value()));
    let group = pb::RuleGroup {
        rules: opposites.into(),
        same_row: false,
    };
    let root = pb::Rule {
        rule: Some(Rule::AnyOf(group)),
    };
    let request = pb::PreviewRulesRequest {
        rules: Some(pb::Rules { root: Some(root) }),
        ..pb::PreviewRulesRequest::default()
    };
    let found = server.rules().await.preview_rules(request).await;
    let found = found.unwrap().into_inner();
    assert_eq!((found.match_count, found.join_count), (4, 0));
    let warning = pb::RuleWarning {
        path: "rules.root.any_of.rules".into(),
        field: "title".into(),
        problem: "two of its conditions are opposites, so it always holds".into(),
    };
    assert_eq!(found.warnings, [warning]);
}

#[rstest]
#[tokio::test]
async fn an_invalid_or_too_large_preview_is_rejected(#[values(Sqlite, Postgres)] engine: Engine) {
    let flags = Flags {
        max_synchronous_products: Some("3".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let all = ["a", "b", "c", "d"].map(|id| product(id, "Hat", "1"));
    put(&server, all[..3].into()).await;
    let mut client = server.rules().await;
    let request = |rules: Option<pb::Rules>| pb::PreviewRulesRequest {
        rules,
        ..pb::PreviewRulesRequest::default()
    };
    let hats = || request(Some(rules(vec![titled("hat")])));
    let found = client.preview_rules(hats()).await.unwrap();
    assert_eq!(found.into_inner().match_count, 3);
    put(&server, all[3..].into()).await;
    let status = client.preview_rules(hats()).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(reason(&status), "EVALUATION_TOO_LARGE");
    let message = status.message();
    assert!(message.contains("more than 3 products"), "{message}");
    assert!(message.ends_with("max_synchronous_products"), "{message}");
    assert!(server.refused("max_synchronous_products").await > 0);

    let none = client.preview_rules(request(None)).await.unwrap_err();
    assert_eq!(told(&none).1, ["rules.root"]);
    let empty = request(Some(rules(vec![titled("")])));
    let status = client.preview_rules(empty).await.unwrap_err();
    assert_eq!(
        told(&status).1,
        ["rules.root.all_of.rules[0].condition.operands"]
    );
    let many = request(Some(rules(vec![titled("x"); 501])));
    let status = client.preview_rules(many).await.unwrap_err();
    let (_, fields, message) = told(&status);
    assert_eq!(fields, ["rules.root.all_of.rules"]);
    assert!(message.contains("501 items; the limit is 500"), "{message}");
    assert!(server.refused("max_conditions").await > 0);
    let negative = pb::PreviewRulesRequest {
        sample_size: -1,
        collection_id: "no id".into(),
        ..hats()
    };
    let status = client.preview_rules(negative).await.unwrap_err();
    assert_eq!(told(&status).1, ["collection_id", "sample_size"]);
    let nowhere = pb::PreviewRulesRequest {
        collection_id: "nowhere".into(),
        ..hats()
    };
    let status = client.preview_rules(nowhere).await.unwrap_err();
    assert_eq!(reason(&status), "COLLECTION_NOT_FOUND");

    let mut collections = server.grpc().await;
    create(&mut collections, "four").await;
    let filled = mutate("four", vec![append(["w", "x", "y", "z"])]);
    collections.mutate_children(filled).await.unwrap();
    let compared = pb::PreviewRulesRequest {
        collection_id: "four".into(),
        ..hats()
    };
    let status = client.preview_rules(compared).await.unwrap_err();
    let (reason, _, message) = told(&status);
    assert_eq!(reason, "EVALUATION_TOO_LARGE");
    let expected = "has 4 products; a preview compares at most 3, max_synchronous_products";
    assert!(message.ends_with(expected), "{message}");
}

async fn explain(server: &Server, product: &str) -> pb::ExplainMembershipResponse {
    let request = pb::ExplainMembershipRequest {
        collection_id: "cheap".into(),
        product_id: product.into(),
        ..pb::ExplainMembershipRequest::default()
    };
    let explained = server.rules().await.explain_membership(request).await;
    explained.unwrap().into_inner()
}

#[rstest]
#[tokio::test]
async fn membership_is_explained_by_entries_and_by_rules(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    use pb::MembershipReason::{Exclude, Include, Match, NoMatch};
    let server = shop(engine, Flags::default()).await;
    let included = [("c", None), ("new", None)];
    change(&server, entries(pb::RuleEntryKind::Include, &included))
        .await
        .unwrap();
    change(&server, entries(pb::RuleEntryKind::Exclude, &[("d", None)]))
        .await
        .unwrap();
    let pins = [("a", Some(2)), ("b", Some(0))];
    change(&server, entries(pb::RuleEntryKind::Pin, &pins))
        .await
        .unwrap();
    for (id, is_member, reason, is_registered, pinned, holds) in [
        ("a", true, Match, true, Some(2), Some(true)),
        ("b", false, NoMatch, true, Some(0), Some(false)),
        ("c", true, Include, true, None, Some(false)),
        ("d", false, Exclude, true, None, Some(true)),
        ("new", true, Include, false, None, None),
        ("nowhere", false, NoMatch, false, None, None),
    ] {
        let found = explain(&server, id).await;
        let seen = (found.is_member, found.reason(), found.is_registered);
        assert_eq!(seen, (is_member, reason, is_registered), "{id}");
        assert_eq!(found.pinned_index, pinned, "{id}");
        assert_eq!(found.rules.map(|rules| rules.holds), holds, "{id}");
    }
    assert_eq!(members(&server, "cheap").await, ["c", "new", "a"]);
}

#[rstest]
#[tokio::test]
async fn an_explanation_lists_the_values_of_each_condition(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let cost = Target::AttributePath("cost".into());
    let less = pb::ConditionOperator::LessThan;
    let cost = condition(cost, less, Value::Decimal("10".into()));
    create_smart(&server, "cheap", rules(vec![titled("HAT"), cost])).await;
    let kind = |kind| Some(prost_types::Value { kind: Some(kind) });
    let text = |text: &str| kind(prost_types::value::Kind::StringValue(text.into()));
    let long = "x".repeat(256);
    let attributes = [("cost", text("abc")), (long.as_str(), text("y"))];
    let attributes = attributes.map(|(name, value)| (name.to_owned(), value.unwrap()));
    let odd = pb::Product {
        attributes: Some(prost_types::Struct {
            fields: attributes.into(),
        }),
        ..product("p", "Straw Hat", "1")
    };
    put(&server, vec![odd]).await;
    let found = explain(&server, "p").await;
    assert!(!found.is_member);
    assert_eq!(found.ignored_attribute_paths, [long]);
    let Some(pb::rule_verdict::Rule::AllOf(group)) = found.rules.unwrap().rule else {
        panic!("it is a group");
    };
    assert_eq!(group.row, Some(0));
    let verdicts = group.rules.into_iter().map(|rule| {
        let Some(pb::rule_verdict::Rule::Condition(condition)) = rule.rule else {
            panic!("it is a condition");
        };
        let counts = (condition.value_count, condition.mistyped_count);
        (rule.holds, condition.values, counts)
    });
    let expected = [
        (true, vec!["Straw Hat".to_owned()], (1, 0)),
        (false, vec!["abc".to_owned()], (1, 1)),
    ];
    assert_eq!(verdicts.collect::<Vec<_>>(), expected);

    let mut client = server.rules().await;
    create(&mut server.grpc().await, "manual").await;
    for (collection, product, expected) in [
        ("manual", "p", "KIND_MISMATCH"),
        ("nowhere", "p", "COLLECTION_NOT_FOUND"),
        ("cheap", " ", "INVALID_FIELD"),
    ] {
        let request = pb::ExplainMembershipRequest {
            collection_id: collection.into(),
            product_id: product.into(),
            ..pb::ExplainMembershipRequest::default()
        };
        let status = client.explain_membership(request).await.unwrap_err();
        assert_eq!(reason(&status), expected);
    }
}

#[rstest]
#[tokio::test]
async fn collections_matching_a_draft_product_are_listed_in_pages(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = shop(engine, Flags::default()).await;
    create_smart(&server, "coats", rules(vec![titled("coat")])).await;
    create_smart(&server, "hats", rules(vec![titled("hat")])).await;
    create_smart(&server, "low", rules(vec![cheaper_than("5")])).await;
    for (collection, kind) in [
        ("coats", pb::RuleEntryKind::Include),
        ("low", pb::RuleEntryKind::Exclude),
    ] {
        let request = pb::ChangeRuleEntriesRequest {
            collection_id: collection.into(),
            ..entries(kind, &[("draft", None)])
        };
        change(&server, request).await.unwrap();
    }
    let mut client = server.rules().await;
    let mut request = pb::ListMatchingCollectionsRequest {
        product: Some(product("draft", "Paper HAT", "1")),
        page_size: 2,
        ..pb::ListMatchingCollectionsRequest::default()
    };
    let page = client.list_matching_collections(request.clone()).await;
    let page = page.unwrap().into_inner();
    assert_eq!(page.collection_ids, ["cheap", "coats"]);
    request.page_token = page.next_page_token;
    let page = client.list_matching_collections(request.clone()).await;
    let page = page.unwrap().into_inner();
    assert_eq!(
        (&*page.collection_ids, &*page.next_page_token),
        (&["hats".to_owned()][..], "")
    );
    // A deleted collection is not found, although its rules are still stored.
    let delete = pb::DeleteCollectionRequest {
        collection_id: "hats".into(),
        ..pb::DeleteCollectionRequest::default()
    };
    server.grpc().await.delete_collection(delete).await.unwrap();
    let page = client.list_matching_collections(request.clone()).await;
    assert!(page.unwrap().into_inner().collection_ids.is_empty());
    // A page token is bound to its product. The draft was not registered.
    request.product = Some(product("draft", "Paper hat", "2"));
    let status = client.list_matching_collections(request.clone()).await;
    assert_eq!(reason(&status.unwrap_err()), "PAGE_TOKEN_INVALID");
    assert!(!explain(&server, "draft").await.is_registered);

    let mut odd = product("", "", "x");
    odd.tags = vec![String::new()];
    for (product, expected) in [
        (None, vec!["product.id"]),
        (Some(odd), vec!["product.id", "product.prices[0].amount"]),
        (Some(product("draft", "", "1")), vec!["product.title"]),
    ] {
        let request = pb::ListMatchingCollectionsRequest {
            product,
            ..pb::ListMatchingCollectionsRequest::default()
        };
        let status = client.list_matching_collections(request).await.unwrap_err();
        assert_eq!(told(&status).1, expected);
    }
}

#[rstest]
#[tokio::test]
async fn rule_entries_are_added_replaced_removed_and_counted(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    use pb::RuleEntryKind::{Exclude, Include, Pin};
    let server = shop(engine, Flags::default()).await;
    let included = entries(Include, &[("c", None), ("x", None), ("b", None)]);
    let changed = change(&server, included).await.unwrap();
    assert_eq!(changed.stats.unwrap().product_count, 5);
    change(&server, entries(Exclude, &[("d", None)]))
        .await
        .unwrap();
    let pins = entries(Pin, &[("x", Some(1)), ("a", Some(0))]);
    let changed = change(&server, pins).await.unwrap();
    let counts = pb::RuleEntryCounts {
        include_count: 3,
        exclude_count: 1,
        pin_count: 2,
    };
    assert_eq!(changed.rule_entry_counts, Some(counts));
    let mut collections = server.grpc().await;
    let read = get(&mut collections, "cheap").await.unwrap();
    assert_eq!(read, changed);
    let listed = collections.list_collections(pb::ListCollectionsRequest::default());
    let listed = listed.await.unwrap().into_inner().collections;
    assert_eq!(listed, std::slice::from_ref(&changed));
    assert_eq!(members(&server, "cheap").await, ["a", "x", "b", "c"]);

    let mut client = server.rules().await;
    let mut list = pb::ListRuleEntriesRequest {
        collection_id: "cheap".into(),
        kind: Include.into(),
        page_size: 2,
        ..pb::ListRuleEntriesRequest::default()
    };
    let page = client.list_rule_entries(list.clone()).await.unwrap();
    let page = page.into_inner();
    let entry = |id: &str, index| pb::RuleEntry {
        product_id: id.into(),
        index,
    };
    assert_eq!(page.entries, [entry("b", None), entry("c", None)]);
    list.page_token = page.next_page_token;
    let page = client.list_rule_entries(list.clone()).await.unwrap();
    let page = page.into_inner();
    assert_eq!(page.entries, [entry("x", None)]);
    assert_eq!(page.next_page_token, "");
    list.kind = Pin.into();
    let status = client.list_rule_entries(list.clone()).await.unwrap_err();
    assert_eq!(reason(&status), "PAGE_TOKEN_INVALID");
    list.page_token.clear();
    let page = client.list_rule_entries(list).await.unwrap().into_inner();
    assert_eq!(page.entries, [entry("a", Some(0)), entry("x", Some(1))]);

    let replaced = pb::ChangeRuleEntriesRequest {
        replace: true,
        etag: changed.etag.clone(),
        request_id: "once".into(),
        ..entries(Include, &[("x", None)])
    };
    let once = change(&server, replaced.clone()).await.unwrap();
    assert_eq!(members(&server, "cheap").await, ["a", "x"]);
    assert_eq!(change(&server, replaced.clone()).await.unwrap(), once);
    let stale = pb::ChangeRuleEntriesRequest {
        request_id: String::new(),
        ..replaced
    };
    let status = change(&server, stale).await.unwrap_err();
    assert_eq!(reason(&status), "ETAG_MISMATCH");
    let removed = pb::ChangeRuleEntriesRequest {
        remove: vec!["x".into(), "nowhere".into()],
        ..entries(Include, &[])
    };
    let changed = change(&server, removed).await.unwrap();
    assert_eq!(changed.rule_entry_counts.unwrap().include_count, 0);
    assert_eq!(members(&server, "cheap").await, ["a"]);
}

#[rstest]
#[tokio::test]
async fn products_in_many_collections_includes_are_deleted_and_registered_again(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    const COLLECTIONS: [&str; 2] = ["cheap", "other"];
    let server = shop(engine, Flags::default()).await;
    create_smart(&server, "other", rules(vec![titled("nothing")])).await;
    let ids: Vec<_> = (0..1_000).map(|it| format!("included-{it}")).collect();
    let add: Vec<_> = ids.iter().map(|id| (id.as_str(), None)).collect();
    let put_all = || async {
        let products = ids.iter().map(|id| product(id, "Other", "500"));
        put(&server, products.collect()).await;
    };
    put_all().await;
    for id in COLLECTIONS {
        let include = pb::ChangeRuleEntriesRequest {
            collection_id: id.into(),
            ..entries(pb::RuleEntryKind::Include, &add)
        };
        change(&server, include).await.unwrap();
    }
    let counts = || async {
        let mut collections = server.grpc().await;
        let mut counts = Vec::new();
        for id in COLLECTIONS {
            let read = get(&mut collections, id).await.unwrap();
            counts.push(read.stats.unwrap().product_count);
        }
        counts
    };
    // Two products match the rules of the first collection, none those of the other.
    assert_eq!(counts().await, [1_002, 1_000]);
    let delete = pb::DeleteProductsRequest {
        ids: ids.clone(),
        ..pb::DeleteProductsRequest::default()
    };
    let deleted = server.products().await.delete_products(delete).await;
    deleted.unwrap();
    assert_eq!(counts().await, [2, 0]);
    put_all().await;
    assert_eq!(counts().await, [1_002, 1_000]);
    let removed = pb::ChangeRuleEntriesRequest {
        replace: true,
        ..entries(pb::RuleEntryKind::Include, &[])
    };
    change(&server, removed).await.unwrap();
    assert_eq!(counts().await, [2, 1_000]);
}

#[rstest]
#[tokio::test]
async fn invalid_rule_entries_are_rejected(#[values(Sqlite, Postgres)] engine: Engine) {
    use pb::RuleEntryKind::{Exclude, Include, Pin, Unspecified};
    let flags = Flags {
        max_pins: Some("2".into()),
        ..Flags::default()
    };
    let server = shop(engine, flags).await;
    change(&server, entries(Exclude, &[("d", None)]))
        .await
        .unwrap();
    change(&server, entries(Pin, &[("a", Some(0))]))
        .await
        .unwrap();
    let both = pb::ChangeRuleEntriesRequest {
        remove: vec!["a".into()],
        replace: true,
        ..entries(Include, &[])
    };
    for (request, field, problem) in [
        (entries(Unspecified, &[]), "kind", "is required"),
        (both, "remove", "is not allowed: replace is set"),
        (
            entries(Include, &[("", None)]),
            "add[0].product_id",
            "must not be empty",
        ),
        (
            entries(Include, &[("b", None), ("b", None)]),
            "add[1]",
            "\"b\" is given twice",
        ),
        (
            entries(Include, &[("b", Some(1))]),
            "add[0].index",
            "is not allowed: only pins have one",
        ),
        (entries(Pin, &[("b", None)]), "add[0].index", "is required"),
        (
            entries(Pin, &[("b", Some(-1))]),
            "add[0].index",
            "must be from 0 to 2147483647",
        ),
        (
            entries(Pin, &[("b", Some(0))]),
            "add[0].index",
            "is not allowed: another product is pinned to that index",
        ),
        (
            entries(Include, &[("d", None)]),
            "add[0]",
            "is not allowed: a product can't be both excluded and included or pinned",
        ),
        (
            entries(Pin, &[("b", Some(1)), ("c", Some(2))]),
            "add",
            "has 3 items; the limit is 2",
        ),
    ] {
        let status = change(&server, request).await.unwrap_err();
        let (reason, fields, message) = told(&status);
        assert_eq!(
            (&*reason, &*fields),
            ("INVALID_FIELD", &[field.to_owned()][..]),
            "{message}"
        );
        assert!(message.contains(problem), "{message}");
    }
    assert!(server.refused("max_pins").await > 0);
    create(&mut server.grpc().await, "manual").await;
    let manual = pb::ChangeRuleEntriesRequest {
        collection_id: "manual".into(),
        ..entries(Include, &[("a", None)])
    };
    let status = change(&server, manual).await.unwrap_err();
    assert_eq!(reason(&status), "KIND_MISMATCH");
    assert_eq!(members(&server, "cheap").await, ["a"]);
}

#[rstest]
#[tokio::test]
async fn a_collection_changes_from_manual_to_smart_and_back(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = shop(engine, Flags::default()).await;
    let mut client = server.rules().await;
    let mut collections = server.grpc().await;
    create(&mut collections, "c").await;
    let filled = mutate("c", vec![append(["new", "c"])]);
    collections.mutate_children(filled).await.unwrap();
    let to_smart = |keep_members| pb::ChangeCollectionKindRequest {
        collection_id: "c".into(),
        kind: pb::CollectionKind::Smart.into(),
        rules: Some(rules(vec![cheaper_than("10")])),
        keep_members,
        ..pb::ChangeCollectionKindRequest::default()
    };
    let to_manual = pb::ChangeCollectionKindRequest {
        collection_id: "c".into(),
        kind: pb::CollectionKind::Manual.into(),
        ..pb::ChangeCollectionKindRequest::default()
    };
    let changed = client.change_collection_kind(to_smart(true)).await;
    let changed = changed.unwrap().into_inner().collection.unwrap();
    assert_eq!(changed.kind(), pb::CollectionKind::Smart);
    assert_eq!(changed.rule_entry_counts.unwrap().include_count, 2);
    assert_eq!(members(&server, "c").await, ["new", "c", "a", "d"]);
    let moved = mutate("c", vec![move_range(3, 3, 0)]);
    collections.mutate_children(moved).await.unwrap();
    let changed = client.change_collection_kind(to_manual.clone()).await;
    let changed = changed.unwrap().into_inner().collection.unwrap();
    assert_eq!(
        (changed.kind(), &changed.rules),
        (pb::CollectionKind::Manual, &None)
    );
    assert_eq!(changed.rule_entry_counts, None);
    assert_eq!(members(&server, "c").await, ["d", "new", "c", "a"]);
    put(&server, vec![product("e", "Scarf", "1")]).await;
    assert_eq!(members(&server, "c").await, ["d", "new", "c", "a"]);
    client
        .change_collection_kind(to_smart(false))
        .await
        .unwrap();
    assert_eq!(members(&server, "c").await, ["d", "a", "e"]);

    let again = client.change_collection_kind(to_smart(false)).await;
    assert_eq!(reason(&again.unwrap_err()), "KIND_MISMATCH");
    for (request, field) in [
        (
            pb::ChangeCollectionKindRequest {
                kind: 0,
                ..to_manual.clone()
            },
            "kind",
        ),
        (
            pb::ChangeCollectionKindRequest {
                kind: 7,
                ..to_manual.clone()
            },
            "kind",
        ),
        (
            pb::ChangeCollectionKindRequest {
                rules: Some(rules(vec![titled("x")])),
                ..to_manual.clone()
            },
            "rules.root",
        ),
        (
            pb::ChangeCollectionKindRequest {
                rules: None,
                ..to_smart(true)
            },
            "rules.root",
        ),
    ] {
        let status = client.change_collection_kind(request).await.unwrap_err();
        assert_eq!(told(&status).1, [field]);
    }
}

#[rstest]
#[tokio::test]
async fn a_sort_is_stored_and_an_invalid_one_is_rejected(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    use pb::ProductSortKey::{Attribute, Price, Title, Unspecified};
    let server = shop(engine, Flags::default()).await;
    let mut client = server.grpc().await;
    let sort = |key: pb::ProductSortKey| pb::ProductSort {
        key: key.into(),
        ..pb::ProductSort::default()
    };
    let update = |id: &str, sort: Option<pb::ProductSort>| pb::UpdateCollectionRequest {
        collection: Some(pb::Collection {
            id: id.into(),
            sort,
            ..pb::Collection::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["sort".into()],
        }),
        ..pb::UpdateCollectionRequest::default()
    };
    let lowest = pb::ProductSort {
        currency: "USD".into(),
        ..sort(Price)
    };
    let highest = pb::ProductSort {
        descending: true,
        ..lowest.clone()
    };
    for (sort, expected) in [
        (Some(highest), ["d", "a"]),
        (Some(sort(Title)), ["d", "a"]),
        (Some(lowest), ["a", "d"]),
        (None, ["a", "d"]),
    ] {
        let request = update("cheap", sort.clone());
        let updated = client.update_collection(request).await.unwrap();
        let updated = updated.into_inner().collection.unwrap();
        assert_eq!(updated.sort, sort);
        assert_eq!(members(&server, "cheap").await, expected, "{sort:?}");
    }
    let request = pb::GetCollectionRequest {
        key: Some(pb::get_collection_request::Key::CollectionId(
            "cheap".into(),
        )),
        read_mask: Some(prost_types::FieldMask {
            paths: vec!["sort".into(), "rule_entry_counts".into()],
        }),
        ..pb::GetCollectionRequest::default()
    };
    let masked = client.get_collection(request).await.unwrap().into_inner();
    let expected = pb::Collection {
        rule_entry_counts: Some(pb::RuleEntryCounts::default()),
        ..pb::Collection::default()
    };
    assert_eq!(masked.collection.unwrap(), expected);

    create(&mut client, "manual").await;
    let with = |currency: &str, path: &str, key| pb::ProductSort {
        currency: currency.into(),
        attribute_path: path.into(),
        ..sort(key)
    };
    for (id, sort, field) in [
        ("manual", sort(Title), "collection.sort"),
        ("cheap", sort(Unspecified), "collection.sort.key"),
        ("cheap", with("EUR", "", Title), "collection.sort.currency"),
        ("cheap", with("euro", "", Price), "collection.sort"),
        (
            "cheap",
            with("USD", "x", Price),
            "collection.sort.attribute_path",
        ),
        ("cheap", sort(Price), "collection.sort.currency"),
        ("cheap", sort(Attribute), "collection.sort.attribute_path"),
    ] {
        let status = client
            .update_collection(update(id, Some(sort.clone())))
            .await;
        let status = status.unwrap_err();
        assert_eq!(told(&status).1, [field], "{id} {sort:?}");
    }
}

#[rstest]
#[tokio::test]
async fn rules_are_managed_over_json(#[values(Sqlite, Postgres)] engine: Engine) {
    let server = shop(engine, Flags::default()).await;
    let post = async |path: &str, body: Json| {
        let url = format!("{}/v1/{path}", server.http);
        let sent = server.client.post(url).json(&body).send().await.unwrap();
        (sent.status().as_u16(), sent.json::<Json>().await.unwrap())
    };
    let pin = json!({"kind": "RULE_ENTRY_KIND_PIN", "add": [{"productId": "d", "index": 0}]});
    let (status, response) = post("collections/cheap:changeRuleEntries", pin).await;
    assert_eq!(status, 200, "{response}");
    assert_eq!(
        response["collection"]["ruleEntryCounts"],
        json!({"pinCount": 1})
    );
    assert_eq!(members(&server, "cheap").await, ["d", "a"]);
    let url = format!("{}/v1/collections/cheap/products/d:explain", server.http);
    let explained = server.client.get(url).send().await.unwrap();
    let explained: Json = explained.json().await.unwrap();
    assert_eq!(explained["reason"], "MEMBERSHIP_REASON_MATCH");
    let verdict = &explained["rules"]["allOf"]["rules"][0]["condition"];
    assert_eq!(verdict["values"], json!(["8"]));
    let (status, response) = post("rules:preview", json!({"rules": {"root": {}}})).await;
    assert_eq!(status, 400);
    let told = "rules.root: must be set to one of all_of, any_of, none_of, condition";
    assert_eq!(response["message"], told);
}

#[rstest]
#[tokio::test]
async fn oracle_returns_members_and_fixed_child_products(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    use pb::RuleEntryKind::{Include, Pin};
    let server = shop(engine, Flags::default()).await;
    change(&server, entries(Include, &[("new", None)]))
        .await
        .unwrap();
    change(&server, entries(Pin, &[("d", Some(0)), ("c", Some(7))]))
        .await
        .unwrap();
    let admin = Admin(&server);
    for query in [
        "",
        "?fields=fixedChildProducts,childProducts&expand=childProducts",
    ] {
        let shown = admin.get(&format!("cheap{query}")).await;
        assert_eq!(ids(&shown["childProducts"]), "d a new", "{shown}");
        assert_eq!(ids(&shown["fixedChildProducts"]), "c d new", "{shown}");
    }
    for (body, says) in [
        (
            json!({"type": "appendProducts", "products": ["b"]}),
            "cheap",
        ),
        (json!({"op": "remove", "products": ["a"]}), "cheap"),
        (
            json!({"op": "reorder", "productMap": {"d": 1}}),
            "product \"d\" is pinned",
        ),
    ] {
        let refused = admin.put("cheap", body).await;
        assert_error(&refused, 400, "20202", says);
    }
    let moves = json!([{"fromStart": 2, "fromEnd": 2, "to": 1}]);
    let moved = json!({"type": "updateProducts", "op": "move", "moves": moves});
    let (status, shown) = admin.put("cheap", moved).await;
    assert_eq!(status, 200, "{shown}");
    assert_eq!(ids(&shown["childProducts"]), "d new a");
}

/// The stock of a variant without a price is not a fact that rules compare, but lists are sorted by
/// it.
#[rstest]
#[tokio::test]
async fn a_list_sorted_by_stock_follows_variant_inventory(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::new(engine).await;
    let smart = pb::Collection {
        kind: pb::CollectionKind::Smart.into(),
        rules: Some(rules(vec![titled("hat")])),
        sort: Some(pb::ProductSort {
            key: pb::ProductSortKey::Inventory.into(),
            out_of_stock_last: true,
            ..pb::ProductSort::default()
        }),
        ..named("stock", "stock")
    };
    let made = server.grpc().await.create_collection(creation(smart)).await;
    made.unwrap();
    let other = pb::Product {
        inventory: "3".into(),
        ..product("b", "Felt hat", "5")
    };
    put(&server, vec![other]).await;
    for (stock, expected) in [
        ("1", ["a", "b"]),
        ("9", ["b", "a"]),
        ("1", ["a", "b"]),
        ("-1", ["b", "a"]),
    ] {
        let variant = |id: &str, inventory: &str| pb::ProductVariant {
            id: id.into(),
            inventory: inventory.into(),
            ..pb::ProductVariant::default()
        };
        let mut hat = product("a", "Straw hat", "5");
        hat.prices[0].variant_id = "s".into();
        hat.variants = vec![variant("s", "1"), variant("t", stock)];
        put(&server, vec![hat]).await;
        assert_eq!(members(&server, "stock").await, expected, "{stock}");
    }
}

/// The children of the collection with their reasons, read in pages, and compared with GetChild.
async fn reasons(server: &Server, id: &str) -> Vec<(String, pb::ChildReason)> {
    let mut client = server.grpc().await;
    let mut all = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListChildrenRequest {
            collection_id: id.into(),
            child_type: pb::ChildType::Product.into(),
            page_size: 2,
            page_token,
            ..pb::ListChildrenRequest::default()
        };
        let page = client.list_children(request.clone()).await.unwrap();
        let page = page.into_inner();
        // With products, the page is read differently, and never cached.
        let whole = pb::ListChildrenRequest {
            product_mask: Some(prost_types::FieldMask {
                paths: vec!["title".into()],
            }),
            ..request
        };
        let whole = client.list_children(whole).await.unwrap().into_inner();
        let told = |page: &pb::ListChildrenResponse| -> Vec<_> {
            let children = page.children.iter();
            children.map(|it| (it.id.clone(), it.reason())).collect()
        };
        assert_eq!(told(&page), told(&whole));
        all.extend(told(&page));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    for (child, reason) in &all {
        let request = pb::GetChildRequest {
            collection_id: id.into(),
            child_type: pb::ChildType::Product.into(),
            child_id: child.clone(),
            ..pb::GetChildRequest::default()
        };
        let found = client.get_child(request).await.unwrap().into_inner();
        assert_eq!(found.child.unwrap().reason(), *reason, "{child}");
    }
    all
}

#[rstest]
#[tokio::test]
async fn children_include_the_reason_of_their_membership(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    use pb::ChildReason::{Include, Match, Pin, Unspecified};

    let server = shop(engine, Flags::default()).await;
    let told = async |expected: &[(&str, pb::ChildReason)]| {
        // Twice, as the second response comes from the cache.
        for _ in 0..2 {
            let found = reasons(&server, "cheap").await;
            let found: Vec<_> = found.iter().map(|(id, it)| (id.as_str(), *it)).collect();
            assert_eq!(found, expected);
        }
    };
    told(&[("a", Match), ("d", Match)]).await;
    // Only the entry changes: the list and the matching products stay the same.
    let include = entries(pb::RuleEntryKind::Include, &[("a", None)]);
    change(&server, include).await.unwrap();
    told(&[("a", Include), ("d", Match)]).await;
    let include = entries(pb::RuleEntryKind::Include, &[("b", None), ("new", None)]);
    change(&server, include).await.unwrap();
    told(&[
        ("a", Include),
        ("d", Match),
        ("b", Include),
        ("new", Include),
    ])
    .await;
    // Now it matches, too.
    put(&server, vec![product("b", "Felt hat", "1")]).await;
    told(&[
        ("a", Include),
        ("d", Match),
        ("b", Include),
        ("new", Include),
    ])
    .await;
    let pin = entries(pb::RuleEntryKind::Pin, &[("a", Some(0)), ("d", Some(1))]);
    change(&server, pin).await.unwrap();
    told(&[("a", Pin), ("d", Pin), ("b", Include), ("new", Include)]).await;
    for kind in [pb::RuleEntryKind::Include, pb::RuleEntryKind::Pin] {
        let none = pb::ChangeRuleEntriesRequest {
            replace: true,
            ..entries(kind, &[])
        };
        change(&server, none).await.unwrap();
    }
    told(&[("a", Match), ("d", Match), ("b", Match)]).await;

    let mut client = server.grpc().await;
    create(&mut client, "manual").await;
    let fill = mutate("manual", vec![append(["a", "b"])]);
    client.mutate_children(fill).await.unwrap();
    let manual = ["a", "b"].map(|id| (id.to_owned(), Unspecified));
    assert_eq!(reasons(&server, "manual").await, manual);
    let request = pb::GetChildRequest {
        collection_id: "rootCategory".into(),
        child_type: pb::ChildType::Collection.into(),
        child_id: "cheap".into(),
        ..pb::GetChildRequest::default()
    };
    let found = client.get_child(request).await.unwrap().into_inner();
    assert_eq!(found.child.unwrap().reason(), Unspecified);
}

/// Renames `cheap` with this etag.
async fn rename(server: &Server, name: &str, etag: &str) -> Result<pb::Collection, Status> {
    let request = pb::UpdateCollectionRequest {
        collection: Some(pb::Collection {
            etag: etag.into(),
            ..named("cheap", name)
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["texts".into()],
        }),
        ..pb::UpdateCollectionRequest::default()
    };
    let updated = server.grpc().await.update_collection(request).await?;
    Ok(updated.into_inner().collection.unwrap())
}

#[rstest]
#[tokio::test]
async fn the_properties_etag_ignores_changes_of_members(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = shop(engine, Flags::default()).await;
    let mut client = server.grpc().await;
    let before = get(&mut client, "cheap").await.unwrap();
    put(&server, vec![product("e", "Cap", "1")]).await;
    let pin = entries(pb::RuleEntryKind::Pin, &[("e", Some(0))]);
    let pinned = change(&server, pin).await.unwrap();
    let after = get(&mut client, "cheap").await.unwrap();
    assert_eq!(after.stats.unwrap().product_count, 3);
    assert_ne!(after.etag, before.etag);
    for other in [&pinned, &after] {
        assert_eq!(other.properties_etag, before.properties_etag);
    }
    let stale = rename(&server, "Stale", &before.etag).await.unwrap_err();
    assert_eq!(reason(&stale), "ETAG_MISMATCH");
    let renamed = rename(&server, "Cheap", &before.properties_etag).await;
    let renamed = renamed.unwrap();
    assert_ne!(renamed.properties_etag, before.properties_etag);
    let stale = rename(&server, "Again", &before.properties_etag).await;
    let stale = stale.unwrap_err();
    assert_eq!(stale.code(), Code::Aborted);
    let info = stale.get_error_details().error_info().unwrap().clone();
    assert_eq!(info.metadata["current_etag"], renamed.properties_etag);

    // Other methods that accept an etag.
    let expect = |etag: &str| pb::ChangeRuleEntriesRequest {
        etag: etag.into(),
        ..entries(pb::RuleEntryKind::Include, &[("c", None)])
    };
    let stale = change(&server, expect(&before.properties_etag)).await;
    assert_eq!(reason(&stale.unwrap_err()), "ETAG_MISMATCH");
    let changed = change(&server, expect(&renamed.properties_etag)).await;
    assert_eq!(changed.unwrap().properties_etag, renamed.properties_etag);
    let url = format!("{}/v1/collections/cheap", server.http);
    let delete = |etag: &str| {
        let request = server.client.delete(&url);
        request.header("if-match", format!("\"{etag}\"")).send()
    };
    let stale = delete(&before.properties_etag).await.unwrap();
    assert_eq!(stale.status(), 412);
    let deleted = delete(&renamed.properties_etag).await.unwrap();
    assert!(deleted.status().is_success(), "{}", deleted.status());

    // The same properties of another collection have another etag.
    let again = create_smart(&server, "cheap", rules(vec![cheaper_than("10")])).await;
    assert_ne!(again.properties_etag, before.properties_etag);
    let odd = rename(&server, "Odd", "p12").await.unwrap_err();
    assert_eq!(told(&odd).1, ["collection.etag"]);
}

#[rstest]
#[tokio::test]
async fn a_price_sort_uses_the_default_currency_setting(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let by_price = |currency: &str| pb::Collection {
        kind: pb::CollectionKind::Smart.into(),
        rules: Some(rules(vec![cheaper_than("10")])),
        sort: Some(pb::ProductSort {
            key: pb::ProductSortKey::Price.into(),
            currency: currency.into(),
            ..pb::ProductSort::default()
        }),
        ..named("sorted", "Sorted")
    };
    let update = |currency: &str| pb::UpdateCollectionRequest {
        collection: Some(by_price(currency)),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["sort".into()],
        }),
        ..pb::UpdateCollectionRequest::default()
    };
    let currency = |made: Option<pb::Collection>| made.unwrap().sort.unwrap().currency;

    let server = Server::start(engine, Flags::default()).await;
    let mut client = server.grpc().await;
    let refused = client.create_collection(creation(by_price(""))).await;
    let refused = refused.unwrap_err();
    let (_, fields, message) = told(&refused);
    assert_eq!(fields, ["collection.sort.currency"]);
    assert!(message.contains("default_currency"), "{message}");

    let flags = Flags {
        default_currency: Some("CHF".into()),
        ..Flags::default()
    };
    let server = Server::start(engine, flags).await;
    let mut client = server.grpc().await;
    let made = client.create_collection(creation(by_price(""))).await;
    assert_eq!(currency(made.unwrap().into_inner().collection), "CHF");
    let updated = client.update_collection(update("EUR")).await.unwrap();
    assert_eq!(currency(updated.into_inner().collection), "EUR");
    let updated = client.update_collection(update("")).await.unwrap();
    assert_eq!(currency(updated.into_inner().collection), "CHF");
}

/// Rules over more products than a request evaluates: a job evaluates them, and a request may wait
/// for it.
#[rstest]
#[tokio::test]
async fn rules_over_the_product_limit_are_evaluated_by_a_job(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let flags = Flags {
        max_synchronous_products: Some("1".into()),
        ..Flags::default()
    };
    let server = shop(engine, flags).await;
    let status = |collection: &pb::Collection| {
        let status = collection.rules_status.clone().unwrap();
        let counts = (status.evaluated_product_count, status.total_product_count);
        (status.state(), counts)
    };
    let until_current = async |id: &str| {
        let mut client = server.grpc().await;
        loop {
            let collection = get(&mut client, id).await.unwrap();
            match status(&collection) {
                (pb::RulesState::Current, counts) => {
                    assert_eq!(counts, (0, 0));
                    return collection;
                }
                (_, counts) => assert!(counts.0 <= 4 && counts.1 == 4, "{counts:?}"),
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let cheap = until_current("cheap").await;
    assert_eq!(cheap.stats.unwrap().product_count, 2);
    assert_eq!(members(&server, "cheap").await, ["a", "d"]);

    let made = create_smart(&server, "hats", rules(vec![titled("hat")])).await;
    assert_eq!(status(&made), (pb::RulesState::Evaluating, (0, 4)));
    assert_eq!(made.stats.unwrap().product_count, 0);
    let hats = until_current("hats").await;
    assert_ne!(hats.etag, made.etag);
    assert_eq!(members(&server, "hats").await, ["a", "b", "c"]);

    let update = pb::UpdateCollectionRequest {
        collection: Some(pb::Collection {
            id: "hats".into(),
            rules: Some(rules(vec![titled("coat")])),
            ..pb::Collection::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["rules".into()],
        }),
        wait_for_rules: true,
        ..pb::UpdateCollectionRequest::default()
    };
    let updated = server.grpc().await.update_collection(update).await;
    let coats = updated.unwrap().into_inner().collection.unwrap();
    assert_eq!(status(&coats).0, pb::RulesState::Current);
    assert_eq!(coats.stats.unwrap().product_count, 1);
    assert_eq!(members(&server, "hats").await, ["d"]);
}
