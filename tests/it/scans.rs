//! Searches that examine items one by one, with a writer between the scan and the reading of the
//! page.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use endcap::{
    app,
    config::Flags,
    domain::{
        Caller, Change, Changes, ChildId, ChildType, CollectionFilter, CollectionId,
        DetailsChanges, Draft, Json, Kind, Locale, MapChange, Mutation, ProductChanges,
        ProductFilter, ProductId, TenantId, TextField,
        collection::Active,
        filter::{Keys, Order, OrderBy},
    },
    service::{
        Ancestors, ChildMutation, Command, CreateCollection, DeleteCollection, DeleteProducts,
        Detail, Expected, Include, ListCollections, ListProducts, Listing, PageStart, Parents,
        ProductDetail, ProductUpsert, Scan, Service, UpdateCollection, UpsertProducts,
    },
    store::Engine::{self, Postgres, Sqlite},
};
use rstest::rstest;
use tempfile::TempDir;
use tokio::{runtime::Handle, task::block_in_place};

use crate::harness;

/// The id of the last item in each search.
const LAST: &str = "z";

/// The service, with a caller.
#[derive(Clone)]
struct Shop {
    service: Service,
    caller: Caller,
}

impl Shop {
    /// A shop whose pages are read in parts of this size.
    async fn new(engine: Engine, max_page_bytes: &str) -> (Self, TempDir) {
        let flags = Flags {
            max_page_bytes: Some(max_page_bytes.into()),
            ..Flags::default()
        };
        let (config, store, folder) = harness::migrated(engine, &flags).await;
        let service = app::service(&config, store);
        let caller = Caller::operator(TenantId::trusted("default"));
        (Self { service, caller }, folder)
    }

    async fn done(&self, command: impl Command) {
        self.service.execute(&self.caller, command).await.unwrap();
    }

    async fn make(&self, id: &str, products: &[&str]) {
        let [name, description] = [TextField::DisplayName, TextField::Description]
            .map(|field| (Locale::trusted("en"), field));
        let command = CreateCollection {
            draft: Draft {
                id: Some(collection(id)),
                kind: Kind::Manual,
                changes: Changes {
                    texts: MapChange::to([(name, id.to_owned()), (description, big())]),
                    ..Changes::default()
                },
            },
            parents: Parents::Root,
            products: products.iter().map(|id| product(id)).collect(),
            include: Include::default(),
            retry: None,
        };
        self.done(command).await;
    }

    async fn title(&self, id: &str, title: &str) {
        let changes = ProductChanges {
            id: product(id),
            title: Change::Set(title.into()),
            slug: Change::Keep,
            product_type: Change::Keep,
            attributes: MapChange::to([("x".to_owned(), Json(format!("\"{}\"", big())))]),
            details: DetailsChanges::default(),
            only_new: Vec::new(),
        };
        let command = UpsertProducts {
            products: vec![ProductUpsert {
                changes,
                collections: Listing::Same,
            }],
            expected: Expected::Any,
            completion: None,
            return_collections: true,
            retry: None,
        };
        self.done(command).await;
    }

    async fn mutate(&self, id: &str, list: ChildType, mutation: Mutation) {
        let command = UpdateCollection {
            mutations: vec![ChildMutation { list, mutation }],
            ..UpdateCollection::of(collection(id))
        };
        self.done(command).await;
    }

    /// A scan during which a writer runs, after all items before the last one were examined.
    fn scan<T: 'static>(
        &self,
        id: fn(&T) -> &str,
        holds: fn(&T) -> bool,
        write: impl AsyncFn(&Self) + Send + Sync + 'static,
    ) -> Scan<T> {
        let (shop, is_written) = (self.clone(), AtomicBool::new(false));
        let evaluate = move |item: &T| {
            if id(item) == LAST && !is_written.swap(true, Ordering::Relaxed) {
                block_in_place(|| Handle::current().block_on(write(&shop)));
            }
            holds(item).then(Keys::default)
        };
        Scan {
            evaluate: Arc::new(evaluate),
            children: true,
        }
    }
}

/// A text so large that not all items are read at once if the size is limited.
fn big() -> String {
    "x".repeat(700)
}

fn collection(id: &str) -> CollectionId {
    CollectionId::trusted(id)
}

