//! Rule evaluation, compared with an independent reference implementation, and the number of rules
//! that a product change affects.

use std::{collections::BTreeSet, time::Duration};

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{super::*, *};
use crate::domain::{details::Details, rules::explain::Explained};

/// The reference verdict: a loop over all rows and conditions.
mod reference {
    use super::*;

    fn text(text: &str) -> String {
        search::folded(text)
    }

    /// The texts, numbers (as decimals), booleans and times of a field on a row.
    fn values(product: &Product, field: &Field, row: usize) -> Vec<Operand> {
        let details = &product.details;
        let price = details.prices.get(row);
        let variant = match price {
            Some(price) => details.variants.iter().find(|it| it.id == price.variant_id),
            None => details.variants.get(row),
        };
        let texts = |texts: &[&str]| {
            let texts = texts.iter().filter(|text| !text.is_empty());
            texts.map(|it| Operand::Text(text(it))).collect()
        };
        let number = |it: Option<&Decimal>| {
            let text = it.map(|number| Operand::Decimal(number.to_string()));
            text.into_iter().collect()
        };
        let time = |it: Option<Timestamp>| it.map(Operand::Time).into_iter().collect();
        match field {
            Field::Title => texts(&[&product.title]),
            Field::Slug => texts(&[&product.slug]),
            Field::Type => texts(&[&product.product_type]),
            Field::Vendor => texts(&[&details.vendor]),
            Field::Status => texts(&[&details.status]),
            Field::ProductId => vec![Operand::Text(product.id.to_string())],
            // Memberships are not part of a product; they have their own test.
            Field::Collection => Vec::new(),
            Field::Tag => texts(&details.tags.iter().map(String::as_str).collect::<Vec<_>>()),
            Field::Available => details
                .available
                .map(Operand::Boolean)
                .into_iter()
                .collect(),
            Field::Created => time(details.created),
            Field::Updated => time(details.updated),
            Field::VariantTitle => {
                let own = price.map_or("", |price| &price.title);
                let of_variant = variant.map_or("", |variant| &variant.title);
                texts(&[if own.is_empty() { of_variant } else { own }])
            }
            Field::Price => number(price.map(|price| &price.amount)),
            Field::PriceCurrency => texts(&[price.map_or("", |price| &price.currency)]),
            Field::CompareAtPrice => number(price.and_then(|price| price.compare_at.as_ref())),
            Field::Inventory => number(
                (price.and_then(|price| price.inventory.as_ref()))
                    .or(variant.and_then(|variant| variant.inventory.as_ref()))
                    .or(details.inventory.as_ref()),
            ),
            // The generated attributes are flat lists.
            Field::Attribute(path) => {
                let list = product.attributes.get(path).map_or("[]", |json| &json.0);
                let list: Vec<serde_json::Value> = serde_json::from_str(list).unwrap();
                let list = list.into_iter().flat_map(|element| match element {
                    serde_json::Value::String(it) => {
                        let time = Timestamp::of_rfc3339(&it).map(Operand::Time);
                        time.into_iter().chain([Operand::Text(text(&it))]).collect()
                    }
                    serde_json::Value::Bool(it) => vec![Operand::Boolean(it)],
                    serde_json::Value::Number(it) => vec![Operand::Decimal(it.to_string())],
                    it @ (serde_json::Value::Null
                    | serde_json::Value::Array(_)
                    | serde_json::Value::Object(_)) => panic!("{it}"),
                });
                list.collect()
            }
        }
    }

