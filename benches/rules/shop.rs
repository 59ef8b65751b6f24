//! The data of the benchmark: products, and smart collections whose rules have one to five
//! conditions.

use std::{
    ops::AddAssign,
    time::{Duration, Instant},
};

use endcap::{
    config::Flags,
    domain::{
        Caller, Change, Changes, ChildType, CollectionId, Combinator, Condition, Decimal,
        DetailsChanges, Draft, EntryKind, Field, Group, Kind, Locale, MapChange, Operand, Operator,
        Price, Product, ProductChanges, ProductId, Rule, Rules, RulesState, TenantId, TextField,
    },
    service::{
        ChangeRuleEntries, ChildStart, CreateCollection, Expected, Include, Key, ListChildren,
        Listing, Parents, PreviewRules, ProductUpsert, Service, UpdateCollection, UpsertProducts,
    },
    store::Store,
};
use futures::{StreamExt as _, stream};
use tokio::task::JoinHandle;

/// How many collections are created concurrently.
const MAKERS: usize = 64;
const VENDORS: usize = 500;
const TYPES: usize = 50;

/// How long others took while rules were evaluated.
#[derive(Default)]
pub(crate) struct Meanwhile {
    pub(crate) pages: Vec<Duration>,
    pub(crate) renames: Vec<Duration>,
}

impl AddAssign for Meanwhile {
    fn add_assign(&mut self, other: Self) {
        self.pages.extend(other.pages);
        self.renames.extend(other.renames);
    }
}

pub(crate) struct Shop {
    service: Service,
    caller: Caller,
}

/// A product.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) number: usize,
    tags: Vec<String>,
}

impl Item {
    /// A product as it is registered at first.
    pub(crate) fn known(number: usize) -> Self {
        Self::tagged(number, &[])
    }

    /// The product with additional tags.
    pub(crate) fn tagged(number: usize, tags: &[&str]) -> Self {
        let tags = tags.iter().map(|tag| (*tag).to_owned());
        Self {
            number,
            tags: tags.collect(),
        }
    }

    fn upsert(self) -> ProductUpsert {
        let number = self.number;
        let price = Price {
            id: "only".into(),
            variant_id: String::new(),
            title: String::new(),
            amount: Decimal::parse(&(number % 1_000).to_string()).unwrap(),
            currency: "EUR".into(),
            compare_at: None,
            inventory: None,
        };
        let details = DetailsChanges {
            vendor: Change::Set(format!("vendor {}", number % VENDORS)),
            tags: Change::Set(self.tags),
            prices: Change::Set(vec![price]),
            ..DetailsChanges::default()
        };
        ProductUpsert {
            changes: ProductChanges {
                id: id(number),
                title: Change::Set(format!("Product {number}")),
                slug: Change::Keep,
                product_type: Change::Set(format!("type {}", number % TYPES)),
                attributes: MapChange::default(),
                details,
                only_new: Vec::new(),
            },
            collections: Listing::Same,
        }
    }
}

fn id(number: usize) -> ProductId {
    ProductId::trusted(format!("{number:024x}"))
}

fn condition(field: Field, operator: Operator, operand: Operand) -> Rule {
    Rule::Condition(Condition {
        field,
        operator,
        operands: vec![operand],
    })
}

fn text(field: Field, value: String) -> Rule {
    condition(field, Operator::Equals, Operand::Text(value))
}

fn price(operator: Operator, value: usize) -> Rule {
    condition(Field::Price, operator, Operand::Decimal(value.to_string()))
}

fn all(rules: Vec<Rule>) -> Rules {
    Rules {
        root: Rule::Group(Group {
            combinator: Combinator::All,
            same_row: false,
            rules,
        }),
    }
}

/// Rules that a tenth of all products match.
pub(crate) fn decile(number: usize) -> Rules {
    let from = number % 10 * 100;
    all(vec![
        price(Operator::GreaterOrEqual, from),
        price(Operator::LessThan, from + 100),
    ])
}

/// The rules of a collection. The first collections match the tags that change many lists at once;
/// the others resemble those of a shop.
fn rules(number: usize) -> Rules {
    let tag = |tag: &str| text(Field::Tag, tag.into());
    let vendor = text(Field::Vendor, format!("vendor {}", number % VENDORS));
    let kind = text(Field::Type, format!("type {}", number % TYPES));
    let name = condition(
        Field::Title,
        Operator::Contains,
        Operand::Text(format!("edition {}", number % 97)),
    );
    let below = price(Operator::LessThan, number % 900 + 1);
    let above = price(Operator::GreaterThan, number % 900);
    match number {
        0..5 => all(vec![tag("five")]),
        5..15 => all(vec![tag("ten")]),
        15..1_015 if number.is_multiple_of(2) => all(vec![tag("thousand")]),
        15..1_015 => all(vec![tag("thousand"), price(Operator::GreaterOrEqual, 0)]),
        _ => all(match number % 5 {
            0 => vec![tag(&format!("tag {number}"))],
            1 => vec![vendor, below],
            2 => vec![kind, vendor, above],
            3 => vec![name, kind, vendor, below],
            _ => vec![
                tag(&format!("tag {}", number % 400)),
                name,
                kind,
                above,
                below,
            ],
        }),
    }
}

