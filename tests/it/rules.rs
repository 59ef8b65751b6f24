//! Property tests of smart collections against a reference that evaluates rules for all products.
//! After every step, the lists must match the rules, includes, excludes, pins and sorts.

mod next_lists;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use endcap::{
    app,
    config::{Config, Flags},
    domain::{
        Caller, Change, Changes, ChildId, ChildType, Collection, CollectionId, Combinator,
        Condition, Decimal, DetailsChanges, Draft, EntryCounts, EntryKind, Error, Field, Group,
        Kind, Locale, MapChange, Mutation, Operand, Operator, Position, Price, ProductChanges,
        ProductId, Reason, Rule, RuleEntry, Rules, RulesState, Sort, SortBy, TenantId, TextField,
        Timestamp,
    },
    service::{
        AssignProducts, Assignment, ChangeKind, ChangeRuleEntries, ChildMutation, Command,
        CreateCollection, DeleteCollection, DeleteProducts, Executed, Expected, Include,
        ListRuleEntries, Listing, Parents, ProductUpsert, Service, UpdateCollection,
        UpsertProducts,
    },
    store::{
        Engine::{self, Postgres, Sqlite},
        Store, Tx, check,
        children::Children,
        collections,
    },
};
use futures::future::join_all;
use proptest::{
    prelude::*,
    sample::select,
    test_runner::{TestCaseError, TestRunner},
};
use rstest::rstest;
use sea_orm::{ConnectionTrait as _, Statement};

use crate::harness::{self, rule_entries};

/// In seconds.
const DAY: u64 = 86_400;

/// A product, as far as the reference needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Item {
    kind: u8,
    tags: BTreeSet<u8>,
    price: Option<i64>,
    stock: Option<i64>,
    title: u8,
    /// How many days ago it was created.
    age: Option<u8>,
}

/// The rules of the test.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Kind(u8),
    NotKind(u8),
    Tag(u8),
    Below(i64),
    Either(u8, i64),
    Both(u8, i64),
    /// In days.
    Newer(u8),
    Older(u8),
    /// Collections.
    In(u8),
    NotIn(u8),
}

/// The products of collections, as sets.
type Sets = BTreeMap<u8, BTreeSet<String>>;

impl Test {
    /// The collection that it refers to.
    fn named(&self) -> Option<u8> {
        if let Self::In(number) | Self::NotIn(number) = self {
            Some(*number)
        } else {
            None
        }
    }

    fn matches(&self, id: &str, item: &Item, sets: &Sets) -> bool {
        let is_in = |number| sets.get(&number).is_some_and(|set| set.contains(id));
        let below = |most: i64| item.price.is_some_and(|price| price < most);
        match *self {
            Self::Kind(kind) => item.kind == kind,
            Self::NotKind(kind) => item.kind != kind,
            Self::Tag(tag) => item.tags.contains(&tag),
            Self::Below(most) => below(most),
            Self::Either(tag, most) => item.tags.contains(&tag) || below(most),
            Self::Both(tag, most) => item.tags.contains(&tag) && below(most),
            Self::Newer(days) => item.age.is_some_and(|age| age < days),
            Self::Older(days) => item.age.is_some_and(|age| age >= days),
            Self::In(number) => is_in(number),
            Self::NotIn(number) => !is_in(number),
        }
    }

    fn rules(&self) -> Rules {
        let condition = |field, operator, operand| {
            Rule::Condition(Condition {
                field,
                operator,
                operands: vec![operand],
            })
        };
        let kind = |operator, kind: u8| {
            condition(Field::Type, operator, Operand::Text(format!("k{kind}")))
        };
        let tag = |tag: u8| {
            condition(
                Field::Tag,
                Operator::Equals,
                Operand::Text(format!("T{tag}")),
            )
        };
        let below = |most: i64| {
            condition(
                Field::Price,
                Operator::LessThan,
                Operand::Decimal(most.to_string()),
            )
        };
        let age = |operator, days: u8| {
            let age = Duration::from_secs(u64::from(days) * DAY);
            condition(Field::Created, operator, Operand::Duration(age))
        };
        let member = |operator, number| {
            let id = collection_id(number).to_string();
            condition(Field::Collection, operator, Operand::Text(id))
        };
        let group = |combinator, rules| {
            Rule::Group(Group {
                combinator,
                same_row: false,
                rules,
            })
        };
        let root = match *self {
            Self::Kind(it) => kind(Operator::Equals, it),
            Self::NotKind(it) => kind(Operator::NotEquals, it),
            Self::Tag(it) => tag(it),
            Self::Below(it) => below(it),
            Self::Either(a, b) => group(Combinator::Any, vec![tag(a), below(b)]),
            Self::Both(a, b) => group(Combinator::All, vec![tag(a), below(b)]),
            Self::Newer(days) => age(Operator::NewerThan, days),
            Self::Older(days) => age(Operator::OlderThan, days),
            Self::In(number) => member(Operator::In, number),
            Self::NotIn(number) => member(Operator::NotIn, number),
        };
        Rules { root }
    }
}

/// A collection, as far as the reference needs it. Manual without a test.
#[derive(Clone, Debug, Default)]
struct Model {
    test: Option<Test>,
    /// What the list follows: not yet `test` while a job evaluates it.
    followed: Option<Test>,
    sort: Option<Sort>,
    includes: BTreeSet<String>,
    /// The included products that were deleted, and not registered since.
    absent: BTreeSet<String>,
    excludes: BTreeSet<String>,
    pins: BTreeMap<String, u64>,
    list: Vec<String>,
}

impl Model {
    /// Its products, given those of other collections.
    fn base(&self, items: &BTreeMap<String, Item>, sets: &Sets) -> BTreeSet<String> {
        let Some(test) = &self.test else {
            return self.list.iter().cloned().collect();
        };
        let matching = items
            .iter()
            .filter(|(id, item)| test.matches(id, item, sets));
        let mut base: BTreeSet<String> = matching.map(|(id, _)| id.clone()).collect();
        base.extend(self.includes.difference(&self.absent).cloned());
        base.retain(|id| !self.excludes.contains(id));
        base
    }

    /// The reference: updates the list to what it must be.
    fn settle(&mut self, items: &BTreeMap<String, Item>, sets: &Sets) {
        if self.test.is_none() {
            return;
        }
        let base = self.base(items, sets);
        let pinned = |id: &String| self.pins.contains_key(id) && base.contains(id);
        let mut rest: Vec<String> = match &self.sort {
            Some(_) => base.iter().cloned().collect(),
            None => {
                let stay = self.list.iter().filter(|id| base.contains(*id));
                let join = base.iter().filter(|id| !self.list.contains(id));
                stay.chain(join).cloned().collect()
            }
        };
        rest.retain(|id| !pinned(id));
        if let Some(sort) = &self.sort {
            // A stable sort: ties stay in the order of their ids.
            rest.sort_by(|a, b| order(sort, items.get(a), items.get(b)));
        }
        let mut pins: Vec<_> = self.pins.iter().filter(|(id, _)| pinned(id)).collect();
        pins.sort_by_key(|(_, index)| **index);
        for (id, index) in pins {
            rest.insert((*index as usize).min(rest.len()), id.clone());
        }
        self.list = rest;
    }
}

fn order(sort: &Sort, a: Option<&Item>, b: Option<&Item>) -> std::cmp::Ordering {
    let is_out = |item: Option<&Item>| {
        let stock = item.and_then(|item| item.stock);
        sort.out_of_stock_last && stock.is_some_and(|stock| stock <= 0)
    };
    let value = |item: &Item| match sort.by {
        SortBy::Title => Some(i64::from(item.title)),
        SortBy::Price { .. } => item.price,
        SortBy::Inventory => item.stock,
        SortBy::Created | SortBy::Attribute(_) => None,
    };
    let values = (a.and_then(value), b.and_then(value));
    let by_value = match values {
        (Some(a), Some(b)) if sort.descending => b.cmp(&a),
        (Some(a), Some(b)) => a.cmp(&b),
        (a, b) => b.is_some().cmp(&a.is_some()),
    };
    is_out(a).cmp(&is_out(b)).then(by_value)
}

#[derive(Clone, Debug)]
enum Step {
    Put(Vec<(u8, Item)>),
    Delete(Vec<u8>),
    Rules(u8, Test),
    /// Writes the rules and the sort order together.
    RulesAndSort(u8, Test, Option<Sort>),
    Sort(u8, Option<Sort>),
    Name {
        collection: u8,
        kind: EntryKind,
        add: Vec<(u8, u64)>,
        remove: Vec<u8>,
        replace: bool,
    },
    /// From one position to another, both modulo the length.
    Move(u8, usize, usize, usize),
    Kind(u8, Option<Test>, bool),
    DeleteCollection(u8),
    /// Creates a manual collection, if there is none.
    Manual(u8),
    /// For a manual collection: the products to append, those to remove, and whether the list is
    /// replaced instead.
    List(u8, Vec<u8>, Vec<u8>, bool),
}

fn any_item() -> impl Strategy<Value = Item> {
    (
        0u8..3,
        prop::collection::btree_set(0u8..4, 0..3),
        prop::option::of(-2i64..12),
        prop::option::of(-1i64..3),
        0u8..5,
        prop::option::of(0u8..5),
    )
        .prop_map(|(kind, tags, price, stock, title, age)| Item {
            kind,
            tags,
            price,
            stock,
            title,
            age,
        })
}

fn any_test() -> impl Strategy<Value = Test> {
    prop_oneof![
        1 => (0u8..3).prop_map(Test::Kind),
        1 => (0u8..3).prop_map(Test::NotKind),
        1 => (0u8..4).prop_map(Test::Tag),
        1 => (-1i64..12).prop_map(Test::Below),
        1 => (0u8..4, -1i64..12).prop_map(|(a, b)| Test::Either(a, b)),
        1 => (0u8..4, -1i64..12).prop_map(|(a, b)| Test::Both(a, b)),
        1 => (0u8..5).prop_map(Test::Newer),
        1 => (0u8..5).prop_map(Test::Older),
        2 => (0..COLLECTIONS).prop_map(Test::In),
        2 => (0..COLLECTIONS).prop_map(Test::NotIn),
    ]
}

fn any_sort() -> impl Strategy<Value = Sort> {
    let price = SortBy::Price {
        currency: "EUR".into(),
    };
    let by = select(vec![SortBy::Title, price, SortBy::Inventory]);
    (by, any::<bool>(), any::<bool>()).prop_map(|(by, descending, out_of_stock_last)| Sort {
        by,
        descending,
        out_of_stock_last,
    })
}

const PRODUCTS: u8 = 24;
const COLLECTIONS: u8 = 4;