    /// Whether `value` satisfies the operator without its negation.
    fn satisfies(value: &Operand, condition: &Condition, now: Timestamp) -> bool {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let compare = |operand: &Operand| match (value, operand) {
            (Operand::Text(a), Operand::Text(b)) if condition.field == Field::ProductId => {
                Some(a.cmp(b))
            }
            (Operand::Text(a), Operand::Text(b)) => Some(a.cmp(&text(b))),
            (Operand::Decimal(a), Operand::Decimal(b)) => {
                Some(Decimal::parse(a).unwrap().cmp(&Decimal::parse(b).unwrap()))
            }
            (Operand::Boolean(a), Operand::Boolean(b)) => Some(a.cmp(b)),
            (Operand::Time(a), Operand::Time(b)) => Some(a.cmp(b)),
            _ => None,
        };
        let operands = &condition.operands;
        let is =
            |at: usize, orders: &[_]| compare(&operands[at]).is_some_and(|it| orders.contains(&it));
        let texts = || match (value, &operands[0]) {
            (Operand::Text(a), Operand::Text(b)) if condition.field == Field::ProductId => {
                Some((a.clone(), b.clone()))
            }
            (Operand::Text(a), Operand::Text(b)) => Some((a.clone(), text(b))),
            _ => None,
        };
        match condition.operator {
            Operator::Equals | Operator::NotEquals | Operator::In | Operator::NotIn => {
                (0..operands.len()).any(|at| is(at, &[Equal]))
            }
            Operator::GreaterThan => is(0, &[Greater]),
            Operator::GreaterOrEqual => is(0, &[Greater, Equal]),
            Operator::LessThan => is(0, &[Less]),
            Operator::LessOrEqual => is(0, &[Less, Equal]),
            Operator::Between => is(0, &[Greater, Equal]) && is(1, &[Less, Equal]),
            Operator::Contains | Operator::NotContains => {
                texts().is_some_and(|(a, b)| a.contains(&b))
            }
            Operator::StartsWith => texts().is_some_and(|(a, b)| a.starts_with(&b)),
            Operator::EndsWith => texts().is_some_and(|(a, b)| a.ends_with(&b)),
            Operator::IsSet | Operator::IsNotSet => true,
            Operator::OlderThan | Operator::NewerThan => match (value, &operands[0]) {
                (Operand::Time(time), Operand::Duration(age)) => {
                    let is_older = now.micros() - time.micros() >= age.as_micros() as i64;
                    is_older == (condition.operator == Operator::OlderThan)
                }
                _ => false,
            },
        }
    }

    fn holds(rule: &Rule, product: &Product, rows: &[usize], now: Timestamp) -> bool {
        match rule {
            Rule::Condition(condition) => {
                let values = rows
                    .iter()
                    .flat_map(|row| values(product, &condition.field, *row));
                let negative = [Operator::NotEquals, Operator::NotIn, Operator::NotContains];
                let negated = negative.contains(&condition.operator)
                    || condition.operator == Operator::IsNotSet;
                values
                    .into_iter()
                    .any(|value| satisfies(&value, condition, now))
                    != negated
            }
            Rule::Group(group) if group.same_row && rows.len() > 1 => {
                rows.iter().any(|row| holds(rule, product, &[*row], now))
            }
            Rule::Group(group) => {
                let count = group
                    .rules
                    .iter()
                    .filter(|it| holds(it, product, rows, now))
                    .count();
                match group.combinator {
                    Combinator::All => count == group.rules.len(),
                    Combinator::Any => count > 0,
                    Combinator::None => count == 0,
                }
            }
        }
    }

    pub(super) fn matches(rules: &Rules, product: &Product, now: Timestamp) -> bool {
        let details = &product.details;
        let count = match (details.prices.len(), details.variants.len()) {
            (0, 0) => 1,
            (0, variants) => variants,
            (prices, _) => prices,
        };
        holds(&rules.root, product, &(0..count).collect::<Vec<_>>(), now)
    }
}

const TEXTS: [&str; 6] = ["a", "A", "ab", "bab", "Stra\u{df}e", "ss"];

fn any_text() -> impl Strategy<Value = String> {
    select(&TEXTS[..]).prop_map(String::from)
}

fn any_decimal() -> impl Strategy<Value = Decimal> {
    (0_u32..5, 0_u32..2)
        .prop_map(|(whole, half)| Decimal::parse(&format!("{whole}.{}", half * 5)).unwrap())
}

fn any_time() -> impl Strategy<Value = Timestamp> {
    (0_i64..6).prop_map(Timestamp::from_micros)
}

/// The current time in the tests, between the generated times.
const NOW: Timestamp = Timestamp::from_micros(3);