impl Shop {
    pub(crate) fn new(store: Store) -> Self {
        let config = endcap::app::config(&Flags::default(), None).unwrap();
        Self {
            service: endcap::app::service(&config, store),
            caller: Caller::operator(TenantId::trusted("default")),
        }
    }

    /// Creates `count` smart collections, and returns their rules.
    pub(crate) async fn fill(&self, count: usize) -> Vec<Rules> {
        let made = stream::iter(0..count).map(async |number| {
            let rules = rules(number);
            self.create(&format!("c{number}"), &rules).await;
            rules
        });
        made.buffered(MAKERS).collect().await
    }

    pub(crate) async fn create(&self, id: &str, rules: &Rules) {
        let mut changes = Changes::default();
        changes.texts.entries.push(self.name(id));
        let create = CreateCollection {
            draft: Draft {
                id: Some(CollectionId::trusted(id)),
                kind: Kind::Smart {
                    rules: rules.clone(),
                },
                changes,
            },
            parents: Parents::Root,
            products: Vec::new(),
            include: Include::default(),
            retry: None,
        };
        self.service.execute(&self.caller, create).await.unwrap();
    }

    pub(crate) async fn write_rules(&self, id: &str, rules: &Rules) {
        let mut update = UpdateCollection::of(CollectionId::trusted(id));
        update.changes.rules = Change::Set(rules.clone());
        self.service.execute(&self.caller, update).await.unwrap();
    }

    /// Pins a product, by its number, to an index.
    pub(crate) async fn pin(&self, collection: &str, (product, index): (usize, usize)) {
        let pin = ChangeRuleEntries {
            collection: CollectionId::trusted(collection),
            kind: EntryKind::Pin,
            add: vec![(id(product), Some(index as u64))],
            remove: Vec::new(),
            replace: false,
            etag: None,
            include: Include::default(),
            retry: None,
        };
        self.service.execute(&self.caller, pin).await.unwrap();
    }

    pub(crate) async fn put(&self, items: Vec<Item>) {
        let upsert = UpsertProducts {
            products: items.into_iter().map(Item::upsert).collect(),
            expected: Expected::Any,
            completion: None,
            return_collections: false,
            retry: None,
        };
        self.service.execute(&self.caller, upsert).await.unwrap();
    }

    pub(crate) async fn product(&self, number: usize) -> Product {
        let id = id(number);
        let found = self.service.get_product(&self.caller, id).await.unwrap();
        found.product.unwrap()
    }

    /// Does the jobs that requests leave, until it is aborted.
    pub(crate) fn do_jobs(&self) -> JoinHandle<()> {
        let service = self.service.clone();
        tokio::spawn(async move { service.do_jobs("bench", || async {}).await })
    }

    /// Waits until the list follows the rules, and measures others meanwhile.
    pub(crate) async fn until_current(&self, id: &str) -> Meanwhile {
        let mut meanwhile = Meanwhile::default();
        for number in 0.. {
            let started = Instant::now();
            self.page(id, 0, 50).await;
            meanwhile.pages.push(started.elapsed());
            let started = Instant::now();
            self.rename("other", &format!("Other {number}")).await;
            meanwhile.renames.push(started.elapsed());
            let key = Key::Id(CollectionId::trusted(id));
            let found = self.service.get_collection(&self.caller, key).await;
            if found.unwrap().collection.rules_state == RulesState::Current {
                break;
            }
        }
        meanwhile
    }

    /// Reads the ids of so many lists.
    pub(crate) async fn read_lists(&self, count: usize) {
        const PAGE: usize = 1_000;
        for number in 0..count {
            let mut start = 0;
            while self.page(&format!("c{number}"), start, PAGE).await == PAGE {
                start += PAGE as u64;
            }
        }
    }

    /// Reads a page of a list; how many products it has.
    async fn page(&self, id: &str, start: u64, size: usize) -> usize {
        let page = ListChildren {
            collection: CollectionId::trusted(id),
            list: ChildType::Product,
            products: None,
            start: ChildStart::Index(start),
            size,
        };
        let page = self.service.list_children(&self.caller, page).await;
        page.unwrap().children.len()
    }

    async fn rename(&self, id: &str, name: &str) {
        let mut update = UpdateCollection::of(CollectionId::trusted(id));
        update.changes.texts.entries.push(self.name(name));
        self.service.execute(&self.caller, update).await.unwrap();
    }

    fn name(&self, name: &str) -> ((Locale, TextField), Option<String>) {
        let locale = self.service.settings().default_locale.clone();
        ((locale, TextField::DisplayName), Some(name.to_owned()))
    }

    pub(crate) async fn preview(&self, rules: &Rules) {
        let preview = PreviewRules {
            rules: rules.clone(),
            collection: None,
            sample: 10,
        };
        let preview = self.service.preview_rules(&self.caller, preview).await;
        preview.unwrap();
    }
}