fn any_step() -> impl Strategy<Value = Step> {
    let collection = || 0..COLLECTIONS;
    let product = || 0..PRODUCTS;
    let products = move || prop::collection::vec(product(), 0..4);
    let kind = select(&EntryKind::ALL[..]);
    let add = prop::collection::vec((product(), 0u64..12), 0..4);
    prop_oneof![
        8 => prop::collection::vec((product(), any_item()), 1..6).prop_map(Step::Put),
        2 => prop::collection::vec(product(), 1..4).prop_map(Step::Delete),
        3 => (collection(), any_test()).prop_map(|(c, test)| Step::Rules(c, test)),
        2 => (collection(), prop::option::of(any_sort())).prop_map(|(c, sort)| Step::Sort(c, sort)),
        2 => (collection(), any_test(), prop::option::of(any_sort()))
            .prop_map(|(c, test, sort)| Step::RulesAndSort(c, test, sort)),
        5 => (collection(), kind, add, products(), any::<bool>()).prop_map(
            |(collection, kind, add, remove, replace)| Step::Name {
                collection, kind, add, remove, replace
            }
        ),
        3 => (collection(), any::<usize>(), any::<usize>(), any::<usize>())
            .prop_map(|(c, first, last, to)| Step::Move(c, first, last, to)),
        1 => (collection(), prop::option::of(any_test()), any::<bool>())
            .prop_map(|(c, test, keep)| Step::Kind(c, test, keep)),
        1 => collection().prop_map(Step::DeleteCollection),
        1 => collection().prop_map(Step::Manual),
        4 => (collection(), products(), products(), any::<bool>())
            .prop_map(|(c, add, remove, replace)| Step::List(c, add, remove, replace)),
    ]
}

fn product_id(number: u8) -> ProductId {
    ProductId::trusted(format!("p{number:02}"))
}

fn collection_id(number: u8) -> CollectionId {
    CollectionId::trusted(format!("c{number}"))
}

/// The time this many and a half days ago, so that no result changes while a test runs.
fn days_ago(days: u8) -> Timestamp {
    let ago = (u64::from(days) * DAY + DAY / 2) * 1_000_000;
    Timestamp::from_micros(Timestamp::now().micros() - i64::try_from(ago).unwrap())
}

fn upsert(id: ProductId, item: &Item) -> ProductUpsert {
    let number = |number: i64| Decimal::parse(&number.to_string()).unwrap();
    let price = item.price.map(|amount| Price {
        id: "only".into(),
        variant_id: String::new(),
        title: String::new(),
        amount: number(amount),
        currency: "EUR".into(),
        compare_at: None,
        inventory: None,
    });
    let details = DetailsChanges {
        tags: Change::Set(item.tags.iter().map(|tag| format!("t{tag}")).collect()),
        prices: Change::Set(price.into_iter().collect()),
        inventory: Change::to(item.stock.map(number)),
        created: Change::to(item.age.map(days_ago)),
        ..DetailsChanges::default()
    };
    ProductUpsert {
        changes: ProductChanges {
            id,
            title: Change::Set(format!("Title {}", item.title)),
            slug: Change::Keep,
            product_type: Change::Set(format!("K{}", item.kind)),
            attributes: MapChange::default(),
            details,
            only_new: Vec::new(),
        },
        collections: Listing::Same,
    }
}

fn upserts(products: Vec<ProductUpsert>) -> UpsertProducts {
    UpsertProducts {
        products,
        expected: Expected::Any,
        completion: None,
        return_collections: false,
        retry: None,
    }
}

fn creation(id: CollectionId, kind: Kind) -> CreateCollection {
    let name = (Locale::trusted("en"), TextField::DisplayName);
    CreateCollection {
        draft: Draft {
            changes: Changes {
                texts: MapChange::to([(name, id.to_string())]),
                ..Changes::default()
            },
            id: Some(id),
            kind,
        },
        parents: Parents::None,
        products: Vec::new(),
        include: Include::default(),
        retry: None,
    }
}

fn update(id: CollectionId, changes: Changes) -> UpdateCollection {
    UpdateCollection {
        changes,
        ..UpdateCollection::of(id)
    }
}

/// The update of a collection by one mutation of its products.
fn mutate(id: CollectionId, mutation: Mutation) -> UpdateCollection {
    UpdateCollection {
        mutations: vec![ChildMutation {
            list: ChildType::Product,
            mutation,
        }],
        ..UpdateCollection::of(id)
    }
}

/// The state of a test.
struct World {
    service: Service,
    store: Store,
    caller: Caller,
    items: BTreeMap<String, Item>,
    models: BTreeMap<u8, Model>,
}

impl World {
    fn new(config: &Config, store: Store, tenant: &str) -> Self {
        Self {
            service: app::service(config, store.clone()),
            store,
            caller: Caller::operator(TenantId::trusted(tenant)),
            items: BTreeMap::new(),
            models: BTreeMap::new(),
        }
    }

    async fn execute<C: Command>(&self, command: C) -> Result<C::Response, Error> {
        match self.service.execute(&self.caller, command).await? {
            Executed::New(response) => Ok(response),
            Executed::Replayed(_) => panic!("no request id was given"),
        }
    }

    async fn list(&self, id: &CollectionId) -> Vec<String> {
        let tx = self.store.read(&self.caller.reading().unwrap()).await;
        let tx = tx.unwrap();
        let list = Children::uncached(&tx, id, ChildType::Product).all().await;
        list.unwrap().iter().map(ToString::to_string).collect()
    }

    async fn problems(&self, id: &CollectionId) -> Vec<check::Problem> {
        let tx = self.store.read(&self.caller.reading().unwrap()).await;
        check::problems(&tx.unwrap(), id).await.unwrap()
    }

    /// Runs the jobs for work that is too much for requests.
    async fn do_jobs(&self) {
        while self.service.do_job("test").await.unwrap() {}
    }

    /// If the step may change what a list follows, or depends on it, updates what the models know of
    /// rules that were evaluated.
    async fn recall_followed(&mut self, step: &Step) {
        if !matches!(
            step,
            Step::Rules(..) | Step::RulesAndSort(..) | Step::Sort(..) | Step::Kind(..)
        ) {
            return;
        }
        for number in self.models.keys().copied().collect::<Vec<_>>() {
            let state = self.get(&collection_id(number)).await.rules_state;
            let model = self.models.get_mut(&number).unwrap();
            if state == RulesState::Current {
                model.followed = model.test.clone();
            }
        }
    }

    async fn take(&mut self, step: &Step) {
        self.recall_followed(step).await;
        match step {
            Step::Put(items) => {
                let items: BTreeMap<_, _> = items.iter().cloned().collect();
                let products = items.iter().map(|(id, item)| upsert(product_id(*id), item));
                self.execute(upserts(products.collect())).await.unwrap();
                for (id, item) in items {
                    let id = product_id(id).to_string();
                    for model in self.models.values_mut() {
                        model.absent.remove(&id);
                    }
                    self.items.insert(id, item);
                }
            }
            Step::Delete(ids) => {
                let delete = DeleteProducts {
                    ids: ids.iter().map(|id| product_id(*id)).collect(),
                    known_only: false,
                    retry: None,
                };
                self.execute(delete).await.unwrap();
                for id in ids.iter().map(|id| product_id(*id).to_string()) {
                    self.items.remove(&id);
                    for model in self.models.values_mut() {
                        if model.includes.contains(&id) {
                            model.absent.insert(id.clone());
                        }
                        model.list.retain(|other| *other != id);
                    }
                }
            }
            Step::Rules(number, test) => self.write_rules(*number, test, None).await,
            Step::RulesAndSort(number, test, sort) => {
                self.write_rules(*number, test, Some(sort.as_ref())).await;
            }
            Step::Sort(number, sort) => self.write_sort(*number, sort.as_ref()).await,
            Step::Name {
                collection,
                kind,
                add,
                remove,
                replace,
            } => {
                self.name(*collection, *kind, add, remove, *replace).await;
            }
            Step::Move(number, first, last, to) => {
                self.move_range(*number, *first, *last, *to).await
            }
            Step::Kind(number, test, keep) => self.change_kind(*number, test.as_ref(), *keep).await,
            Step::List(number, add, remove, replace) => {
                self.change_list(*number, add, remove, *replace).await;
            }
            Step::DeleteCollection(number) => {
                if self.models.remove(number).is_some() {
                    let delete = DeleteCollection {
                        id: collection_id(*number),
                        force: true,
                        etag: None,
                        retry: None,
                    };
                    self.execute(delete).await.unwrap();
                }
            }
            Step::Manual(number) => {
                if !self.models.contains_key(number) {
                    let create = creation(collection_id(*number), Kind::Manual);
                    self.execute(create).await.unwrap();
                    self.models.insert(*number, Model::default());
                }
            }
        }
        let (items, mut sets) = (&self.items, Sets::new());
        // Enough passes for the longest chain of references between collections.
        for _ in 0..=COLLECTIONS {
            let models = self.models.iter();
            sets = models
                .map(|(number, it)| (*number, it.base(items, &sets)))
                .collect();
        }
        let models = self.models.values_mut();
        models.for_each(|it| it.settle(items, &sets));
    }

    /// Whether a collection may have this test: the collection that it refers to exists and does
    /// not depend on this one, neither by its test nor by what its list follows.
    fn may_have(&self, number: u8, test: &Test) -> bool {
        let Some(named) = test.named() else {
            return true;
        };
        if !self.models.contains_key(&named) {
            return false;
        }
        let mut all = BTreeSet::from([named]);
        for _ in 0..COLLECTIONS {
            let models = all.iter().filter_map(|number| self.models.get(number));
            let tests = models.flat_map(|it| [&it.test, &it.followed]).flatten();
            let next: Vec<_> = tests.filter_map(Test::named).collect();
            all.extend(next);
        }
        !all.contains(&number)
    }

    async fn change_list(&mut self, number: u8, add: &[u8], remove: &[u8], replace: bool) {
        let Some(model) = self.models.get_mut(&number) else {
            return;
        };
        let ids = |numbers: &[u8]| -> Vec<ChildId> {
            let ids: BTreeSet<_> = numbers.iter().map(|id| product_id(*id)).collect();
            ids.into_iter().map(ChildId::from).collect()
        };
        let (add, remove) = (ids(add), ids(remove));
        if !replace && add.is_empty() && remove.is_empty() {
            return;
        }
        let mut mutations = Vec::new();
        if replace {
            mutations.push(Mutation::Replace { ids: add.clone() });
        } else {
            if !remove.is_empty() {
                mutations.push(Mutation::remove(remove.clone()));
            }
            if !add.is_empty() {
                mutations.push(Mutation::append(add.clone()));
            }
        }
        let mutations = mutations.into_iter();
        let mutations = mutations.map(|mutation| ChildMutation {
            list: ChildType::Product,
            mutation,
        });
        let is_allowed = model.test.is_none();
        if is_allowed {
            let gone = |id: &String| replace || remove.iter().any(|it| it.as_str() == id);
            model.list.retain(|id| !gone(id));
            for id in add.iter().map(ToString::to_string) {
                if !model.list.contains(&id) {
                    model.list.push(id);
                }
            }
        }
        let update = UpdateCollection {
            mutations: mutations.collect(),
            ..UpdateCollection::of(collection_id(number))
        };
        assert_eq!(self.execute(update).await.is_ok(), is_allowed);
    }