fn any_details() -> impl Strategy<Value = Details> {
    let variant = (any_text(), option::of(any_decimal()));
    let variants = vec(variant, 0..3).prop_map(|variants| {
        let variants = variants.into_iter().enumerate();
        let variants = variants.map(|(id, (title, inventory))| Variant {
            id: id.to_string(),
            title,
            inventory,
        });
        variants.collect::<Vec<_>>()
    });
    let price = (
        (0_usize..3, option::of(any_text()), any_decimal()),
        (option::of(any_decimal()), option::of(any_decimal())),
    );
    let prices = vec(price, 0..4).prop_map(|prices| {
        let prices = prices.into_iter().enumerate();
        let prices = prices.map(
            |(id, ((variant, title, amount), (compare_at, inventory)))| Price {
                id: id.to_string(),
                variant_id: variant.to_string(),
                title: title.unwrap_or_default(),
                amount,
                currency: ["", "EUR", "USD"][variant].into(),
                compare_at,
                inventory,
            },
        );
        prices.collect::<Vec<_>>()
    });
    let texts = (
        option::of(any_text()),
        option::of(any_text()),
        vec(any_text(), 0..3),
    );
    let others = (option::of(any::<bool>()), option::of(any_decimal()));
    let times = (option::of(any_time()), option::of(any_time()));
    (texts, variants, prices, others, times).prop_map(
        |((vendor, status, tags), variants, prices, (available, inventory), times)| Details {
            vendor: vendor.unwrap_or_default(),
            status: status.unwrap_or_default(),
            available,
            tags,
            variants,
            prices,
            inventory,
            created: times.0,
            updated: times.1,
        },
    )
}

fn any_product() -> impl Strategy<Value = Product> {
    let element = prop_oneof![
        any_text().prop_map(|text| format!("{text:?}")),
        any_decimal().prop_map(|number| number.to_string()),
        any::<bool>().prop_map(|boolean| boolean.to_string()),
        any_time().prop_map(|time| format!("\"{time}\"")),
    ];
    let list = vec(element, 0..4).prop_map(|list| Json(format!("[{}]", list.join(","))));
    (
        any_text(),
        any_text(),
        option::of(any_text()),
        list,
        any_details(),
    )
        .prop_map(|(id, title, slug, list, details)| Product {
            id: ProductId::trusted(id),
            title,
            slug: slug.unwrap_or_default(),
            product_type: "t".into(),
            attributes: [("x".to_owned(), list)].into(),
            details,
            create_time: Timestamp::from_micros(0),
            update_time: Timestamp::from_micros(0),
        })
}

/// Conditions that pass validation.
fn any_condition() -> impl Strategy<Value = Condition> {
    let fields = [&Field::NAMED[..], &[Field::Attribute("x".into())]].concat();
    let operands = (
        vec(any_text(), 3),
        vec(any_decimal(), 3),
        any::<bool>(),
        vec(any_time(), 3),
    );
    let kind = 0_usize..5;
    (
        select(fields),
        select(&Operator::ALL[..]),
        kind,
        operands,
        1_usize..4,
    )
        .prop_map(
            |(field, operator, kind, (texts, decimals, boolean, times), count)| {
                let of = if operator.is_of_age() {
                    condition::Type::Duration
                } else {
                    field.value_type().unwrap_or(condition::Type::ALL[kind])
                };
                let mut operands: Vec<_> = match of {
                    condition::Type::Text => texts.into_iter().map(Operand::Text).collect(),
                    condition::Type::Decimal => {
                        let mut decimals = decimals;
                        decimals.sort();
                        let decimals = decimals.into_iter();
                        decimals
                            .map(|it| Operand::Decimal(it.to_string()))
                            .collect()
                    }
                    condition::Type::Boolean => vec![Operand::Boolean(boolean)],
                    condition::Type::Time => {
                        let mut times = times;
                        times.sort();
                        times.into_iter().map(Operand::Time).collect()
                    }
                    condition::Type::Duration => {
                        let micros = times[0].micros().unsigned_abs();
                        vec![Operand::Duration(Duration::from_micros(micros))]
                    }
                };
                operands.truncate(match (operator.takes_several(), operator.takes_none()) {
                    (true, _) if operator == Operator::Between => 2,
                    (true, _) => count,
                    (false, none) => usize::from(!none),
                });
                Condition {
                    field,
                    operator,
                    operands,
                }
            },
        )
        .prop_filter("the operator must fit", Condition::is_valid)
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let leaf = any_condition().prop_map(Rule::Condition);
    let rule = leaf.prop_recursive(3, 12, 4, |inner| {
        (
            select(&Combinator::ALL[..]),
            any::<bool>(),
            vec(inner, 1..4),
        )
            .prop_map(|(combinator, same_row, rules)| {
                Rule::Group(Group {
                    combinator,
                    same_row,
                    rules,
                })
            })
    });
    rule.prop_map(|root| Rules { root })
}