fn product(id: &str) -> ProductId {
    ProductId::trusted(id)
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_page_omits_collections_that_no_longer_match_its_search(
    #[values(Sqlite, Postgres)] engine: Engine,
    #[values("4MiB", "1KiB")] max_page_bytes: &str,
) {
    let (shop, _folder) = Shop::new(engine, max_page_bytes).await;
    for id in ["filled", "gone", "hidden", "kept", "parent", LAST] {
        shop.make(id, &[]).await;
    }
    let write = async |shop: &Shop| {
        let append = |id: &str| Mutation::append(vec![ChildId::trusted(id)]);
        shop.mutate("filled", ChildType::Product, append("p")).await;
        shop.mutate("parent", ChildType::Collection, append("kept"))
            .await;
        let hide = UpdateCollection {
            changes: Changes {
                active: Some(Active::No),
                ..Changes::default()
            },
            ..UpdateCollection::of(collection("hidden"))
        };
        shop.done(hide).await;
        let delete = DeleteCollection {
            id: collection("gone"),
            force: false,
            etag: None,
            retry: None,
        };
        shop.done(delete).await;
    };
    let holds =
        |detail: &Detail| detail.collection.product_count == 0 && detail.collections.is_empty();
    let command = ListCollections {
        filter: CollectionFilter {
            active: true,
            ..CollectionFilter::default()
        },
        all_there: false,
        order: vec![Order {
            by: OrderBy::Id,
            descending: false,
        }],
        scan: Some(shop.scan(|detail| detail.collection.id.as_str(), holds, write)),
        descendants: None,
        ancestors: Ancestors::Named,
        start: PageStart::Offset(0),
        size: 50,
        bytes: None,
        paths: None,
        omit_total: false,
    };
    let page = shop.service.list_collections(&shop.caller, command);
    let page = page.await.unwrap();
    let (mut found, mut rest) = (page.collections, page.rest.into());
    let is_read_at_once = std::collections::VecDeque::is_empty(&rest);
    assert_eq!(is_read_at_once, max_page_bytes == "4MiB");
    while !rest.is_empty() {
        let next = shop.service.next_collections(
            &shop.caller,
            rest,
            Ancestors::Named,
            page.still.as_ref(),
        );
        let (read, left) = next.await.unwrap();
        found.extend(read);
        rest = left;
    }
    let found: Vec<_> = found.iter().map(|one| one.collection.id.as_str()).collect();
    assert_eq!(found, ["kept", LAST]);
    // The total as of the scan.
    assert_eq!(page.total, 6);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_page_omits_products_that_no_longer_match_its_search(
    #[values(Sqlite, Postgres)] engine: Engine,
    #[values("4MiB", "1KiB")] max_page_bytes: &str,
) {
    let (shop, _folder) = Shop::new(engine, max_page_bytes).await;
    let all = ["gone", "kept", "left", "listed", "retitled", LAST];
    shop.make("c", &all).await;
    for id in ["kept", "left", "retitled", LAST] {
        shop.title(id, "lamp").await;
    }
    let write = async |shop: &Shop| {
        shop.title("retitled", "hat").await;
        let remove = Mutation::remove(vec![ChildId::trusted("left")]);
        shop.mutate("c", ChildType::Product, remove).await;
        let delete = DeleteProducts {
            ids: vec![product("gone")],
            known_only: true,
            retry: None,
        };
        shop.done(delete).await;
    };
    // A product that is only in a collection has no title.
    let holds = |detail: &ProductDetail| {
        let product = detail.product.as_ref();
        product.is_none_or(|product| product.title == "lamp")
    };
    let command = ListProducts {
        filter: ProductFilter {
            collections: Some(vec![collection("c")]),
            ..ProductFilter::default()
        },
        slug: None,
        include_descendants: false,
        all_there: false,
        scan: Some(shop.scan(|detail| detail.id.as_str(), holds, write)),
        start: PageStart::Offset(0),
        size: 50,
        bytes: None,
        omit_total: false,
    };
    let page = shop.service.list_products(&shop.caller, command);
    let page = page.await.unwrap();
    let (mut found, mut rest) = (page.products, page.rest.into());
    let is_read_at_once = std::collections::VecDeque::is_empty(&rest);
    assert_eq!(is_read_at_once, max_page_bytes == "4MiB");
    while !rest.is_empty() {
        let next = shop
            .service
            .next_listed(&shop.caller, rest, page.still.as_ref());
        let (read, left) = next.await.unwrap();
        found.extend(read);
        rest = left;
    }
    let found: BTreeSet<_> = found.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(found, ["kept", "listed", LAST].into());
    assert_eq!(page.total, 6);
}