    /// Writes rules, and a sort order if there is one.
    async fn write_rules(&mut self, number: u8, test: &Test, sort: Option<Option<&Sort>>) {
        let (id, rules) = (collection_id(number), test.rules());
        let new_sort = || sort.map_or(Change::Keep, |sort| Change::to(sort.cloned()));
        let may_have = self.may_have(number, test);
        match self.models.get(&number).map(|model| &model.test) {
            None => {
                let mut create = creation(id, Kind::Smart { rules });
                create.draft.changes.sort = new_sort();
                assert_eq!(self.execute(create).await.is_ok(), may_have);
                if !may_have {
                    return;
                }
            }
            Some(old) => {
                let changes = Changes {
                    rules: Change::Set(rules),
                    sort: new_sort(),
                    ..Changes::default()
                };
                // Rules that don't change are not checked again.
                let is_same = old.as_ref() == Some(test);
                let is_smart = old.is_some() && (may_have || is_same);
                let updated = self.execute(update(id, changes)).await;
                assert_eq!(updated.is_ok(), is_smart);
                if !is_smart {
                    return;
                }
            }
        }
        let model = self.models.entry(number).or_default();
        model.test = Some(test.clone());
        if let Some(sort) = sort {
            model.sort = sort.cloned();
        }
    }

    async fn write_sort(&mut self, number: u8, sort: Option<&Sort>) {
        let Some(model) = self.models.get(&number) else {
            return;
        };
        let is_smart = model.test.is_some();
        let changes = Changes {
            sort: Change::to(sort.cloned()),
            ..Changes::default()
        };
        let updated = self.execute(update(collection_id(number), changes)).await;
        assert_eq!(updated.is_ok(), is_smart || sort.is_none());
        if is_smart {
            self.models.get_mut(&number).unwrap().sort = sort.cloned();
        }
    }

    async fn name(
        &mut self,
        number: u8,
        kind: EntryKind,
        add: &[(u8, u64)],
        remove: &[u8],
        replace: bool,
    ) {
        let Some(model) = self.models.get(&number) else {
            return;
        };
        let add: BTreeMap<u8, u64> = add.iter().copied().collect();
        let mut after = model.clone();
        let gone =
            |id: &String| replace || remove.iter().any(|other| product_id(*other).as_str() == id);
        let ids = add.keys().map(|id| product_id(*id).to_string());
        match kind {
            EntryKind::Include => {
                after.includes.retain(|id| !gone(id));
                after.includes.extend(ids.clone());
                let added: BTreeSet<String> = ids.collect();
                after.absent.retain(|id| !gone(id) && !added.contains(id));
            }
            EntryKind::Exclude => {
                after.excludes.retain(|id| !gone(id));
                after.excludes.extend(ids);
            }
            EntryKind::Pin => {
                after.pins.retain(|id, _| !gone(id));
                after.pins.extend(ids.zip(add.values().copied()));
            }
        }
        let indexes: BTreeSet<_> = after.pins.values().collect();
        let is_excluded = |id: &String| after.excludes.contains(id);
        let is_valid = after.test.is_some()
            && indexes.len() == after.pins.len()
            && !after.includes.iter().any(is_excluded)
            && !after.pins.keys().any(is_excluded);
        let index = |index: u64| (kind == EntryKind::Pin).then_some(index);
        let change = ChangeRuleEntries {
            remove: remove.iter().map(|id| product_id(*id)).collect(),
            replace,
            ..rule_entries(
                collection_id(number),
                kind,
                add.iter()
                    .map(|(id, at)| (product_id(*id), index(*at)))
                    .collect(),
            )
        };
        let changed = self.execute(change).await;
        assert_eq!(changed.is_ok(), is_valid, "{changed:?}");
        if let Ok(changed) = changed {
            let counts = EntryCounts {
                includes: after.includes.len() as u64,
                excludes: after.excludes.len() as u64,
                pins: after.pins.len() as u64,
            };
            assert_eq!(changed.counts, counts);
            self.models.insert(number, after);
        }
    }

    async fn move_range(&mut self, number: u8, first: usize, last: usize, to: usize) {
        let Some(model) = self.models.get_mut(&number) else {
            return;
        };
        let len = model.list.len();
        if len == 0 {
            return;
        }
        let (first, last) = (first % len, last % len);
        let (first, last) = (first.min(last), first.max(last));
        let to = to % (len - (last - first));
        let mutation = Mutation::MoveRange {
            first: first as u64,
            last: last as u64,
            position: Position::Index(to as u64),
        };
        let is_allowed = model.sort.is_none();
        if is_allowed {
            let moved: Vec<_> = model.list.drain(first..=last).collect();
            model.list.splice(to..to, moved);
        }
        let update = mutate(collection_id(number), mutation);
        assert_eq!(self.execute(update).await.is_ok(), is_allowed);
    }

    async fn change_kind(&mut self, number: u8, test: Option<&Test>, keep: bool) {
        let may_have = test.is_none_or(|test| self.may_have(number, test));
        let Some(model) = self.models.get_mut(&number) else {
            return;
        };
        let is_allowed = may_have && model.test.is_some() != test.is_some();
        if is_allowed {
            let list = if keep { model.list.clone() } else { Vec::new() };
            *model = Model {
                test: test.cloned(),
                followed: model.followed.take(),
                includes: match test {
                    Some(_) => list.iter().cloned().collect(),
                    None => BTreeSet::new(),
                },
                list: match test {
                    Some(_) => std::mem::take(&mut model.list),
                    None => list,
                },
                ..Model::default()
            };
        }
        let change = ChangeKind {
            collection: collection_id(number),
            to_smart: test.map(Test::rules),
            keep_members: keep,
            etag: None,
            include: Include::default(),
            retry: None,
        };
        assert_eq!(self.execute(change).await.is_ok(), is_allowed);
    }

    /// Takes steps. After each, and its jobs, all lists are as in the models.
    async fn take_all(&mut self, steps: impl IntoIterator<Item = Step>) {
        for step in steps {
            self.take(&step).await;
            self.do_jobs().await;
            self.compare().await.unwrap();
        }
    }

    /// If the effect of the step depends on the list, updates the model of the list to the actual one.
    async fn recall(&mut self, step: &Step) {
        if let Step::Move(number, ..) | Step::Kind(number, ..) = step {
            let list = self.list(&collection_id(*number)).await;
            if let Some(model) = self.models.get_mut(number) {
                model.list = list;
            }
        }
    }

    /// Updates the models of collections that depend on others to the actual order, if the products
    /// are the same: jobs update these collections one after the other.
    async fn recall_chains(&mut self) {
        for number in self.models.keys().copied().collect::<Vec<_>>() {
            let list = self.list(&collection_id(number)).await;
            let model = self.models.get_mut(&number).unwrap();
            let is_chained = model
                .test
                .as_ref()
                .is_some_and(|test| test.named().is_some());
            let set = |list: &[String]| list.iter().cloned().collect::<BTreeSet<_>>();
            if is_chained && model.sort.is_none() && set(&list) == set(&model.list) {
                model.list = list;
            }
        }
    }

    async fn get(&self, id: &CollectionId) -> Collection {
        let tx = self.store.read(&self.caller.reading().unwrap()).await;
        let found = collections::get(&tx.unwrap(), id).await.unwrap();
        found.unwrap()
    }

    async fn compare(&self) -> Result<(), TestCaseError> {
        for (number, model) in &self.models {
            let id = collection_id(*number);
            prop_assert_eq!(&self.list(&id).await, &model.list, "{} {:?}", id, model);
            let problems = self.problems(&id).await;
            prop_assert!(problems.is_empty(), "{:?}", problems);
        }
        Ok(())
    }
}

/// Settings with which jobs do almost everything.
fn all_by_jobs() -> Flags {
    Flags {
        max_synchronous_products: Some("1".into()),
        max_synchronous_changes: Some("1".into()),
        ..Flags::default()
    }
}

/// The store of another server on the same database.
async fn second_server(engine: Engine, config: &Config, first: &Store) -> Store {
    match engine {
        // Only one process may use the file.
        Sqlite => first.clone(),
        Postgres => Store::connect(&config.database).await.unwrap(),
    }
}

/// When jobs run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Jobs {
    /// After each step.
    Always,
    /// After some steps, so that rules are written while others are evaluated.
    Sometimes,
}