fn id(number: usize) -> CollectionId {
    CollectionId::trusted(number.to_string())
}

fn set_of(rules: &[Rules]) -> RuleSet {
    RuleSet::new(rules.iter().cloned().enumerate().map(|(n, it)| (id(n), it)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn rules_match_what_the_reference_matches(
        rules in vec(any_rules(), 1..8),
        product in any_product(),
    ) {
        let set = set_of(&rules);
        let facts = Facts::of(&product, NOW);
        for (number, rules) in rules.iter().enumerate() {
            let expected = reference::matches(rules, &product, NOW);
            prop_assert_eq!(set.matches(&id(number), &facts), expected, "{:?}", rules);
            prop_assert_eq!(explain(rules, &facts).holds, expected);
        }
    }

    #[test]
    fn the_needed_facts_decide_like_all_facts(rules in any_rules(), product in any_product()) {
        let set = set_of(&[rules]);
        let needs = set.needs();
        let mut part = product.clone();
        if !needs.attributes {
            part.attributes.clear();
        }
        if !needs.details {
            part.details = Details::default();
        }
        if !needs.title {
            part.title = String::new();
        }
        if !needs.outline {
            (part.slug, part.product_type) = (String::new(), String::new());
            (part.create_time, part.update_time) = (NOW, NOW);
        }
        let all = Facts::of(&product, NOW);
        let needed = Facts::needed(&part, NOW, &needs);
        prop_assert_eq!(set.matches(&id(0), &needed), set.matches(&id(0), &all));
        prop_assert_eq!(set.next_change(&needed, NOW), set.next_change(&all, NOW));
    }

    #[test]
    fn all_collections_whose_verdict_differs_are_touched(
        rules in vec(any_rules(), 1..30),
        before in any_product(),
        after in any_product(),
        other in any_rules(),
    ) {
        let mut set = set_of(&rules);
        // Predicate numbers are reused.
        set.insert(id(0), &other);
        set.insert(id(0), &rules[0]);
        // The same product with some fields changed.
        let mut near = before.clone();
        near.title.clone_from(&after.title);
        near.details.prices.clone_from(&after.details.prices);
        let facts = [&before, &after, &near].map(|product| Facts::of(product, NOW));
        // And the unchanged product at a later time.
        let later = Facts::of(&before, Timestamp::from_micros(5));
        let states = [&facts[0], &facts[1], &facts[2], &later].map(Some);
        let states = [&[None][..], &states].concat();
        for (old, new) in states.iter().flat_map(|old| states.iter().map(|new| (*old, *new))) {
            let touched: BTreeSet<_> = set.touched(old, new).into_iter().collect();
            for (number, rules) in rules.iter().enumerate() {
                let matches = |facts: Option<&Facts>| {
                    facts.is_some_and(|facts| set.matches(&id(number), facts))
                };
                let differs = matches(old) != matches(new);
                prop_assert!(!differs || touched.contains(&id(number)), "{:?}", rules);
            }
        }
    }

    #[test]
    fn validation_rejects_only_rules_that_no_product_matches(
        conditions in vec(any_condition(), 2..5),
        product in any_product(),
    ) {
        let rules = Rules { root: Rule::Group(Group::of_one_row(Combinator::All, conditions)) };
        let mut violations = Violations::default();
        rules.check(&Limits::default(), &mut violations);
        if violations.finish().is_err() {
            prop_assert!(!reference::matches(&rules, &product, NOW));
        }
    }

    #[test]
    fn rules_with_a_warning_match_every_product(
        conditions in vec(any_condition(), 2..5),
        product in any_product(),
    ) {
        let rules = Rules { root: Rule::Group(Group::of_one_row(Combinator::Any, conditions)) };
        if !rules.warnings().is_empty() {
            prop_assert!(reference::matches(&rules, &product, NOW));
        }
    }

    #[test]
    fn no_verdict_changes_before_the_next_change_time(
        rules in vec(any_rules(), 1..8),
        product in any_product(),
    ) {
        let set = set_of(&rules);
        let at = |micros| Facts::of(&product, Timestamp::from_micros(micros));
        let verdicts = |micros| {
            let facts = at(micros);
            let ids = 0..rules.len();
            ids.map(|number| set.matches(&id(number), &facts)).collect::<Vec<_>>()
        };
        // The sum of any generated time and age is less than that.
        for now in -2..14 {
            let next = set.next_change(&at(now), Timestamp::from_micros(now));
            let next = next.map_or(14, Timestamp::micros);
            prop_assert!(next > now);
            for later in now..next {
                prop_assert_eq!(verdicts(later), verdicts(now));
            }
        }
    }
}

/// The rules and products of a shop: types, vendors, tags, prices, stock.
mod shop {
    use super::*;

    fn condition(field: &str, operator: Operator, operand: Operand) -> Rule {
        Rule::Condition(Condition {
            field: Field::from_name(field).unwrap(),
            operator,
            operands: vec![operand],
        })
    }

    fn text(field: &str, operator: Operator, text: String) -> Rule {
        condition(field, operator, Operand::Text(text))
    }

    fn number(field: &str, operator: Operator, number: usize) -> Rule {
        condition(field, operator, Operand::Decimal(number.to_string()))
    }

    /// One to three conditions, of which the first is the theme of the collection.
    pub(super) fn rules(n: usize) -> Rules {
        let theme = n / 5;
        let theme = match n % 5 {
            0 => text("type", Operator::Equals, format!("type {}", theme % 60)),
            1 => text(
                "vendor",
                Operator::Equals,
                format!("vendor {}", theme % 200),
            ),
            2 => text("tag", Operator::Equals, format!("tag {}", theme % 300)),
            3 => text("title", Operator::Contains, format!("word{} ", theme % 400)),
            _ => text(
                "attributes.color",
                Operator::Equals,
                format!("color {}", theme % 100),
            ),
        };
        let mut rules = vec![theme];
        if n.is_multiple_of(2) {
            rules.push(number("price", Operator::LessThan, n * 7 % 500));
        }
        if n.is_multiple_of(3) {
            rules.push(number("inventory", Operator::GreaterThan, n % 4));
        }
        if n.is_multiple_of(7) {
            rules.push(text(
                "title",
                Operator::NotContains,
                format!("word{} ", n % 11),
            ));
        }
        let root = Rule::Group(Group {
            combinator: Combinator::All,
            same_row: n.is_multiple_of(4),
            rules,
        });
        Rules { root }
    }

    pub(super) fn product(n: usize) -> Product {
        let decimal = |n: usize| Decimal::parse(&n.to_string()).unwrap();
        let price = |k: usize| Price {
            id: k.to_string(),
            variant_id: String::new(),
            title: format!("size {k}"),
            amount: decimal(n * 13 % 490 + k),
            currency: "EUR".into(),
            compare_at: None,
            inventory: Some(decimal(n % 5 + k)),
        };
        let tags = [n, n * 3 + 1, n * 5 + 2].map(|n| format!("tag {}", n % 300));
        let color = Json(format!("\"color {}\"", n % 100));
        Product {
            id: ProductId::trusted(n.to_string()),
            title: format!("word{} word{} ", n % 400, n * 7 % 400),
            slug: format!("slug-{n}"),
            product_type: format!("type {}", n % 60),
            attributes: [("color".to_owned(), color)].into(),
            details: Details {
                vendor: format!("vendor {}", n % 200),
                status: "active".into(),
                tags: tags.into(),
                prices: (0..3).map(price).collect(),
                ..Details::default()
            },
            create_time: Timestamp::from_micros(0),
            update_time: Timestamp::from_micros(0),
        }
    }
}

#[test]
fn a_product_change_touches_few_collections_in_vain() {
    const RULES: usize = 2_000;
    let rules: Vec<_> = (0..RULES).map(shop::rules).collect();
    let set = set_of(&rules);
    let in_vain = |old: Option<&Facts>, new: Option<&Facts>| {
        let matches = |id, facts: Option<&Facts>| facts.is_some_and(|it| set.matches(id, it));
        let touched = set.touched(old, new);
        touched
            .iter()
            .filter(|id| matches(id, old) == matches(id, new))
            .count()
    };
    for n in 0..50 {
        let product = shop::product(n * 37);
        let other = shop::product(n * 41 + 11);
        let facts = Facts::of(&product, NOW);
        let new = in_vain(None, Some(&facts));
        assert!(new <= RULES * 5 / 100, "{new} for a new product");
        let changes: [fn(&mut Product, Product); 6] = [
            |product, other| product.title = other.title,
            |product, other| product.product_type = other.product_type,
            |product, other| product.details.vendor = other.details.vendor,
            |product, other| product.details.tags = other.details.tags,
            |product, other| {
                let amount = &other.details.prices[0].amount;
                product.details.prices[1].amount.clone_from(amount);
            },
            |product, other| product.attributes = other.attributes,
        ];
        for (field, change) in changes.into_iter().enumerate() {
            let mut changed = product.clone();
            change(&mut changed, other.clone());
            let changed = in_vain(Some(&facts), Some(&Facts::of(&changed, NOW)));
            assert!(changed <= RULES / 100, "{changed} for field {field}");
        }
        assert_eq!(set.touched(Some(&facts), Some(&facts)), []);
    }
}

fn membership(operator: Operator, ids: &[&str]) -> Rules {
    let operands = ids.iter().map(|id| Operand::Text((*id).into()));
    let root = Rule::Condition(Condition {
        field: Field::Collection,
        operator,
        operands: operands.collect(),
    });
    Rules { root }
}

#[test]
fn membership_is_a_fact_that_is_compared_by_id() {
    let one = CollectionId::trusted;
    let set = RuleSet::new([
        (one("in"), membership(Operator::In, &["A", "B"])),
        (one("out"), membership(Operator::NotIn, &["A"])),
    ]);
    let mut facts = Facts::of(&shop::product(1), NOW);
    let matching = |facts: &Facts| ["in", "out"].map(|id| set.matches(&one(id), facts));
    assert_eq!(matching(&facts), [false, true]);
    let before = facts.clone();
    // Ids are case-sensitive.
    facts.set_member(&one("a"), true);
    assert_eq!(matching(&facts), [false, true]);
    facts.set_member(&one("A"), true);
    assert_eq!(matching(&facts), [true, false]);
    let touched = set.touched(Some(&before), Some(&facts));
    assert_eq!(touched, [one("in"), one("out")]);
    facts.set_member(&one("a"), false);
    facts.set_member(&one("A"), false);
    assert_eq!(facts, before);
    assert_eq!(set.named(), BTreeSet::from([one("A"), one("B")]));
    let references = set.references();
    assert_eq!(references.naming(&one("B")), BTreeSet::from([one("in")]));
}

#[test]
fn chains_are_measured_and_cycles_are_detected() {
    let link = |from: usize, to: usize| (id(from), membership(Operator::In, &[id(to).as_str()]));
    let mut references = RuleSet::new((0..8).map(|n| link(n, n + 1))).references();
    let chains = |references: &References, of: usize| -> Vec<_> {
        let chains = references.chains(&id(of));
        let chains = chains.into_iter();
        chains.map(|(to, length)| (to.clone(), length)).collect()
    };
    for n in 0..8 {
        assert_eq!(chains(&references, n), [(id(n + 1), Some(8))]);
    }
    assert_eq!(chains(&references, 8), []);
    let (last, circle) = link(8, 3);
    references.put(&last, &circle);
    assert_eq!(chains(&references, 8), [(id(3), None)]);
    // One that is not in the cycle, but leads into it.
    references.extend([(id(5), id(20))]);
    assert_eq!(chains(&references, 20), [(id(5), None)]);
    // One that does not lead into it, of a collection that is in it.
    references.extend([(id(9), id(8))]);
    assert_eq!(chains(&references, 8), [(id(3), None), (id(9), Some(1))]);
    references.put(&last, &link(8, 9).1);
    assert_eq!(chains(&references, 8), [(id(9), Some(9))]);
    // Two paths of different lengths.
    references.extend([(id(9), id(0))]);
    assert_eq!(chains(&references, 0), [(id(1), Some(9)), (id(9), Some(1))]);
    // One to itself, one that leads to it, and one to which it leads.
    references.extend([(id(30), id(30)), (id(30), id(31)), (id(31), id(32))]);
    assert_eq!(chains(&references, 30), [(id(30), None)]);
    assert_eq!(chains(&references, 32), [(id(31), None)]);
    references.extend([(id(33), id(30)), (id(34), id(33))]);
    assert_eq!(chains(&references, 33), [(id(34), None)]);
}

#[test]
fn removed_collections_leave_no_predicates_behind() {
    let rules: Vec<_> = (0..300).map(shop::rules).collect();
    let mut set = set_of(&rules);
    let facts = Facts::of(&shop::product(0), NOW);
    assert!(!set.touched(None, Some(&facts)).is_empty() && set.len() == 300);
    for (number, rules) in rules.iter().rev().enumerate() {
        set.insert(id(number), rules);
    }
    for number in 0..300 {
        set.remove(&id(number));
    }
    set.remove(&id(0));
    assert!(set.is_empty());
    assert_eq!(set.touched(None, Some(&facts)), []);
    assert_eq!(set.predicates(), 0);
}

#[test]
fn an_explanation_has_the_values_that_each_condition_saw() {
    let product = shop::product(2);
    let facts = Facts::of(&product, NOW);
    let row = Group::of_one_row(
        Combinator::All,
        vec![
            Condition {
                field: Field::Price,
                operator: Operator::GreaterThan,
                operands: vec![Operand::Decimal("26".into())],
            },
            Condition {
                field: Field::VariantTitle,
                operator: Operator::Equals,
                operands: vec![Operand::Text("SIZE 9".into())],
            },
        ],
    );
    let rules = |group: Group| Rules {
        root: Rule::Group(group),
    };
    let seen = |explanation: &Explanation| match &explanation.rule {
        Explained::Group { row, rules, .. } => {
            let seen = rules.iter().map(|rule| match &rule.rule {
                Explained::Condition { values, .. } => (rule.holds, values.join(", ")),
                Explained::Group { .. } => panic!("it is a condition"),
            });
            (*row, seen.collect::<Vec<_>>())
        }
        Explained::Condition { .. } => panic!("it is a group"),
    };
    let shown = |pairs: &[(bool, &str)]| {
        let pairs = pairs.iter();
        pairs
            .map(|(holds, values)| (*holds, (*values).to_owned()))
            .collect::<Vec<_>>()
    };
    let explanation = explain(&rules(row.clone()), &facts);
    assert!(!explanation.holds);
    assert_eq!(
        seen(&explanation),
        (Some(0), shown(&[(false, "26"), (false, "size 0")]))
    );
    let any = Group {
        same_row: false,
        ..row.clone()
    };
    let explanation = explain(&rules(any), &facts);
    let all = [(true, "26, 27, 28"), (false, "size 0, size 1, size 2")];
    assert_eq!(seen(&explanation), (None, shown(&all)));
    let one = Group {
        combinator: Combinator::Any,
        ..row
    };
    let explanation = explain(&rules(one), &facts);
    assert!(explanation.holds);
    assert_eq!(
        seen(&explanation),
        (Some(1), shown(&[(true, "27"), (false, "size 1")]))
    );
}