#[rstest]
#[case::sqlite(Sqlite, Flags::default(), Jobs::Always, 120)]
#[case::postgres(Postgres, Flags::default(), Jobs::Always, 40)]
#[case::sqlite_by_jobs(Sqlite, all_by_jobs(), Jobs::Always, 60)]
#[case::postgres_by_jobs(Postgres, all_by_jobs(), Jobs::Always, 20)]
#[case::sqlite_by_late_jobs(Sqlite, all_by_jobs(), Jobs::Sometimes, 120)]
#[case::postgres_by_late_jobs(Postgres, all_by_jobs(), Jobs::Sometimes, 30)]
fn lists_match_the_reference_model(
    #[case] engine: Engine,
    #[case] flags: Flags,
    #[case] jobs: Jobs,
    #[case] cases: u32,
) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // Connections are returned to the pool at the end.
    let _entered = runtime.enter();
    let (config, store, _folder) = runtime.block_on(harness::migrated(engine, &flags));
    let second = runtime.block_on(second_server(engine, &config, &store));
    let by_jobs = flags.max_synchronous_products.is_some();
    let mut runner = TestRunner::new(harness::random_test(file!(), cases));
    let tenants = AtomicU64::new(0);
    let steps = prop::collection::vec((any_step(), any::<bool>(), any::<bool>()), 5..40);
    let result = runner.run(&(steps, 1usize..6), |(steps, target)| {
        let number = tenants.fetch_add(1, Ordering::Relaxed);
        let [store, second] = [&store, &second].map(|it| it.clone().with_segment_target(target));
        let mut world = World::new(&config, store, &format!("t{number}"));
        let mut other_server = app::service(&config, second);
        runtime.block_on(async {
            for number in 0..COLLECTIONS - 1 {
                let test = Test::Either(number, i64::from(number) * 4);
                world.take(&Step::Rules(number, test)).await;
            }
            for (step, do_jobs, on_other) in &steps {
                if *on_other {
                    std::mem::swap(&mut world.service, &mut other_server);
                }
                if jobs == Jobs::Always {
                    world.take(step).await;
                    world.do_jobs().await;
                    if by_jobs {
                        world.recall_chains().await;
                    }
                    world.compare().await?;
                } else {
                    world.recall(step).await;
                    world.take(step).await;
                    if *do_jobs {
                        world.do_jobs().await;
                    }
                }
            }
            world.do_jobs().await;
            // What a collection froze when it became manual depends on when jobs ran, so the model
            // can't say it.
            for number in 0..COLLECTIONS {
                let problems = world.problems(&collection_id(number)).await;
                prop_assert!(problems.is_empty(), "{:?}", problems);
            }
            Ok(())
        })
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

fn item(kind: u8, price: i64) -> Item {
    Item {
        kind,
        tags: BTreeSet::new(),
        price: Some(price),
        stock: None,
        title: 0,
        age: None,
    }
}

/// A thousand products, of which half match.
async fn thousand(config: &Config, store: Store) -> World {
    let mut world = World::new(config, store, "big");
    for chunk in 0..4u32 {
        let products = (0..250).map(|n| {
            let n = chunk * 250 + n;
            upsert(
                ProductId::trusted(format!("n{n:04}")),
                &item((n % 2) as u8, i64::from(n)),
            )
        });
        let upserts = upserts(products.collect());
        world.execute(upserts).await.unwrap();
    }
    world.items = (0..1_000u32)
        .map(|n| (format!("n{n:04}"), item((n % 2) as u8, i64::from(n))))
        .collect();
    world
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn rules_over_many_products_match_the_reference(#[values(Sqlite, Postgres)] engine: Engine) {
    let (config, store, _folder) = harness::migrated(engine, &Flags::default()).await;
    let mut world = thousand(&config, store).await;
    for (number, test) in [(0, Test::Kind(1)), (1, Test::Below(900))] {
        world.take(&Step::Rules(number, test)).await;
    }
    let sort = Sort {
        by: SortBy::Price {
            currency: "EUR".into(),
        },
        descending: true,
        out_of_stock_last: false,
    };
    world.take(&Step::Sort(1, Some(sort))).await;
    world.compare().await.unwrap();
    world.take(&Step::Rules(0, Test::NotKind(1))).await;
    world.take(&Step::Rules(1, Test::Below(899))).await;
    world.compare().await.unwrap();
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn rule_entries_over_the_limit_are_rejected(#[values(Sqlite, Postgres)] engine: Engine) {
    let one = || Some("1".to_owned());
    let low = Flags {
        max_includes: one(),
        max_excludes: one(),
        max_pins: one(),
        ..Flags::default()
    };
    let (config, store, _folder) = harness::migrated(engine, &low).await;
    let mut world = World::new(&config, store, "low");
    let put = |numbers: &[u8]| Step::Put(numbers.iter().map(|n| (*n, item(1, 1))).collect());
    world.take(&put(&[0, 1])).await;
    world.take(&Step::Rules(0, Test::Kind(1))).await;
    world.take(&put(&[2])).await;

    for kind in EntryKind::ALL {
        let index = |at: u64| (kind == EntryKind::Pin).then_some(at);
        let add = |n: u8| vec![(product_id(n), index(u64::from(n)))];
        let one = rule_entries(collection_id(0), kind, add(kind as u8 + 5));
        world.execute(one).await.unwrap();
        let more = rule_entries(collection_id(0), kind, add(9));
        let error = world.execute(more).await.unwrap_err();
        let told = error.violations[0].constraint.to_string();
        assert_eq!(told, "has 2 items; the limit is 1");
    }
}

/// Rules that are too expensive for one transaction: until a job has evaluated them, the list has
/// the products of the previous rules.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_list_keeps_the_previous_rules_until_a_job_evaluates_new_ones(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let (config, store, _folder) = harness::migrated(engine, &all_by_jobs()).await;
    let mut world = World::new(&config, store, "later");
    let id = collection_id(0);
    world.take(&Step::Put(vec![(0, item(0, 1))])).await;
    world.take(&Step::Rules(0, Test::Kind(0))).await;
    world.compare().await.unwrap();
    world
        .take(&Step::Put(vec![(1, item(1, 1)), (2, item(0, 1))]))
        .await;
    world.do_jobs().await;
    let before = world.get(&id).await;
    assert_eq!(before.rules_state, RulesState::Current);

    let rules = |kind| {
        let rules = Change::Set(Test::Kind(kind).rules());
        let changes = Changes {
            rules,
            ..Changes::default()
        };
        update(id.clone(), changes)
    };
    let tried = UpdateCollection {
        validate_only: true,
        ..rules(1)
    };
    let error = world.execute(tried).await.unwrap_err();
    assert_eq!(error.reason, Reason::EvaluationTooLarge);
    assert_eq!(error.metadata["setting"], "max_synchronous_products");
    assert_eq!(world.get(&id).await, before);

    world.execute(rules(1)).await.unwrap();
    let evaluating = world.get(&id).await;
    assert_eq!(evaluating.rules_state, RulesState::Evaluating);
    assert_ne!(evaluating.kind, before.kind);
    assert_eq!(world.list(&id).await, ["p00", "p02"]);
    // Changes in the meantime are applied to the lists of the previous and the new rules.
    for (number, kind) in [(2, 1), (3, 0), (4, 1)] {
        let put = upserts(vec![upsert(product_id(number), &item(kind, 1))]);
        world.execute(put).await.unwrap();
    }
    assert_eq!(world.list(&id).await, ["p00", "p03"]);
    assert!(world.problems(&id).await.is_empty());
    let include = rule_entries(id.clone(), EntryKind::Include, vec![(product_id(9), None)]);
    world.execute(include).await.unwrap();
    assert_eq!(world.list(&id).await, ["p00", "p03", "p09"]);

    world.do_jobs().await;
    let after = world.get(&id).await;
    assert_eq!(after.rules_state, RulesState::Current);
    assert!(after.version > evaluating.version);
    assert_eq!(world.list(&id).await, ["p09", "p01", "p02", "p04"]);

    // A collection that is deleted while its rules are evaluated leaves nothing behind.
    world.execute(rules(0)).await.unwrap();
    world.take(&Step::DeleteCollection(0)).await;
    world.do_jobs().await;
    world.take(&Step::Rules(0, Test::Below(100))).await;
    world.do_jobs().await;
    assert_eq!(world.list(&id).await.len(), 5);
    assert!(world.problems(&id).await.is_empty());
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn rule_entries_are_paged_and_invalid_ones_are_rejected(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let (config, store, _folder) = harness::migrated(engine, &Flags::default()).await;
    let mut world = World::new(&config, store, "pages");
    world.take(&Step::Rules(0, Test::Kind(1))).await;
    let id = collection_id(0);
    let pins = [(3, 0), (1, 7), (2, 10)];
    let add = pins.map(|(n, at)| (product_id(n), Some(at)));
    let pin = rule_entries(id.clone(), EntryKind::Pin, add.into());
    world.execute(pin).await.unwrap();
    let mut token = None;
    let mut found = Vec::new();
    loop {
        let list = ListRuleEntries {
            collection: id.clone(),
            kind: EntryKind::Pin,
            token,
            size: 2,
        };
        let page = world.service.list_rule_entries(&world.caller, list).await;
        let page = page.unwrap();
        found.extend(page.entries);
        token = page.next;
        if token.is_none() {
            break;
        }
    }
    let expected = pins.map(|(n, at)| RuleEntry {
        product: product_id(n),
        index: Some(at),
    });
    assert_eq!(found, expected);

    let refused = async |kind, add: Vec<(ProductId, Option<u64>)>| {
        let error = world.execute(rule_entries(id.clone(), kind, add)).await;
        let violation = error.unwrap_err().violations.swap_remove(0);
        violation.constraint.to_string()
    };
    let told = refused(EntryKind::Pin, vec![(product_id(4), Some(7))]).await;
    assert!(
        told.contains("another product is pinned to that index"),
        "{told}"
    );
    let told = refused(EntryKind::Pin, vec![(product_id(4), None)]).await;
    assert_eq!(told, "is required");
    let told = refused(EntryKind::Exclude, vec![(product_id(3), None)]).await;
    assert!(
        told.contains("both excluded and included or pinned"),
        "{told}"
    );
    let told = refused(EntryKind::Include, vec![(product_id(3), Some(1))]).await;
    assert!(told.contains("only pins have one"), "{told}");

    // A pinned product can't be moved.
    world
        .take(&Step::Put(vec![(3, item(1, 1)), (4, item(1, 1))]))
        .await;
    let children = [ChildId::trusted("p03")];
    let update = UpdateCollection {
        mutations: vec![ChildMutation {
            list: ChildType::Product,
            mutation: Mutation::MoveIds {
                ids: children.into(),
                position: Position::Index(1),
            },
        }],
        ..UpdateCollection::of(id)
    };
    let error = world.execute(update).await.unwrap_err();
    assert_eq!(error.reason, Reason::KindMismatch);
}

/// A job removes products that are in more lists than one request changes.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn pins_keep_their_index_when_a_job_removes_products(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let flags = Flags {
        max_lists_at_once: Some("1".into()),
        ..Flags::default()
    };
    let (config, store, _folder) = harness::migrated(engine, &flags).await;
    let mut world = World::new(&config, store, "jobs");
    let items = (0..6).map(|n| (n, item(1, 1)));
    world.take(&Step::Put(items.collect())).await;
    for number in 0..3 {
        world.take(&Step::Rules(number, Test::Kind(1))).await;
        let name = Step::Name {
            collection: number,
            kind: EntryKind::Pin,
            add: vec![(5, 1), (4, 3)],
            remove: Vec::new(),
            replace: false,
        };
        world.take(&name).await;
    }
    world.compare().await.unwrap();
    world.take(&Step::Delete(vec![0, 5])).await;
    let done = async {
        while world.compare().await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let ready = || std::future::ready(());
    tokio::select! {
        () = world.service.do_jobs("test", ready) => {}
        done = tokio::time::timeout(Duration::from_secs(30), done) => done.unwrap(),
    }
}

/// A product stays where it is without its pin, and the other pins are put in after that.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn other_pins_return_to_their_indexes_when_a_pin_is_removed(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let (config, store, _folder) = harness::migrated(engine, &Flags::default()).await;
    let world = World::new(&config, store, "t");
    let put = (0..6).map(|n| upsert(product_id(n), &item(1, 1)));
    world.execute(upserts(put.collect())).await.unwrap();
    let id = collection_id(0);
    let rules = Test::Kind(1).rules();
    let smart = creation(id.clone(), Kind::Smart { rules });
    world.execute(smart).await.unwrap();
    let beyond = vec![(product_id(0), Some(100)), (product_id(1), Some(200))];
    let pin = rule_entries(id.clone(), EntryKind::Pin, beyond);
    world.execute(pin).await.unwrap();
    assert_eq!(world.list(&id).await[4..], ["p00", "p01"]);
    let unpin = ChangeRuleEntries {
        remove: vec![product_id(1)],
        ..rule_entries(id.clone(), EntryKind::Pin, Vec::new())
    };
    world.execute(unpin).await.unwrap();
    assert_eq!(world.list(&id).await[4..], ["p01", "p00"]);
    let problems = world.problems(&id).await;
    assert!(problems.is_empty(), "{problems:?}");
}

/// A deleted product is in no list, and its entries apply again once it is registered again.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn rule_entries_outlive_their_products(
    #[values(Sqlite, Postgres)] engine: Engine,
    #[values(true, false)] at_once: bool,
) {
    let flags = Flags {
        max_lists_at_once: (!at_once).then(|| "1".into()),
        ..Flags::default()
    };
    let (config, store, _folder) = harness::migrated(engine, &flags).await;
    let mut world = World::new(&config, store, "back");
    world
        .take(&Step::Put((0..4).map(|n| (n, item(1, 1))).collect()))
        .await;
    for number in 0..2 {
        world.take(&Step::Rules(number, Test::Kind(1))).await;
    }
    let price = SortBy::Price {
        currency: "EUR".into(),
    };
    let sort = Sort {
        by: price,
        descending: false,
        out_of_stock_last: false,
    };
    world.take(&Step::Sort(1, Some(sort))).await;
    let name = |kind, add: &[(u8, u64)]| Step::Name {
        collection: 0,
        kind,
        add: add.into(),
        remove: Vec::new(),
        replace: false,
    };
    // One that does not match, one that is not registered, one excluded, one pinned to the front.
    world.take(&Step::Put(vec![(4, item(2, 9))])).await;
    world
        .take(&name(EntryKind::Include, &[(4, 0), (9, 0)]))
        .await;
    let include = Step::Name {
        collection: 1,
        kind: EntryKind::Include,
        add: vec![(4, 0)],
        remove: Vec::new(),
        replace: false,
    };
    world.take(&include).await;
    world.take(&name(EntryKind::Exclude, &[(0, 0)])).await;
    world.take(&name(EntryKind::Pin, &[(3, 0)])).await;
    world.compare().await.unwrap();
    let before = [0, 1].map(|n| world.models[&n].list.clone());
    assert_eq!(before[0], ["p03", "p01", "p02", "p04", "p09"]);
    assert_eq!(before[1], ["p00", "p01", "p02", "p03", "p04"]);

    world.take(&Step::Delete(vec![0, 3, 4, 9])).await;
    let done = async {
        let ids = [0, 1].map(collection_id);
        let left = ["p01", "p02"];
        while world.list(&ids[0]).await != left || world.list(&ids[1]).await != left {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // Wait for the last step of the job, which changes no list.
        while world
            .execute(upserts(vec![upsert(product_id(8), &item(0, 1))]))
            .await
            .is_err()
            || world
                .execute(upserts(vec![upsert(product_id(9), &item(0, 1))]))
                .await
                .is_err()
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let ready = || std::future::ready(());
    tokio::select! {
        () = world.service.do_jobs("test", ready) => {}
        done = tokio::time::timeout(Duration::from_secs(30), done) => done.unwrap(),
    }
    world.items.insert("p08".into(), item(0, 1));
    world.take(&Step::Put(vec![(9, item(0, 1))])).await;
    world.compare().await.unwrap();
    assert_eq!(world.models[&0].list, ["p01", "p02", "p09"]);

    world
        .take(&Step::Put(vec![
            (0, item(1, 1)),
            (3, item(1, 1)),
            (4, item(2, 9)),
        ]))
        .await;
    world.compare().await.unwrap();
    assert_eq!(world.models[&0].list, ["p03", "p01", "p02", "p09", "p04"]);
    assert_eq!(world.models[&1].list, before[1]);

    // Included again, it is in the list whether it is registered or not, and whether or not a job
    // is still removing it from lists.
    world.take(&Step::Delete(vec![4])).await;
    world.take(&name(EntryKind::Include, &[(4, 0)])).await;
    world.do_jobs().await;
    world.compare().await.unwrap();
    assert!(world.models[&0].list.contains(&"p04".to_owned()));
    assert!(!world.models[&1].list.contains(&"p04".to_owned()));
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn products_that_move_stay_in_smart_collections(#[values(Sqlite, Postgres)] engine: Engine) {
    let (config, store, _folder) = harness::migrated(engine, &Flags::default()).await;
    let mut world = World::new(&config, store, "moves");
    world.take(&Step::Put(vec![(0, item(1, 1))])).await;
    world.take(&Step::Rules(0, Test::Kind(1))).await;
    let manual = ["from", "to"].map(CollectionId::trusted);
    for id in manual.clone() {
        let create = creation(id, Kind::Manual);
        world.execute(create).await.unwrap();
    }
    let assign = |to: &CollectionId, assignment| AssignProducts {
        products: vec![product_id(0)],
        collections: vec![to.clone()],
        assignment,
        return_products: false,
        retry: None,
    };
    let link = assign(&manual[0], Assignment::Link);
    world.execute(link).await.unwrap();
    let move_all = assign(&manual[1], Assignment::Move { from: None });
    world.execute(move_all).await.unwrap();
    assert!(world.list(&manual[0]).await.is_empty());
    assert_eq!(world.list(&manual[1]).await, ["p00"]);
    world.compare().await.unwrap();
    // Products can't be assigned to a smart collection.
    let link = assign(&collection_id(0), Assignment::Link);
    let error = world.execute(link).await.unwrap_err();
    assert_eq!(error.reason, Reason::KindMismatch);
}

/// Writers of products and of rules on two servers: the lists must reflect everything that was
/// committed.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writes_of_products_and_rules_miss_no_product(
    #[values(Sqlite, Postgres)] engine: Engine,
    #[values(Flags::default(), all_by_jobs())] flags: Flags,
) {
    const PRODUCT_WRITERS: u8 = 8;
    const RULE_WRITERS: u8 = 2;
    const WRITES: u8 = 15;
    let (config, first, _folder) = harness::migrated(engine, &flags).await;
    let second = second_server(engine, &config, &first).await;
    let worlds = [first, second].map(|store| World::new(&config, store, "t"));
    let smart = |number: u8| {
        let rules = Test::Either(number, i64::from(number)).rules();
        creation(collection_id(number), Kind::Smart { rules })
    };
    for number in 0..COLLECTIONS {
        worlds[0].execute(smart(number)).await.unwrap();
    }
    let products = (0..PRODUCT_WRITERS).map(|writer| {
        let world = &worlds[usize::from(writer) % 2];
        async move {
            for write in 0..WRITES {
                // All of them write some of the same products.
                let items = (0..5u8).map(|n| {
                    let number = (writer * 3 + write + n * 5) % PRODUCTS;
                    let tags = [(write + n) % COLLECTIONS, writer % COLLECTIONS];
                    let item = Item {
                        tags: tags.into(),
                        ..item(writer % 3, i64::from((write * 7 + n) % 12))
                    };
                    (number, item)
                });
                let items: BTreeMap<_, _> = items.collect();
                let products = items.iter().map(|(n, item)| upsert(product_id(*n), item));
                world.execute(upserts(products.collect())).await.unwrap();
            }
        }
    });
    let rules = (0..RULE_WRITERS).map(|writer| {
        let world = &worlds[usize::from(writer) % 2];
        async move {
            for write in 0..WRITES {
                let number = (writer + write) % COLLECTIONS;
                let test = Test::Either(write % COLLECTIONS, i64::from(write % 12));
                let changes = Changes {
                    rules: Change::Set(test.rules()),
                    sort: Change::to((write % 3 == 0).then_some(Sort {
                        by: SortBy::Inventory,
                        descending: false,
                        out_of_stock_last: true,
                    })),
                    ..Changes::default()
                };
                let update = update(collection_id(number), changes);
                world.execute(update).await.unwrap();
            }
        }
    });
    let is_done = AtomicBool::new(false);
    let writers = async {
        futures::future::join(join_all(products), join_all(rules)).await;
        is_done.store(true, Ordering::Relaxed);
    };
    let is_done = &is_done;
    let jobs = worlds.iter().enumerate().map(|(server, world)| async move {
        while !is_done.load(Ordering::Relaxed) {
            // Rules that are written again are evaluated by another job.
            let _ = world.service.do_job(&server.to_string()).await;
            tokio::task::yield_now().await;
        }
    });
    futures::future::join(writers, join_all(jobs)).await;
    worlds[0].do_jobs().await;
    for number in 0..COLLECTIONS {
        let problems = worlds[0].problems(&collection_id(number)).await;
        assert!(problems.is_empty(), "{number}: {problems:?}");
        assert!(!worlds[0].list(&collection_id(number)).await.is_empty());
    }
}

/// Jobs evaluate rules about ages and other collections while others change, delete and list the
/// products, and time passes. Each product changes only once during an evaluation, so that no later
/// change corrects what the evaluation missed; and the rules before match nothing, as the members
/// are checked again in any case.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn evaluations_by_jobs_miss_no_concurrent_change(#[values(Sqlite, Postgres)] engine: Engine) {
    const ROUNDS: u8 = 20;
    /// A manual list, a collection that references it, and one by age.
    const LISTED: u8 = 0;
    const NAMING: u8 = 1;
    const AGED: u8 = 2;
    let flags = Flags {
        max_synchronous_products: Some("1".into()),
        ..Flags::default()
    };
    let (config, store, _folder) = harness::migrated(engine, &flags).await;
    let world = World::new(&config, store, "t");
    let manual = creation(collection_id(LISTED), Kind::Manual);
    world.execute(manual).await.unwrap();
    let put = (0..12).map(|n| upsert(product_id(n), &item(1, 1)));
    world.execute(upserts(put.collect())).await.unwrap();
    for (number, test) in [(NAMING, Test::In(LISTED)), (AGED, Test::Older(0))] {
        let rules = test.rules();
        let smart = creation(collection_id(number), Kind::Smart { rules });
        world.execute(smart).await.unwrap();
    }
    world.do_jobs().await;
    let world = &world;
    for round in 0..ROUNDS {
        for (number, tests) in [
            (NAMING, [Test::Tag(3), Test::In(LISTED)]),
            (AGED, [Test::Tag(3), Test::Older(0)]),
        ] {
            let changes = Changes {
                rules: Change::Set(tests[usize::from(round % 2)].rules()),
                ..Changes::default()
            };
            let update = update(collection_id(number), changes);
            world.execute(update).await.unwrap();
        }
        let start = Timestamp::now();
        let products = async {
            for n in 0..8 {
                // In the past, in an instant, or in the future.
                let time = later(start, (i64::from((round + n) % 3) - 1) * 10);
                let put = upserts(vec![created(n, time)]);
                world.execute(put).await.unwrap();
            }
            let delete = DeleteProducts {
                ids: vec![product_id(8 + round % 4)],
                known_only: false,
                retry: None,
            };
            world.execute(delete).await.unwrap();
        };
        let lists = async {
            let ids = (0..12).filter(|n| (n + round) % 2 == 0);
            let ids = ids.map(|n| product_id(n).into()).collect();
            let mutation = Mutation::Replace { ids };
            let update = mutate(collection_id(LISTED), mutation);
            world.execute(update).await.unwrap();
        };
        let jobs = async {
            while world.service.do_job("test").await.unwrap() {
                world.service.do_due().await;
            }
        };
        futures::future::join3(products, lists, jobs).await;
        sleep_until(later(start, 20)).await;
        world.service.do_due().await;
        world.do_jobs().await;
        for number in [LISTED, NAMING, AGED] {
            let problems = world.problems(&collection_id(number)).await;
            assert!(problems.is_empty(), "{round}: {number}: {problems:?}");
        }
    }
}

/// Moves and rule entries that are acknowledged while a job evaluates rules are in its result, and
/// so are the products that change meanwhile, in sorted lists as well.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn evaluations_by_jobs_miss_no_concurrent_move_or_entry(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    const ROUNDS: u8 = 12;
    const PRODUCTS: u8 = 40;
    /// Lists in the order of moves, with changing entries, sorted, and with other products after
    /// each evaluation.
    const MOVED: u8 = 0;
    const NAMED: u8 = 1;
    const SORTED: u8 = 2;
    const OTHERS: u8 = 3;
    let (config, store, _folder) = harness::migrated(engine, &all_by_jobs()).await;
    let world = World::new(&config, store.with_segment_target(4), "t");
    let one = |n| if n < PRODUCTS { item(1, 1) } else { item(2, 9) };
    let put = (0..2 * PRODUCTS).map(|n| upsert(product_id(n), &one(n)));
    world.execute(upserts(put.collect())).await.unwrap();
    for number in [MOVED, NAMED, SORTED, OTHERS] {
        let rules = Test::Kind(3).rules();
        let smart = creation(collection_id(number), Kind::Smart { rules });
        world.execute(smart).await.unwrap();
    }
    let sort = Changes {
        sort: Change::to(Some(Sort {
            by: SortBy::Title,
            descending: true,
            out_of_stock_last: false,
        })),
        ..Changes::default()
    };
    let sort = update(collection_id(SORTED), sort);
    world.execute(sort).await.unwrap();
    world.do_jobs().await;
    let world = &world;
    for round in 0..ROUNDS {
        // The same products match in both cases, except in one list.
        let same = [Test::Kind(1), Test::Either(1, 2)];
        let others = [Test::Kind(1), Test::Kind(2)];
        for (number, tests) in [
            (MOVED, &same),
            (NAMED, &same),
            (SORTED, &same),
            (OTHERS, &others),
        ] {
            let changes = Changes {
                rules: Change::Set(tests[usize::from(round % 2)].rules()),
                ..Changes::default()
            };
            let update = update(collection_id(number), changes);
            world.execute(update).await.unwrap();
        }
        let is_done = AtomicBool::new(false);
        let moves = async {
            let mut last = None;
            // In the first round, the list is empty until the job is done.
            while round > 0 && !is_done.load(Ordering::Relaxed) {
                let product = product_id(rand::random_range(0..PRODUCTS));
                let mutation = Mutation::MoveIds {
                    ids: vec![product.clone().into()],
                    position: Position::Index(0),
                };
                let update = mutate(collection_id(MOVED), mutation);
                world.execute(update).await.unwrap();
                last = Some(product.to_string());
                tokio::task::yield_now().await;
            }
            last
        };
        // Included and not any more: that must not count as a change of what the job has found.
        let includes = async {
            while !is_done.load(Ordering::Relaxed) {
                let product = product_id(rand::random_range(0..2 * PRODUCTS));
                let id = || collection_id(OTHERS);
                let include = rule_entries(id(), EntryKind::Include, vec![(product, None)]);
                world.execute(include).await.unwrap();
                let none = ChangeRuleEntries {
                    replace: true,
                    ..rule_entries(id(), EntryKind::Include, Vec::new())
                };
                world.execute(none).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let entries = async {
            for n in 0..4 {
                let (kind, index) = if n % 2 == 0 {
                    (EntryKind::Pin, Some(u64::from(round + n)))
                } else {
                    (EntryKind::Exclude, None)
                };
                let product = product_id((round + n) % PRODUCTS);
                let change = ChangeRuleEntries {
                    replace: true,
                    ..rule_entries(collection_id(NAMED), kind, vec![(product, index)])
                };
                // A pin of an excluded product is refused.
                let _ = world.execute(change).await;
            }
        };
        let products = async {
            while !is_done.load(Ordering::Relaxed) {
                let put = (0..PRODUCTS / 2).map(|n| {
                    let mut item = item(1, 1);
                    item.title = rand::random_range(0..4);
                    upsert(product_id(2 * n), &item)
                });
                world.execute(upserts(put.collect())).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let jobs = async {
            while world.service.do_job("test").await.unwrap() {}
            is_done.store(true, Ordering::Relaxed);
        };
        let (last, (), (), (), ()) =
            futures::future::join5(moves, includes, entries, products, jobs).await;
        let moved = world.list(&collection_id(MOVED)).await;
        if let Some(last) = last {
            assert_eq!(moved[0], last, "{round}: {moved:?}");
        }
        assert_eq!(moved.len(), usize::from(PRODUCTS));
        for number in [MOVED, NAMED, SORTED, OTHERS] {
            let problems = world.problems(&collection_id(number)).await;
            assert!(problems.is_empty(), "{round}: {number}: {problems:?}");
        }
    }
}

/// A job stores the next list next to the current one, which one row
/// replaces.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_job_replaces_a_list_by_the_next_one(#[values(Sqlite, Postgres)] engine: Engine) {
    let (config, store, _folder) = harness::migrated(engine, &all_by_jobs()).await;
    let mut world = World::new(&config, store, "next");
    world
        .take(&Step::Put((0..9).map(|n| (n, item(n % 2, 1))).collect()))
        .await;
    let db = sea_orm::Database::connect(harness::url(&config.database.place));
    let db = db.await.unwrap();
    let mut codes = BTreeSet::new();
    for kind in [0, 1, 0] {
        world.take(&Step::Rules(0, Test::Kind(kind))).await;
        world.do_jobs().await;
        world.compare().await.unwrap();
        let switched = "SELECT collection_id FROM switched_lists";
        let switched = Statement::from_string(db.get_database_backend(), switched);
        let switched = db.query_one_raw(switched).await.unwrap();
        let code = if switched.is_some() { 3 } else { 1 };
        for table in ["members", "segments", "segment_contents"] {
            let rows = format!("SELECT list FROM {table} WHERE list <> {code}");
            let rows = Statement::from_string(db.get_database_backend(), rows);
            let rows = db.query_all_raw(rows).await.unwrap();
            assert!(rows.is_empty(), "{table}: {rows:?}");
        }
        codes.insert(code);
    }
    assert_eq!(codes, BTreeSet::from([1, 3]));
    let jobs = ["SELECT job_id FROM jobs", "SELECT job_id FROM job_lists"];
    for rows in jobs {
        let rows = Statement::from_string(db.get_database_backend(), rows);
        assert!(db.query_all_raw(rows).await.unwrap().is_empty());
    }
}

/// `endcap check` reports rows of a list that no job builds or deletes.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn the_remains_of_another_list_are_found(#[values(Sqlite, Postgres)] engine: Engine) {
    let (config, store, _folder) = harness::migrated(engine, &Flags::default()).await;
    let mut world = World::new(&config, store, "remains");
    world.take(&Step::Put(vec![(0, item(0, 1))])).await;
    world.take(&Step::Rules(0, Test::Kind(0))).await;
    let id = collection_id(0);
    assert!(world.problems(&id).await.is_empty());
    let db = sea_orm::Database::connect(harness::url(&config.database.place));
    let lost = "INSERT INTO members (tenant_id, collection_id, list, child_id, segment_id) \
                SELECT tenant_id, collection_id, 3, 'lost', 1 FROM members WHERE list = 1";
    let lost = db.await.unwrap().execute_unprepared(lost).await.unwrap();
    assert_eq!(lost.rows_affected(), 1);
    let problems = world.problems(&id).await;
    assert_eq!(problems.len(), 1);
    assert!(problems[0].what.ends_with(" 1 members"), "{problems:?}");
}

/// The current list of a collection, with the findings of `endcap check`.
async fn seen(world: &World, number: u8) -> Vec<String> {
    let id = collection_id(number);
    let problems = world.problems(&id).await;
    assert!(problems.is_empty(), "{problems:?}");
    world.list(&id).await
}

/// Waits until this time by the machine's clock.
async fn sleep_until(time: Timestamp) {
    let micros = time.micros() - Timestamp::now().micros();
    let wait = Duration::from_micros(u64::try_from(micros).unwrap_or_default());
    tokio::time::sleep(wait).await;
}

/// A product that was created at this time, according to its source.
fn created(number: u8, time: Timestamp) -> ProductUpsert {
    let mut product = upsert(product_id(number), &item(1, 1));
    product.changes.details.created = Change::Set(time);
    product
}

fn later(time: Timestamp, milliseconds: i64) -> Timestamp {
    Timestamp::from_micros(time.micros() + milliseconds * 1_000)
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn products_join_and_leave_as_time_passes(#[values(Sqlite, Postgres)] engine: Engine) {
    let (config, store, _folder) = harness::migrated(engine, &Flags::default()).await;
    let mut world = World::new(&config, store, "time");
    let start = Timestamp::now();
    let turn = later(start, 900);
    // One exists before the rules, and one is created after them.
    let before = upserts(vec![created(0, turn), created(2, later(start, 3_600_000))]);
    world.execute(before).await.unwrap();
    for (number, test) in [(0, Test::Older(0)), (1, Test::Newer(0)), (2, Test::Kind(1))] {
        world.take(&Step::Rules(number, test)).await;
    }
    let after = upserts(vec![created(1, turn)]);
    world.execute(after).await.unwrap();
    let world = world;
    assert_eq!(seen(&world, 0).await, [""; 0]);
    assert_eq!(seen(&world, 1).await, ["p00", "p02", "p01"]);
    assert!(Timestamp::now() < turn);

    // No server applies due evaluations, so a check does not report them yet.
    sleep_until(later(turn, 50)).await;
    assert_eq!(seen(&world, 0).await, [""; 0]);
    // A write of a product applies its due evaluation.
    let mut again = created(1, turn);
    again.changes.title = Change::Set("Other".into());
    world.execute(upserts(vec![again])).await.unwrap();
    assert_eq!(seen(&world, 0).await, ["p01"]);
    assert_eq!(seen(&world, 1).await, ["p00", "p02"]);
    // New rules do not apply the due evaluations of other products either.
    let rules = Test::Older(0).rules();
    let create = creation(collection_id(3), Kind::Smart { rules });
    world.execute(create).await.unwrap();
    assert_eq!(seen(&world, 3).await, ["p01"]);

    let joined = async {
        while seen(&world, 0).await != ["p01", "p00"] {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(seen(&world, 1).await, ["p02"]);
        assert_eq!(seen(&world, 3).await, ["p01", "p00"]);
        // Without a write, within about a second.
        let turn = later(Timestamp::now(), 300);
        let next = upserts(vec![created(3, turn), created(4, turn)]);
        world.execute(next).await.unwrap();
        // Nothing is due for a deleted product.
        let delete = DeleteProducts {
            ids: vec![product_id(4)],
            known_only: false,
            retry: None,
        };
        world.execute(delete).await.unwrap();
        while seen(&world, 0).await != ["p01", "p00", "p03"] {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let late = Timestamp::now().micros() - turn.micros();
        assert!((0..3_000_000).contains(&late), "{late} microseconds late");
        assert_eq!(seen(&world, 1).await, ["p02"]);
    };
    let ready = || std::future::ready(());
    tokio::select! {
        () = world.service.follow_time(ready) => {}
        () = world.service.follow_time(ready) => {}
        joined = tokio::time::timeout(Duration::from_secs(30), joined) => joined.unwrap(),
    }
    assert_eq!(seen(&world, 2).await, ["p00", "p02", "p01", "p03"]);
}

/// A tenant whose rules can't be read stays overdue, with more products than one batch.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_fails_does_not_delay_others(#[values(Sqlite, Postgres)] engine: Engine) {
    let (config, store, _folder) = harness::migrated(engine, &Flags::default()).await;
    let turn = later(Timestamp::now(), 500);
    let [broken, sound] = [("broken", 120), ("sound", 1)].map(|(tenant, count)| {
        let products = (0..count).map(|number| created(number, turn)).collect();
        (World::new(&config, store.clone(), tenant), products)
    });
    for (world, products) in [&broken, &sound] {
        world.execute(upserts(Vec::clone(products))).await.unwrap();
        let rules = Test::Older(0).rules();
        let create = creation(collection_id(0), Kind::Smart { rules });
        world.execute(create).await.unwrap();
    }
    let db = sea_orm::Database::connect(harness::url(&config.database.place));
    let db = db.await.unwrap();
    for damage in [
        "UPDATE collections SET rules = '{' WHERE tenant_id = 'broken' AND rules IS NOT NULL",
        "UPDATE due_evaluations SET due_time = due_time - 1000 WHERE tenant_id = 'broken'",
    ] {
        let damaged = db.execute_unprepared(damage).await.unwrap();
        assert!(damaged.rows_affected() > 0, "{damage}");
    }
    sleep_until(later(turn, 10)).await;
    // A server that has no rules in memory.
    let other = Store::connect(&config.database).await.unwrap();
    app::service(&config, other).do_due().await;
    assert_eq!(sound.0.list(&collection_id(0)).await, ["p00"]);
    assert_eq!(broken.0.list(&collection_id(0)).await, [""; 0]);
}

/// Rules that reference more collections than a statement may have parameters.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn rules_may_reference_very_many_collections(#[values(Sqlite, Postgres)] engine: Engine) {
    let named = match engine {
        Sqlite => 33_000,
        Postgres => 66_000,
    };
    let (config, store, _folder) = harness::migrated(engine, &Flags::default()).await;
    let world = World::new(&config, store, "many");
    let one = creation(collection_id(0), Kind::Manual);
    world.execute(one).await.unwrap();
    let products = (0..3).map(|number| upsert(product_id(number), &item(1, 1)));
    world.execute(upserts(products.collect())).await.unwrap();
    let db = sea_orm::Database::connect(harness::url(&config.database.place));
    let db = db.await.unwrap();
    let original = collection_id(0).to_string();
    harness::copy_collection(&db, &original, "'x' || x", named).await;
    let ids: Vec<_> = (1..=named).map(|number| format!("x{number}")).collect();
    let conditions = ids.chunks(250).map(|ids| {
        Rule::Condition(Condition {
            field: Field::Collection,
            operator: Operator::In,
            operands: ids.iter().cloned().map(Operand::Text).collect(),
        })
    });
    let rules = Rules {
        root: Rule::Group(Group {
            combinator: Combinator::Any,
            same_row: false,
            rules: conditions.collect(),
        }),
    };
    let naming = creation(collection_id(1), Kind::Smart { rules });
    world.execute(naming).await.unwrap();
    let last = CollectionId::trusted(ids[named - 1].as_str());
    let append = UpdateCollection {
        mutations: vec![ChildMutation {
            list: ChildType::Product,
            mutation: Mutation::append(vec![product_id(2).into()]),
        }],
        ..UpdateCollection::of(last)
    };
    world.execute(append).await.unwrap();
    assert_eq!(world.list(&collection_id(1)).await, ["p02"]);
    assert_eq!(world.problems(&collection_id(1)).await, []);

    let forget = "UPDATE collections SET named = (1 = 0)";
    db.execute_unprepared(forget).await.unwrap();
    assert_eq!(world.problems(&collection_id(1)).await.len(), named);
    let reindexed = world
        .service
        .reindex(&world.caller, &collection_id(1))
        .await;
    assert_eq!(reindexed.unwrap().len(), named);
    assert_eq!(world.problems(&collection_id(1)).await, []);
}

/// Time that passes while a job evaluates rules is taken into account.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn due_times_during_an_evaluation_are_taken_into_account(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let (config, store, _folder) = harness::migrated(engine, &all_by_jobs()).await;
    let world = World::new(&config, store, "later");
    let turns = [300, 600].map(|milliseconds| later(Timestamp::now(), milliseconds));
    let products = turns
        .iter()
        .zip(0..)
        .map(|(turn, number)| created(number, *turn));
    world.execute(upserts(products.collect())).await.unwrap();
    for (number, test) in [(0, Test::Older(0)), (1, Test::Newer(0))] {
        let rules = test.rules();
        let create = creation(collection_id(number), Kind::Smart { rules });
        world.execute(create).await.unwrap();
    }
    sleep_until(later(turns[0], 10)).await;
    world.service.do_due().await;
    // Both products are evaluated now: one after its due time, and one before.
    world.do_jobs().await;
    seen(&world, 1).await;
    sleep_until(later(turns[1], 10)).await;
    world.service.do_due().await;
    world.do_jobs().await;
    assert_eq!(seen(&world, 0).await, ["p00", "p01"]);
    assert_eq!(seen(&world, 1).await, [""; 0]);
}

/// Smart collections that depend on others, with several kinds of writes.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn collections_follow_the_collections_that_their_rules_reference(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let (config, store, _folder) = harness::migrated(engine, &Flags::default()).await;
    let mut world = World::new(&config, store, "chains");
    world
        .execute(creation(collection_id(0), Kind::Manual))
        .await
        .unwrap();
    world.models.insert(0, Model::default());
    let items = (0..6).map(|n| (n, item(n % 2, 1)));
    world.take(&Step::Put(items.collect())).await;
    for (number, named) in [(1, 0), (2, 1), (3, 2)] {
        world.take(&Step::Rules(number, Test::In(named))).await;
    }
    let list = |add: &[u8], remove: &[u8]| Step::List(0, add.to_vec(), remove.to_vec(), false);
    // Before the products are registered, when they have no facts.
    world.take(&list(&[4, 2, 9], &[])).await;
    world.compare().await.unwrap();
    assert_eq!(world.list(&collection_id(3)).await, ["p02", "p04"]);
    world.take(&Step::Put(vec![(9, item(0, 1))])).await;
    world.compare().await.unwrap();
    world.take(&list(&[1], &[2])).await;
    world.compare().await.unwrap();
    world
        .take(&Step::List(0, vec![5, 4], Vec::new(), true))
        .await;
    world.compare().await.unwrap();
    let exclude = Step::Name {
        collection: 1,
        kind: EntryKind::Exclude,
        add: vec![(5, 0)],
        remove: Vec::new(),
        replace: false,
    };
    world.take(&exclude).await;
    world.compare().await.unwrap();
    assert_eq!(world.list(&collection_id(3)).await, ["p04"]);
    world.take(&Step::Rules(1, Test::NotIn(0))).await;
    world.compare().await.unwrap();

    // A cycle, and a collection that does not exist.
    let refused = async |number: u8, test: Test| {
        let changes = Changes {
            rules: Change::Set(test.rules()),
            ..Changes::default()
        };
        let error = world.execute(update(collection_id(number), changes)).await;
        let violation = error.unwrap_err().violations.swap_remove(0);
        (violation.value, violation.constraint.to_string())
    };
    let (value, why) = refused(1, Test::In(3)).await;
    assert_eq!(value, "c3");
    assert!(
        why.contains("the rules would create a dependency cycle"),
        "{why}"
    );
    let (value, why) = refused(2, Test::In(8)).await;
    assert_eq!(value, "c8");
    assert_eq!(why, "must be the id of a collection of the tenant");

    // A collection that others refer to can't be deleted, unless forced.
    let delete = |force| DeleteCollection {
        id: collection_id(0),
        force,
        etag: None,
        retry: None,
    };
    let error = world.execute(delete(false)).await.unwrap_err();
    assert_eq!(error.reason, Reason::NamedByRules);
    assert!(
        error.message.ends_with(" name collection \"c0\""),
        "{error}"
    );
    world.take(&Step::DeleteCollection(0)).await;
    world.compare().await.unwrap();
    assert_eq!(world.list(&collection_id(3)).await.len(), 6);
    // Rules follow a recreated collection with the same id.
    let again = creation(collection_id(0), Kind::Manual);
    world.execute(again).await.unwrap();
    world.models.insert(0, Model::default());
    world.take(&list(&[4], &[])).await;
    world.compare().await.unwrap();
    assert_eq!(world.list(&collection_id(3)).await.len(), 5);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn reference_chains_are_limited_by_max_rule_chain(
    #[values(Sqlite, Postgres)] engine: Engine,
    #[values(2, 8)] max: u8,
) {
    let flags = Flags {
        max_rule_chain: Some(max.to_string()),
        ..Flags::default()
    };
    let (config, store, _folder) = harness::migrated(engine, &flags).await;
    let mut world = World::new(&config, store, "deep");
    world.take(&Step::Put(vec![(0, item(1, 1))])).await;
    world.take(&Step::Rules(0, Test::Kind(1))).await;
    for number in 1..=max {
        world.take(&Step::Rules(number, Test::In(number - 1))).await;
    }
    assert_eq!(world.list(&collection_id(max)).await, ["p00"]);
    // Only the reference that makes the chain too long is refused.
    let rules = Rules {
        root: Rule::Group(Group {
            combinator: Combinator::Any,
            same_row: false,
            rules: [0, max].map(|to| Test::In(to).rules().root).into(),
        }),
    };
    let next = creation(collection_id(max + 1), Kind::Smart { rules });
    let error = world.execute(next).await.unwrap_err();
    let refused: Vec<_> = error.violations.iter().map(|one| &*one.value).collect();
    assert_eq!(refused, [format!("c{max}")]);
    let told = error.violations[0].constraint.to_string();
    let length = max + 1;
    assert_eq!(
        told,
        format!(
            "makes a chain of {length} collections whose rules each name the next; the limit is {max}"
        )
    );
    world.take(&Step::Put(vec![(0, item(0, 1))])).await;
    assert_eq!(world.list(&collection_id(max)).await, [""; 0]);
}

/// One writer changes products, and another a list that rules refer to: no product may be missed.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writes_of_products_and_referenced_lists_miss_none(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    const WRITES: u8 = 40;
    let (config, store, _folder) = harness::migrated(engine, &Flags::default()).await;
    let world = World::new(&config, store, "t");
    for number in [0, 1] {
        let create = creation(collection_id(number), Kind::Manual);
        world.execute(create).await.unwrap();
    }
    for (number, tests) in [
        (2, [Test::In(0), Test::Below(5)]),
        (3, [Test::In(2), Test::NotIn(1)]),
    ] {
        let rules = tests.map(|test| test.rules().root);
        let root = Rule::Group(Group {
            combinator: Combinator::All,
            same_row: false,
            rules: rules.into(),
        });
        let kind = Kind::Smart {
            rules: Rules { root },
        };
        let create = creation(collection_id(number), kind);
        world.execute(create).await.unwrap();
    }
    let world = &world;
    let products = async {
        for write in 0..WRITES {
            let put = (0..6u8).map(|n| {
                let price = i64::from((write * 3 + n) % 10);
                upsert(product_id((write + n) % 12), &item(1, price))
            });
            world.execute(upserts(put.collect())).await.unwrap();
        }
    };
    let lists = |number: u8| async move {
        for write in 0..WRITES {
            let ids = (0..4u8).map(|n| product_id((write * 5 + n * number + n) % 12).into());
            let ids: BTreeSet<ChildId> = ids.collect();
            let ids = ids.into_iter().collect();
            let mutation = match write % 3 {
                0 => Mutation::Replace { ids },
                1 => Mutation::append(ids),
                _ => Mutation::remove(ids),
            };
            let update = mutate(collection_id(number), mutation);
            world.execute(update).await.unwrap();
        }
    };
    futures::future::join3(products, lists(0), lists(1)).await;
    for number in 0..4 {
        let problems = world.problems(&collection_id(number)).await;
        assert!(problems.is_empty(), "{number}: {problems:?}");
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_manual_collection_does_not_follow_the_rules_of_a_deleted_one_with_its_id(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let (config, store, _folder) = harness::migrated(engine, &Flags::default()).await;
    let mut world = World::new(&config, store, "again");
    world.take(&Step::Rules(1, Test::Kind(1))).await;
    for (number, test) in [(0, Test::In(1)), (2, Test::In(0)), (3, Test::Kind(1))] {
        world.take(&Step::Rules(number, test)).await;
    }
    world.take(&Step::Put(vec![(0, item(1, 1))])).await;
    world.compare().await.unwrap();
    for number in [0, 3] {
        world.take(&Step::DeleteCollection(number)).await;
        world.take(&Step::Manual(number)).await;
    }
    world.take(&Step::Put(vec![(1, item(1, 1))])).await;
    world.compare().await.unwrap();
    assert_eq!(world.list(&collection_id(0)).await, [""; 0]);
    assert_eq!(world.list(&collection_id(3)).await, [""; 0]);
    // This was a cycle as long as collection 0 had rules.
    world.take(&Step::Rules(1, Test::In(0))).await;
    world.take(&Step::List(0, vec![1], Vec::new(), false)).await;
    world.compare().await.unwrap();
    assert_eq!(world.list(&collection_id(1)).await, ["p01"]);
    assert_eq!(world.list(&collection_id(2)).await, ["p01"]);
}

/// A product, of a kind, whose title and price sort it differently.
fn sortable(kind: u8, title: u8, price: i64) -> Item {
    Item {
        title,
        ..item(kind, price)
    }
}

fn by(by: SortBy) -> Sort {
    Sort {
        by,
        descending: false,
        out_of_stock_last: false,
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn rules_and_sort_order_of_a_referenced_collection_change_together(
    #[values(Sqlite, Postgres)] engine: Engine,
    #[values(Flags::default(), all_by_jobs())] flags: Flags,
) {
    let (config, store, _folder) = harness::migrated(engine, &flags).await;
    let mut world = World::new(&config, store, "both");
    let price = by(SortBy::Price {
        currency: "EUR".into(),
    });
    let items = (0..4).map(|n| (n, sortable(n / 3, n, i64::from(9 - n))));
    world.take(&Step::Put(items.collect())).await;
    let title = Step::RulesAndSort(0, Test::Kind(1), Some(by(SortBy::Title)));
    world.take_all([title, Step::Rules(1, Test::In(0))]).await;
    let both = Step::RulesAndSort(0, Test::Kind(0), Some(price));
    world.take(&both).await;
    world.do_jobs().await;
    world.recall_chains().await;
    world.compare().await.unwrap();
    assert_eq!(world.list(&collection_id(0)).await, ["p02", "p01", "p00"]);
}

/// The compiled rules in memory have a cycle, of which one part is that of a deleted collection.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_smart_collection_does_not_follow_the_rules_of_a_deleted_one_with_its_id(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let (config, store, _folder) = harness::migrated(engine, &Flags::default()).await;
    let mut world = World::new(&config, store, "again");
    let steps = [
        Step::Put(vec![(0, item(1, 1)), (1, item(0, 1))]),
        Step::Rules(1, Test::Kind(2)),
        Step::RulesAndSort(0, Test::NotIn(1), Some(by(SortBy::Title))),
        Step::Put(vec![(2, sortable(0, 3, 7)), (3, sortable(0, 4, 6))]),
        Step::DeleteCollection(0),
        Step::Manual(0),
        Step::Rules(1, Test::In(0)),
        Step::Kind(0, Some(Test::Kind(0)), false),
        Step::Put(vec![(3, item(1, 1))]),
    ];
    world.take_all(steps).await;
    assert_eq!(world.list(&collection_id(1)).await, ["p01", "p02"]);
}

/// Jobs that follow products find the lists in compiled rules that still have deleted collections.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_job_does_not_change_a_manual_collection_with_the_id_of_a_deleted_smart_one(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let (config, store, _folder) = harness::migrated(engine, &all_by_jobs()).await;
    let mut world = World::new(&config, store, "follow");
    let rules = (0..3).map(|number| Step::Rules(number, Test::Kind(1)));
    let steps = [
        Step::Put(vec![(0, item(1, 1))]),
        Step::DeleteCollection(0),
        Step::Manual(0),
        Step::List(0, vec![5], Vec::new(), false),
        Step::Put(vec![(1, item(1, 1)), (5, item(0, 1))]),
        Step::Put(vec![(2, item(1, 1)), (5, item(0, 2))]),
    ];
    world.take_all(rules.chain(steps)).await;
    assert_eq!(world.list(&collection_id(0)).await, ["p05"]);
}

/// A collection that becomes smart has only its includes, one of which is deleted, registered again,
/// and no include any more, all before a job evaluates the rules.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn includes_count_as_members_only_once_they_are_in_the_list(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let (config, store, _folder) = harness::migrated(engine, &all_by_jobs()).await;
    let mut world = World::new(&config, store, "kept");
    let steps = [
        Step::Put((0..4).map(|n| (n, item(0, 1))).collect()),
        Step::Manual(0),
        Step::List(0, vec![1, 2], Vec::new(), false),
        Step::Rules(1, Test::In(0)),
    ];
    world.take_all(steps).await;
    let no_include = Step::Name {
        collection: 0,
        kind: EntryKind::Include,
        add: Vec::new(),
        remove: vec![1],
        replace: false,
    };
    for step in [
        Step::Kind(0, Some(Test::Kind(1)), true),
        Step::Delete(vec![1]),
        Step::Put(vec![(1, item(0, 1))]),
        no_include,
    ] {
        world.take(&step).await;
    }
    world.do_jobs().await;
    world.compare().await.unwrap();
    assert_eq!(world.list(&collection_id(1)).await, ["p02"]);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn references_in_rules_that_a_job_evaluates_count(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let (config, store, _folder) = harness::migrated(engine, &all_by_jobs()).await;
    let mut world = World::new(&config, store, "later");
    let items = (0..6).map(|n| (n, item(n % 2, 1)));
    world.take(&Step::Put(items.collect())).await;
    for number in 0..3 {
        world.take(&Step::Rules(number, Test::Kind(1))).await;
    }
    world.do_jobs().await;
    let write = async |world: &World, number: u8, test: Test| {
        let changes = Changes {
            rules: Change::Set(test.rules()),
            ..Changes::default()
        };
        let updated = world.execute(update(collection_id(number), changes)).await;
        updated.map_err(|error| error.violations[0].constraint.to_string())
    };
    let cycle = "the rules would create a dependency cycle";
    let cycle_for_now =
        format!("{cycle} until a job has evaluated the new rules of other collections");

    write(&world, 0, Test::In(1)).await.unwrap();
    let delete = DeleteCollection {
        id: collection_id(1),
        force: false,
        etag: None,
        retry: None,
    };
    for is_evaluated in [false, true] {
        let error = write(&world, 1, Test::NotIn(0)).await.unwrap_err();
        assert!(error.ends_with(cycle), "{is_evaluated}: {error}");
        let error = world.execute(delete.clone()).await.unwrap_err();
        assert_eq!(error.reason, Reason::NamedByRules, "{is_evaluated}");
        world.do_jobs().await;
    }

    // The list of collection 0 still follows its old rules.
    write(&world, 0, Test::Kind(0)).await.unwrap();
    let error = write(&world, 1, Test::NotIn(0)).await.unwrap_err();
    assert!(error.ends_with(&cycle_for_now), "{error}");
    world.do_jobs().await;
    write(&world, 1, Test::NotIn(0)).await.unwrap();
    world.do_jobs().await;
    assert_eq!(world.list(&collection_id(1)).await, ["p01", "p03", "p05"]);
    for number in 0..3 {
        assert!(world.problems(&collection_id(number)).await.is_empty());
    }
}
